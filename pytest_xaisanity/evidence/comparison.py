"""The comparison of maps before and after an intervention."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..common.errors import XaiError, shown
from ..maps.counted import counted_map, counted_maps, place_map
from ..maps.edges import edge_maps
from ..maps.noise import noise_maps
from ..maps.similarity import SIMILARITIES, Prepared, Similarity, prepared
from ..statistics.evidence import Part
from ..subject.block import Block
from .base import (
    Array,
    Cell,
    Compared,
    Cost,
    Intervention,
    Lab,
    Measurement,
    Measuring,
    Procedure,
    every_reading,
    other_than,
)
from .cells import Cells, Chosen
from .controls import CONTROLLED, Alike, Control, Controls
from .edge_resemblance import EdgeResemblance, mean
from .foreign import asked, asked_for_each, checked_maps, checked_procedure, checked_similarity
from .groups import Grouping
from .smoothing import own_network

__all__ = ["DISTANCE", "Comparison", "Similarities"]


@dataclass(frozen=True)
class Similarities(Part):
    """The similarities that were measured.

    Attributes:
        names: Their names, those that decide first.
        deciding: How many of them decide; the others stand beside them.
        ceiling: What maps are compared with in place of a second run on the same input, in words; or nothing.
    """

    names: tuple[str, ...]
    deciding: int
    ceiling: str = ""

    def plain(self) -> dict[str, object]:
        """Return the names of those that decide."""
        return {"similarities": list(self.names[: self.deciding])}


@dataclass(frozen=True)
class Comparison(Measurement[Compared]):
    """Similarity of an explanation to itself, to unrelated ones, and to those after an intervention.

    The similarity to itself is that of two runs on the same input, or the mean over what the intervention has in its
    place. That to unrelated ones compares each two inputs that are visited in a row with one another, and an odd last
    one with the one before.

    Args:
        intervention: What is done.
        similarities: Names of the similarities, or none: those that the intervention prefers decide, and signed and
            absolute Spearman, and SSIM for images, are measured beside them.
        cells: Which cells each input is explained under, see :mod:`.cells`.
        calibrated: Whether the similarities are set against those to the second run and to unrelated explanations.
            Where a map is the mean over copies of the input and cells are sampled, copies then are as well; a raw
            similarity is one of whole maps.
    """

    intervention: Intervention
    similarities: tuple[str, ...] = ()
    cells: Chosen = "all"
    calibrated: bool = True

    @property
    def retrains(self) -> bool:  # type: ignore[override]
        """Whether models are trained for the intervention."""
        return self.intervention.retrains

    @property
    def key(self) -> Hashable:
        """Equal for comparisons that measure the same."""
        named = (self.intervention.name, self.intervention.key)
        return ("comparison", *named, self.similarities, self.cells, self.samples_copies)

    @property
    def samples_copies(self) -> bool:
        """Whether copies are sampled, where cells are."""
        return self.calibrated and self.intervention.copies > 1

    def start(self, lab: Lab, block: Block) -> Comparing:
        """Begin on the first block."""
        return Comparing(self, lab, block)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return the explanations before and after, and a second run."""
        if self.retrains:
            seeds, positions = self.intervention.cells()
            cells = Cells(seeds, positions, self.cells == "sample" and seeds * positions > 1)
        else:  # it begins here, so that what it would refuse is refused
            cells = Comparing(self, lab, block).cells
        copies = 1 if cells.sampled and self.samples_copies else self.intervention.copies
        return self.intervention.cost(cells.explained).times(copies)


