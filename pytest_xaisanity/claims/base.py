"""What every claim is made of: what it needs measured, what it looks at, and the words and arrays that verbs share."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import inf, isfinite
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np

from ..common.errors import XaiError
from ..evidence.base import Array, Compared, Measured, Measurement, Scored
from ..evidence.controls import Controls, Score
from ..evidence.randomized import Randomized
from ..maps.similarity import Similarity
from ..report.figures import Chart, Figure, Line, Mark, Scale
from ..report.text import short
from ..statistics.bounds import ROUNDING
from ..statistics.evidence import Axis, Evidence, Part, Remark, Row, Sample, number
from ..statistics.question import Decision, Direction, Level, Question
from ..statistics.verdict import Outcome, Verdict
from .identity import identify, kind_of
from .told import Sentences

__all__ = [
    "Claim",
    "Compound",
    "Look",
    "Means",
    "Need",
    "PerInput",
    "Thresholds",
    "Worst",
    "by_axis",
    "check_scores",
    "closer_to",
    "constant_note",
    "controls_in",
    "extremes",
    "left_alone",
    "mean",
    "plain",
    "remarked",
    "remarks_in",
    "require_inputs",
]

_WORST = 5  # inputs that a failure names
_NAME = 60  # characters of an explainer's name in a sentence
_LINES = 6  # of one chart
_QUANTILES = 33  # of the scores of single inputs
_SPREAD = 8  # scores whose spread is drawn, at least
Scores: TypeAlias = Array


class Need(NamedTuple):
    """What a claim needs measured.

    Attributes:
        measurement: The measurement.
        rival: What is measured in the explainer's place: what users have as explainers, an explainer of a bench, or
            None for the claim's own.
    """

    measurement: Measurement[Measured]
    rival: object = None


@dataclass(frozen=True)
class Look:
    """What has been measured when a claim is looked at.

    Attributes:
        explainer: The name of the explainer.
        level: How sure the decision must be.
        indices: The inputs measured, in the order in which they were visited.
        final: Whether these are all.
        measured: What each measurement found, with one row for each of ``indices``.
        parts: What each measurement says of itself.
        seed: The seed everything was drawn with.
        tolerance: Relative difference that counts as rounding.
        targets: The target of each input, as whole numbers; empty where the look knows none.
        drawn_from: How many inputs there are, where only a random part of them can be measured.
        further: For each measurement that the claim may need, a function that makes it on these inputs; none where
            nothing but what was measured is known.
    """

    explainer: str
    level: Level
    indices: tuple[int, ...]
    final: bool
    measured: tuple[Measured, ...]
    parts: tuple[tuple[Part, ...], ...]
    seed: int
    tolerance: float
    targets: tuple[tuple[int, ...], ...] = ()
    drawn_from: int | None = None
    further: tuple[Callable[[], Measured], ...] = ()

    def rows(self, chosen: Array) -> Look:
        """Return the look at some of the inputs: a mask ``(n,)``."""
        mask = np.asarray(chosen, bool)
        return replace(
            self,
            indices=tuple(itertools.compress(self.indices, mask.tolist())),
            measured=tuple(one.rows(mask) for one in self.measured),
            targets=tuple(itertools.compress(self.targets, mask.tolist())),
            further=tuple(partial(_some_rows, one, mask) for one in self.further),
        )

    @property
    def n(self) -> int:
        """How many inputs were measured."""
        return len(self.indices)

    def scored(self, place: int = 0) -> Scored:
        """Return what a measurement of scores found."""
        found = self.measured[place]
        if not isinstance(found, Scored):
            raise TypeError(f"a measurement of scores found {type(found).__name__}")
        return found

    def compared(self) -> Compared:
        """Return what a comparison found."""
        found = self.measured[0]
        if not isinstance(found, Compared):
            raise TypeError(f"a comparison found {type(found).__name__}")
        return found


def _some_rows(found: Callable[[], Measured], chosen: Array) -> Measured:
    return found().rows(chosen)


@dataclass(frozen=True, kw_only=True)
class Claim(ABC):
    """A statement about an explainer.

    Attributes:
        confidence: One minus the accepted rate of wrong passes; None takes the bench's.
        early: Whether to stop as soon as the claim is decided; False measures every input.
        fail_share: Share of the accepted rate of wrong fails that it may spend: 1 / k where it is one of k claims that
            another consists of, which fails with any of them.
        pass_share: Share of the accepted rate of wrong passes that it may spend: 1 / k where it is one of k claims of
            which another needs any.
        words: The claim as it was written, for verdicts: verb, object, settings.
        verb: The verb.
        form: What sets claims of the same verb and objects apart, or nothing.
        advice: What to try when it fails.
        sentences: In which sentence a verdict is told, by outcome.
    """

    confidence: float | None = None
    early: bool = True
    fail_share: float = 1.0
    pass_share: float = 1.0
    words: tuple[str, ...] = field(default=(), compare=False)
    verb: ClassVar[str]
    form: ClassVar[str] = ""
    advice: ClassVar[str] = ""
    sentences: ClassVar[Sentences] = {}

    def __str__(self) -> str:
        return " ".join(self.words)

    @cached_property
    def claim_id(self) -> str:
        """Equal for claims of the same verb, objects and settings, in every process; see ``identity``."""
        return identify(self, self.verb, self.form)

    @property
    def kind(self) -> str:
        """What is claimed, whatever the settings."""
        return kind_of(self, self.verb)

    @property
    def retrains(self) -> bool:
        """Whether models are trained for it."""
        return any(need.measurement.retrains for need in self.needs())

    @property
    def about_explainer(self) -> bool:
        """Whether it is about an explainer rather than the model alone."""
        return any(need.measurement.about == "explainer" for need in self.needs())

    @property
    def randomizes(self) -> bool:
        """Whether it says no more of an explainer than that it follows drawn weights or labels, as noise may too."""
        return False

    @property
    def against_record(self) -> bool:
        """Whether it compares with what an earlier session recorded."""
        return False

    @property
    def shares_draws(self) -> bool:
        """Whether what is drawn is drawn for all inputs alike, such as weights: another seed is another measurement."""
        return self.randomizes or self.retrains

    @property
    def bounds(self) -> Mapping[str, float | None]:
        """The bounds that it sets, ``at_least`` and ``at_most``."""
        return {"at_least": None, "at_most": None}

    @abstractmethod
    def needs(self) -> Sequence[Need]:
        """Return what to measure."""

    def may_need(self) -> Sequence[Need]:
        """Return what is measured where a look asks for it, see :attr:`Look.further`; by default nothing."""
        return []

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return the number of inputs below which no scores whatever decide it; None where no number does.

        Args:
            level: How sure the decision must be.
            to_pass: Ask for a pass alone: below that number it can only fail.
        """
        return 1

    def planned(self, places: tuple[int, ...]) -> Sequence[Claim]:
        """Return the claims that are decided for it, at most: this one, or those that make it up.

        Args:
            places: The shape of one map.
        """
        return [self]

    @abstractmethod
    def decide(self, look: Look) -> Verdict | None:
        """Return the verdict, or None to measure more."""

    def _verdict(
        self,
        look: Look,
        decision: Decision,
        *,
        quantity: str,
        reason: str,
        evidence: Sequence[Part],
        figures: str = "",
        besides: str = "",
        settled: str = "",
        why: str = "",
        lines: Sequence[Row] = (),
        outcome: Outcome | None = None,
        estimate: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> Verdict:
        """Return the verdict of a decision; outcome, estimate and interval are the decision's own by default.

        Args:
            look: What was measured.
            decision: The decision.
            quantity: What the estimate is of.
            reason: Why, in one clause.
            evidence: The parts of the evidence.
            figures: What was measured, where the estimate does not say it: a clause with a semicolon before it.
            besides: What a reader should know beside the reason: clauses, each with a semicolon before it.
            settled: What would settle it where it is left open, likewise.
            why: In a few words why it is left open; by default what would settle it, or the first that is known.
            lines: What a person reads of what was measured.
            outcome: The outcome.
            estimate: What was measured.
            interval: Its bounds.
        """
        decided = outcome or decision.outcome
        assert decided is not None
        besides += _of_a_part(look, decided)
        return Verdict(
            claim=f"{look.explainer} {self}",
            outcome=decided,
            estimate=decision.estimate if estimate is None else estimate,
            interval=decision.interval if interval is None else interval,
            confidence=look.level.confidence,
            n=look.n,
            decided_by=decision.decided_by,
            quantity=quantity,
            reason=reason + figures + besides + settled,
            evidence=Evidence(Sample(look.indices, look.seed, look.drawn_from), *evidence),
            advice=self.advice if decided == "failed" else "",
            sentence=self._sentence(look.explainer, decided, reason),
            lines=(*lines, *_worst_in(evidence, decided), *_clauses(figures, besides, settled)),
            why=why or (settled or besides or reason).removeprefix("; ") if decided == "inconclusive" else "",
        )

    def _sentence(self, explainer: str, outcome: Outcome, reason: str) -> str:
        """Return what was found in one sentence."""
        told = self.sentences.get(outcome, "{explainer} {verb} {object}: {reason}")
        return told.format(
            explainer=short(explainer, _NAME), verb=self.verb, object=" ".join(self.words[1:]), reason=reason
        )


@dataclass(frozen=True, kw_only=True)
class Compound(Claim):
    """A claim that others make up: it is resolved, with the verdicts on them, rather than decided."""

    @property
    def about_explainer(self) -> bool:
        """True: those that make it up are."""
        return True

    def needs(self) -> Sequence[Need]:
        """Nothing of its own."""
        return []

    def decide(self, look: Look) -> Verdict | None:
        """There is nothing to look at."""
        raise TypeError("resolve this claim instead")

    @abstractmethod
    def planned(self, places: tuple[int, ...]) -> Sequence[Claim]:
        """Return the claims that make it up."""

    @abstractmethod
    def resolve(self, decide: Callable[[Claim], Verdict], *, places: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict.

        Args:
            decide: Decides a claim about the explainer.
            places: The shape of one map.
            seed: Seed of the draws.
            name: The explainer's name.
        """


# ---------------------------------------------------------------------------------------------------------------------
# Parts of the evidence that claims make


@dataclass(frozen=True)
class Thresholds(Part):
    """What the estimate and its interval are held against.

    Attributes:
        scale: The thresholds, on their scale.
    """

    scale: Scale

    @classmethod
    def of(cls, question: Question, marks: Sequence[Mark] = ()) -> Thresholds:
        """Return the threshold of a question."""
        low, high = (one if isfinite(one) else None for one in (question.low, question.high))
        if question.direction == "below":
            return cls(Scale(low, high, at_most=question.threshold, marks=tuple(marks)))
        return cls(Scale(low, high, at_least=question.threshold, margin=question.margin, marks=tuple(marks)))

    def plain(self) -> dict[str, object]:
        """Return nothing: they are the claim's settings."""
        return {}

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield the scale."""
        yield self.scale


@dataclass(frozen=True)
class PerInput(Part):
    """The scores of single inputs.

    Attributes:
        scores: Scores of each input, in the order of the sample, by what they are of; None where there is none.
        deciding: What the claim was decided on, where that is none of the scores.
    """

    scores: Mapping[str, Sequence[float | None]]
    deciding: Sequence[float | None] | None = None

    def plain(self) -> dict[str, object]:
        """Return the scores by name, and what decided."""
        return {"scores": dict(self.scores), **({} if self.deciding is None else {"per_input": self.deciding})}

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield how the scores that decide are spread over the inputs, where they are of one kind."""
        alone = next(iter(self.scores.values())) if len(self.scores) == 1 else None
        values = np.array([one for one in self.deciding or alone or () if one is not None], float)
        if len(values) < _SPREAD or not np.isfinite(values).all() or not np.ptp(values):
            return
        shares = np.linspace(0, 1, min(len(values), _QUANTILES))
        found = tuple(np.quantile(values, shares).tolist())
        held = beside.find(Thresholds)
        ends = () if held is None or self.deciding is None else (held.scale.at_least, held.scale.at_most)
        yield Chart(
            "Scores of single inputs, the lowest first",
            "inputs (%)",
            "score that decides" if alone is None else next(iter(self.scores)).replace("explainer", "score"),
            tuple((100 * shares).tolist()),
            (Line("inputs", found),),
            tuple(Mark("threshold", end) for end in ends if end is not None),
        )


@dataclass(frozen=True)
class Means(Part):
    """The mean scores on a metric, and the curves they come from.

    Attributes:
        means: By whose maps were scored.
        curves: Likewise; curves of single inputs ``(n, points)``, or mean ones, by name.
    """

    means: Mapping[str, float | None]
    curves: Mapping[str, Mapping[str, Sequence[object]]]

    def plain(self) -> dict[str, object]:
        """Return both."""
        return {"means": dict(self.means), "curves": {whose: dict(curves) for whose, curves in self.curves.items()}}

    def rows(self) -> Iterator[Row]:
        """Yield the means."""
        yield "means", ", ".join(f"{name} {number(value)}" for name, value in self.means.items())

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield the curves: their means, and within which values half of the explainer's are."""
        lines: dict[int, list[Line]] = {}
        points: tuple[float, ...] | tuple[str, ...]
        for whose, curves in self.curves.items():
            for name, values in curves.items():
                line = _line(f"{whose}, {name}", np.array(values, float), beside=whose != "explainer")
                lines.setdefault(len(line.values), []).append(line)
        axes = [part for part in beside.parts if isinstance(part, Axis)]
        for count, some in lines.items():
            axis = next((one for one in axes if len(one.points) == count), None)
            points = tuple(map(float, range(1, count + 1))) if axis is None else axis.points
            across, up = ("point", "value") if axis is None else (axis.across, axis.up)
            joined = axis is None or axis.joined
            if count > 1:
                shape = "bands" if joined else "bars"
                note = f"{shape}: the middle half of the inputs" if any(line.low for line in some) else ""
                title, few = f"Curves over the {across}", tuple(some[:_LINES])
                yield Chart(title, across, up, points, few, joined=joined, note=note)


@dataclass(frozen=True)
class Worst(Part):
    """The inputs that speak most against a claim, for a person to look at.

    Attributes:
        inputs: Index and score of each, the worst first.
        unit: What the scores are.
    """

    inputs: tuple[tuple[int, float], ...]
    unit: str

    @classmethod
    def of(
        cls, indices: Sequence[int], values: Sequence[float | None], against: Callable[[float], float], unit: str
    ) -> Worst:
        """Return the worst of the inputs that have a score; ``against`` tells how much one speaks against the claim."""
        known = [(index, value) for index, value in zip(indices, values, strict=True) if value is not None]
        ordered = sorted(known, key=lambda pair: (against(pair[1]), -pair[0]), reverse=True)
        return cls(tuple(ordered[:_WORST]), unit)

    def plain(self) -> dict[str, object]:
        """Return nothing: all scores are in the evidence already."""
        return {}

    def rows(self) -> Iterator[Row]:
        """Yield the inputs with their scores."""
        if self.inputs:
            shown = ", ".join(f"{index} ({number(value)})" for index, value in self.inputs)
            yield "worst inputs", f"{shown}: {self.unit}"


# ---------------------------------------------------------------------------------------------------------------------
# What decisions and reasons share


def check_scores(own: Scores, other: Scores, claim: str, limits: tuple[float, float] = (-inf, inf)) -> None:
    """Raise when a score is NaN or infinite, or lies outside of the limits by more than rounding.

    Args:
        own: Scores of the explainer, ``(n,)``.
        other: Scores of what it is compared with, ``(n, draws)``.
        claim: The claim, for the error.
        limits: The least and the greatest possible score.
    """
    broken = int((~np.isfinite(own) | ~np.isfinite(other).all(1)).sum())
    if broken:
        raise XaiError(
            claim,
            found=f"scores that are NaN or infinite for {broken} of {len(own)} inputs",
            expected="a finite score for each input",
            fix="look at what the metric made of these inputs",
        )
    low, high = limits
    least, most = min(own.min(initial=inf), other.min(initial=inf)), max(own.max(initial=-inf), other.max(initial=-inf))
    slack = ROUNDING * (high - low) if isfinite(high - low) else 0.0
    if own.size and not (low - slack <= least and most <= high + slack):
        raise XaiError(
            claim,
            found=f"scores from {least:.4g} to {most:.4g}",
            expected=f"scores from {low:g} to {high:g}, the metric's low and high",
            fix="widen low and high of the metric to what its scores can be, or clip the scores",
        )


def require_inputs(n: int, least: int | None, claim: str) -> None:
    """Raise when no scores whatever could let the claim pass with n inputs."""
    if least is None:
        raise XaiError(
            claim,
            found="a bound at the very end of the range",
            expected="a bound that scores can be shown to keep",
            fix="move the bound inwards",
        )
    if n < least:
        raise XaiError(
            "xai_inputs",
            found=f"{n} input{'s' if n > 1 else ''} for the claim {claim!r}",
            expected=f"at least {least}: with fewer, no scores whatever could let it pass",
            fix="give more inputs, lower confidence=, or move the bound where there is one",
        )


def closer_to(similarity: Similarity, *, below: bool) -> Direction:
    """Return on which side of a bound less alike maps lie; an error is greater where a similarity is less."""
    return "below" if below == (similarity.identical == similarity.high) else "above"


def constant_note(count: int) -> str:
    """Return what a reason adds where so many inputs have constant or non-finite maps."""
    if not count:
        return ""
    some = (
        "1 input has a constant or non-finite map" if count == 1 else f"{count} inputs have constant or non-finite maps"
    )
    return f"; {some}, counted against either decision"


def remarked(remarks: Sequence[Remark], outcome: Outcome | None) -> str:
    """Return what a reason adds of what was remarked: unless the claim has passed, or always."""
    return "".join(f"; {remark}" for remark in remarks if remark.always or outcome != "passed")


def remarks_in(parts: Sequence[Part]) -> tuple[Remark, ...]:
    """Return the parts that a reason tells."""
    return tuple(part for part in parts if isinstance(part, Remark))


def controls_in(parts: Sequence[Part]) -> Iterator[Row]:
    """Yield the line of what other maps score on the metric."""
    for part in parts:
        scores = [one for one in part.controls if isinstance(one, Score)] if isinstance(part, Controls) else []
        if scores:
            yield (
                "compared with",
                ", ".join(f"{one.name} {number(one.score)}" for one in scores) + f" (first {scores[0].n} inputs)",
            )


def left_alone(parts: Sequence[Part]) -> str:
    """Return what a reason adds of weights that a randomization left alone, and of an order that is not execution's."""
    return "".join(part.remark for part in parts if isinstance(part, Randomized))


def _worst_in(evidence: Sequence[Part], outcome: Outcome) -> Iterator[Row]:
    """Yield the inputs that speak most against a claim that has not passed."""
    for part in evidence if outcome != "passed" else ():
        if isinstance(part, Worst) and part.inputs:
            scores = dict.fromkeys(f"{value:.2g}" for value in (part.inputs[0][1], part.inputs[-1][1]))
            shown = ", ".join(str(index) for index, _ in part.inputs)
            yield "worst inputs", f"{shown} ({part.unit}: {' to '.join(scores)})"


def _clauses(figures: str, besides: str, settled: str) -> Iterator[Row]:
    """Yield lines of what stands beside a reason, and of what would settle a claim."""
    if figures:
        yield "measured", figures.removeprefix("; ")
    if besides:
        yield "besides", besides.removeprefix("; ")
    if settled:
        yield "to settle it", settled.removeprefix("; ").removesuffix(" would settle it")


def _of_a_part(look: Look, outcome: Outcome) -> str:
    """Return what a reason adds where all was measured that can be, which is a part."""
    if look.drawn_from is None or not look.final:
        return ""
    part = f"; measured on {look.n:,} of {look.drawn_from:,} inputs, drawn at random: an iterator is read only once"
    again = ", and a list of batches or a DataLoader again for the others"
    return part + (again if outcome == "inconclusive" else "")


# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def extremes(scores: Scores, low: float, high: float, axes: tuple[int, ...] = ()) -> tuple[Scores, Scores]:
    """Return the least and greatest value each input can have when NaN may be anything in the range."""
    wide = scores.astype(float)
    lo, hi = np.where(np.isnan(wide), low, wide), np.where(np.isnan(wide), high, wide)
    return (lo.mean(axes), hi.mean(axes)) if axes else (lo, hi)


def mean(scores: Scores) -> float | None:
    """Return the mean of the scores that are not NaN, or None."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else None


def _line(name: str, curves: Scores, *, beside: bool) -> Line:
    """Return the mean of curves ``(n, points)`` with the band of their middle half, or one curve."""
    if curves.ndim == 1:
        return Line(name, tuple(plain(curves)), beside=beside)
    values = tuple(by_axis(curves, 1))
    if len(curves) < 2 or np.isnan(curves).any():
        return Line(name, values, beside=beside)
    low, high = (tuple(plain(np.quantile(curves, share, axis=0))) for share in (0.25, 0.75))
    return Line(name, values, low, high, beside=beside)


def plain(scores: Scores) -> list[float | None]:
    """Return scores as plain numbers, None for NaN."""
    return [None if value != value else value for value in scores.astype(float).tolist()]


def by_axis(scores: Scores, axis: int) -> list[float | None]:
    """Return the mean over all other axes."""
    moved = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1)
    return [mean(row) for row in moved]
