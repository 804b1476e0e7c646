"""The comparison of maps before and after an intervention."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from ..common.errors import XaiError, shown
from ..explainers.attributions import Attributions
from ..maps.forms import Form
from ..maps.norms import relative_distances
from ..maps.similarity import SIMILARITIES, Prepared, Similarity
from ..statistics.evidence import Evidence, Part
from ..subject.block import Block
from .base import (
    BEGUN,
    Array,
    Beside,
    Cell,
    Compared,
    Cost,
    Intervention,
    Lab,
    Measurement,
    Measuring,
    Procedure,
    every_reading,
    in_form,
    other_than,
)
from .cells import Cells, Chosen
from .compared_maps import ComparedMaps
from .controls import CONTROLLED, Control, Controls
from .edge_resemblance import EdgeResemblance
from .foreign import asked, asked_for_each, checked_maps, checked_procedure, checked_similarity
from .groups import Grouping
from .nulls import controls_of, has_edges
from .randomized import Randomized
from .smoothing import own_network

__all__ = ["DISTANCE", "Comparison", "MapForms", "Similarities"]


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
class MapForms(Part):
    """The forms in which maps were compared.

    Attributes:
        forms: The explainer's own first, which decides; the others stand beside it, by the similarities that decide.
    """

    forms: tuple[Form, ...] = (Form(),)

    @property
    def own(self) -> Form:
        """The explainer's own form."""
        return self.forms[0]

    def plain(self) -> dict[str, object]:
        """Return the explainer's own form, where there are others."""
        own = {"reduction": self.own.reduction, "multiplier": self.own.multiplier}
        return {name: value for name, value in own.items() if value is not None and len(self.forms) > 1}


