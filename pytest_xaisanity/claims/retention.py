"""Retention: the share of the similarity above chance that an intervention leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize

from ..evidence.base import Array
from ..maps.similarity import Similarity
from ..statistics.grouped import Grouped
from ..statistics.question import Level, Outlook, Question
from ..statistics.verdict import Outcome
from .base import Scores, extremes

__all__ = [
    "KEEPS_ITS_SIGN",
    "LIMITS",
    "REPRODUCED",
    "REPRODUCES",
    "Between",
    "Bounds",
    "Retained",
    "inputs_of",
    "pair_means",
]

REPRODUCES = 0.1  # an explainer reproduces itself when s_self - s_chance is shown to be above this
REPRODUCED = Question(-1.0, 1.0, REPRODUCES)
LIMITS = -2.0, 3.0
"""Between these a retention is looked for; a bound of an interval at one of them is not known."""

KEEPS_ITS_SIGN = 0.75
"""Of signed ranks more than this is left of a map that keeps its sign under eight new heads of eight."""

_HARDLY_KEPT = 0.3
_HALF_KEPT = 0.5  # of r: the bound of fails has risen by then to where it stays
_UNMOVED = 0.2  # a map that loses less than this share of what the network's own gradient does, does not follow it
_STEPS = 12  # halvings of these limits, to 1e-3


class Between(NamedTuple):
    """The least and the greatest that scores ``(n,)`` may be, where some are not known."""

    lo: Scores
    hi: Scores

    @classmethod
    def of(cls, similarity: Similarity, scores: Array, axes: tuple[int, ...] = ()) -> Between:
        """Return similarities on the scale where identical maps have 1 and the least alike -1, averaged over axes."""
        unit = np.asarray(similarity.unit(torch.from_numpy(np.ascontiguousarray(scores))))
        return cls(*extremes(unit, -1.0, 1.0, axes=axes))

    def plus(self, factor: float, other: Between) -> Between:
        """Return the sum with a multiple of others."""
        least, most = (other.lo, other.hi) if factor >= 0 else (other.hi, other.lo)
        return Between(self.lo + factor * least, self.hi + factor * most)

    @property
    def pairs(self) -> Between:
        """The means of each two neighbors."""
        return Between(*map(pair_means, self))

    def clipped(self, low: float, high: float) -> Between:
        """Return what lies in a range."""
        return Between(*(np.clip(side, low, high) for side in self))

    @property
    def middle(self) -> Scores:
        """What lies between the two."""
        return np.asarray((self.lo + self.hi) / 2)


class Bounds(NamedTuple):
    """The share up to which a claim passes, and that above which it fails."""

    passes: float
    fails: float

    @classmethod
    def beside(cls, r: float, kept: float | None = None) -> Bounds:
        """Return the bounds where a share of the network's own gradient is kept: those of what it loses.

        Without a gradient, or where hardly any of it is kept (``0.3 r``), both are ``r``. From there on up to where all
        of it is kept, what has to be lost for a pass shrinks from ``1 - r`` to nothing; a claim fails where the maps
        lose less than a fifth of what the gradient does, to which it rises from ``r`` while up to ``0.5 r`` is kept.
        """
        if kept is None or not kept > _HARDLY_KEPT * r:
            return cls(r, r)
        lost = max(0.0, 1 - kept)
        passes = 1 - (1 - r) * lost / (1 - _HARDLY_KEPT * r)
        risen = min(1.0, (kept / r - _HARDLY_KEPT) / (_HALF_KEPT - _HARDLY_KEPT))
        return cls(passes, max(passes, r + risen * (1 - _UNMOVED * lost - r)))


@dataclass(frozen=True)
class Retained:
    """Similarities from which the share that is left is estimated.

    It is decided on ``(s_after - s_chance) - r (s_self - s_chance)`` whether at most r is left. ``s_chance`` compares
    two inputs, so that the scores of the two are not independent of one another; the means of pairs, which are, decide.

    Attributes:
        after: Of the explanations before and after the intervention.
        own: Of two runs on one input, or of what stands in its place.
        chance: Of unrelated inputs.
        groups: The group of each pair, whose mean counts once; with None each is one of its own.
    """

    after: Between
    own: Between
    chance: Between
    groups: NDArray[np.int64] | None = None

    @property
    def gap(self) -> Grouped:
        """``s_self - s_chance``, by pairs; more than 1 counts as 1."""
        return Grouped.of(*self.own.plus(-1.0, self.chance).pairs.clipped(-1.0, 1.0), self.groups)

    @cached_property
    def _pairs(self) -> Retained:
        """What the pairs are decided on: the same, by pairs."""
        return Retained(self.after.pairs, self.own.pairs, self.chance.pairs)

    def left(self, r: float) -> Between:
        """Return what is left above a share r, for each input."""
        return self.after.plus(r - 1, self.chance).plus(-r, self.own)

    def test(self, r: float, level: Level, *, final: bool) -> tuple[Outcome | None, str]:
        """Return whether at most r is left, or None before it is known, and the tool that decided."""
        question, left = self._asked(r)
        return left.outcome(question, level, final=final)

    def test_between(self, bounds: Bounds, level: Level, *, final: bool) -> tuple[Outcome | None, str]:
        """Return whether as little is left as passes or as much as fails, or None before it is known, and the tool."""
        outcome, tool = self.test(bounds.passes, level, final=final)
        if outcome != "failed" or bounds.passes == bounds.fails:
            return outcome, tool
        outcome, tool = self.test(bounds.fails, level, final=final)
        return ("inconclusive" if outcome == "passed" else outcome), tool

    def interval(self, r: float, level: Level, *, final: bool) -> tuple[float, float]:
        """Return the shares that the test which decides would not have excluded, so that it never contradicts it."""
        outcome, estimate = self.test(r, level, final=final)[0], self.estimate
        lower = _edge(lambda share: self.test(share, level, final=final)[0] == "failed", estimate, LIMITS[0])
        upper = _edge(lambda share: self.test(share, level, final=final)[0] == "passed", estimate, LIMITS[1])
        if outcome == "passed":  # to the last digit
            upper = min(upper, r)
        elif outcome == "failed":
            lower = max(lower, r)
        return lower, upper

    def outlook(self, r: float, level: Level) -> Outlook:
        """Return what would settle whether at most r is left."""
        question, left = self._asked(r)
        return left.outlook(question, level).of_pairs

    def _asked(self, share: float) -> tuple[Question, Grouped]:
        """Return whether less than nothing is left above a share, and what is, by pairs, in the range it may have.

        It lies in that range where no map is more alike to another than to a second run of itself.
        """
        low, high = -2.0 * max(1.0, share), max(0.5, 2.0 * (1.0 - share))
        return Question(low, high, 0.0, "below"), Grouped.of(*self._pairs.left(share).clipped(low, high), self.groups)

    @cached_property
    def estimate(self) -> float:
        """The share of which as much is left as not, on average; it takes longer than a test."""

        def above(share: float) -> float:
            return self._asked(share)[1].mean

        low, high = LIMITS
        if above(low) <= 0 or above(high) >= 0:
            return low if above(low) <= 0 else high
        return float(optimize.brentq(above, low, high, xtol=1e-6))


def _edge(shown: Callable[[float], bool], start: float, end: float) -> float:
    """Return the share nearest to ``start``, on the way to ``end``, from which on it is shown; else ``end``."""
    if not shown(end):
        return end
    near, far = start, end
    for _ in range(_STEPS):
        middle = (near + far) / 2
        near, far = (near, middle) if shown(middle) else (middle, far)
    return far


def inputs_of(pairs: int | None) -> int | None:
    """Return how many inputs so many pairs have."""
    return None if pairs is None else 2 * pairs


def pair_means(scores: Scores) -> Scores:
    """Return the mean of each two neighbors; an odd last one joins the two before it."""
    starts = 2 * np.arange(max(1, len(scores) // 2))
    sums = np.add.reduceat(scores, starts)
    means: Scores = sums / np.diff([*starts, len(scores)])
    return means
