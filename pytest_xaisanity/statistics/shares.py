"""The place of a score among those of random orders of the same input."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .bounds import Floats

__all__ = ["beaten_shares"]


def beaten_shares(own: ArrayLike, random: ArrayLike) -> Floats:
    """Return the share of random orders that each input's score beats, ties half: shape ``(n,)``, in [0, 1].

    Args:
        own: The explainer's scores, higher is better, shape ``(n,)``.
        random: The scores of ``K`` random orders of each input, shape ``(n, K)``.

    Raises:
        ValueError: The shapes do not fit, or a score is NaN.
    """
    own, random = np.asarray(own, float), np.asarray(random, float)
    if own.ndim != 1 or random.ndim != 2 or len(own) != len(random) or not random.size:
        raise ValueError(f"own must be (n,) and random (n, K), not {own.shape} and {random.shape}")
    if np.isnan(own).any() or np.isnan(random).any():
        raise ValueError("scores must not be NaN")
    beaten = (own[:, None] > random) + 0.5 * (own[:, None] == random)
    return np.asarray(beaten.mean(axis=1))