@dataclass(frozen=True)
class Comparison(Measurement[Compared]):
    """Similarity of an explanation to itself, to unrelated ones, and to those after an intervention.

    The similarity to itself is that of two runs on the same input, or the mean over what the intervention has in its
    place. That to unrelated ones compares each two inputs that are visited in a row with one another, and an odd last
    one with the one before. Maps that are known in other forms than the explainer's own (by another reduction of
    dimensions, with or without a multiplier) are compared in these as well, by the similarities that decide.

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
        """Return the explanations before and after, a second run, and the passes with which it begins."""
        if self.retrains:
            seeds, positions = self.intervention.cells()
            cells = Cells(seeds, positions, self.cells == "sample" and seeds * positions > 1)
        else:  # it begins here, so that what it would refuse is refused
            cells = Comparing(self, lab, block).cells
        copies = 1 if cells.sampled and self.samples_copies else self.intervention.copies
        return self.intervention.cost(cells.explained).times(copies) + Cost(once=BEGUN)


class Comparing(Measuring[Compared]):
    """A comparison of one explainer's maps."""

    def __init__(self, comparison: Comparison, lab: Lab, block: Block) -> None:
        self.where = f"intervention {comparison.intervention.name!r}"
        self._changes = "changes_under" in comparison.intervention.verbs
        if self._changes and comparison.similarities != (DISTANCE.name,):
            lab = replace(lab, attributions=lab.attributions.in_forms())
        with asked(self.where, *block.inputs):
            begun = comparison.intervention.start(lab, block)
        self.procedure = checked_procedure(self.where, begun)
        self.seed, self._explained = lab.seed, lab.attributions
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
        self._each = [ComparedMaps(self.similarities)]  # one for each form
        self.grouping = Grouping()

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms in which maps are compared, the explainer's own first."""
        known = self._explained.known.forms
        return known if len(self._each) > 1 else known[:1] or (Form(),)

    def measure(self, block: Block) -> Compared:
        """Return the similarities of one block."""
        whole, cells = self.attributions(block), self.cells.of(block)
        if self.network is not None:
            self.network.observe(block)
        forms = _unstacked(whole, block)
        own = forms[0]
        while len(self._each) < len(forms):
            self._each.append(ComparedMaps(self.similarities[: len(self.deciding)]))
        compare = _Forms(self._each, forms, self.forms, block)
        again = [compare.to(maps, equal=torch.equal(maps, whole)) for maps in self._again(block, whole)]
        chance = compare.to_partners()
        resemblance = self._resemblance(block, own) if self._changes and not self.controls else None
        after = [compare.to(maps) for maps in self._after(block, whole, cells, resemblance)]
        if not self.controls:
            self.controls = controls_of(self._explained, block, own, self.similarities, len(self.deciding))
            if resemblance is not None:
                self.controls += (resemblance.control(self.cells.positions),)
        return Compared.of(
            after={name: torch.stack([one[name] for one in after], dim=1) for name in chance},
            own={name: torch.stack([one[name] for one in again], dim=1).mean(1) for name in chance},
            chance=chance,
            cells=cells,
            groups=self.grouping.of(block, own),
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
        return [self._checked(maps, before, block) for maps in given]

    def _checked(self, given: object, before: Tensor, block: Block) -> Tensor:
        """Return maps in all forms; of those that are given in the explainer's own alone, the others are not known."""
        if isinstance(given, Tensor) and given.ndim < before.ndim == 2 + len(block.layout.places):
            own = checked_maps(self.where, given, before[:, 0])[:, None]
            return torch.cat([own, torch.full_like(own, torch.nan).expand_as(before[: len(own), 1:])], dim=1)
        return checked_maps(self.where, given, before)

    def _after(
        self, block: Block, before: Tensor, cells: Array, resemblance: EdgeResemblance | None
    ) -> Iterator[Tensor]:
        """Yield the maps of all inputs after the intervention, under the first cell of each, the second and so on."""
        if self.cells.sampled:
            yield from self._under(block, before, cells, resemblance)
            return
        count, rows = 0, range(len(block))
        each = asked_for_each(self.where, lambda: self.procedure.maps(block))
        with closing(each) as changed:  # however this ends, the intervention is undone here
            for given in other_than(before, changed):
                maps = self._checked(given, before, block)
                if resemblance is not None:
                    resemblance.add(_unstacked(maps, block)[0], rows, count % self.cells.positions)
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
        taken: dict[Cell, list[tuple[int, int, int]]] = {}  # draw and row, and which of the maps under the cell it is
        for row, drawn in enumerate(cells.tolist()):
            for draw, (seed, position) in enumerate(drawn):
                rows = wanted.setdefault((seed, position), [])
                if not rows or rows[-1] != row:
                    rows.append(row)
                taken.setdefault((seed, position), []).append((draw, row, len(rows) - 1))
        missing = set(wanted)
        found = before.new_full((self.cells.draws, *before.shape), torch.nan)
        with closing(asked_for_each(self.where, lambda: self.procedure.sampled(block, wanted))) as changed:
            for cell, given in changed:
                rows = wanted[cell]
                maps = self._checked(given, before[: len(rows)], block)
                missing.discard(cell)
                if resemblance is not None:
                    resemblance.add(_unstacked(maps, block)[0], rows, cell[1])
                draws, places, which = torch.tensor(taken[cell], device=before.device).unbind(1)
                found[draws, places] = maps[which]
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
        forms = MapForms(self.forms)
        return (similarities, self.cells, forms, Controls(self.controls), *own, *self.procedure.describe())

    def explained(self, lab: Lab) -> Attributions:
        """Return what makes the maps before the intervention."""
        return self.attributions

    def beside(self, block: Block, rows: Sequence[int]) -> Iterator[Beside]:
        """Yield the maps after the intervention: under the cells drawn for each input, or the first and the last."""
        cells, wanted = self.cells.of(block), dict[Cell, list[int]]()
        for row in rows:
            drawn = [(seed, position) for seed, position in cells[row].tolist()]
            some = drawn if self.cells.sampled else (drawn[0], drawn[self.cells.positions - 1])
            for cell in dict.fromkeys(some):
                wanted.setdefault(cell, []).append(row)
        found = []
        with closing(asked_for_each(self.where, lambda: self.procedure.sampled(block, wanted))) as changed:
            for cell, maps in changed:
                own = _unstacked(maps, block)[0]
                found += [(cell, row, one) for row, one in zip(wanted[cell], own, strict=True)]
        for (seed, position), row, one in sorted(found, key=lambda each: (each[0][1], each[0][0])):
            yield Beside(row, self._after_what(seed, position), one)

    def _after_what(self, seed: int, position: int) -> str:
        """Return what a map under a cell is, in words."""
        randomized = Evidence(*self.procedure.describe()).find(Randomized)
        layers = () if randomized is None else randomized.layers
        where = f"layer {layers[position]}" if len(layers) == self.cells.positions > 1 else ""
        seeded = f"seed {seed}" if self.cells.seeds > 1 or self.cells.fresh else ""
        settings = f"setting {position + 1}" if not self.cells.layered and self.cells.positions > 1 else ""
        told = ", ".join(one for one in (where, settings, seeded) if one)
        return f"after ({told})" if told else "after"

    def rest(self) -> None:
        """Let go of what the intervention keeps for the next block."""
        self.procedure.rest()

    def _resemblance(self, block: Block, maps: Tensor) -> EdgeResemblance | None:
        if not has_edges(block):
            return None
        few = block.part(0, CONTROLLED)
        images = block.layout.channels_first(few.inputs[0])
        return EdgeResemblance(self.similarities, images, maps[:CONTROLLED], indices=few.indices, seed=self.seed)

    def keep(self, names: Sequence[str]) -> None:
        """Compare by some of the similarities alone, in the explainer's own form."""
        self.similarities = [s for s in self.similarities if s.name in names]
        self._each = [ComparedMaps(self.similarities)]

    def measure_upper(self, block: Block) -> Compared:
        """Return the similarities of one block under the cells, without all that stands beside them."""
        whole, cells, compare = self.attributions(block), self.cells.of(block), self._each[0]
        own = _unstacked(whole, block)[0]
        made = compare.made(own, block.mask)
        twin = self._again(block, whole)[0] if self.procedure.ceiling else whole
        again = compare.compared(made, _unstacked(twin, block)[0], block.mask, equal=twin is whole)
        after = [
            compare.compared(made, _unstacked(maps, block)[0], block.mask)
            for maps in self._under(block, whole, cells, None)
        ]
        return Compared.of(
            after={s.name: torch.stack([one[s.name] for one in after], dim=1) for s in self.similarities},
            own=again,
            chance=compare.chances(made, own, block.mask),
            cells=cells,
        )


class _Forms:
    """The maps of a block in each form, and what they are compared by."""

    def __init__(
        self, each: list[ComparedMaps], maps: tuple[Tensor, ...], forms: tuple[Form, ...], block: Block
    ) -> None:
        self.each, self.maps, self.block = each, maps, block
        self.names = [form.beside(forms[0]) for form in forms]
        self.made = [one.made(own, block.mask) for one, own in zip(each, maps, strict=True)]

    def to(self, others: Tensor, *, equal: bool = False) -> dict[str, Tensor]:
        """Return the similarities ``(b,)`` to others of the same inputs; in other forms, by ``similarity form``."""
        mask, parts = self.block.mask, _unstacked(others, self.block)
        return self._named(
            [
                one.compared(made, maps, mask, equal=equal)
                for one, made, maps in zip(self.each, self.made, parts, strict=True)
            ]
        )

    def to_partners(self) -> dict[str, Tensor]:
        """Return the similarities to maps of unrelated inputs, likewise."""
        mask = self.block.mask
        return self._named(
            [one.chances(made, maps, mask) for one, made, maps in zip(self.each, self.made, self.maps, strict=True)]
        )

    def _named(self, found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {
            in_form(name, form): scores
            for form, by_name in zip(self.names, found, strict=True)
            for name, scores in by_name.items()
        }


def _unstacked(maps: Tensor, block: Block) -> tuple[Tensor, ...]:
    """Return the maps in each form, the explainer's own first."""
    return maps.unbind(1) if maps.ndim > 1 + len(block.layout.places) else (maps,)


def _relative_distance(before: Prepared, after: Prepared) -> Tensor:
    """Return the Euclidean distance of two maps relative to the norm of the first; 0 for two zero maps."""
    return relative_distances(before[0], after[0])


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
