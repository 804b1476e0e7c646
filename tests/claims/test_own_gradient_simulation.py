"""Wrong decisions beside the network's own gradient, of which no more is known than the inputs tell, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from rates import rate_at_least, rate_at_most

from pytest_xaisanity.claims.retention import Between, Bounds, OwnLoss, Retained
from pytest_xaisanity.statistics.question import Level, looks

R = 0.5
NEAR_ZERO = 0.0, 0.1


def kept_by_coin(rng, share, coins, chance):
    """Return similarities in pairs of inputs, all of which is kept where a coin says so, and none where it does not."""
    return np.repeat(np.where(coins < share, 1.0, rng.uniform(*chance, len(coins))), 2)


def drawn(run, n, *, gradient, left, how, chance=NEAR_ZERO):
    """Return similarities after and by chance, of an explainer and of the gradient, of which these shares are kept.

    ``how`` says what coins have to do with one another: nothing, all, or that one is kept where the other one is lost.
    Scores fill the range that they may have where similarities by chance are 0: the worst for the tools.
    """
    rng = np.random.default_rng([run, n])
    coins = rng.random(n // 2)
    others = {"free": rng.random(n // 2), "same": coins, "opposed": 1 - coins}[how]
    found = [kept_by_coin(rng, left, coins, chance), np.repeat(rng.uniform(*chance, n // 2), 2)]
    found += [kept_by_coin(rng, gradient, others, chance), np.repeat(rng.uniform(*chance, n // 2), 2)]
    return [2 * one - 1 for one in found]


def outcome(found, *, early, fail_share=1 / 3):
    """Return what a claim says of the upper third: as claimed, and beside the gradient where that is no pass."""
    n = len(found[0])
    for count in looks(n) if early else [n]:
        after, chance, gradient, others = (one[:count] for one in found)
        level, final = Level(0.95, early, fail_share=fail_share, looked=count > 32), count == n
        if count <= 16:
            continue
        loss = OwnLoss(1 - gradient, 1 - others)
        left = Retained(*(Between(one, one) for one in (after, np.ones(count), chance)), gradient=loss)
        said = left.test_between(Bounds.beside(R), level, final=final)[0]
        if said in ("failed", "inconclusive"):
            said = left.test_between(loss.bounds(R), level, final=final)[0]
        if said is not None:
            return said
    raise AssertionError("the last look gave no verdict")


# What is kept of a gradient: where bounds begin to rise, where those of a fail meet, and more.
CASES = [(0.15, "same"), (0.25, "free"), (0.4, "opposed"), (0.8, "free")]


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["passed", "failed"])
@pytest.mark.parametrize(("gradient", "how"), CASES)
def test_wrong_decisions_are_rare(wrong, gradient, how):
    """What is left is exactly the bound that belongs to what is truly kept of the gradient."""
    passes, fails = Bounds.beside(R, gradient)
    left = (passes if wrong == "passed" else fails).share

    def is_wrong(run):
        found = drawn(run, 96, gradient=gradient, left=left, how=how)
        return outcome(found, early=run % 4 == 0) == wrong

    assert rate_at_most(is_wrong, 0.05) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("n", "gradient"), [(32, 0.28), (64, 0.25), (96, 0.24)])
def test_wrong_fails_are_rare_where_few_inputs_may_hide_that_bounds_rise(n, gradient):
    """The gradient keeps more than where bounds begin to rise, and is often estimated to keep less."""
    left = Bounds.beside(R, gradient).fails.share

    def is_wrong(run):
        found = drawn(run, n, gradient=gradient, left=left, how="opposed")
        return outcome(found, early=run % 4 == 0, fail_share=0.5) == "failed"

    assert rate_at_most(is_wrong, 0.05) <= 0.05


def drawn_alike(run, n, *, gradient, left, room):
    """Return the same where gradients of other inputs are alike, on average but for so much, from 0 to 2."""
    rng = np.random.default_rng([run, n])
    coins = rng.random(n // 2)

    def others():
        return 1 - 2 * rng.beta(1.5 * room, 1.5 * (2 - room), n // 2)

    found = [np.where(coins < left, 1.0, -1.0), np.full(n // 2, -1.0)]
    found += [np.where(1 - coins < gradient, 1.0, others()), others()]
    return [np.repeat(one, 2) for one in found]


@pytest.mark.slow
def test_wrong_passes_are_rare_where_gradients_of_other_inputs_are_alike():
    """What a pair then says of the gradient is far more than there is room for in what it says of the maps."""
    left = Bounds.beside(R, 0.3).passes.share

    def is_wrong(run):
        return outcome(drawn_alike(run, 128, gradient=0.3, left=left, room=0.6), early=run % 4 == 0) == "passed"

    assert rate_at_most(is_wrong, 0.05) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["passed", "failed"])
@pytest.mark.parametrize("gradient", [0.25, 0.5])
@pytest.mark.parametrize(("n", "room"), [(32, 0.15), (96, 0.12), (96, 0.2), (256, 0.12)])
def test_wrong_decisions_are_rare_where_gradients_of_other_inputs_are_hardly_told_apart(n, room, gradient, wrong):
    """A ratio of what is hardly there is no estimate: nothing fails on it, and what passes does so without it."""
    passes, fails = Bounds.beside(R, gradient)
    left = (passes if wrong == "passed" else max(passes, fails)).share
    share = 0.5 if wrong == "failed" else 1 / 3

    def is_wrong(run):
        found = drawn_alike(run, n, gradient=gradient, left=left, room=room)
        return outcome(found, early=run % 4 == 0, fail_share=share) == wrong

    assert rate_at_most(is_wrong, 0.05) <= 0.05


def test_gradients_are_told_apart_or_shown_to_be_as_alike_or_neither():
    said = {}
    for room in (0.02, 0.1, 0.8):
        _, _, gradient, others = drawn_alike(0, 512, gradient=0.5, left=0.5, room=room)
        said[room] = OwnLoss(1 - gradient, 1 - others)
    assert {room: one.told_apart for room, one in said.items()} == {0.02: False, 0.1: None, 0.8: True}
    assert said[0.02].bounds(R) == Bounds.beside(R)
    assert said[0.1].bounds(R) == Bounds.unknown(R) == (Bounds.beside(R).passes, (1.0, 0.0))
    assert said[0.8].kept == pytest.approx(0.5, abs=0.2)


def test_no_pair_is_clipped_for_what_it_says_of_the_gradient():
    """The mean of what decides is what is left above the bound, as residuals are 0 on average."""
    after, chance, gradient, others = drawn_alike(1, 256, gradient=0.3, left=0.5, room=0.3)
    loss = OwnLoss(1 - gradient, 1 - others)
    found = Retained(*(Between(one, one) for one in (after, np.ones(256), chance)), gradient=loss)
    bound = loss.bounds(R).passes
    expected = after.mean() - chance.mean() - bound.share * (1 - chance.mean())
    assert found._asked(*bound)[1].mean == pytest.approx(expected)


def test_a_gradient_that_is_only_estimated_is_not_taken_for_known():
    """The variance of what decides is that of what is left and that of the bound, where the two are independent."""
    after, chance, gradient, others = drawn(0, 20_000, gradient=0.4, left=0.65, how="free")
    loss = OwnLoss(1 - gradient, 1 - others)
    found = Retained(*(Between(one, one) for one in (after, np.ones(20_000), chance)), gradient=loss)
    bound = loss.bounds(R).passes
    known, estimated = (found._asked(bound.share, slope)[1].lo.var() for slope in (0.0, bound.slope))
    room = (1 - chance).mean()
    assert estimated == pytest.approx(known + (bound.slope * room) ** 2 * loss.errors.var(), rel=0.03)


@pytest.mark.slow
def test_power_beside_an_estimate():
    """What loses as much as the gradient passes, also where that is little; what keeps all fails where it is much."""
    assert (
        rate_at_least(
            lambda run: (
                outcome(drawn(run, 192, gradient=0.7, left=0.7, how="same", chance=(0, 0.6)), early=False) == "passed"
            ),
            0.9,
        )
        > 0.9
    )
    assert (
        rate_at_least(
            lambda run: outcome(drawn(run, 192, gradient=0.25, left=1.0, how="free"), early=False) == "failed", 0.9
        )
        > 0.9
    )
