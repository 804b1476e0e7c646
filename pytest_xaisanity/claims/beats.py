"""The verb ``beats``: the gain over a baseline, over each of several, and across settings of the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import ClassVar, NamedTuple

import numpy as np

from ..adversaries.search import Adversarial, Adversary, counterexample
from ..adversaries.strategies import settings_of
from ..common.seeding import seed_of
from ..evidence.base import Baseline, Scored
from ..evidence.baselines.uninformative import GivenMap, Uninformative
from ..evidence.scoring import AnyMapMetric, Scoring
from ..maps.uninformative import UninformativeMap
from ..statistics.evidence import Evidence, Part
from ..statistics.question import Decision, Question
from ..statistics.ranks import Ranks
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Compound,
    Look,
    Means,
    Need,
    PerInput,
    Scores,
    Worst,
    by_axis,
    check_finite,
    mean,
    plain,
    remarked,
    require_inputs,
    settled_by,
)
from .identity import label

__all__ = ["Beats", "BeatsAcross", "BeatsEach", "BeatsFound", "beating"]

NO_BETTER = 0.1  # fewer than half plus this of random orders beaten, counts as no better than random
SETTINGS_TRIED = 12  # settings that a claim across settings draws
_ADVICE = (
    "the ranking carries no more than the baseline: check targets, baselines and sign, and compare another imputer="
)


class _Asked(NamedTuple):
    """The question that two sets of scores put.

    Attributes:
        question: The question.
        values: What it is decided on, one value an input.
        quantity: What the values are.
        ranks: Those among random orders, against which the question is decided.
        shown: What a failure shows.
    """

    question: Question
    values: Scores
    quantity: str
    ranks: Ranks | None
    shown: str


@dataclass(frozen=True, kw_only=True)
class Beats(Claim):
    """Per input, the explainer is better than the baseline on the metric. See :func:`~pytest_xaisanity.beats`.

    Attributes:
        baseline: A baseline, or what users have as explainers.
        metric: The metric.
    """

    baseline: object
    metric: AnyMapMetric
    verb: ClassVar[str] = "beats"
    advice: ClassVar[str] = _ADVICE

    def needs(self) -> Sequence[Need]:
        """The explainer's scores and the baseline's."""
        own = Scoring(self.metric, control=True)
        if isinstance(self.baseline, Baseline):
            return [Need(own), Need(Scoring(self.metric, self.baseline))]
        return [Need(own), Need(Scoring(self.metric), self.baseline)]

    def decide(self, look: Look) -> Verdict | None:
        """Against random orders by rank, against one baseline by the paired difference."""
        look = self._rivals(look)
        if not look.n and not look.final:
            return None
        claim = f"{look.explainer} {self}"
        require_inputs(look.n, 1, claim)
        sign = 1.0 if self.metric.higher_is_better else -1.0
        own = sign * look.scored(0).values[:, 0].astype(float)
        other = sign * look.scored(1).values.astype(float)
        check_finite(own, other, claim)
        asked = self._asked(own, other, self.metric.limits(look.parts[0]))
        question, values = asked.question, asked.values
        decision = question.decide(values, values, look.level, final=look.final, ranks=asked.ranks)
        if decision.outcome is None:
            return None
        needed = None
        if decision.outcome == "inconclusive":
            orders = None if asked.ranks is None else other.shape[1]
            require_inputs(look.n, question.smallest_n(look.level, orders=orders), claim)
            needed = question.inputs_needed(values, values, look.level)
        return self._conclude(look, decision, decision.outcome, asked, needed)

    def _rivals(self, look: Look) -> Look:
        """Return a look at the scores of the explainer and of the baseline, on the inputs that have both."""
        return look

    def _asked(self, own: Scores, other: Scores, limits: tuple[float, float]) -> _Asked:
        few = f"shown to do so for less than {0.5 + NO_BETTER:.0%} of them"
        baseline = self.baseline
        if isinstance(baseline, Baseline) and baseline.random:
            ranks = Ranks(own, other)
            question = Question(0.0, 1.0, 0.5, margin=NO_BETTER)
            return _Asked(question, ranks.shares, "share of random orders beaten", ranks, few)
        gain = own - other.mean(1)
        if isfinite(limits[0]) and isfinite(limits[1]):
            width = limits[1] - limits[0]
            reach = 1.0 if width <= 2 else width
            least = baseline.margin if isinstance(baseline, Baseline) else Baseline.margin
            clipped = "" if reach >= width else f", clipped to [-{reach:g}, {reach:g}]"
            shown = f"its mean gain is shown to be below {least * max(1.0, width / 2):g}"
            question = Question(-reach, reach, 0.0, margin=least * reach)
            quantity = f"mean gain in {self.metric.name}{clipped}"
            return _Asked(question, np.clip(gain, -reach, reach), quantity, None, shown)
        # Scores without a bound are decided on the sign of the paired difference; ties count for the baseline.
        question = Question.of_share(0.5, margin=NO_BETTER)
        return _Asked(question, (gain > 0).astype(float), "share of inputs with a gain", None, few)

    def _conclude(self, look: Look, decision: Decision, outcome: Outcome, asked: _Asked, needed: int | None) -> Verdict:
        against = label(self.baseline)
        reasons = {
            "passed": f"better than {against} on {self.metric.name}",
            "failed": f"no better than {against} on {self.metric.name}: {asked.shown}",
            "inconclusive": f"not shown to be better than {against} on {self.metric.name}, nor to be no better",
        }
        own, other = look.scored(0), look.scored(1)
        scores = {"explainer": own.values[:, 0], against: other.values.mean(1)}
        curves = {
            "explainer": {name: curve.astype(float).tolist() for name, curve in own.curves.items()},
            against: {name: by_axis(curve, 1) for name, curve in other.curves.items()},
        }
        values = plain(asked.values)
        remarks = self.metric.remarks(own, look.parts[0])
        return self._verdict(
            look,
            decision,
            quantity=asked.quantity,
            reason=reasons[outcome]
            + self._simplest(look, outcome)
            + settled_by(needed, outcome)
            + remarked(remarks, outcome),
            evidence=(
                Means({name: mean(np.array(plain(value), float)) for name, value in scores.items()}, curves),
                *look.parts[0],
                *remarks,
                PerInput({name: plain(value) for name, value in scores.items()}, values),
                Worst.of(look.indices, values, lambda value: -value, asked.quantity),
            ),
        )

    def _simplest(self, look: Look, outcome: Outcome) -> str:
        """Return what a reason adds of the baseline."""
        return ""


@dataclass(frozen=True, kw_only=True)
class BeatsFound(Beats):
    """A :class:`Beats` against the best map that a search finds: it is scored beside the explainer's."""

    baseline: Uninformative

    def needs(self) -> Sequence[Need]:
        """Both scores from a search that has to see the explainer's."""
        return [Need(Adversarial(self.metric, self.baseline))]

    def _rivals(self, look: Look) -> Look:
        pairs = look.scored().values
        known: Scores = np.asarray(~np.isnan(pairs).any(axis=1))
        indices = tuple(index for index, kept in zip(look.indices, known.tolist(), strict=True) if kept)
        own, other = (Scored(pairs[known, side : side + 1]) for side in (0, 1))
        return replace(look, indices=indices, measured=(own, other), parts=(look.parts[0], ()))

    def _simplest(self, look: Look, outcome: Outcome) -> str:
        adversary = Evidence(*look.parts[0]).find(Adversary)
        if adversary is None or outcome != "failed":
            return ""
        return f" (the simplest that does as well: {adversary.found.map!r})"


