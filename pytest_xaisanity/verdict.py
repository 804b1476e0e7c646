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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, optimize, special, stats

__all__ = [
    "BETTING_SHARE",
    "FIRST_LOOK",
    "Decision",
    "Direction",
    "Outcome",
    "Places",
    "Verdict",
    "betting_lower_bound",
    "clopper_pearson_lower_bound",
    "decide_mean",
    "decide_share",
    "gaffke_lower_bound",
    "gaffke_p_value",
    "inputs_needed",
    "looks",
    "smallest_n",
]

Outcome: TypeAlias = Literal["passed", "failed", "inconclusive"]
Direction: TypeAlias = Literal["above", "below"]
Floats: TypeAlias = NDArray[np.float64]

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

# Simulated at 16 to 1,024 inputs against the same authors' plug-in and adaptive bets: no bet had more power
# throughout. Large stakes decide clear effects by the first look; the small ones are for small effects and rare losses.
STAKES = np.array([0.99, 0.8, 0.5, 0.25, 0.1, 0.04])
STAKE_WEIGHTS = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05])

_REPR_LIMIT = 199
_TINY = 1e-9  # bounds below this are 0
_ROUNDING = 1e-6  # how far outside its range a score may lie, as a share of the range: float32 rounding


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
        reason: Why, in one sentence.
        evidence: What the verdict rests on, for reports; ignored by ``repr`` and ``==``.
        tolerated: Whether an inconclusive verdict counts as true.
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
    evidence: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    tolerated: bool = False

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
    text = " ".join(text.split())
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"


def looks(n: int) -> Iterator[int]:
    """Yield how many inputs are measured at each look: 16, 32, 64, then every 64, and ``n`` last."""
    look = FIRST_LOOK
    while look < n:
        yield look
        look += min(look, 64)
    yield n


# ---------------------------------------------------------------------------------------------------------------------
# One-sided tools. Each takes values z in [0, 1] and asks whether their mean is larger than m; for "smaller than m",
# ask about 1 - z and 1 - m.


def _log_capital(z: Floats, m: float) -> float:
    """Return the log of the largest wealth reached by betting, input by input, that the mean of ``z`` exceeds ``m``.

    The wealth starts at 1 and is spread over several constant stakes: a stake ``k`` multiplies by
    ``1 + k (z / m - 1)`` (Waudby-Smith and Ramdas's diversified Kelly bets). While the mean is at most ``m`` no
    such wealth grows on average, so it ever reaches ``1 / alpha`` with probability at most ``alpha`` (Ville).
    It decreases in ``m``, and at look t it depends on the first t values only.
    """
    if m <= 0:
        return math.inf if z.any() else 0.0
    paths = np.cumsum(np.log1p(np.multiply.outer(STAKES, z / m - 1)), axis=1)
    peak = paths.max(axis=0)
    wealth = peak + np.log(STAKE_WEIGHTS @ np.exp(paths - peak))
    return max(0.0, float(wealth.max()))


def betting_lower_bound(z: ArrayLike, alpha: float) -> float:
    """Return a lower bound of the mean that holds at every look at once, with probability at least ``1 - alpha``.

    Args:
        z: Values in [0, 1], in the order of the inputs, shape ``(n,)``. The bound for the first t of them never
            decreases in t.
        alpha: Probability that the bound is ever too high, over all t.
    """
    z, goal = _unit(z), -math.log(alpha)

    def excess(m: float) -> float:
        return min(_log_capital(z, m), 2 * goal) - goal

    if excess(_TINY) <= 0:
        return 0.0
    return float(optimize.brentq(excess, _TINY, 1.0, xtol=1e-7))


_STEP = 0.15  # of the trapezoidal rule, whose error falls like exp(-5 / step)
_BLOCK = 16


