"""The verb ``beats``: the gain over a baseline, over inputs or over those of each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from ..adversaries.search import SEARCHED, Adversarial, Adversary
from ..common.errors import XaiError
from ..evidence.base import Baseline, MapMetric, OwnMetric, RetrainedMetric, Scored
from ..evidence.baselines.recorded import Recorded
from ..evidence.baselines.uninformative import Uninformative
from ..evidence.metrics.roar_evidence import Retrainings
from ..evidence.scoring import AnyMapMetric, Scoring
from ..statistics.evidence import Evidence, Part, Row, number
from ..statistics.grouped import Grouped
from ..statistics.question import Decision, Level, Question
from ..statistics.regression import rounded
from ..statistics.shares import beaten_shares
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
    by_axis,
    check_scores,
    constant_note,
    extremes,
    mean,
    plain,
    remarked,
    remarks_in,
    require_inputs,
)
from .by_target import ByTarget, OfTarget, Target, named, weak_ones
from .groups import Groups, counted, settled_by
from .identity import label
from .quality import Quality
from .same_maps import SameMaps
from .shared_errors import SharedErrors
from .told import Sentences, bounds_of, measured, percent

__all__ = ["ADVICE", "NO_BETTER", "Beats", "BeatsFound", "LeftOut", "check_retrained"]

NO_BETTER = 0.1  # fewer than half plus this of random orders beaten, is too small an advantage to count
_TIED = "all orders score the same"
ROUNDED = 1e-6  # scores that differ by less, relative to their range, are told apart by rounding alone
ADVICE = (
    "the ranking carries no more than the baseline: check targets, baselines and sign, and compare another imputer="
)


@dataclass(frozen=True)
class LeftOut(Part):
    """The inputs without a map of the baseline.

    Attributes:
        count: How many.
        why: What they have.
    """

    count: int
    why: str

    def plain(self) -> dict[str, object]:
        """Return how many there are."""
        return {"left_out": self.count}

    def rows(self) -> Iterator[Row]:
        """Yield how many there are, and why."""
        if self.count:
            yield "left out", f"{self.count} inputs with {self.why}"


class _Asked(NamedTuple):
    """The question that two sets of scores put.

    Attributes:
        question: The question.
        scores: What it is decided on: one range an input, of one number but where all of its scores tie, and groups.
        quantity: What the numbers are.
        seen: What a failure says: ``{estimate}`` and ``{bound}`` are filled in.
        unit: How these two are written.
        called: What scores are called.
        tied: How many inputs score the same in every random order.
        errors: What may be off for all inputs alike, by which the ends of each score lie apart; None for nothing.
    """

    question: Question
    scores: Grouped
    quantity: str
    seen: str
    unit: Literal["share", "score"]
    called: str
    tied: int = 0
    errors: SharedErrors | None = None

    def widened(self, errors: SharedErrors) -> _Asked:
        """Return the question with room for what is off for all inputs alike."""
        question, scores = errors.widened(self.question, self.scores)
        return self._replace(question=question, scores=scores, errors=errors)

    @property
    def of_one_input(self) -> str:
        """What the number of one input is."""
        return self.quantity if self.unit == "share" else f"gain in {self.called}"

    @property
    def values(self) -> Scores:
        """What was measured of each input."""
        return self.scores.lo if self.errors is None else self.scores.lo + self.errors.passing

    def of(self, chosen: Scores) -> _Asked:
        """Return the question about some of the inputs."""
        part = Grouped(self.scores.lo[chosen], self.scores.hi[chosen], self.scores.groups[chosen])
        return self._replace(scores=part, tied=int((part.lo < part.hi).sum()) if self.tied else 0)

    def decide(self, level: Level, *, final: bool) -> Decision:
        """Decide; the estimate is the mean of what was measured."""
        decision = self.scores.decide(self.question, level, final=final)
        values, _ = self.scores.means() if final else self.scores.firsts()
        estimate = float(values.mean())
        if self.errors is None:
            return decision._replace(estimate=estimate)
        return self.errors.concluded(decision, self.question, estimate + self.errors.passing)

    def settled(self, level: Level, *, of: str = "") -> str:
        """Return what an inconclusive reason adds of what would settle it; of ties it has been said."""
        if self.tied:
            return ""
        outlook = self.scores.outlook(self.question, level)
        return settled_by(outlook if self.errors is None else self.errors.outlook(outlook, self.scores), of=of)

    def standing(self, estimate: float) -> str:
        """Return how a failure compares: ``"no"`` or ``"hardly"`` better."""
        return "hardly" if estimate > self.question.threshold else "no"

    def shown(self, estimate: float) -> str:
        """Return what a failure shows."""
        bound = self.question.threshold + self.question.margin
        written = [percent(one) if self.unit == "share" else f"{one:.3g}" for one in (estimate, bound)]
        small = ": too small an advantage to count" if estimate > self.question.threshold else ""
        return self.seen.format(estimate=written[0], bound=written[1]) + small


class _Concluded(NamedTuple):
    """An outcome, and what is said of it.

    Attributes:
        outcome: The outcome.
        decision: The decision that is quoted.
        where: For which inputs: a phrase, or nothing.
        addition: What the reason adds.
        settled: What would settle it, where it is left open.
        tied: Where scores are the same in whatever order, or nothing.
        same: Why it fails, where that is because inputs share a map, on the share of which it was then decided.
    """

    outcome: Outcome
    decision: Decision
    where: str
    addition: str
    settled: str = ""
    tied: str = ""
    same: SameMaps | None = None


@dataclass(frozen=True, kw_only=True)
class Beats(Claim):
    """Per input, the explainer is better than the baseline on the metric. See :func:`~pytest_xaisanity.beats`.

    Attributes:
        baseline: A baseline, or what users have as explainers.
        metric: The metric.
        within: ``"target"``: it must hold for the inputs of each target by themselves.
        margin: A smaller advantage counts as none; None takes that of the baseline.
    """

    baseline: object
    metric: AnyMapMetric | OwnMetric
    within: Literal["target"] | None = None
    margin: float | None = None
    verb: ClassVar[str] = "beats"
    advice: ClassVar[str] = ADVICE
    sentences: ClassVar[Sentences] = dict.fromkeys(("passed", "failed", "inconclusive"), "{explainer} is {reason}")

    def needs(self) -> Sequence[Need]:
        """The explainer's scores and the baseline's."""
        if isinstance(self.metric, RetrainedMetric):
            return _retrained(self.metric, self.baseline)
        if isinstance(self.metric, OwnMetric):
            measurement = self.metric.measurement()
            if isinstance(self.baseline, Recorded):
                return [Need(measurement), Need(self.baseline.scores(measurement))]
            return [Need(measurement), Need(measurement, self.baseline)]
        own = Scoring(self.metric, control=True)
        if isinstance(self.baseline, Recorded):
            return [Need(own), Need(self.baseline.scores(own))]
        if isinstance(self.baseline, Baseline):
            return [Need(own), Need(Scoring(self.metric, self.baseline))]
        return [Need(own), Need(Scoring(self.metric), self.baseline)]

    @property
    def against_record(self) -> bool:
        """Whether the baseline is what was recorded."""
        return isinstance(self.baseline, Recorded)

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return how many inputs it takes to beat the baseline by as much as can be in each of them, or in none."""
        if self._counts_orders:
            return self._of_orders.fewest(level, to_pass=to_pass)
        questions = [self._of_signs]  # of scores without a bound, as those of a regression are
        if isfinite(self.metric.low) and isfinite(self.metric.high):
            questions.append(self._of_gains(self.metric.high - self.metric.low))
        if to_pass:
            return questions[-1].smallest_n(level)
        numbers = [one.fewest(level) for one in questions]
        return min((n for n in numbers if n is not None), default=None)

    def _of_gains(self, width: float) -> Question:
        """Return the question of gains on a scale of a width."""
        unit = 1.0 if width <= 2 else width
        of = self.baseline if isinstance(self.baseline, Baseline) else Baseline
        margin = of.margin * unit if self.margin is None else self.margin
        reach = min(unit, max(of.reach * unit, 2 * margin))
        return Question(-reach, reach, 0.0, margin=margin)

    @property
    def _counts_orders(self) -> bool:
        """Whether the share of random orders that are beaten decides; of retrained models each is right or wrong."""
        random = isinstance(self.baseline, Baseline) and self.baseline.random
        return random and not isinstance(self.metric, RetrainedMetric)

    @property
    def _of_signs(self) -> Question:
        """The question of the share of inputs with a gain."""
        return Question.of_share(0.5, margin=NO_BETTER if self.margin is None else self.margin)

    @property
    def _of_orders(self) -> Question:
        """The question of random orders."""
        return Question(0.0, 1.0, 0.5, margin=NO_BETTER if self.margin is None else self.margin)

    def decide(self, look: Look) -> Verdict | None:
        """Decide on the share of random orders beaten, or on the paired difference from one baseline."""
        look, left = self._rivals(look)
        if not look.final and (not look.n or self.within):  # which targets have enough inputs is known in the end
            return None
        claim = f"{look.explainer} {self}"
        self._require(look, left, claim, 1)
        sign = 1.0 if self.metric.higher_is_better else -1.0
        own, other = look.scored(0).values[:, 0].astype(float), look.scored(1).values.astype(float)
        limits = self.metric.limits(look.parts[0])
        known = ~_unknown(own, other) if self.metric.undefined else np.full(len(own), True)
        check_scores(own[known], other[known], claim, limits)
        asked = self._asked(sign * own, sign * other, self._groups(look.scored(0)), limits)
        same = self._same_maps(look)
        shown = same.shown(look.level, final=look.final)
        if shown is not None:
            return self._conclude(
                look, asked, left, _Concluded("failed", shown, "", "", same=same), _means(look, asked)
            )
        if same.flags:
            look = replace(look, level=same.left(look.level))
        if self.within:
            self._require(look, left, claim, asked.question.smallest_n(look.level))
            return self._conclude(look, asked, left, *self._by_target(look, asked, claim))
        asked, level = self._with_shared_error(asked, look)
        decision = asked.decide(level, final=look.final)
        if decision.outcome is None or (decision.outcome == "passed" and same.many and not look.final):
            return None
        settled, many = "", ""
        if decision.outcome == "passed" and same.many:
            decision, many = decision._replace(outcome="inconclusive"), f"; {same}"
        elif decision.outcome == "inconclusive":
            self._require(look, left, claim, asked.question.smallest_n(level))
            settled = asked.settled(level)
        outcome = decision.outcome or "inconclusive"
        tied = self._tied(asked, outcome)
        concluded = _Concluded(outcome, decision, "", self._counted(asked, outcome) + many, settled, tied)
        return self._conclude(look, asked, left, concluded, _means(look, asked))

    def _with_shared_error(self, asked: _Asked, look: Look) -> tuple[_Asked, Level]:
        """Return what is asked, and how surely, with room for what is off for all inputs alike."""
        errors = SharedErrors.of(look.level, partial(self.metric.shared_error, look.parts[0], look.parts[1]))
        return (asked, look.level) if errors is None else (asked.widened(errors), errors.level)

    def _rivals(self, look: Look) -> tuple[Look, LeftOut]:
        """Return a look at the inputs that have scores of both, and how many have none of the baseline."""
        if not isinstance(self.baseline, Baseline):
            return look, LeftOut(0, "")
        own, other = look.scored(0).values, look.scored(1).values
        missing: Scores = np.asarray(np.isnan(other).all(1) & np.isfinite(own).all(1))
        look = look.rows(~missing)
        if self.against_record:
            look = replace(look, measured=(look.scored(0), Scored(_of_recordings(look.scored(1).values))))
        return look, LeftOut(int(missing.sum()), self.baseline.why_none)

    def _groups(self, own: Scored) -> Scores | None:
        """Return the group of each input, whose mean score counts once."""
        by_input = isinstance(self.baseline, Baseline) and self.baseline.of_others
        return counted(own.groups, int(by_input))

    def _same_maps(self, look: Look) -> SameMaps:
        """Return which inputs share a map, where the baseline is the explainer's own map of another."""
        if not isinstance(self.baseline, Baseline) or not self.baseline.of_others:
            return SameMaps()
        return SameMaps.of(look.scored(0).groups, look.targets)

    def _require(self, look: Look, left: LeftOut, claim: str, least: int | None) -> None:
        """Raise when no scores whatever could decide the claim with the inputs that are left."""
        if not left.count or least is None or look.n >= least:
            return require_inputs(look.n, least, claim)
        raise XaiError(
            "xai_inputs",
            found=f"{look.n} of {look.n + left.count} inputs for the claim {claim!r}: {left.count} have {left.why}",
            expected=f"at least {least}",
            fix="give more inputs of each target, or name another baseline",
        )

    def _asked(self, own: Scores, other: Scores, groups: Scores | None, limits: tuple[float, float]) -> _Asked:
        metric = self.metric
        if self._counts_orders:
            tied = _tied(own, other, metric.high - metric.low)
            shares = np.where(tied, 0.5, beaten_shares(own, other))
            scores = Grouped.of(shares, np.where(tied, 1.0, shares), groups)  # where all tie, nothing was measured
            seen = "it beats a random order in {estimate} of comparisons, shown to be under {bound}"
            return _Asked(
                self._of_orders, scores, "share of random orders beaten", seen, "share", metric.called, int(tied.sum())
            )
        gain = (rounded(own) if isinstance(self.baseline, Recorded) else own) - other.mean(1)
        if isfinite(limits[0]) and isfinite(limits[1]):
            width = limits[1] - limits[0]
            question = self._of_gains(width)
            reach = question.high
            clipped = "" if reach >= width else f", clipped to [-{reach:g}, {reach:g}]"
            lo, hi = extremes(np.clip(gain, -reach, reach), -reach, reach)
            seen = "its mean gain is {estimate}, shown to be below {bound}"
            quantity = f"mean gain in {metric.called}{clipped}"
            return _Asked(question, Grouped.of(lo, hi, groups), quantity, seen, "score", metric.called)
        # Scores without a bound are decided on the sign of the paired difference; ties count for the baseline.
        lo, hi = extremes(np.where(np.isnan(gain), np.nan, gain > 0), 0.0, 1.0)
        seen = "it gains on {estimate} of the inputs, shown to be under {bound}"
        question = self._of_signs
        return _Asked(question, Grouped.of(lo, hi, groups), "share of inputs with a gain", seen, "share", metric.called)

    def _by_target(self, look: Look, asked: _Asked, claim: str) -> tuple[_Concluded, ByTarget]:
        """Decide each target by itself and the weak ones together, and return what follows for the claim.

        A pass needs that of every target with enough inputs, each at full confidence. A fail of any is taken at an
        error that is split over the targets, with half of it for the weak ones together.
        """
        parts = {target: asked.of(_mask(look, target)) for target in dict.fromkeys(look.targets)}
        if not all(parts):
            raise XaiError(
                claim,
                found="a model with a single output, which has no targets",
                expected="targets, each of which is asked for by itself",
                fix='leave within="target" out',
            )
        level = Level(look.level.confidence, early=False)
        least = asked.question.smallest_n(level)
        enough = [target for target, part in parts.items() if least is not None and part.scores.lo.size >= least]
        if not enough or least is None:
            most = max((part.scores.lo.size for part in parts.values()), default=0)
            raise XaiError(
                "xai_inputs",
                found=f"at most {most} inputs of one target for the claim {claim!r}",
                expected=f"at least {least} of one target",
                fix='give more inputs of each target, or leave within="target" out',
            )
        several = len(parts) > 2  # of two, the weak ones are one or all
        share = look.level.fail_share / (2 if several else 1)
        level = Level(level.confidence, early=False, fail_share=share / len(enough))
        decided = {target: parts[target].decide(level, final=True) for target in enough}
        found = ByTarget({target: _of_target(part, decided.get(target)) for target, part in parts.items()}, least)
        worst = min(enough, key=lambda target: _standing(decided[target]))
        if several and decided[worst].outcome == "inconclusive":
            weak, others = weak_ones(asked.scores, look.targets, asked.question)
            together = asked.of(others)
            decision = together.decide(replace(level, fail_share=share), final=True) if others.any() else None
            if decision is not None and decision.outcome == "failed":
                found = replace(found, weak=weak, together=_of_target(together, decision))
                where = f" for targets {_several(weak)} together"
                return _Concluded("failed", decision, where, self._counted(together, "failed")), found
        return self._by_the_worst(found, worst, parts[worst], decided[worst], level), found

    def _by_the_worst(
        self, found: ByTarget, worst: Target, asked: _Asked, decision: Decision, level: Level
    ) -> _Concluded:
        """Return what follows from the target that fares worst."""
        assert decision.outcome is not None
        where, enough = f" for target {named(worst)}", len(found.found) - len(found.too_few)
        if decision.outcome == "passed":
            others = f"each of {enough} targets, least clearly for " if enough > 1 else ""
            where = f" for {others}target {named(worst)}"
        addition, settled = self._counted(asked, decision.outcome), ""
        if decision.outcome == "inconclusive":
            settled = asked.settled(level, of=f" of target {named(worst)}")
        if found.too_few:
            addition += f"; too few inputs, under {found.least}, for target {_several(found.too_few)}"
        return _Concluded(decision.outcome, decision, where, addition, settled, self._tied(asked, decision.outcome))

    def _counted(self, asked: _Asked, outcome: Outcome) -> str:
        """Return what a reason adds of groups and of ties."""
        n = asked.scores.lo.size
        groups = str(Groups(asked.scores.count, n))
        if outcome != "inconclusive" or not asked.tied:
            return groups
        orders = isinstance(self.metric, MapMetric) and self.metric.ranks
        why = (
            ', so measure another (such as output="logit")' if orders else ", or maps are too small to count beside it"
        )
        return f"{groups}; nothing can be measured there: the output is saturated or constant{why}"

    def _tied(self, asked: _Asked, outcome: Outcome) -> str:
        """Return what an inconclusive reason adds where scores of some inputs are the same in whatever order."""
        if outcome != "inconclusive" or not asked.tied:
            return ""
        n = asked.scores.lo.size
        some = "every input" if asked.tied == n else f"{asked.tied} of {n} inputs"
        return f": {self.metric.name} is the same in whatever order for {some}"

    def _conclude(self, look: Look, asked: _Asked, left: LeftOut, one: _Concluded, targets: ByTarget) -> Verdict:
        against = label(self.baseline)
        own, other = look.scored(0), look.scored(1)
        scores = {"explainer": own.values[:, 0], against: other.values.mean(1)}
        curves: dict[str, dict[str, Sequence[object]]] = {
            "explainer": own.plain_curves(),
            against: {name: by_axis(curve, 1) for name, curve in other.curves.items()},
        }
        values = plain(asked.values)
        remarks = (*self.metric.remarks(own, look.parts[0]), *remarks_in(look.parts[1]))
        means = {name: mean(np.array(plain(value), float)) for name, value in scores.items()}
        beside = [part for part in look.parts[1] if isinstance(part, Retrainings)]
        return self._verdict(
            look,
            one.decision,
            outcome=one.outcome,
            quantity=asked.quantity if one.same is None else "share of pairs of inputs with one map",
            reason=self._reason(asked, one) + self._rival_found(look, one.outcome),
            why=_TIED if one.tied else "",
            besides=one.addition
            + constant_note(int(_unknown(own.values[:, 0], other.values).sum()))
            + remarked(remarks_in((*look.parts[0], *remarks)), one.outcome),
            settled=one.settled,
            lines=[_measured(asked, one, look.n), self._compared(means), *self._lowest(targets, one)],
            evidence=(
                Thresholds.of(asked.question),
                Means(means, curves),
                *look.parts[0],
                *beside,
                *remarks,
                Groups(asked.scores.count, look.n),
                *([] if one.same is None else [one.same]),
                left,
                targets,
                PerInput({name: plain(value) for name, value in scores.items()}, values),
                self._quality(look, own),
                Worst.of(look.indices, values, lambda value: -value, asked.of_one_input),
            ),
        )

    def _quality(self, look: Look, own: Scored) -> Quality:
        """Return the explainer's own scores; what trainings share leaves none of single inputs."""
        if isinstance(self.metric, RetrainedMetric):
            return Quality.of_estimate(self.metric, higher_is_better=True)
        return Quality.on(self.metric, own.values[:, 0], self.metric.limits(look.parts[0]), own.groups)

    def _lowest(self, targets: ByTarget, one: _Concluded) -> Iterator[Row]:
        """Yield the targets with the lowest means, where each is asked for and the claim has not passed."""
        if self.within and one.outcome != "passed":
            yield from (row for row in targets.rows() if row[0] == "by target")

    def _compared(self, means: Mapping[str, float | None]) -> Row:
        """Return the line with the mean scores of both."""
        shown = ", ".join(f"{name} {number(value)}" for name, value in means.items())
        better = "higher" if self.metric.higher_is_better else "lower"
        return "compared with", f"{shown} (mean {self.metric.called}; {better} is better)"

    def _reason(self, asked: _Asked, one: _Concluded) -> str:
        against, on = label(self.baseline), f"on {self.metric.called}{one.where}"
        if one.same is not None:
            return f"no better than {against} {on}: {one.same}"
        reasons = {
            "passed": f"better than {against} {on}",
            "failed": f"{asked.standing(one.decision.estimate)} better than {against} {on}: "
            f"{asked.shown(one.decision.estimate)}",
            "inconclusive": f"not shown to be better than {against} {on}, nor to be no better" + one.tied,
        }
        return reasons[one.outcome]

    def _rival_found(self, look: Look, outcome: Outcome) -> str:
        """Return what a reason adds of the baseline."""
        return ""


