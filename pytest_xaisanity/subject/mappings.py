"""Inputs with names: mappings of names to tensors become tuples of tensors, in the order of the first mapping."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import XaiError
from ..common.seeding import isolated
from .inputs import MOST
from .tensors import from_numpy, kind_of, readable

__all__ = ["IDS", "LABELS", "Names"]

IDS = ("input_ids", "ids", "token_ids", "tokens")
"""Entries that hold token ids."""

LABELS = ("labels", "label")
"""Entries that hold targets, and never reach the model: one that is given its labels may return its loss."""


class Names:
    """The names of the model's inputs, once a mapping has been seen.

    Batches of sentences that are padded each to its own longest are padded to that of all; this takes one more reading.

    Args:
        padding: The id of padding.

    Attributes:
        names: In the order of the first mapping; None for inputs without names.
    """

    def __init__(self, padding: int = 0) -> None:
        self.names: tuple[str, ...] | None = None
        self.padding = padding
        self._longest = 0  # places of token ids in any batch of a stream

    def flattened(self, inputs: object, targets: object) -> tuple[object, object]:
        """Return inputs without names, and targets: those given, or else those that the inputs carry.

        A mapping, or a pair of one and targets, is in memory; of an iterable each batch may be one of these.
        """
        if _is_named(inputs):
            tensors, own = self._parts(inputs)
            return tensors, own if targets is None else targets
        if isinstance(inputs, list):
            self._measure(inputs)
            return [self._batch(batch) for batch in inputs], targets
        if isinstance(inputs, Iterator):
            return self._of_iterator(inputs), targets
        if isinstance(inputs, Iterable) and not isinstance(inputs, (Tensor, np.ndarray, tuple, str)):
            return _Batches(inputs, self), targets
        return inputs, targets

    def _of_iterator(self, batches: Iterator[object]) -> Iterator[object]:
        """Yield batches without names; those of sentences once all have been read."""
        for first in batches:
            if _width(first) is None:
                yield self._batch(first)
                continue
            held = [first, *_until_too_many(batches)]
            self._measure(held)
            yield from map(self._batch, itertools.chain(held, batches))

    def of_source(self, source: Iterable[object]) -> Iterator[object]:
        """Yield the batches of an iterable without names; it is read twice where the first holds sentences."""
        for place, batch in enumerate(source):
            if place == 0 and _width(batch) is not None and not self._longest:
                with isolated("sentences"):  # a loader that shuffles shuffles alike afterwards
                    self._measure(source)
            yield self._batch(batch)

    def _measure(self, batches: Iterable[object]) -> None:
        self._longest = max([self._longest, *(_width(batch) or 0 for batch in _until_too_many(iter(batches)))])

    def of_data(self, inputs: object) -> object:
        """Return inputs in memory, such as those of training data, as tensors without names, in this order."""
        return self._parts(inputs)[0] if isinstance(inputs, Mapping) else inputs

    def _batch(self, batch: object) -> object:
        if not _is_named(batch):
            return batch
        tensors, targets = self._parts(batch)
        return tensors if targets is None else [tensors, targets]

    def _parts(self, batch: Any) -> tuple[tuple[Tensor, ...], object]:
        """Return the tensors of a mapping in order, and the targets in it or beside it."""
        mapping, beside = (batch, None) if isinstance(batch, Mapping) else batch
        entries = {name: value for name, value in mapping.items() if value is not None}
        own = [entries.pop(name) for name in LABELS if name in entries]
        tensors = {name: _tensor(name, value) for name, value in entries.items()}
        tensors = self._padded(tensors)
        self._check(tensors)
        assert self.names is not None
        labels = _labels(own[0], tensors) if own and beside is None else beside
        return tuple(tensors[name] for name in self.names), _targets(labels)

    def _padded(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of sentences with as many places as the longest of all has, on the side of the padding."""
        ids = next((tensors[name] for name in IDS if name in tensors and tensors[name].ndim == 2), None)
        if ids is None or ids.shape[1] >= self._longest:
            return tensors
        further, width = self._longest - ids.shape[1], ids.shape[1]
        mask = tensors.get("attention_mask", ids != self.padding)
        left = bool(((mask[:, 0] == 0) & (mask[:, -1] != 0)).any())
        sides = (further, 0) if left else (0, further)
        fills = {**dict.fromkeys(IDS, self.padding), "special_tokens_mask": 1}
        return {
            name: F.pad(one, sides, value=fills.get(name, 0)) if one.ndim == 2 and one.shape[1] == width else one
            for name, one in tensors.items()
        }

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        if not tensors:
            raise _error("a mapping without tensors", "the model's inputs by the names of its arguments", "fill it")
        if self.names is None:
            self.names = tuple(tensors)
        if {*self.names} != {*tensors}:
            raise _error(
                f"batches with other names ({', '.join(self.names)} and then {', '.join(tensors)})",
                "the same names in every batch",
                "let the collate_fn make the same entries each time",
            )


