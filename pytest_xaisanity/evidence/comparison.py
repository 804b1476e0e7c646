"""What every intervention offers, and the comparison of maps before and after it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextlib import closing
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..explainers.attributions import Attributions
from ..maps.edges import edge_maps
from ..maps.noise import noise_maps
from ..maps.similarity import SIMILARITIES, Prepared, Similarity
from ..subject.block import Block
from ..subject.layout import empty_maps
from .base import Intervention, every_reading
from .edge_resemblance import EdgeResemblance, mean

__all__ = ["Comparison"]

_CONTROLLED = 16  # inputs that the controls are shown on: they do not decide


@dataclass(frozen=True)
class Comparison:
    """Similarity of an explanation to itself, to unrelated ones, and to the one after an intervention.

    For each named similarity and input: ``after`` ``(b, seeds, positions)``; ``self`` ``(b,)``, two runs on the same
    input, or the mean over the intervention's control; ``chance`` ``(b,)``, similarity to another input: each two that
    are visited in a row are compared with one another, and an odd last one with the one before. NaN where a map is
    constant.

    Args:
        intervention: What is done.
        similarities: Names of the similarities, or none: those that the intervention prefers, or else signed and
            absolute Spearman, and SSIM for images.
    """

    intervention: Intervention
    similarities: tuple[str, ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal for comparisons that measure the same."""
        return ("comparison", self.intervention.name, self.intervention.key, self.similarities)

    @property
    def explains(self) -> bool:
        """True: a comparison is one of the explainer's maps."""
        return True

    def start(self, explained: Attributions, block: Block) -> _Comparing:
        """Begin on the first block."""
        return _Comparing(self, explained, block)


class _Comparing:
    def __init__(self, comparison: Comparison, explained: Attributions, block: Block) -> None:
        self.session = comparison.intervention.start(explained, block)
        self.explained: Attributions = getattr(self.session, "explained", explained)
        preferred = getattr(self.session, "similarities", every_reading)
        self.similarities = _similarities(comparison.similarities, preferred, empty_maps(block.inputs))
        self.controls: dict[str, Any] = {}
        self._changes = "changes_under" in comparison.intervention.relations
        self._lasts: dict[str, Prepared] = {}

    def measure(self, block: Block) -> dict[str, Tensor]:
        """Return the scores of one block, under ``after <similarity>`` and so on."""
        before = self.explained(block)
        prepared = {s.name: s.prepare(before) for s in self.similarities}
        own = self._compared(prepared, self._again(block))
        result: dict[str, Tensor] = {}
        for s in self.similarities:
            result[f"self {s.name}"] = own[s.name].mean(1)
            result[f"chance {s.name}"] = self._chance(s, prepared[s.name])
        resemblance = self._resemblance(block, before) if self._changes and not self.controls else None
        with closing(self.session.maps(block)) as changed:  # however this ends, the intervention is undone here
            after = self._compared(prepared, changed, resemblance)
        for name, scores in after.items():
            result[f"after {name}"] = scores.reshape(len(block), *self.session.shape)
        if not self.controls:
            self._measure_controls(block, before)
            if resemblance is not None:
                self.controls["edge resemblance"] = resemblance.describe(self.session.shape[1])
        return result

    def describe(self) -> dict[str, Any]:
        """Return the similarities, the controls and what the intervention says of itself."""
        names = [s.name for s in self.similarities]
        return {"similarities": names, "controls": self.controls, **self.session.describe()}

    def _again(self, block: Block) -> Iterable[Tensor]:
        """Return maps that are as like those of the block as can be asked of any."""
        control = getattr(self.session, "control", None)
        return [self.explained(block, run=1)] if control is None else control(block)

    def _compared(
        self, prepared: dict[str, Prepared], others: Iterable[Tensor], resemblance: EdgeResemblance | None = None
    ) -> dict[str, Tensor]:
        """Return the similarity of a block's maps to each of several others, ``(b, others)``; NaN to infinite ones."""
        columns: dict[str, list[Tensor]] = {s.name: [] for s in self.similarities}
        for maps in others:
            finite = torch.isfinite(torch.linalg.vector_norm(maps.flatten(1), ord=inf, dim=1))
            for s in self.similarities:
                later = s.prepare(maps)
                columns[s.name].append(torch.where(finite, s.compare(prepared[s.name], later), torch.nan))
                if resemblance is not None:
                    resemblance.add(s, later, finite)
        return {name: torch.stack(scores, dim=1) for name, scores in columns.items()}

    def _chance(self, similarity: Similarity, prepared: Prepared) -> Tensor:
        """Return the similarity of each input's maps to those of its partner."""
        count = len(prepared[0])
        if count == 1:
            other = self._lasts.get(similarity.name)
            return similarity.compare(prepared, other) if other else prepared[0].new_full((1,), torch.nan)
        self._lasts[similarity.name] = tuple(part[-1:].clone() for part in prepared)
        partner = torch.arange(count, device=prepared[0].device) ^ 1
        if count % 2:
            partner[-1] = count - 2
        return similarity.compare(prepared, tuple(part[partner] for part in prepared))

    def _resemblance(self, block: Block, maps: Tensor) -> EdgeResemblance | None:
        if not _images(block):
            return None
        few = block.part(0, _CONTROLLED)
        images, seed = few.inputs[0], self.explained.seed
        return EdgeResemblance(self.similarities, images, maps[:_CONTROLLED], indices=few.indices, seed=seed)

    def _measure_controls(self, block: Block, maps: Tensor) -> None:
        """Maps that do not come from the model, under the same similarities: what a randomization cannot tell apart."""
        block, maps = block.part(0, _CONTROLLED), maps[:_CONTROLLED]
        seed = self.explained.seed
        noise = [noise_maps(maps, seed=seed, indices=block.indices, draw=f"control {i}") for i in range(2)]
        pairs = {"fresh noise": (noise[0], noise[1])}
        image = block.inputs[0]
        if len(block.inputs) == 1 and image.is_floating_point():
            reduced = image.to(maps.dtype).sum(1) if image.ndim > 2 else image.to(maps.dtype)
            pairs["input × noise"] = (reduced * noise[0], reduced * noise[1])
            if _images(block):
                edges = edge_maps(image).to(maps.dtype)
                pairs["edges"] = (edges, edges)
        for name, maps_of in pairs.items():
            self.controls[name] = {s.name: _control(s, *maps_of) for s in self.similarities}


