"""The four verbs: statements about an explainer, and how evidence decides them.

A claim says what must be measured (:meth:`Claim.measurements`) and what the scores mean (:meth:`Claim.decide`); it
knows neither the bench nor pytest. The functions :func:`changes_under`, :func:`invariant_under`, :func:`beats` and
:func:`bounded` make claims from names or objects, and are what the fixture and the markers call.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from .baselines import BASELINES
from .errors import XaiError, unknown_name
from .interventions import INTERVENTIONS, Comparison, Intervention
from .metrics import METRICS, Metric
from .metrics.scoring import Scoring
from .registry import Registry
from .similarity import SIMILARITIES, Similarity
from .verdict import Decision, Direction, Outcome, Places, Verdict, decide_mean, decide_share, inputs_needed, smallest_n

__all__ = [
    "Beats",
    "Bounded",
    "ChangesUnder",
    "Claim",
    "InvariantUnder",
    "Look",
    "Measurement",
    "beats",
    "bounded",
    "changes_under",
    "checked_confidence",
    "invariant_under",
    "make",
]

REPRODUCES = 0.1  # an explainer reproduces itself when s_self - s_chance is shown to be above this
NO_BETTER = 0.1  # fewer than half plus this of random orders beaten, counts as no better than random
NO_GAIN = 0.05  # a smaller mean gain over another baseline counts as none

Scores = NDArray[Any]
Verb = Literal["changes_under", "invariant_under"]


class Measurement(Protocol):
    """What a claim needs measured."""

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""

    @property
    def explains(self) -> bool:
        """Whether the scores depend on the explainer; those of a baseline are shared by all."""

    def start(self, explained: Any, block: Any) -> Any:
        """Begin on the first block; the result measures blocks and describes itself."""


@dataclass(frozen=True)
class Look:
    """What has been measured when a claim is looked at.

    Attributes:
        indices: The inputs measured, in the order in which they were visited.
        final: Whether these are all.
        scores: For each measurement, named arrays whose first axis is that of ``indices``.
        descriptions: For each measurement, plain values for the evidence.
        seed: The seed everything was drawn with.
        tolerance: Relative difference that counts as rounding.
    """

    indices: tuple[int, ...]
    final: bool
    scores: tuple[Mapping[str, Scores], ...]
    descriptions: tuple[Mapping[str, Any], ...]
    seed: int
    tolerance: float

    @property
    def n(self) -> int:
        """How many inputs were measured."""
        return len(self.indices)


@dataclass(frozen=True, kw_only=True)
class Claim(ABC):
    """A statement about an explainer.

    Attributes:
        confidence: One minus the accepted rate of wrong passes; None takes the bench's.
        early: Whether to stop as soon as the claim is decided; False measures every input.
        words: The claim as it was written, for verdicts and test ids: verb, object, settings.
    """

    confidence: float | None = None
    early: bool = True
    words: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return " ".join(self.words)

    @abstractmethod
    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """Return what to measure, each with another explainer than the claim's own, or None."""

    @abstractmethod
    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """Return the verdict on the explainer called ``name``, or None to measure more."""

    def _verdict(
        self,
        look: Look,
        name: str,
        confidence: float,
        decision: Decision,
        outcome: Outcome,
        *,
        quantity: str,
        reason: str,
        evidence: Mapping[str, Any],
        estimate: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> Verdict:
        return Verdict(
            claim=f"{name} {self}",
            outcome=outcome,
            estimate=decision.estimate if estimate is None else estimate,
            interval=decision.interval if interval is None else interval,
            confidence=confidence,
            n=look.n,
            decided_by=decision.decided_by,
            quantity=quantity,
            reason=reason,
            evidence={"indices": list(look.indices), "seed": look.seed, **evidence},
        )


# ---------------------------------------------------------------------------------------------------------------------
# changes_under


@dataclass(frozen=True, kw_only=True)
class ChangesUnder(Claim):
    """The attributions differ once the intervention is made. See :func:`changes_under`."""

    intervention: Intervention
    similarity: str | None = None
    at_most: float | None = None
    retention: float = 0.5

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """One comparison of the maps before and after."""
        names = () if self.similarity is None else (self.similarity,)
        return [(Comparison(self.intervention, names), None)]

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """Decide each similarity by itself; where they contradict one another the verdict is inconclusive."""
        scores = look.scores[0]
        names: list[str] = list(look.descriptions[0]["similarities"])
        views = [_view(SIMILARITIES[s], scores, self, look, confidence) for s in names]
        if look.final and look.n < 2 and self.at_most is None:
            raise _too_few(f"{name} {self}", look.n, 2)
        outcome = _joint([view.outcome for view in views])
        if outcome is None:
            return None
        main = _worst(views, outcome)
        if outcome == "inconclusive" and main.needed is None and look.final:
            self._check_enough(look, name, confidence)
        evidence = {
            **look.descriptions[0],
            "by_similarity": {view.name: view.evidence for view in views},
            "scores": {view.name: view.scores for view in views},
        }
        return self._verdict(
            look, name, confidence, main.decision, outcome,
            quantity=main.quantity, reason=_reason(views, outcome, main), evidence=evidence,
            estimate=main.estimate, interval=main.interval,
        )  # fmt: skip

    def _check_enough(self, look: Look, name: str, confidence: float) -> None:
        question: dict[str, Any] = {"low": -1, "high": 1, "threshold": REPRODUCES, "direction": "above"}
        if self.at_most is not None and self.similarity is not None:
            s = SIMILARITIES[self.similarity]
            question = {"low": s.low, "high": s.high, "threshold": self.at_most, "direction": _closer_to(s, below=True)}
        _require(look.n, smallest_n(**question, confidence=confidence, early=self.early), f"{name} {self}")


def _closer_to(similarity: Similarity, *, below: bool) -> Direction:
    """Return on which side of a bound less alike maps lie; an error is greater where a similarity is less."""
    return "below" if below == (similarity.identical == similarity.high) else "above"


@dataclass(frozen=True)
class _View:
    """What one similarity says of a change."""

    name: str
    outcome: Outcome | None
    decision: Decision
    quantity: str
    estimate: float
    interval: tuple[float, float]
    reason: str
    needed: int | None
    evidence: dict[str, Any]
    scores: list[float | None]
    settles: bool = True  # whether more inputs could settle it


def _view(similarity: Similarity, scores: Mapping[str, Scores], claim: ChangesUnder, look: Look, level: float) -> _View:
    after, own, chance = (scores[f"{part} {similarity.name}"] for part in ("after", "self", "chance"))
    evidence = {
        "after_by_position": _by_axis(after, 2),
        "after_by_seed": _by_axis(after, 1),
        "self": _mean(own),
        "chance": _mean(chance),
        "constant_or_not_finite": int(np.isnan(after).any((1, 2)).sum() + np.isnan(own).sum()),
    }
    if claim.at_most is not None:
        return _raw_view(similarity, after, claim, look, level, evidence)
    return _retention_view(similarity, after, own, chance, claim, look, level, evidence)


def _raw_view(
    s: Similarity, after: Scores, claim: ChangesUnder, look: Look, level: float, evidence: dict[str, Any]
) -> _View:
    lo, hi = _known(after, s.low, s.high, axes=(1, 2))
    assert claim.at_most is not None
    question: dict[str, Any] = {"low": s.low, "high": s.high, "threshold": claim.at_most, "confidence": level}
    question["direction"] = _closer_to(s, below=True)
    decision = decide_mean(lo, hi, **question, final=look.final, early=claim.early)
    word = "at most" if question["direction"] == "below" else "at least"
    sides = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be", None: ""}
    reason = f"mean {s.name} before and after {sides[decision.outcome]} {word} {claim.at_most:g}"
    needed = inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None
    scores = _plain(np.nanmean(after, axis=(1, 2)) if not np.isnan(after).any() else (lo + hi) / 2)
    return _View(
        s.name, decision.outcome, decision, f"{s.name} after", decision.estimate, decision.interval,
        reason + _constant(evidence), needed, evidence, scores,
    )  # fmt: skip


def _retention_view(
    s: Similarity,
    after: Scores,
    own: Scores,
    chance: Scores,
    claim: ChangesUnder,
    look: Look,
    level: float,
    evidence: dict[str, Any],
) -> _View:
    """Decide ``(s_after - s_chance) - r (s_self - s_chance) < 0``, once ``s_self - s_chance`` is above a margin."""
    after, own, chance = (_unit(s, x) for x in (after, own, chance))
    r = claim.retention
    after_lo, after_hi = _known(after, -1.0, 1.0, axes=(1, 2))
    own_lo, own_hi = _known(own, -1.0, 1.0)
    chance_lo, chance_hi = _known(chance, -1.0, 1.0)
    common: dict[str, Any] = {"low": -1.0, "high": 1.0, "confidence": level, "final": look.final, "early": claim.early}
    gaps = _clip(own_lo - chance_hi), _clip(own_hi - chance_lo)
    gap = decide_mean(*gaps, threshold=REPRODUCES, direction="above", **common)
    lo = _clip(after_lo - (1 - r) * chance_hi - r * own_hi)
    hi = _clip(after_hi - (1 - r) * chance_lo - r * own_lo)
    kept = decide_mean(lo, hi, threshold=0.0, direction="below", **common)
    retained = _clip((lo + hi) / 2)
    scale = gap.estimate
    estimate, interval = float("nan"), (float("-inf"), float("inf"))
    if scale > REPRODUCES / 2:
        estimate = r + kept.estimate / scale
        interval = (r + kept.interval[0] / scale, r + kept.interval[1] / scale)
    evidence |= {"gap": gap.estimate, "retention": estimate if isfinite(estimate) else None}
    quantity = f"retention ({s.name})"
    scores = _plain(retained)
    if gap.outcome == "passed":
        sides = {
            "passed": "at most",
            "failed": "more than",
            "inconclusive": "perhaps more, perhaps less than",
            None: "",
        }
        reason = f"{sides[kept.outcome]} {r:.0%} of the similarity above chance is left ({s.name})" + _constant(
            evidence
        )
        needed = None
        if kept.outcome == "inconclusive":
            needed = inputs_needed(lo, hi, low=-1, high=1, threshold=0.0, confidence=level, direction="below")
        return _View(s.name, kept.outcome, kept, quantity, estimate, interval, reason, needed, evidence, scores)
    undecided = gap.outcome is None
    reason = _not_reproduced(s.name, evidence, shown=gap.outcome == "failed")
    needed = None
    if not undecided and gap.outcome == "inconclusive":
        needed = inputs_needed(*gaps, low=-1, high=1, threshold=REPRODUCES, confidence=level, direction="above")
    outcome: Outcome | None = None if undecided else "inconclusive"
    settles = gap.outcome != "failed"
    return _View(s.name, outcome, gap, quantity, estimate, interval, reason, needed, evidence, scores, settles)


def _not_reproduced(name: str, evidence: Mapping[str, Any], *, shown: bool) -> str:
    own, chance = (
        f"{value:.2f}" if value is not None else "nothing" for value in (evidence["self"], evidence["chance"])
    )
    if own == chance == "nothing" or own == "nothing":
        return f"nearly all maps are constant, so {name} cannot compare them"
    figures = f"{name} {own} between two runs on one input, {chance} between unrelated inputs"
    if not shown:
        return f"too few inputs to show that the explainer reproduces itself ({figures})"
    if evidence["chance"] is not None and evidence["chance"] > 0.5:
        return f"explanations of unrelated inputs are as alike as those of one input ({figures}): nothing to retain"
    return f"the explainer does not reproduce itself ({figures}): a change cannot be told from its own noise"


def _constant(evidence: Mapping[str, Any]) -> str:
    count = evidence["constant_or_not_finite"]
    return f"; {count} inputs have constant or non-finite maps, counted against either decision" if count else ""


def _joint(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    known = {outcome for outcome in outcomes if outcome is not None}
    if "inconclusive" in known or len(known) > 1:
        return "inconclusive"  # a contradiction stays one, whatever the undecided similarities would say
    return None if None in outcomes else known.pop()


def _worst(views: Sequence[_View], outcome: Outcome) -> _View:
    """The view a verdict quotes: the one that is nearest to another outcome."""
    if outcome == "inconclusive":
        unsettled = [view for view in views if view.outcome == "inconclusive"]
        return unsettled[0] if unsettled else max(views, key=lambda view: view.estimate)
    return (max if outcome == "passed" else min)(views, key=lambda view: view.estimate)


def _reason(views: Sequence[_View], outcome: Outcome, main: _View) -> str:
    outcomes = {view.outcome for view in views} - {None}
    if {"passed", "failed"} <= outcomes:
        told = "; ".join(f"{v.name}: {v.estimate:.2f} retained ({v.outcome})" for v in views if v.outcome is not None)
        return f"it depends on the similarity ({told}); name the one that matters with similarity="
    unsettled = outcome == "inconclusive" and main.settles
    return main.reason + (_settle(main.needed) if unsettled else "")


# ---------------------------------------------------------------------------------------------------------------------
# invariant_under


@dataclass(frozen=True, kw_only=True)
class InvariantUnder(Claim):
    """The attributions do not differ once the intervention is made. See :func:`invariant_under`."""

    intervention: Intervention
    similarity: str | None = None
    at_least: float | None = None
    tolerance: float | None = None

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """One comparison of the maps before and after."""
        return [(Comparison(self.intervention, (self.similarity or "distance",)), None)]

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """With a similarity, decide on its mean; without one, a single changed input is a counterexample."""
        if look.final and look.n < 2:
            raise _too_few(f"{name} {self}", look.n, 2)
        if self.similarity is not None:
            return self._by_similarity(look, name, confidence)
        after, own = look.scores[0]["after distance"], look.scores[0]["self distance"]
        limit = look.tolerance if self.tolerance is None else self.tolerance
        worst = after.max((1, 2))
        changed = ~(worst <= limit)
        share = decide_share(changed, changed, threshold=0.5, confidence=confidence, final=True, early=False)
        outcome = _invariance(changed, own, limit, final=look.final)
        if outcome is None:
            return None
        reasons = {
            "passed": f"no input of {look.n} changed by more than {limit:g} of its map",
            "failed": f"{int(changed.sum())} of {look.n} inputs changed by more than {limit:g} of their map "
            f"(the worst by {float(np.nanmax(worst)):.2g})",
            "inconclusive": "the explainer does not reproduce itself (two runs on one input differ by up to "
            f"{float(np.nanmax(own)):.2g} of the map): seed it, or name a similarity and at_least=",
        }
        decision = Decision(outcome, share.estimate, share.interval, "a search for counterexamples")
        evidence = {**look.descriptions[0], "scores": {"distance": _plain(worst)}, "tolerance": limit}
        return self._verdict(
            look, name, confidence, decision, outcome,
            quantity="share of inputs changed", reason=reasons[outcome], evidence=evidence,
        )  # fmt: skip

    def _by_similarity(self, look: Look, name: str, confidence: float) -> Verdict | None:
        assert self.similarity is not None
        assert self.at_least is not None
        s = SIMILARITIES[self.similarity]
        after = look.scores[0][f"after {s.name}"]
        lo, hi = _known(after, s.low, s.high, axes=(1, 2))
        question: dict[str, Any] = {"low": s.low, "high": s.high, "threshold": self.at_least, "confidence": confidence}
        question["direction"] = _closer_to(s, below=False)
        decision = decide_mean(lo, hi, **question, final=look.final, early=self.early)
        if decision.outcome is None:
            return None
        if decision.outcome == "inconclusive":
            _require(look.n, smallest_n(**question, early=self.early), f"{name} {self}")
        side = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[decision.outcome]
        needed = inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None
        reason = f"mean {s.name} before and after {side} at least {self.at_least:g}{_settle(needed, decision.outcome)}"
        evidence = {**look.descriptions[0], "scores": {s.name: _plain((lo + hi) / 2)}}
        return self._verdict(
            look, name, confidence, decision, decision.outcome,
            quantity=f"{s.name} after", reason=reason, evidence=evidence,
        )  # fmt: skip


def _invariance(changed: Scores, own: Scores, limit: float, *, final: bool) -> Outcome | None:
    if not (own <= limit).all():
        return "inconclusive"
    if changed.any():
        return "failed"
    return "passed" if final else None


# ---------------------------------------------------------------------------------------------------------------------
# beats and bounded


@dataclass(frozen=True, kw_only=True)
class Beats(Claim):
    """Per input, the explainer is better than the baseline on the metric. See :func:`beats`."""

    baseline: Any
    metric: Metric

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """The explainer's scores and the baseline's."""
        own = Scoring(self.metric, control=True)
        if _makes_maps(self.baseline):
            return [(own, None), (Scoring(self.metric, self.baseline), None)]
        return [(own, None), (Scoring(self.metric), self.baseline)]

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """Against random orders by place, against one baseline by the paired difference."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        own = sign * look.scores[0]["scores"][:, 0].astype(float)
        other = sign * look.scores[1]["scores"].astype(float)
        _check_known(own, other, f"{name} {self}")
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
            _require(look.n, least, f"{name} {self}")
            needed = inputs_needed(values, values, **question, margin=margin, confidence=confidence, early=self.early)
        return self._conclude(look, name, confidence, decision, values, quantity, needed)

    def _question(self, own: Scores, other: Scores) -> tuple[dict[str, Any], Scores, str, Places | None]:
        if getattr(self.baseline, "name", "") == "random":
            places = Places(own, other)
            question: dict[str, Any] = {"low": 0.0, "high": 1.0, "threshold": 0.5, "margin": NO_BETTER}
            return question, places.shares, "share of random orders beaten", places
        gain = own - other.mean(1)
        if isfinite(self.metric.low) and isfinite(self.metric.high):
            question = {"low": -1.0, "high": 1.0, "threshold": 0.0, "margin": NO_GAIN}
            return question, _clip(gain), f"mean gain in {self.metric.name}, clipped to [-1, 1]", None
        # Scores without a bound are decided on the sign of the paired difference; ties count for the baseline.
        question = {"low": 0.0, "high": 1.0, "threshold": 0.5, "margin": NO_BETTER, "share": True}
        return question, (gain > 0).astype(float), "share of inputs with a gain", None

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
        against = _label(self.baseline)
        reasons = {
            "passed": f"better than {against} on {self.metric.name}",
            "failed": f"no better than {against} on {self.metric.name}",
            "inconclusive": f"not shown to be better than {against} on {self.metric.name}, nor to be no better",
        }
        scores = {
            "explainer": _plain(look.scores[0]["scores"][:, 0]),
            against: _plain(look.scores[1]["scores"].mean(1)),
        }
        evidence = {
            **look.descriptions[0],
            "scores": scores,
            "per_input": _plain(values),
            "means": {key: _mean(np.array(value, float)) for key, value in scores.items()},
            "curves": {
                "explainer": _curves(look.scores[0]),
                against: {key: _by_axis(value, 1) for key, value in _curve_arrays(look.scores[1]).items()},
            },
        }
        reason = reasons[outcome] + _settle(needed, outcome)
        return self._verdict(
            look, name, confidence, decision, outcome, quantity=quantity, reason=reason, evidence=evidence
        )


@dataclass(frozen=True, kw_only=True)
class Bounded(Claim):
    """The metric stays within a bound. See :func:`bounded`."""

    metric: Metric
    at_most: float | None = None
    at_least: float | None = None

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """The explainer's scores."""
        return [(Scoring(self.metric, control=True), None)]

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """On the mean where the metric has a range; otherwise on the share of inputs within the bound: the median."""
        values = look.scores[0]["scores"][:, 0].astype(float)
        _check_known(values, values[:, None], f"{name} {self}")
        sides = [("at most", self.at_most, "below"), ("at least", self.at_least, "above")]
        decisions = [
            (words, bound, *self._side(values, bound, direction, look, confidence))  # type: ignore[arg-type]
            for words, bound, direction in sides
            if bound is not None
        ]
        outcome = _both([decision.outcome for _, _, decision, _ in decisions])
        if outcome is None:
            return None
        words, bound, decision, needed = next(entry for entry in decisions if entry[2].outcome == outcome)
        ranged = isfinite(self.metric.low) and isfinite(self.metric.high)
        what = f"mean {self.metric.name}" if ranged else f"{self.metric.name} of most inputs"
        verb = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[outcome]
        evidence = {
            **look.descriptions[0],
            "scores": {"explainer": _plain(values)},
            "means": {"explainer": _mean(values)},
            "curves": {"explainer": _curves(look.scores[0])},
        }
        return self._verdict(
            look, name, confidence, decision, outcome,
            quantity=what if ranged else f"share of inputs with {self.metric.name} {words} {bound:g}",
            reason=f"{what} {verb} {words} {bound:g}{_settle(needed, outcome)}", evidence=evidence,
        )  # fmt: skip

    def _side(
        self, values: Scores, bound: float, direction: Direction, look: Look, confidence: float
    ) -> tuple[Decision, int | None]:
        low, high = self.metric.low, self.metric.high
        common: dict[str, Any] = {"confidence": confidence, "final": look.final, "early": self.early}
        if isfinite(low) and isfinite(high):
            decision = decide_mean(values, values, low=low, high=high, threshold=bound, direction=direction, **common)
            question: dict[str, Any] = {"low": low, "high": high, "threshold": bound, "direction": direction}
        else:
            within = values <= bound if direction == "below" else values >= bound
            decision = decide_share(within, threshold=0.5, direction="above", **common)
            values, question = within.astype(float), {"low": 0, "high": 1, "threshold": 0.5, "direction": "above"}
        needed = (
            inputs_needed(values, **question, confidence=confidence) if decision.outcome == "inconclusive" else None
        )
        return decision, needed


def _both(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    if "failed" in outcomes:
        return "failed"
    if None in outcomes:
        return None
    return "inconclusive" if "inconclusive" in outcomes else "passed"


# ---------------------------------------------------------------------------------------------------------------------
# Making claims


def changes_under(
    intervention: Any,
    *,
    similarity: str | None = None,
    at_most: float | None = None,
    retention: float = 0.5,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> ChangesUnder:
    """Claim that the attributions differ once the intervention is made.

    Args:
        intervention: A name such as ``"cascading_randomization"``, or an intervention object.
        similarity: ``"spearman"``, ``"abs_spearman"``, ``"ssim"``, ``"hog"``, ``"cosine"``, ``"pearson"`` or
            ``"mse"``. With none named, signed and absolute Spearman, and SSIM for images, must agree.
        at_most: Decide on the raw similarity, which must be named: its mean is at most this (for ``"mse"``, a
            distance, at least this).
        retention: Share of the similarity above chance that may be left, in (0, 1):
            ``(s_after - s_chance) / (s_self - s_chance)``, averaged over layers and seeds. Decided on
            ``(s_after - s_chance) - retention (s_self - s_chance)`` per input, clipped to [-1, 1].
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    where: Verb = "changes_under"
    words = _words(where, intervention, _given(locals(), "similarity", "at_most", "retention"), settings)
    built = _intervention(intervention, settings, where)
    _check_similarity(similarity, where)
    if at_most is not None and similarity is None:
        raise XaiError(
            f"{where} at_most", found="a bound on a raw similarity that is not named", expected="similarity= beside it",
            fix="name the similarity, or bound the calibrated share with retention=",
        )  # fmt: skip
    if at_most is not None and similarity is not None:
        _check_between(f"{where} at_most", at_most, SIMILARITIES[similarity].low, SIMILARITIES[similarity].high)
    _check_between(f"{where} retention", retention, 0.0, 1.0)
    return ChangesUnder(
        intervention=built, similarity=similarity, at_most=at_most, retention=retention,
        confidence=_confidence(confidence, where), early=early, words=words,
    )  # fmt: skip


def invariant_under(
    intervention: Any,
    *,
    similarity: str | None = None,
    at_least: float | None = None,
    tolerance: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> InvariantUnder:
    """Claim that the attributions do not differ once the intervention is made.

    Args:
        intervention: A name such as ``"batch_order"``, or an intervention object.
        similarity: Decide on this similarity before and after, whose mean must be at least ``at_least`` (for
            ``"mse"``, a distance, at most). With none named, one changed input is a counterexample.
        at_least: The bound on the named similarity.
        tolerance: Without a similarity: how far a map may move, in the Euclidean norm and relative to its own norm;
            by default 1e-3, and 0.05 for models in half precision.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    where: Verb = "invariant_under"
    words = _words(where, intervention, _given(locals(), "similarity", "at_least", "tolerance"), settings)
    built = _intervention(intervention, settings, where)
    _check_similarity(similarity, where)
    if (similarity is None) != (at_least is None):
        raise XaiError(
            where, found=f"similarity={similarity!r} and at_least={at_least!r}", expected="both or neither",
            fix="name the similarity and its bound, or leave both out to look for counterexamples",
        )  # fmt: skip
    if similarity is not None:
        _check_between(f"{where} at_least", at_least, SIMILARITIES[similarity].low, SIMILARITIES[similarity].high)
    return InvariantUnder(
        intervention=built, similarity=similarity, at_least=at_least, tolerance=tolerance,
        confidence=_confidence(confidence, where), early=early, words=words,
    )  # fmt: skip


def beats(
    baseline: Any,
    *,
    on: Any,
    draws: int | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> Beats:
    """Claim that, per input, the explainer is better than the baseline on a metric.

    Args:
        baseline: ``"random"``, ``"edges"``, or any other explainer: a Captum class or instance, a function.
        on: The metric: a name such as ``"pixel_flipping"``, or a metric object.
        draws: For ``"random"``, the number of random orders of each input, 5 by default.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the metric.
    """
    where = "beats"
    on_word = on if isinstance(on, str) else type(on).__name__
    words = (*_words(where, baseline, _given(locals(), "draws"), {}), "on", *_words("", on, {}, settings)[1:])
    metric = _build(METRICS, on, settings, f"{where} on={on_word!r}", beats)
    if isinstance(baseline, str):
        built = BASELINES.build(baseline, {} if draws is None else {"draws": draws}, where=where)
    elif draws is not None:
        raise XaiError(
            f"{where} draws", found=f"draws={draws} for {_label(baseline)}", expected="draws only for 'random'",
            fix="leave draws out",
        )  # fmt: skip
    else:
        built = baseline
    return Beats(baseline=built, metric=metric, confidence=_confidence(confidence, where), early=early, words=words)


def bounded(
    metric: Any,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> Bounded:
    """Claim that a metric stays within a bound: its mean, or the median of a metric without a range.

    Args:
        metric: A name such as ``"pixel_flipping"``, or a metric object.
        at_most: Upper bound.
        at_least: Lower bound; one of the two is needed.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the metric.
    """
    where = "bounded"
    words = _words(where, metric, _given(locals(), "at_most", "at_least"), settings)
    built = _build(METRICS, metric, settings, where, bounded)
    if at_most is None and at_least is None:
        raise XaiError(where, found="no bound", expected="at_most= or at_least=", fix="give one of the two")
    for word, bound in (("at_most", at_most), ("at_least", at_least)):
        if bound is not None:
            _check_between(f"{where} {word}", bound, built.low, built.high)
    return Bounded(
        metric=built, at_most=at_most, at_least=at_least, confidence=_confidence(confidence, where), early=early,
        words=words,
    )  # fmt: skip


VERBS = {function.__name__: function for function in (changes_under, invariant_under, beats, bounded)}


def make(verb: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, where: str) -> Claim:
    """Return the claim of a verb called with ``args`` and ``kwargs``, as a marker holds them."""
    if verb not in VERBS:
        raise unknown_name(where, verb, VERBS, kind="verb")
    try:
        inspect.signature(VERBS[verb]).bind(*args, **kwargs)
    except TypeError as error:
        raise XaiError(
            where, found=f"arguments that do not fit ({error})", expected=f"{verb}{_signature(VERBS[verb])}",
            fix="see pytest --markers",
        ) from error  # fmt: skip
    claim: Claim = VERBS[verb](*args, **kwargs)
    return claim


def _signature(function: Any) -> str:
    parameters = inspect.signature(function).parameters.values()
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters if p.kind is not p.VAR_KEYWORD
    ]
    return f"({', '.join(shown)}, ...)"


def checked_confidence(confidence: Any, *, where: str) -> float:
    """Return ``confidence`` when it is a number in (0.5, 1); otherwise raise."""
    if not isinstance(confidence, (int, float)) or isinstance(confidence, bool) or not 0.5 < confidence < 1:
        raise XaiError(where, found=repr(confidence), expected="a number between 0.5 and 1", fix="use 0.95 or 0.99")
    return float(confidence)


def _confidence(confidence: float | None, where: str) -> float | None:
    return None if confidence is None else checked_confidence(confidence, where=f"{where} confidence")


def _intervention(spec: Any, settings: Mapping[str, Any], verb: Verb) -> Any:
    built = _build(INTERVENTIONS, spec, settings, verb, VERBS[verb])
    if verb not in getattr(built, "relations", ()):
        other = "invariant_under" if verb == "changes_under" else "changes_under"
        raise XaiError(
            verb, found=f"the intervention {_label(built)!r}", expected="an intervention that this verb goes with",
            fix=f"claim {other}" if hasattr(built, "relations") else "pass the name of an intervention",
        )  # fmt: skip
    return built


def _build(registry: Registry, spec: Any, settings: Mapping[str, Any], where: str, verb: Any) -> Any:
    own = [p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return registry.build(spec, settings, where=where, also=own)


def _given(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    defaults = {"retention": 0.5}
    return {name: values[name] for name in names if values[name] != defaults.get(name)}


def _words(verb: str, spec: Any, given: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    shown = ", ".join(f"{key}={_label(value)}" for key, value in {**settings, **given}.items())
    return verb, f"{_label(spec)}({shown})" if shown else _label(spec)


def _label(spec: Any) -> str:
    if isinstance(spec, (str, int, float, bool, type(None))):
        return str(spec)
    if isinstance(spec, type) or inspect.isroutine(spec):
        return str(spec.__name__)
    return str(getattr(spec, "name", type(spec).__name__))


def _makes_maps(baseline: Any) -> bool:
    return not isinstance(baseline, type) and hasattr(baseline, "maps")


def _check_similarity(similarity: Any, where: str) -> None:
    if similarity is not None and similarity not in SIMILARITIES:
        raise unknown_name(f"{where} similarity", similarity, SIMILARITIES, kind="similarity")


def _check_between(where: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise XaiError(
            where, found=repr(value), expected=f"a number between {low:g} and {high:g}", fix="change the bound"
        )


def _check_known(own: Scores, other: Scores, claim: str) -> None:
    broken = int((~np.isfinite(own) | ~np.isfinite(other).all(1)).sum())
    if broken:
        raise XaiError(
            claim, found=f"scores that are NaN or infinite for {broken} of {len(own)} inputs",
            expected="a finite score for each input", fix="look at the model's outputs on inputs with removed features",
        )  # fmt: skip


def _too_few(claim: str, n: int, least: int) -> XaiError:
    return XaiError(
        "xai_inputs", found=f"{n} inputs for the claim {claim!r}",
        expected=f"at least {least}: with fewer, no scores whatever could decide it",
        fix="give more inputs, or lower confidence=",
    )  # fmt: skip


def _require(n: int, least: int | None, claim: str) -> None:
    """Raise when no scores whatever could decide the claim with n inputs."""
    if least is None:
        raise XaiError(
            claim, found="a bound at the very end of the range", expected="a bound that scores can be shown to keep",
            fix="move the bound inwards",
        )  # fmt: skip
    if n < least:
        raise _too_few(claim, n, least)


def _settle(needed: int | None, outcome: str = "inconclusive") -> str:
    if outcome != "inconclusive":
        return ""
    return f"; about {needed} inputs would settle it" if needed else "; more inputs may settle it"


# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def _known(scores: Scores, low: float, high: float, axes: tuple[int, ...] = ()) -> tuple[Scores, Scores]:
    """Return the least and greatest value each input can have when NaN may be anything in the range."""
    wide = scores.astype(float)
    lo, hi = np.where(np.isnan(wide), low, wide), np.where(np.isnan(wide), high, wide)
    return (lo.mean(axes), hi.mean(axes)) if axes else (lo, hi)


def _unit(similarity: Similarity, scores: Scores) -> Scores:
    """Return scores on the scale where identical maps have 1 and the least alike -1."""
    return np.asarray(similarity.unit(torch.from_numpy(scores)))


def _clip(scores: Scores) -> Scores:
    return np.clip(scores, -1.0, 1.0)


def _mean(scores: Scores) -> float | None:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else None


def _plain(scores: Scores) -> list[float | None]:
    return [None if value != value else value for value in scores.astype(float).tolist()]


def _by_axis(scores: Scores, axis: int) -> list[float | None]:
    """Return the mean over all other axes."""
    moved = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1)
    return [_mean(row) for row in moved]


def _curve_arrays(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    return {key.removeprefix("curve "): value for key, value in scores.items() if key.startswith("curve ")}


def _curves(scores: Mapping[str, Scores]) -> dict[str, list[list[float]]]:
    return {key: value.astype(float).tolist() for key, value in _curve_arrays(scores).items()}
