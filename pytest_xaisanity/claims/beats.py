"""The verb ``beats``: the gain over a baseline, over each of several, and across settings of the metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np

from ..common.seeding import seed_of
from ..evidence.base import Metric
from ..evidence.scoring import Scoring
from ..statistics.question import Decision, decide_mean, decide_share, inputs_needed, smallest_n
from ..statistics.ranks import Ranks
from ..statistics.verdict import Verdict
from .base import (
    Claim,
    Compound,
    Look,
    Measurement,
    Scores,
    by_axis,
    check_finite,
    curve_arrays,
    curves,
    label,
    mean,
    plain,
    require_inputs,
    settled_by,
)

NO_BETTER = 0.1  # fewer than half plus this of random orders beaten, counts as no better than random
SETTINGS_TRIED = 12  # settings that a claim across settings draws
NO_GAIN = 0.05  # a smaller mean gain over another baseline counts as none


@dataclass(frozen=True, kw_only=True)
class Beats(Claim):
    """Per input, the explainer is better than the baseline on the metric. See :func:`beats`."""

    baseline: Any
    metric: Metric

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """The explainer's scores and the baseline's, or both from a baseline that has to see the explainer."""
        if hasattr(self.baseline, "measurement"):
            return [(self.baseline.measurement(self.metric), None)]
        own = Scoring(self.metric, control=True)
        if _makes_maps(self.baseline):
            return [(own, None), (Scoring(self.metric, self.baseline), None)]
        return [(own, None), (Scoring(self.metric), self.baseline)]

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """Against random orders by place, against one baseline by the paired difference."""
        look = _split(look) if len(look.scores) == 1 else look
        if not look.n and not look.final:
            return None
        require_inputs(look.n, 1, f"{name} {self}")
        sign = 1.0 if self.metric.higher_is_better else -1.0
        own = sign * look.scores[0]["scores"][:, 0].astype(float)
        other = sign * look.scores[1]["scores"].astype(float)
        check_finite(own, other, f"{name} {self}")
        question, values, quantity, places = self._question(own, other)
        common: dict[str, Any] = {"confidence": confidence, "final": look.final, "early": self.early}
        if question.get("share"):
            limits = {"threshold": question["threshold"], "margin": question["margin"]}
            decision = decide_share(values, values, **limits, **common)
        else:
            decision = decide_mean(values, values, places=places, **question, **common)
        if decision.outcome is None:
            return None
        needed = None
        if decision.outcome == "inconclusive":
            margin = question.pop("margin")
            orders = None if places is None else look.scores[1]["scores"].shape[1]
            least = smallest_n(**question, confidence=confidence, early=self.early, orders=orders)
            require_inputs(look.n, least, f"{name} {self}")
            needed = inputs_needed(values, values, **question, margin=margin, confidence=confidence, early=self.early)
        return self._conclude(look, name, confidence, decision, values, quantity, needed)

    def _question(self, own: Scores, other: Scores) -> tuple[dict[str, Any], Scores, str, Ranks | None]:
        if getattr(self.baseline, "name", "") == "random":
            places = Ranks(own, other)
            question: dict[str, Any] = {"low": 0.0, "high": 1.0, "threshold": 0.5, "margin": NO_BETTER}
            return question, places.shares, "share of random orders beaten", places
        gain = own - other.mean(1)
        if isfinite(self.metric.low) and isfinite(self.metric.high):
            width = self.metric.high - self.metric.low
            reach = 1.0 if width <= 2 else width
            question = {"low": -reach, "high": reach, "threshold": 0.0, "margin": self._no_gain * reach}
            clipped = "" if reach >= width else f", clipped to [-{reach:g}, {reach:g}]"
            return question, np.clip(gain, -reach, reach), f"mean gain in {self.metric.name}{clipped}", None
        # Scores without a bound are decided on the sign of the paired difference; ties count for the baseline.
        question = {"low": 0.0, "high": 1.0, "threshold": 0.5, "margin": NO_BETTER, "share": True}
        return question, (gain > 0).astype(float), "share of inputs with a gain", None

    @property
    def _no_gain(self) -> float:
        margin: float = getattr(self.baseline, "margin", NO_GAIN)
        return margin

    def _shown(self, quantity: str) -> str:
        """What a failure shows: an advantage below the margin counts as none."""
        if quantity.startswith("mean gain"):
            least = self._no_gain * max(1.0, (self.metric.high - self.metric.low) / 2)
            return f"its mean gain is shown to be below {least:g}"
        return f"shown to do so for less than {0.5 + NO_BETTER:.0%} of them"

    def _conclude(
        self,
        look: Look,
        name: str,
        confidence: float,
        decision: Decision,
        values: Scores,
        quantity: str,
        needed: int | None,
    ) -> Verdict:
        outcome = decision.outcome
        assert outcome is not None
        against = label(self.baseline)
        reasons = {
            "passed": f"better than {against} on {self.metric.name}",
            "failed": f"no better than {against} on {self.metric.name}: {self._shown(quantity)}",
            "inconclusive": f"not shown to be better than {against} on {self.metric.name}, nor to be no better",
        }
        scores = {
            "explainer": plain(look.scores[0]["scores"][:, 0]),
            against: plain(look.scores[1]["scores"].mean(1)),
        }
        evidence = {
            **look.descriptions[0],
            "scores": scores,
            "per_input": plain(values),
            "means": {key: mean(np.array(value, float)) for key, value in scores.items()},
            "curves": {
                "explainer": curves(look.scores[0]),
                against: {key: by_axis(value, 1) for key, value in curve_arrays(look.scores[1]).items()},
            },
        }
        adversary = look.descriptions[0].get("adversary")
        which = f" (the simplest that does as well: {adversary['call']})" if adversary and outcome == "failed" else ""
        reason = reasons[outcome] + which + settled_by(needed, outcome)
        return self._verdict(
            look, name, confidence, decision, outcome, quantity=quantity, reason=reason, evidence=evidence
        )


def _makes_maps(baseline: Any) -> bool:
    return not isinstance(baseline, type) and hasattr(baseline, "maps")


def _split(look: Look) -> Look:
    """Return a look at scores ``(b, 2)`` as one at two measurements, without the inputs that have no scores."""
    pairs = look.scores[0]["scores"]
    known: Scores = np.asarray(~np.isnan(pairs).any(axis=1))
    indices = tuple(index for index, kept in zip(look.indices, known.tolist(), strict=True) if kept)
    own, other = ({"scores": pairs[known, side : side + 1]} for side in (0, 1))
    return replace(look, indices=indices, scores=(own, other), descriptions=(look.descriptions[0], {}))


@dataclass(frozen=True, kw_only=True)
class BeatsEach(Compound):
    """A :class:`Beats` that must hold for each of several baselines: those that ``parts(shape)`` of one returns."""

    baseline: Any
    metric: Metric

    def resolve(self, decide: Callable[[Claim], Verdict], *, shape: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict that is furthest from a pass; after a failed one no other is sought."""
        verdicts: dict[str, Verdict] = {}
        for part in self.baseline.parts(shape):
            claim = Beats(baseline=part, metric=self.metric, confidence=self.confidence, early=self.early)
            verdicts[label(part)] = decide(claim)
            if self.early and verdicts[label(part)].failed:
                break
        verdict = min(verdicts.values(), key=_standing)
        reason = f"{verdict.reason}, the closest of {', '.join(verdicts)}" if verdict.passed else verdict.reason
        outcomes = {part: {"outcome": one.outcome, "estimate": one.estimate} for part, one in verdicts.items()}
        evidence = {**verdict.evidence, self.baseline.name: outcomes}
        return replace(verdict, claim=f"{name} {self}", reason=reason, evidence=evidence)


