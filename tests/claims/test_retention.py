"""The share that is left: its estimate, its interval, and the test that both belong to."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from rates import rate_at_most

from pytest_xaisanity.claims.retention import LIMITS, Between, Bound, Bounds, OwnLoss, Retained
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


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in SHARES)])
def test_the_interval_misses_the_share_seldom_and_holds_the_estimate(share):
    """Each side by itself."""

    def drawn(run):
        rng = np.random.default_rng(run)
        chance, own = rng.uniform(-0.2, 0.2, 64), np.ones(64)
        after = chance + share * (own - chance)
        room = np.minimum(1 - after, after + 1)
        return retained(after + room * rng.uniform(-1, 1, 64), own, chance)

    @cache
    def interval(run):
        found = drawn(run)
        low, high = found.interval(Bounds.beside(0.5), LEVEL, final=True)
        assert LIMITS[0] <= low <= found.estimate <= high <= LIMITS[1]
        return low, high

    def misses(side):
        def missed(run):
            low, high = interval(run)
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
        low, high = drawn(run).interval(Bounds.beside(0.5), LEVEL, final=True)
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
        low, high = found.interval(Bounds.beside(0.5), LEVEL, final=True)
        assert {"passed": high <= 0.5, "failed": low >= 0.5, "inconclusive": low < 0.5 < high}[outcome]


def shares(bounds):
    """Return the share up to which a claim passes, and that above which it fails."""
    return bounds.passes.share, bounds.fails.share


class TestBounds:
    def test_without_a_gradient_both_are_what_was_claimed(self):
        assert Bounds.beside(0.5) == (Bound(0.5), Bound(0.5))

    @pytest.mark.parametrize(
        ("kept", "passes", "fails"),
        [
            (-0.5, 0.5, 0.5),
            (0.0, 0.5, 0.5),
            (0.15, 0.5, 0.5),
            (0.32, 0.6, 0.755),
            (0.66, 0.8, 0.898),
            (1.0, 1.0, 1.0),
            (1.2, 1.0, 1.0),
        ],
    )
    def test_they_follow_what_the_gradient_loses(self, kept, passes, fails):
        """By hand: 1 - 0.5 * 0.68 / 0.85 = 0.6 and 0.5 + 1.5 * 0.17, or 1 - 0.3 * 0.34 = 0.898."""
        assert shares(Bounds.beside(0.5, kept)) == pytest.approx((passes, fails))

    @pytest.mark.parametrize("r", [0.0, 0.2, 0.5, 0.9, 1.0])
    def test_they_rise_without_a_jump_and_never_cross(self, r):
        found = [shares(Bounds.beside(r, kept)) for kept in np.linspace(-0.2, 1.2, 141)]
        assert all(r <= passes <= fails <= 1.0 for passes, fails in found)
        assert max(b - a for one, other in pairwise(found) for a, b in zip(one, other, strict=True)) < 0.021
        assert min(b - a for one, other in pairwise(found) for a, b in zip(one, other, strict=True)) >= -1e-9

    @pytest.mark.parametrize("r", [0.2, 0.5, 0.9])
    def test_slopes_are_those_of_the_bounds(self, r):
        for kept in (-0.1, 0.03, 0.1, 0.2, 0.4, 0.6, 0.95):
            below, here, above = (Bounds.beside(r, kept + step) for step in (-1e-6, 0, 1e-6))
            for less, one, more in zip(below, here, above, strict=True):
                assert one.slope == pytest.approx((more.share - less.share) / 2e-6, abs=1e-6)

    @pytest.mark.parametrize(
        ("left", "outcome"), [(0.3, "passed"), (0.75, "inconclusive"), (0.95, "failed"), (0.6, "inconclusive")]
    )
    def test_between_them_nothing_is_decided(self, left, outcome):
        own, chance = np.ones(512), np.zeros(512)
        after = left + np.tile([0.05, -0.05, 0.05, -0.05], 128)
        bounds = Bounds(Bound(0.6), Bound(0.86))
        assert retained(after, own, chance).test_between(bounds, LEVEL, final=True)[0] == outcome

    def test_a_mean_has_them_as_far_as_its_upper_third_does(self):
        """By hand: 0.5 + 0.1 / 4 and 0.5 + 0.255 / 4, which rise a quarter as fast."""
        upper = Bounds.beside(0.5, 0.32)
        whole = upper.of_share(0.25, 0.5)
        assert shares(whole) == pytest.approx((0.525, 0.56375))
        assert [one.slope for one in whole] == pytest.approx([one.slope / 4 for one in upper])
        assert Bounds.beside(0.5, 0.1).of_share(1 / 3, 0.5) == Bounds.beside(0.5)

    @pytest.mark.parametrize(("error", "rises"), [(0.0, False), (0.04, False), (0.06, True)])
    def test_a_fail_is_held_against_what_rises_where_the_estimate_may_have_hidden_it(self, error, rises):
        """Of a gradient that keeps 10 %, give or take 6, more than 50 % is no fail by itself."""
        bounds = Bounds.beside(0.5, 0.1, error)
        assert shares(bounds) == (0.5, 0.5)
        assert (bounds.rising != bounds.passes) == rises

    def test_an_interval_never_contradicts_what_is_said_between_the_bounds(self):
        """Of a fail the bound rises faster than of a pass, so that its test knows less of it."""
        seen = set()
        for run in range(60):
            rng = np.random.default_rng(run)
            chance = np.repeat(rng.uniform(0, 0.1, 32), 2)
            after = np.where(np.repeat(rng.random(32), 2) < 0.9, 1.0, chance)
            gradient = np.where(np.repeat(rng.random(32), 2) < 0.25, 1.0, chance)
            loss = OwnLoss(1 - gradient, 1 - chance)
            found = Retained(*(Between(one, one) for one in (after, np.ones(64), chance)), gradient=loss)
            bounds = loss.bounds(0.5)
            outcome = found.test_between(bounds, LEVEL, final=True)[0]
            low, high = found.interval(bounds, LEVEL, final=True)
            passes, fails = shares(bounds)
            assert low <= found.estimate <= high
            assert {"passed": high <= passes, "failed": low >= fails, "inconclusive": low <= fails}[outcome]
            seen.add(outcome)
        assert seen >= {"failed", "inconclusive"}

    @pytest.mark.slow
    @pytest.mark.parametrize(("left", "wrong"), [(0.6, "passed"), (0.86, "failed")])
    def test_wrong_decisions_at_the_bounds_are_rare(self, left, wrong):
        """Retention is exactly the bound, in pairs that are kept or lost by a coin."""

        def is_wrong(run):
            rng = np.random.default_rng(run)
            chance = np.repeat(rng.uniform(-0.2, 0.2, 48), 2)
            after = np.where(np.repeat(rng.random(48) < left, 2), 1.0, chance)
            found = retained(after, np.ones(96), chance)
            return found.test_between(Bounds(Bound(0.6), Bound(0.86)), LEVEL, final=True)[0] == wrong

        assert rate_at_most(is_wrong, 0.05) <= 0.05


class TestOwnLoss:
    def test_what_is_kept_is_the_ratio_of_means(self):
        """By hand: of room 0.8 on average 0.6 is lost."""
        loss = OwnLoss(np.array([0.4, 0.8, 0.4, 0.8]), np.array([1.0, 1.0, 0.6, 0.6]))
        assert loss.kept == pytest.approx(0.25)

    def test_gradients_of_other_inputs_that_are_as_alike_tell_nothing(self):
        assert OwnLoss(np.full(8, 0.05), np.full(8, 0.1)).kept is None
        assert OwnLoss(np.full(8, np.nan), np.full(8, np.nan)).kept is None

    def test_errors_are_those_of_leaving_a_pair_out(self):
        """The jackknife is a slow twin: its pseudo-values are 1 - the share, plus the error, to first order."""
        rng = np.random.default_rng(0)
        lost, room = rng.uniform(0.2, 0.8, 400), rng.uniform(0.8, 1.2, 400)
        loss = OwnLoss(lost, room)
        pairs = lost.reshape(-1, 2).mean(1), room.reshape(-1, 2).mean(1)
        without = [1 - np.delete(pairs[0], one).mean() / np.delete(pairs[1], one).mean() for one in range(200)]
        pseudo = 200 * loss.kept - 199 * np.array(without)
        assert loss.errors.mean() == pytest.approx(0, abs=1e-12)
        assert loss.errors == pytest.approx(pseudo - pseudo.mean(), abs=5e-3)

    def test_the_standard_error_is_that_of_the_jackknife(self):
        rng = np.random.default_rng(0)
        lost, room = rng.uniform(0.2, 0.8, 400), rng.uniform(0.8, 1.2, 400)
        pairs = lost.reshape(-1, 2).mean(1), room.reshape(-1, 2).mean(1)
        without = [1 - np.delete(pairs[0], one).mean() / np.delete(pairs[1], one).mean() for one in range(200)]
        jackknife = np.sqrt(199 * np.var(without))
        assert OwnLoss(lost, room).error == pytest.approx(jackknife, rel=0.02)
        groups = np.arange(200) // 2  # by hand: of two pairs in a group the mean counts
        means = OwnLoss(lost, room, groups).errors.reshape(-1, 2).mean(1)
        assert OwnLoss(lost, room, groups).error == pytest.approx(means.std() / 10)

    def test_unknown_gradients_are_left_out(self):
        rng = np.random.default_rng(1)
        lost, room = rng.uniform(0.2, 0.8, 64), rng.uniform(0.8, 1.2, 64)
        some = lost.copy()
        some[:8] = np.nan
        assert OwnLoss(some, room).kept == pytest.approx(OwnLoss(lost[8:], room[8:]).kept)
        assert np.isfinite(OwnLoss(some, room).errors).all()

    def test_a_group_counts_once(self):
        """The first three pairs are one."""
        lost, room = np.array([0.9] * 6 + [0.3, 0.3]), np.ones(8)
        assert OwnLoss(lost, room, np.array([0, 0, 0, 1])).kept == pytest.approx(1 - 0.6)

    def test_the_gradient_itself_is_passed_whatever_it_keeps(self):
        """It loses all that it loses: no luck of the draw makes it fail, however little that is."""
        for run in range(50):
            rng = np.random.default_rng(run)
            chance = rng.uniform(0, 0.6, 200)
            after = np.where(np.repeat(rng.random(100), 2) < 0.7, 1.0, chance)
            loss = OwnLoss(1 - after, 1 - chance)
            found = Retained(*(Between(one, one) for one in (after, np.ones(200), chance)), gradient=loss)
            bounds = Bounds.beside(0.5, loss.kept)
            assert found.test_between(bounds, LEVEL, final=True)[0] == "passed"
            low, high = found.interval(bounds, LEVEL, final=True)
            assert low <= found.estimate <= high <= bounds.passes.share
