"""Inputs in memory or streamed, cut into blocks.

Blocks end at the looks 16, 32, 64, 128, 192, ..., whatever the micro-batch, so that what a claim saw when it was
decided never depends on the memory of the machine. Inputs held in memory are visited in a seeded random order, so that
sorted inputs do not bias an early decision; a stream is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.digest import digest_of
from ..common.errors import XaiError
from ..common.seeding import generator
from .block import Inputs
from .targets import are_flags, as_targets
from .tensors import from_numpy, kind_of, readable

__all__ = ["BLOCK", "Memory", "Raw", "Source", "Stream", "block_sizes", "source_of"]

Raw = tuple[tuple[int, ...], Inputs, Tensor | None]  # indices, inputs and targets of a block, not yet on the device
BLOCK = 64
_FIRST_BLOCKS = (16, 16, 32)


def source_of(inputs: object, targets: object, seed: int) -> Source:
    """Return the inputs that a user gave, to be read in blocks.

    A tensor, or a tuple of tensors, is in memory; anything else is a stream of batches. A list of tensors is one too,
    unless it is a single batch as a ``DataLoader`` gives it, ``[inputs, targets]``: then it is in memory.

    Raises:
        XaiError: They are no inputs; or a list holds tensors that are neither batches nor inputs and targets.
    """
    if isinstance(inputs, list) and not _are_batches(inputs):
        inputs, own = _as_one_batch(inputs)
        targets = own if targets is None else targets
    inputs = from_numpy(inputs)
    in_memory = isinstance(inputs, tuple) and len(inputs) > 0 and all(isinstance(part, Tensor) for part in inputs)
    return Memory(inputs, targets, seed) if in_memory or isinstance(inputs, Tensor) else Stream(inputs, targets)


def _are_batches(inputs: Sequence[object]) -> bool:
    """Whether a list holds batches of a stream: all but tensors with a batch axis that do not fit one another."""
    kinds = []
    for batch in inputs:
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not all(isinstance(part, (Tensor, np.ndarray)) and part.ndim for part in parts):
            return True  # with what else may be wrong with them, a stream deals
        rows = [readable(part, "xai_inputs") if isinstance(part, Tensor) else part for part in parts]
        kinds.append([(tuple(row.shape[1:]), _is_floating(row)) for row in rows])
    return all(kind == kinds[0] for kind in kinds)


def _as_one_batch(inputs: list[Any]) -> tuple[Inputs, Tensor]:
    """Return the inputs and targets of a list ``[inputs, targets]``."""
    parts, own = _split_batch(inputs) if isinstance(inputs[-1], (Tensor, np.ndarray)) else ([], None)
    if own is None or any(len(part) != len(own) for part in parts):
        raise XaiError(
            "xai_inputs",
            found=f"a list of batches that do not fit one another ({' and then '.join(map(_shapes, inputs))})",
            expected="batches alike, or one list [inputs, targets] with a target for each input",
            fix="return a tuple of the tensors of a model with several inputs; give targets in xai_targets, and none "
            "of a regression",
        )
    return tuple(parts), own


def _shapes(batch: Any) -> str:
    return ", ".join(str(tuple(part.shape)) for part in (batch if isinstance(batch, (tuple, list)) else [batch]))


def _is_floating(part: object) -> bool:
    if isinstance(part, np.ndarray):
        return bool(part.dtype.kind == "f")
    return isinstance(part, Tensor) and part.is_floating_point()


class Memory:
    """Inputs in memory, visited in a seeded random order."""

    def __init__(self, inputs: object, targets: object, seed: int) -> None:
        self.inputs: Inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        if any(tensor.ndim == 0 for tensor in self.inputs):
            raise _empty("a tensor without a batch axis")
        lengths = {len(tensor) for tensor in self.inputs}
        if len(lengths) > 1:
            raise XaiError(
                "xai_inputs",
                found=f"input tensors of lengths {', '.join(str(len(tensor)) for tensor in self.inputs)}",
                expected="the same number of inputs in each tensor of the tuple",
                fix="return a list rather than a tuple if these are batches to stream",
            )
        self.count = lengths.pop()
        if self.count == 0:
            raise _empty(f"an empty tensor {tuple(self.inputs[0].shape)}")
        self.targets = as_targets(targets)
        if self.targets is not None and len(self.targets) != self.count:
            raise XaiError(
                "xai_targets",
                found=f"{len(self.targets)} targets for {self.count} inputs",
                expected="one target for each input",
                fix="return as many targets from xai_targets as xai_inputs has rows",
            )
        self.seed = seed

    @property
    def identity(self) -> str:
        """A digest of inputs and targets."""
        return digest_of(*self.inputs, self.targets)

    def blocks(self, sizes: Iterator[int]) -> Iterator[Raw]:
        """Yield the inputs in a seeded random order, in blocks of these sizes."""
        order = torch.randperm(self.count, generator=generator(self.seed, "visits", self.count))
        start = 0
        for size in sizes:
            chosen = order[start : start + size]
            if not len(chosen):
                return
            inputs = tuple(tensor[chosen.to(tensor.device)] for tensor in self.inputs)
            targets = None if self.targets is None else self.targets[chosen.to(self.targets.device)]
            yield tuple(chosen.tolist()), inputs, targets
            start += size


class Stream:
    """Inputs from an iterable of batches, cut anew into blocks."""

    def __init__(self, inputs: object, targets: object) -> None:
        if not isinstance(inputs, Iterable) or isinstance(inputs, (str, Mapping)):
            raise XaiError(
                "xai_inputs",
                found=f"an object of type {kind_of(inputs)}",
                expected="a tensor, a tuple of tensors, or an iterable of batches",
                fix="wrap a Dataset in a DataLoader; take the tensors out of a dictionary",
            )
        self.source = inputs
        self.identity = f"stream {id(inputs)}"
        self.targets = as_targets(targets)
        self._carries_targets = False
        self._iterator = inputs if isinstance(inputs, Iterator) else None
        self._seen: list[Any] = []
        self._broken: BaseException | None = None
        self._most = 0  # inputs that one reading gave
        self._whole = False  # whether one has come to the end

    def _batches(self) -> Iterator[Any]:
        if self._iterator is None:
            yield from self.source
            return
        place = 0
        while True:
            if place == len(self._seen):
                if self._broken is not None:
                    raise self._broken  # a generator that raised would seem to have ended
                try:
                    self._seen.append(next(self._iterator))
                except StopIteration:
                    return
                except BaseException as error:
                    self._broken = error
                    raise
            yield self._seen[place]
            place += 1

    def blocks(self, sizes: Iterator[int]) -> Iterator[Raw]:
        """Yield the inputs as they come, in blocks of these sizes."""
        size = next(sizes)
        start = 0
        kept: list[Tensor] = []
        for batch in self._batches():
            parts = self._with_targets(batch, start + (len(kept[0]) if kept else 0))
            if kept and [part.shape[1:] for part in parts] != [part.shape[1:] for part in kept]:
                raise _batch_error(f"batches that do not fit one another ({_shapes(kept)} and then {_shapes(parts)})")
            kept = [torch.cat([old, new]) for old, new in zip(kept, parts, strict=True)] if kept else list(parts)
            while kept and len(kept[0]) >= size:
                yield self._cut(kept, start, size)
                kept = [part[size:] for part in kept]
                start += size
                size = next(sizes)
        count = start + (len(kept[0]) if kept else 0)
        self._check_count(count, ended=True)
        if count == 0:
            raise _empty("an iterable without a batch, or one that can be read only once but is no iterator")
        if self.targets is not None and len(self.targets) != count:
            raise _too_few_targets(len(self.targets), str(count))
        if count > start:
            yield self._cut(kept, start, count - start)

    def _check_count(self, count: int, *, ended: bool) -> None:
        """Raise when a reading ends before an earlier one did, or goes on behind it."""
        if (count < self._most) if ended else (self._whole and count > self._most):
            raise XaiError(
                "xai_inputs",
                found=f"an iterable that gave {self._most} inputs, and "
                + (f"ended after {count}" if ended else f"{count} or more")
                + " when it was read again",
                expected="the same inputs in the same order each time",
                fix="return an object whose __iter__ starts anew, such as a DataLoader or a list, or an iterator, "
                "which is read only once",
            )
        self._most, self._whole = max(self._most, count), self._whole or ended

    def _cut(self, kept: Sequence[Tensor], start: int, size: int) -> Raw:
        head = [part[:size] for part in kept]
        targets = head.pop() if self._carries_targets else None
        return tuple(range(start, start + size)), tuple(head), targets

    def _with_targets(self, batch: object, start: int) -> list[Tensor]:
        parts, targets = _split_batch(batch)
        lengths = {len(part) for part in (*parts, *([] if targets is None else [targets]))}
        if len(lengths) > 1:
            raise _batch_error(f"a batch whose parts have the lengths {', '.join(map(str, sorted(lengths)))}")
        self._check_count(start + len(parts[0]), ended=False)
        if self.targets is not None:  # those given apart win over those in the stream
            targets = self.targets[start : start + len(parts[0])]
            if len(targets) < len(parts[0]):
                raise _too_few_targets(len(self.targets), f"at least {start + len(parts[0])}")
        self._carries_targets = targets is not None
        return [*parts, *([] if targets is None else [targets])]


def _too_few_targets(targets: int, inputs: str) -> XaiError:
    return XaiError(
        "xai_targets",
        found=f"{targets} targets for {inputs} streamed inputs",
        expected="one target for each input",
        fix="stream [inputs, targets] lists instead of giving the targets apart",
    )


def _split_batch(batch: object) -> tuple[list[Tensor], Tensor | None]:
    if isinstance(batch, list) and len(batch) >= 2 and not _is_input(batch[-1]):
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return _parts(inputs), as_targets(batch[-1])
    return _parts(batch), None


def _is_input(part: object) -> bool:
    """Whether the last part of a batch that is a list is one more input: only integers and flags can be labels."""
    return _is_floating(part) and not are_flags(part)


def _parts(inputs: object) -> list[Tensor]:
    parts = [from_numpy(part) for part in (inputs if isinstance(inputs, (tuple, list)) else [inputs])]
    if not parts or not all(isinstance(part, Tensor) and part.ndim for part in parts):
        kinds = ", ".join(kind_of(part) for part in parts)
        raise _batch_error(f"a batch of type {kind_of(inputs)}" + (f" with {kinds}" if parts != [inputs] else ""))
    return parts


def _batch_error(found: str) -> XaiError:
    return XaiError(
        "xai_inputs",
        found=found,
        expected="batches that are a tensor, a tuple of the model's inputs, or a list of inputs and targets",
        fix="convert each batch in a generator function, or in the DataLoader's collate_fn",
    )


def _empty(found: str) -> XaiError:
    return XaiError(
        "xai_inputs", found=found, expected="at least one input, along a first axis N", fix="return a batch (N, ...)"
    )


Source = Memory | Stream


def block_sizes(early: bool) -> Iterator[int]:
    """Yield how many inputs each block holds; the first ones are small where there are early looks."""
    if early:
        yield from _FIRST_BLOCKS
    while True:
        yield BLOCK
