"""The verb ``changes_under``: how much an intervention leaves, over all cells and over the upper third of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import nan
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..evidence.base import Compared, Intervention
from ..evidence.cells import Cells, Chosen
from ..evidence.comparison import Comparison, MapForms, Similarities
from ..evidence.controls import Alike, Controls
from ..evidence.own_gradient import OwnGradient, OwnGradients
from ..evidence.randomized import Randomized
from ..maps.similarity import SIMILARITIES, SPEARMAN, Similarity
from ..report.figures import Chart, Figure, Line, Mark, Scale
from ..statistics.evidence import Evidence, Part, Row, number
from ..statistics.grouped import Grouped, pair_groups
from ..statistics.question import FIRST_LOOK, Decision, Level, Outlook, Question
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Look,
    Need,
    PerInput,
    Scores,
    Thresholds,
    Worst,
    closer_to,
    constant_note,
    extremes,
    left_alone,
    mean,
    plain,
    remarked,
    remarks_in,
    require_inputs,
)
from .groups import Groups, counted, settled_by
from .other_forms import FoundInForm, InForms, otherwise_in_forms
from .quality import Quality
from .retention import (
    KEEPS_ITS_SIGN,
    LIMITS,
    REPRODUCED,
    REPRODUCES,
    Between,
    Bound,
    Bounds,
    OwnLoss,
    Retained,
    inputs_of,
    pair_means,
)
from .told import Sentences, along, bounds_of, measured, percent

__all__ = ["ChangesUnder", "Reading", "Readings"]

_POSITIONS = 12  # of a curve that a person reads
_INVERTED = -0.25  # less than this is left of maps that turn over
_UPPER = " in the upper third"
_AGREE = "; two runs that agree: seed the explainer, or let it average more samples"
_ALIKE = 0.1  # of retentions, that of maps and that of input times noise


@dataclass(frozen=True)
class Reading:
    """What one similarity found.

    Attributes:
        after_by_position: Mean similarity before and after, by position in the order of the intervention.
        after_by_seed: Likewise by seed.
        own: Mean similarity of two runs on the same input, or of what stands in its place.
        chance: Mean similarity to unrelated inputs.
        constant: How many inputs have a constant or non-finite map.
        calibrated: Whether retention was asked for, rather than the raw similarity.
        gap: ``own - chance``, as it was measured on pairs of inputs; None where it is not known.
        retention: The share of the gap that is left; None where the explainer is not shown to reproduce itself.
        upper_third: The share that is left in the upper third of the positions, likewise.
    """

    after_by_position: tuple[float | None, ...]
    after_by_seed: tuple[float | None, ...]
    own: float | None
    chance: float | None
    constant: int
    calibrated: bool = False
    gap: float | None = None
    retention: float | None = None
    upper_third: float | None = None

    @property
    def retention_by_position(self) -> tuple[float | None, ...]:
        """The share of the similarity above chance that is left, by position: 1 for all of it, 0 for none.

        It is that of the mean similarities. ``retention`` is decided on pairs of inputs, whose differences are clipped.
        None where a similarity is not known, or where the explanations of one input are no more alike than others.
        """
        if self.own is None or self.chance is None or self.own == self.chance:
            return (None,) * len(self.after_by_position)
        own, chance = self.own, self.chance
        return tuple(None if after is None else (after - chance) / (own - chance) for after in self.after_by_position)

    def plain(self) -> dict[str, object]:
        """Return all of it; gap and retention where they were asked for."""
        return {
            "after_by_position": list(self.after_by_position),
            "after_by_seed": list(self.after_by_seed),
            "self": self.own,
            "chance": self.chance,
            "constant_or_not_finite": self.constant,
            **(
                {"gap": self.gap, "retention": self.retention, "upper_third": self.upper_third}
                if self.calibrated
                else {}
            ),
        }


@dataclass(frozen=True)
class Readings(Part):
    """What each similarity found.

    Attributes:
        by_similarity: By name.
        ceiling: What maps are compared with in place of a second run on the same input, in words; or nothing.
    """

    by_similarity: Mapping[str, Reading]
    ceiling: str = ""

    def __getitem__(self, similarity: str) -> Reading:
        """Return what one similarity found."""
        return self.by_similarity[similarity]

    def plain(self) -> dict[str, object]:
        """Return each under its name."""
        return {"by_similarity": {name: reading.plain() for name, reading in self.by_similarity.items()}}

    def rows(self) -> Iterator[Row]:
        """Yield one row a similarity."""
        again = self.ceiling or "one input twice"
        for name, reading in self.by_similarity.items():
            curve = " ".join(number(value) for value in reading.after_by_position[:_POSITIONS])
            more = " ..." if len(reading.after_by_position) > _POSITIONS else ""
            kept = f"; retention {number(reading.retention)}" if reading.calibrated else ""
            kept += "" if reading.upper_third is None else f", in the upper third {number(reading.upper_third)}"
            yield (
                name,
                f"{again} {number(reading.own)}, unrelated inputs {number(reading.chance)}, "
                f"before and after {curve}{more}{kept}",
            )

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield what is left at each position, or the similarity there, by each similarity."""
        counted, held = beside.find(Similarities), beside.find(Thresholds)
        deciding = 1 if counted is None else counted.deciding
        calibrated = any(reading.calibrated for reading in self.by_similarity.values())
        lines = tuple(
            Line(
                name,
                reading.retention_by_position if calibrated else reading.after_by_position,
                beside=place >= deciding,
            )
            for place, (name, reading) in enumerate(self.by_similarity.items())
        )
        if len(lines[0].values) < 2:
            return
        randomized = beside.find(Randomized)
        layers = () if randomized is None else randomized.layers
        count = len(lines[0].values)
        points = layers if len(layers) == count else tuple(map(str, range(1, count + 1)))
        accepted = None if held is None else held.scale.at_most
        yield Chart(
            "What is left, by position" if calibrated else "Similarity before and after, by position",
            "layer, in the order of the intervention" if points is layers else "position",
            "share left (0: none, 1: all)" if calibrated else "similarity",
            points,
            lines,
            () if accepted is None else (Mark("accepted", accepted),),
            limits=(-1.0, 1.5) if calibrated else None,
        )


