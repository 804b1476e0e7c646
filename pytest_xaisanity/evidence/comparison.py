"""The comparison of maps before and after an intervention."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..maps.edges import edge_maps
from ..maps.noise import noise_maps
from ..maps.similarity import SIMILARITIES, Prepared, Similarity
from ..statistics.evidence import Part
from ..subject.block import Block
from .base import Compared, Intervention, Lab, Measurement, Measuring
from .controls import CONTROLLED, Alike, Control, Controls
from .edge_resemblance import EdgeResemblance, mean

__all__ = ["DISTANCE", "Comparison", "Similarities"]


@dataclass(frozen=True)
class Similarities(Part):
    """The similarities that were measured.

    Attributes:
        names: Their names.
        ceiling: What maps are compared with in place of a second run on the same input, in words; or nothing.
    """

    names: tuple[str, ...]
    ceiling: str = ""

    def plain(self) -> dict[str, object]:
        """Return the names."""
        return {"similarities": list(self.names)}


@dataclass(frozen=True)
class Comparison(Measurement[Compared]):
    """Similarity of an explanation to itself, to unrelated ones, and to the one after an intervention.

    The similarity to itself is that of two runs on the same input, or the mean over what the intervention has in its
    place. That to unrelated ones compares each two inputs that are visited in a row with one another, and an odd last
    one with the one before.

    Args:
        intervention: What is done.
        similarities: Names of the similarities, or none: those that the intervention prefers, or else signed and
            absolute Spearman, and SSIM for images.
    """

    intervention: Intervention
    similarities: tuple[str, ...] = ()

    @property
    def retrains(self) -> bool:  # type: ignore[override]
        """Whether models are trained for the intervention."""
        return self.intervention.retrains

    @property
    def key(self) -> Hashable:
        """Equal for comparisons that measure the same."""
        return ("comparison", self.intervention.name, self.intervention.key, self.similarities)

    def start(self, lab: Lab, block: Block) -> Comparing:
        """Begin on the first block."""
        return Comparing(self, lab, block)


class Comparing(Measuring[Compared]):
    """A comparison of one explainer's maps."""

    def __init__(self, comparison: Comparison, lab: Lab, block: Block) -> None:
        self.procedure = comparison.intervention.start(lab, block)
        self.intervention = comparison.intervention.name
        self.attributions, self.seed = self.procedure.attributions, lab.seed
        self.similarities = _similarities(comparison.similarities, self.procedure.readings, block.empty_maps())
        self.controls: tuple[Control, ...] = ()
        self._changes = "changes_under" in comparison.intervention.verbs
        self._lasts: dict[str, Prepared] = {}

    def measure(self, block: Block) -> Compared:
        """Return the similarities of one block."""
        before = self.attributions(block)
        prepared = {s.name: s.prepare(before) for s in self.similarities}
        own = self._compared(prepared, self.procedure.again(block))
        chance = {s.name: self._chance(s, prepared[s.name]) for s in self.similarities}
        resemblance = self._resemblance(block, before) if self._changes and not self.controls else None
        with closing(self.procedure.maps(block)) as changed:  # however this ends, the intervention is undone here
            after = self._compared(prepared, _other_than(before, changed), resemblance)
        if not self.controls:
            self.controls = self._measured_controls(block, before)
            if resemblance is not None:
                self.controls += (resemblance.control(self.procedure.shape[1]),)
        return Compared.of(
            after={name: self._by_position(scores) for name, scores in after.items()},
            own={name: scores.mean(1) for name, scores in own.items()},
            chance=chance,
        )

    def _by_position(self, scores: Tensor) -> Tensor:
        """Return scores ``(b, maps)`` as ``(b, seeds, positions)``."""
        count, (seeds, positions) = scores.shape[1], self.procedure.shape
        if count != seeds * positions:
            raise XaiError(
                f"intervention {self.intervention!r}",
                found=f"{count} batches of maps where its procedure has the shape {self.procedure.shape}",
                expected=f"{seeds * positions} batches: those of all positions of the first seed first",
                fix="set the shape of the procedure to (seeds, positions), or yield as many maps",
            )
        return scores.reshape(len(scores), seeds, positions)

    def describe(self) -> tuple[Part, ...]:
        """Return the similarities, the controls and what the intervention says of itself."""
        names = tuple(s.name for s in self.similarities)
        return (Similarities(names, self.procedure.ceiling), Controls(self.controls), *self.procedure.describe())

    def rest(self) -> None:
        """Let go of what the intervention keeps for the next block."""
        self.procedure.rest()

    def _compared(
        self, prepared: Mapping[str, Prepared], others: Iterable[Tensor], resemblance: EdgeResemblance | None = None
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
        if not _of_images(block):
            return None
        few = block.part(0, CONTROLLED)
        images = few.inputs[0]
        return EdgeResemblance(self.similarities, images, maps[:CONTROLLED], indices=few.indices, seed=self.seed)

    def _measured_controls(self, block: Block, maps: Tensor) -> tuple[Control, ...]:
        """Maps that do not come from the model, under the same similarities: what a randomization cannot tell apart."""
        block, maps = block.part(0, CONTROLLED), maps[:CONTROLLED]
        noise = [noise_maps(maps, seed=self.seed, indices=block.indices, draw=f"control {i}") for i in range(2)]
        pairs = {"fresh noise": (noise[0], noise[1])}
        if len(block.inputs) == 1 and block.inputs[0].is_floating_point():
            reduced = block.layout.total(block.inputs[0].to(maps.dtype))
            pairs["input × noise"] = (reduced * noise[0], reduced * noise[1])
            if _of_images(block):
                edges = edge_maps(block.inputs[0]).to(maps.dtype)
                pairs["edges"] = (edges, edges)
        return tuple(_control(name, self.similarities, *maps_of) for name, maps_of in pairs.items())


def _other_than(before: Tensor, changed: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the maps after an intervention, which are never those that are kept of the model as given."""
    for maps in changed:
        if maps is before:
            raise XaiError(
                "intervention",
                found="the kept maps of the model as given, yielded as those after it",
                expected="maps that are asked for, and kept, under a key of what was done",
                fix="pass state=(name, *settings) to attributions(block, ...)",
            )
        yield maps


def _of_images(block: Block) -> bool:
    return block.layout.is_image and block.inputs[0].is_floating_point()


def _control(name: str, similarities: Iterable[Similarity], first: Tensor, second: Tensor) -> Alike:
    """Return the similarity of two batches of control maps, on the same inputs and on neighboring ones."""
    after, chance = {}, {}
    for s in similarities:
        a = s.prepare(first)
        b = a if second is first else s.prepare(second)
        after[s.name] = mean(s.compare(a, b))
        chance[s.name] = mean(s.compare(a, tuple(part.roll(1, 0) for part in b)))
    return Alike(name, after, chance)


def _relative_distance(before: Prepared, after: Prepared) -> Tensor:
    """Return the Euclidean distance of two maps relative to the norm of the first; 0 for two zero maps."""
    moved, norm = (before[0] - after[0]).norm(dim=1), before[0].norm(dim=1)
    return torch.where(moved == 0, moved, moved / norm)


DISTANCE = Similarity("distance", lambda maps: (maps.flatten(1),), _relative_distance, low=0.0, high=inf, identical=0.0)


def _similarities(
    names: tuple[str, ...], preferred: Callable[[bool], tuple[str, ...]], maps: Tensor
) -> list[Similarity]:
    sides = maps.shape[1:]
    image = len(sides) == 2 and min(sides) >= 3
    names = names or preferred(image)
    if names == (DISTANCE.name,):
        return [DISTANCE]
    for name in names:
        if SIMILARITIES[name].needs_2d and not image:
            raise XaiError(
                f"similarity {name!r}",
                found=f"attribution maps of shape {tuple(sides)}",
                expected="maps (H, W) of at least 3×3",
                fix="use 'spearman', 'abs_spearman', 'cosine' or 'pearson'",
            )
    return [SIMILARITIES[name] for name in names]
