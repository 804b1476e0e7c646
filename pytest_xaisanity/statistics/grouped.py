"""Deciding on groups of inputs: a group's mean score counts once, however many inputs are in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounds import Floats
from .question import FIRST_LOOK, Decision, Level, Outlook, Question
from .verdict import Outcome

__all__ = ["LEFT_OUT", "Grouped", "pair_groups"]

LEFT_OUT = -1
"""The group of what counts in the mean over all scores alone."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """Scores of inputs, some of which make up one group.

    Attributes:
        lo: Lower ends of the scores, in the order of the inputs, shape ``(n,)``.
        hi: Upper ends, shape ``(n,)``.
        groups: The group of each input, shape ``(n,)``: any whole numbers, equal in one group, or :data:`LEFT_OUT`.
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
        return int(np.unique(self._known).size)

    @property
    def _known(self) -> NDArray[np.int64]:
        return np.asarray(self.groups[self.groups != LEFT_OUT])

    @property
    def mean(self) -> float:
        """The mean over groups, of the middles where scores are partly known."""
        lower, upper = self.means()
        return float((lower + upper).mean()) / 2

    def firsts(self) -> tuple[Floats, Floats]:
        """Return the ends of the first score of each group, in the order of their coming."""
        known = np.flatnonzero(self.groups != LEFT_OUT)
        places = known[np.sort(np.unique(self._known, return_index=True)[1])]
        return self.lo[places], self.hi[places]

    def means(self) -> tuple[Floats, Floats]:
        """Return the ends of the mean score of each group, in the order of their first coming."""
        _, places, inverse, counts = np.unique(self._known, return_index=True, return_inverse=True, return_counts=True)
        order, known = np.argsort(places), self.groups != LEFT_OUT
        lower, upper = (np.bincount(inverse, ends[known])[order] / counts[order] for ends in (self.lo, self.hi))
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
        question, level = self._of_groups(question, level)
        decision = question.decide(*(self.means() if final else self.firsts()), level, final=final)
        return decision if self._agrees(question, decision.outcome) else self._open(decision, final)

    def outcome(self, question: Question, level: Level, *, final: bool) -> tuple[Outcome | None, str]:
        """Return the outcome that :meth:`decide` comes to and the tool that decided, without estimate and interval."""
        if self.count == self.lo.size:
            return question.outcome(self.lo, self.hi, level, final=final)
        question, level = self._of_groups(question, level)
        outcome, tool = question.outcome(*(self.means() if final else self.firsts()), level, final=final)
        return (outcome if self._agrees(question, outcome) else "inconclusive" if final else None), tool

    def outlook(self, question: Question, level: Level) -> Outlook:
        """Return what would settle an inconclusive verdict: see :meth:`Question.outlook`."""
        n, count = self.lo.size, self.count
        if count == n:
            return question.outlook(self.lo, self.hi, level)
        if replace(self, lo=self.lo[: n // 2], hi=self.hi[: n // 2], groups=self.groups[: n // 2]).count == count:
            return Outlook(None, "no others", grouped=True)
        question, level = self._of_groups(question, level)
        least = question.smallest_n(level)
        if least is not None and count < least:
            return Outlook(least, "few", grouped=True)
        if question.outcome(*self.means(), level, final=True)[0] != "inconclusive":
            return Outlook(None, "at odds", grouped=True)
        return question.outlook(*self.means(), level)._replace(grouped=True)

    def _of_groups(self, question: Question, level: Level) -> tuple[Question, Level]:
        """Return the question and the level for scores of groups, the mean of whose flags is none."""
        looked = self.lo.size > FIRST_LOOK if level.looked is None else level.looked
        return replace(question, kind="mean"), replace(level, looked=looked)

    def _agrees(self, question: Question, outcome: Outcome | None) -> bool:
        """Whether an outcome is true of the mean over inputs too."""
        agrees = {"passed": self._above, "failed": self._below}.get(outcome or "")
        return agrees is None or agrees(question)

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


def pair_groups(groups: ArrayLike) -> NDArray[np.int64]:
    """Return the group of each pair of neighbors, of which an odd last one joins the pair before it.

    A pair is a group of its own where none of its inputs is of a group that an earlier such pair has; it joins one that
    has the very same; any other, which would tie two of them together, is left out. So groups are independent, and
    those of the first pairs do not depend on the later ones.

    Args:
        groups: The group of each input, shape ``(n,)``.
    """
    numbers = np.asarray(groups, np.int64).tolist()
    pairs = max(1, len(numbers) // 2)
    known: dict[frozenset[int], int] = {}
    taken: set[int] = set()
    found: list[int] = []
    for pair in range(pairs):
        members = frozenset(numbers[2 * pair : 2 * pair + 2 if pair < pairs - 1 else None])
        if members not in known and taken.isdisjoint(members):
            known[members] = pair
            taken |= members
        found.append(known.get(members, LEFT_OUT))
    return np.array(found, np.int64)
