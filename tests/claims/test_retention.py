"""The share that is left: its estimate, its interval, and the test that both belong to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from rates import rate_at_most

from pytest_xaisanity.claims.retention import LIMITS, Between, Bounds, Retained
from pytest_xaisanity.statistics.question import Level

LEVEL = Level(0.95, early=False)


def retained(after, own, chance):
    """Return similarities of which each is known."""
    return Retained(*(Between(np.asarray(one, float), np.asarray(one, float)) for one in (after, own, chance)))


def test_nothing_is_clipped_where_cells_are_kept_or_lost_altogether():
    """By hand: after is 1 in three pairs of four and -1 in one, so (0.5 - 0.6) / (1 - 0.6) is left."""
    after = np.repeat(np.tile([1.0, 1.0, 1.0, -1.0], 16), 2)
    found = retained(after, np.ones(128), np.full(128, 0.6))
    assert found.estimate == pytest.approx(-0.25, abs=1e-5)
    assert found.test(0.5, LEVEL, final=True)[0] == "passed"


SHARES = [-1.0, -0.4, 0.0, 0.3, 0.8, 1.0]


@pytest.mark.parametrize("share", [0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in SHARES)])
def test_the_interval_misses_the_share_seldom_and_holds_the_estimate(share):
    """Each side by itself."""

    def drawn(run):
        rng = np.random.default_rng(run)
        chance, own = rng.uniform(-0.2, 0.2, 64), np.ones(64)
        after = chance + share * (own - chance)
        room = np.minimum(1 - after, after + 1)
        return retained(after + room * rng.uniform(-1, 1, 64), own, chance)

    def misses(side):
        def missed(run):
            found = drawn(run)
            low, high = found.interval(0.5, LEVEL, final=True)
            assert LIMITS[0] <= low <= found.estimate <= high <= LIMITS[1]
            return (low if side == "low" else -high) > (share if side == "low" else -share)

        return missed

    for side in ("low", "high"):
        assert rate_at_most(misses(side), 0.05, most=150) <= 0.12


@pytest.mark.slow
@pytest.mark.parametrize("n", [32, 128])
@pytest.mark.parametrize("share", [-1.0, -0.5, 0.0, 0.3, 0.5, 0.8, 1.0])
def test_the_interval_misses_the_share_in_at_most_5_percent_a_side(share, n):
    """An interval misses a share where the test that it inverts excludes it: the test alone is run."""

    def drawn(run):
        rng = np.random.default_rng([run, n])
        chance, own = rng.uniform(0, 0.3, n), np.ones(n)
        after = chance + share * (own - chance)
        room = np.minimum(1 - after, after + 1)
        return retained(after + room * rng.choice([-1.0, -0.2, 0.2, 1.0], n), own, chance)

    def excludes(side):
        return lambda run: drawn(run).test(share, LEVEL, final=True)[0] == side

    for run in range(3):
        low, high = drawn(run).interval(0.5, LEVEL, final=True)
        outcome = drawn(run).test(share, LEVEL, final=True)[0]
        assert {"passed": high <= share, "failed": low >= share, "inconclusive": low <= share <= high}[outcome]
    for side in ("passed", "failed"):
        assert rate_at_most(excludes(side), 0.05) <= 0.05


@pytest.mark.parametrize("left", [0.0, 0.45, 0.5, 0.55, 1.0])
def test_the_interval_never_contradicts_the_outcome(left):
    for run in range(20):
        rng = np.random.default_rng(run)
        found = retained(np.clip(left + 0.3 * rng.standard_normal(48), -1, 1), np.ones(48), np.zeros(48))
        outcome = found.test(0.5, LEVEL, final=True)[0]
        low, high = found.interval(0.5, LEVEL, final=True)
        assert {"passed": high <= 0.5, "failed": low >= 0.5, "inconclusive": low < 0.5 < high}[outcome]


class TestBounds:
    @pytest.mark.parametrize("kept", [None, -0.5, 0.0, 0.15])
    def test_where_hardly_any_of_the_gradient_is_kept_both_are_what_was_claimed(self, kept):
        assert Bounds.beside(0.5, kept) == (0.5, 0.5)

    @pytest.mark.parametrize(
        ("kept", "passes", "fails"), [(0.32, 0.6, 0.864), (0.66, 0.8, 0.932), (1.0, 1.0, 1.0), (1.2, 1.0, 1.0)]
    )
    def test_above_that_they_follow_what_it_loses(self, kept, passes, fails):
        """By hand: 1 - 0.5 * 0.68 / 0.85 = 0.6 and 1 - 0.2 * 0.68 = 0.864."""
        assert Bounds.beside(0.5, kept) == pytest.approx((passes, fails))

    @pytest.mark.parametrize("r", [0.0, 0.2, 0.5, 0.9, 1.0])
    def test_they_rise_without_a_jump_of_what_passes_and_never_cross(self, r):
        found = [Bounds.beside(r, kept) for kept in np.linspace(-0.2, 1.2, 141)]
        assert all(r <= one.passes <= one.fails <= 1.0 for one in found)
        assert max(abs(a.passes - b.passes) for a, b in pairwise(found)) < 0.02

    @pytest.mark.parametrize(
        ("left", "outcome"), [(0.3, "passed"), (0.75, "inconclusive"), (0.95, "failed"), (0.6, "inconclusive")]
    )
    def test_between_them_nothing_is_decided(self, left, outcome):
        own, chance = np.ones(512), np.zeros(512)
        after = left + np.tile([0.05, -0.05, 0.05, -0.05], 128)
        assert retained(after, own, chance).test_between(Bounds(0.6, 0.86), LEVEL, final=True)[0] == outcome

    @pytest.mark.slow
    @pytest.mark.parametrize(("left", "wrong"), [(0.6, "passed"), (0.86, "failed")])
    def test_wrong_decisions_at_the_bounds_are_rare(self, left, wrong):
        """Retention is exactly the bound, in pairs that are kept or lost by a coin."""

        def is_wrong(run):
            rng = np.random.default_rng(run)
            chance = np.repeat(rng.uniform(-0.2, 0.2, 48), 2)
            after = np.where(np.repeat(rng.random(48) < left, 2), 1.0, chance)
            found = retained(after, np.ones(96), chance)
            return found.test_between(Bounds(0.6, 0.86), LEVEL, final=True)[0] == wrong

        assert rate_at_most(is_wrong, 0.05, most=400) <= 0.07
