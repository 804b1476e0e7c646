"""Which values of inputs are removed: those that a map ranks first, or as many at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.seeding import generator

__all__ = ["drawn", "packed", "ranks", "unpacked"]

Bits = NDArray[np.uint8]
_SHORT = 2**15


def ranks(maps: Tensor, indices: Sequence[int], *parts: int | str) -> Tensor:
    """Return the rank of each value of maps ``(b, ...)``, flattened: ``(b, values)``, 0 for the highest.

    Values keep their signs. Equal ones are ranked at random, so that a sparse map removes its zeros in no order.

    Args:
        maps: Attribution maps.
        indices: The place of each input in the data.
        parts: What else seeds the order of equal values, beside the place.
    """
    flat = maps.detach().flatten(1).cpu()
    values, order = flat.sort(dim=1, descending=True, stable=True)
    tied = (values[:, 1:] == values[:, :-1]).any(1).nonzero()[:, 0]
    for row in tied.tolist():
        shuffled = torch.randperm(flat.shape[1], generator=generator(*parts, "ties", indices[row]))
        order[row] = shuffled[flat[row, shuffled].argsort(descending=True, stable=True)]
    places = torch.arange(flat.shape[1], dtype=torch.int16 if flat.shape[1] < _SHORT else torch.int32)
    return torch.empty_like(order, dtype=places.dtype).scatter_(1, order, places.expand_as(order))


def drawn(share: float, count: int, indices: Sequence[int], *parts: int | str) -> Tensor:
    """Return flags ``(b, count)``, each True with probability ``share`` by itself.

    Args:
        share: From 0 to 1.
        count: How many flags an input has.
        indices: The place of each input in the data.
        parts: What else seeds the draw, beside the place.
    """
    rows = [torch.rand(count, generator=generator(*parts, "drawn", index), dtype=torch.float32) for index in indices]
    return torch.stack(rows) < share


def packed(flags: Tensor) -> Bits:
    """Return flags ``(b, values)`` as bits: ``(b, values / 8, rounded up)``."""
    return np.packbits(flags.cpu().numpy(), axis=1)


def unpacked(bits: Bits, count: int) -> Tensor:
    """Return the flags ``(b, count)`` that :func:`packed` made bits of."""
    return torch.from_numpy(np.unpackbits(bits, axis=1, count=count).astype(bool))
