"""Whether scores are worse than recorded ones: against a slow twin, at the ends of its margins, and by simulation."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from rates import rate_at_least, rate_at_most
from scipy import stats

from pytest_xaisanity.statistics.question import SPENT, Level
from pytest_xaisanity.statistics.regression import (
    WORSE_BY,
    WORSE_SHARE,
    Scale,
    noise_of,
    of_intervals,
    of_pairs,
    of_samples,
    rounded,
)

LEVEL = Level(0.95, early=False)
UNIT = Scale(0.0, 1.0, True)
PROBABILITY = Scale(-1.0, 1.0, True)
FREE = Scale(-inf, inf, False)


def twin(before, after, tolerance):
    """Return whether a regression is shown, worse and better, input by input, with SciPy's exact test."""
    worse = better = 0
    for then, now in zip(before, after, strict=True):
        worse += then - now > tolerance
        better += now - then > tolerance
    error = SPENT * (1 - LEVEL.confidence)
    if not worse:
        return False, worse, better
    signs = stats.binomtest(worse, worse + better, 0.5, alternative="greater").pvalue
    share = stats.binomtest(worse, len(before), WORSE_SHARE, alternative="greater").pvalue
    return signs <= error and share <= error, worse, better


@pytest.mark.parametrize("n", [1, 5, 16, 64, 256, 1000])
def test_pairs_are_decided_as_the_slow_twin_decides(n):
    for run in range(40):
        rng = np.random.default_rng([n, run])
        before = rng.uniform(0, 1, n)
        changed = rng.uniform(size=n) < rng.choice([0.0, 0.03, 0.1, 0.6])
        after = np.clip(before + changed * rng.normal(rng.choice([-0.2, 0.0]), 0.2, n), 0, 1)
        found = of_pairs(before, after, UNIT, LEVEL)
        assert (found.regressed, found.worse, found.better) == twin(before, after, WORSE_BY)
        assert found.n == n


def test_five_of_five_pairs_are_what_it_takes():
    before = np.full(5, 0.5)
    assert of_pairs(before, before - 0.2, UNIT, LEVEL).regressed
    assert not of_pairs(before[:4], before[:4] - 0.2, UNIT, LEVEL).regressed


def test_better_is_what_the_scale_says():
    before = np.full(20, 0.5)
    less, more = Scale(0.0, 1.0, False), before + 0.2
    assert of_pairs(before, more, less, LEVEL).regressed
    assert not of_pairs(before, more, UNIT, LEVEL).regressed


def test_what_all_inputs_lose_of_less_than_the_tolerance_is_kept():
    before = np.linspace(0.2, 0.9, 256)
    kept = of_pairs(before, before - 0.9 * WORSE_BY, UNIT, LEVEL)
    assert (kept.status, kept.worse) == ("kept", 0)
    assert "none of 256 inputs differs" in kept.reason
    assert of_pairs(before, before - 1.1 * WORSE_BY, UNIT, LEVEL).regressed
    assert not of_pairs(before, before - 0.1, UNIT, LEVEL, noise=0.11).regressed


def test_the_tolerance_of_scores_without_a_range_is_a_share_of_each_and_of_a_typical_one():
    before = np.array([*np.full(255, 100.0), 0.0])
    after = before + np.array([*np.full(255, 1.5), 0.9])
    found = of_pairs(before, after, FREE, LEVEL)
    assert (found.worse, found.better) == (255, 0)
    assert of_pairs(before, before + 0.9, FREE, LEVEL).worse == 0


def test_of_a_wide_range_the_tolerance_is_its_share():
    before = np.full(64, 50.0)
    assert of_pairs(before, before - 0.9, Scale(0.0, 100.0, True), LEVEL).worse == 0
    assert of_pairs(before, before - 1.1, Scale(0.0, 100.0, True), LEVEL).worse == 64


def test_one_input_in_a_hundred_is_no_regression_however_many_there_are():
    before = np.full(10_000, 0.5)
    after = before - 0.4 * (np.arange(10_000) % 100 == 0)
    assert not of_pairs(before, after, UNIT, LEVEL).regressed
    assert of_pairs(before, before - 0.4 * (np.arange(10_000) % 60 == 0), UNIT, LEVEL).regressed


