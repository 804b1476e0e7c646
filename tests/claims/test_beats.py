"""The words and rules of ``beats``: margins, ties, groups, targets, and claims that several make up."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from laboratory import Plain
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.claims.base import Look
from pytest_xaisanity.claims.beats import Beats
from pytest_xaisanity.claims.beats_several import BeatsAcross, BeatsEach
from pytest_xaisanity.claims.by_target import ByTarget, weak_ones
from pytest_xaisanity.claims.groups import Groups
from pytest_xaisanity.claims.make import beats
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.base import Scored
from pytest_xaisanity.statistics.evidence import number
from pytest_xaisanity.statistics.grouped import Grouped
from pytest_xaisanity.statistics.question import Level, Question
from pytest_xaisanity.statistics.verdict import Verdict

torch.set_num_threads(1)


def look(own, other, *, groups=None, targets=(), final=True, confidence=0.95):
    """Return a look at scores of an explainer and of a baseline; groups are by input or map."""
    own, other = np.asarray(own, float)[:, None], np.asarray(other, float).reshape(len(own), -1)
    numbers = None if groups is None else np.column_stack([groups, np.arange(len(own))])
    measured = Scored(own, groups=numbers), Scored(other)
    indices, keys = tuple(range(len(own))), tuple((int(target),) for target in targets)
    return Look("E", Level(confidence), indices, final, measured, ((), ()), 0, 1e-3, keys)


def of_shares(shares, **settings):
    """Return a look at an explainer that beats these shares of 20 random orders."""
    beaten = np.arange(20) < 20 * np.asarray(shares, float)[:, None] - 1e-9
    return look(np.full(len(beaten), 0.5), np.where(beaten, 0.0, 1.0), **settings)


RANDOM = beats("random", on=Plain())


class TestMargin:
    @pytest.mark.parametrize(
        ("share", "outcome", "words"),
        [
            (0.55, "passed", "better than random on plain"),
            (0.5, "failed", "no better than random on plain: it beats a random order in 50% of comparisons, shown"),
            (0.25, "failed", "no better than random on plain: it beats a random order in 25% of comparisons, shown"),
        ],
    )
    def test_shares_are_decided_around_the_zone_of_indifference(self, share, outcome, words):
        n = 4000 if share == 0.55 else 400
        verdict = RANDOM.decide(of_shares(np.full(n, share)))
        assert verdict.outcome == outcome
        assert verdict.reason.startswith(words)

    def test_a_small_advantage_that_is_not_shown_is_too_small_to_count(self):
        """Between one half and 0.6: the upper bound is below 0.6, the lower one is not above one half."""
        shares = np.repeat([0.0, 1.0], [144, 156])
        verdict = RANDOM.decide(of_shares(np.random.default_rng(1).permutation(shares)))
        assert verdict.failed
        assert verdict.interval[0] < 0.5 < verdict.estimate < verdict.interval[1] < 0.6
        assert verdict.reason.startswith("hardly better than random on plain: it beats a random order")
        assert "in 52% of comparisons, shown to be under 60%: too small an advantage to count" in verdict.reason

    @pytest.mark.parametrize(("margin", "outcome"), [(0.05, "inconclusive"), (0.1, "failed"), (0.3, "failed")])
    def test_it_is_what_a_fail_is_held_against(self, margin, outcome):
        shares = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0], [150, 150]))
        verdict = beats("random", on=Plain(), margin=margin).decide(of_shares(shares))
        assert verdict.outcome == outcome
        assert f"shown to be under {50 + 100 * margin:.0f}%" in verdict.reason or outcome == "inconclusive"

    def test_of_a_gain_it_is_in_the_units_of_the_metric(self):
        gain = np.random.default_rng(0).normal(-2, 3, 200)
        claim = beats(print, on=Plain(0, 100), margin=2.5)
        verdict = claim.decide(look(50 + gain, np.full(200, 50.0)))
        assert verdict.failed
        assert "shown to be below 2.5" in verdict.reason
        assert verdict.interval[1] < 2.5

    def test_by_default_what_is_said_is_what_was_decided(self):
        """On a wide scale too."""
        gain = np.random.default_rng(0).normal(-2, 3, 200)
        verdict = beats(print, on=Plain(0, 100)).decide(look(50 + gain, np.full(200, 50.0)))
        assert "shown to be below 5" in verdict.reason

    @pytest.mark.parametrize("margin", [-0.1, 0.6, math.nan, "0.1", True])
    def test_one_that_cannot_be_is_an_error(self, margin):
        with pytest.raises(XaiError, match="beats margin"):
            beats("random", on=Plain(), margin=margin)

    def test_it_is_a_part_of_the_id_and_of_the_words(self):
        claim = beats("random", on=Plain(), margin=0.2)
        assert claim.claim_id != RANDOM.claim_id
        assert str(claim) == "beats random(margin=0.2) on plain"


class TestTies:
    def test_nothing_but_ties_is_inconclusive_and_says_why(self):
        verdict = RANDOM.decide(look(np.full(500, 0.7), np.full((500, 5), 0.7)))
        assert verdict.inconclusive
        assert verdict.estimate == 0.5
        assert verdict.interval[1] >= 0.6
        assert "plain is the same in whatever order for every input; nothing can be measured there" in verdict.reason
        assert "saturated or constant" in verdict.reason
        assert "settle" not in verdict.reason

    @pytest.mark.parametrize(("low", "high", "size"), [(0.0, 1.0, 1e-8), (-math.inf, math.inf, 1e-4)])
    def test_differences_of_rounding_are_ties(self, low, high, size):
        """Always better, or always worse, by less than float32 tells."""
        for sign in (-1, 1):
            own, other = np.full(500, 0.7 if high == 1 else 700.0), np.full((500, 5), 0.7 if high == 1 else 700.0)
            verdict = beats("random", on=Plain(low, high)).decide(look(own + sign * size, other))
            assert verdict.inconclusive
            assert verdict.estimate == 0.5
            assert "nothing can be measured" in verdict.reason
            assert not beats("random", on=Plain(low, high)).decide(look(own + 1e4 * sign * size, other)).inconclusive

    @pytest.mark.parametrize(("tied", "outcome"), [(0.05, "failed"), (0.5, "inconclusive")])
    def test_tied_inputs_count_for_no_fail(self, tied, outcome):
        n = 1000
        shares = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0], [n // 2, n // 2]))
        seen = of_shares(shares)
        few = np.arange(n) < tied * n
        other = np.where(few[:, None], 0.5, seen.scored(1).values)
        verdict = RANDOM.decide(look(np.full(n, 0.5), other))
        assert verdict.outcome == outcome
        assert (f"for {int(tied * n)} of {n} inputs" in verdict.reason) == (outcome == "inconclusive")

    def test_a_pass_is_none_the_easier(self):
        """Ties count as halves, which is what is to be exceeded."""
        own, other = np.ones(60), np.ones((60, 5))
        other[:2] = 0
        assert not RANDOM.decide(look(own, other)).passed

    def test_a_saturated_network_is_inconclusive(self):
        class Saturated(nn.Module):
            def forward(self, x):
                return torch.stack([x.sum((1, 2, 3)) * 0 + 1e4, x.sum((1, 2, 3)) * 0], 1)

        images = torch.rand(32, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        verdict = Bench(Saturated().eval(), images).explainer(lambda m, x, t: x + 0, name="copy")
        verdict = verdict.beats("random", on="pixel_flipping", steps=4)
        assert verdict.inconclusive
        assert 'output="logit"' in verdict.reason


class TestGroups:
    def test_are_said_whatever_the_outcome(self):
        groups = np.arange(64) // 2
        for share, outcome in ((1.0, "passed"), (0.0, "failed")):
            verdict = RANDOM.decide(of_shares(np.full(64, share), groups=groups))
            assert verdict.outcome == outcome
            assert "the 64 inputs make 32 groups" in verdict.reason
            assert verdict.evidence.get_part(Groups) == Groups(32, 64)
            assert verdict.n == 64
            assert ("groups", "32, of 64 inputs: equal inputs, and inputs with one map, count once") in [
                *verdict.evidence.rows()
            ]

    def test_where_each_input_is_one_nothing_is_said(self):
        verdict = RANDOM.decide(of_shares(np.ones(64), groups=np.arange(64)))
        assert "group" not in verdict.reason
        assert not any(label == "groups" for label, _ in verdict.evidence.rows())

    def test_a_fixed_map_is_one_observation_and_more_inputs_would_not_help(self):
        verdict = RANDOM.decide(of_shares(np.ones(256), groups=np.zeros(256)))
        assert verdict.inconclusive
        assert "the 256 inputs make 1 group" in verdict.reason
        assert "more inputs of these groups would settle nothing" in verdict.reason

    def test_too_few_groups_that_still_grow_say_how_many_are_needed(self):
        verdict = RANDOM.decide(of_shares(np.ones(8), groups=np.arange(8) // 2))
        assert verdict.inconclusive
        assert "at least 5 groups are needed" in verdict.reason

    def test_the_estimate_is_the_mean_of_groups(self):
        shares, groups = np.repeat([1.0, 0.5], [40, 40]), np.concatenate([np.arange(40), np.full(40, 40)])
        verdict = RANDOM.decide(of_shares(shares, groups=groups))
        assert verdict.estimate == pytest.approx((40 + 0.5) / 41)

    def test_own_maps_of_others_are_grouped_by_input_alone(self):
        gain = np.random.default_rng(0).normal(0.3, 0.1, 64)
        seen = look(gain, np.zeros(64), groups=np.zeros(64))
        assert beats("other_input", on=Plain(-1, 1)).decide(seen).passed
        assert beats("edges", on=Plain(-1, 1)).decide(seen).inconclusive


def ten(good, *, n=20, others=0.0):
    """Return a look at ten targets, of which some are explained rightly, and the others not at all."""
    targets = np.tile(np.arange(10), n)
    return of_shares(np.where(targets < good, 1.0, others), targets=targets)


WITHIN = beats("random", on=Plain(), within="target")


class TestWithin:
    def test_right_for_seven_of_ten_passes_together_and_fails_by_target(self):
        assert RANDOM.decide(ten(7)).passed
        verdict = WITHIN.decide(ten(7))
        assert verdict.failed
        assert "no better than random on plain for target 7" in verdict.reason

    def test_right_for_all_passes(self):
        verdict = WITHIN.decide(ten(10))
        assert verdict.passed
        assert "for each of 10 targets, least clearly for target" in verdict.reason
        found = verdict.evidence.get_part(ByTarget).found
        assert {one.outcome for one in found.values()} == {"passed"}
        assert sum(one.n for one in found.values()) == verdict.n == 200

    def test_undecided_for_one_is_inconclusive(self):
        verdict = WITHIN.decide(ten(9, others=0.55))
        assert verdict.inconclusive
        assert "for target 9" in verdict.reason

    def test_waits_for_the_last_input(self):
        assert WITHIN.decide(replace(ten(10), final=False)) is None

    def test_targets_with_too_few_inputs_are_named_and_not_decided(self):
        targets = np.repeat([0, 1, 2], [30, 30, 3])
        verdict = WITHIN.decide(of_shares(np.where(targets == 2, 0.0, 1.0), targets=targets))
        assert verdict.passed
        assert "too few inputs, under 5, for target 2" in verdict.reason
        part = verdict.evidence.get_part(ByTarget)
        assert part.too_few == ((2,),)
        assert ("too few inputs", "for target 2") in part.rows()

    def test_too_few_inputs_of_every_target_are_one_clear_error(self):
        targets = np.repeat(np.arange(10), 3)
        with pytest.raises(XaiError, match=r"at most 3 inputs of one target .*at least 5"):
            WITHIN.decide(of_shares(np.ones(30), targets=targets))

    def test_weak_targets_fail_together_where_each_is_left_open(self):
        targets = np.tile(np.arange(10), 20)
        shares = np.where(targets < 4, 1.0, np.isin(np.arange(200) // 10 % 5, (1, 3)))  # 8 of the 20 inputs of six
        verdict = WITHIN.decide(of_shares(shares, targets=targets))
        assert verdict.failed
        assert "no better than random on plain for targets 4, 5, 6, 7, 8, 9 together: it beats" in verdict.reason
        part = verdict.evidence.get_part(ByTarget)
        assert {one.outcome for one in part.found.values()} == {"passed", "inconclusive"}
        assert part.together.n == 78
        assert verdict.evidence["weak_targets"]["targets"] == list("456789")
        assert ("weak ones together", f"4, 5, 6, 7, 8, 9: {number(part.together.estimate)} (n=78)") in part.rows()

    def test_weak_targets_are_chosen_on_groups_that_do_not_decide(self):
        targets = ((0,),) * 6 + ((1,),) * 6
        groups = np.array([0, 0, 1, 2, 3, 3, 0, 1, 4, 4, 5, 6])
        low = np.array([0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1.0])
        weak, others = weak_ones(Grouped.of(low, low, groups), targets, Question(0.0, 1.0, 0.5, margin=0.1))
        assert weak == ((0,),)
        assert others.tolist() == [False, False, True, True, False, False] + [False] * 6

    def test_a_fail_of_any_target_is_taken_at_an_error_split_over_them(self):
        """A target fails exactly where it fails alone at the confidence that is left, half of it for all together."""
        shares = np.random.default_rng(0).permutation(np.repeat([0.0, 1.0], [13, 7]))
        for count in range(6, 21):
            one = of_shares(shares[:count], targets=np.zeros(count))
            good = of_shares(np.ones(180), targets=np.repeat(np.arange(1, 10), 20))
            both = of_shares(
                np.concatenate([shares[:count], np.ones(180)]),
                targets=np.concatenate([np.zeros(count), np.repeat(np.arange(1, 10), 20)]),
            )
            level = Level(1 - 0.05 / 20, early=False)
            values = one.scored(0).values[:, 0] > one.scored(1).values.mean(1)
            assert values.shape == (count,)
            exact = Question(0.0, 1.0, 0.5, margin=0.1).decide(shares[:count], shares[:count], level, final=True)
            assert WITHIN.decide(both).failed == (exact.outcome == "failed")
            assert WITHIN.decide(good).passed

    def test_groups_count_once_in_each_target(self):
        targets = np.repeat([0, 1], [30, 30])
        groups = np.concatenate([np.arange(30), np.full(30, 30)])
        verdict = WITHIN.decide(of_shares(np.ones(60), targets=targets, groups=groups))
        assert verdict.inconclusive
        assert "for target 1" in verdict.reason
        assert "the 30 inputs make 1 group" in verdict.reason

    def test_results_for_each_target_stand_in_the_evidence_of_every_claim(self):
        verdict = RANDOM.decide(ten(7))
        found = verdict.evidence.get_part(ByTarget).found
        assert {target: one.estimate for target, one in found.items()} == {(t,): float(t < 7) for t in range(10)}
        assert verdict.evidence["targets"]["9"] == {"estimate": 0.0, "n": 20, "groups": 20}

    @pytest.mark.parametrize("within", ["targets", True, 1])
    def test_another_word_is_an_error(self, within):
        with pytest.raises(XaiError, match="beats within"):
            beats("random", on=Plain(), within=within)

    def test_of_a_bench(self):
        """A network that reads one place for one class and is explained rightly there alone."""
        images = torch.rand(60, 1, 5, 5, generator=torch.Generator().manual_seed(0))
        weight = torch.randn(2, 25, generator=torch.Generator().manual_seed(1))

        class Two(nn.Module):
            def forward(self, x):
                return x.flatten(1) @ weight.T

        def half(model, inputs, targets):
            maps = weight[targets].reshape(inputs.shape) * inputs
            return torch.where((targets == 0)[:, None, None, None], maps, -maps)

        def right(model, inputs, targets):
            return weight[targets].reshape(inputs.shape) * inputs

        bench = Bench(Two().eval(), images, torch.arange(60) % 2)
        verdict = bench.explainer(half).beats("random", on="pixel_flipping", steps=5, within="target")
        assert verdict.failed
        assert "for target 1" in verdict.reason
        assert verdict.n == 60
        assert bench.explainer(right).beats("random", on="pixel_flipping", steps=5, within="target").passed


def verdict_of(outcome):
    return Verdict("c", outcome, 0.5, (0.0, 1.0), 0.95, 8, "a bound", "share", "why")


class TestSeveral:
    def test_each_of_several_baselines_fails_at_its_part_of_the_error(self):
        claim, asked = beats("mutants", on=Plain(), within="target", margin=0.2), []
        assert isinstance(claim, BeatsEach)

        def decide(part):
            asked.append(part)
            return verdict_of("passed")

        assert claim.resolve(decide, places=(4, 4), seed=0, name="E").passed
        assert [(one.fail_share, one.within, one.margin) for one in asked] == [(0.5, "target", 0.2)] * 2

    def test_each_of_the_settings_drawn_fails_at_its_part_of_the_error(self):
        claim, asked = beats("mutants", on="pixel_flipping", across="settings", margin=0.2), []
        assert isinstance(claim, BeatsAcross)

        def decide(part):
            asked.append(part)
            return verdict_of("passed")

        claim.resolve(decide, places=(8, 8), seed=0, name="E")
        assert {(one.fail_share, one.margin) for one in asked} == {(1 / claim.max_examples, 0.2)}

    def test_the_level_of_a_claim_has_its_share(self, monkeypatch):
        levels = []
        decided = Beats.decide
        monkeypatch.setattr(Beats, "decide", lambda self, look: levels.append(look.level) or decided(self, look))
        images = torch.rand(16, 1, 5, 5, generator=torch.Generator().manual_seed(0))
        bench = Bench(nn.Sequential(nn.Flatten(), nn.Linear(25, 2)).eval(), images)
        bench.explainer(lambda m, x, t: x + 0, name="copy").beats("mutants", on="pixel_flipping", steps=3)
        assert {level.fail_share for level in levels} == {0.5}
        assert beats("random", on="pixel_flipping").fail_share == 1.0
