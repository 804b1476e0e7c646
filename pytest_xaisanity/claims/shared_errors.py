"""What may be off for all inputs alike, beside what inputs differ in: room for it in a question put to inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ..statistics.grouped import Grouped
from ..statistics.question import Decision, Level, Outlook, Question

__all__ = ["SharedErrors"]

_ROUNDING = 1e-9  # of scores whose ends have been moved


class SharedErrors(NamedTuple):
    """How far the mean over inputs may be off for what they share, such as the models that are trained.

    Half of the accepted rate of errors is spent on it, and half on the inputs. The ends of each score then lie so far
    apart, and a claim is decided on the worse end.

    Attributes:
        level: How surely the question is put to the inputs.
        passing: How far off it may be for a pass.
        failing: How far for a fail.
    """

    level: Level
    passing: float
    failing: float

    @classmethod
    def of(cls, level: Level, error: Callable[[float], float | None]) -> SharedErrors | None:
        """Return the errors at a level; None where inputs share nothing.

        Args:
            level: How sure the decision must be.
            error: Returns how far the mean may be off, to one side, at a confidence.
        """
        half = replace(level, confidence=1 - (1 - level.confidence) / 2)
        passing, failing = error(half.confidence), error(half.for_fails().confidence)
        return None if passing is None or failing is None else cls(half, passing, failing)

    def widened(self, question: Question, scores: Grouped) -> tuple[Question, Grouped]:
        """Return a question and its scores, whose ends lie apart, in a range with room for them."""
        below, above = self._room(question)
        room = replace(question, low=question.low - below, high=question.high + above)
        return room, replace(scores, lo=scores.lo - below, hi=scores.hi + above)

    def concluded(self, decision: Decision, question: Question, estimate: float) -> Decision:
        """Return a decision on a widened question, with the estimate, in the range that scores have."""
        below, above = self._room(question)
        low, high = question.low + below, question.high - above
        first, last = (min(max(end, low), high) for end in decision.interval)
        told = f"{decision.decided_by} over inputs, Student's bound over trainings"
        return decision._replace(estimate=estimate, interval=(first, last), decided_by=told)

    def outlook(self, outlook: Outlook, scores: Grouped) -> Outlook:
        """Return what would settle a widened question: more trainings, where scores are known."""
        apart = scores.hi - scores.lo
        known = bool((apart <= self.passing + self.failing + _ROUNDING).all())
        return outlook._replace(hindrance="trainings") if outlook.hindrance == "unknown" and known else outlook

    def _room(self, question: Question) -> tuple[float, float]:
        """Return how far the ends of a range are moved, below and above."""
        return (self.passing, self.failing) if question.direction == "above" else (self.failing, self.passing)