def test_recorded_scores_lose_less_than_counts():
    scores = np.random.default_rng(0).uniform(-1, 1, 1000)
    assert np.abs(rounded(scores) - scores).max() < WORSE_BY / 20
    assert rounded([nan, 0.0, 123456.0]).tolist()[1:] == [0.0, 123500.0]
    assert of_pairs(rounded(scores), scores, PROBABILITY, LEVEL).worse == 0


def test_noise_is_told_by_two_runs():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 4000)
    again = scores + rng.normal(0, 0.01, 4000)
    assert noise_of(scores, again) == pytest.approx(2 * 1.96 * 0.01, rel=0.1)
    assert noise_of(scores, np.full(4000, nan)) == noise_of([], []) == 0.0
    assert noise_of(scores, scores) == 0.0


def test_two_samples_are_told_apart_by_more_than_the_margin():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.4, 0.6, 500)
    assert of_samples(before, rng.uniform(0.2, 0.4, 500), UNIT, LEVEL).regressed
    assert not of_samples(before, rng.uniform(0.2, 0.4, 500), Scale(0.0, 1.0, False), LEVEL).regressed
    assert not of_samples(before, rng.uniform(0.39, 0.59, 500), UNIT, LEVEL).regressed
    assert of_samples(10 * before, 10 * before - 2, Scale(0.0, 10.0, True), LEVEL).regressed


def test_intervals_show_a_regression_where_they_lie_apart():
    assert of_intervals((0.5, 0.6), (0.3, 0.4), higher_is_better=True, confidence=0.95).regressed
    assert not of_intervals((0.5, 0.6), (0.3, 0.4), higher_is_better=False, confidence=0.95).regressed
    found = of_intervals((0.5, 0.6), (0.3, 0.5), higher_is_better=True, confidence=0.95)
    assert (found.status, found.confidence) == ("kept", pytest.approx(0.9))
    assert of_intervals((nan, nan), (0.3, 0.5), higher_is_better=True, confidence=0.95).status == "refused"


# ----------------------------------------------------------------------------------------------------- simulated rates


def planted(run, n=256, *, wrong=0.05, noise=0.0, better=0.04):
    """Return whether maps that are wrong for so many inputs are found; a few of them score better by luck."""
    rng = np.random.default_rng([run, n])
    before, bad = rng.beta(4, 2, n), rng.uniform(size=n) < wrong
    sign = np.where(rng.uniform(size=n) < better, 0.3, -1.0)
    after = before + np.where(bad, sign * rng.uniform(0.1, 0.8, n), 0.0) + noise * rng.normal(size=n)
    runs = [before + noise * rng.normal(size=n) for _ in range(2)]
    spread = noise_of(*runs) if noise else 0.0
    return of_pairs(rounded(runs[0]), after, PROBABILITY, LEVEL, noise=spread).regressed


def unchanged(run, n=256, *, noise=0.05, spread=None):
    """Return whether scores that are drawn again, with heavy tails, seem to be worse."""
    rng = np.random.default_rng([run, n, 1])
    means = rng.uniform(-0.5, 0.5, n)
    runs = [np.clip(means + noise * rng.standard_t(2, n) * rng.exponential(1, n), -1, 1) for _ in range(3)]
    known = noise_of(runs[0], runs[2]) if spread is None else spread
    return of_pairs(runs[0], runs[1], PROBABILITY, LEVEL, noise=known).regressed


def test_one_wrong_map_in_twenty_is_found():
    assert sum(planted(run) for run in range(100)) >= 88
    assert sum(planted(run, noise=0.01) for run in range(100)) >= 88


def test_scores_that_are_drawn_anew_are_rarely_worse():
    assert sum(unchanged(run, spread=0.0) for run in range(200)) <= 18
    assert sum(unchanged(run) for run in range(200)) <= 10


@pytest.mark.slow
def test_power():
    assert rate_at_least(planted, 0.9) >= 0.9
    assert rate_at_least(lambda run: planted(run, noise=0.01), 0.9) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("spread", [None, 0.0, 0.1])
@pytest.mark.parametrize("n", [16, 256])
def test_false_alarms(n, spread):
    assert rate_at_most(lambda run: unchanged(run, n, spread=spread), 0.05) <= 0.05


@pytest.mark.slow
def test_false_alarms_of_two_samples():
    def happens(run):
        rng = np.random.default_rng([run, 7])
        before, after = rng.uniform(size=(2, 64)) < 0.3
        return of_samples(before, after, UNIT, LEVEL).regressed

    assert rate_at_most(happens, 0.05, most=2000) <= 0.05
