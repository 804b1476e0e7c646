"""Retention: the share of the similarity above chance that an intervention leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
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
    "Bound",
    "Bounds",
    "OwnLoss",
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
_RISE = 1.5  # of the bound of a fail with what is kept above that, up to where the other bound lies lower
_UNMOVED = 0.3  # a map that loses less than this share of what the network's own gradient does, does not follow it
_TOLD_APART = 0.1  # gradients of one input are more alike than those of others by more than this, from -1 to 1
_SURELY = 2.0  # standard errors: by more than as many, which a ratio needs
_AS_ALIKE = Question(-2.0, 2.0, _TOLD_APART, "below")
_AT_ANY_LOOK = Level(0.95, early=True, looked=True)
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


class Bound(NamedTuple):
    """A share that is held against what is left, and how much it rises with the share of the own gradient that is."""

    share: float
    slope: float = 0.0


class Bounds(NamedTuple):
    """The share up to which a claim passes, and that above which it fails.

    A fail exceeds both ``passes`` and ``rising``, each by a test of its own: which of them is the larger follows from
    an estimate, and the error of ``rising`` counts where it was estimated to be the lower one, too.

    Attributes:
        passes: Up to this a claim passes.
        rising: What else a fail exceeds.
    """

    passes: Bound
    rising: Bound

    @property
    def fails(self) -> Bound:
        """The larger of the two, above which a claim fails."""
        return max(self)

    @classmethod
    def beside(cls, r: float, kept: float | None = None, error: float = 0.0) -> Bounds:
        """Return the bounds where a share of the network's own gradient is kept: those of what it loses.

        Without a gradient both are ``r``. A claim passes where the maps lose ``(1 - r) / (1 - 0.3 r)`` of what the
        gradient loses, which is less than ``1 - r`` where more than ``0.3 r`` of it is kept; it fails where they lose
        less than 0.3 of that, to which the bound rises from ``r``.

        Args:
            r: The share that is claimed.
            kept: The share of the gradient that is kept.
            error: The standard error of that. Where even one more of it is hardly anything, nothing rises.
        """
        if kept is None or kept + error <= _HARDLY_KEPT * r:
            return cls(Bound(r), Bound(r))
        lost, followed = max(0.0, 1 - kept), (1 - r) / (1 - _HARDLY_KEPT * r)
        passes = max(Bound(r), Bound(1 - followed * lost, followed))
        rising = min(Bound(r + _RISE * (kept - _HARDLY_KEPT * r), _RISE), Bound(1 - _UNMOVED * lost, _UNMOVED))
        return cls(passes, rising)

    @classmethod
    def unknown(cls, r: float) -> Bounds:
        """Return the bounds where it is not known how much of the gradient is kept: it may be all, which fails nothing.

        A pass is one whatever the gradient does.
        """
        return cls(Bound(r), Bound(1.0))

    def of_share(self, share: float, r: float) -> Bounds:
        """Return the bounds of a mean of which this share has these, and all else the bound ``r``."""
        return Bounds(*(Bound(r + share * (one.share - r), share * one.slope) for one in self))


@dataclass(frozen=True)
class OwnLoss:
    """What the network's own gradient loses, on the inputs of some retained similarities and under their cells.

    Attributes:
        lost: ``s_self - s_after`` of the gradients, ``(n,)``; NaN where it is not known.
        room: ``s_self - s_chance``, likewise.
        groups: The group of each pair of inputs, as those of :class:`Retained`.
    """

    lost: Scores
    room: Scores
    groups: NDArray[np.int64] | None = None

    @cached_property
    def told_apart(self) -> bool | None:
        """Whether gradients of one input are clearly more alike than those of others; None where it is not known.

        That they are as alike has to be shown: a few pairs that are not may be missing, and no standard error tells.
        """
        if not self._known.any():
            return False
        room = self._by_pair(self.room)
        rooms = Grouped.of(room, room, self.groups)
        if rooms.mean - _SURELY * self._error_of(room) > _TOLD_APART:
            return True
        return False if rooms.outcome(_AS_ALIKE, _AT_ANY_LOOK, final=False)[0] == "passed" else None

    @cached_property
    def kept(self) -> float | None:
        """The share of the gradient that is left; None where gradients of other inputs are as alike, or may be."""
        return 1 - self._mean(self.lost) / self._mean(self.room) if self.told_apart else None

    @cached_property
    def errors(self) -> Scores:
        """How much each pair draws the estimate of what is kept away from the mean, to first order: 0 on average.

        These are the residuals of the ratio of means: ``-(lost - (1 - kept) room) / mean(room)``.
        """
        if self.kept is None:
            return np.zeros(len(self._by_pair(self.room)))
        residual = self._by_pair(self.lost - (1 - self.kept) * self.room)
        return np.asarray(-residual / self._mean(self.room))

    @cached_property
    def error(self) -> float:
        """The standard error of what is kept."""
        return self._error_of(self.errors)

    @property
    def most(self) -> float:
        """What is kept and one standard error more: 0 where nothing can be, and 1 where it is not known."""
        if self.kept is None:
            return 0.0 if self.told_apart is False else 1.0
        return self.kept + self.error

    @property
    def bounds(self) -> Callable[[float], Bounds]:
        """What makes the bounds beside this gradient of a share that is claimed."""
        if self.told_apart is None:
            return Bounds.unknown
        return partial(Bounds.beside, kept=self.kept, error=self.error)

    def _error_of(self, pairs: Scores) -> float:
        """The standard error of a mean of pairs."""
        each, _ = Grouped.of(pairs, pairs, self.groups).means()
        return float(each.std() / np.sqrt(each.size))

    @property
    def _known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.lost) & np.isfinite(self.room)

    def _mean(self, scores: Scores) -> float:
        pairs = self._by_pair(scores)
        return Grouped.of(pairs, pairs, self.groups).mean

    def _by_pair(self, scores: Scores) -> Scores:
        """Return the means of pairs of inputs, of which what is not known counts as 0."""
        return pair_means(np.where(self._known, scores, 0.0))


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
        gradient: What the network's own gradient loses, where bounds follow an estimate of it. A test at such a bound
            is one of ``s_left - slope * error``, which knows how far that estimate may be off.
    """

    after: Between
    own: Between
    chance: Between
    groups: NDArray[np.int64] | None = None
    gradient: OwnLoss | None = None

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

    def test(self, r: float, level: Level, *, final: bool, slope: float = 0.0) -> tuple[Outcome | None, str]:
        """Return whether at most r is left, or None before it is known, and the tool that decided."""
        question, left = self._asked(r, slope)
        return left.outcome(question, level, final=final)

    def test_between(self, bounds: Bounds, level: Level, *, final: bool) -> tuple[Outcome | None, str]:
        """Return whether as little is left as passes or as much as fails, or None before it is known, and the tool."""
        outcome, tool = self.test(bounds.passes.share, level, final=final, slope=bounds.passes.slope)
        if outcome != "failed" or bounds.passes == bounds.rising:
            return outcome, tool
        outcome, tool = self.test(bounds.rising.share, level, final=final, slope=bounds.rising.slope)
        return ("inconclusive" if outcome == "passed" else outcome), tool

    def interval(self, bounds: Bounds, level: Level, *, final: bool) -> tuple[float, float]:
        """Return the shares that the tests which decide would not have excluded, so that it never contradicts them.

        A pass is one of the bound of a pass and a fail one of the larger bound. Where neither is shown, more than a
        share is left by the test of what rises, and less by that of a pass.
        """
        outcome, estimate = self.test_between(bounds, level, final=final)[0], self.estimate
        decided = {"passed": (bounds.passes, bounds.passes), "failed": (bounds.fails, bounds.fails)}
        below, above = decided.get(outcome or "", (bounds.rising, bounds.passes))

        def shown(side: Outcome, slope: float) -> Callable[[float], bool]:
            return lambda share: self.test(share, level, final=final, slope=slope)[0] == side

        lower = _edge(shown("failed", below.slope), estimate, LIMITS[0])
        upper = _edge(shown("passed", above.slope), estimate, LIMITS[1])
        if outcome == "passed":  # to the last digit
            upper = min(upper, above.share)
        elif outcome == "failed":
            lower = max(lower, below.share)
        return lower, upper

    def outlook(self, bound: Bound, level: Level) -> Outlook:
        """Return what would settle whether at most as much is left."""
        question, left = self._asked(*bound)
        return left.outlook(question, level).of_pairs

    def _asked(self, share: float, slope: float = 0.0) -> tuple[Question, Grouped]:
        """Return whether less than nothing is left above a share, and what is, by pairs, in the range it may have.

        It lies in that range where no map is more alike to another than to a second run of itself. What a pair says of
        the gradient may lie far outside where gradients of other inputs are alike, and is never clipped.
        """
        low, high = -2.0 * max(1.0, share), max(0.5, 2.0 * (1.0 - share))
        left = self._pairs.left(share)
        if slope and self.gradient is not None:
            room = slope * Grouped.of(*self._pairs.own.plus(-1.0, self._pairs.chance), self.groups).mean
            error = room * self.gradient.errors
            left = Between(left.lo - error, left.hi - error)
            low, high = min(low - room, left.lo.min()), max(high + room, left.hi.max())
        return Question(low, high, 0.0, "below"), Grouped.of(*left.clipped(low, high), self.groups)

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
