"""One-sided tools. Each takes values z in [0, 1] and asks whether their mean is larger than m.

For "smaller than m", ask about 1 - z and 1 - m.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

__all__ = ["betting_lower_bound", "clopper_pearson_lower_bound", "gaffke_lower_bound", "gaffke_p_value"]

Floats: TypeAlias = NDArray[np.float64]

# Simulated at 16 to 1,024 inputs against the same authors' plug-in and adaptive bets: no bet had more power
# throughout. Large stakes decide clear effects by the first look; the small ones are for small effects and rare losses.
STAKES = np.array([0.99, 0.8, 0.5, 0.25, 0.1, 0.04])
STAKE_WEIGHTS = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
TINY = 1e-9  # bounds below this are 0
ROUNDING = 1e-6  # how far outside its range a score may lie, as a share of the range: float32 rounding


# ---------------------------------------------------------------------------------------------------------------------
# One-sided tools. Each takes values z in [0, 1] and asks whether their mean is larger than m; for "smaller than m",
# ask about 1 - z and 1 - m.


def log_capital(z: Floats, m: float) -> float:
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
    z, goal = unit_scores(z), -math.log(alpha)

    def excess(m: float) -> float:
        return min(log_capital(z, m), 2 * goal) - goal

    if excess(TINY) <= 0:
        return 0.0
    return float(optimize.brentq(excess, TINY, 1.0, xtol=1e-7))


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
    return math.exp(gaffke_log_p_value(unit_scores(z), m))


def gaffke_log_p_value(z: Floats, m: float) -> float:
    m = max(m, TINY) if m > 0 else m  # its square is a number, and the p-value of more is no smaller
    return _log_probability_nonpositive(np.append(z - m, -m))


def gaffke_lower_bound(z: ArrayLike, alpha: float) -> float:
    """Return Gaffke's lower bound of the mean: the ``alpha`` quantile of ``sum_i D_i z_i`` with a zero added to ``z``.

    Args:
        z: Values in [0, 1], shape ``(n,)``, in any order.
        alpha: Probability that the bound is too high (conjectured, see :func:`gaffke_p_value`).

    ``D`` is uniform on the simplex of n + 1 weights.
    """
    z, goal = unit_scores(z), float(special.ndtri(alpha))
    high = float(z.max())

    def excess(m: float) -> float:
        # On the normal scale the p-value is nearly linear in m.
        return max(-40.0, min(8.0, float(special.ndtri_exp(gaffke_log_p_value(z, m))))) - goal

    low = float(z.mean()) / 2
    while low > TINY and excess(low) >= 0:
        low, high = low / 2, low
    return float(optimize.brentq(excess, low, high, xtol=1e-5)) if low > TINY else 0.0


def clopper_pearson_log_p_value(z: Floats, m: float) -> float:
    count = float(z.sum())
    return math.log(max(float(special.betainc(count, z.size - count + 1, m)), 1e-300)) if count else 0.0


def clopper_pearson_lower_bound(z: ArrayLike, alpha: float) -> float:
    """Return the exact lower bound of a share, from ``z`` of zeros and ones, shape ``(n,)``."""
    z = unit_scores(z)
    count = float(z.sum())
    return float(special.betaincinv(count, z.size - count + 1, alpha)) if count else 0.0


def unit_scores(z: ArrayLike) -> Floats:
    z = np.asarray(z, np.float64)
    if z.ndim != 1 or not z.size:
        raise ValueError(f"scores must be a non-empty array of one dimension, not of shape {z.shape}")
    if not (z.min() >= -ROUNDING and z.max() <= 1 + ROUNDING):
        raise ValueError("scores must lie in their range and must not be NaN")
    return np.asarray(np.clip(z, 0.0, 1.0))
