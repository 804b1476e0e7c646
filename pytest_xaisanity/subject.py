"""The subject: the model, its inputs and the targets to explain, checked once and streamed in blocks.

Inputs are visited in blocks that end at the looks 16, 32, 64, 128, 192, ..., whatever the micro-batch, so that what a
claim saw when it was decided never depends on the memory of the machine. Inputs held in memory are visited in a
seeded random order, so that sorted inputs do not bias an early decision; a stream is taken as it comes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .errors import XaiError, XaiWarning
from .seeding import generator, isolated
from .training import Retraining

__all__ = ["Block", "Inputs", "MicroBatches", "Subject", "evaluating", "guarded", "out_of_memory", "select"]

Inputs = tuple[Tensor, ...]
_Raw = tuple[tuple[int, ...], Inputs, Tensor | None]  # indices, inputs and targets of a block, not yet on the device
BLOCK = 64
_FIRST_BLOCKS = (16, 16, 32)
_HALF = {torch.float16, torch.bfloat16}
_COPIED_BYTES = 2**31
_CHECKED = 16  # inputs on which the model is asked twice whether it answers alike


@dataclass(frozen=True)
class Block:
    """A few inputs that are measured together.

    Attributes:
        number: Position of the block, from 0.
        indices: Place of each input in what the user gave, length b.
        inputs: The model's input tensors, each ``(b, ...)``, on the subject's device.
        targets: Target of each input, ``(b,)`` or ``(b, k)``, or None for a model with a single output.
        last: Whether no block follows.
        outputs: The model's outputs ``(b, ...)`` where they have just been computed, or None.
    """

    number: int
    indices: tuple[int, ...]
    inputs: Inputs
    targets: Tensor | None
    last: bool = True
    outputs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, start: int, stop: int) -> Block:
        """Return the inputs from ``start`` to ``stop`` as a block.

        It comes without outputs: they would be there or not according to what was measured before, and those of a
        larger batch may differ in the last bit.
        """
        inputs = tuple(tensor[start:stop] for tensor in self.inputs)
        targets = None if self.targets is None else self.targets[start:stop]
        return Block(self.number, self.indices[start:stop], inputs, targets, last=self.last)


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


class Subject:
    """What is explained.

    Args:
        model: A ``torch.nn.Module``, or any callable from the inputs to a tensor of outputs ``(N, classes)``,
            ``(N, 1)`` or ``(N,)``.
        inputs: A tensor or array ``(N, ...)``, a tuple of them for a model with several inputs, or an iterable of
            batches, which is streamed and gives the same inputs whenever it is read. A batch is a tensor, a tuple of
            the model's input tensors, or a list ``[inputs, targets]`` as a ``DataLoader`` gives it. An iterator that
            can be read only once is remembered as it is read.
        targets: Class indices ``(N,)``, output positions ``(N, k)``, or None: the targets that the batches carry, or
            else the model's own predictions, or the only output of a model that has one.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. ``"auto"`` takes an accelerator where there
            is one. The model is moved only while it is measured.
        batch_size: The most inputs in one pass of the model; None sizes it automatically.
        seed: Seeds the order in which inputs held in memory are visited.
        retraining: Trains models of this kind again, for claims that need it.

    Raises:
        XaiError: Inputs are empty, of unequal lengths or no tensors; targets do not fit; the device is not there.
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        targets: Any = None,
        *,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        seed: int = 0,
        retraining: Retraining | None = None,
    ) -> None:
        _check_model(model)
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise XaiError(
                "batch_size", found=repr(batch_size), expected="a positive number of inputs", fix="pass 1 or more"
            )
        self.model = model
        self.seed = seed
        self.retraining = retraining
        inputs = _from_numpy(inputs)
        self._source = _Memory(inputs, targets, seed) if _in_memory(inputs) else _Stream(inputs, targets)
        self.device = _device(device, model)
        self.batches = MicroBatches(batch_size, self.device)
        self.dtype = _floating_dtype(model)
        self._said_training = False
        self._known_as = ""
        self._checked = False
        self._predicted: dict[tuple[int, ...], Tensor | None] = {}
        self._contents: dict[tuple[int, ...], bytes] = {}
        self.probabilities: bool | None = None
        self._sizes: tuple[int, ...] = ()
        self._kept: tuple[Hashable, Any] = (None, None)

    @property
    def streamed(self) -> bool:
        """Whether the inputs are an iterable of batches rather than tensors in memory."""
        return isinstance(self._source, _Stream)

    def __len__(self) -> int:
        if isinstance(self._source, _Stream):
            raise TypeError("the length of a stream is not known")
        return self._source.count

    def renew(self) -> str:
        """Forget predictions made with other weights, and return the subject's fingerprint."""
        fingerprint = self.fingerprint()
        if fingerprint != self._known_as:
            self._known_as, self._checked, self._kept = fingerprint, False, (None, None)
            self._predicted.clear()
        return fingerprint

    def fingerprint(self) -> str:
        """Return a digest of the model, inputs and targets (a stream counts by identity).

        Of the model: weights, buffers, and the plain values that its modules keep as attributes, such as a slope or a
        flag that the forward pass may read.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self._source.identity.encode())
        if isinstance(self.model, nn.Module):
            for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
                digest.update(name.encode())
                _update(digest, tensor)
            for name, module in self.model.named_modules():
                digest.update(repr((name, type(module).__qualname__, _plain_values(module))).encode())
        else:
            digest.update(str(id(self.model)).encode())
        return digest.hexdigest()

    def blocks(self, *, early: bool = True) -> Iterator[Block]:
        """Yield the inputs in blocks of at most 64, on the device, with targets. To be read inside :func:`guarded`.

        Args:
            early: Whether the first blocks are smaller, to look early.
        """
        start = 0
        source = self._source.blocks(_block_sizes(early))
        raw = self._read(source, 0)
        for number in itertools.count():
            if raw is None:
                return
            (indices, inputs, targets), raw = raw, self._read(source, number + 1)
            placed = tuple(self._place(tensor) for tensor in inputs)
            outputs = None
            if indices not in self._predicted:
                if targets is None:
                    outputs = self._checked_outputs(placed, start)
                elif not self._checked:  # no prediction is needed, but the model is asked about a few for the checks
                    self._checked_outputs(tuple(tensor[:_CHECKED] for tensor in placed), start)
                self._predicted[indices] = self._targets(targets, outputs)
            yield Block(number, indices, placed, self._predicted[indices], last=raw is None, outputs=outputs)
            start += len(indices)

    def _read(self, source: Iterator[_Raw], number: int) -> _Raw | None:
        """Return the next block of the source, or None; a stream that gives other inputs than before is an error."""
        if not self.streamed:
            return next(source, None)
        with isolated(self.seed, "stream", number):
            raw = next(source, None)
        if raw is not None:
            indices, inputs, _ = raw
            digest = hashlib.blake2b(digest_size=16)
            for tensor in inputs:
                _update(digest, tensor)
            if self._contents.setdefault(indices, digest.digest()) != digest.digest():
                raise XaiError(
                    "xai_inputs",
                    found=f"an iterable that gave other inputs when it was read again (from input {indices[0]} on)",
                    expected="the same inputs in the same order each time",
                    fix="turn off shuffling and random transforms that draw from a generator of their own",
                )
        return raw

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned for ``key`` the last time, if it was the last key; otherwise call it.

        Two measurements that go over the same block in turns share in this way what both need, and only one block's
        worth is kept.
        """
        if self._kept[0] != key:
            self._kept = (key, make())
        return self._kept[1]

    def _place(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise XaiError(
                    "xai_inputs",
                    found=f"{int((~torch.isfinite(tensor)).sum())} values that are NaN or infinite",
                    expected="finite inputs",
                    fix="clean or impute the inputs before they are explained",
                )
            return tensor.to(self.device, self.dtype or tensor.dtype)
        return tensor.to(self.device)

    def outputs(self, inputs: Inputs) -> Tensor:
        """Return the model's outputs ``(b, classes)`` or ``(b, 1)``, without gradients, in micro-batches."""

        def work(part: slice) -> Tensor:
            result = self.model(*(tensor[part].clone() for tensor in inputs))
            return _checked_output(result, len(inputs[0][part]))

        with torch.inference_mode(False), torch.no_grad():
            result = self.batches.run(len(inputs[0]), work)
        return result[:, None] if result.ndim == 1 else result

    def _checked_outputs(self, inputs: Inputs, start: int) -> Tensor:
        try:
            outputs = self.outputs(inputs)
        except XaiError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise _refused(error, inputs) from error
        if not torch.isfinite(outputs).all():
            raise XaiError(
                "xai_model",
                found=f"outputs that are NaN or infinite for inputs from {start} on",
                expected="finite outputs",
                fix="check the weights and the preprocessing of xai_inputs",
            )
        if start == 0 and not self._checked:
            self._check_reproducible(inputs, outputs)
            self.probabilities = _are_probabilities(outputs)
            self._checked = True
        self._sizes = tuple(outputs.shape[1:])
        return outputs

    def _check_reproducible(self, inputs: Inputs, outputs: Tensor) -> None:
        again = self.outputs(tuple(tensor[:_CHECKED] for tensor in inputs))
        tolerance = 5e-2 if {outputs.dtype, self.dtype} & _HALF else 1e-3
        scale = float(outputs.abs().max()) or 1.0
        gap = float((again - outputs[:_CHECKED]).abs().max())
        if gap > tolerance * scale:
            raise XaiError(
                "xai_model",
                found=f"other answers to the same inputs in evaluation mode (they differ by {gap:.3g})",
                expected="a model that answers the same input alike",
                fix="turn its sampling off (dropout called with training=True, noise layers) or seed it inside forward",
            )

    def _targets(self, targets: Tensor | None, outputs: Tensor | None) -> Tensor | None:
        if targets is None:
            assert outputs is not None
            return outputs.argmax(1) if outputs.ndim == 2 and outputs.shape[1] > 1 else self._only(outputs)
        depth = 1 if targets.ndim == 1 else targets.shape[1]
        if depth != len(self._sizes):
            raise XaiError(
                "xai_targets",
                found=f"targets of shape {tuple(targets.shape)} for outputs of shape {_batch_shape(self._sizes)}",
                expected="one class index for each input: targets of shape (N,)"
                if len(self._sizes) == 1
                else f"{len(self._sizes)} positions for each input: targets of shape (N, {len(self._sizes)})",
                fix="turn one-hot targets into indices with argmax(1)" if depth > 1 else "give whole positions",
            )
        sizes = torch.tensor(self._sizes)
        if sizes.tolist() == [1] and targets.any():
            raise XaiError(
                "xai_targets",
                found="class labels for a model with a single output",
                expected="no targets: the only output is explained",
                fix="leave xai_targets out, and stream inputs without their labels",
            )
        columns = targets.cpu().reshape(len(targets), depth)
        wrong = ((columns < 0) | (columns >= sizes)).any(1)
        if wrong.any():
            raise XaiError(
                "xai_targets",
                found=f"target {_unlisted(columns[wrong][0])} for outputs of shape {_batch_shape(self._sizes)}",
                expected=f"class indices from 0 to {int(sizes[0]) - 1}"
                if depth == 1
                else f"positions below {self._sizes} that are not negative",
                fix="check that labels and the model's outputs use the same numbering",
            )
        return None if self._sizes == (1,) else targets.to(self.device)

    @staticmethod
    def _only(outputs: Tensor) -> None:
        if outputs.ndim != 2:
            raise XaiError(
                "xai_targets",
                found=f"no targets for outputs of shape {tuple(outputs.shape)}",
                expected="targets of shape (N, k) for a model with more than one output axis",
                fix="override the xai_targets fixture",
            )


def select(outputs: Tensor, targets: Tensor | None) -> Tensor:
    """Return the explained output of each row: ``(b,)``."""
    if targets is None:
        return outputs[:, 0]
    columns = targets.reshape(len(targets), -1)
    return outputs[(torch.arange(len(outputs), device=outputs.device), *columns.unbind(1))]


def _are_probabilities(outputs: Tensor) -> bool:
    values = outputs.float()
    if values.ndim != 2 or values.shape[1] < 2 or values.min() < 0:
        return False
    return bool((values.sum(1) - 1).abs().max() < (2e-2 if outputs.dtype in _HALF else 1e-3))


def _check_model(model: Any) -> None:
    if isinstance(model, type) or not callable(model):
        found = f"the class {model.__name__}" if isinstance(model, type) else f"an object of type {_kind(model)}"
        raise XaiError(
            "xai_model",
            found=found,
            expected="a torch.nn.Module, or another callable from inputs to outputs",
            fix="return the model itself from the fixture",
        )
    if isinstance(model, nn.Module) and any(is_lazy(p) for p in (*model.parameters(), *model.buffers())):
        raise XaiError(
            "xai_model",
            found="a model with lazy parameters, which have no shape yet",
            expected="a model that has been called",
            fix="call it once on a batch in the fixture",
        )


def _checked_output(result: Any, count: int) -> Tensor:
    """Return what the model returned for ``count`` inputs, detached, when it is what a model should return."""
    if isinstance(result, Tensor) and result.is_floating_point() and result.numel() and result.shape[:1] == (count,):
        return result.detach()
    found = f"a tensor {tuple(result.shape)} of {result.dtype}" if isinstance(result, Tensor) else f"a {_kind(result)}"
    raise XaiError(
        "xai_model",
        found=f"{found} as output for {count} inputs",
        expected="one floating-point tensor (N, classes), (N, 1) or (N,)",
        fix="wrap the model in a torch.nn.Module that returns the tensor of logits alone",
    )


def _refused(error: Exception, inputs: Inputs) -> XaiError:
    """Return the error for a model that raised when it was called with the inputs."""
    shapes = ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in inputs)
    labels = len(inputs) == 2 and inputs[1].ndim == 1 and not inputs[1].is_floating_point()
    return XaiError(
        "xai_model",
        found=f"{type(error).__name__} when called with inputs {shapes} on {inputs[0].device}: {error}",
        expected="a model that accepts xai_inputs",
        fix="give labels apart from inputs: in xai_targets, or in a stream of lists [inputs, targets]"
        if labels
        else "call the model by hand on one batch of xai_inputs; set --xai-device if it is the device",
    )


