"""Measurements under way: gathered block by block, and kept for later claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..claims.base import Measurement
from ..common.seeding import isolated
from ..explainers.attributions import Attributions
from ..subject.block import Block
from ..subject.subject import Subject

__all__ = ["Run"]


@dataclass
class Run:
    """The scores of one measurement, gathered block by block and kept for later claims."""

    subject: Subject
    measurement: Measurement
    explained: Attributions
    early: bool
    broken: bool = False
    _blocks: Iterator[Block] | None = None
    _measuring: Any = None
    _parts: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    _indices: list[tuple[int, ...]] = field(default_factory=list)
    _last: bool = False

    def advance(self, count: int) -> bool:
        """Measure until ``count`` blocks are; return whether these are all."""
        while len(self._parts) < count and not self._last:
            try:
                self._measure_next()
            except BaseException:
                self.broken = True  # a generator that raised cannot go on; the next claim measures anew
                raise
        return self._last and count >= len(self._parts)

    def _measure_next(self) -> None:
        if self._blocks is None:
            self._blocks = self.subject.blocks(early=self.early)
        with isolated(self.subject.seed, "stream", len(self._parts)):
            block = next(self._blocks)
        if self._measuring is None:
            self._measuring = self.measurement.start(self.explained, block)
        self._parts.append({name: _array(scores) for name, scores in self._measuring.measure(block).items()})
        self._indices.append(block.indices)
        self._last = block.last

    def scores(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the scores of the first ``count`` blocks."""
        return {name: np.concatenate([part[name] for part in self._parts[:count]]) for name in self._parts[0]}

    def indices(self, count: int) -> tuple[int, ...]:
        """Return the inputs of the first ``count`` blocks."""
        return tuple(index for part in self._indices[:count] for index in part)

    def describe(self) -> dict[str, Any]:
        """Return what the measurement says of itself."""
        description: dict[str, Any] = self._measuring.describe()
        return description


def _array(scores: Tensor) -> NDArray[Any]:
    return scores.detach().cpu().numpy().copy()
