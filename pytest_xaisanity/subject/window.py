"""A bounded part of the rows of a stream, drawn at random while they come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BLOCK", "HELD_BYTES", "HELD_INPUTS", "Window"]

BLOCK = 64
HELD_INPUTS = 1024  # whole blocks
HELD_BYTES = 2**28


class Window:
    """The rows with the lowest lots above a bound, as many as are held at once.

    Each row of a stream has a lot of its own, a random number. The rows with the lowest lots are a sample of all rows
    in which each has the same chance, wherever it stands; those with the next ones are what such a sample goes on with.
    No more is held than the rows that are wanted so far.

    Args:
        above: Only rows with larger lots are wanted.
    """

    def __init__(self, above: float) -> None:
        self.above = above
        self._parts: list[Tensor] = []
        self._room = 0
        self._worst_first: list[tuple[float, int]] = []  # minus the lot, and the place in the parts
        self._indices: list[int] = []  # by place

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def highest(self) -> float:
        """The highest lot of a row that is held."""
        return -self._worst_first[0][0] if self._worst_first else self.above

    def add(self, start: int, lots: NDArray[np.float64], parts: Sequence[Tensor]) -> None:
        """Keep what is wanted of some rows, of which the first is row ``start`` of the stream."""
        if not self._parts:
            self._allocate(parts)
        wanted = lots > self.above
        if len(self) == self._room:
            wanted &= lots < self.highest
        for row in np.flatnonzero(wanted).tolist():
            place = self._place(float(lots[row]), start + row)
            if place is not None:
                for kept, new in zip(self._parts, parts, strict=True):
                    kept[place] = new[row]

    def _allocate(self, parts: Sequence[Tensor]) -> None:
        """Make room for whole blocks: one at least."""
        size = sum(part[0].numel() * part.element_size() for part in parts if len(part))
        held = min(HELD_INPUTS, HELD_BYTES // max(1, size))
        self._room = max(BLOCK, held - held % BLOCK)
        self._parts = [part.new_empty((self._room, *part.shape[1:])) for part in parts]

    def _place(self, lot: float, index: int) -> int | None:
        """Return where a row goes, or None where it is not wanted after all."""
        if len(self) < self._room:
            heapq.heappush(self._worst_first, (-lot, len(self)))
            self._indices.append(index)
            return len(self) - 1
        if lot >= self.highest:
            return None
        place = self._worst_first[0][1]
        heapq.heapreplace(self._worst_first, (-lot, place))
        self._indices[place] = index
        return place

    def rows(self, chosen: Tensor) -> tuple[tuple[int, ...], list[Tensor]]:
        """Return some rows, by their rank among those held in the order of the stream: their indices and parts."""
        places = torch.from_numpy(np.argsort(self._indices))[chosen]
        return tuple(self._indices[place] for place in places.tolist()), [p[places.to(p.device)] for p in self._parts]