def _log_probability_nonpositive(c: Floats) -> float:
    """Return ``log P(sum_i c_i E_i <= 0)`` for independent standard exponential ``E_i``.

    It is the inversion integral of the moment generating function ``prod 1 / (1 - s c_i)``, whose poles are all
    real, through the saddle point of ``prod 1 / (1 - s c_i) / -s``. The path is the hyperbola that bends as the path
    of steepest descent does there, or the vertical line where that one meets less cancellation.
    """
    c = c[c != 0]
    if not (c > 0).any():
        return 0.0
    if not (c < 0).any():
        return -math.inf
    s = _saddle_point(c)
    a = np.append(c / (1 - s * c), -1 / s)  # the pole at s = 0 behaves as one more coefficient
    a *= (width := 1 / float(np.linalg.norm(a)))
    total, size = _along_hyperbola(a, float((a**3).sum()) / 1.5)
    if not total > 0.6 * size:
        straight, straight_size = _along_hyperbola(a, 0.0)
        total = straight if not total / size > straight / straight_size else total
    log_height = -float(np.log1p(-s * c).sum()) - math.log(-s)
    return min(0.0, log_height + math.log(width * total / math.pi))


def _along_hyperbola(a: Floats, bend: float) -> tuple[float, float]:
    """Integrate ``prod 1 / (1 - s a_i)`` along a path upwards from 0; return that and the integral of its modulus.

    A sinh substitution makes the trapezoidal rule converge exponentially, for many coefficients and for two.
    """
    total, size, first = -0.5, -0.5, 0  # the first node, of value 1, counts half
    while True:
        w = _STEP * np.arange(first, first + _BLOCK)
        path = bend * (np.cosh(w) - 1) + 1j * np.sinh(w)
        speed = bend * np.sinh(w) + 1j * np.cosh(w)
        with np.errstate(over="ignore", invalid="ignore"):
            values = speed / np.prod(1 - np.multiply.outer(a, path), axis=0)
        negligible = ~(np.abs(values) > 1e-16)  # or not a number, where the product overflows
        # From the first negligible node on, a path straight up would add nothing either.
        kept = values[: np.argmax(negligible)] if negligible.any() else values
        total, size = total + float(kept.imag.sum()), size + float(np.abs(kept).sum())
        if len(kept) < _BLOCK:
            return _STEP * total, _STEP * size
        first += _BLOCK


def _saddle_point(c: Floats) -> float:
    """Return an ``s`` near the minimum of ``-sum log(1 - s c_i) - log(-s)`` over ``(1 / min(c), 0)``.

    The function is convex and self-concordant: once a Newton step is short, the next ones converge. Until then the
    interval is halved on a scale where its ends lie at infinity.
    """
    pole, total, squares = 1 / float(c.min()), float(c.sum()), float(c @ c)
    # The root of the derivative's expansion at 0, written so that nothing cancels.
    root = math.sqrt(total**2 + 4 * squares)
    s = max(-(total + root) / (2 * squares) if total > 0 else -2 / (root - total), pole / 2)
    nearest, farthest = -45.0, 36.0
    for _ in range(100):
        a = c / (1 - s * c)
        slope, curvature = float(a.sum()) - 1 / s, float(a @ a) + 1 / s**2
        decrement = abs(slope) / math.sqrt(curvature)
        if decrement < 0.1:
            break
        place = float(special.logit(s / pole))
        nearest, farthest = (place, farthest) if slope > 0 else (nearest, place)
        s = s - slope / curvature if decrement < 1 else pole * float(special.expit((nearest + farthest) / 2))
    return s


def gaffke_p_value(z: ArrayLike, m: float) -> float:
    """Return Gaffke's p-value of "the mean is at most ``m``": ``P(sum_i (z_i - m) E_i <= m E_0)``.

    Args:
        z: Values in [0, 1], shape ``(n,)``, in any order.
        m: The mean under the null, in [0, 1].

    Returns:
        The p-value, computed without random numbers: mostly to 12 digits, and to 5 or more below one half where many
        values tie closely around ``m``. That it is at most ``alpha`` with probability at most ``alpha`` under the
        null is conjectured, not proved.
    """
    return math.exp(_gaffke_log_p_value(_unit(z), m))


