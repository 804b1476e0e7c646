"""Inputs in memory or streamed, cut into blocks.

Blocks end at the looks 16, 32, 64, 128, 192, ..., whatever the micro-batch, so that what a claim saw when it was
decided never depends on the memory of the machine. Inputs are visited in a seeded random order, so that sorted inputs
bias no early decision and neighbors are unrelated: those in memory, and those of a stream, which is read to its end
before any of it is visited.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.checks import is_number
from ..common.digest import digest_of
from ..common.errors import XaiError, said
from ..common.seeding import generator, isolated, seed_of
from .block import Inputs
from .targets import are_flags, as_targets
from .tensors import from_numpy, kind_of, readable
from .window import BLOCK, Window

__all__ = ["BLOCK", "MOST", "Memory", "Raw", "Source", "Stream", "block_sizes", "other_inputs", "source_of"]

Raw = tuple[tuple[int, ...], Inputs, Tensor | None]  # indices, inputs and targets of a block, not yet on the device
_FIRST_BLOCKS = (16, 16, 32)
MOST = 65_536  # inputs that are read of a stream


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
    return Memory(inputs, targets, seed) if in_memory or isinstance(inputs, Tensor) else Stream(inputs, targets, seed)


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
    def telling(self) -> Tensor | None:
        """Targets that tell whether inputs may have several labels: all of them."""
        return self.targets

    @property
    def carries_targets(self) -> bool:
        """False: targets are given beside the inputs."""
        return False

    @property
    def drawn_from(self) -> int | None:
        """None: all inputs may be visited."""
        return None

    @property
    def identity(self) -> str:
        """A digest of inputs and targets."""
        return digest_of(*self.inputs, self.targets)

    def blocks(self, sizes: Iterator[int], start: int = 0) -> Iterator[Raw]:
        """Yield the inputs in a seeded random order, but for the first ``start``, in blocks of these sizes."""
        order = _visits(self.seed, self.count)
        for size in sizes:
            chosen = order[start : start + size]
            if not len(chosen):
                return
            inputs = tuple(tensor[chosen.to(tensor.device)] for tensor in self.inputs)
            targets = None if self.targets is None else self.targets[chosen.to(self.targets.device)]
            yield tuple(chosen.tolist()), inputs, targets
            start += size


class Stream:
    """Inputs from an iterable of batches, cut anew into blocks and visited in a seeded random order.

    It is read to its end before any input is visited. Where the rows fit into a :class:`Window` they are visited as
    inputs in memory are. Of a longer one a window full is drawn at random, and it is read again for the next; what can
    be read only once leaves it at the first, a sample of the whole.
    """

    def __init__(self, inputs: object, targets: object, seed: int) -> None:
        if not isinstance(inputs, Iterable) or isinstance(inputs, (str, Mapping)):
            raise XaiError(
                "xai_inputs",
                found=f"an object of type {kind_of(inputs)}",
                expected="a tensor, a tuple of tensors, or an iterable of batches",
                fix="wrap a Dataset in a DataLoader; take the tensors out of a dictionary",
            )
        self.source, self.seed = inputs, seed
        self.identity = f"stream {id(inputs)}"
        self.targets = as_targets(targets)
        self._once = isinstance(inputs, Iterator)
        self.carries_targets = False
        self._several: Tensor | None = None  # the first target of a batch with another number of labels than one
        self._kinds: list[tuple[object, ...]] = []  # shape and type of a row of each part
        self._first_rows: dict[int, str] = {}  # digests of those of the batches, by their place
        self._broken: BaseException | None = None
        self._count: int | None = None  # once it has been read
        self._window: tuple[int, Window] | None = None  # that is held, and its number
        self._bounds = [-1.0]  # above which the lots of each window lie

    @property
    def telling(self) -> Tensor | None:
        """Targets that tell whether inputs may have several labels: all given, or one streamed that has not one."""
        return self._several if self.targets is None else self.targets

    @property
    def drawn_from(self) -> int | None:
        """How many inputs there were, where only some of them are held for good: what may be visited."""
        held = self._window
        sampled = self._once and held is not None and len(held[1]) != self._count
        return self._count if sampled else None

    def _batches(self) -> Iterator[Any]:
        try:
            yield from self.source
        except Exception as error:
            raise _unreadable(error) from error

    def blocks(self, sizes: Iterator[int]) -> Iterator[Raw]:
        """Yield the inputs in a seeded random order, in blocks of these sizes, of which windows are multiples."""
        visited = 0
        for number in itertools.count():
            held = len(self._held(number))
            order = _visits(self.seed, held)
            start = 0
            while start < held:
                chosen = order[start : start + next(sizes)]
                indices, parts = self._held(number).rows(chosen)
                targets = parts.pop() if self.carries_targets else None
                yield indices, tuple(parts), targets
                start += len(chosen)
            visited += held
            if visited == self._count or self._once:
                return

    def _held(self, number: int) -> Window:
        """Return the window of a number, read anew where another one is held."""
        if self._window is None or self._window[0] != number:
            if self._broken is not None:
                raise self._broken  # an iterator that raised would seem to have ended
            self._window = None  # two at once would take twice the memory
            try:
                self._window = number, self._read(self._bounds[number])
            except BaseException as error:
                self._broken = error if self._once else None
                raise
        window = self._window[1]
        if len(self._bounds) == number + 1:
            self._bounds.append(window.highest)
        return window

    def _read(self, above: float) -> Window:
        """Read the whole stream, and return the window of rows with lots above a bound."""
        lots, window, count = np.random.default_rng(seed_of(self.seed, "lots")), Window(above), 0
        with isolated(self.seed, "stream", 0):  # each reading draws the same
            for batch in self._batches():
                parts = self._checked(batch, count)
                window.add(count, lots.random(len(parts[0])), parts)
                count += len(parts[0])
        self._check_count(count, ended=True)
        if count == 0:
            raise _empty("an iterable without a batch, or one that can be read only once but is no iterator")
        if self.targets is not None and len(self.targets) != count:
            raise _too_few_targets(len(self.targets), str(count))
        self._count = count
        return window

    def _checked(self, batch: object, start: int) -> list[Tensor]:
        """Return the parts of a batch, its targets last where it has any, which fit those of the batches before."""
        parts = [part.detach() for part in self._with_targets(batch, start)]
        kinds: list[tuple[object, ...]] = [(tuple(part.shape[1:]), part.dtype) for part in parts]
        if self._kinds and kinds != self._kinds:
            found = f"{_described(self._kinds)} and then {_described(kinds)}"
            raise _batch_error(f"batches that do not fit one another (rows of {found})")
        self._kinds = kinds
        if len(parts[0]):
            first = digest_of(*(part[:1] for part in parts))
            if self._first_rows.setdefault(start, first) != first:
                raise other_inputs(start)
        return parts

    def _check_count(self, count: int, *, ended: bool) -> None:
        """Raise when a reading does not end where an earlier one did, or does not end."""
        known = self._count
        if known is not None and (count > known or (ended and count < known)):
            raise XaiError(
                "xai_inputs",
                found=f"an iterable that gave {known} inputs, and "
                + (f"ended after {count}" if ended else f"{count} or more")
                + " when it was read again",
                expected="the same inputs in the same order each time",
                fix="return an object whose __iter__ starts anew, such as a DataLoader or a list, or an iterator, "
                "which is read only once",
            )
        if count > MOST:
            raise XaiError(
                "xai_inputs",
                found=f"an iterable that goes on after {MOST:,} inputs",
                expected=f"at most {MOST:,}: a stream is read to its end, so that no claim is decided on its first "
                "inputs alone",
                fix="give a part of it, drawn at random: a torch.utils.data.Subset of the data, or "
                "itertools.islice(batches, 100) of an endless generator",
            )

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
        self.carries_targets = targets is not None
        if targets is not None and targets.ndim == 2 and self._several is None:
            several = targets[targets.sum(1) != 1]
            self._several = several[:1].clone() if len(several) else None
        return [*parts, *([] if targets is None else [targets])]


def _visits(seed: int, count: int) -> Tensor:
    """Return the order in which so many inputs are visited."""
    return torch.randperm(count, generator=generator(seed, "visits", count))


def _described(kinds: Sequence[tuple[object, ...]]) -> str:
    return ", ".join(f"{shape} {dtype}" for shape, dtype in kinds)


def other_inputs(index: int) -> XaiError:
    """Return the error for a stream that gives something else at a later reading."""
    return XaiError(
        "xai_inputs",
        found=f"an iterable that gave other inputs when it was read again (from input {index} on)",
        expected="the same inputs in the same order each time",
        fix="turn off shuffling and random transforms that draw from a generator of their own",
    )


def _unreadable(error: Exception) -> XaiError:
    return XaiError(
        "xai_inputs",
        found=f"{type(error).__name__} raised when the inputs were read{said(error)}",
        expected="an iterable of batches",
        fix="iterate over xai_inputs by hand, twice",
    )


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
        if is_number(batch[-1]) or (isinstance(batch[-1], (Tensor, np.ndarray)) and batch[-1].ndim == 0):
            fix = "give the DataLoader a batch_size, or wrap a dataset of single inputs in one"
            raise _batch_error("a batch whose targets have no batch axis, such as a single input and its target", fix)
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


def _batch_error(
    found: str, fix: str = "convert each batch in a generator function, or in the DataLoader's collate_fn"
) -> XaiError:
    return XaiError(
        "xai_inputs",
        found=found,
        expected="batches that are a tensor, a tuple of the model's inputs, or a list of inputs and targets",
        fix=fix,
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
