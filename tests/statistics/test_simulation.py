"""False alarms and power of whole verdicts, all looks included, by seeded simulation.

A false alarm is a claim that passes although its null holds. ``pytest -m slow`` runs every distribution, in both
directions, those too whose rate comes so close to 1 - confidence that it takes many runs to tell them apart.
"""

from __future__ import annotations

import numpy as np
import pytest
from rates import rate_at_least, rate_at_most

from pytest_xaisanity.statistics import question as V
from pytest_xaisanity.statistics.question import looks
from pytest_xaisanity.statistics.shares import beaten_shares

pytestmark = pytest.mark.long

CONFIDENCE = 0.95


def run(scores, *, low=-1.0, high=1.0, threshold=0.0, direction="above", kind="mean"):
    """Return the outcome of one claim and how many inputs it took: what the deciders do, less their intervals."""
    for look in looks(len(scores)):
        final = look == len(scores)
        seen = scores[:look]
        question = V.Question(low, high, threshold, direction, kind=kind)
        plan = V._Plan.of(V._TOOLS[kind], V.Level(CONFIDENCE), look, final=final)
        outcome, _ = question._unit(seen, seen).decide(plan, plan)
        if outcome:
            return outcome, look
    raise AssertionError("the last look gave no outcome")


def passes(draw, n, **settings):
    """Return a function from the number of a run to whether its claim passed: the same numbers in every test."""
    return lambda number: run(draw(np.random.default_rng([number, n]), n), **settings)[0] == "passed"


def seldom(passed, **runs):
    """Return whether a false alarm is shown to be no more frequent than the confidence allows."""
    return rate_at_most(passed, 1 - CONFIDENCE, **runs) <= 1 - CONFIDENCE


def rare(p, sign):
    """Return a distribution of mean 0: a score near ``sign`` with probability ``p``, else a small opposite one."""

    def draw(rng, n):
        large = rng.random(n) < p
        return sign * np.where(large, 0.95, -0.95 * p / (1 - p)) + rng.uniform(-0.02, 0.02, n)

    return draw


def coin(p, heads, tails):
    """Return a distribution of two values."""
    return lambda rng, n: np.where(rng.random(n) < p, heads, tails)


def beta(a, b):
    """Return a beta distribution moved to [-1, 1]."""
    return lambda rng, n: 2 * rng.beta(a, b, n) - 1


DISTRIBUTIONS = {  # a distribution on [-1, 1], and its mean
    "normal": (lambda rng, n: rng.normal(0, 0.3, n).clip(-1, 1), 0.0),
    "uniform": (lambda rng, n: rng.uniform(-1, 1, n), 0.0),
    "rarely large, 10 %": (rare(0.1, 1), 0.0),
    "rarely large, 2 %": (rare(0.02, 1), 0.0),
    "rarely small, 2 %": (rare(0.02, -1), 0.0),
    "rarely small, 0.5 %": (rare(0.005, -1), 0.0),
    "fair coin": (coin(0.5, 1.0, -1.0), 0.0),
    "small fair coin": (coin(0.5, 0.1, -0.1), 0.0),
    "coin of 5 %": (coin(0.05, 1.0, 0.0), 0.05),
    "coin of 95 %": (coin(0.95, 1.0, 0.0), 0.95),
    "three values": (lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n, p=[0.1, 0.8, 0.1]), 0.0),
    "three skewed values": (lambda rng, n: rng.choice([-1.0, 0.0, 0.1], n, p=[0.05, 0.45, 0.5]), 0.0),
    "heavy ties": (lambda rng, n: (np.round(rng.normal(0, 0.2, n) * 5) / 5).clip(-1, 1), 0.0),
    "at the upper end": (beta(2, 0.1), 2 * 2 / 2.1 - 1),
    "at the lower end": (beta(0.1, 2), 2 * 0.1 / 2.1 - 1),
    "a constant": (lambda _rng, n: np.zeros(n), 0.0),
}
SIZES = [8, 16, 64, 256]
QUICK = [8, pytest.param(16, marks=pytest.mark.slow), 64, pytest.param(256, marks=pytest.mark.slow)]