def _kind(value: Any) -> str:
    return type(value).__name__


def _batch_shape(sizes: tuple[int, ...]) -> str:
    return f"({', '.join(['N', *map(str, sizes)])})"


def _unlisted(row: Tensor) -> Any:
    return row.item() if row.numel() == 1 else tuple(row.tolist())


def _from_numpy(value: Any) -> Any:
    """Return an array, or a tuple with arrays, as tensors; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_from_numpy(part) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    try:
        return torch.from_numpy(np.require(value, requirements=["C", "W"]))
    except TypeError as error:
        raise XaiError(
            "xai_inputs",
            found=f"an array of {value.dtype}",
            expected="numbers that torch knows",
            fix="convert it with astype('float32')",
        ) from error


def _in_memory(inputs: Any) -> bool:
    if isinstance(inputs, Tensor):
        return True
    return isinstance(inputs, tuple) and len(inputs) > 0 and all(isinstance(part, Tensor) for part in inputs)


class _Memory:
    """Inputs in memory, visited in a seeded random order."""

    def __init__(self, inputs: Any, targets: Any, seed: int) -> None:
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
        self.targets = _as_targets(targets)
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
        digest = hashlib.blake2b(digest_size=16)
        for tensor in (*self.inputs, *(() if self.targets is None else (self.targets,))):
            _update(digest, tensor)
        return digest.hexdigest()

    def blocks(self, sizes: Iterator[int]) -> Iterator[_Raw]:
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


class _Stream:
    """Inputs from an iterable of batches, cut anew into blocks."""

    def __init__(self, inputs: Any, targets: Any) -> None:
        if not isinstance(inputs, Iterable) or isinstance(inputs, (str, Mapping)):
            raise XaiError(
                "xai_inputs",
                found=f"an object of type {_kind(inputs)}",
                expected="a tensor, a tuple of tensors, or an iterable of batches",
                fix="wrap a Dataset in a DataLoader; take the tensors out of a dictionary",
            )
        self.source = inputs
        self.identity = f"stream {id(inputs)}"
        self.targets = _as_targets(targets)
        self._carries_targets = False
        self._iterator = inputs if isinstance(inputs, Iterator) else None
        self._seen: list[Any] = []
        self._broken: BaseException | None = None

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

    def blocks(self, sizes: Iterator[int]) -> Iterator[_Raw]:
        size = next(sizes)
        start = 0
        kept: list[Tensor] = []
        for batch in self._batches():
            parts = self._with_targets(batch, start + (len(kept[0]) if kept else 0))
            if kept and [part.shape[1:] for part in parts] != [part.shape[1:] for part in kept]:
                shapes = (", ".join(str(tuple(part.shape)) for part in some) for some in (kept, parts))
                raise _batch_error(f"batches that do not fit one another ({' and then '.join(shapes)})")
            kept = [torch.cat([old, new]) for old, new in zip(kept, parts, strict=True)] if kept else list(parts)
            while kept and len(kept[0]) >= size:
                yield self._cut(kept, start, size)
                kept = [part[size:] for part in kept]
                start += size
                size = next(sizes)
        if kept and len(kept[0]):
            yield self._cut(kept, start, len(kept[0]))
            start += len(kept[0])
        if start == 0:
            raise _empty("an iterable without a batch, or one that can be read only once but is no iterator")
        if self.targets is not None and len(self.targets) != start:
            raise _too_few_targets(len(self.targets), str(start))

    def _cut(self, kept: Sequence[Tensor], start: int, size: int) -> _Raw:
        head = [part[:size] for part in kept]
        targets = head.pop() if self._carries_targets else None
        return tuple(range(start, start + size)), tuple(head), targets

    def _with_targets(self, batch: Any, start: int) -> list[Tensor]:
        parts, targets = _split_batch(batch)
        lengths = {len(part) for part in (*parts, *([] if targets is None else [targets]))}
        if len(lengths) > 1:
            raise _batch_error(f"a batch whose parts have the lengths {', '.join(map(str, sorted(lengths)))}")
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


def _split_batch(batch: Any) -> tuple[list[Tensor], Tensor | None]:
    if isinstance(batch, list) and len(batch) >= 2 and not _is_input(batch[-1]):
        inputs = batch[0] if len(batch) == 2 else tuple(batch[:-1])
        return _parts(inputs), _as_targets(batch[-1])
    return _parts(batch), None


def _is_input(part: Any) -> bool:
    """Whether the last part of a batch that is a list is one more input: only integers can be labels."""
    return isinstance(part, Tensor) and part.is_floating_point()


def _parts(inputs: Any) -> list[Tensor]:
    parts = [_from_numpy(part) for part in (inputs if isinstance(inputs, (tuple, list)) else [inputs])]
    if not parts or not all(isinstance(part, Tensor) and part.ndim for part in parts):
        kinds = ", ".join(_kind(part) for part in parts)
        raise _batch_error(f"a batch of type {_kind(inputs)}" + (f" with {kinds}" if parts != [inputs] else ""))
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


def _as_targets(targets: Any) -> Tensor | None:
    if targets is None:
        return None
    tensor: Tensor | None = None
    cause: Exception | None = None
    try:
        tensor = torch.as_tensor(targets).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        cause = error
    if tensor is None or tensor.is_floating_point() or tensor.is_complex() or tensor.ndim not in (1, 2):
        found = (
            f"an object of type {_kind(targets)}"
            if tensor is None
            else f"a tensor of {tensor.dtype} and shape {tuple(tensor.shape)}"
        )
        raise XaiError(
            "xai_targets",
            found=found,
            expected="integer class indices of shape (N,)",
            fix="pass labels.long(), or leave targets out of a regression: the output itself is explained",
        ) from cause
    tensor = tensor.long()
    return tensor[:, 0] if tensor.ndim == 2 and tensor.shape[1] == 1 else tensor


def _block_sizes(early: bool) -> Iterator[int]:
    if early:
        yield from _FIRST_BLOCKS
    while True:
        yield BLOCK


def _plain_values(module: nn.Module) -> list[tuple[str, Any]]:
    plain = (bool, int, float, str, tuple, type(None))
    return sorted((k, v) for k, v in vars(module).items() if isinstance(v, plain) and k != "training")


def _update(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    if tensor.layout == torch.strided and tensor.numel() and not tensor.is_quantized:
        flat = tensor.detach().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).cpu().numpy())  # type: ignore[no-untyped-call, unused-ignore]


def _floating_dtype(model: Any) -> torch.dtype | None:
    if not isinstance(model, nn.Module):
        return None
    tensors: list[Tensor] = [*model.parameters()] or [*model.buffers()]
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def _device(device: str | torch.device, model: Any) -> torch.device:
    if str(device) == "auto":
        return _automatic_device(model)
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise XaiError(
            "--xai-device",
            found=f"{str(device)!r}, which cannot be used here ({next(iter(str(error).splitlines()), _kind(error))})",
            expected="auto, cpu, cuda, cuda:<number> or mps, on a machine that has it",
            fix="choose --xai-device=auto or cpu",
        ) from error
    if chosen.type == "cuda" and chosen.index is None:
        return _cuda_device()
    return chosen


def _automatic_device(model: Any) -> torch.device:
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    homes = {tensor.device for tensor in tensors}
    if len(homes) > 1 or (homes and next(iter(homes)).type != "cpu"):
        return next(iter(parameter.device for parameter in tensors))  # a model that has chosen its place stays there
    if not homes:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return _cuda_device()
    if torch.backends.mps.is_available() and all(tensor.dtype != torch.float64 for tensor in tensors):
        return torch.device("mps")
    return torch.device("cpu")


def _cuda_device() -> torch.device:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return torch.device("cuda", int(worker) % torch.cuda.device_count() if worker.isdigit() else 0)


_FULL = "_is_full_backward_hook"
_HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs", "_always_called")))


@contextmanager
def guarded(subject: Subject) -> Iterator[None]:
    """Run the model in evaluation mode on the subject's device, and give it back as it was.

    Modes, hooks, buffers, ``requires_grad``, gradients and device are restored however the block ends, and so are the
    global random number generators. Inside the block gradients can be taken, whatever the caller's own mode.
    """
    model = subject.model
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if not isinstance(model, nn.Module):
            stack.enter_context(isolated(subject.seed, "guarded"))
            yield
            return
        if any(module.training for module in model.modules()):
            _say_training(subject)
        stack.callback(_restore_modules, [(m, m.training, _hooks_of(m)) for m in model.modules()])
        stack.enter_context(_weights_kept(model))
        stack.callback(_restore_parameters, [(p, p.requires_grad, p.grad, _copy(p.grad)) for p in model.parameters()])
        stack.callback(_restore_buffers, _buffers_of(model))
        homes = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
        if len(homes) == 1 and (home := homes.pop()) != subject.device:
            stack.callback(_move, model, home)
            _move(model, subject.device)
        stack.enter_context(isolated(subject.seed, "guarded"))  # now that the device is in use
        evaluating(model)
        yield


@contextmanager
def _weights_kept(model: nn.Module) -> Iterator[None]:
    """Put back weights that something other than an intervention changed, and say so: the scores are worth nothing."""
    saved = [(name, parameter, parameter.detach().clone()) for name, parameter in _copied(model)]
    changed: list[str] = []
    try:
        yield
    finally:
        for name, parameter, values in saved:
            alike = parameter.dtype == values.dtype and parameter.shape == values.shape
            if alike and _same(parameter, values):
                continue
            changed.append(name)
            if alike:
                parameter.data.copy_(values)
            else:
                parameter.data = values.clone()
    if changed:
        raise XaiError(
            "xai_model",
            found=f"weights that the explainer or the model itself changed ({', '.join(changed[:3])})",
            expected="an explainer that leaves the weights alone; they have been restored",
            fix="let the explainer work on a copy of the model (copy.deepcopy)",
        )


def _copied(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that a copy is kept of: none of very large models, whose copy might not fit."""
    parameters = [(name, p) for name, p in model.named_parameters() if p.layout == torch.strided]
    size = sum(p.numel() * p.element_size() for _, p in parameters)
    return parameters if size <= _COPIED_BYTES else []