def _images(block: Block) -> bool:
    return len(block.inputs) == 1 and block.inputs[0].ndim == 4 and block.inputs[0].is_floating_point()


def _control(similarity: Similarity, first: Tensor, second: Tensor) -> dict[str, float | None]:
    """Return the similarity of two batches of control maps, on the same inputs and on neighbouring ones."""
    a = similarity.prepare(first)
    b = a if second is first else similarity.prepare(second)
    neighbours = tuple(part.roll(1, 0) for part in b)
    return {"after": mean(similarity.compare(a, b)), "chance": mean(similarity.compare(a, neighbours))}


def _relative_distance(before: Prepared, after: Prepared) -> Tensor:
    """Return the Euclidean distance of two maps relative to the norm of the first; 0 for two zero maps."""
    moved, norm = (before[0] - after[0]).norm(dim=1), before[0].norm(dim=1)
    return torch.where(moved == 0, moved, moved / norm)


_DISTANCE = Similarity(
    "distance", lambda maps: (maps.flatten(1),), _relative_distance, low=0.0, high=inf, identical=0.0
)


def _similarities(
    names: tuple[str, ...], preferred: Callable[[bool], tuple[str, ...]], maps: Tensor
) -> list[Similarity]:
    image = maps.ndim == 3 and min(maps.shape[1:]) >= 3
    names = names or preferred(image)
    if names == ("distance",):
        return [_DISTANCE]
    for name in names:
        if SIMILARITIES[name].needs_2d and not image:
            raise XaiError(
                f"similarity {name!r}",
                found=f"attribution maps of shape {tuple(maps.shape[1:])}",
                expected="maps (H, W) of at least 3×3",
                fix="use 'spearman', 'abs_spearman', 'cosine' or 'pearson'",
            )
    return [SIMILARITIES[name] for name in names]
