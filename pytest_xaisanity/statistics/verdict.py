"""The verdict: the decision on a claim, with estimate, interval, confidence, sample count and reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..report.text import Lines, page, printable, told
from .evidence import Evidence

__all__ = ["Outcome", "Verdict"]

Outcome: TypeAlias = Literal["passed", "failed", "inconclusive"]

_REPR_LIMIT = 199


@dataclass(frozen=True, repr=False)
class Verdict:
    """The decision on a claim. True when the claim passed, or is inconclusive and that is tolerated.

    Attributes:
        claim: The claim in one phrase: ``"Saliency changes_under cascading_randomization(depth=1)"``.
        outcome: ``"passed"``, ``"failed"`` or ``"inconclusive"``.
        estimate: The measured mean of ``quantity``.
        interval: Its lower and upper bound; each holds with probability ``confidence``.
        confidence: One minus the accepted rate of wrong passes.
        n: How many inputs were measured.
        decided_by: The statistical tool: ``"Gaffke's bound"``.
        quantity: What ``estimate`` is of: ``"retention"``.
        reason: Why: what decided, and all that a reader should know beside it.
        evidence: What the verdict rests on, for reports; ignored by ``repr`` and ``==``.
        advice: What to try after a failure, or nothing.
        tolerated: Whether an inconclusive verdict counts as true.
        sentence: What was found, in one sentence.
        lines: What a person reads below it: a label and a text each.
        why: Of an inconclusive verdict, why, in a few words.
    """

    claim: str
    outcome: Outcome
    estimate: float
    interval: tuple[float, float]
    confidence: float
    n: int
    decided_by: str
    quantity: str
    reason: str
    evidence: Evidence = field(default_factory=Evidence, repr=False, compare=False)
    advice: str = field(default="", repr=False, compare=False)
    tolerated: bool = False
    sentence: str = field(default="", repr=False, compare=False)
    lines: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    why: str = field(default="", repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether the claim was shown to hold."""
        return self.outcome == "passed"

    @property
    def failed(self) -> bool:
        """Whether the claim was shown not to hold."""
        return self.outcome == "failed"

    @property
    def inconclusive(self) -> bool:
        """Whether neither was shown."""
        return self.outcome == "inconclusive"

    def report(self) -> str:
        """Return what a failing test says of it: a sentence, and at most eight lines of 72 columns below it."""
        return told(f"{self.outcome}: {self._sentence}", self._lines)

    def _repr_html_(self) -> str:
        """Return the same as notebooks show it."""
        return page(self.outcome, self._sentence, self._lines)

    @property
    def _sentence(self) -> str:
        return self.sentence or f"{self.claim}: {self.reason}"

    @property
    def _lines(self) -> Lines:
        return [*self.lines, *([("try", self.advice)] if self.advice else [])]

    def __bool__(self) -> bool:
        return self.passed or (self.inconclusive and self.tolerated)

    def __repr__(self) -> str:
        low, high = self.interval
        numbers = f" {self.estimate:.3g} in [{low:.3g}, {high:.3g}], n={self.n}>"
        head, quantity = f"<{self.outcome}: ", _shorten(self.quantity, 60)
        room = _REPR_LIMIT - len(head) - len(": ") - len(quantity) - len(numbers)
        return f"{head}{_shorten(self.claim, room)}: {quantity}{numbers}"


def _shorten(text: str, room: int) -> str:
    """Return ``text`` on one line of at most ``room`` characters, its middle cut out when it is longer."""
    text = printable(text)
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"
