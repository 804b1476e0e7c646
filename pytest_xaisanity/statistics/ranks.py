"""Randomization inference: the rank of a score among random orders of the same input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, optimize, stats

from .bounds import Floats

__all__ = ["Ranks"]


@dataclass(frozen=True, eq=False)
class Ranks:
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
