"""How alike maps are under some similarities: to others of the same inputs, and to those of unrelated inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

import torch
from torch import Tensor

from ..maps.counted import counted_map, counted_maps, place_map
from ..maps.similarity import Prepared, Similarity, prepared

__all__ = ["ComparedMaps", "made_of"]


class ComparedMaps:
    """Compares the maps of one form, block by block.

    Args:
        similarities: The similarities.
    """

    def __init__(self, similarities: Sequence[Similarity]) -> None:
        self.similarities = similarities
        self._lasts: dict[str, Prepared] = {}
        self._last: Tensor | None = None  # the counted places of the last map, where inputs are sentences

    def made(self, maps: Tensor, mask: Tensor | None) -> dict[str, Prepared]:
        """Return what each similarity makes of maps ``(b, *places)``."""
        return made_of(self.similarities, maps, mask)

    def compared(
        self, made: Mapping[str, Prepared], others: Tensor, mask: Tensor | None, *, equal: bool = False
    ) -> dict[str, Tensor]:
        """Return the similarity ``(b,)`` of a block's maps to others, or to equal ones; NaN to those not finite."""
        finite = torch.isfinite(torch.linalg.vector_norm(others.flatten(1), ord=inf, dim=1))
        later = made if equal else self.made(others, mask)
        return {
            s.name: torch.where(finite, s.compare(made[s.name], later[s.name]), torch.nan) for s in self.similarities
        }

    def chances(self, made: Mapping[str, Prepared], maps: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """Return the similarities of each input's maps to those of its partner; of sentences, at its own length."""
        if mask is None:
            return {s.name: self._chance(s, made[s.name]) for s in self.similarities}
        count, others = len(maps), torch.full_like(maps, torch.nan)
        for row in range(count):
            partner = min(row ^ 1, count - 1) if row ^ 1 < count else count - 2
            other = self._last if count == 1 else counted_map(maps, mask, partner)
            if other is not None:
                place_map(other, mask, row, others)
        self._last = counted_map(maps, mask, count - 1).clone()
        return self.compared(made, others, mask)

    def _chance(self, similarity: Similarity, made: Prepared) -> Tensor:
        """Return the similarity of each input's maps to those of its partner."""
        count = len(made[0])
        if count == 1:
            other = self._lasts.get(similarity.name)
            return similarity.compare(made, other) if other else made[0].new_full((1,), torch.nan)
        self._lasts[similarity.name] = tuple(part[-1:].clone() for part in made)
        partner = torch.arange(count, device=made[0].device) ^ 1
        if count % 2:
            partner[-1] = count - 2
        return similarity.compare(made, tuple(part[partner] for part in made))


def made_of(similarities: Sequence[Similarity], maps: Tensor, mask: Tensor | None) -> dict[str, Prepared]:
    """Return what each similarity makes of maps; of sentences, of those that count, with zeros elsewhere.

    What is compared of maps with one axis are rows of numbers, to which zeros add nothing.
    """
    if mask is None:
        return prepared(similarities, maps)
    made: dict[object, Prepared] = {}
    for s in similarities:
        if s.prepare not in made:
            made[s.prepare] = (counted_maps(mask, _first_of(s.prepare), maps),)
    return {s.name: made[s.prepare] for s in similarities}


def _first_of(prepare: Callable[[Tensor], Prepared]) -> Callable[[Tensor], Tensor]:
    return lambda maps: prepare(maps)[0]
