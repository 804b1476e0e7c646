"""Rates that tests find by simulation: right nearly always, and in few runs where few show them."""

from __future__ import annotations

import numpy as np
import pytest
from rates import LOOKS, rate_at_least, rate_at_most
from scipy import stats


def coin(p, seed=0):
    """Return something that happens with probability ``p``, and the runs in which it was asked for."""
    drawn, runs = np.random.default_rng(seed).random(20_000) < p, []
    return lambda run: runs.append(run) or bool(drawn[run]), runs


@pytest.mark.parametrize(("p", "most"), [(0.0, 150), (0.01, 1000), (0.3, 150), (0.05, 20_000)])
def test_few_runs_are_made_where_they_are_enough(p, most):
    happens, runs = coin(p)
    assert (rate_at_most(happens, 0.05) <= 0.05) == (p < 0.05)
    assert runs == list(range(len(runs)))
    assert len(runs) <= most


def test_the_bound_is_that_of_clopper_and_pearson():
    happens, _ = coin(0.02)
    bound = rate_at_most(happens, 0.0, most=150)
    count = sum(map(happens, range(150)))
    assert stats.binom.cdf(count, 150, bound) == pytest.approx(0.01)
    assert rate_at_least(lambda run: not happens(run), 1.0, most=150) == pytest.approx(1 - bound)


def test_a_rate_above_the_limit_is_called_below_it_in_one_of_a_hundred_simulations():
    """By exact enumeration: the chance that any look finds a bound below the limit where the rate is the limit."""
    limit, called = 0.05, 0.0
    states, done = np.ones(1), 0  # the chance of each count so far, of simulations that go on
    for n in LOOKS:
        states = np.convolve(states, stats.binom.pmf(np.arange(n - done + 1), n - done, limit))
        done = n
        error = 0.0005 if n < LOOKS[-1] else 0.01 - 0.0005 * (len(LOOKS) - 1)
        stops = stats.binom.cdf(np.arange(n + 1), n, limit) <= error
        called += states[stops].sum()
        states = np.where(stops, 0.0, states)
    assert 0.001 < called <= 0.01
