"""The verb ``bounded``: the metric stays within a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isfinite
from typing import ClassVar

import numpy as np

from ..common.errors import XaiError
from ..evidence.base import MapMetric, Measured, Measurement, Metric, OwnMetric, RetrainedMetric, Scored
from ..evidence.foreign import asked, checked_measurement
from ..evidence.scoring import Scoring
from ..report.figures import Scale
from ..statistics.evidence import Part, Row, number
from ..statistics.grouped import Grouped
from ..statistics.question import Decision, Direction, Level, Outlook, Question
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Look,
    Means,
    Need,
    PerInput,
    Scores,
    Thresholds,
    Worst,
    check_scores,
    constant_note,
    controls_in,
    extremes,
    left_alone,
    mean,
    plain,
    remarked,
    remarks_in,
    require_inputs,
)
from .groups import Groups, counted, settled_by
from .quality import Quality
from .shared_errors import SharedErrors
from .told import Sentences, bounds_of, measured, percent

__all__ = ["Bounded"]

_SHOWN = 1e-5  # of a range: how far from its end a bound may be that is read off an error


@dataclass(frozen=True)
class Constant(Part):
    """How many inputs have a constant or non-finite map."""

    count: int

    def plain(self) -> dict[str, object]:
        """Return the number."""
        return {"constant_or_not_finite": self.count}


@dataclass(frozen=True)
class _Side:
    """What is decided about one of the two bounds."""

    words: str
    bound: float
    question: Question
    decision: Decision
    outlook: Outlook | None


@dataclass(frozen=True, kw_only=True)
class Bounded(Claim):
    """The metric stays within a bound. See :func:`~pytest_xaisanity.bounded`."""

    metric: Metric
    at_most: float | None = None
    at_least: float | None = None
    verb: ClassVar[str] = "bounded"
    sentences: ClassVar[Sentences] = {
        "passed": "{explainer} stays within the bound: {reason}",
        "failed": "{explainer} does not stay within the bound: {reason}",
        "inconclusive": "It is open whether {explainer} stays within the bound: {reason}",
    }

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What the metric advises."""
        return self.metric.advice

    @property
    def randomizes(self) -> bool:
        """Whether the metric draws new weights."""
        return self.metric.randomizes

    @property
    def bounds(self) -> Mapping[str, float | None]:
        """Both bounds."""
        return {"at_least": self.at_least, "at_most": self.at_most}

    def needs(self) -> Sequence[Need]:
        """The explainer's scores, or what the metric measures instead of an explainer's maps."""
        return [Need(_measurement(self.metric))]

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return how many inputs it takes to show a bound to be kept or broken."""
        low, high = self.metric.low, self.metric.high
        share = Question.of_share(0.5)  # of scores without a bound
        means = [Question(low, high, *one[1:]) for one in self._asked()] if isfinite(low) and isfinite(high) else []
        numbers = [one.fewest(level, to_pass=to_pass) for one in (means or [share] if to_pass else [share, *means])]
        return (max if to_pass else min)((n for n in numbers if n is not None), default=None)

    def decide(self, look: Look) -> Verdict | None:
        """On the mean where the metric has a range; otherwise on the share of inputs within the bound: the median.

        A pass needs that of both bounds, each at full confidence. A fail of either is taken at half the error.
        """
        scored = look.scored()
        values = scored.values[:, 0].astype(float)
        known = values[~np.isnan(values)] if self.metric.undefined else values
        check_scores(known, known[:, None], f"{look.explainer} {self}", self.metric.limits(look.parts[0]))
        sides = [self._side(values, words, bound, way, look) for words, bound, way in self._asked()]
        outcome = _both([side.decision.outcome for side in sides])
        if outcome is None:
            return None
        telling, ranged = [one for one in sides if one.decision.outcome == outcome], self._limits(look) is not None
        side = _least_clear(telling, ranged=ranged)
        if outcome == "inconclusive":
            for one in sides:
                require_inputs(look.n, one.question.smallest_n(look.level), f"{look.explainer} {self}")
        what = f"mean {self.metric.called}" if ranged else f"{self.metric.called} of most inputs"
        verb = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[outcome]
        constant, made = len(values) - len(known), Groups.of(counted(scored.groups), look.n)
        remarks = self.metric.remarks(scored, look.parts[0])
        return self._verdict(
            look,
            side.decision,
            outcome=outcome,
            quantity=what if ranged else "share of inputs within the bound",
            reason=f"{what} {verb} {_in_words(telling)}",
            besides=f"{constant_note(constant)}{made}{remarked(remarks_in((*remarks, *look.parts[0])), outcome)}"
            + left_alone(look.parts[0]),
            settled=settled_by(side.outlook, outcome),
            lines=[_measured(side, what, look.n, ranged=ranged), *controls_in(look.parts[0])],
            evidence=(
                self._held(side, ranged=ranged),
                Means({"explainer": mean(values)}, {"explainer": scored.plain_curves()}),
                *look.parts[0],
                *remarks,
                made,
                PerInput({"explainer": plain(values)}),
                self._quality(scored, values, look),
                Constant(constant),
                Worst.of(look.indices, plain(values), self._beyond, "score"),
            ),
        )

    def _quality(self, scored: Scored, values: Scores, look: Look) -> Quality:
        """Return the scores, of which the side that is bounded is worse; of two bounds, how far they are beyond."""
        if isinstance(self.metric, RetrainedMetric):
            return Quality.of_estimate(self.metric, higher_is_better=self.at_least is not None)
        limits = self.metric.limits(look.parts[0])
        if self.at_most is not None and self.at_least is not None:
            beyond = np.array([self._beyond(value) for value in values])
            return Quality.within(self.metric, beyond, limits, scored.groups)
        found = Quality.on(self.metric, values, limits, scored.groups)
        return replace(found, scale=replace(found.scale, higher_is_better=self.at_least is not None))

    def _asked(self) -> list[tuple[str, float, Direction]]:
        both: list[tuple[str, float | None, Direction]] = [
            ("at most", self.at_most, "below"),
            ("at least", self.at_least, "above"),
        ]
        return [(words, bound, direction) for words, bound, direction in both if bound is not None]

    def _held(self, side: _Side, *, ranged: bool) -> Thresholds:
        """Return both bounds of the mean, or the share that most inputs are."""
        if not ranged:
            return Thresholds.of(side.question)
        low, high = side.question.low, side.question.high
        return Thresholds(Scale(low, high, at_least=self.at_least, at_most=self.at_most))

    def _limits(self, look: Look) -> tuple[float, float] | None:
        """Return the range of the scores, where they have one; raise where a bound lies outside."""
        low, high = self.metric.limits(look.parts[0])
        if not (isfinite(low) and isfinite(high)):
            return None
        slack = _SHOWN * (high - low)
        for name, bound in self.bounds.items():
            if bound is not None and not low - slack <= bound <= high + slack:
                raise XaiError(
                    f"bounded {name}",
                    found=f"{bound:g}",
                    expected=f"a number between {low:g} and {high:g}, the range of {self.metric.name} on these inputs",
                    fix=f"change {name}=",
                )
        return low, high

    def _side(self, values: Scores, words: str, bound: float, direction: Direction, look: Look) -> _Side:
        limits = self._limits(look)
        if limits is not None:
            question = Question(*limits, min(max(bound, limits[0]), limits[1]), direction)
            lo, hi = extremes(values, question.low, question.high)
            return self._ranged(question, Grouped.of(lo, hi, counted(look.scored().groups)), words, look)
        question = Question.of_share(0.5)
        lo = (values <= bound if direction == "below" else values >= bound).astype(float)
        hi = np.maximum(lo, np.isnan(values))
        scores = Grouped.of(lo, hi, counted(look.scored().groups))
        return _decided(question, scores, self._level(look), words, bound, final=look.final)

    def _level(self, look: Look) -> Level:
        return replace(look.level, fail_share=look.level.fail_share / len(self._asked()))

    def _ranged(self, question: Question, scores: Grouped, words: str, look: Look) -> _Side:
        """Decide on a mean, with room for what is off for all inputs alike."""
        level, bound = self._level(look), question.threshold
        errors = SharedErrors.of(level, partial(self.metric.shared_error, look.parts[0], ()))
        if errors is None:
            return _decided(question, scores, level, words, bound, final=look.final)
        room, wide = errors.widened(question, scores)
        side = _decided(room, wide, errors.level, words, bound, final=look.final)
        outlook = None if side.outlook is None else errors.outlook(side.outlook, wide)
        decision = errors.concluded(side.decision, room, scores.mean)
        return replace(side, question=question, decision=decision, outlook=outlook)

    def _beyond(self, value: float) -> float:
        """Return how far a score is beyond the bounds; negative within."""
        below = -inf if self.at_least is None else self.at_least - value
        above = -inf if self.at_most is None else value - self.at_most
        return max(below, above)


def _measured(side: _Side, what: str, n: int, *, ranged: bool) -> Row:
    """Return the line of what was decided on."""
    estimate, interval = side.decision.estimate, side.decision.interval
    limits = side.question.low, side.question.high
    if ranged:
        return measured("measured", f"{what} {number(estimate)}", "", bounds_of(interval, limits, number), n)
    of = f"of inputs have {side.words} {side.bound:g}"
    return measured("share", percent(estimate), of, bounds_of(interval, limits, percent), n)


def _decided(question: Question, scores: Grouped, level: Level, words: str, bound: float, *, final: bool) -> _Side:
    decision = scores.decide(question, level, final=final)
    outlook = scores.outlook(question, level) if decision.outcome == "inconclusive" else None
    return _Side(words, bound, question, decision, outlook)


def _in_words(sides: Sequence[_Side]) -> str:
    return " and ".join(f"{side.words} {side.bound:g}" for side in sides)


def _least_clear(sides: Sequence[_Side], *, ranged: bool) -> _Side:
    """Return the side of which a verdict speaks, where those of both bounds have its outcome.

    Both ask for the mean of the same scores, so that each end of the interval of a pass is that of the bound which it
    keeps. Of scores without a range each asks for a share of its own, and the one that needs more inputs is told.
    """
    if ranged and sides[0].decision.outcome == "passed":
        lows, highs = zip(*(side.decision.interval for side in sides), strict=True)
        return replace(sides[0], decision=sides[0].decision._replace(interval=(max(lows), min(highs))))
    if sides[0].decision.outcome == "inconclusive":
        return max(sides, key=lambda side: inf if side.outlook is None else side.outlook.needed or inf)
    return min(sides, key=lambda side: side.decision.interval[0])


def _measurement(metric: Metric) -> Measurement[Measured]:
    if isinstance(metric, OwnMetric):
        where = f"metric {metric.name!r}"
        with asked(where):
            return checked_measurement(where, metric.measurement())
    assert isinstance(metric, MapMetric)
    return Scoring(metric, control=True)


def _both(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    if "failed" in outcomes:
        return "failed"
    if None in outcomes:
        return None
    return "inconclusive" if "inconclusive" in outcomes else "passed"