class Resolved(NamedTuple):
    """What became of one of the claims that make up another."""

    outcome: Outcome
    estimate: float


@dataclass(frozen=True)
class Resolutions(Part):
    """What became of the claims that make up another.

    Attributes:
        name: What tells them apart: ``"mutants"``, ``"settings"``.
        found: By that.
    """

    name: str
    found: Mapping[str, Resolved]

    def plain(self) -> dict[str, object]:
        """Return outcomes, and estimates where they are of one quantity."""
        if self.name == "settings":
            return {self.name: {key: one.outcome for key, one in self.found.items()}}
        return {self.name: {key: one._asdict() for key, one in self.found.items()}}


@dataclass(frozen=True, kw_only=True)
class BeatsEach(Compound):
    """A :class:`Beats` that must hold for each of several baselines: the parts of one."""

    baseline: Baseline
    metric: AnyMapMetric
    verb: ClassVar[str] = "beats"
    advice: ClassVar[str] = _ADVICE

    def resolve(self, decide: Callable[[Claim], Verdict], *, places: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict that is furthest from a pass; after a failed one no other is sought."""
        verdicts: dict[str, Verdict] = {}
        for part in self.baseline.parts(places):
            claim = Beats(baseline=part, metric=self.metric, confidence=self.confidence, early=self.early)
            verdicts[part.name] = decide(claim)
            if self.early and verdicts[part.name].failed:
                break
        verdict = min(verdicts.values(), key=_standing)
        reason = f"{verdict.reason}, the closest of {', '.join(verdicts)}" if verdict.passed else verdict.reason
        found = Resolutions(self.baseline.name, dict(_resolved(verdicts)))
        evidence = Evidence(*verdict.evidence.parts, found)
        return replace(verdict, claim=f"{name} {self}", reason=reason, evidence=evidence)


def _resolved(verdicts: Mapping[str, Verdict]) -> Iterator[tuple[str, Resolved]]:
    for key, verdict in verdicts.items():
        yield key, Resolved(verdict.outcome, verdict.estimate)


def _standing(verdict: Verdict) -> tuple[int, float]:
    return {"failed": 0, "inconclusive": 1, "passed": 2}[verdict.outcome], verdict.estimate


def beating(
    baseline: object,
    metric: AnyMapMetric,
    *,
    confidence: float | None = None,
    early: bool = True,
    words: tuple[str, ...] = (),
) -> Beats | BeatsEach:
    """Return the claim to beat the baseline, or each of those that make it up."""
    if isinstance(baseline, UninformativeMap):
        baseline = GivenMap(baseline)
    if isinstance(baseline, Baseline) and baseline.several:
        return BeatsEach(baseline=baseline, metric=metric, confidence=confidence, early=early, words=words)
    if isinstance(baseline, Uninformative):
        return BeatsFound(baseline=baseline, metric=metric, confidence=confidence, early=early, words=words)
    return Beats(baseline=baseline, metric=metric, confidence=confidence, early=early, words=words)


@dataclass(frozen=True, kw_only=True)
class BeatsAcross(Compound):
    """A :class:`Beats` that must hold for every drawn setting of the metric. See ``across=`` of ``beats``."""

    baseline: object
    metric: str
    fixed: Mapping[str, object] = field(default_factory=dict)
    max_examples: int = SETTINGS_TRIED
    verb: ClassVar[str] = "beats"
    form: ClassVar[str] = "across_settings"
    advice: ClassVar[str] = _ADVICE

    def resolve(self, decide: Callable[[Claim], Verdict], *, places: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict on the simplest setting under which the claim fails, or else the least certain one."""
        verdicts: dict[AnyMapMetric, Verdict] = {}

        def fails(metric: AnyMapMetric) -> bool:
            verdicts[metric] = decide(beating(self.baseline, metric, confidence=self.confidence, early=self.early))
            return verdicts[metric].failed

        strategy = settings_of(self.metric, shape=places, **self.fixed)
        search_seed = seed_of(seed, "settings", name)
        found = counterexample(strategy, fails, max_examples=self.max_examples, search_seed=search_seed)
        return self._conclude(verdicts, found, name)

    def _conclude(self, verdicts: Mapping[AnyMapMetric, Verdict], found: AnyMapMetric | None, name: str) -> Verdict:
        worst = found or min(verdicts, key=lambda metric: _standing(verdicts[metric]))
        verdict = verdicts[worst]
        if verdict.passed:
            reason = f"{verdict.reason} in each of {len(verdicts)} settings; least clearly with {worst!r}"
        else:
            reason = f"{verdict.reason}, with {worst!r}: the simplest of the settings tried that does not pass"
        settings = Resolutions("settings", dict(_resolved({repr(key): one for key, one in verdicts.items()})))
        evidence = Evidence(*verdict.evidence.parts, settings)
        return replace(verdict, claim=f"{name} {self}", reason=reason, evidence=evidence)
