"""Groups of inputs: one observation each, and no outcome that the mean over inputs does not bear out."""

from __future__ import annotations

import numpy as np
import pytest
from rates import rate_at_most

from pytest_xaisanity.statistics.grouped import LEFT_OUT, Grouped, pair_groups
from pytest_xaisanity.statistics.question import Level, Question, looks

pytestmark = pytest.mark.long

LEVEL = Level(0.95)
SHARE = Question(0.0, 1.0, 0.5, margin=0.1)


def means_one_by_one(values, groups):
    """Average each group in a dictionary, in the order in which groups come."""
    members: dict[int, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    return [sum(one) / len(one) for one in members.values()], [one[0] for one in members.values()]


@pytest.mark.parametrize("seed", range(5))
def test_means_and_first_members_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    lo, groups = rng.random(40), rng.integers(7, size=40) * 5
    hi = lo + rng.random(40)
    grouped = Grouped.of(lo, hi, groups)
    for place, ends in enumerate((lo, hi)):
        means, firsts = means_one_by_one(ends, groups)
        assert grouped.means()[place].tolist() == pytest.approx(means)
        assert grouped.firsts()[place].tolist() == firsts
    assert grouped.count == len(set(groups.tolist()))


@pytest.mark.parametrize("final", [False, True])
def test_inputs_in_groups_of_their_own_are_decided_as_without(final):
    z = np.random.default_rng(0).random(32)
    assert Grouped.of(z, z).decide(SHARE, LEVEL, final=final)[:2] == SHARE.decide(z, z, LEVEL, final=final)[:2]
    own = Grouped.of(z, z, 100 - np.arange(32)).decide(SHARE, LEVEL, final=True)
    assert own == SHARE.decide(z, z, LEVEL, final=True)


@pytest.mark.parametrize("z", [0.0, 0.5, 1.0])
def test_one_group_decides_nothing_however_many_inputs(z):
    decision = Grouped.of(np.full(500, z), np.full(500, z), np.zeros(500)).decide(SHARE, LEVEL, final=True)
    assert decision.outcome == "inconclusive"
    assert decision.interval[0] <= z <= decision.interval[1]


def test_flags_of_groups_are_decided_as_means():
    flags, groups = np.tile([1.0, 1.0, 1.0, 0.0], 40), np.arange(160) // 2
    asked = Question.of_share(0.5)
    decision = Grouped.of(flags, flags, groups).decide(asked, Level(0.95, early=False), final=True)
    assert (decision.outcome, decision.decided_by) == ("passed", "Gaffke's bound")


def test_a_few_odd_inputs_do_not_outvote_a_large_group():
    """Whatever single inputs show, most inputs are in one group, which shows the opposite."""
    values, groups = np.repeat([0.0, 1.0], [100, 30]), np.concatenate([np.zeros(100), np.arange(1, 31)])
    for scores, question in ((values, SHARE), (1 - values, SHARE), (values, Question(0, 1, 0.5, "below", 0.1))):
        for final in (False, True):
            decision = Grouped.of(scores, scores, groups).decide(question, LEVEL, final=final)
            assert decision.outcome == ("inconclusive" if final else None)
        low, high = decision.interval
        assert low <= scores.mean() <= high


@pytest.mark.parametrize("groups", [[0], [0, 1, 2]])
def test_lengths_must_fit(groups):
    with pytest.raises(ValueError, match="same length"):
        Grouped.of([0.5, 0.5], [0.5, 0.5], groups)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_outcome_alone_is_that_of_the_decision(final, seed):
    rng = np.random.default_rng(seed)
    z, groups = rng.random(48) * (0.4 + 0.1 * seed), rng.integers(40, size=48)
    grouped = Grouped.of(z, z, groups if seed % 2 else None)
    decision = grouped.decide(SHARE, LEVEL, final=final)
    assert grouped.outcome(SHARE, LEVEL, final=final) == (decision.outcome, decision.decided_by)


def test_what_is_left_out_counts_in_the_mean_over_inputs_alone():
    z, groups = np.array([0.0, 1.0, 0.2, 0.4]), [0, LEFT_OUT, 2, 0]
    grouped = Grouped.of(z, z, groups)
    assert grouped.count == 2
    assert grouped.means()[0].tolist() == [0.2, 0.2]
    assert grouped.firsts()[0].tolist() == [0.0, 0.2]
    most = np.r_[np.ones(40), np.zeros(60)]
    numbers = np.r_[np.arange(40), np.full(60, LEFT_OUT)]
    assert Grouped.of(most, most, numbers).decide(SHARE, LEVEL, final=True).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("groups", "pairs"),
    [
        ([0, 1, 2, 3, 4, 5], [0, 1, 2]),
        ([0, 0, 0, 0, 0, 0, 0], [0, 0, 0]),
        ([0, 1, 1, 0, 2, 3], [0, 0, 2]),
        ([0, 1, 1, 2, 2, 3], [0, LEFT_OUT, 2]),
        ([0, 1, 2, 3, 4], [0, 1]),
        ([0, 1, 2, 3, 0], [0, LEFT_OUT]),
        ([0], [0]),
    ],
)
def test_pairs_that_share_a_group_with_another_are_no_observation_more(groups, pairs):
    assert pair_groups(groups).tolist() == pairs


