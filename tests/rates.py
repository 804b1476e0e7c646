"""Rates that tests find by simulation, in as few runs as show them."""

from __future__ import annotations

from collections.abc import Callable

from scipy import stats

LOOKS = (150, 250, 500, 1000, 2000, 5000, 10_000, 20_000)
EARLY = 0.0005
"""What each look but the last spends of the 1 % by which a bound may be wrong."""


def rate_at_most(happens: Callable[[int], bool], limit: float, *, most: int = 20_000) -> float:
    """Return a bound above the rate at which something happens, right in 99 of 100 simulations.

    The bound is Clopper and Pearson's. A rate far from the limit is told from it in a few hundred runs, and no more are
    made; one just below takes all of them.

    Args:
        happens: Whether it happens in the run of that number; its random numbers are to follow from the number alone.
        limit: What the bound is compared with.
        most: How many runs there are at most.
    """
    count = done = 0
    looks = [n for n in LOOKS if n < most]
    for n in [*looks, most]:
        count += sum(happens(run) for run in range(done, n))
        done = n
        error = EARLY if n < most else 0.01 - EARLY * len(looks)
        bound = float(stats.beta.ppf(1 - error, count + 1, n - count))
        below = stats.beta.ppf(EARLY, count, n - count + 1) if count else 0.0
        if bound <= limit or below > limit:
            break
    return bound


def rate_at_least(happens: Callable[[int], bool], limit: float, *, most: int = 20_000) -> float:
    """Return a bound below the rate at which something happens, in the same way."""
    return 1 - rate_at_most(lambda run: not happens(run), 1 - limit, most=most)