class Comparing(Measuring[Compared]):
    """A comparison of one explainer's maps."""

    def __init__(self, comparison: Comparison, lab: Lab, block: Block) -> None:
        self.where = f"intervention {comparison.intervention.name!r}"
        with asked(self.where, *block.inputs):
            begun = comparison.intervention.start(lab, block)
        self.procedure = checked_procedure(self.where, begun)
        self.seed = lab.seed
        self.network = own_network(lab.attributions)
        self.cells = _cells(comparison, self.procedure, lab.seed)
        if self.cells.sampled and comparison.samples_copies:
            self.procedure.sample_copies()
        self.attributions = self.procedure.attributions
        sides = tuple(block.empty_maps().shape[1:])
        with asked(self.where):
            self.deciding, beside = _names(comparison.similarities, self.procedure.readings, sides)
        self.similarities = _similarities((*self.deciding, *beside), sides)
        self.controls: tuple[Control, ...] = ()
        self._changes = "changes_under" in comparison.intervention.verbs
        self._lasts: dict[str, Prepared] = {}
        self._last: Tensor | None = None  # the counted places of the last map, where inputs are sentences
        self.grouping = Grouping()

    def measure(self, block: Block) -> Compared:
        """Return the similarities of one block."""
        before, cells = self.attributions(block), self.cells.of(block)
        if self.network is not None:
            self.network.observe(block)
        mask = block.mask
        made = _made(self.similarities, before, mask)
        equal = torch.equal
        again = [self._compared(made, maps, mask, equal=equal(maps, before)) for maps in self._again(block, before)]
        chance = self._chances(made, before, mask)
        resemblance = self._resemblance(block, before) if self._changes and not self.controls else None
        after = [self._compared(made, maps, mask) for maps in self._after(block, before, cells, resemblance)]
        if not self.controls:
            self.controls = self._measured_controls(block, before)
            if resemblance is not None:
                self.controls += (resemblance.control(self.cells.positions),)
        return Compared.of(
            after={s.name: torch.stack([one[s.name] for one in after], dim=1) for s in self.similarities},
            own={s.name: torch.stack([one[s.name] for one in again], dim=1).mean(1) for s in self.similarities},
            chance=chance,
            cells=cells,
            groups=self.grouping.of(block, before),
        )

    def _again(self, block: Block, before: Tensor) -> list[Tensor]:
        """Return maps that are as like those before as can be asked of any, of one run or more."""
        with asked(self.where):
            given = list(self.procedure.again(block))
        if not given:
            raise XaiError(
                self.where,
                found="no maps from again(block)",
                expected="one batch of maps or more",
                fix="return [self.attributions(block, run=1)]",
            )
        return [checked_maps(self.where, maps, before) for maps in given]

    def _after(
        self, block: Block, before: Tensor, cells: Array, resemblance: EdgeResemblance | None
    ) -> Iterator[Tensor]:
        """Yield the maps of all inputs after the intervention, under the first cell of each, the second and so on."""
        if self.cells.sampled:
            yield from self._under(block, before, cells, resemblance)
            return
        count, rows = 0, torch.arange(len(block), device=before.device)
        each = asked_for_each(self.where, lambda: self.procedure.maps(block))
        with closing(each) as changed:  # however this ends, the intervention is undone here
            for given in other_than(before, changed):
                maps = checked_maps(self.where, given, before)
                if resemblance is not None:
                    resemblance.add(maps, rows, count % self.cells.positions)
                count += 1
                yield maps
        if count != self.cells.draws:
            raise XaiError(
                self.where,
                found=f"{count} batches of maps where its procedure has the shape {self.procedure.shape}",
                expected=f"{self.cells.draws} batches: those of all positions of the first seed first",
                fix="set the shape of the procedure to (seeds, positions), or yield as many maps",
            )

    def _under(
        self, block: Block, before: Tensor, cells: Array, resemblance: EdgeResemblance | None
    ) -> tuple[Tensor, ...]:
        """Return maps under the cells drawn, ``(b, *places)`` for each draw; one that is not finite is NaN."""
        wanted: dict[Cell, list[int]] = {}
        for row, drawn in enumerate(cells.tolist()):
            for cell in dict.fromkeys((seed, position) for seed, position in drawn):
                wanted.setdefault(cell, []).append(row)
        missing = set(wanted)
        found = before.new_full((self.cells.draws, *before.shape), torch.nan)
        with closing(asked_for_each(self.where, lambda: self.procedure.sampled(block, wanted))) as changed:
            for cell, given in changed:
                rows = wanted[cell]
                maps = checked_maps(self.where, given, before[: len(rows)])
                missing.discard(cell)
                places = torch.tensor(rows, device=before.device)
                if resemblance is not None:
                    resemblance.add(maps, places, cell[1])
                for draw in range(self.cells.draws):
                    under = torch.from_numpy((cells[rows, draw] == cell).all(1)).to(before.device)
                    found[draw, places[under]] = maps[under]
        if missing:
            raise XaiError(
                self.where,
                found=f"no maps for {len(missing)} cells where its procedure has the shape {self.procedure.shape}",
                expected="maps for every cell (seed, position) that is asked for",
                fix="set the shape of the procedure to (seeds, positions), or yield as many maps",
            )
        return found.unbind(0)

    def describe(self) -> tuple[Part, ...]:
        """Return the similarities, the cells, the controls and what the intervention says of itself."""
        names = tuple(s.name for s in self.similarities)
        similarities = Similarities(names, len(self.deciding), self.procedure.ceiling)
        own = () if self.network is None else (self.network.agreement(),)
        return (similarities, self.cells, Controls(self.controls), *own, *self.procedure.describe())

    def rest(self) -> None:
        """Let go of what the intervention keeps for the next block."""
        self.procedure.rest()

    def _compared(
        self, made: Mapping[str, Prepared], others: Tensor, mask: Tensor | None, *, equal: bool = False
    ) -> dict[str, Tensor]:
        """Return the similarity ``(b,)`` of a block's maps to others, or to equal ones; NaN to those not finite."""
        finite = torch.isfinite(torch.linalg.vector_norm(others.flatten(1), ord=inf, dim=1))
        later = made if equal else _made(self.similarities, others, mask)
        return {
            s.name: torch.where(finite, s.compare(made[s.name], later[s.name]), torch.nan) for s in self.similarities
        }

    def _chances(self, prepared: Mapping[str, Prepared], maps: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """Return the similarities of each input's maps to those of its partner; of sentences, at its own length."""
        if mask is None:
            return {s.name: self._chance(s, prepared[s.name]) for s in self.similarities}
        count, others = len(maps), torch.full_like(maps, torch.nan)
        for row in range(count):
            partner = min(row ^ 1, count - 1) if row ^ 1 < count else count - 2
            other = self._last if count == 1 else counted_map(maps, mask, partner)
            if other is not None:
                place_map(other, mask, row, others)
        self._last = counted_map(maps, mask, count - 1).clone()
        return self._compared(prepared, others, mask)

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
        images = block.layout.channels_first(few.inputs[0])
        return EdgeResemblance(self.similarities, images, maps[:CONTROLLED], indices=few.indices, seed=self.seed)

    def _measured_controls(self, block: Block, maps: Tensor) -> tuple[Control, ...]:
        """Maps that do not come from the model, under the same similarities: what a randomization cannot tell apart."""
        block, maps = block.part(0, CONTROLLED), maps[:CONTROLLED]
        seed, indices, mask = self.seed, block.indices, block.mask
        noise = [noise_maps(maps, seed=seed, indices=indices, draw=f"control {i}", mask=mask) for i in range(2)]
        pairs = {"fresh noise": (noise[0], noise[1])}
        if len(block.inputs) == 1 and block.inputs[0].is_floating_point():
            reduced = block.layout.total(block.inputs[0].to(maps.dtype))
            pairs["input × noise"] = (reduced * noise[0], reduced * noise[1])
            if _of_images(block):
                edges = edge_maps(block.layout.channels_first(block.inputs[0])).to(maps.dtype)
                pairs["edges"] = (edges, edges)
        return _alike(pairs, self.similarities, block.mask)


def _of_images(block: Block) -> bool:
    return block.layout.is_image and block.inputs[0].is_floating_point()


def _made(similarities: Sequence[Similarity], maps: Tensor, mask: Tensor | None) -> dict[str, Prepared]:
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


def _alike(
    pairs: Mapping[str, tuple[Tensor, Tensor]], similarities: Sequence[Similarity], mask: Tensor | None
) -> tuple[Alike, ...]:
    """Return the similarity of two batches of maps by name of control: on the same inputs and on neighboring ones."""
    masks = None if mask is None else torch.cat([mask] * len(pairs))
    one, other = (_made(similarities, torch.cat(side), masks) for side in zip(*pairs.values(), strict=True))
    sizes = [len(first) for first, _ in pairs.values()]
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    parts = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    neighbors = [place for part in parts for place in (part[-1], *part[:-1])]
    after = {s.name: s.compare(one[s.name], other[s.name]) for s in similarities}
    if mask is None:
        moved = {s.name: tuple(half[neighbors] for half in other[s.name]) for s in similarities}
    else:
        moved = _made(similarities, torch.cat([_neighbors(second, mask) for _, second in pairs.values()]), masks)
    chance = {s.name: s.compare(one[s.name], moved[s.name]) for s in similarities}

    def of(scores: Mapping[str, Tensor], part: range) -> dict[str, float | None]:
        return {similarity: mean(values[part.start : part.stop]) for similarity, values in scores.items()}

    return tuple(Alike(name, of(after, part), of(chance, part)) for name, part in zip(pairs, parts, strict=True))


def _neighbors(maps: Tensor, mask: Tensor) -> Tensor:
    """Return for each sentence the map of the one before, at its own length."""
    others = torch.zeros_like(maps)
    for row in range(len(maps)):
        place_map(counted_map(maps, mask, row - 1), mask, row, others)
    return others


def _relative_distance(before: Prepared, after: Prepared) -> Tensor:
    """Return the Euclidean distance of two maps relative to the norm of the first; 0 for two zero maps."""
    moved, norm = (before[0] - after[0]).norm(dim=1), before[0].norm(dim=1)
    return torch.where(moved == 0, moved, moved / norm)


DISTANCE = Similarity("distance", lambda maps: (maps.flatten(1),), _relative_distance, low=0.0, high=inf, identical=0.0)


def _names(
    named: tuple[str, ...], preferred: Callable[[bool], tuple[str, ...]], sides: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the similarities that decide, and of those that stand beside them."""
    if named:
        return named, ()
    image = _are_images(sides)
    deciding = preferred(image)
    if not isinstance(deciding, tuple) or not deciding:
        raise XaiError(
            "intervention",
            found=f"{shown(deciding)} from readings(image)",
            expected="names of similarities in a tuple, one or more",
            fix='return ("sign_flip_spearman",)',
        )
    return deciding, tuple(name for name in every_reading(image) if name not in deciding)


def _similarities(names: tuple[str, ...], sides: tuple[int, ...]) -> list[Similarity]:
    if names == (DISTANCE.name,):
        return [DISTANCE]
    for name in names:
        if SIMILARITIES[name].needs_2d and not _are_images(sides):
            raise XaiError(
                f"similarity {name!r}",
                found=f"attribution maps of shape {sides}",
                expected="maps (H, W) of at least 3×3",
                fix="use 'spearman', 'abs_spearman', 'cosine' or 'pearson'",
            )
    return [checked_similarity(SIMILARITIES[name]) for name in names]


def _are_images(sides: tuple[int, ...]) -> bool:
    return len(sides) == 2 and min(sides) >= 3


def _cells(comparison: Comparison, procedure: Procedure, seed: int) -> Cells:
    several = procedure.fresh or procedure.shape != (1, 1) or comparison.samples_copies
    sampled = comparison.cells == "sample" and several
    if procedure.fresh and not sampled:
        raise XaiError(
            f"{comparison.intervention.name} seeds",
            found="a seed for each pair of inputs, where every cell is measured",
            expected="a number of seeds, whose cells can all be measured",
            fix='pass seeds=8, or leave cells="all" and early=False out',
        )
    return Cells(*procedure.shape, sampled, procedure.fresh, seed, procedure.layered)
