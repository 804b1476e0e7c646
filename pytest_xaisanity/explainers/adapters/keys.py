"""Keys of settings: equal for what is the same by content, where that can be told."""

from __future__ import annotations

import functools
from collections.abc import Hashable

import numpy as np
from torch import Tensor

from ...common.digest import digest_of

__all__ = ["key_of"]


def key_of(value: object) -> Hashable:
    """Return a key that is equal for equal values of one type, and otherwise for the very same object.

    Numbers count with their type (1 is not True), tensors and arrays by a digest of their values, collections and
    partials by what they hold; any other object by its own equality, which is identity unless its class says
    otherwise. The key holds the object, so that no other one can take its place in memory.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return (type(value), repr(value))  # as written: 0.0 is not -0.0, and NaN is NaN
    if isinstance(value, (Tensor, np.ndarray)):
        return (type(value), digest_of(value) if _has_values(value) else _Same(value))
    if isinstance(value, (list, tuple)):
        return (type(value), *map(key_of, value))
    if isinstance(value, dict):
        return (type(value), frozenset((key_of(k), key_of(v)) for k, v in value.items()))
    if isinstance(value, (set, frozenset)):
        return (type(value), frozenset(map(key_of, value)))
    if isinstance(value, functools.partial):
        return (type(value), key_of(value.func), key_of(value.args), key_of(value.keywords))
    return value if _hashable(value) else _Same(value)


def _has_values(value: Tensor | np.ndarray) -> bool:
    """Whether a tensor or an array is made of numbers that can be read."""
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    return not (value.is_meta or value.is_nested or value.is_quantized)


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


class _Same:
    """An object that is equal to itself alone."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)