def _gaffke_log_p_value(z: Floats, m: float) -> float:
    return _log_probability_nonpositive(np.append(z - m, -m))


def gaffke_lower_bound(z: ArrayLike, alpha: float) -> float:
    """Return Gaffke's lower bound of the mean: the ``alpha`` quantile of ``sum_i D_i z_i`` with a zero added to ``z``.

    Args:
        z: Values in [0, 1], shape ``(n,)``, in any order.
        alpha: Probability that the bound is too high (conjectured, see :func:`gaffke_p_value`).

    ``D`` is uniform on the simplex of n + 1 weights.
    """
    z, goal = _unit(z), float(special.ndtri(alpha))
    high = float(z.max())

    def excess(m: float) -> float:
        # On the normal scale the p-value is nearly linear in m.
        return max(-40.0, min(8.0, float(special.ndtri_exp(_gaffke_log_p_value(z, m))))) - goal

    low = float(z.mean()) / 2
    while low > _TINY and excess(low) >= 0:
        low, high = low / 2, low
    return float(optimize.brentq(excess, low, high, xtol=1e-5)) if low > _TINY else 0.0


def _clopper_pearson_log_p_value(z: Floats, m: float) -> float:
    count = float(z.sum())
    return math.log(max(float(special.betainc(count, z.size - count + 1, m)), 1e-300)) if count else 0.0


def clopper_pearson_lower_bound(z: ArrayLike, alpha: float) -> float:
    """Return the exact lower bound of a share, from ``z`` of zeros and ones, shape ``(n,)``."""
    z = _unit(z)
    count = float(z.sum())
    return float(special.betaincinv(count, z.size - count + 1, alpha)) if count else 0.0


@dataclass(frozen=True, eq=False)
class Places:
    """The place of each input's score among random orders of the same input, and how probable that is by chance.

    Under the null the explainer's score is exchangeable with the random ones, input by input, so given the pooled
    scores (with their ties) it is each of them with equal probability.

    Args:
        own: The explainer's scores, higher is better, shape ``(n,)``.
        random: The scores of ``K`` random orders of each input, shape ``(n, K)``.
    """

    own: ArrayLike
    random: ArrayLike

    @cached_property
    def _ranks(self) -> NDArray[np.int64]:
        """Twice the number of the other pooled scores beaten, ties half: shape ``(n, K + 1)``, own first."""
        own, random = np.asarray(self.own, float), np.asarray(self.random, float)
        if own.ndim != 1 or random.ndim != 2 or len(own) != len(random) or not random.size:
            raise ValueError(f"own must be (n,) and random (n, K), not {own.shape} and {random.shape}")
        pooled = np.column_stack([own, random])
        if np.isnan(pooled).any():
            raise ValueError("scores must not be NaN")
        ranks: NDArray[np.int64] = np.rint(2 * (stats.rankdata(pooled, axis=1) - 1)).astype(np.int64)
        return ranks

    @cached_property
    def shares(self) -> Floats:
        """The share of random orders that each input's score beats, ties half: shape ``(n,)``, in [0, 1]."""
        return np.asarray(self._ranks[:, 0] / (2 * (self._ranks.shape[1] - 1)))

    @cached_property
    def p_value(self) -> float:
        """The exact probability, under the null, of places that sum to at least what was observed."""
        ranks = self._ranks
        rows, width = ranks.shape[0], 2 * ranks.shape[1] - 1
        cells = (ranks + width * np.arange(rows)[:, None]).ravel()
        chances = np.bincount(cells, minlength=rows * width).reshape(rows, width) / ranks.shape[1]
        return _sum_at_least(chances, int(ranks[:, 0].sum()))


