"""Complexity and sparseness: on how many places a map spreads what it says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import ClassVar

from torch import Tensor

from ...maps.concentration import fraction_entropy, gini
from ...maps.counted import counted_scores
from ...statistics.evidence import Evidence, Part, Row
from ...subject.block import Block
from ..base import Lab, MapMetric, Scores

__all__ = ["Complexity", "Places", "Sparseness"]


@dataclass(frozen=True)
class _OfMagnitudes(MapMetric[Block]):
    """A metric of the magnitudes of a map alone; of sentences, over the tokens that count."""

    ranks: ClassVar[bool] = False
    shares_passes: ClassVar[bool] = True
    low: ClassVar[float] = 0.0

    def prepare(self, lab: Lab, block: Block) -> Block:
        """Return the block: nothing else is needed."""
        return block

    def score(self, prepared: Block, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores ``(b,)`` of ``maps`` ``(b, *places)``."""
        return Scores(counted_scores(prepared.mask, self._of, maps))

    @abstractmethod
    def _of(self, maps: Tensor) -> Tensor:
        """Return the scores of maps whose places all count."""


class Complexity(_OfMagnitudes):
    """Shannon entropy, in nats, of each place's share of the map in absolute values (Bhatt et al. 2020).

    Lower is better: 0 where a single place says everything, the logarithm of the number of places where all say as
    much, or nothing. It says nothing of the model.
    """

    name = "complexity"
    high: ClassVar[float] = inf
    higher_is_better: ClassVar[bool] = False
    advice: ClassVar[str] = "the map is spread over all of the input: look at what it says of the background"

    def _of(self, maps: Tensor) -> Tensor:
        return fraction_entropy(maps)

    def limits(self, described: Sequence[Part]) -> tuple[float, float]:
        """Return 0 and the entropy of a map that is the same at every place."""
        places = Evidence(*described).find(Places)
        return (0.0, inf if places is None else max(log(places.count), 1e-9))

    def describe(self, prepared: Block) -> tuple[Part, ...]:
        """Return how many places a map has."""
        return (Places(prepared.empty_maps().flatten(1).shape[1]),)


class Sparseness(_OfMagnitudes):
    """Gini index of the map in absolute values (Chalasani et al. 2020).

    Higher is better, in [0, 1): 0 where all places say as much, or nothing; ``1 - 1 / places`` where a single place
    says everything. It says nothing of the model.
    """

    name = "sparseness"
    high: ClassVar[float] = 1.0
    higher_is_better: ClassVar[bool] = True
    advice: ClassVar[str] = "the map is spread over all of the input: look at what it says of the background"

    def _of(self, maps: Tensor) -> Tensor:
        return gini(maps)


@dataclass(frozen=True)
class Places(Part):
    """How many places a map has, of sentences the longest."""

    count: int

    def plain(self) -> dict[str, object]:
        """Return the number."""
        return {"places": self.count}

    def rows(self) -> Iterator[Row]:
        """Yield the greatest possible entropy."""
        yield "places", f"{self.count}, so that the entropy is {log(self.count):.3g} at most"
