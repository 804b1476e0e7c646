"""Pairs of inputs of one target that have one map."""

from __future__ import annotations

import numpy as np
import pytest
from rates import rate_at_most

from pytest_xaisanity.claims.same_maps import SameMaps
from pytest_xaisanity.statistics.question import Level

LEVEL = Level(0.95)


def flagged(share, n, seed=0):
    return SameMaps(tuple((np.random.default_rng(seed).random(n) < share).tolist()))


def test_pairs_are_of_one_target_and_of_different_inputs():
    """By hand: 0 and 2 share a map; 1 and 4 are equal inputs; 3 and 5 have maps of their own; 6 waits for another."""
    groups = np.array([[0, 0], [1, 1], [0, 2], [3, 3], [1, 1], [5, 5], [0, 6]])
    assert SameMaps.of(groups, [(0,), (1,), (0,), (2,), (1,), (2,), (0,)]).flags == (True, False)


def test_pairs_of_the_first_inputs_do_not_depend_on_the_later_ones():
    rng = np.random.default_rng(0)
    groups = np.column_stack([rng.integers(0, 9, 60), np.arange(60)])
    targets = [(int(one),) for one in rng.integers(0, 3, 60)]
    every = SameMaps.of(groups, targets).flags
    for n in range(60):
        some = SameMaps.of(groups[:n], targets[:n]).flags
        assert every[: len(some)] == some


def test_without_groups_there_are_no_pairs():
    same = SameMaps.of(None, [(0,)] * 8)
    assert (same.flags, same.share, same.many, same.shown(LEVEL, final=True)) == ((), 0.0, False, None)


def test_one_map_for_all_is_shown_with_few_pairs_and_none_never():
    assert flagged(1.0, 12).shown(LEVEL, final=True).outcome == "failed"
    assert flagged(0.0, 200).shown(LEVEL, final=True) is None


def test_the_share_is_told():
    same = SameMaps((True, True, False, True))
    assert (same.share, same.many) == (0.75, True)
    assert str(same) == "3 of 4 pairs of inputs of one target share one map"
    assert same.plain() == {"same_maps": {"pairs": 4, "same": 3}}
    assert list(SameMaps((False,)).rows()) == []


def test_the_error_is_split():
    """A tenth for equal maps, the rest for what else may fail a claim."""
    assert SameMaps.left(LEVEL).fail_share == pytest.approx(0.9)


@pytest.mark.slow
@pytest.mark.parametrize("n", [16, 128])
def test_a_third_of_the_pairs_fails_seldom(n):
    def fails(run):
        return flagged(1 / 3, n, run).shown(LEVEL, final=True) is not None

    assert rate_at_most(fails, 0.005, most=2000) <= 0.015
