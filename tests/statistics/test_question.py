"""The statistics of a verdict, each against a second, slow formula."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from scipy import special, stats

from pytest_xaisanity.statistics import bounds as B
from pytest_xaisanity.statistics.question import Level, Outlook, Question, looks
from pytest_xaisanity.statistics.shares import beaten_shares
from pytest_xaisanity.statistics.verdict import Verdict

pytestmark = pytest.mark.long

LEVELS = Level(0.95), Level(0.95, fail_share=0.25)


def make(**changes):
    """Return a verdict."""
    fields = {
        "claim": "GuidedBackprop changes_under cascading_randomization",
        "outcome": "failed",
        "estimate": 0.8214,
        "interval": (0.7901, 0.8512),
        "confidence": 0.95,
        "n": 64,
        "decided_by": "Gaffke's bound",
        "quantity": "retention",
        "reason": "Most of the map survives.",
    }
    return Verdict(**{**fields, **changes})


def asked(low=0.0, high=1.0, *, threshold, direction="above", margin=0.0, share=False, confidence=0.95, early=True):
    """Return a question and how sure its answer must be."""
    return Question(low, high, threshold, direction, margin, "share" if share else "mean"), Level(confidence, early)


def decide_mean(lo, hi, *, final, **settings):
    question, level = asked(**settings)
    return question.decide(lo, hi, level, final=final)


def decide_share(lo, hi, **settings):
    return decide_mean(lo, hi, share=True, **settings)


def smallest_n(*, best=None, limit=100_000, **settings):
    question, level = asked(**settings)
    return question.smallest_n(level, best=best, limit=limit)


def inputs_needed(lo, hi, **settings):
    question, level = asked(**settings)
    return question.outlook(lo, hi, level).needed


def above(z, m=0.5, **changes):
    """Return the decision that the mean of ``z`` is above ``m``."""
    settings = {"low": 0.0, "high": 1.0, "threshold": m, "confidence": 0.95, "final": True}
    return decide_mean(z, z, **{**settings, **changes})


def draw(seed, n, mean=0.5, sd=0.2):
    """Return clipped normal scores."""
    return np.clip(np.random.default_rng(seed).normal(mean, sd, n), 0, 1)


class TestVerdict:
    def test_repr_reads_as_one_sentence(self):
        assert repr(make()) == (
            "<failed: GuidedBackprop changes_under cascading_randomization: retention 0.821 in [0.79, 0.851], n=64>"
        )

    @pytest.mark.parametrize("claim", ["x" * 500, "a claim\nover two lines " * 20])
    @pytest.mark.parametrize("quantity", ["retention", "q" * 300])
    def test_repr_is_one_line_under_200_characters_and_keeps_both_ends_of_the_claim(self, claim, quantity):
        verdict = make(claim=f"begin {claim} end", quantity=quantity, estimate=-1.23456e-7, interval=(-1e-300, 1e300))
        text = repr(verdict)
        assert len(text) < 200
        assert "\n" not in text
        assert text.startswith("<failed: begin ")
        assert " end: " in text

    def test_only_a_pass_or_a_tolerated_inconclusive_is_true(self):
        assert make(outcome="passed")
        assert not make(outcome="failed", tolerated=True)
        assert not make(outcome="inconclusive")
        assert make(outcome="inconclusive", tolerated=True)

    def test_each_outcome_has_its_property(self):
        for outcome in ("passed", "failed", "inconclusive"):
            verdict = make(outcome=outcome)
            assert [verdict.passed, verdict.failed, verdict.inconclusive].count(True) == 1
            assert getattr(verdict, outcome)

    def test_evidence_counts_neither_for_equality_nor_for_hashes(self):
        one, other = make(evidence={"scores": np.zeros(3)}), make()
        assert one == other
        assert hash(one) == hash(other)

    def test_a_verdict_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            make().outcome = "passed"


def test_looks_double_to_64_then_come_every_64_and_end_with_all_inputs():
    """And there is always one."""
    assert list(looks(5)) == [5]
    assert list(looks(16)) == [16]
    assert list(looks(50)) == [16, 32, 50]
    assert list(looks(200)) == [16, 32, 64, 128, 192, 200]
    assert list(looks(256)) == [16, 32, 64, 128, 192, 256]


def gaffke_exactly(z, m):
    """``P(sum c_i E_i <= 0)`` for distinct c by partial fractions, in rational numbers."""
    c = [Fraction(x) - Fraction(m) for x in z] + [-Fraction(m)]
    positive = (math.prod(a / (a - b) for j, b in enumerate(c) if i != j) for i, a in enumerate(c) if a > 0)
    return float(1 - sum(positive, Fraction(0)))


def log_capital_slowly(z, m):
    """Return the log of the largest wealth, bet by bet."""
    wealth, best = dict.fromkeys(B.STAKES.tolist(), 1.0), 1.0
    for x in z:
        for stake in wealth:
            wealth[stake] *= 1 + stake / m * (x - m)
        best = max(best, sum(w * v for w, v in zip(B.STAKE_WEIGHTS, wealth.values(), strict=True)))
    return math.log(best)


class TestGaffke:
    @pytest.mark.parametrize("n", [1, 2, 3, 8, 40])
    @pytest.mark.parametrize("m", [0.001, 0.1, 0.5, 0.9])
    @pytest.mark.parametrize("power", [0.2, 1, 8])
    def test_the_p_value_is_the_partial_fraction_sum(self, n, m, power):
        z = np.random.default_rng(n).random(n) ** power
        assert B.gaffke_p_value(z, m) == pytest.approx(gaffke_exactly(z, m), rel=1e-10)

    @pytest.mark.parametrize("values", [[0, 1], [0, 0.5, 1], [0.5], [0.3, 0.3, 0.7]])
    def test_ties_agree_with_random_draws_of_the_definition(self, values):
        rng = np.random.default_rng(7)
        z = rng.choice(values, 12)
        weights = rng.dirichlet(np.ones(13), 200_000)
        sums = weights @ np.append(z, 0.0)
        for m in (0.25, 0.4, 0.5):
            assert B.gaffke_p_value(z, m) == pytest.approx((sums <= m).mean(), abs=0.006)
        assert B.gaffke_lower_bound(z, 0.1) == pytest.approx(np.quantile(sums, 0.1), abs=0.004)

    @pytest.mark.parametrize("n", [1, 2, 5, 100, 4096, 100_000])
    @pytest.mark.parametrize("m", [0.2, 0.9, 0.9999])
    def test_ones_give_the_power_of_the_threshold(self, n, m):
        assert B.gaffke_log_p_value(np.ones(n), m) == pytest.approx(n * math.log(m), rel=1e-5)

    def test_ones_and_zeros_give_the_bound_of_clopper_and_pearson(self):
        z = np.repeat([1.0, 0.0], [13, 7])
        assert B.gaffke_lower_bound(z, 0.05) == pytest.approx(B.clopper_pearson_lower_bound(z, 0.05), abs=1e-6)

    def test_the_ends_of_the_range_need_no_integral(self):
        assert B.gaffke_p_value([0.2, 0.4], 1.0) == 1.0
        assert B.gaffke_p_value([0.2, 0.4], 0.4) == 1.0
        assert B.gaffke_p_value([0.0, 0.4], 0.0) == 0.0
        assert B.gaffke_p_value([0.0, 0.0], 0.0) == 1.0
        assert B.gaffke_lower_bound([0.0, 0.0], 0.05) == 0.0

    @pytest.mark.parametrize("n", [1, 2, 7, 64, 1000, 20_000])
    @pytest.mark.parametrize("shape", [(2, 2), (0.1, 2), (2, 0.1), (0.02, 0.02)])
    def test_the_bound_is_where_the_p_value_is_alpha(self, n, shape):
        z = np.random.default_rng(n).beta(*shape, n)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bound = B.gaffke_lower_bound(z, 0.03)
            at_bound = B.gaffke_p_value(z, bound)
        # The bound is known to 1e-7; where it is near 0 that is much of it.
        assert at_bound == pytest.approx(0.03, abs=1e-3) or bound < 1e-3
        assert 0 <= bound <= z.mean()

    def test_the_p_value_grows_with_the_threshold(self):
        z = draw(0, 50)
        p = [B.gaffke_p_value(z, m) for m in np.linspace(0, 1, 60)]
        assert np.all(np.diff(p) >= -1e-12)

    def test_coefficients_of_any_scale_are_summed(self):
        for c in ([1.0, -1e-8], [1e-8, -1.0], [1e-8, 1e-4, 1.0, -1e-6]):
            positive, negative = [x for x in c if x > 0], -c[-1]
            exact = math.prod(negative / (negative + x) for x in positive)
            assert math.exp(B._log_probability_nonpositive(np.array(c))) == pytest.approx(exact, rel=1e-9)


class TestBetting:
    @pytest.mark.parametrize("m", [0.05, 0.4, 0.9])
    def test_the_wealth_is_that_of_bet_after_bet(self, m):
        z = draw(3, 60, mean=m + 0.1)
        assert B.log_capital(z, m) == pytest.approx(log_capital_slowly(z, m), rel=1e-9)

    def test_no_wealth_grows_on_average_under_the_null(self):
        """One bet on a two-point distribution of mean m has an expected factor of exactly one, whatever the stake."""
        for m, x, y in ((0.3, 0.1, 0.9), (0.5, 0.0, 1.0)):
            p = (m - x) / (y - x)
            factors = p * (1 + B.STAKES * (y / m - 1)) + (1 - p) * (1 + B.STAKES * (x / m - 1))
            assert factors == pytest.approx(1.0)
        assert B.STAKE_WEIGHTS.sum() == pytest.approx(1.0)

    def test_the_bound_of_a_longer_prefix_is_never_lower(self):
        z = draw(1, 120)
        bounds = [B.betting_lower_bound(z[:k], 0.02) for k in range(1, 121)]
        assert np.all(np.diff(bounds) >= -1e-6)

    def test_the_bound_is_where_the_wealth_is_one_over_alpha(self):
        z = draw(2, 80)
        bound = B.betting_lower_bound(z, 0.01)
        assert math.exp(B.log_capital(z, bound)) == pytest.approx(100, rel=1e-3)

    def test_zeros_show_nothing(self):
        assert B.betting_lower_bound(np.zeros(50), 0.05) == 0.0


@pytest.mark.parametrize(("count", "n"), [(0, 9), (1, 9), (8, 9), (9, 9), (60, 64)])
def test_the_bound_of_a_share_is_that_of_scipy(count, n):
    """And so is the p-value."""
    z = np.repeat([1.0, 0.0], [count, n - count])
    test = stats.binomtest(count, n, 0.6, alternative="greater")
    assert B.clopper_pearson_lower_bound(z, 0.05) == pytest.approx(test.proportion_ci(0.95).low, abs=1e-12)
    assert math.exp(B.clopper_pearson_log_p_value(z, 0.6)) == pytest.approx(test.pvalue)


def shares_one_by_one(own, random):
    """Compare each pair."""
    points = [[1.0 if o > r else 0.5 if o == r else 0.0 for r in row] for o, row in zip(own, random, strict=True)]
    return [sum(row) / len(row) for row in points]


class TestBeatenShares:
    @pytest.mark.parametrize("levels", [2, 3, 100])
    @pytest.mark.parametrize("seed", range(5))
    def test_are_those_of_all_pairs(self, levels, seed):
        rng = np.random.default_rng([levels, seed])
        own, random = rng.integers(levels, size=9), rng.integers(levels, size=(9, 4))
        assert beaten_shares(own, random).tolist() == pytest.approx(shares_one_by_one(own, random))

    def test_are_halves_where_all_tie(self):
        assert np.all(beaten_shares(np.zeros(6), np.zeros((6, 9))) == 0.5)

    @pytest.mark.parametrize(
        ("own", "random"), [([1.0], [1.0]), ([1.0, 2.0], [[1.0]]), ([1.0], np.empty((1, 0))), ([math.nan], [[1.0]])]
    )
    def test_of_scores_that_cannot_be_ranked_are_refused(self, own, random):
        with pytest.raises(ValueError, match=r"own must be|NaN"):
            beaten_shares(own, random)


class TestDecideMean:
    def test_a_clear_effect_passes_and_its_opposite_fails(self):
        assert above(draw(0, 64, 0.8)).outcome == "passed"
        assert above(draw(0, 64, 0.2)).outcome == "failed"
        assert above(draw(0, 64, 0.5)).outcome == "inconclusive"

    def test_before_the_last_look_only_the_betting_sequence_decides(self):
        early = above(draw(0, 32, 0.5), final=False)
        assert early.outcome is None
        clear = above(draw(0, 32, 0.9), final=False)
        assert (clear.outcome, clear.decided_by) == ("passed", "betting confidence sequence")

    def test_gaffkes_bound_decides_what_betting_does_not(self):
        decision = above(draw(0, 16, 0.67, 0.1))
        assert (decision.outcome, decision.decided_by) == ("passed", "Gaffke's bound")

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("final", [False, True])
    def test_below_is_the_mirror_image_of_above(self, seed, final):
        lo = draw(seed, 40, 0.4 + 0.05 * seed) * 3 - 1
        hi = np.minimum(lo + 0.05, 2)
        settings = {"confidence": 0.9, "final": final, "margin": 0.1}
        one = decide_mean(lo, hi, low=-1, high=2, threshold=0.7, **settings)
        other = decide_mean(-hi, -lo, low=-2, high=1, threshold=-0.7, direction="below", **settings)
        assert (one.outcome, one.decided_by) == (other.outcome, other.decided_by)
        assert one.estimate == pytest.approx(-other.estimate)
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), nan_ok=True)

    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize("direction", ["above", "below"])
    @pytest.mark.parametrize("n", [8, 40])
    def test_the_outcome_agrees_with_the_interval(self, seed, direction, n):
        scores = draw([seed, n], n, 0.25 + 0.025 * seed) * 2 - 1
        decision = decide_mean(
            scores, scores, low=-1, high=1, threshold=0.0, confidence=0.95, final=True, direction=direction
        )
        low, high = decision.interval
        assert -1 <= low <= decision.estimate <= high <= 1
        shown = {"above": low > 0, "below": high < 0}
        assert (decision.outcome == "passed") == shown[direction]
        assert (decision.outcome == "failed") == shown["below" if direction == "above" else "above"]

    def test_a_margin_lets_a_null_effect_fail(self):
        z = draw(0, 400, 0.5, 0.1)
        assert above(z).outcome == "inconclusive"
        assert above(z, margin=0.05).outcome == "failed"
        assert above(1 - z, margin=0.05, direction="below").outcome == "failed"

    def test_a_pass_wins_over_a_fail_within_the_margin(self):
        z = draw(0, 2000, 0.55, 0.05)
        assert above(z, margin=0.2).outcome == "passed"

    def test_partly_known_scores_decide_only_what_holds_for_every_completion(self):
        z = draw(0, 64, 0.7)
        unknown = np.arange(64) % 2 == 0
        lo, hi = np.where(unknown, 0.0, z), np.where(unknown, 1.0, z)
        settings = {"low": 0.0, "high": 1.0, "threshold": 0.5, "confidence": 0.95, "final": True}
        wide = decide_mean(lo, hi, **settings)
        assert wide.outcome == "inconclusive"
        assert wide.interval[0] <= above(z).interval[0]
        assert wide.interval[1] >= above(z).interval[1]
        assert wide.estimate == pytest.approx((lo.mean() + hi.mean()) / 2)

    def test_a_look_depends_on_the_scores_so_far_alone(self):
        """What betting showed at an earlier look still stands at every later one."""
        z = np.concatenate([np.ones(12), draw(0, 60, 0.45)])
        assert above(z[:16], final=False).outcome == "passed"
        assert above(z[:20], final=False).outcome == "passed"
        assert above(z, final=False).outcome == "passed"

    def test_a_share_of_the_error_makes_fails_rarer_and_passes_no_rarer(self):
        """A fail at a quarter of the error is one at the confidence that this leaves."""
        z = np.concatenate([np.zeros(40), np.ones(10)])
        for few in (z[25:], z[30:], z[35:], z):
            whole, part = (Question(0.0, 1.0, 0.5).decide(few, few, level, final=True) for level in LEVELS)
            strict = Question(0.0, 1.0, 0.5).decide(few, few, Level(1 - 0.05 / 4), final=True)
            assert (part.outcome == "failed") == (strict.outcome == "failed")
            assert part.interval == (whole.interval[0], strict.interval[1])

    @pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
    def test_a_share_of_the_error_is_a_share(self, share):
        with pytest.raises(ValueError, match="fail_share"):
            Level(0.95, fail_share=share)

    def test_no_budget_is_kept_for_looks_that_never_come(self):
        z = draw(3, 16, 0.65, 0.15)
        assert above(z).interval == pytest.approx(above(z, early=False).interval)
        more = draw(3, 17, 0.65, 0.15)
        assert above(more).interval[0] < above(more, early=False).interval[0]

    def test_one_input_and_equal_inputs_are_decided(self):
        assert above([1.0]).outcome == "inconclusive"
        assert above(np.ones(8)).outcome == "passed"
        assert above(np.full(500, 0.5)).outcome == "inconclusive"
        assert above(np.zeros(8)).outcome == "failed"

    def test_a_threshold_at_the_end_of_the_range_is_decided(self):
        assert above(np.zeros(20), 0.0).outcome == "inconclusive"
        assert above(np.full(20, 0.1), 0.0).outcome == "passed"
        assert above(np.ones(20), 1.0).outcome == "inconclusive"

    def test_rounding_at_the_ends_is_forgiven(self):
        assert above(np.full(16, 1 + 1e-7)).outcome == "passed"

    @pytest.mark.parametrize(
        ("scores", "changes"),
        [
            ([], {}),
            ([0.5, math.nan], {}),
            ([1.5], {}),
            ([[0.5]], {}),
            ([0.5], {"low": 1.0}),
            ([0.5], {"threshold": 2.0}),
            ([0.5], {"confidence": 1.0}),
            ([0.5], {"margin": -0.1}),
            ([0.5], {"direction": "sideways"}),
            ([0.5], {"early": False, "final": False}),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, scores, changes):
        with pytest.raises(ValueError):
            above(scores, **changes)

    def test_ends_that_cross_are_refused(self):
        with pytest.raises(ValueError, match="lo must not exceed hi"):
            decide_mean([0.6], [0.5], low=0, high=1, threshold=0.5, confidence=0.95, final=True)


SHARE = {"threshold": 0.9, "confidence": 0.95, "final": True}
UNIT = {"low": 0.0, "high": 1.0, "confidence": 0.95}
PAIRED = {"low": -1.0, "high": 1.0, "threshold": 0.0, "confidence": 0.95}


class TestDecideShare:
    def test_a_share_is_decided_by_the_exact_bound(self):
        flags = np.ones(40, bool)
        decision = decide_share(flags, flags, **SHARE)
        assert (decision.outcome, decision.decided_by) == ("passed", "Clopper-Pearson bound")
        assert decision.interval == pytest.approx((0.036 ** (1 / 40), 1.0))
        assert decide_share(~flags, ~flags, **SHARE).outcome == "failed"

    def test_unknown_flags_count_against_the_claim(self):
        lo, hi = np.arange(80) >= 4, np.ones(80, bool)
        assert decide_share(hi, hi, **SHARE).outcome == "passed"
        assert decide_share(lo, hi, **SHARE).outcome == "inconclusive"

    def test_many_flags_are_decided_early(self):
        flags = np.ones(128, bool)
        early = decide_share(flags, flags, threshold=0.9, confidence=0.95, final=False)
        assert (early.outcome, early.decided_by) == ("passed", "betting confidence sequence")

    def test_shares_are_not_flags(self):
        with pytest.raises(ValueError, match="true or false"):
            decide_share([0.5], [0.5], **SHARE)


class TestSmallestN:
    @pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 0.9])
    @pytest.mark.parametrize("share", [False, True])
    def test_it_passes_with_that_many_best_scores_and_not_with_one_less(self, threshold, share):
        n = smallest_n(threshold=threshold, share=share, **UNIT)
        decide = decide_share if share else (lambda *a, **k: decide_mean(*a, low=0.0, high=1.0, **k))
        outcomes = [
            decide(np.ones(k), np.ones(k), threshold=threshold, confidence=0.95, final=True).outcome
            for k in (n, n - 1)
            if k
        ]
        assert outcomes[0] == "passed"
        assert "passed" not in outcomes[1:]

    def test_it_knows_the_direction_and_the_best_score(self):
        assert smallest_n(threshold=0.5, **UNIT) == 5
        assert smallest_n(threshold=0.5, direction="below", **UNIT) == 5
        assert smallest_n(threshold=0.5, best=0.6, **UNIT) > 5

    def test_what_no_score_could_show_needs_no_number(self):
        assert smallest_n(threshold=0.5, best=0.5, limit=1000, **UNIT) is None


class TestInputsNeeded:
    @pytest.mark.slow
    def test_nine_in_ten_runs_of_that_size_are_settled(self):
        rng = np.random.default_rng(0)
        population = rng.normal(0.1, 0.2, 32).clip(-1, 1)
        n = inputs_needed(population, population, **PAIRED)
        draws = (rng.choice(population, n) for _ in range(300))
        outcomes = [decide_mean(z, z, final=True, **PAIRED).outcome for z in draws]
        assert outcomes.count("passed") / 300 >= 0.85

    def test_it_grows_as_the_effect_shrinks_and_ends_with_none(self):
        base = draw(0, 64, 0.5, 0.1) * 2 - 1
        base -= base.mean()
        needed = [inputs_needed(base + shift, base + shift, **PAIRED) for shift in (0.2, 0.1, 0.05, 0.02)]
        assert needed == sorted(needed)
        assert inputs_needed(base, base, **PAIRED) is None

    def test_a_fail_settles_too(self):
        scores = draw(0, 16, 0.45, 0.1) * 2 - 1
        assert inputs_needed(scores, scores, **PAIRED) is not None
        null = draw(0, 64, 0.5, 0.1) * 2 - 1
        null -= null.mean()
        assert inputs_needed(null, null, margin=0.05, **PAIRED) is not None

    def test_it_mirrors_for_below_and_works_for_shares(self):
        scores = draw(0, 16, 0.6, 0.2) * 2 - 1
        assert inputs_needed(scores, scores, **PAIRED) == inputs_needed(-scores, -scores, direction="below", **PAIRED)
        flags = np.ones(20)
        assert inputs_needed(flags, flags, low=0, high=1, threshold=0.9, confidence=0.95, share=True) >= 31

    @pytest.mark.parametrize("margin", [0.0, 0.1])
    def test_a_share_of_unknown_scores_stays_open_at_any_number(self, margin):
        """As of maps that are constant for a fixed share of the inputs; the outlook says it at each number."""
        question = Question(-1.0, 1.0, 0.0, margin=margin)
        for n in (40, 400, 4000):
            known = np.tile([0.3, 0.2, -0.1, 0.1], n // 4)
            lo, hi = known.copy(), known.copy()
            lo[::3], hi[::3] = -1.0, 1.0
            assert question.decide(lo, hi, Level(0.95), final=True).outcome == "inconclusive"
            assert question.outlook(lo, hi, Level(0.95)) == (None, "unknown", False)

    def test_what_it_does_not_know_has_a_reason(self):
        question, level, noise = Question(-1.0, 1.0, 0.0), Level(0.95), np.tile([0.5, -0.5], 50)
        assert question.outlook(noise, noise, level) == (None, "near", False)
        weak, rough = np.tile([0.9, -0.886], 4000), Question(-1.0, 1.0, 0.0)
        assert rough.outlook(weak, weak, level) == (None, "many", False)

    def test_of_several_what_hinders_one_hinders_all(self):
        near, few, many = Outlook(None, "near"), Outlook(40), Outlook(90)
        assert Outlook.of_all([few, many]) == many
        assert Outlook.of_all([few, near]) == near
        assert few.of_pairs.needed == 80

    def test_scores_of_which_nothing_is_known_settle_nothing(self):
        lo, hi = np.full(20, -1.0), np.full(20, 1.0)
        assert inputs_needed(lo, hi, **PAIRED) is None


@pytest.mark.parametrize("threshold", [5e-324, 1e-300, 1e-12])
@pytest.mark.parametrize("direction", ["above", "below"])
def test_a_threshold_may_be_next_to_nothing(threshold, direction):
    scores = np.full(16, 0.5)
    decision = Question(0.0, 1.0, threshold, direction).decide(scores, scores, Level(0.95), final=True)
    assert decision.outcome == ("passed" if direction == "above" else "failed")
    assert Question(0.0, 1.0, threshold, direction).fewest(Level(0.95)) is not None


def test_the_normal_scale_of_gaffkes_bound_reaches_far_tails():
    """The root finder relies on it."""
    assert special.ndtri_exp(-500.0) == pytest.approx(-31.4, abs=0.1)


def test_a_fail_is_decided_with_the_looks_that_there_were():
    """Of twelve groups that more inputs make, which had a look before, not all may be spent at the last one."""
    level = Level(0.95, fail_share=0.5, looked=True).for_fails()
    assert (level.looked, level.fail_share) == (True, 1.0)
    assert level.confidence == pytest.approx(0.975)
