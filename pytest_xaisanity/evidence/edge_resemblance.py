"""Edge resemblance: how alike explanations and the edges of the same images are (Adebayo et al. 2018).

Maps that resemble the edges of an image as much after the model was randomized as before owe it to the image. It stands
beside randomization claims as a control, on a few images, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..maps.edges import edge_maps
from ..maps.noise import noise_maps
from ..maps.similarity import Similarity, prepared
from .controls import Resemblance

__all__ = ["EdgeResemblance"]

_TOGETHER = 64  # maps that are compared at once


class EdgeResemblance:
    """Similarity of maps to the edge map of the same image.

    Args:
        similarities: The similarities.
        images: The images ``(k, C, H, W)``.
        maps: Their maps before the intervention, ``(k, H, W)``.
        indices: The place of each image in what the user gave.
        seed: Seeds the noise that is the null.
    """

    def __init__(
        self, similarities: Sequence[Similarity], images: Tensor, maps: Tensor, *, indices: Sequence[int], seed: int
    ) -> None:
        edges, noise = edge_maps(images).to(maps.dtype), noise_maps(maps, seed=seed, indices=indices, draw="edges")
        self.similarities, self.count = similarities, len(images)
        self.edges = prepared(similarities, edges)
        self.before, self.null = self._means(maps), self._means(noise)
        self.after: dict[str, dict[int, list[Tensor]]] = {s.name: {} for s in similarities}
        self._waiting: list[tuple[Tensor, Tensor, int]] = []  # maps, the places of their images, a position

    def add(self, maps: Tensor, rows: Sequence[int], position: int) -> None:
        """Take in maps after the intervention, of the inputs at these places, the first of which are the images."""
        few = [place for place, row in enumerate(rows) if row < self.count]
        if not few:
            return
        images = torch.tensor([rows[place] for place in few], device=maps.device)
        self._waiting.append((maps[few], images, position))
        if sum(len(images) for _, images, _ in self._waiting) >= _TOGETHER:
            self._compare()

    def control(self, positions: int) -> Resemblance:
        """Return, for each similarity, that before, that after by position, and that of noise to the edges."""
        self._compare()
        after = {
            name: [mean(torch.cat(scores[place])) if place in scores else None for place in range(positions)]
            for name, scores in self.after.items()
        }
        return Resemblance("edge resemblance", self.before, after, self.null)

    def _compare(self) -> None:
        """Compare the maps that wait, all at once."""
        if not self._waiting:
            return
        every, images, positions = zip(*self._waiting, strict=True)
        self._waiting = []
        maps, sizes = torch.cat(every), [len(part) for part in images]
        finite = torch.isfinite(maps.flatten(1)).all(1)
        for name, scores in self._scores(maps, torch.cat(images)).items():
            known = torch.split(torch.where(finite, scores, torch.nan), sizes)
            for position, part in zip(positions, known, strict=True):
                self.after[name].setdefault(position, []).append(part)

    def _scores(self, maps: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return the similarity of maps to the edges of the images at these places."""
        made = prepared(self.similarities, maps)
        return {
            s.name: s.compare(tuple(part[images] for part in self.edges[s.name]), made[s.name])
            for s in self.similarities
        }

    def _means(self, maps: Tensor) -> dict[str, float | None]:
        every = torch.arange(self.count, device=maps.device)
        return {name: mean(scores) for name, scores in self._scores(maps, every).items()}


def mean(scores: Tensor) -> float | None:
    """Return the mean of the scores that are known, or None."""
    known = scores[~scores.isnan()]
    return float(known.mean()) if len(known) else None