@dataclass(frozen=True, kw_only=True)
class BeatsFound(Beats):
    """A :class:`Beats` against the best map that a search finds: it is scored beside the explainer's."""

    baseline: Uninformative
    metric: AnyMapMetric

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return as many as leave enough that are not searched: half of them, or all but 32."""
        least = super().fewest(level, to_pass=to_pass)
        return None if least is None else min(2 * least - 1, least + SEARCHED)

    def needs(self) -> Sequence[Need]:
        """Both scores from a search that has to see the explainer's."""
        return [Need(Adversarial(self.metric, self.baseline))]

    def _rivals(self, look: Look) -> tuple[Look, LeftOut]:
        searched: Scores = np.asarray(np.isnan(look.scored().values).any(axis=1))
        look = look.rows(~searched)
        both = look.scored()
        own, other = (Scored(both.values[:, side : side + 1], groups=both.groups) for side in (0, 1))
        return replace(look, measured=(own, other), parts=(look.parts[0], ())), LeftOut(0, "")

    def _rival_found(self, look: Look, outcome: Outcome) -> str:
        adversary = Evidence(*look.parts[0]).find(Adversary)
        if adversary is None:
            return ""
        what = "the simplest that does as well" if outcome == "failed" else "the best found"
        return f" ({what}: {adversary.found.told})"