@dataclass(frozen=True, kw_only=True)
class ChangesUnder(Claim):
    """The attributions differ once the intervention is made. See :func:`~pytest_xaisanity.changes_under`."""

    intervention: Intervention
    similarity: tuple[str, ...] = ()
    at_most: float | None = None
    retention: float = 0.5
    cells: Chosen | None = None
    verb: ClassVar[str] = "changes_under"
    sentences: ClassVar[Sentences] = {
        "passed": "{explainer} changes under {object}: {reason}",
        "failed": "{explainer} does not change enough under {object}: {reason}",
        "inconclusive": "It is open whether {explainer} changes under {object}: {reason}",
    }

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What the intervention advises, or else what helps with any."""
        return self.intervention.advice or (
            "use a method that depends on what was changed in the model (gradients), or look for a multiplication by "
            "the input"
        )

    @property
    def randomizes(self) -> bool:
        """True: noise that is seeded by the output passes as well."""
        return True

    @property
    def bounds(self) -> Mapping[str, float | None]:
        """The bound of the raw similarity."""
        return {"at_least": None, "at_most": self.at_most}

    def needs(self) -> Sequence[Need]:
        """One comparison of the maps before and after."""
        return [Need(self._comparison)]

    def may_need(self) -> Sequence[Need]:
        """The network's own gradients, where retention is asked of layers; a named similarity decides alone."""
        if self.similarity or self.at_most is not None or self.retrains:
            return []
        return [Need(OwnGradients(self._comparison))]

    @property
    def _comparison(self) -> Comparison:
        cells = self.cells or ("sample" if self.early else "all")
        return Comparison(self.intervention, self.similarity, cells, calibrated=self.at_most is None)

    def decide(self, look: Look) -> Verdict | None:
        """Decide each similarity by itself; where they contradict one another the verdict is inconclusive."""
        if look.n <= FIRST_LOOK and not look.final:
            return None  # it is decided on pairs, which are half as many as the first look is made for
        found = Evidence(*look.parts[0])
        similarities, cells = found.get_part(Similarities), found.get_part(Cells)
        seen = _Seen(look, look.compared(), cells, similarities.ceiling)
        names = similarities.names
        tests = [
            self._test(SIMILARITIES[name], seen, beside=not self.similarity) for name in names[: similarities.deciding]
        ]
        outcome = _joint([test.outcome for test in tests])
        if outcome is None:
            return None
        views = [test.view() for test in tests]
        main = _worst(views, outcome)
        if outcome == "inconclusive" and main.outlook is not None and look.final:
            require_inputs(look.n, self._least(look.level), f"{look.explainer} {self}")
        beside = [self._test(SIMILARITIES[name], seen).view() for name in names[similarities.deciding :]]
        return self._concluded(outcome, main, views, beside, seen)

    def _concluded(
        self, outcome: Outcome, main: _View, views: Sequence[_View], beside: Sequence[_View], seen: _Seen
    ) -> Verdict:
        """Return the verdict that quotes one of the similarities which decide, with what stands beside them."""
        look, found = seen.look, Evidence(*seen.look.parts[0])
        in_forms, held, interval = self._in_forms(found, seen, views), self._held(main, found), main.interval()
        reason, besides, settled = _reason(views, outcome, main, str(seen.counted))
        return self._verdict(
            look,
            main.decision,
            outcome=outcome,
            interval=interval,
            quantity=main.quantity,
            reason=reason,
            figures=f"; {main.open.figures}" if main.open and main.open.figures else "",
            besides=besides
            + _otherwise(beside, outcome, found.get_part(Controls))
            + "".join(otherwise_in_forms(one, outcome) for one in in_forms)
            + left_alone(look.parts[0])
            + remarked(remarks_in(look.parts[0]), outcome),
            settled=settled,
            why="" if main.open is None else main.open.why,
            lines=[*_lines(main, interval, held, found)],
            evidence=(
                held,
                Readings({view.name: view.reading for view in (*views, *beside)}, seen.ceiling),
                *in_forms,
                *seen.with_gradient(look.parts[0]),
                seen.counted,
                PerInput({view.name: view.scores for view in (*views, *beside)}),
                self._quality(views[0].name, seen.compared),
                *main.worst(look),
            ),
        )

    def _quality(self, name: str, compared: Compared) -> Quality:
        """Return how alike the explanations of each input stay, by the first similarity that decides."""
        return Quality.of_similarity(SIMILARITIES[name], compared.after[name], compared.groups, alike=False)

    def _in_forms(self, measured: Evidence, seen: _Seen, views: Sequence[_View]) -> tuple[InForms, ...]:
        """Return what the similarities that decide found in each form of the maps, where there are several."""
        forms, controls = measured.find(MapForms) or MapForms(), measured.get_part(Controls)
        own = forms.own
        if len(forms.forms) == 1:
            return ()
        found = {own: {view.name: self._found(view, controls, own.null(own)) for view in views}}
        for form in forms.forms[1:]:
            other = replace(seen, compared=seen.compared.of_form(form.beside(own)))
            tests = [self._test(SIMILARITIES[view.name], other, beside=seen.asked).view() for view in views]
            found[form] = {view.name: self._found(view, controls, form.null(own)) for view in tests}
        bound = self.retention if self.at_most is None else self.at_most
        return (InForms(own, found, bound, retained=self.at_most is None),)

    def _found(self, view: _View, controls: Controls, null: str) -> FoundInForm:
        """Return what a similarity found of one form of the maps, beside the control that is its null."""
        reading, raw = view.reading, self.at_most is not None
        estimate = _estimate(view) if raw or reading.retention is not None else None
        alike = controls.find_control(Alike, null)
        left = (
            None if alike is None else alike.after[view.name] if raw else _left_of_the_null(controls, view.name, null)
        )
        return FoundInForm(view.outcome, estimate, reading.after_by_position, reading.own, reading.chance, left)

    def _held(self, main: _View, measured: Evidence) -> Thresholds:
        """Return what the estimate that is quoted is held against."""
        if self.at_most is not None:
            return Thresholds.of(self._raw(self.at_most))
        if main.accepted is None:  # the explainer is not shown to reproduce itself
            return Thresholds.of(REPRODUCED)
        own, controls = (measured.find(MapForms) or MapForms()).own, measured.get_part(Controls)
        names = dict.fromkeys(("fresh noise", own.null(own), "input × noise", "edges"))  # of maps in the same form
        left = ((name, _left_of_the_null(controls, main.accepted.name, name)) for name in names)
        marks = tuple(Mark(name, value) for name, value in left if value is not None)
        return Thresholds(Scale(0.0, 1.0, at_most=main.accepted.value, marks=marks))

    def _test(self, similarity: Similarity, seen: _Seen, *, beside: bool = False) -> _Test:
        """Test a similarity, beside the network's own gradient where it may be asked for."""
        if self.at_most is not None:
            view = _raw_view(similarity, self.at_most, seen)
            return _Test(view.outcome, lambda: view)
        return _retention_test(similarity, self.retention, seen, beside=beside)

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return how many inputs show that an explainer reproduces itself, or a raw bound to be kept or broken."""
        if self.at_most is None:
            return self._least(level)
        return inputs_of(self._raw(self.at_most).fewest(level, to_pass=to_pass))

    def _least(self, level: Level) -> int | None:
        """Return how many inputs a pass takes."""
        question = REPRODUCED if self.at_most is None else self._raw(self.at_most)
        return inputs_of(question.smallest_n(level))

    def _raw(self, at_most: float) -> Question:
        s = SIMILARITIES[self.similarity[0]]
        return Question(s.low, s.high, at_most, closer_to(s, below=True))


@dataclass(frozen=True)
class _Seen:
    """What a comparison has seen at a look."""

    look: Look
    compared: Compared
    cells: Cells
    ceiling: str

    @property
    def level(self) -> Level:
        """How sure a decision on pairs must be: the first look at them has as many as a first look has inputs."""
        return replace(self.look.level, looked=self.look.n > 2 * FIRST_LOOK)

    @property
    def counted(self) -> Groups:
        """How many groups the inputs make."""
        return Groups.of(counted(self.compared.groups), self.look.n)

    @cached_property
    def pairs(self) -> NDArray[np.int64] | None:
        """The group of each pair of inputs, whose mean score counts once."""
        groups = counted(self.compared.groups)
        return None if groups is None else pair_groups(groups)

    def retained(self, s: Similarity, after: Scores) -> Retained:
        """Return what is left by one similarity, over cells ``(n, cells)``."""
        own, chance = self.compared.own[s.name], self.compared.chance[s.name]
        return Retained(Between.of(s, after, (1,)), Between.of(s, own), Between.of(s, chance), self.pairs)

    @cached_property
    def _gradient(self) -> Compared | None:
        """The similarities of the network's own gradients, which are measured when they are first asked for."""
        found = next((one() for one in self.look.further), None)
        return found if isinstance(found, Compared) else None

    @property
    def asked(self) -> bool:
        """Whether they were asked for."""
        return "_gradient" in vars(self)

    def own_loss(self, s: Similarity) -> OwnLoss | None:
        """Return what the network's own gradient loses in the upper third; None where it has none to lose."""
        part = None if self.cells.thirdless else self._gradient
        if part is None or s.name not in part.after:
            return None
        after, own, chance = (
            np.asarray(s.unit(torch.from_numpy(one[s.name]))) for one in (part.after, part.own, part.chance)
        )
        loss = OwnLoss(own - after.mean(1), own - chance, self.pairs)
        return None if loss.told_apart is False else loss

    def with_gradient(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts of a measurement, the network's own gradient among the controls where it was asked for."""
        if not self.asked or self._gradient is None:
            return [*parts]
        losses = {name: self.own_loss(SIMILARITIES[name]) for name in self._gradient.after}
        kept = {name: None if loss is None else loss.kept for name, loss in losses.items()}
        control = OwnGradient(kept, self.look.n)
        return [Controls((*part.controls, control)) if isinstance(part, Controls) else part for part in parts]

    def reading(self, name: str, *, calibrated: bool) -> Reading:
        """Return what one similarity found, but for what is decided."""
        after, own, chance = (part[name] for part in (self.compared.after, self.compared.own, self.compared.chance))
        seeds, positions = np.moveaxis(self.compared.cells, -1, 0)
        return Reading(
            after_by_position=_grouped(after, positions, self.cells.positions),
            after_by_seed=() if self.cells.fresh else _grouped(after, seeds, self.cells.seeds),
            own=mean(own),
            chance=mean(chance),
            constant=int((np.isnan(after).any(1) | np.isnan(own)).sum()),
            calibrated=calibrated,
        )


def _grouped(scores: Scores, group: Scores, count: int) -> tuple[float | None, ...]:
    """Return the mean of the scores of each group."""
    return tuple(mean(scores[group == place]) for place in range(count))


@dataclass(frozen=True)
class _View:
    """What one similarity says of a change.

    Attributes:
        name: The similarity.
        outcome: Its outcome, or None to measure more.
        decision: What decided, with the estimate that is quoted.
        interval: Returns the bounds of the estimate.
        quantity: What the estimate is of.
        reason: Why, in words.
        reading: What it found.
        scores: The score of each input, over all cells.
        against: Those that are quoted, of which the worst are named; none where no input was told apart.
        unit: What they are.
        sign: 1 where large scores speak against the claim, -1 where small ones do.
        outlook: What would settle it, where it is inconclusive and the reason does not say it yet.
        accepted: The similarity that is quoted, and up to which share of it the claim passes; None of other estimates.
        kept: Of what a share is left, in words; nothing of other estimates.
        open: Why it is not asked how much is left, where it is not.
        n: How many inputs were measured.
    """

    name: str
    outcome: Outcome | None
    decision: Decision
    interval: Callable[[], tuple[float, float]]
    quantity: str
    reason: str
    reading: Reading
    scores: list[float | None]
    against: Sequence[float | None] = ()
    unit: str = ""
    sign: float = 1.0
    outlook: Outlook | None = None
    accepted: Mark | None = None
    kept: str = ""
    open: _Open | None = None
    n: int = 0

    def worst(self, look: Look) -> tuple[Part, ...]:
        """Return the inputs that speak most against the claim, where any do."""
        if not self.against:
            return ()
        return (Worst.of(look.indices, self.against, lambda value: self.sign * value, self.unit),)


class _Test(NamedTuple):
    """The outcome by one similarity, or None to measure more; and what returns all it says, which takes longer."""

    outcome: Outcome | None
    view: Callable[[], _View]


def _raw_view(s: Similarity, at_most: float, seen: _Seen) -> _View:
    look, reading = seen.look, seen.reading(s.name, calibrated=False)
    each = extremes(seen.cells.whole(seen.compared.after[s.name]), s.low, s.high, axes=(1,))
    lo, hi = (pair_means(side) for side in each)  # the two inputs of a pair are explained under one cell
    question = Question(s.low, s.high, at_most, closer_to(s, below=True))
    paired = Grouped.of(lo, hi, seen.pairs)
    decision = paired.decide(question, seen.level, final=look.final)
    word = "at most" if question.direction == "below" else "at least"
    sides = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be", None: ""}
    reason = f"mean {s.name} before and after {sides[decision.outcome]} {word} {at_most:g}"
    return _View(
        name=s.name,
        outcome=decision.outcome,
        decision=decision,
        interval=lambda: decision.interval,
        quantity=f"{s.name} after",
        n=look.n,
        reason=reason,
        reading=reading,
        scores=plain((each[0] + each[1]) / 2),
        against=plain((each[0] + each[1]) / 2),
        unit=f"{s.name} before and after",
        sign=1.0 if question.direction == "below" else -1.0,
        outlook=paired.outlook(question, seen.level).of_pairs if decision.outcome == "inconclusive" else None,
    )


# ----------------------------------------------------------------------------------------------------------- retention


@dataclass(frozen=True)
class _Third:
    """What is left over some of the cells: all of them, or the upper third.

    Attributes:
        where: Which, in words, or nothing.
        similarity: The name of the similarity.
        retained: The similarities.
        bounds: Up to which share it passes, and above which it fails.
        outcome: The outcome, or None to measure more.
        decided_by: The tool that decided.
    """

    where: str
    similarity: str
    retained: Retained
    bounds: Bounds
    outcome: Outcome | None
    decided_by: str

    @property
    def estimate(self) -> float:
        """The share that is left."""
        return self.retained.estimate

    @property
    def bound(self) -> Bound:
        """The bound that the outcome is about."""
        return self.bounds.fails if self.outcome == "failed" else self.bounds.passes

    @property
    def left(self) -> list[float | None]:
        """What is left above the bound, for each input."""
        return plain(self.retained.left(self.bound.share).middle)

    def outlook(self, level: Level) -> Outlook | None:
        """Return what would settle it; nothing where it lies between what passes and what fails."""
        passes, fails = self.bounds.passes, self.bounds.fails
        if passes.share < self.estimate <= fails.share:
            return None
        return self.retained.outlook(fails if self.estimate > fails.share else passes, level)


class _Asking(NamedTuple):
    """What is asked of retained similarities over some of the cells."""

    where: str
    similarity: str
    retained: Retained
    bounds: Bounds

    def answered(self, level: Level, *, final: bool) -> _Third:
        where, similarity, retained, bounds = self
        outcome, tool = retained.test_between(bounds, level, final=final)
        return _Third(where, similarity, retained, bounds, outcome, tool)


def _retention_test(s: Similarity, r: float, seen: _Seen, *, beside: bool = False) -> _Test:
    """Test whether at most r is left over all cells and over the upper third, once there is something to lose.

    What that does not pass is asked for once more beside the network's own gradient, where it has one.
    """
    look = seen.look
    whole = seen.retained(s, seen.cells.whole(seen.compared.after[s.name]))
    gap, _ = whole.gap.outcome(REPRODUCED, seen.level, final=look.final)
    if gap != "passed":
        outcome: Outcome | None = None if gap is None else "inconclusive"
        return _Test(outcome, partial(_unreproduced_view, s, whole, r, seen))
    asked = [_Asking("", s.name, whole, Bounds.beside(r))]
    if not seen.cells.thirdless:
        asked.append(_Asking(_UPPER, s.name, _upper(s, seen), Bounds.beside(r)))
    joined = _Joined.of(s, r, whole, asked, seen)
    if beside and joined.outcome in ("failed", "inconclusive"):
        joined = _beside_gradient(joined, seen) or joined
    return _Test(joined.outcome, partial(joined.view, seen))


def _upper(s: Similarity, seen: _Seen, gradient: OwnLoss | None = None) -> Retained:
    """Return what is left in the upper third."""
    return replace(seen.retained(s, seen.cells.upper_third(seen.compared.after[s.name])), gradient=gradient)


def _beside_gradient(joined: _Joined, seen: _Seen) -> _Joined | None:
    """Return what is said beside the network's own gradient, or None where that says nothing else.

    The bounds in the upper third are those of what the gradient loses there, and over all cells those of a mean of
    which the upper third has these. Where that is less than usual, a map may not keep its sign either.
    """
    s, r, loss = joined.s, joined.r, seen.own_loss(joined.s)
    if loss is None:
        return None
    bounds = loss.bounds(r)
    whole = bounds.of_share(seen.cells.upper / seen.cells.positions, r)
    asked = [
        _Asking("", s.name, replace(joined.whole, gradient=loss), whole),
        _Asking(_UPPER, s.name, _upper(s, seen, loss), bounds),
        *_signed(seen, bounds),
    ]
    found = _Joined.of(s, r, joined.whole, asked, seen, loss)
    return None if bounds.passes == Bound(r) and found.outcome == joined.outcome else found


def _counting(thirds: Sequence[_Third], name: str) -> list[_Third]:
    """Return what counts: that a sign is kept fails a claim, that it is not passes none."""
    main = [one for one in thirds if one.similarity == name]
    undecided = _together([one.outcome for one in main]) == "inconclusive"
    return main + [
        one for one in thirds if one not in main and (one.outcome == "failed" or (one.outcome is None and undecided))
    ]


def _signed(seen: _Seen, bounds: Bounds) -> list[_Asking]:
    """Return the question whether maps keep their sign in the upper third, where signed ranks are measured.

    Where less fails than is kept of the ranks of such maps, they fail without it. Nor is it asked where the network's
    own gradient may keep its sign, as it does where one new head happens to take over what is one number below it.
    """
    loss = seen.own_loss(SPEARMAN)
    keeps = loss is not None and loss.most > KEEPS_ITS_SIGN
    if keeps or SPEARMAN.name not in seen.compared.after or bounds.fails.share <= KEEPS_ITS_SIGN:
        return []
    return [_Asking(_UPPER, SPEARMAN.name, _upper(SPEARMAN, seen), Bounds.beside(KEEPS_ITS_SIGN))]


class _Joined(NamedTuple):
    """What is said of several sets of cells: a pass needs each of them, and each may fail.

    ``gradient`` is what the network's own gradient loses there, where bounds follow it.
    """

    s: Similarity
    r: float
    whole: Retained
    thirds: Sequence[_Third]
    level: Level
    gradient: OwnLoss | None = None

    @classmethod
    def of(
        cls,
        s: Similarity,
        r: float,
        whole: Retained,
        asked: Sequence[_Asking],
        seen: _Seen,
        gradient: OwnLoss | None = None,
    ) -> _Joined:
        """Return the answers of all that are asked, which each have their share of the error of a fail."""
        level = replace(seen.level, fail_share=seen.level.fail_share / len(asked))
        thirds = [one.answered(level, final=seen.look.final) for one in asked]
        return cls(s, r, whole, thirds if gradient is None else _counting(thirds, s.name), level, gradient)

    @property
    def outcome(self) -> Outcome | None:
        return _together([third.outcome for third in self.thirds])

    def view(self, seen: _Seen) -> _View:
        """Return all of it."""
        s, outcome = self.s, self.outcome
        quoted = max((one for one in self.thirds if one.outcome == outcome), key=lambda third: third.estimate)
        reading = seen.reading(s.name, calibrated=True)
        whole = f" of what {seen.ceiling} leaves" if seen.ceiling else ""
        upper = [one.estimate for one in self.thirds if one.where == _UPPER and one.similarity == s.name]
        return _View(
            name=s.name,
            outcome=outcome,
            decision=Decision(outcome, quoted.estimate, (nan, nan), quoted.decided_by),
            interval=partial(quoted.retained.interval, quoted.bounds, self.level, final=seen.look.final),
            quantity=f"retention{quoted.where}{whole} ({quoted.similarity})",
            reason=_left(self, quoted, seen.ceiling, reading),
            reading=replace(
                reading,
                gap=self.whole.gap.mean,
                retention=self.whole.estimate,
                upper_third=upper[0] if upper else None,
            ),
            scores=plain(self.whole.left(self.r).middle),
            against=quoted.left,
            unit="kept too much",
            outlook=self._outlook() if outcome == "inconclusive" else None,
            accepted=Mark(quoted.similarity, quoted.bounds.passes.share),
            kept=f"of the similarity above chance{whole}{quoted.where}",
            n=seen.look.n,
        )

    def _outlook(self) -> Outlook | None:
        outlooks = [one.outlook(self.level) for one in self.thirds if one.outcome == "inconclusive"]
        known = [one for one in outlooks if one is not None]
        return Outlook.of_all(known) if len(known) == len(outlooks) else None


def _together(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    if "failed" in outcomes:
        return "failed"
    if None in outcomes:
        return None
    return "passed" if set(outcomes) == {"passed"} else "inconclusive"


def _left(joined: _Joined, quoted: _Third, ceiling: str, reading: Reading) -> str:
    """Return how much is left, in words."""
    outcome, bounds = quoted.outcome, quoted.bounds
    above_chance = f"the similarity above chance{f' that {ceiling} leaves' if ceiling else ''}"
    if joined.gradient is not None:
        return _left_beside(quoted, above_chance, joined.gradient.kept)
    sides = {"passed": "at most", "failed": "more than", "inconclusive": "perhaps more, perhaps less than", None: ""}
    several = outcome == "passed" and len(joined.thirds) > 1
    where = ", also in the upper third" if several else quoted.where
    left = f"{sides[outcome]} {bounds.passes.share:.0%} of {above_chance} is left{where} ({quoted.similarity})"
    return left + _inverted(joined.s, quoted, reading)


def _left_beside(quoted: _Third, above_chance: str, kept: float | None) -> str:
    """Return how much is left, beside the network's own gradient in the upper third, or where that is not known."""
    name, outcome, passes, fails = quoted.similarity, quoted.outcome, quoted.bounds.passes, quoted.bounds.fails
    if name == SPEARMAN.name:
        return f"the maps keep their sign and more than {fails.share:.0%} of {above_chance} in the upper third ({name})"
    if kept is None:
        return (
            f"not shown that at most {passes.share:.0%} of {above_chance} is left{quoted.where} ({name}), nor that the "
            "network's own gradient loses more: that of other inputs is so alike that these are too few to tell"
        )
    gradient = f"{'' if quoted.where else 'in the upper third '}{max(0.0, kept):.0%} of the network's own gradient is"
    if outcome == "passed":
        return f"at most {passes.share:.0%} of {above_chance} is left{quoted.where} ({name}), where {gradient}"
    if outcome == "failed":
        return f"more than {fails.share:.0%} of {above_chance} is left{quoted.where} ({name}), where {gradient}"
    few = (
        ", for below its head this network is nearly one number, or few, which a new head takes as they are or negated"
    )
    return (
        f"not shown that at most {passes.share:.0%} of {above_chance} is left{quoted.where} ({name}), "
        f"nor that more than {fails.share:.0%} is: {gradient}{few if passes.slope else ''}"
    )


def _inverted(s: Similarity, quoted: _Third, reading: Reading) -> str:
    """Return what a reason adds where clearly less than nothing is left."""
    if quoted.outcome is None or not quoted.estimate < _INVERTED:
        return ""
    after = [value for value in reading.after_by_position if value is not None]
    turned = s.signed and bool(after) and sum(after) / len(after) < _INVERTED
    return "; the maps turn over" if turned else "; they are less alike than explanations of unrelated inputs"


def _unreproduced_view(s: Similarity, whole: Retained, r: float, seen: _Seen) -> _View:
    """Quote the similarity of the explainer to itself, where it is not shown to be above chance."""
    gap = whole.gap.decide(REPRODUCED, seen.level, final=seen.look.final)
    reading = seen.reading(s.name, calibrated=True)
    outlook = whole.gap.outlook(REPRODUCED, seen.level).of_pairs if gap.outcome == "inconclusive" else None
    if outlook is not None and gap.estimate <= REPRODUCES and outlook.hindrance != "unknown":
        outlook = None  # more inputs would show that it does not reproduce itself, and settle nothing
    why = _not_reproduced(s.name, reading, shown=gap.outcome == "failed", ceiling=seen.ceiling)
    return _View(
        name=s.name,
        outcome=None if gap.outcome is None else "inconclusive",
        decision=gap,
        interval=lambda: gap.interval,
        quantity=f"{s.name} to {f'that of {seen.ceiling}' if seen.ceiling else 'itself'} above chance",
        n=seen.look.n,
        reason=why.reason,
        open=why,
        reading=replace(reading, gap=_known(gap.estimate)),
        scores=plain(whole.left(r).middle),
        outlook=outlook,
    )


def _known(value: float) -> float | None:
    return None if value != value else value


class _Open(NamedTuple):
    """Why it is not asked how much is left.

    Attributes:
        reason: Why.
        figures: How alike maps are, or nothing.
        why: Why, in a few words.
        settled: What would help, or nothing.
    """

    reason: str
    figures: str
    why: str
    settled: str = ""


def _not_reproduced(name: str, reading: Reading, *, shown: bool, ceiling: str) -> _Open:
    own, chance = reading.own, reading.chance
    if own is None or chance is None:
        return _Open(f"all maps are constant, so {name} cannot compare them", "", "all maps are constant")
    between = f"to that of {ceiling}" if ceiling else "between two runs on one input"
    figures = f"{name} {own:z.2f} {between}, {chance:z.2f} between unrelated inputs"
    if ceiling and chance <= 0.5:
        if not shown:
            return _Open(f"not shown that the explanation outlives {ceiling}", figures, f"{ceiling} may change it")
        reason = f"{ceiling} changes the explanation nearly as much as another input does"
        return _Open(reason, figures, f"{ceiling} changes it too")
    if own - chance > REPRODUCES:
        why = "the explainer may not reproduce itself"
        return _Open("not shown that the explainer reproduces itself", figures, why)
    if chance > 0.5:
        reason = "maps of unrelated inputs are as alike as those of one input, so that there is nothing to retain"
        return _Open(reason, figures, "maps of unrelated inputs are alike")
    does_not, hardly = ("does not", "does not reproduce") if shown else ("does not seem to", "hardly reproduces")
    reason = f"the explainer {does_not} reproduce itself, so that a change cannot be told from its own noise"
    return _Open(reason, figures, f"the explainer {hardly} itself", _AGREE)


def _joint(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    known = {outcome for outcome in outcomes if outcome is not None}
    if "inconclusive" in known or len(known) > 1:
        return "inconclusive"  # a contradiction stays one, whatever the undecided similarities would say
    return None if None in outcomes else known.pop()


def _worst(views: Sequence[_View], outcome: Outcome) -> _View:
    """The view a verdict quotes: the one that is nearest to another outcome."""
    decided = [view for view in views if view.outcome is not None]
    if outcome == "inconclusive":
        unsettled = [view for view in decided if view.outcome == "inconclusive"]
        if len({view.outcome for view in decided}) == 3:
            decided, unsettled = [view for view in decided if view not in unsettled], []
        return unsettled[0] if unsettled else max(decided, key=_estimate)
    return (max if outcome == "passed" else min)(decided, key=_estimate)


def _estimate(view: _View) -> float:
    return view.decision.estimate


def _lines(main: _View, interval: tuple[float, float], held: Thresholds, found: Evidence) -> Iterator[Row]:
    """Yield what a person reads: what is left, at which layers, and what of maps that do not come from the model."""
    reading, estimate = main.reading, main.decision.estimate
    if main.open is not None:  # of which the figures are told beside the reason
        return
    if main.accepted is None:
        bounds = bounds_of(interval, (-1.0, 1.0), number)
        yield measured("measured", f"mean {main.unit} {number(estimate)}", "", bounds, main.n)
        yield "compared with", f"one input twice {number(reading.own)}, unrelated inputs {number(reading.chance)}"
        return
    yield measured("kept", percent(estimate), main.kept, bounds_of(interval, LIMITS, percent), main.n)
    randomized, left = found.find(Randomized), reading.retention_by_position
    if len(left) > 1:
        yield "by layer", along(() if randomized is None else randomized.layers, left, percent)
    if held.scale.marks:
        yield "compared with", ", ".join(f"{mark.name} {percent(mark.value)}" for mark in held.scale.marks)


def _reason(views: Sequence[_View], outcome: Outcome, main: _View, groups: str) -> tuple[str, str, str]:
    """Return why, what stands beside it, and what would settle it."""
    opposed = [view for view in views if view.outcome in ("passed", "failed")]
    if len({view.outcome for view in opposed}) == 2:
        told = "; ".join(f"{view.name}: {_estimate(view):z.2f} retained ({view.outcome})" for view in opposed)
        return f"it depends on the similarity ({told})", "", "; name the one that matters with similarity="
    helps = main.open.settled if main.open and main.outlook is None else settled_by(main.outlook, outcome)
    return main.reason, constant_note(main.reading.constant) + groups, helps


def _otherwise(beside: Sequence[_View], outcome: Outcome, controls: Controls) -> str:
    """Return what a reason adds of the similarities that would have decided otherwise, and of why they would."""
    if outcome == "inconclusive":
        return ""
    told = []
    for view in beside:
        if view.outcome in (None, "inconclusive", outcome):
            continue
        null = _left_of_the_null(controls, view.name)
        found = f"{view.name} would have {view.outcome}: "
        found += "no more than nothing is left" if _estimate(view) <= 0 else f"{_estimate(view):.0%} is left"
        if view.outcome == "failed" and null is not None:
            like = "as of any map multiplied by this input" if null >= _estimate(view) - _ALIKE else "of input × noise"
            found += f", {like} ({null:.0%})"
        told.append(found)
    return "".join(f"; {one}" for one in told)


def _left_of_the_null(controls: Controls, similarity: str, name: str = "input × noise") -> float | None:
    """Return the retention of a control: of the input times noise."""
    null = controls.find_control(Alike, name)
    if null is None:
        return None
    after, chance = null.after.get(similarity), null.chance.get(similarity)
    return None if after is None or chance is None or chance == 1 else (after - chance) / (1 - chance)
