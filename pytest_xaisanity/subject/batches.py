"""Micro-batches: slices of a batch, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["MicroBatches", "out_of_memory"]


class MicroBatches:
    """Runs work on slices of a batch, and halves the slice when memory runs out.

    Args:
        size: The most inputs in one pass; None picks 64 on a CPU and 256 on an accelerator.
    """

    def __init__(self, size: int | None, device: torch.device) -> None:
        self.device = device
        self.size = size or (64 if device.type == "cpu" else 256)

    def of(self, size: int) -> MicroBatches:
        """Return micro-batches of another size."""
        return MicroBatches(size, self.device)

    def run(self, count: int, work: Callable[[slice], Tensor]) -> Tensor:
        """Return ``work`` of every slice of ``range(count)``, concatenated along the first axis."""
        parts: list[Tensor] = []
        start = 0
        while start < count:
            try:
                parts.append(work(slice(start, min(count, start + self.size))))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or min(self.size, count - start) == 1:
                    raise
            else:
                start += self.size
                continue
            # Outside the handler: the traceback would keep the failed pass's tensors alive.
            self.size = max(1, min(self.size, count - start) // 2)
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