def _measured(asked: _Asked, one: _Concluded, n: int) -> Row:
    """Return the line of what was decided on."""
    estimate, interval = one.decision.estimate, one.decision.interval
    limits = asked.question.low, asked.question.high
    if one.same is not None:
        bounds = bounds_of(interval, (0, 1), percent)
        return measured("share", percent(estimate), "of pairs of inputs share one map", bounds, n)
    if asked.unit == "share":
        of = asked.quantity.removeprefix("share ")
        return measured("share", percent(estimate), f"{of}{one.where}", bounds_of(interval, limits, percent), n)
    of = f"in {asked.called}{one.where}"
    return measured("mean gain", number(estimate), of, bounds_of(interval, limits, number), n)


def _retrained(metric: RetrainedMetric, baseline: object) -> Sequence[Need]:
    """Return what is measured on models that are retrained: by the explainer's maps, and by those of the baseline."""
    if isinstance(baseline, Baseline):
        return [Need(metric.measurement()), Need(metric.measurement(baseline))]
    return [Need(metric.measurement()), Need(metric.measurement(), baseline)]


def check_retrained(baseline: object, metric: RetrainedMetric, within: object) -> None:
    """Raise where a claim cannot be about models that are retrained.

    Raises:
        XaiError: It would retrain models for each map of a search, or asks for each target.
    """
    where = f"beats on={metric.name!r}"
    if isinstance(baseline, Recorded):
        raise XaiError(
            where,
            found="the baseline 'recorded', of which single inputs have scores",
            expected="a baseline whose maps are known: what retrained models score is no input's own",
            fix="record the claim, and compare it with --xai-fail-on-regression",
        )
    if isinstance(baseline, Uninformative):
        raise XaiError(
            where,
            found="the baseline 'uninformative', a search that would train models for each map it tries",
            expected="a baseline whose maps are known",
            fix="claim beats('random') or beats('edges') of it, and 'uninformative' on pixel_flipping",
        )
    if within is not None:
        raise XaiError(
            where,
            found='within="target"',
            expected="all targets together: retrained models learn them together",
            fix="leave it out",
        )


