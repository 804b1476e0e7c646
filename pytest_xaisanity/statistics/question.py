"""How claims are decided: from bounded scores, one per input, to passed, failed or inconclusive.

Scores lie in a range known beforehand, and are independent from one input to the next. The question is always
whether their mean lies above (or below) a threshold. Nothing is assumed about their distribution, which is often
skewed, discrete or tied. Three tools answer, and the verdict names the one that did:

* the *betting confidence sequence* of Waudby-Smith and Ramdas (2023), which holds at every look at once, so that a
  claim may be decided before all inputs are measured;
* *Gaffke's bound* (Gaffke 2005; Learned-Miller and Thomas 2020), sharper, used once, when all inputs are measured.
  A proof that it holds is not known; the simulations in this project's tests stand in for one. For shares of inputs
  the exact bound of Clopper and Pearson (1934) takes its place;
* *randomization inference* where the null says that an explainer's score is exchangeable with those of random orders
  of the same input: exact for any number of inputs.

A wrong pass has probability at most ``1 - confidence``, and so has a wrong fail. :data:`SPENT` of that
budget is used: :data:`BETTING_SHARE` of it for the betting sequence and the rest for the final tool, or all of it where
there is no earlier look.

References:
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024).
    Gaffke, Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable,
    Mathematical Methods of Statistics 14 (2005).
    Learned-Miller and Thomas, A new confidence interval for the mean of a bounded random variable (2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .bounds import (
    ROUNDING,
    Floats,
    betting_lower_bound,
    clopper_pearson_log_p_value,
    clopper_pearson_lower_bound,
    gaffke_log_p_value,
    gaffke_lower_bound,
    log_capital,
    unit_scores,
)
from .ranks import Ranks
from .verdict import Outcome

__all__ = [
    "BETTING_SHARE",
    "FIRST_LOOK",
    "Decision",
    "Direction",
    "decide_mean",
    "decide_share",
    "inputs_needed",
    "looks",
    "smallest_n",
]

Direction: TypeAlias = Literal["above", "below"]

BETTING = "betting confidence sequence"
GAFFKE = "Gaffke's bound"
CLOPPER_PEARSON = "Clopper-Pearson bound"
RANDOMIZATION = "randomization inference"

FIRST_LOOK = 16

# What is spent of 1 - confidence. The exact tools use up what they are given, so a rate simulated at the whole budget
# would hover around it; a tenth less keeps the upper bound of such a simulation below, and costs 2 points of power.
SPENT = 0.9

# Simulated for shares from 0 to 0.7, effects from 0.04 to 0.3 (sd 0.2, range [-1, 1]) and 16 to 256 inputs. A fifth
# costs 3 points of power at most and already saves 60 % of 256 inputs for an effect of 0.1; a half costs up to 9
# points and saves 67 %. It also leaves enough to show a share above 95 % with 64 inputs out of 64.
BETTING_SHARE = 0.2


def looks(n: int) -> Iterator[int]:
    """Yield how many inputs are measured at each look: 16, 32, 64, then every 64, and ``n`` last."""
    look = FIRST_LOOK
    while look < n:
        yield look
        look += min(look, 64)
    yield n


# ---------------------------------------------------------------------------------------------------------------------
# Decisions.


class Decision(NamedTuple):
    """What the scores measured so far say.

    Attributes:
        outcome: The outcome, or None while more inputs may still decide it.
        estimate: The mean of the scores (of the middles, where they are partly known).
        interval: Lower and upper bound of the mean; each holds with probability ``confidence``. NaN while undecided.
        decided_by: The tool that decided, or those that could not.
    """

    outcome: Outcome | None
    estimate: float
    interval: tuple[float, float]
    decided_by: str


class _Tool(NamedTuple):
    """A one-sided tool for when all inputs are measured: a log p-value for ``(z, m)``, a bound for ``(z, alpha)``."""

    name: str
    log_p_value: Callable[[Floats, float], float]
    lower_bound: Callable[[Floats, float], float]


_MEAN = _Tool(GAFFKE, gaffke_log_p_value, gaffke_lower_bound)
_SHARE = _Tool(CLOPPER_PEARSON, clopper_pearson_log_p_value, clopper_pearson_lower_bound)


@dataclass(frozen=True)
class _Plan:
    """How the error budget of one side is spent: the level of each tool, 0 where it is not used."""

    tool: _Tool
    betting: float
    final: float

    @classmethod
    def of(cls, tool: _Tool, confidence: float, n: int, *, final: bool, early: bool) -> _Plan:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
        if not (early or final):
            raise ValueError("without early looks there is only the final one")
        share = BETTING_SHARE if early and not (final and n <= FIRST_LOOK) else 0.0
        budget = SPENT * (1 - confidence)
        return cls(tool, share * budget, (1 - share) * budget if final else 0.0)

    @property
    def tools(self) -> str:
        return " and ".join(name for name, alpha in ((BETTING, self.betting), (self.tool.name, self.final)) if alpha)

    def shown_by(self, z: Floats, m: float, places: Ranks | None = None) -> str | None:
        """Return the name of the tool that shows the mean of ``z`` to be above ``m``, or None."""
        if self.betting and log_capital(z, m) >= -math.log(self.betting):
            return BETTING
        if self.final and places is not None:
            return RANDOMIZATION if places.p_value <= self.final else None
        if self.final and self.tool.log_p_value(z, m) <= math.log(self.final):
            return self.tool.name
        return None

    def lower_bound(self, z: Floats) -> float:
        betting = betting_lower_bound(z, self.betting) if self.betting else 0.0
        return max(betting, self.tool.lower_bound(z, self.final)) if self.final else betting


@dataclass(frozen=True)
class _Question:
    """Is the mean above a threshold? In units where the range is [0, 1]; "below" has been mirrored."""

    lo: Floats
    hi: Floats
    threshold: float
    margin: float

    @property
    def estimate(self) -> float:
        return float((self.lo + self.hi).mean()) / 2


def _question(
    lo: ArrayLike, hi: ArrayLike, low: float, high: float, threshold: float, direction: Direction, margin: float
) -> _Question:
    """Return the question in units where the range is [0, 1] and the claim is "above"."""
    if not (low < high and low <= threshold <= high and margin >= 0):
        raise ValueError(f"need low < high, a threshold between and margin >= 0: {low}, {high}, {threshold}, {margin}")
    lo, hi = (unit_scores((np.asarray(x, np.float64) - low) / (high - low)) for x in (lo, hi))
    if lo.shape != hi.shape or (lo > hi + ROUNDING).any():
        raise ValueError("lo and hi must have the same length, and lo must not exceed hi")
    m, gap = (threshold - low) / (high - low), margin / (high - low)
    if direction == "above":
        return _Question(lo, hi, m, gap)
    if direction == "below":
        return _Question(1 - hi, 1 - lo, 1 - m, gap)
    raise ValueError(f"direction must be 'above' or 'below', not {direction!r}")


def _decide(question: _Question, plan: _Plan, places: Ranks | None = None) -> tuple[Outcome | None, str]:
    """Return the outcome, or None before it is known, and the tool that decided."""
    if tool := plan.shown_by(question.lo, question.threshold, places):
        return "passed", tool
    if tool := plan.shown_by(1 - question.hi, 1 - question.threshold - question.margin):
        return "failed", tool
    if not plan.final:
        return None, plan.tools
    return "inconclusive", RANDOMIZATION if places is not None else plan.tools


def _decision(
    question: _Question,
    plan: _Plan,
    places: Ranks | None,
    *,
    low: float,
    high: float,
    direction: Direction,
) -> Decision:
    """Return the decision in the units of the scores."""
    outcome, decided_by = _decide(question, plan, places)
    bounds = (math.nan, math.nan)
    if outcome is not None:
        bounds = (plan.lower_bound(question.lo), 1 - plan.lower_bound(1 - question.hi))
    unit = np.array([question.estimate, *bounds])
    estimate, lower, upper = (low + (high - low) * (unit if direction == "above" else 1 - unit)).tolist()
    return Decision(outcome, estimate, (min(lower, upper), max(lower, upper)), decided_by)


def decide_mean(
    lo: ArrayLike,
    hi: ArrayLike,
    *,
    low: float,
    high: float,
    threshold: float,
    confidence: float,
    final: bool,
    direction: Direction = "above",
    margin: float = 0.0,
    places: Ranks | None = None,
    early: bool = True,
) -> Decision:
    """Decide whether the mean score lies above (or below) a threshold.

    Call it at each of :func:`looks` with all scores so far, in the order of the inputs, until the outcome is not
    None. What it says at a look depends on those scores alone, so not on the sizes of batches.

    Args:
        lo: Lower ends of the scores, shape ``(n,)``; where a score is known, the score.
        hi: Upper ends of the scores, shape ``(n,)``; where a score is known, the score.
        low: The least possible score.
        high: The largest possible score.
        threshold: Where the mean must lie above or below.
        confidence: One minus the accepted probability of a wrong pass, and of a wrong fail, over all looks.
        final: Whether these are all the inputs, so that an outcome must be given.
        direction: ``"above"`` passes once the lower bound of the mean of ``lo`` exceeds the threshold, and fails once
            the upper bound of the mean of ``hi`` is under ``threshold + margin``; ``"below"`` is its mirror image.
        margin: An advantage smaller than this counts as none, so that a claim about no effect at all can fail.
            Where both ends are shown, the claim passes.
        places: Decides the pass by randomization inference instead of Gaffke's bound, when ``final``.
        early: Whether there are looks before the final one. Without, the whole budget goes to the final tool.

    Returns:
        The decision. A wrong pass is made with probability at most ``1 - confidence`` when the scores are independent
        with the same mean; the part of it that Gaffke's bound may spend rests on a conjecture.

    Raises:
        ValueError: A score is NaN or outside its range, or the range, threshold or confidence makes no sense.
    """
    question = _question(lo, hi, low, high, threshold, direction, margin)
    plan = _Plan.of(_MEAN, confidence, question.lo.size, final=final, early=early)
    return _decision(question, plan, places, low=low, high=high, direction=direction)


def decide_share(
    lo: ArrayLike,
    hi: ArrayLike,
    *,
    threshold: float,
    confidence: float,
    final: bool,
    direction: Direction = "above",
    margin: float = 0.0,
    early: bool = True,
) -> Decision:
    """Decide whether the share of inputs that are flagged lies above (or below) a threshold.

    Args:
        lo: Whether each input is known to be flagged, shape ``(n,)``.
        hi: Whether each input may be flagged, shape ``(n,)``; the same as ``lo`` where all is known.
        threshold: See :func:`decide_mean`, as for all other arguments.
        confidence: The guarantee is that of :func:`decide_mean`, with no conjecture: the final tool is exact.
        final: Whether these are all the inputs.
        direction: ``"above"`` or ``"below"``.
        margin: A difference smaller than this counts as none.
        early: Whether there are looks before the final one.

    Raises:
        ValueError: A flag is neither true nor false, or an argument makes no sense.
    """
    if not all(np.isin(flags, (0, 1)).all() for flags in (lo, hi)):
        raise ValueError("flags must be true or false")
    question = _question(lo, hi, 0.0, 1.0, threshold, direction, margin)
    plan = _Plan.of(_SHARE, confidence, question.lo.size, final=final, early=early)
    return _decision(question, plan, None, low=0.0, high=1.0, direction=direction)


def smallest_n(
    *,
    low: float,
    high: float,
    threshold: float,
    confidence: float,
    direction: Direction = "above",
    best: float | None = None,
    share: bool = False,
    orders: int | None = None,
    early: bool = True,
    limit: int = 100_000,
) -> int | None:
    """Return the smallest number of inputs with which the claim could pass at all.

    Args:
        low: The least possible score.
        high: The largest possible score.
        threshold: Where the mean must lie above or below.
        confidence: As for :func:`decide_mean`.
        direction: ``"above"`` or ``"below"``.
        best: The best score that can be hoped for; the favourable end of the range by default.
        share: Whether the claim is decided by :func:`decide_share`.
        orders: With randomization inference: how many random orders each input has.
        early: As for :func:`decide_mean`.
        limit: The most inputs to consider.

    Returns:
        The number, or None when even ``limit`` inputs whose scores are all ``best`` would not do.
    """
    best = best if best is not None else high if direction == "above" else low

    def passes(n: int) -> bool:
        plan = _Plan.of(_SHARE if share else _MEAN, confidence, n, final=True, early=early)
        scores = np.full(n, best)
        question = _question(scores, scores, low, high, threshold, direction, 0.0)
        if orders is not None and n * math.log(orders + 1) >= -math.log(plan.final):
            return True
        return plan.shown_by(question.lo, question.threshold) is not None

    return _first(passes, 1, limit)


def inputs_needed(
    lo: ArrayLike,
    hi: ArrayLike,
    *,
    low: float,
    high: float,
    threshold: float,
    confidence: float,
    direction: Direction = "above",
    margin: float = 0.0,
    share: bool = False,
    early: bool = True,
    limit: int = 100_000,
) -> int | None:
    """Return roughly how many inputs would settle an inconclusive verdict, if the others were like those measured.

    The number is such that about nine runs in ten would be settled by it, either way, were the measured mean and
    spread the true ones; it is rounded up to two digits. The arguments are those of :func:`decide_mean`.

    Returns:
        The number, or None when the effect seen is about zero (less than half a standard error), or when more than
        ``limit`` inputs would be needed.
    """
    question = _question(lo, hi, low, high, threshold, direction, margin)
    measured = question.lo.size
    gaps = question.lo.mean() - question.threshold, question.threshold + margin / (high - low) - question.hi.mean()
    if max(gaps) <= 0.5 * float(np.std(question.lo)) / math.sqrt(measured):
        return None
    tool = _SHARE if share else _MEAN
    level = _Plan.of(tool, confidence, FIRST_LOOK + 1, final=True, early=early).final
    stricter = float(special.log_ndtr(special.ndtri(level) + special.ndtri(0.1)))
    z, m = question.lo, question.threshold
    if gaps[1] > gaps[0]:
        z, m = 1 - question.hi, 1 - question.threshold - question.margin
    z = np.sort(z)

    def settles(n: int) -> bool:
        return tool.log_p_value(z[np.arange(n) * measured // n], m) <= stricter

    n = _first(settles, measured, limit)
    return None if n is None else _round_up(n)


def _first(holds: Callable[[int], bool], start: int, limit: int) -> int | None:
    """Return the first n from ``start`` to ``limit`` for which ``holds(n)``, which is false and then true."""
    low, high = start - 1, start
    while not holds(high):
        if high >= limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _round_up(n: int) -> int:
    """Return ``n`` rounded up to two digits."""
    unit = int(10 ** max(0, len(str(n)) - 2))
    return -(-n // unit) * unit