class _Batches:
    """An iterable of batches, each without names."""

    def __init__(self, source: Iterable[object], names: Names) -> None:
        self.source, self.names = source, names

    def __iter__(self) -> Iterator[object]:
        return self.names.of_source(self.source)


def _until_too_many(batches: Iterator[object]) -> Iterator[object]:
    """Yield batches until there are more inputs than a stream may have, which is refused when it is read."""
    count = 0
    while count <= MOST:
        batch = next(batches, None)
        if batch is None:
            return
        count += next((len(value) for value in _mapping(batch).values() if isinstance(value, (Tensor, np.ndarray))), 1)
        yield batch


def _mapping(batch: Any) -> Mapping[str, object]:
    """Return the mapping in a batch, or an empty one."""
    if not _is_named(batch):
        return {}
    mapping: Mapping[str, object] = batch if isinstance(batch, Mapping) else batch[0]
    return mapping


def _width(batch: Any) -> int | None:
    """Return how many places the token ids in a batch have, if there are any."""
    mapping = _mapping(batch)
    ids = [value for name in IDS if isinstance(value := mapping.get(name), (Tensor, np.ndarray))]
    return next((int(one.shape[1]) for one in ids if one.ndim == 2), None)


def _is_named(batch: object) -> bool:
    """Whether this is a mapping, or a pair of one and targets."""
    if isinstance(batch, (list, tuple)) and len(batch) == 2:
        return isinstance(batch[0], Mapping) and not isinstance(batch[1], Mapping)
    return isinstance(batch, Mapping)


def _tensor(name: object, value: object) -> Tensor:
    if not isinstance(name, str):
        raise _error(f"a name of type {kind_of(name)} ({name!r})", "names of the model's arguments", "use strings")
    if isinstance(value, (list, tuple)):
        try:
            value = torch.as_tensor(np.asarray(value) if not any(isinstance(one, Tensor) for one in value) else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _error(
                f"an entry {name!r} that is a {kind_of(value)} of unequal or unknown values",
                "tensors, with one row for each input",
                "let the tokenizer pad them and return tensors: padding=True, return_tensors='pt'",
            ) from error
    tensor = from_numpy(value, f"xai_inputs {name}")
    if not isinstance(tensor, Tensor) or not tensor.ndim:
        raise _error(
            f"an entry {name!r} of type {kind_of(value)}" + " without an axis" * isinstance(tensor, Tensor),
            "tensors, with one row for each input",
            f"take {name!r} out of the mapping, or bind it to the model with functools.partial",
        )
    return readable(tensor, f"xai_inputs {name}")


def _labels(labels: object, tensors: Mapping[str, Tensor]) -> object:
    """Return the labels of a mapping, unless there is one for each token, which explains no output."""
    shape = tuple(one.shape) if isinstance(one := _array(labels), Tensor) else ()
    of_tokens = len(shape) > 1 and any(tuple(tensor.shape) == shape for tensor in tensors.values())
    return None if of_tokens else labels


def _targets(labels: object) -> object:
    """Return labels that may be targets, which is checked later; the values of a regression are not needed."""
    tensor = _array(labels)
    return None if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.ndim < 2 else tensor


def _array(labels: object) -> object:
    """Return labels as a tensor where they are numbers, and as they are otherwise."""
    if labels is None or isinstance(labels, (str, Tensor)):
        return labels
    try:
        return torch.as_tensor(np.asarray(labels))
    except (TypeError, ValueError, RuntimeError):
        return labels


def _error(found: str, expected: str, fix: str) -> XaiError:
    return XaiError("xai_inputs", found=found, expected=expected, fix=fix)