def _tied(own: Scores, other: Scores, width: float) -> Scores:
    """Return which inputs have the same score in every order, but for rounding: of the range, or of the scores."""
    sizes = np.abs(np.column_stack([own, other])).max(1)
    scale = np.full(len(own), width) if isfinite(width) else sizes
    tied: Scores = np.asarray((np.abs(own[:, None] - other) <= ROUNDED * scale[:, None]).all(1))
    return tied


def _of_recordings(other: Scores) -> Scores:
    """Return the mean ``(n, 1)`` of the recordings that have a score of an input; NaN where none has."""
    known = np.isfinite(other)
    means: Scores = np.where(known, other, 0.0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    return np.where(known.any(1, keepdims=True), means, np.nan)


def _unknown(own: Scores, other: Scores) -> Scores:
    """Return of which inputs a score is not defined."""
    unknown: Scores = np.asarray(np.isnan(own) | np.isnan(other).any(1))
    return unknown


def _mask(look: Look, target: Target) -> Scores:
    return np.array([one == target for one in look.targets], bool)


def _of_target(asked: _Asked, decision: Decision | None = None) -> OfTarget:
    estimate, n, groups = float(asked.scores.means()[0].mean()), asked.scores.lo.size, asked.scores.count
    if decision is None:
        return OfTarget(estimate, n, groups)
    return OfTarget(estimate, n, groups, decision.outcome, decision.interval)


def _means(look: Look, asked: _Asked) -> ByTarget:
    """Return the mean of each target."""
    targets = dict.fromkeys(look.targets)
    return ByTarget({target: _of_target(asked.of(_mask(look, target))) for target in targets})


def _standing(decision: Decision) -> tuple[int, float]:
    return {"failed": 0, "inconclusive": 1, "passed": 2}[decision.outcome or "inconclusive"], decision.estimate


def _several(targets: Sequence[Target]) -> str:
    shown = ", ".join(map(named, targets[:10]))
    return shown if len(targets) <= 10 else f"{shown} and {len(targets) - 10} more"
