"""The four verbs: statements about an explainer, and how evidence decides them.

A claim says what must be measured (:meth:`Claim.measurements`) and what the scores mean (:meth:`Claim.decide`); it
knows neither the bench nor pytest. The functions :func:`changes_under`, :func:`invariant_under`, :func:`beats` and
:func:`bounded` make claims from names or objects, and are what the fixture and the markers call.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from numbers import Real
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
from .seeding import seed_of
from .similarity import SIMILARITIES, Similarity
from .verdict import (
    FIRST_LOOK,
    Decision,
    Direction,
    Outcome,
    Places,
    Verdict,
    decide_mean,
    decide_share,
    inputs_needed,
    smallest_n,
)

__all__ = [
    "Beats",
    "BeatsAcross",
    "BeatsEach",
    "Bounded",
    "ChangesUnder",
    "Claim",
    "Compound",
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
SETTINGS_TRIED = 12  # settings that a claim across settings draws
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
        if self.at_most is None and look.n <= FIRST_LOOK and not look.final:
            return None  # retention is decided on pairs, which are half as many as the first look is made for
        scores = look.scores[0]
        names: list[str] = list(look.descriptions[0]["similarities"])
        views = [_view(SIMILARITIES[s], scores, self, look, confidence) for s in names]
        outcome = _joint([view.outcome for view in views])
        if outcome is None:
            return None
        main = _worst(views, outcome)
        if outcome == "inconclusive" and main.settles and look.final:
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
        common: dict[str, Any] = {"confidence": confidence, "early": self.early}
        if self.at_most is not None and self.similarity is not None:
            s = SIMILARITIES[self.similarity]
            least = smallest_n(
                low=s.low, high=s.high, threshold=self.at_most, direction=_closer_to(s, below=True), **common
            )
        else:
            pairs = smallest_n(low=-1, high=1, threshold=REPRODUCES, **common)
            least = None if pairs is None else 2 * pairs
        _require(look.n, least, f"{name} {self}")


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
    after, own, chance = parts = [scores[f"{part} {similarity.name}"] for part in ("after", "self", "chance")]
    evidence = {
        "after_by_position": _by_axis(after, 2),
        "after_by_seed": _by_axis(after, 1),
        "self": _mean(own),
        "chance": _mean(chance),
        "constant_or_not_finite": int((np.isnan(after).any((1, 2)) | np.isnan(own)).sum()),
    }
    if claim.at_most is not None:
        return _raw_view(similarity, after, claim, look, level, evidence)
    return _retention_view(similarity, parts, claim, look, level, evidence)


def _raw_view(
    s: Similarity, after: Scores, claim: ChangesUnder, look: Look, level: float, evidence: dict[str, Any]
) -> _View:
    lo, hi = _known(after, s.low, s.high, axes=(1, 2))
    assert claim.at_most is not None
    question: dict[str, Any] = {"low": s.low, "high": s.high, "threshold": claim.at_most, "confidence": level}
    question |= {"direction": _closer_to(s, below=True), "early": claim.early}
    decision = decide_mean(lo, hi, **question, final=look.final)
    word = "at most" if question["direction"] == "below" else "at least"
    sides = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be", None: ""}
    reason = f"mean {s.name} before and after {sides[decision.outcome]} {word} {claim.at_most:g}"
    needed = inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None
    return _View(
        s.name, decision.outcome, decision, f"{s.name} after", decision.estimate, decision.interval,
        reason + _constant(evidence), needed, evidence, _plain((lo + hi) / 2),
    )  # fmt: skip


def _retention_view(
    s: Similarity, parts: Sequence[Scores], claim: ChangesUnder, look: Look, level: float, evidence: dict[str, Any]
) -> _View:
    """Decide ``(s_after - s_chance) - r (s_self - s_chance) < 0``, once ``s_self - s_chance`` is above a margin.

    ``s_chance`` compares two inputs, so that the scores of the two are not independent of one another; the means of
    pairs, which are, decide.
    """
    after, own, chance = (_unit(s, scores) for scores in parts)
    r = claim.retention
    after_lo, after_hi = _known(after, -1.0, 1.0, axes=(1, 2))
    own_lo, own_hi = _known(own, -1.0, 1.0)
    chance_lo, chance_hi = _known(chance, -1.0, 1.0)
    least, most = after_lo - (1 - r) * chance_hi - r * own_hi, after_hi - (1 - r) * chance_lo - r * own_lo
    gap_lo, gap_hi = _pairs(own_lo - chance_hi), _pairs(own_hi - chance_lo)
    question: dict[str, Any] = {"low": -1.0, "high": 1.0, "confidence": level, "early": claim.early}
    above: dict[str, Any] = {**question, "threshold": REPRODUCES, "direction": "above"}
    gap = decide_mean(_clip(gap_lo), _clip(gap_hi), **above, final=look.final)
    ceiling = look.descriptions[0].get("ceiling")
    if gap.outcome != "passed":
        needed = _twice(inputs_needed(_clip(gap_lo), _clip(gap_hi), **above)) if gap.outcome == "inconclusive" else None
        return _unreproduced_view(s, gap, needed, evidence, (least + most) / 2, ceiling)
    below: dict[str, Any] = {**question, "threshold": 0.0, "direction": "below"}
    lo, hi = _clip(_pairs(least)), _clip(_pairs(most))
    kept = decide_mean(lo, hi, **below, final=look.final)
    scale = float((gap_lo + gap_hi).mean()) / 2  # not clipped: maps that are all kept have retention 1
    estimate, *interval = (r + value / scale for value in (kept.estimate, *kept.interval))
    evidence |= {"gap": scale, "retention": _number(estimate)}
    sides = {"passed": "at most", "failed": "more than", "inconclusive": "perhaps more, perhaps less than", None: ""}
    whole = f" of what {ceiling} leaves" if ceiling else ""
    above_chance = f"the similarity above chance{f' that {ceiling} leaves' if ceiling else ''}"
    reason = f"{sides[kept.outcome]} {r:.0%} of {above_chance} is left ({s.name})"
    needed = _twice(inputs_needed(lo, hi, **below)) if kept.outcome == "inconclusive" else None
    return _View(
        s.name, kept.outcome, kept, f"retention{whole} ({s.name})", estimate, (interval[0], interval[1]),
        reason + _constant(evidence), needed, evidence, _plain((least + most) / 2),
    )  # fmt: skip


def _unreproduced_view(
    s: Similarity, gap: Decision, needed: int | None, evidence: dict[str, Any], scores: Scores, ceiling: str | None
) -> _View:
    """Quote the similarity of the explainer to itself, where it is not shown to be above chance."""
    evidence |= {"gap": _number(gap.estimate), "retention": None}
    shown = gap.outcome == "failed"
    return _View(
        s.name, None if gap.outcome is None else "inconclusive", gap,
        f"{s.name} to {'itself' if ceiling is None else 'that of ' + ceiling} above chance", gap.estimate, gap.interval,
        _not_reproduced(s.name, evidence, shown=shown, ceiling=ceiling), needed, evidence, _plain(scores),
        settles=gap.estimate > REPRODUCES or evidence["constant_or_not_finite"] > 0,
    )  # fmt: skip


def _pairs(scores: Scores) -> Scores:
    """Return the mean of each two neighbours; an odd last one joins the two before it."""
    starts = 2 * np.arange(max(1, len(scores) // 2))
    sums = np.add.reduceat(scores, starts)
    means: Scores = sums / np.diff([*starts, len(scores)])
    return means


def _clip(scores: Scores) -> Scores:
    return np.clip(scores, -1.0, 1.0)


def _twice(pairs: int | None) -> int | None:
    return None if pairs is None else 2 * pairs


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _not_reproduced(name: str, evidence: Mapping[str, Any], *, shown: bool, ceiling: str | None) -> str:
    own, chance = (evidence["self"], evidence["chance"])
    if own is None or chance is None:
        return f"all maps are constant, so {name} cannot compare them"
    between = "between two runs on one input" if ceiling is None else f"to that of {ceiling}"
    figures = f"{name} {own:z.2f} {between}, {chance:z.2f} between unrelated inputs"
    if ceiling is not None and chance <= 0.5:
        if not shown:
            return f"not shown that the explanation outlives {ceiling} ({figures})" + _constant(evidence)
        return f"{ceiling} changes the explanation nearly as much as another input does ({figures})"
    if own - chance > REPRODUCES:
        return f"not shown that the explainer reproduces itself ({figures})" + _constant(evidence)
    if chance > 0.5:
        return f"explanations of unrelated inputs are as alike as those of one input ({figures}): nothing to retain"
    does_not = "does not reproduce" if shown else "does not seem to reproduce"
    return f"the explainer {does_not} itself ({figures}): a change cannot be told from its own noise"


def _constant(evidence: Mapping[str, Any]) -> str:
    count = evidence["constant_or_not_finite"]
    if not count:
        return ""
    some = (
        "1 input has a constant or non-finite map" if count == 1 else f"{count} inputs have constant or non-finite maps"
    )
    return f"; {some}, counted against either decision"


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
        return unsettled[0] if unsettled else max(decided, key=lambda view: view.estimate)
    return (max if outcome == "passed" else min)(decided, key=lambda view: view.estimate)


def _reason(views: Sequence[_View], outcome: Outcome, main: _View) -> str:
    opposed = [view for view in views if view.outcome in ("passed", "failed")]
    if len({view.outcome for view in opposed}) == 2:
        told = "; ".join(f"{view.name}: {view.estimate:z.2f} retained ({view.outcome})" for view in opposed)
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
        if self.similarity is not None:
            return self._by_similarity(look, name, confidence)
        if look.final:
            _require(look.n, 2, f"{name} {self}")
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
            f"({_furthest(worst)})",
            "inconclusive": "the explainer does not reproduce itself (two runs on one input differ by up to "
            f"{float(own.max()):.2g} of the map): seed it, or name a similarity and at_least=",
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
        question |= {"direction": _closer_to(s, below=False), "early": self.early}
        decision = decide_mean(lo, hi, **question, final=look.final)
        if decision.outcome is None:
            return None
        if decision.outcome == "inconclusive":
            _require(look.n, smallest_n(**question), f"{name} {self}")
        side = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[decision.outcome]
        needed = inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None
        word = "at least" if question["direction"] == "above" else "at most"
        reason = f"mean {s.name} before and after {side} {word} {self.at_least:g}{_settle(needed, decision.outcome)}"
        evidence = {**look.descriptions[0], "scores": {s.name: _plain((lo + hi) / 2)}}
        return self._verdict(
            look, name, confidence, decision, decision.outcome,
            quantity=f"{s.name} after", reason=reason, evidence=evidence,
        )  # fmt: skip


def _furthest(moved: Scores) -> str:
    known = moved[~np.isnan(moved)]
    return f"the worst by {float(known.max()):.2g}" if known.size else "to maps that are not finite"


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
        _require(look.n, 1, f"{name} {self}")
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
        against = _label(self.baseline)
        reasons = {
            "passed": f"better than {against} on {self.metric.name}",
            "failed": f"no better than {against} on {self.metric.name}: {self._shown(quantity)}",
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
        adversary = look.descriptions[0].get("adversary")
        which = f" (the simplest that does as well: {adversary['call']})" if adversary and outcome == "failed" else ""
        reason = reasons[outcome] + which + _settle(needed, outcome)
        return self._verdict(
            look, name, confidence, decision, outcome, quantity=quantity, reason=reason, evidence=evidence
        )


@dataclass(frozen=True, kw_only=True)
class Compound(Claim):
    """A claim that others make up: it is resolved, with the verdicts on them, rather than decided."""

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """Nothing of its own."""
        return []

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """There is nothing to look at."""
        raise TypeError("resolve this claim instead")

    @abstractmethod
    def resolve(self, decide: Callable[[Claim], Verdict], *, shape: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict.

        Args:
            decide: Decides a claim about the explainer.
            shape: Places of one map.
            seed: Seed of the draws.
            name: The explainer's name.
        """


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
            verdicts[_label(part)] = decide(claim)
            if self.early and verdicts[_label(part)].failed:
                break
        verdict = min(verdicts.values(), key=_standing)
        reason = f"{verdict.reason}, the closest of {', '.join(verdicts)}" if verdict.passed else verdict.reason
        outcomes = {part: {"outcome": one.outcome, "estimate": one.estimate} for part, one in verdicts.items()}
        evidence = {**verdict.evidence, self.baseline.name: outcomes}
        return replace(verdict, claim=f"{name} {self}", reason=reason, evidence=evidence)


