"""Micro-batches: slices of a batch, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.errors import XaiError

__all__ = ["MicroBatches", "out_of_memory"]


class MicroBatches:
    """Runs work on slices of a batch, and halves the slice when memory runs out.

    Work may itself run micro-batches, of this size or another. Where memory runs out inside, the inner ones retry, and
    the outer ones never hear of it.

    Args:
        size: The most inputs in one pass; None picks 64 on a CPU and 256 on an accelerator.
        device: Where the work is done.

    Attributes:
        size: As above; it stays halved once memory has run out.
    """

    def __init__(self, size: int | None, device: torch.device) -> None:
        self.device = device
        self.size = size or (64 if device.type == "cpu" else 256)
        self._others: dict[int, MicroBatches] = {}

    def of(self, size: int) -> MicroBatches:
        """Return micro-batches of another size: the same ones each time, which know what memory has run out for."""
        return self._others.setdefault(size, MicroBatches(size, self.device))

    def run(
        self,
        count: int,
        work: Callable[[slice], Tensor],
        *,
        where: str = "xai_model",
        fix: str = "give smaller inputs, or choose --xai-device=cpu",
    ) -> Tensor:
        """Return ``work`` of every slice of ``range(count)``, concatenated along the first axis.

        Args:
            count: How many inputs there are.
            work: Called with a slice, again with parts of it when it runs out of memory.
            where: What works, for the error.
            fix: What would take less memory, for the error.

        Raises:
            XaiError: Memory runs out for a single input.
        """
        parts: list[Tensor] = []
        start = 0
        while start < count:
            stop = min(count, start + self.size)
            if count - stop == 1 and stop - start > 2:
                stop -= 1  # two and not one are left for the last slice: some models take no single input
            try:
                parts.append(work(slice(start, stop)))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if stop - start == 1:
                    raise _no_room(error, where, fix) from error
            else:
                start = stop
                continue
            # Outside the handler: the traceback would keep the failed pass's tensors alive.
            self.size = min(self.size, (stop - start) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on the CPU or on an accelerator."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory", "status_alloc_failed")
    )


def _no_room(error: BaseException, where: str, fix: str) -> XaiError:
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return XaiError(where, found=f"no memory left for a single input ({said})", expected="room for one input", fix=fix)
