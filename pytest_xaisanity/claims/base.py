"""What every claim is made of: what it needs measured, what it looks at, and the words and arrays that verbs share."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..common.errors import XaiError
from ..maps.similarity import Similarity
from ..statistics.question import Decision, Direction
from ..statistics.verdict import Outcome, Verdict

Scores = NDArray[Any]


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


# ---------------------------------------------------------------------------------------------------------------------
# What decisions and reasons share


def check_finite(own: Scores, other: Scores, claim: str) -> None:
    """Raise when a score is NaN or infinite."""
    broken = int((~np.isfinite(own) | ~np.isfinite(other).all(1)).sum())
    if broken:
        raise XaiError(
            claim,
            found=f"scores that are NaN or infinite for {broken} of {len(own)} inputs",
            expected="a finite score for each input",
            fix="look at what the metric made of these inputs",
        )


def require_inputs(n: int, least: int | None, claim: str) -> None:
    """Raise when no scores whatever could decide the claim with n inputs."""
    if least is None:
        raise XaiError(
            claim,
            found="a bound at the very end of the range",
            expected="a bound that scores can be shown to keep",
            fix="move the bound inwards",
        )
    if n < least:
        raise XaiError(
            "xai_inputs",
            found=f"{n} input{'s' if n > 1 else ''} for the claim {claim!r}",
            expected=f"at least {least}: with fewer, no scores whatever could decide it",
            fix="give more inputs, lower confidence=, or move the bound where there is one",
        )


def closer_to(similarity: Similarity, *, below: bool) -> Direction:
    """Return on which side of a bound less alike maps lie; an error is greater where a similarity is less."""
    return "below" if below == (similarity.identical == similarity.high) else "above"


def constant_note(evidence: Mapping[str, Any]) -> str:
    """Return what a reason adds where maps are constant or not finite."""
    count = evidence["constant_or_not_finite"]
    if not count:
        return ""
    some = (
        "1 input has a constant or non-finite map" if count == 1 else f"{count} inputs have constant or non-finite maps"
    )
    return f"; {some}, counted against either decision"


def settled_by(needed: int | None, outcome: str = "inconclusive") -> str:
    """Return what a reason adds where more inputs could settle the claim."""
    if outcome != "inconclusive":
        return ""
    return f"; about {needed} inputs would settle it" if needed else "; more inputs may settle it"


def label(spec: Any) -> str:
    """Return the word that stands for an object in claims and reasons."""
    if isinstance(spec, (str, int, float, bool, type(None))):
        return str(spec)
    if isinstance(spec, type) or inspect.isroutine(spec):
        return str(spec.__name__)
    if isinstance(spec, (tuple, list)):
        return "+".join(map(label, spec))
    return str(getattr(spec, "name", type(spec).__name__))


# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def extremes(scores: Scores, low: float, high: float, axes: tuple[int, ...] = ()) -> tuple[Scores, Scores]:
    """Return the least and greatest value each input can have when NaN may be anything in the range."""
    wide = scores.astype(float)
    lo, hi = np.where(np.isnan(wide), low, wide), np.where(np.isnan(wide), high, wide)
    return (lo.mean(axes), hi.mean(axes)) if axes else (lo, hi)


def mean(scores: Scores) -> float | None:
    """Return the mean of the scores that are not NaN, or None."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else None


def plain(scores: Scores) -> list[float | None]:
    """Return scores as plain numbers, None for NaN."""
    return [None if value != value else value for value in scores.astype(float).tolist()]


def by_axis(scores: Scores, axis: int) -> list[float | None]:
    """Return the mean over all other axes."""
    moved = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1)
    return [mean(row) for row in moved]


def curve_arrays(scores: Mapping[str, Scores]) -> dict[str, Scores]:
    """Return the curves among the scores, by name."""
    return {key.removeprefix("curve "): value for key, value in scores.items() if key.startswith("curve ")}


def curves(scores: Mapping[str, Scores]) -> dict[str, list[list[float]]]:
    """Return the curves among the scores as plain numbers."""
    return {key: value.astype(float).tolist() for key, value in curve_arrays(scores).items()}
