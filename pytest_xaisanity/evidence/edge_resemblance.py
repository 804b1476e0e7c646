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
from ..maps.similarity import Similarity
from .controls import Resemblance

__all__ = ["EdgeResemblance"]


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
        self.edges = {s.name: s.prepare(edges) for s in similarities}
        self.before = {s.name: mean(s.compare(self.edges[s.name], s.prepare(maps))) for s in similarities}
        self.null = {s.name: mean(s.compare(self.edges[s.name], s.prepare(noise))) for s in similarities}
        self.after: dict[str, dict[int, list[Tensor]]] = {s.name: {} for s in similarities}

    def add(self, maps: Tensor, rows: Tensor, position: int) -> None:
        """Take in maps after the intervention, of the inputs at these places, the first of which are the images."""
        few = rows < self.count
        images, chosen = rows[few], maps[few]
        if not len(images):
            return
        finite = torch.isfinite(chosen.flatten(1)).all(1)
        for s in self.similarities:
            edges = tuple(part[images] for part in self.edges[s.name])
            scores = torch.where(finite, s.compare(edges, s.prepare(chosen)), torch.nan)
            self.after[s.name].setdefault(position, []).append(scores)

    def control(self, positions: int) -> Resemblance:
        """Return, for each similarity, that before, that after by position, and that of noise to the edges."""
        after = {
            name: [mean(torch.cat(scores[place])) if place in scores else None for place in range(positions)]
            for name, scores in self.after.items()
        }
        return Resemblance("edge resemblance", self.before, after, self.null)


def mean(scores: Tensor) -> float | None:
    """Return the mean of the scores that are known, or None."""
    known = scores[~scores.isnan()]
    return float(known.mean()) if len(known) else None