def _standing(verdict: Verdict) -> tuple[int, float]:
    return {"failed": 0, "inconclusive": 1, "passed": 2}[verdict.outcome], verdict.estimate


@dataclass(frozen=True, kw_only=True)
class BeatsAcross(Compound):
    """A :class:`Beats` that must hold for every drawn setting of the metric. See ``across=`` of :func:`beats`."""

    baseline: Any
    metric: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    max_examples: int = SETTINGS_TRIED

    def resolve(self, decide: Callable[[Claim], Verdict], *, shape: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict on the simplest setting under which the claim fails, or else the least certain one."""
        from .adversary import counterexample
        from .strategies import settings_of

        verdicts: dict[Metric, Verdict] = {}

        def fails(metric: Metric) -> bool:
            verdicts[metric] = decide(_against(self.baseline, metric, confidence=self.confidence, early=self.early))
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


def _split(look: Look) -> Look:
    """Return a look at scores ``(b, 2)`` as one at two measurements, without the inputs that have no scores."""
    pairs = look.scores[0]["scores"]
    known: Scores = np.asarray(~np.isnan(pairs).any(axis=1))
    indices = tuple(index for index, kept in zip(look.indices, known.tolist(), strict=True) if kept)
    own, other = ({"scores": pairs[known, side : side + 1]} for side in (0, 1))
    return replace(look, indices=indices, scores=(own, other), descriptions=(look.descriptions[0], {}))


@dataclass(frozen=True, kw_only=True)
class Bounded(Claim):
    """The metric stays within a bound. See :func:`bounded`."""

    metric: Metric
    at_most: float | None = None
    at_least: float | None = None

    def measurements(self) -> Sequence[tuple[Measurement, Any]]:
        """The explainer's scores, or what the metric measures instead of an explainer's maps."""
        own = getattr(self.metric, "measurement", None)
        return [(Scoring(self.metric, control=True) if own is None else own(), None)]

    def decide(self, look: Look, name: str, confidence: float) -> Verdict | None:
        """On the mean where the metric has a range; otherwise on the share of inputs within the bound: the median."""
        values = look.scores[0]["scores"][:, 0].astype(float)
        known = values[~np.isnan(values)] if getattr(self.metric, "undefined", False) else values
        _check_known(known, known[:, None], f"{name} {self}")
        both: list[tuple[str, float | None, Direction]] = [
            ("at most", self.at_most, "below"), ("at least", self.at_least, "above"),
        ]  # fmt: skip
        sides = [(words, bound, direction) for words, bound, direction in both if bound is not None]
        decisions = [(words, bound, *self._side(values, bound, way, look, confidence)) for words, bound, way in sides]
        outcome = _both([decision.outcome for _, _, decision, _ in decisions])
        if outcome is None:
            return None
        words, bound, decision, needed = next(entry for entry in decisions if entry[2].outcome == outcome)
        if outcome == "inconclusive":
            for _, limit, way in sides:
                _require(look.n, self._least(limit, way, confidence), f"{name} {self}")
        ranged = isfinite(self.metric.low) and isfinite(self.metric.high)
        what = f"mean {self.metric.name}" if ranged else f"{self.metric.name} of most inputs"
        verb = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[outcome]
        evidence = {
            **look.descriptions[0],
            "scores": {"explainer": _plain(values)},
            "means": {"explainer": _mean(values)},
            "curves": {"explainer": _curves(look.scores[0])},
            "constant_or_not_finite": len(values) - len(known),
        }
        reason = f"{what} {verb} {words} {bound:g}{_constant(evidence)}{_settle(needed, outcome)}"
        return self._verdict(
            look, name, confidence, decision, outcome, reason=reason, evidence=evidence,
            quantity=what if ranged else "share of inputs within the bound",
        )  # fmt: skip

    def _side(
        self, values: Scores, bound: float, direction: Direction, look: Look, confidence: float
    ) -> tuple[Decision, int | None]:
        question = self._asked(bound, direction) | {"confidence": confidence, "early": self.early}
        if not question.get("share"):
            lo, hi = _known(values, question["low"], question["high"])
            decision = decide_mean(lo, hi, **question, final=look.final)
        else:
            lo = (values <= bound if direction == "below" else values >= bound).astype(float)
            hi = np.maximum(lo, np.isnan(values))
            limits: dict[str, Any] = {key: question[key] for key in ("threshold", "confidence", "early")}
            decision = decide_share(lo, hi, **limits, final=look.final)
        return decision, inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None

    def _asked(self, bound: float, direction: Direction) -> dict[str, Any]:
        low, high = self.metric.low, self.metric.high
        if isfinite(low) and isfinite(high):
            return {"low": low, "high": high, "threshold": bound, "direction": direction}
        return {"low": 0.0, "high": 1.0, "threshold": 0.5, "share": True}

    def _least(self, bound: float, direction: Direction, confidence: float) -> int | None:
        return smallest_n(**self._asked(bound, direction), confidence=confidence, early=self.early)


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
        similarity: ``"spearman"``, ``"abs_spearman"``, ``"ssim"``, ``"sign_flip_ssim"``, ``"hog"``, ``"cosine"``,
            ``"pearson"``, ``"abs_pearson"`` or ``"mse"``. With none named, signed and absolute Spearman, and SSIM for
            images, must agree, unless the intervention says better.
        at_most: Decide on the raw similarity, which must be named: its mean is at most this (for ``"mse"``, a
            distance, at least this).
        retention: Share of the similarity above chance that may be left, in (0, 1):
            ``(s_after - s_chance) / (s_self - s_chance)``, averaged over layers and seeds. Decided on the means of
            ``(s_after - s_chance) - retention (s_self - s_chance)`` over pairs of inputs, whose explanations are each
            other's chance, clipped to [-1, 1].
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    where: Verb = "changes_under"
    words = _words(where, intervention, _given(locals(), "similarity", "at_most", "retention", *_ALL), settings)
    built = _intervention(intervention, settings, where)
    _check_similarity(similarity, where)
    _check_early(early, where)
    if at_most is not None and similarity is None:
        raise XaiError(
            f"{where} at_most", found="a bound on a raw similarity that is not named", expected="similarity= beside it",
            fix="name the similarity, or bound the calibrated share with retention=",
        )  # fmt: skip
    if at_most is not None and similarity is not None:
        _check_between(f"{where} at_most", at_most, SIMILARITIES[similarity].low, SIMILARITIES[similarity].high)
    _check_between(f"{where} retention", retention, 0.0, 1.0)
    if at_most is not None and retention != 0.5:
        raise XaiError(
            where, found=f"at_most={at_most:g} and retention={retention:g}", expected="one of the two",
            fix="bound the raw similarity with at_most=, or the calibrated share with retention=",
        )  # fmt: skip
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
    words = _words(where, intervention, _given(locals(), "similarity", "at_least", "tolerance", *_ALL), settings)
    built = _intervention(intervention, settings, where)
    _check_similarity(similarity, where)
    _check_early(early, where)
    if (similarity is None) != (at_least is None):
        raise XaiError(
            where, found=f"similarity={similarity!r} and at_least={at_least!r}", expected="both or neither",
            fix="name the similarity and its bound, or leave both out to look for counterexamples",
        )  # fmt: skip
    if similarity is not None:
        _check_between(f"{where} at_least", at_least, SIMILARITIES[similarity].low, SIMILARITIES[similarity].high)
    if tolerance is not None:
        _check_between(f"{where} tolerance", tolerance, 0.0, inf)
        if similarity is not None:
            raise XaiError(
                where, found=f"similarity={similarity!r} and tolerance={tolerance:g}", expected="one of the two",
                fix="bound the similarity with at_least=, or leave it out to look for counterexamples",
            )  # fmt: skip
    return InvariantUnder(
        intervention=built, similarity=similarity, at_least=at_least, tolerance=tolerance,
        confidence=_confidence(confidence, where), early=early, words=words,
    )  # fmt: skip


def beats(
    baseline: Any,
    *,
    on: Any,
    draws: int | None = None,
    max_examples: int | None = None,
    mutants: Sequence[str] | None = None,
    across: Literal["settings"] | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> Claim:
    """Claim that, per input, the explainer is better than the baseline on a metric.

    Args:
        baseline: ``"random"``; ``"edges"``; ``"uninformative"``, the best map that knows nothing of the model, which
            Hypothesis searches for on one half of the inputs (32 at most) and the claim is decided against on the
            others; ``"input_times_noise"``; ``"mutants"``, the explainer's own map made coarse, in several ways that
            each must be beaten; or any other explainer: a Captum class or instance, a function.
        on: The metric: a name such as ``"pixel_flipping"``, or a metric object.
        draws: For ``"random"``, the number of random orders of each input, 5 by default.
        max_examples: For ``"uninformative"``, how many maps to try; by default what the active Hypothesis profile says.
        mutants: For ``"mutants"``, which changes of the map: by default ``("low_rank", "rounded")``; others are
            ``"absolute_value"``, ``"flipped_sign"``, ``"flipped"``, ``"shifted"`` and ``"shuffled"``.
        across: ``"settings"``: the claim must hold for each of a dozen settings of the metric that Hypothesis draws,
            those given among ``settings`` excepted; one that fails is shrunk to the simplest.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the metric.
    """
    where = "beats"
    on_word = on if isinstance(on, str) else type(on).__name__
    given = _given(locals(), *_ALL)
    words = (
        *_words(where, baseline, _given(locals(), "draws", "max_examples", "mutants", "across"), {}),
        "on",
        *_words("", on, given, settings)[1:],
    )
    metric = _metric(on, settings, f"{where} on={on_word!r}", beats)
    _check_early(early, where)
    own = _given(locals(), "draws", "max_examples", "mutants")
    if own and not isinstance(baseline, str):
        raise XaiError(
            f"{where} {', '.join(own)}", found=f"a setting of a baseline beside {_label(baseline)}",
            expected="draws only for 'random', max_examples for 'uninformative', mutants for 'mutants'",
            fix="leave it out",
        )  # fmt: skip
    built = BASELINES.build(baseline, own, where=where) if isinstance(baseline, str) else baseline
    common: dict[str, Any] = {"confidence": _confidence(confidence, where), "early": early, "words": words}
    if across is None:
        return _against(built, metric, **common)
    if across != "settings" or not isinstance(on, str):
        raise XaiError(
            f"{where} across", found=f"across={across!r} on {_label(on)}",
            expected='"settings", and the metric by name', fix=f'write across="settings", on={metric.name!r}',
        )  # fmt: skip
    return BeatsAcross(baseline=built, metric=on, fixed=dict(settings), **common)


def _against(baseline: Any, metric: Metric, **common: Any) -> Beats | BeatsEach:
    kind = BeatsEach if hasattr(baseline, "parts") else Beats
    return kind(baseline=baseline, metric=metric, **common)


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
    words = _words(where, metric, _given(locals(), "at_most", "at_least", *_ALL), settings)
    built = _metric(metric, settings, where, bounded)
    _check_early(early, where)
    if at_most is None and at_least is None:
        raise XaiError(where, found="no bound", expected="at_most= or at_least=", fix="give one of the two")
    for word, bound in (("at_most", at_most), ("at_least", at_least)):
        if bound is not None:
            _check_between(f"{where} {word}", bound, built.low, built.high)
    if at_most is not None and at_least is not None and at_least > at_most:
        raise XaiError(
            where, found=f"at_most={at_most:g} and at_least={at_least:g}", expected="at_least below at_most",
            fix="swap them",
        )  # fmt: skip
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
    if not _is_number(confidence) or not 0.5 < confidence < 1:
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


def _metric(spec: Any, settings: Mapping[str, Any], where: str, verb: Any) -> Any:
    built = _build(METRICS, spec, settings, where, verb)
    if verb is beats and hasattr(built, "measurement"):
        raise XaiError(
            where, found=f"{_label(built)!r}, which cannot score the maps of a baseline",
            expected="a metric of given maps", fix="claim bounded(...) of it, or name pixel_flipping",
        )  # fmt: skip
    parts = ("measurement",) if hasattr(built, "measurement") else ("prepare", "score")
    if not all(hasattr(built, part) for part in (*parts, "low", "high", "higher_is_better")):
        raise XaiError(
            where, found=f"{_label(built)!r}", expected="a metric", fix=f"pass a name: {', '.join(METRICS)}"
        )  # fmt: skip
    return built


def _build(registry: Registry, spec: Any, settings: Mapping[str, Any], where: str, verb: Any) -> Any:
    if isinstance(spec, type):
        raise XaiError(
            where, found=f"the class {spec.__name__}", expected=f"the name of a {registry.kind}, or an object",
            fix=f"write {spec.__name__}(...)",
        )  # fmt: skip
    own = [p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return registry.build(spec, settings, where=where, also=own)


_ALL = ("confidence", "early")  # what every verb takes


def _given(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    defaults = {"retention": 0.5, "early": True}
    return {name: values[name] for name in names if values[name] != defaults.get(name)}


def _words(verb: str, spec: Any, given: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    shown = ", ".join(f"{key}={_label(value)}" for key, value in {**settings, **given}.items())
    return verb, f"{_label(spec)}({shown})" if shown else _label(spec)


def _label(spec: Any) -> str:
    if isinstance(spec, (str, int, float, bool, type(None))):
        return str(spec)
    if isinstance(spec, type) or inspect.isroutine(spec):
        return str(spec.__name__)
    if isinstance(spec, (tuple, list)):
        return "+".join(map(_label, spec))
    return str(getattr(spec, "name", type(spec).__name__))


def _makes_maps(baseline: Any) -> bool:
    return not isinstance(baseline, type) and hasattr(baseline, "maps")


def _check_similarity(similarity: Any, where: str) -> None:
    if similarity is not None and (not isinstance(similarity, str) or similarity not in SIMILARITIES):
        raise unknown_name(f"{where} similarity", similarity, SIMILARITIES, kind="similarity")


def _check_between(where: str, value: Any, low: float, high: float) -> None:
    if not _is_number(value) or not isfinite(value) or not low <= value <= high:
        limits = f"a number between {low:g} and {high:g}" if isfinite(low) or isfinite(high) else "a finite number"
        raise XaiError(where, found=repr(value), expected=limits, fix=f"change {where.split()[-1]}=")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_early(early: Any, where: str) -> None:
    if not isinstance(early, bool):
        raise XaiError(f"{where} early", found=repr(early), expected="True or False", fix="change early=")


def _check_known(own: Scores, other: Scores, claim: str) -> None:
    broken = int((~np.isfinite(own) | ~np.isfinite(other).all(1)).sum())
    if broken:
        raise XaiError(
            claim, found=f"scores that are NaN or infinite for {broken} of {len(own)} inputs",
            expected="a finite score for each input", fix="look at what the metric made of these inputs",
        )  # fmt: skip


def _require(n: int, least: int | None, claim: str) -> None:
    """Raise when no scores whatever could decide the claim with n inputs."""
    if least is None:
        raise XaiError(
            claim, found="a bound at the very end of the range", expected="a bound that scores can be shown to keep",
            fix="move the bound inwards",
        )  # fmt: skip
    if n < least:
        raise XaiError(
            "xai_inputs", found=f"{n} input{'s' if n > 1 else ''} for the claim {claim!r}",
            expected=f"at least {least}: with fewer, no scores whatever could decide it",
            fix="give more inputs, lower confidence=, or move the bound where there is one",
        )  # fmt: skip


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