@pytest.mark.parametrize("n", QUICK)
@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("rarely large, 2 %", "above"),
        ("rarely small, 2 %", "above"),
        ("heavy ties", "below"),
        ("at the lower end", "below"),
    ],
)
def test_means_at_the_threshold_seldom_pass(name, direction, n):
    """``changes_under`` and ``bounded``: a bounded mean, betting at every look and Gaffke's bound at the last."""
    draw, mean = DISTRIBUTIONS[name]
    assert seldom(passes(draw, n, threshold=mean, direction=direction))


SYMMETRIC = ("normal", "uniform", "fair coin", "small fair coin", "three values", "heavy ties", "a constant")
DIRECTED = [  # what is symmetric around its mean of 0 is the same in both directions, mirrored
    (name, direction)
    for name in DISTRIBUTIONS
    for direction in (("above",) if name in SYMMETRIC else ("above", "below"))
]


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("name", "direction"), DIRECTED)
def test_means_at_the_threshold_seldom_pass_whatever_the_distribution(name, direction, n):
    """The same for every distribution, among them those whose rate comes closest to 1 - confidence."""
    draw, mean = DISTRIBUTIONS[name]
    assert seldom(passes(draw, n, threshold=mean, direction=direction))


@pytest.mark.parametrize("n", QUICK)
def test_no_better_than_another_seldom_passes(n):
    """``beats`` another explainer: paired differences of scores of the same distribution, a quarter of them tied."""

    def draw(rng, n):
        difficulty = rng.uniform(0.2, 0.8, n)
        own, other = (np.clip(difficulty + rng.exponential(0.2, n) - 0.2, 0, 1) for _ in range(2))
        return np.where(rng.random(n) < 0.25, 0.0, own - other)

    assert seldom(passes(draw, n))


def against_random(rng, n, *, orders=10, levels=20, advantage=0.0):
    """Return scores of an explainer and of random orders: they tie, and each input has a scale of its own."""
    center, spread = rng.uniform(0.3, 0.7, (n, 1)), rng.uniform(0.01, 0.2, (n, 1))
    scores = center + spread * rng.standard_normal((n, orders + 1))
    scores[:, :1] += advantage * spread
    scores = (np.round(scores * levels) / levels).clip(0, 1)
    return scores[:, 0], scores[:, 1:]


def passes_against_random(n, **settings):
    """Return a function from the number of a run to whether its claim to beat random orders passed."""

    def passed(number):
        own, random = against_random(np.random.default_rng([number, n]), n, **settings)
        return run(beaten_shares(own, random), low=0.0, threshold=0.5)[0] == "passed"

    return passed


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
def test_no_better_than_random_seldom_passes(n):
    """``beats("random")``, of scores that are exchangeable with those of the random orders."""
    assert seldom(passes_against_random(n))


@pytest.mark.parametrize("n", QUICK)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shares_at_the_threshold_seldom_pass(n, share):
    """``invariant_under``: a share of inputs, betting at every look and the exact bound at the last."""
    assert seldom(passes(coin(share, 1.0, 0.0), n, low=0.0, threshold=share, kind="share"))


@pytest.mark.parametrize(("effect", "n"), [pytest.param(0.3, 16, marks=pytest.mark.slow), (0.15, 64), (0.1, 256)])
def test_paired_effects_are_found(effect, n):
    """Of sd 0.2, in [-1, 1], with power 0.9 or more."""
    assert rate_at_least(passes(lambda rng, n: rng.normal(effect, 0.2, n).clip(-1, 1), n), 0.9) >= 0.9


def test_an_advantage_over_random_orders_is_found():
    """Of one standard deviation of the random orders, however small that is, at 32 inputs."""
    assert rate_at_least(passes_against_random(32, advantage=1.0), 0.9) >= 0.9


def test_clear_effects_stop_early():
    """At the first or second look."""
    outcomes = [run(np.random.default_rng(i).normal(0.4, 0.2, 256).clip(-1, 1)) for i in range(200)]
    assert {outcome for outcome, _ in outcomes} == {"passed"}
    assert np.mean([look for _, look in outcomes]) <= 32
