"""The verb ``invariant_under``: the mean of a similarity decides, or a search for counterexamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evidence.base import Intervention
from ..evidence.comparison import Comparison
from ..maps.similarity import SIMILARITIES
from ..statistics.question import Decision, decide_mean, decide_share, inputs_needed, smallest_n
from ..statistics.verdict import Outcome, Verdict
from .base import Claim, Look, Measurement, Scores, closer_to, extremes, plain, require_inputs, settled_by


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
            require_inputs(look.n, 2, f"{name} {self}")
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
        evidence = {**look.descriptions[0], "scores": {"distance": plain(worst)}, "tolerance": limit}
        return self._verdict(
            look,
            name,
            confidence,
            decision,
            outcome,
            quantity="share of inputs changed",
            reason=reasons[outcome],
            evidence=evidence,
        )

    def _by_similarity(self, look: Look, name: str, confidence: float) -> Verdict | None:
        assert self.similarity is not None
        assert self.at_least is not None
        s = SIMILARITIES[self.similarity]
        after = look.scores[0][f"after {s.name}"]
        lo, hi = extremes(after, s.low, s.high, axes=(1, 2))
        question: dict[str, Any] = {"low": s.low, "high": s.high, "threshold": self.at_least, "confidence": confidence}
        question |= {"direction": closer_to(s, below=False), "early": self.early}
        decision = decide_mean(lo, hi, **question, final=look.final)
        if decision.outcome is None:
            return None
        if decision.outcome == "inconclusive":
            require_inputs(look.n, smallest_n(**question), f"{name} {self}")
        side = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[decision.outcome]
        needed = inputs_needed(lo, hi, **question) if decision.outcome == "inconclusive" else None
        word = "at least" if question["direction"] == "above" else "at most"
        reason = f"mean {s.name} before and after {side} {word} {self.at_least:g}{settled_by(needed, decision.outcome)}"
        evidence = {**look.descriptions[0], "scores": {s.name: plain((lo + hi) / 2)}}
        return self._verdict(
            look,
            name,
            confidence,
            decision,
            decision.outcome,
            quantity=f"{s.name} after",
            reason=reason,
            evidence=evidence,
        )


def _furthest(moved: Scores) -> str:
    known = moved[~np.isnan(moved)]
    return f"the worst by {float(known.max()):.2g}" if known.size else "to maps that are not finite"


def _invariance(changed: Scores, own: Scores, limit: float, *, final: bool) -> Outcome | None:
    if not (own <= limit).all():
        return "inconclusive"
    if changed.any():
        return "failed"
    return "passed" if final else None