def _standing(verdict: Verdict) -> tuple[int, float]:
    return {"failed": 0, "inconclusive": 1, "passed": 2}[verdict.outcome], verdict.estimate


def beating(baseline: Any, metric: Metric, **common: Any) -> Beats | BeatsEach:
    """Return the claim to beat the baseline, or each of those that make it up."""
    kind = BeatsEach if hasattr(baseline, "parts") else Beats
    return kind(baseline=baseline, metric=metric, **common)


@dataclass(frozen=True, kw_only=True)
class BeatsAcross(Compound):
    """A :class:`Beats` that must hold for every drawn setting of the metric. See ``across=`` of :func:`beats`."""

    baseline: Any
    metric: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    max_examples: int = SETTINGS_TRIED

    def resolve(self, decide: Callable[[Claim], Verdict], *, shape: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict on the simplest setting under which the claim fails, or else the least certain one."""
        from ..adversaries.search import counterexample
        from ..adversaries.strategies import settings_of

        verdicts: dict[Metric, Verdict] = {}

        def fails(metric: Metric) -> bool:
            verdicts[metric] = decide(beating(self.baseline, metric, confidence=self.confidence, early=self.early))
            return verdicts[metric].failed

        strategy = settings_of(self.metric, shape=shape, **self.fixed)
        budget = {"max_examples": self.max_examples, "search_seed": seed_of(seed, "settings", name)}
        found = counterexample(strategy, fails, **budget)
        return self._conclude(verdicts, found, name)

    def _conclude(self, verdicts: Mapping[Metric, Verdict], found: Metric | None, name: str) -> Verdict:
        worst = found or min(verdicts, key=lambda metric: _standing(verdicts[metric]))
        verdict = verdicts[worst]
        if verdict.passed:
            reason = f"{verdict.reason} in each of {len(verdicts)} settings; least clearly with {worst!r}"
        else:
            reason = f"{verdict.reason}, with {worst!r}: the simplest of the settings tried that does not pass"
        settings = {repr(metric): one.outcome for metric, one in verdicts.items()}
        evidence = {**verdict.evidence, "settings": settings}
        return replace(verdict, claim=f"{name} {self}", reason=reason, evidence=evidence)
