"""Deciding on groups of inputs: a group's mean score counts once, however many inputs are in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounds import Floats
from .question import FIRST_LOOK, Decision, Level, Question

__all__ = ["Grouped"]


@dataclass(frozen=True, eq=False)
class Grouped:
    """Scores of inputs, some of which make up one group.

    Attributes:
        lo: Lower ends of the scores, in the order of the inputs, shape ``(n,)``.
        hi: Upper ends, shape ``(n,)``.
        groups: The group of each input, shape ``(n,)``: any whole numbers, equal in one group.
    """

    lo: Floats
    hi: Floats
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, lo: ArrayLike, hi: ArrayLike, groups: ArrayLike | None = None) -> Grouped:
        """Return scores with their groups; with None each input is one of its own."""
        lower, upper = np.asarray(lo, np.float64), np.asarray(hi, np.float64)
        numbers = np.arange(lower.size) if groups is None else np.asarray(groups, np.int64)
        if not lower.shape == upper.shape == numbers.shape:
            raise ValueError("lo, hi and groups must have the same length")
        return cls(lower, upper, numbers)

    @property
    def count(self) -> int:
        """How many groups there are."""
        return int(np.unique(self.groups).size)

    def firsts(self) -> tuple[Floats, Floats]:
        """Return the ends of the first score of each group, in the order of their coming."""
        places = np.sort(np.unique(self.groups, return_index=True)[1])
        return self.lo[places], self.hi[places]

    def means(self) -> tuple[Floats, Floats]:
        """Return the ends of the mean score of each group, in the order of their first coming."""
        _, places, inverse, counts = np.unique(self.groups, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(places)
        lower, upper = (np.bincount(inverse, ends)[order] / counts[order] for ends in (self.lo, self.hi))
        return np.asarray(lower), np.asarray(upper)

    def decide(self, question: Question, level: Level, *, final: bool) -> Decision:
        """Decide a question as :meth:`Question.decide` does, on one score a group.

        Before the last look it is the first score of each, which never changes; at the last it is their mean. What
        groups show must be true of the mean over inputs too: a few odd inputs do not outvote one large group.

        Raises:
            ValueError: See :meth:`Question.decide`.
        """
        if self.count == self.lo.size:
            return question.decide(self.lo, self.hi, level, final=final)
        question = replace(question, kind="mean")  # the mean of a group's flags is none
        level = replace(level, looked=self.lo.size > FIRST_LOOK)
        decision = question.decide(*(self.means() if final else self.firsts()), level, final=final)
        agrees = {"passed": self._above, "failed": self._below}.get(decision.outcome or "")
        return decision if agrees is None or agrees(question) else self._open(decision, final)

    def _above(self, question: Question) -> bool:
        """Whether the mean over inputs lies on the side that a pass claims."""
        if question.direction == "above":
            return float(self.lo.mean()) > question.threshold
        return float(self.hi.mean()) < question.threshold

    def _below(self, question: Question) -> bool:
        """Whether the mean over inputs lies on the side that a fail claims."""
        if question.direction == "above":
            return float(self.hi.mean()) < question.threshold + question.margin
        return float(self.lo.mean()) > question.threshold - question.margin

    def _open(self, decision: Decision, final: bool) -> Decision:
        """Return the decision without its outcome, with the mean over inputs inside its interval."""
        low, high = decision.interval
        within = min(low, float(self.lo.mean())), max(high, float(self.hi.mean()))
        return decision._replace(outcome="inconclusive" if final else None, interval=within)
