"""The verb ``bounded``: the mean of a metric, or its median where it has no range, against one bound or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ..evidence.base import Metric
from ..evidence.scoring import Scoring
from ..statistics.question import Decision, Direction, decide_mean, decide_share, inputs_needed, smallest_n
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Look,
    Measurement,
    Scores,
    check_finite,
    constant_note,
    curves,
    extremes,
    mean,
    plain,
    require_inputs,
    settled_by,
)


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
        check_finite(known, known[:, None], f"{name} {self}")
        both: list[tuple[str, float | None, Direction]] = [
            ("at most", self.at_most, "below"),
            ("at least", self.at_least, "above"),
        ]
        sides = [(words, bound, direction) for words, bound, direction in both if bound is not None]
        decisions = [(words, bound, *self._side(values, bound, way, look, confidence)) for words, bound, way in sides]
        outcome = _both([decision.outcome for _, _, decision, _ in decisions])
        if outcome is None:
            return None
        words, bound, decision, needed = next(entry for entry in decisions if entry[2].outcome == outcome)
        if outcome == "inconclusive":
            for _, limit, way in sides:
                require_inputs(look.n, self._least(limit, way, confidence), f"{name} {self}")
        ranged = isfinite(self.metric.low) and isfinite(self.metric.high)
        what = f"mean {self.metric.name}" if ranged else f"{self.metric.name} of most inputs"
        verb = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[outcome]
        evidence = {
            **look.descriptions[0],
            "scores": {"explainer": plain(values)},
            "means": {"explainer": mean(values)},
            "curves": {"explainer": curves(look.scores[0])},
            "constant_or_not_finite": len(values) - len(known),
        }
        reason = f"{what} {verb} {words} {bound:g}{constant_note(evidence)}{settled_by(needed, outcome)}"
        return self._verdict(
            look,
            name,
            confidence,
            decision,
            outcome,
            reason=reason,
            evidence=evidence,
            quantity=what if ranged else "share of inputs within the bound",
        )

    def _side(
        self, values: Scores, bound: float, direction: Direction, look: Look, confidence: float
    ) -> tuple[Decision, int | None]:
        question = self._asked(bound, direction) | {"confidence": confidence, "early": self.early}
        if not question.get("share"):
            lo, hi = extremes(values, question["low"], question["high"])
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
