"""The four verbs on scores made by hand: what passes, what fails, what is said, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from laboratory import Plain, compared_of, tensors_of

from pytest_xaisanity.claims.base import Look
from pytest_xaisanity.claims.make import beats, bounded, changes_under, invariant_under, make
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.base import Compared, Scored
from pytest_xaisanity.evidence.baselines.random import Random
from pytest_xaisanity.evidence.comparison import DISTANCE
from pytest_xaisanity.evidence.controls import Alike, Controls
from pytest_xaisanity.evidence.interventions.batch_order import BatchOrder
from pytest_xaisanity.evidence.interventions.weight_randomization import CascadingRandomization
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.similarity import SIMILARITIES
from pytest_xaisanity.statistics.question import Level

RANDOMIZATION = "cascading_randomization"


UNBOUNDED = Plain(-math.inf, math.inf)


def look(*scores, final=True, similarities=()):
    """Return a look at the scores of each measurement: ``after spearman`` and so on, or ``scores``."""
    n = len(next(iter(scores[0].values())))
    found, parts = zip(
        *((Scored(one["scores"]), ()) if "scores" in one else compared_of(one, similarities) for one in scores),
        strict=True,
    )
    return Look("E", Level(0.95), tuple(range(n)), final, found, parts, 0, 1e-3)


def arrays(seen):
    """Return the similarities that a look holds, by the names that :func:`look` takes."""
    return {key: values.numpy() for key, values in tensors_of(seen.compared()).items()}


def decided(claim, seen, name="E"):
    """Return the verdict on the explainer called ``name``."""
    return claim.decide(replace(seen, explainer=name, level=Level(0.95, claim.early)))


def beside_gradient(kept, *, top, signed, below=0.0, keeps_sign=0.0, n=256):
    """Return a look in which so much is left at the top and below it, where a gradient is kept that much.

    Of signed ranks ``signed`` is left of maps, and ``keeps_sign`` of the gradient.
    """
    scores = arrays(compared(n, sign_flip_spearman=(below, 1, 0), spearman=(0, 1, 0)))
    scores["after sign_flip_spearman"][:, :, 0], scores["after spearman"][:, :, 0] = top, signed
    seen = look(scores, similarities=["sign_flip_spearman", "spearman"])
    similarities, cells, controls = seen.parts[0]
    each, names = np.ones(n), ("sign_flip_spearman", "spearman")
    after = dict(zip(names, (kept * each[:, None], keeps_sign * each[:, None]), strict=True))
    own, chance = dict.fromkeys(names, each), dict.fromkeys(names, 0 * each)
    gradient = Compared(after, own, chance, np.zeros((n, 1, 2), int))
    parts = replace(similarities, deciding=1), cells, controls
    return replace(seen, parts=(parts,), further=(lambda: gradient,))


def compared(n=64, *, final=True, spread=0.02, seed=0, **parts):
    """Return a look at a comparison: ``spearman=(after, self, chance)`` are means of noisy scores."""
    rng = np.random.default_rng(seed)
    scores = {}
    for name, values in parts.items():
        for part, value in zip(("after", "self", "chance"), values, strict=True):
            shape = (n, 2, 3) if part == "after" else (n,)
            scores[f"{part} {name}"] = np.clip(value + spread * rng.standard_normal(shape), -1, 1).astype(np.float32)
    return look(scores, final=final, similarities=list(parts))


def distances(after, own=0.0, n=32, **kwargs):
    """Return a look at how far maps moved: ``after`` for the first input, 0 for the others."""
    moved = np.zeros((n, 1, 1))
    moved[0] = after
    scores = {"after distance": moved, "self distance": np.full(n, own), "chance distance": np.ones(n)}
    return look(scores, similarities=["distance"], **kwargs)


def scored(own, other=None, *, final=True):
    """Return a look at the scores of an explainer, and of a baseline."""
    columns = [np.asarray(own, float)[:, None]] + ([] if other is None else [np.asarray(other, float)])
    return look(*({"scores": values if values.ndim == 2 else values[:, None]} for values in columns), final=final)


def said(verdict):
    """Return the reason of a verdict when it reads as one sentence."""
    assert "nan" not in verdict.reason.lower().split()
    assert "\n" not in verdict.reason
    assert not verdict.reason.endswith(".")
    assert all(map(math.isfinite, (verdict.estimate, *verdict.interval)))
    assert len(repr(verdict)) < 200
    return verdict.reason


class TestChangesUnder:
    claim = changes_under(RANDOMIZATION)

    def test_passes_when_little_of_the_similarity_above_chance_is_left(self):
        verdict = decided(self.claim, compared(spearman=(0.1, 1, 0)), "Saliency")
        assert verdict.passed
        assert said(verdict) == "at most 50% of the similarity above chance is left, also in the upper third (spearman)"
        assert verdict.quantity.startswith("retention")

    def test_fails_when_most_of_it_is_left(self):
        verdict = decided(self.claim, compared(spearman=(0.9, 1, 0)), "Edges")
        assert verdict.failed
        assert said(verdict).startswith("more than 50%")

    def test_is_inconclusive_at_the_boundary_and_asks_for_more_inputs(self):
        verdict = decided(self.claim, compared(64, spearman=(0.48, 1, 0)), "E")
        assert verdict.inconclusive
        assert "perhaps more, perhaps less than 50%" in said(verdict)
        assert "inputs would settle it" in verdict.reason

    def test_is_undecided_at_an_early_look_that_shows_nothing(self):
        assert decided(self.claim, compared(32, final=False, spearman=(0.5, 1, 0)), "E") is None

    def test_stops_at_an_early_look_that_shows_it(self):
        assert decided(self.claim, compared(32, final=False, spearman=(0.0, 1, 0)), "E").passed

    def test_does_not_take_fresh_noise_for_sensitivity(self):
        """An explainer that does not reproduce itself has nothing to lose."""
        verdict = decided(self.claim, compared(256, spearman=(0, 0, 0)), "noise")
        assert verdict.inconclusive
        assert said(verdict).startswith("the explainer does not reproduce itself, so that")
        assert "; spearman 0.00 between two runs on one input, 0.00 between unrelated" in verdict.reason
        assert verdict.quantity == "spearman to itself above chance"
        assert "settle" not in verdict.reason

    def test_does_not_ask_for_more_noise(self):
        """With too few inputs to show that it is noise."""
        verdict = decided(self.claim, compared(16, spearman=(0, 0, 0)), "noise")
        assert said(verdict).startswith("the explainer does not seem to reproduce itself")
        assert "settle" not in verdict.reason

    def test_says_how_many_inputs_would_show_that_it_reproduces_itself(self):
        verdict = decided(self.claim, compared(16, spearman=(0, 0.5, 0)), "E")
        assert verdict.inconclusive
        assert said(verdict).startswith("not shown that the explainer reproduces itself; spearman 0.49 between")
        assert "inputs would settle it" in verdict.reason

    def test_says_when_all_explanations_are_alike(self):
        verdict = decided(self.claim, compared(spearman=(0.2, 0.97, 0.95)), "E")
        assert verdict.inconclusive
        assert "unrelated inputs are as alike as those of one input" in said(verdict)

    def test_similarities_that_contradict_one_another_decide_nothing(self):
        verdict = decided(self.claim, compared(spearman=(0, 1, 0), abs_spearman=(0.95, 1, 0)), "IG")
        assert verdict.inconclusive
        assert said(verdict).startswith("it depends on the similarity (spearman: ")
        assert "abs_spearman: 0.96 retained (failed)" in verdict.reason
        assert verdict.quantity == "retention in the upper third (abs_spearman)"

    def test_a_contradiction_is_quoted_from_the_similarities_that_are_decided(self):
        """At an early look others may still be open."""
        seen = compared(64, final=False, ssim=(0.5, 1, 0), spearman=(0, 1, 0), abs_spearman=(0.95, 1, 0))
        verdict = decided(self.claim, seen, "IG")
        assert verdict.inconclusive
        assert "ssim" not in said(verdict)

    def test_one_similarity_that_is_not_settled_keeps_the_others_from_passing(self):
        verdict = decided(self.claim, compared(spearman=(0, 1, 0), ssim=(0.49, 1, 0)), "E")
        assert verdict.inconclusive
        assert "(ssim)" in said(verdict)

    @pytest.mark.parametrize("top", [0.9, -0.9])
    def test_the_upper_third_counts_for_itself(self, top):
        """On average 30 % is left, or less."""
        scores = arrays(compared(256, spearman=(0, 1, 0)))
        scores["after spearman"][:, :, 0] = top
        verdict = decided(self.claim, look(scores, similarities=["spearman"]), "blind to the top")
        assert verdict.failed == (top > 0)
        found = verdict.evidence["by_similarity"]["spearman"]
        assert found["retention"] == pytest.approx(top / 3, abs=0.01)
        assert found["upper_third"] == pytest.approx(top, abs=0.01)
        if top > 0:
            assert said(verdict) == (
                "more than 50% of the similarity above chance is left in the upper third (spearman)"
            )
            assert verdict.quantity == "retention in the upper third (spearman)"

    @pytest.mark.parametrize(
        ("top", "signed", "outcome", "words"),
        [
            (0.55, 0.0, "passed", "at most 60% of the similarity above chance is left in the upper third ("),
            (0.7, 0.0, "inconclusive", "not shown that at most 60% of the similarity above chance is left in the"),
            (0.98, 0.0, "failed", "more than 76% of the similarity above chance is left in the upper third ("),
            (0.7, 0.9, "failed", "the maps keep their sign and more than 75% of the similarity above chance in the"),
        ],
    )
    def test_bounds_at_the_top_follow_what_the_networks_own_gradient_keeps(self, top, signed, outcome, words):
        """By hand: of 32 % that are kept, 1 - 0.5 * 0.68 / 0.85 and 0.5 + 1.5 * 0.17."""
        verdict = decided(self.claim, beside_gradient(0.32, top=top, signed=signed), "E")
        assert verdict.outcome == outcome
        assert words in said(verdict)
        if "keep" not in words:
            assert "32% of the network's own gradient" in said(verdict)
        assert "inputs would settle it" not in verdict.reason
        low, high = verdict.interval
        assert low <= verdict.estimate <= high
        bounds = {"passed": high <= 0.6001, "failed": low >= 0.7499, "inconclusive": high > 0.6}
        assert bounds[outcome]

    def test_over_all_cells_as_much_more_may_be_left_as_at_the_top(self):
        """By hand: a third of the cells is the top, so 0.5 + (0.755 - 0.5) / 3 and 0.5 + 0.1 / 3."""
        verdict = decided(self.claim, beside_gradient(0.32, top=0.45, signed=0.0, below=0.8), "E")
        assert verdict.failed
        assert said(verdict).startswith("more than 59% of the similarity above chance is left (sign_flip_spearman), wh")
        assert verdict.quantity == "retention (sign_flip_spearman)"
        verdict = decided(self.claim, beside_gradient(0.32, top=0.55, signed=0.0, below=0.48), "E")
        assert verdict.passed

    def test_of_cells_below_the_top_alone_nothing_is_claimed(self):
        """Of the mean of all 48 % is left, which is no more than half, and so it must not fail."""
        verdict = decided(self.claim, beside_gradient(0.05, top=0.0, signed=0.0, below=0.72, n=96), "E")
        assert verdict.inconclusive
        assert verdict.estimate == pytest.approx(0.48, abs=0.01)

    def test_maps_may_keep_their_sign_where_the_gradient_keeps_its_own(self):
        """A single new head takes over the sign of what is one number below it, or turns it over, by chance."""
        turned, kept = (beside_gradient(0.8, top=0.9, signed=0.9, keeps_sign=sign) for sign in (-0.8, 0.8))
        assert said(decided(self.claim, turned, "E")).startswith("the maps keep their sign and more than 75% of")
        assert not decided(self.claim, kept, "E").failed

    def test_a_gradient_that_hardly_keeps_anything_changes_nothing(self):
        """Nor does one beside a similarity that is named."""
        verdict = decided(self.claim, beside_gradient(0.1, top=0.75, signed=0.0), "E")
        assert verdict.failed
        named = changes_under(RANDOMIZATION, similarity="sign_flip_spearman")
        assert said(decided(named, beside_gradient(0.9, top=0.75, signed=0.0), "E")).startswith(
            "more than 50% of the similarity above chance is left in the upper third (sign_flip_spearman)"
        )

    def test_maps_that_turn_over_are_said_to(self):
        assert said(decided(self.claim, compared(spearman=(-0.8, 1, 0)), "E")).endswith("; the maps turn over")

    @pytest.mark.parametrize("name", ["spearman", "sign_flip_spearman"])
    def test_maps_of_which_less_than_nothing_is_left_do_not_turn_over(self, name):
        verdict = decided(self.claim, compared(**{name: (0, 1, 0.6)}), "E")
        assert verdict.passed
        assert said(verdict).endswith("; they are less alike than explanations of unrelated inputs")

    def test_a_similarity_that_is_measured_beside_it_does_not_decide_but_is_told(self):
        seen = compared(spearman=(0, 1, 0), abs_spearman=(0.95, 1, 0))
        similarities, *others = seen.parts[0]
        verdict = decided(self.claim, replace(seen, parts=((replace(similarities, deciding=1), *others),)), "IG")
        assert verdict.passed
        assert said(verdict).endswith("; abs_spearman would have failed: 96% is left")

    @pytest.mark.parametrize(
        ("null", "words"), [(0.96, ", as of any map multiplied by this input (95%)"), (0.3, ", of input × noise (12%)")]
    )
    def test_the_null_of_input_times_noise_stands_beside_it(self, null, words):
        """By hand: (0.96 - 0.2) / (1 - 0.2) and (0.3 - 0.2) / (1 - 0.2)."""
        seen = compared(spearman=(0, 1, 0), abs_spearman=(0.95, 1, 0))
        similarities, cells, _ = seen.parts[0]
        controls = Controls((Alike("input × noise", {"abs_spearman": null}, {"abs_spearman": 0.2}),))
        verdict = decided(
            self.claim, replace(seen, parts=((replace(similarities, deciding=1), cells, controls),)), "IG"
        )
        assert said(verdict).endswith(f"; abs_spearman would have failed: 96% is left{words}")

    @pytest.mark.parametrize("retention", [0.0, 0.2, 0.5, 0.8])
    @pytest.mark.parametrize("n", [16, 17, 64])
    def test_retention_is_the_ratio_of_means(self, n, retention):
        """A second, slow formula; no score is clipped here."""
        seen = compared(n, spread=0.05, spearman=(0.35, 0.9, 0.2))
        after, own, chance = (arrays(seen)[f"{part} spearman"].astype(float) for part in ("after", "self", "chance"))
        mean = [math.fsum(values.ravel()) / values.size for values in (after, own, chance)]
        verdict = decided(changes_under(RANDOMIZATION, retention=retention), seen, "E")
        tolerance = 1e-5 if n % 2 == 0 else 0.02  # an odd last input shares the weight of a pair
        found = verdict.evidence["by_similarity"]["spearman"]
        upper = after[:, :, 0]
        ratios = [(math.fsum(a.ravel()) / a.size - mean[2]) / (mean[1] - mean[2]) for a in (after, upper)]
        assert [found["retention"], found["upper_third"]] == pytest.approx(ratios, abs=tolerance)
        per_input = [
            math.fsum(a.ravel()) / a.size - c - retention * (o - c) for a, o, c in zip(after, own, chance, strict=True)
        ]
        assert verdict.evidence["scores"]["spearman"] == pytest.approx(per_input, abs=1e-9)

    def test_a_distance_is_turned_into_a_similarity(self):
        """An error of 0 is identity, of 2 is chance."""
        assert decided(self.claim, compared(mse=(1.0, 0, 1.0)), "E").passed

    @pytest.mark.parametrize(("after", "outcome"), [(0.0, "passed"), (0.9, "failed")])
    def test_constant_maps_count_against_either_decision(self, after, outcome):
        seen = compared(64, spearman=(after, 1, 0))
        few, many = ({key: value.copy() for key, value in arrays(seen).items()} for _ in range(2))
        few["after spearman"][:1] = np.nan
        many["after spearman"][:28] = np.nan
        verdict = decided(self.claim, look(few, similarities=["spearman"]), "E")
        assert verdict.outcome == outcome
        assert "1 input has a constant or non-finite map, counted against either decision" in said(verdict)
        verdict = decided(self.claim, look(many, similarities=["spearman"]), "E")
        assert verdict.inconclusive
        assert "28 inputs have constant or non-finite maps" in said(verdict)
        assert verdict.evidence["by_similarity"]["spearman"]["constant_or_not_finite"] == 28

    def test_an_input_whose_map_is_constant_from_the_start_counts_once(self):
        scores = {key: value.copy() for key, value in arrays(compared(32, spearman=(0, 1, 0))).items()}
        for value in scores.values():
            value[3] = np.nan
        verdict = decided(self.claim, look(scores, similarities=["spearman"]), "E")
        assert verdict.evidence["by_similarity"]["spearman"]["constant_or_not_finite"] == 1

    def test_nothing_but_constant_maps_says_so(self):
        scores = {key: np.full_like(value, np.nan) for key, value in arrays(compared(64, spearman=(0, 1, 0))).items()}
        verdict = decided(self.claim, look(scores, similarities=["spearman"]), "E")
        assert verdict.inconclusive
        assert said(verdict).startswith("all maps are constant, so spearman cannot compare them")

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_too_few_inputs_are_an_error_that_says_how_many_are_needed(self, n):
        with pytest.raises(XaiError, match=rf"xai_inputs: found {n} inputs? for the claim .*at least 12"):
            decided(self.claim, compared(n, spearman=(0, 1, 0)), "E")

    def test_the_number_that_is_needed_decides(self):
        assert decided(self.claim, compared(12, spread=0, spearman=(-1, 1, 0)), "E").passed


class TestChangesUnderOnARawSimilarity:
    @pytest.mark.parametrize(("after", "outcome"), [(0.1, "passed"), (0.3, "inconclusive"), (0.6, "failed")])
    def test_the_mean_is_bounded(self, after, outcome):
        claim = changes_under(RANDOMIZATION, similarity="ssim", at_most=0.3)
        verdict = decided(claim, compared(spread=0.1, ssim=(after, 0, 0)), "E")
        assert verdict.outcome == outcome
        assert said(verdict).startswith("mean ssim before and after ")
        assert verdict.estimate == pytest.approx(after, abs=0.05)

    @pytest.mark.parametrize(("after", "outcome"), [(1.9, "passed"), (0.2, "failed")])
    def test_a_distance_is_bounded_from_below(self, after, outcome):
        claim = changes_under(RANDOMIZATION, similarity="mse", at_most=1.0)
        scores = {f"{part} mse": np.full((64, 1, 1) if part == "after" else 64, after) for part in PARTS}
        verdict = decided(claim, look(scores, similarities=["mse"]), "E")
        assert verdict.outcome == outcome
        assert "at least 1" in said(verdict)

    def test_a_bound_at_the_very_end_can_be_broken_but_not_kept(self):
        claim = changes_under(RANDOMIZATION, similarity="spearman", at_most=-1.0)
        assert decided(claim, compared(spread=0, spearman=(0, 1, 0)), "E").failed
        with pytest.raises(XaiError, match="a bound at the very end of the range"):
            decided(claim, compared(spread=0, spearman=(-1, 1, 0)), "E")

    def test_one_input_is_too_few(self):
        claim = changes_under(RANDOMIZATION, similarity="spearman", at_most=0.0)
        with pytest.raises(XaiError, match=r"found 1 input for the claim .*at least 10"):
            decided(claim, compared(1, spread=0, spearman=(-1, 1, 0)), "E")


PARTS = ("after", "self", "chance")


class TestInvariantUnder:
    claim = invariant_under("batch_order")

    def test_passes_when_no_input_changed(self):
        verdict = decided(self.claim, distances(1e-6), "E")
        assert verdict.passed
        assert said(verdict) == "no map of 32 inputs moved by more than 0.1% of its size"

    @pytest.mark.parametrize("final", [True, False])
    def test_one_changed_input_is_a_counterexample_at_any_look(self, final):
        verdict = decided(self.claim, distances(0.2, final=final), "E")
        assert verdict.failed
        assert said(verdict) == "the maps of 1 of 32 inputs moved by more than 0.1% of their size (the worst by 20%)"

    @pytest.mark.parametrize("after", [math.nan, math.inf])
    def test_a_map_that_is_not_finite_any_more_has_changed(self, after):
        verdict = decided(self.claim, distances(after), "E")
        assert verdict.failed
        said(verdict)
        everywhere = look({"after distance": np.full((8, 1, 1), np.nan), "self distance": np.zeros(8)})
        assert "to maps that are not finite" in said(decided(self.claim, everywhere, "E"))

    def test_goes_on_until_all_inputs_are_seen(self):
        assert decided(self.claim, distances(0.0, final=False), "E") is None

    def test_an_explainer_that_does_not_reproduce_itself_decides_nothing(self):
        verdict = decided(self.claim, distances(0.2, own=0.3), "E")
        assert verdict.inconclusive
        assert "two runs on one input differ by up to 30% of their size" in said(verdict)

    def test_the_tolerance_is_the_claims(self):
        assert decided(invariant_under("batch_order", tolerance=0.25), distances(0.2), "E").passed

    def test_one_input_has_no_order(self):
        with pytest.raises(XaiError, match="at least 2"):
            decided(self.claim, distances(0, n=1), "E")

    @pytest.mark.parametrize(("after", "outcome"), [(0.99, "passed"), (0.8, "inconclusive"), (0.2, "failed")])
    def test_a_named_similarity_is_bounded_from_below(self, after, outcome):
        claim = invariant_under("batch_order", similarity="spearman", at_least=0.8)
        verdict = decided(claim, compared(spearman=(after, 0, 0)), "E")
        assert verdict.outcome == outcome
        assert "at least 0.8" in said(verdict)

    def test_a_named_distance_is_bounded_from_above(self):
        claim = invariant_under("batch_order", similarity="mse", at_least=0.5)
        verdict = decided(claim, compared(mse=(0.1, 0, 0)), "E")
        assert verdict.passed
        assert said(verdict) == "mean mse before and after is at most 0.5"


class TestBeats:
    @pytest.mark.parametrize(("shift", "outcome"), [(3, "passed"), (-0.2, "failed"), (0.2, "inconclusive")])
    def test_random_orders_are_beaten_by_place(self, shift, outcome):
        rng = np.random.default_rng(0)
        random = rng.standard_normal((64, 5))
        own = rng.standard_normal(64) + shift
        verdict = decided(beats("random", on=UNBOUNDED), scored(own, random), "E")
        assert verdict.outcome == outcome
        assert "random on plain" in said(verdict)
        assert verdict.quantity == "share of random orders beaten"
        share = np.mean([np.mean((r < o) + 0.5 * (r == o)) for o, r in zip(own, random, strict=True)])
        assert verdict.estimate == pytest.approx(share)

    @pytest.mark.parametrize(("gain", "outcome"), [(0.2, "passed"), (-0.1, "failed"), (0.05, "inconclusive")])
    @pytest.mark.parametrize("higher", [True, False])
    def test_another_explainer_is_beaten_by_the_paired_gain(self, gain, outcome, higher):
        rng = np.random.default_rng(1)
        difficulty, noise = rng.uniform(0.3, 0.7, 64), 0.2 * rng.standard_normal(64)
        sign = 1 if higher else -1
        seen = scored(difficulty + sign * gain + 0.5 * noise, difficulty)
        verdict = decided(beats(print, on=Plain(higher_is_better=higher)), seen, "E")
        assert verdict.outcome == outcome
        assert verdict.estimate == pytest.approx(gain + sign * 0.5 * noise.mean())
        assert "print on plain" in said(verdict)

    def test_a_metric_on_a_wide_scale_is_not_clipped_to_its_sign(self):
        """On a scale of 0 to 100 a few large losses outweigh many small gains."""
        gain = np.where(np.arange(64) % 4, 10.0, -90.0)
        verdict = decided(beats(print, on=Plain(0, 100)), scored(50 + gain / 2, 50 - gain / 2), "E")
        assert verdict.failed
        assert verdict.quantity == "mean gain in plain"
        assert verdict.estimate == pytest.approx(-15)

    def test_scores_without_a_bound_are_decided_on_the_share_of_inputs_with_a_gain(self):
        """One huge gain decides nothing; ties count for the baseline."""
        gain = np.zeros(64)
        gain[0] = 1e9
        verdict = decided(beats(print, on=UNBOUNDED), scored(gain, np.zeros(64)), "E")
        assert verdict.failed
        assert verdict.quantity == "share of inputs with a gain"
        assert verdict.estimate == pytest.approx(1 / 64)
        assert decided(beats(print, on=UNBOUNDED), scored(gain + 1, np.zeros(64)), "E").passed

    @pytest.mark.parametrize("metric", [Plain(), UNBOUNDED])
    def test_stops_early_only_when_it_is_decided(self, metric):
        clear, open_ = np.full(32, 0.9), np.tile([0.6, 0.4], 16)
        claim = beats(print, on=metric)
        assert decided(claim, scored(clear, np.zeros(32), final=False), "E").passed
        assert decided(claim, scored(open_, np.full(32, 0.5), final=False), "E") is None

    @pytest.mark.parametrize(
        ("baseline", "metric", "least"), [("random", Plain(), 5), (print, Plain(), 5), (print, UNBOUNDED, 5)]
    )
    def test_too_few_inputs_are_an_error_that_says_how_many_are_needed(self, baseline, metric, least):
        other = np.zeros((1, 5 if baseline == "random" else 1))
        with pytest.raises(XaiError, match=f"at least {least}"):
            decided(beats(baseline, on=metric), scored([1.0], other), "E")

    def test_scores_that_are_not_finite_are_an_error_that_counts_them(self):
        with pytest.raises(XaiError, match="NaN or infinite for 1 of 8 inputs"):
            decided(beats(print, on=UNBOUNDED), scored([math.nan, *[1.0] * 7], np.zeros(8)), "E")


class TestBounded:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(3))
    def test_the_interval_of_two_bounds_agrees_with_both(self, seed):
        """Wherever the lower one lies: a pass prints an interval above it, and the reason names both."""
        values = np.random.default_rng(seed).uniform(0, 0.8, 64)
        passed = 0
        for at_least in np.linspace(0.2, 0.4, 61):
            verdict = decided(bounded(Plain(), at_most=0.8, at_least=at_least), scored(values), "E")
            assert not verdict.passed or at_least <= verdict.interval[0] <= verdict.interval[1] <= 0.8
            assert not verdict.passed or f"is at most 0.8 and at least {at_least:g}" in verdict.reason
            passed += verdict.passed
        assert 20 < passed < 61

    def test_of_two_bounds_each_is_of_a_share_where_scores_have_no_range(self):
        values = np.concatenate([np.zeros(60), np.full(4, -9.0)])  # all are at most 1, some are not at least -1
        verdict = decided(bounded(UNBOUNDED, at_most=1, at_least=-1), scored(values), "E")
        assert verdict.passed
        assert verdict.estimate == 60 / 64
        assert verdict.reason == "plain of most inputs is at most 1 and at least -1"

    @pytest.mark.parametrize("metric", [Plain(), UNBOUNDED])
    @pytest.mark.parametrize(
        ("bound", "outcome"),
        [
            ({"at_most": 0.9}, "passed"),
            ({"at_most": 0.1}, "failed"),
            ({"at_most": 0.5}, "inconclusive"),
            ({"at_least": 0.1}, "passed"),
            ({"at_least": 0.9}, "failed"),
            ({"at_least": 0.1, "at_most": 0.9}, "passed"),
            ({"at_least": 0.1, "at_most": 0.2}, "failed"),
            ({"at_least": 0.5, "at_most": 0.9}, "inconclusive"),
        ],
    )
    def test_the_mean_or_the_median_is_bounded_on_either_side(self, metric, bound, outcome):
        values = np.random.default_rng(0).permutation(np.linspace(0.3, 0.7, 64))
        verdict = decided(bounded(metric, **bound), scored(values), "E")
        assert verdict.outcome == outcome
        what = "mean plain" if metric.high == 1 else "plain of most inputs"
        assert said(verdict).startswith(what)

    def test_the_median_does_not_feel_outliers(self):
        values = np.full(64, 0.2)
        values[:5] = 1e12
        assert decided(bounded(UNBOUNDED, at_most=0.3), scored(values), "E").passed

    @pytest.mark.parametrize("metric", [Plain(), UNBOUNDED])
    def test_stops_early_only_when_it_is_decided(self, metric):
        claim = bounded(metric, at_most=0.5)
        assert decided(claim, scored(np.full(32, 0.01), final=False), "E").passed
        assert decided(claim, scored(np.tile([0.45, 0.55], 16), final=False), "E") is None

    @pytest.mark.parametrize("metric", [Plain(), UNBOUNDED])
    def test_too_few_inputs_are_an_error_that_says_how_many_are_needed(self, metric):
        with pytest.raises(XaiError, match=r"found 2 inputs .*at least 5"):
            decided(bounded(metric, at_most=0.5), scored([0.0, 0.0]), "E")

    def test_a_bound_at_the_very_end_cannot_be_shown(self):
        with pytest.raises(XaiError, match="very end of the range"):
            decided(bounded(Plain(), at_least=1.0), scored(np.ones(64)), "E")


class TestArguments:
    @pytest.mark.parametrize(
        ("build", "words"),
        [
            (lambda: changes_under("cascading_randomisation"), "use 'cascading_randomization'"),
            (lambda: changes_under(RANDOMIZATION, dept=1), "use 'depth'"),
            (lambda: changes_under(RANDOMIZATION, similarty="ssim"), "use 'similarity'"),
            (lambda: changes_under(RANDOMIZATION, similarity="sim"), "use 'ssim'"),
            (lambda: changes_under(RANDOMIZATION, similarity=["ssim", 3]), "found 3; expected one of abs_pearson"),
            (lambda: changes_under(RANDOMIZATION, cells="some"), "expected 'sample' or 'all'"),
            (lambda: changes_under(RANDOMIZATION, reinit="permute"), "use 'permutation'"),
            (lambda: changes_under(RANDOMIZATION, depth=0), "whole number from 1 to"),
            (lambda: changes_under(RANDOMIZATION, seeds=True), 'whole number from 1 to 1,000, or "fresh"'),
            (lambda: changes_under(RANDOMIZATION, target="other"), "'fixed' or 'dynamic'"),
            (lambda: changes_under(RANDOMIZATION, at_most=0.3), "expected one similarity"),
            (lambda: changes_under(RANDOMIZATION, similarity=["ssim", "mse"], at_most=0.3), "name one similarity"),
            (lambda: changes_under(RANDOMIZATION, similarity="ssim", at_most=2), "between -1 and 1"),
            (lambda: changes_under(RANDOMIZATION, similarity="mse", at_most=-1), "between 0 and 4"),
            (lambda: changes_under(RANDOMIZATION, similarity="ssim", at_most="0.3"), "found '0.3'"),
            (lambda: changes_under(RANDOMIZATION, similarity="ssim", at_most=0.1, retention=0.2), "one of the two"),
            (lambda: changes_under(RANDOMIZATION, retention=1.5), "between 0 and 1"),
            (lambda: changes_under(RANDOMIZATION, retention=math.nan), "between 0 and 1"),
            (lambda: changes_under(RANDOMIZATION, confidence=95), "between 0.5 and 1"),
            (lambda: changes_under(RANDOMIZATION, confidence=True), "between 0.5 and 1"),
            (lambda: changes_under(RANDOMIZATION, early="no"), "True or False"),
            (lambda: changes_under("batch_order"), "claim invariant_under"),
            (lambda: changes_under(CascadingRandomization), r"write CascadingRandomization\(...\)"),
            (lambda: changes_under(CascadingRandomization(), depth=1), "pass depth to CascadingRandomization"),
            (lambda: changes_under(RANDOMIZATION, similarity=()), r"found \(\); .*leave similarity= out"),
            (lambda: changes_under(5), "found 5; expected an intervention, or its name.*cascading_randomization"),
            (lambda: invariant_under(RANDOMIZATION), "claim changes_under"),
            (lambda: invariant_under("batch_order", similarity="ssim"), "both or neither"),
            (lambda: invariant_under("batch_order", at_least=0.9), "both or neither"),
            (lambda: invariant_under("batch_order", tolerance=-1), "found -1"),
            (lambda: invariant_under("batch_order", tolerance=0.1, similarity="ssim", at_least=0.9), "one of the two"),
            (lambda: invariant_under("batch_order", seeds=0), "whole number from 1 to 1,000"),
            (lambda: beats("randm", on="pixel_flipping"), "use 'random'"),
            (lambda: beats("random", on="pixel_fliping"), "use 'pixel_flipping'"),
            (lambda: beats("random", on="pixel_flipping", stepps=3), "use 'steps'"),
            (lambda: beats("random", on="pixel_flipping", draws=0), "whole number from 1 to 1,000"),
            (lambda: beats("edges", on="pixel_flipping", draws=3), "draws"),
            (lambda: beats(print, on="pixel_flipping", draws=3), "draws only for 'random'"),
            (lambda: beats("random", on=PixelFlipping), r"write PixelFlipping\(...\)"),
            (lambda: beats("random", on=3), "expected a metric"),
            (lambda: beats("random", on=BatchOrder()), "expected a metric, or its name"),
            (lambda: beats("random", on="scale_preservation"), "measures more than given maps"),
            (lambda: beats(None, on="pixel_flipping"), "found None; expected a baseline or an explainer"),
            (lambda: beats(0.5, on="pixel_flipping"), "found 0.5; expected a baseline or an explainer"),
            (lambda: beats(["random"], on="pixel_flipping"), "type list; expected a baseline or an explainer"),
            (lambda: beats(Plain(), on="pixel_flipping"), "type Plain; expected a baseline or an explainer"),
            (lambda: beats(BatchOrder(), on="pixel_flipping"), "type BatchOrder; expected a baseline"),
            (lambda: beats(Random, on="pixel_flipping"), r"write Random\(...\)"),
            (lambda: beats(Random(), draws=3, on="pixel_flipping"), "found a setting of a named baseline beside"),
            (lambda: beats("random", on="pixel_flipping", across=0), "found across=0 on pixel_flipping"),
            (lambda: changes_under(None), "found None; expected an intervention"),
            (lambda: changes_under(Plain()), "expected an intervention, or its name"),
            (lambda: changes_under(RANDOMIZATION, similarity=Plain()), "expected one of abs_pearson"),
            (lambda: changes_under(RANDOMIZATION, similarity=DISTANCE), "expected one of abs_pearson"),
            (lambda: bounded(None, at_most=1), "found None; expected a metric"),
            (lambda: bounded("pixel_flipping"), "at_most= or at_least="),
            (lambda: bounded("pixel_flipping", at_most=3), "between -1 and 1"),
            (lambda: bounded("pixel_flipping", at_most="1"), "between -1 and 1"),
            (lambda: bounded("pixel_flipping", at_most=math.inf, output="logit"), "a finite number"),
            (lambda: bounded("pixel_flipping", at_most=0.1, at_least=0.2), "swap them"),
            (lambda: bounded(0.3, at_most=1), "expected a metric"),
            (lambda: make("change_under", (), {}, where="mark"), "use 'changes_under'"),
            (lambda: make("beats", ("random",), {}, where="xai_beats"), "xai_beats: .*missing a required .*'on'"),
            (
                lambda: make("changes_under", (), {}, where="m"),
                r"expected changes_under\(intervention, \*, similarity=None",
            ),
        ],
    )
    def test_a_mistake_is_one_error_that_says_how_to_mend_it(self, build, words):
        with pytest.raises(XaiError, match=words):
            build()

    @pytest.mark.parametrize(
        "value", [np.array([1, 2]), torch.tensor([1, 2]), [1, 2], {1: 2}], ids=lambda v: type(v).__name__
    )
    @pytest.mark.parametrize(
        ("build", "named"),
        [
            (lambda value: changes_under(RANDOMIZATION, similarity=value), "changes_under similarity"),
            (lambda value: changes_under(RANDOMIZATION, similarity="ssim", at_most=value), "changes_under at_most"),
            (lambda value: changes_under(RANDOMIZATION, retention=value), "changes_under retention"),
            (lambda value: changes_under(RANDOMIZATION, confidence=value), "changes_under confidence"),
            (lambda value: changes_under(RANDOMIZATION, early=value), "changes_under early"),
            (lambda value: changes_under(RANDOMIZATION, depth=value), "cascading_randomization depth"),
            (lambda value: changes_under(value), "changes_under"),
            (lambda value: invariant_under("batch_order", tolerance=value), "invariant_under tolerance"),
            (
                lambda value: invariant_under("batch_order", similarity="ssim", at_least=value),
                "invariant_under at_least",
            ),
            (lambda value: beats("random", on=value), "beats on="),
            (lambda value: beats("random", on="pixel_flipping", draws=value), "baseline 'random' draws"),
            (lambda value: beats("random", on="pixel_flipping", across=value), "beats across"),
            (lambda value: beats("random", on="pixel_flipping", steps=value), "pixel_flipping steps"),
            (lambda value: bounded("pixel_flipping", at_most=value), "bounded at_most"),
            (lambda value: bounded("pixel_flipping", at_least=value), "bounded at_least"),
        ],
    )
    def test_arrays_and_collections_are_no_values(self, build, named, value):
        """Though they can neither be compared with one word nor, some of them, be hashed."""
        with pytest.raises(XaiError) as caught:
            build(value)
        assert caught.value.where.startswith(named)

    def test_a_similarity_and_its_name_are_interchangeable(self):
        one = changes_under(RANDOMIZATION, similarity=SIMILARITIES["ssim"], at_most=0.5)
        assert one == changes_under(RANDOMIZATION, similarity="ssim", at_most=0.5)
        assert str(one) == "changes_under cascading_randomization(similarity=ssim, at_most=0.5)"

    def test_numbers_of_numpy_are_numbers(self):
        assert changes_under(RANDOMIZATION, similarity="ssim", at_most=np.float32(0.5)).at_most == 0.5

    def test_the_ends_of_a_range_are_allowed(self):
        changes_under(RANDOMIZATION, similarity="ssim", at_most=1)
        changes_under(RANDOMIZATION, similarity="mse", at_most=4)
        bounded("pixel_flipping", at_least=-1)


class TestWords:
    @pytest.mark.parametrize(
        ("claim", "words"),
        [
            (changes_under(RANDOMIZATION), "changes_under cascading_randomization"),
            (
                changes_under(RANDOMIZATION, depth=1, similarity="ssim", confidence=0.99, early=False),
                "changes_under cascading_randomization(depth=1, similarity=ssim, confidence=0.99, early=False)",
            ),
            (changes_under(CascadingRandomization(depth=2)), "changes_under cascading_randomization"),
            (invariant_under(BatchOrder(), tolerance=0.1), "invariant_under batch_order(tolerance=0.1)"),
            (beats("random", on="pixel_flipping"), "beats random on pixel_flipping"),
            (
                beats("random", draws=9, on="pixel_flipping", steps=8, confidence=0.9),
                "beats random(draws=9) on pixel_flipping(steps=8, confidence=0.9)",
            ),
            (beats(print, on=Plain()), "beats print on plain"),
            (bounded("pixel_flipping", at_least=0.1), "bounded pixel_flipping(at_least=0.1)"),
        ],
    )
    def test_a_claim_reads_as_it_was_written(self, claim, words):
        assert str(claim) == words

    def test_make_builds_what_the_verb_builds(self):
        """So markers and methods are one path."""
        made = make("beats", ("random",), {"on": "pixel_flipping", "draws": 3}, where="mark")
        assert made == beats("random", on="pixel_flipping", draws=3)
        assert made.words == beats("random", on="pixel_flipping", draws=3).words

    def test_the_verdict_quotes_the_claim_and_keeps_the_evidence_plain(self):
        verdict = decided(changes_under(RANDOMIZATION), compared(spearman=(0, 1, 0)), "Saliency")
        assert verdict.claim == "Saliency changes_under cascading_randomization"
        assert verdict.evidence["indices"] == list(range(64))
        assert all(type(score) is float for score in verdict.evidence["scores"]["spearman"])