@pytest.mark.parametrize("seed", range(4))
def test_groups_of_pairs_share_no_input_group_and_do_not_depend_on_later_ones(seed):
    groups = np.random.default_rng(seed).integers(30, size=100)
    pairs = pair_groups(groups)
    members = {
        pair: {int(g) for k in np.flatnonzero(pairs == pair) for g in groups[2 * k : 2 * k + 2]} for pair in pairs
    }
    members.pop(LEFT_OUT)
    assert sum(map(len, members.values())) == len(set.union(*members.values()))
    assert pair_groups(groups[:40]).tolist() == pairs[:20].tolist()


def outlook_of(z, groups=None, question=SHARE):
    return Grouped.of(z, z, groups).outlook(question, LEVEL)


def test_what_would_settle_it_is_said_of_groups_where_there_are_some():
    rng = np.random.default_rng(0)
    z, groups = rng.random(60) + 0.1 * (rng.random(60) < 0.5), np.arange(60) // 2
    z = z.clip(0, 1)
    alone, grouped = outlook_of(z), outlook_of(z, groups)
    assert (alone.grouped, grouped.grouped) == (False, True)
    assert outlook_of(np.ones(100), np.arange(100) % 3).hindrance == "no others"
    assert outlook_of(np.ones(6), np.arange(6) // 2)[:2] == (5, "few")
    odds = np.repeat([0.0, 1.0], [100, 30])
    assert outlook_of(odds, np.concatenate([np.zeros(100), np.arange(1, 31)])).hindrance == "at odds"


def clustered(rng, n, *, size, share=0.5):
    """Return scores that are all or nothing for a whole cluster, and the clusters, which come mixed."""
    groups = rng.integers(max(1, n // size), size=n)
    won = rng.random(n) < share
    return won[groups].astype(float), groups


def outcome(scores, groups):
    """Return the outcome over all looks."""
    for count in looks(len(scores)):
        part = Grouped.of(scores[:count], scores[:count], groups[:count])
        decision = part.decide(SHARE, LEVEL, final=count == len(scores))
        if decision.outcome is not None:
            return decision.outcome
    raise AssertionError("the last look gave no outcome")


def happens(what, n, size, share):
    """Return a function from the number of a run to whether its claim had an outcome."""

    def happened(number):
        return outcome(*clustered(np.random.default_rng([number, n, size]), n, size=size, share=share)) == what

    return happened


QUICK = [("passed", 64, 8, 0.5), ("failed", 64, 4, 0.6)]
FULL = [
    (what, n, size, share)
    for what, share in (("passed", 0.5), ("failed", 0.6))
    for n in (16, 64, 256)
    for size in (2, 8, 64)
]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "n", "size", "share"), QUICK)
def test_clusters_at_the_threshold_are_seldom_decided_wrongly(what, n, size, share, monkeypatch):
    """All-or-nothing shares at one half, the same within a cluster; and at 0.6, where a fail would be wrong."""
    monkeypatch.setattr("pytest_xaisanity.statistics.question._Plan.lower_bound", lambda _plan, _z: 0.0)
    assert rate_at_most(happens(what, n, size, share), 0.05) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("what", "n", "size", "share"), FULL)
def test_clusters_of_any_size_are_seldom_decided_wrongly(what, n, size, share, monkeypatch):
    """The same for other numbers and sizes."""
    monkeypatch.setattr("pytest_xaisanity.statistics.question._Plan.lower_bound", lambda _plan, _z: 0.0)
    assert rate_at_most(happens(what, n, size, share), 0.05) <= 0.05
