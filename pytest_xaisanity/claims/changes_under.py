"""The verb ``changes_under``: each similarity decides by itself, on raw values or on retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch

from ..evidence.base import Intervention
from ..evidence.comparison import Comparison
from ..maps.similarity import SIMILARITIES, Similarity
from ..statistics.question import FIRST_LOOK, Decision, decide_mean, inputs_needed, smallest_n
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Look,
    Measurement,
    Scores,
    by_axis,
    closer_to,
    constant_note,
    extremes,
    mean,
    plain,
    require_inputs,
    settled_by,
)

REPRODUCES = 0.1  # an explainer reproduces itself when s_self - s_chance is shown to be above this


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
            look,
            name,
            confidence,
            main.decision,
            outcome,
            quantity=main.quantity,
            reason=_reason(views, outcome, main),
            evidence=evidence,
            estimate=main.estimate,
            interval=main.interval,
        )

    def _check_enough(self, look: Look, name: str, confidence: float) -> None:
        common: dict[str, Any] = {"confidence": confidence, "early": self.early}
        if self.at_most is not None and self.similarity is not None:
            s = SIMILARITIES[self.similarity]
            least = smallest_n(
                low=s.low, high=s.high, threshold=self.at_most, direction=closer_to(s, below=True), **common
            )
        else:
            pairs = smallest_n(low=-1, high=1, threshold=REPRODUCES, **common)
            least = None if pairs is None else 2 * pairs
        require_inputs(look.n, least, f"{name} {self}")


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
        "after_by_position": by_axis(after, 2),
        "after_by_seed": by_axis(after, 1),
        "self": mean(own),
        "chance": mean(chance),
        "constant_or_not_finite": int((np.isnan(after).any((1, 2)) | np.isnan(own)).sum()),
    }
    if claim.at_most is not None:
        return _raw_view(similarity, after, claim, look, level, evidence)
    return _retention_view(similarity, parts, claim, look, level, evidence)


def _raw_view(
    s: Similarity, after: Scores, claim: ChangesUnder, look: Look, level: float, evidence: dict[str, Any]
) -> _View:
    lo, hi = extremes(after, s.low, s.high, axes=(1, 2))
    assert claim.at_most is not None
    question: dict[str, Any] = {"low": s.low, "high": s.high, "threshold": claim.at_most, "confidence": level}
    question |= {"direction": closer_to(s, below=True), "early": claim.early}
    decision = decide_mean(lo, hi, **question, final=look.final)
    word = "at most" if question["direction"] == "below" else "at least"
    sides = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be", None: ""}
    reason = f"mean {s.name} before and after {sides[decision.outcome]} {word} {claim.at_most:g}"
    needed = inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None
    return _View(
        s.name,
        decision.outcome,
        decision,
        f"{s.name} after",
        decision.estimate,
        decision.interval,
        reason + constant_note(evidence),
        needed,
        evidence,
        plain((lo + hi) / 2),
    )


def _retention_view(
    s: Similarity, parts: Sequence[Scores], claim: ChangesUnder, look: Look, level: float, evidence: dict[str, Any]
) -> _View:
    """Decide ``(s_after - s_chance) - r (s_self - s_chance) < 0``, once ``s_self - s_chance`` is above a margin.

    ``s_chance`` compares two inputs, so that the scores of the two are not independent of one another; the means of
    pairs, which are, decide.
    """
    after, own, chance = (_unit(s, scores) for scores in parts)
    r = claim.retention
    after_lo, after_hi = extremes(after, -1.0, 1.0, axes=(1, 2))
    own_lo, own_hi = extremes(own, -1.0, 1.0)
    chance_lo, chance_hi = extremes(chance, -1.0, 1.0)
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
        s.name,
        kept.outcome,
        kept,
        f"retention{whole} ({s.name})",
        estimate,
        (interval[0], interval[1]),
        reason + constant_note(evidence),
        needed,
        evidence,
        plain((least + most) / 2),
    )


def _unreproduced_view(
    s: Similarity, gap: Decision, needed: int | None, evidence: dict[str, Any], scores: Scores, ceiling: str | None
) -> _View:
    """Quote the similarity of the explainer to itself, where it is not shown to be above chance."""
    evidence |= {"gap": _number(gap.estimate), "retention": None}
    shown = gap.outcome == "failed"
    return _View(
        s.name,
        None if gap.outcome is None else "inconclusive",
        gap,
        f"{s.name} to {'itself' if ceiling is None else 'that of ' + ceiling} above chance",
        gap.estimate,
        gap.interval,
        _not_reproduced(s.name, evidence, shown=shown, ceiling=ceiling),
        needed,
        evidence,
        plain(scores),
        settles=gap.estimate > REPRODUCES or evidence["constant_or_not_finite"] > 0,
    )


def _unit(similarity: Similarity, scores: Scores) -> Scores:
    """Return scores on the scale where identical maps have 1 and the least alike -1."""
    return np.asarray(similarity.unit(torch.from_numpy(scores)))


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
            return f"not shown that the explanation outlives {ceiling} ({figures})" + constant_note(evidence)
        return f"{ceiling} changes the explanation nearly as much as another input does ({figures})"
    if own - chance > REPRODUCES:
        return f"not shown that the explainer reproduces itself ({figures})" + constant_note(evidence)
    if chance > 0.5:
        return f"explanations of unrelated inputs are as alike as those of one input ({figures}): nothing to retain"
    does_not = "does not reproduce" if shown else "does not seem to reproduce"
    return f"the explainer {does_not} itself ({figures}): a change cannot be told from its own noise"


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
    return main.reason + (settled_by(main.needed) if unsettled else "")