def evaluating(model: Any) -> None:
    """Put every submodule into evaluation mode, without calling what a model makes of ``eval()``."""
    for module in model.modules() if isinstance(model, nn.Module) else ():
        if module.training:
            module.training = False


def _move(model: nn.Module, device: torch.device) -> None:
    try:
        model.to(device)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise XaiError(
            "--xai-device",
            found=f"a model that cannot be moved to {device} ({error})",
            expected="a device the model can reach",
            fix="choose --xai-device=cpu",
        ) from error


def _say_training(subject: Subject) -> None:
    if not subject._said_training:
        subject._said_training = True
        warnings.warn(
            "xai_model was in training mode; it is measured in evaluation mode and restored afterwards",
            XaiWarning,
            stacklevel=2,
        )


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _hooks_of(module: nn.Module) -> dict[str, Any]:
    """Return copies of a module's hooks, and whether its backward hooks are full ones."""
    hooks = {name: module.__dict__[name].copy() for name in _HOOKS if module.__dict__.get(name) is not None}
    return hooks | {_FULL: module.__dict__.get(_FULL)}


def _restore_modules(saved: list[tuple[nn.Module, bool, dict[str, Any]]]) -> None:
    for module, training, hooks in saved:
        module.training = training
        module.__dict__[_FULL] = hooks.pop(_FULL)
        for name, before in hooks.items():
            now = module.__dict__[name]
            if now != before or list(now) != list(before):
                now.clear()
                now.update(before)


def _restore_parameters(saved: list[tuple[nn.Parameter, bool, Tensor | None, Tensor | None]]) -> None:
    for parameter, requires_grad, grad, values in saved:
        if parameter.requires_grad != requires_grad:
            parameter.requires_grad_(requires_grad)
        parameter.grad = grad
        if grad is not None and values is not None and not _same(grad, values):
            grad.data.copy_(values)


def _buffers_of(model: nn.Module) -> list[tuple[nn.Module, str, Tensor, Tensor]]:
    return [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]


def _restore_buffers(saved: list[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
    for module, name, buffer, values in saved:
        if isinstance(module._buffers, dict) and module._buffers.get(name) is not buffer:  # a ScriptModule has no dict
            module._buffers[name] = buffer  # moving a module to a device puts new tensors in the place of its buffers
        if not _same(buffer, values):
            buffer.data.copy_(values)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and torch.equal(a, b)