def _sum_at_least(chances: Floats, observed: int) -> float:
    """Return ``P(sum of the rows' values >= observed)``.

    Row i of ``chances`` holds the probabilities of the values 0, 1, … of an independent variable. The rows are
    tilted exponentially towards ``observed`` before they are convolved, so that small probabilities keep their
    digits.
    """
    values = np.arange(chances.shape[1])
    tilt = _tilt(chances, observed)
    tilted = chances * np.exp(tilt * (values - values[-1]))
    norms = tilted.sum(axis=1, keepdims=True)
    tail = _convolve_rows(tilted / norms)[observed:]
    weight = float(tail @ np.exp(-tilt * np.arange(len(tail))))
    shift = tilt * (len(chances) * float(values[-1]) - observed)
    return min(1.0, math.exp(float(np.log(norms).sum()) + shift + math.log(weight)))


def _tilt(chances: Floats, observed: int) -> float:
    """Return the tilt, at least 0, under which the sum of the rows has mean ``observed``, or the largest safe one."""
    values = np.arange(chances.shape[1])

    def shortfall(tilt: float) -> float:
        tilted = chances * np.exp(tilt * (values - values[-1]))
        return float(((tilted @ values) / tilted.sum(axis=1)).sum()) - observed

    largest = min(40.0, 600 / values[-1])
    if shortfall(0.0) >= 0:
        return 0.0
    return largest if shortfall(largest) <= 0 else float(optimize.brentq(shortfall, 0.0, largest, rtol=1e-3))


def _convolve_rows(rows: Floats) -> Floats:
    """Return the convolution of all rows, pair by pair."""
    while len(rows) > 1:
        if len(rows) % 2:
            rows = np.vstack([rows, np.eye(1, rows.shape[1])])
        width = 2 * rows.shape[1] - 1
        size = fft.next_fast_len(width, real=True)
        spectrum = fft.rfft(rows, size, axis=1)
        product = fft.irfft(spectrum[::2] * spectrum[1::2], size, axis=1)[:, :width]
        rows = np.maximum(product, 0.0)
    return np.asarray(rows[0])


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


_MEAN = _Tool(GAFFKE, _gaffke_log_p_value, gaffke_lower_bound)
_SHARE = _Tool(CLOPPER_PEARSON, _clopper_pearson_log_p_value, clopper_pearson_lower_bound)


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

    def shown_by(self, z: Floats, m: float, places: Places | None = None) -> str | None:
        """Return the name of the tool that shows the mean of ``z`` to be above ``m``, or None."""
        if self.betting and _log_capital(z, m) >= -math.log(self.betting):
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


def _unit(z: ArrayLike) -> Floats:
    z = np.asarray(z, np.float64)
    if z.ndim != 1 or not z.size:
        raise ValueError(f"scores must be a non-empty array of one dimension, not of shape {z.shape}")
    if not (z.min() >= -_ROUNDING and z.max() <= 1 + _ROUNDING):
        raise ValueError("scores must lie in their range and must not be NaN")
    return np.asarray(np.clip(z, 0.0, 1.0))


def _question(
    lo: ArrayLike, hi: ArrayLike, low: float, high: float, threshold: float, direction: Direction, margin: float
) -> _Question:
    """Return the question in units where the range is [0, 1] and the claim is "above"."""
    if not (low < high and low <= threshold <= high and margin >= 0):
        raise ValueError(f"need low < high, a threshold between and margin >= 0: {low}, {high}, {threshold}, {margin}")
    lo, hi = (_unit((np.asarray(x, np.float64) - low) / (high - low)) for x in (lo, hi))
    if lo.shape != hi.shape or (lo > hi + _ROUNDING).any():
        raise ValueError("lo and hi must have the same length, and lo must not exceed hi")
    m, gap = (threshold - low) / (high - low), margin / (high - low)
    if direction == "above":
        return _Question(lo, hi, m, gap)
    if direction == "below":
        return _Question(1 - hi, 1 - lo, 1 - m, gap)
    raise ValueError(f"direction must be 'above' or 'below', not {direction!r}")


def _decide(question: _Question, plan: _Plan, places: Places | None = None) -> tuple[Outcome | None, str]:
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
    places: Places | None,
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
    places: Places | None = None,
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
