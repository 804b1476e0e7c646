"""The efficient MPRT: the entropy of maps before and after the whole model is randomized."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laboratory import record_of
from scipy import stats
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.claims import make as claims
from pytest_xaisanity.common.seeding import generator, global_state, same_state
from pytest_xaisanity.evidence.metrics.efficient_mprt import EfficientMPRT, histogram_entropy
from pytest_xaisanity.model.layers import find_layers
from pytest_xaisanity.model.reinit.randomizer import Randomizer
from pytest_xaisanity.report.summary import Collected

IMAGES = torch.randn(24, 2, 8, 8, generator=generator("images"))


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=generator("noise"), dtype=dtype)


def network():
    """Return a small convolutional network with the same weights whenever it is made."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.Tanh(), nn.Linear(8, 3)]
        return nn.Sequential(*layers).eval()


def gradients(model, inputs, targets):
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def bounded(explain, *, inputs=IMAGES, model=None, at_least=0.0, batch_size=None, seed=0, **settings):
    bench = Bench(network() if model is None else model, inputs, device="cpu", batch_size=batch_size, seed=seed)
    return bench.explainer(explain).bounded("efficient_mprt", at_least=at_least, early=False, **settings)


def entropies(verdict):
    """Return the entropies ``(n, 1 + seeds)`` that the evidence holds, in the order of the inputs."""
    curve = np.array(verdict.evidence["curves"]["explainer"]["entropy"])
    return curve[np.argsort(verdict.evidence["indices"])]


class TestEntropy:
    @pytest.mark.parametrize("bins", [2, 7, 100, 1000])
    @pytest.mark.parametrize("shape", [(5,), (28, 28), (3, 9, 4)])
    def test_it_is_that_of_the_histogram(self, shape, bins):
        maps = noise(12, *shape, dtype=torch.float64)
        expected = [stats.entropy(np.histogram(one, bins)[0]) for one in maps.numpy().reshape(12, -1)]
        assert histogram_entropy(maps, bins).tolist() == pytest.approx(expected, abs=1e-9)

    def test_single_precision_differs_at_most_by_what_lies_on_an_edge(self):
        maps = noise(12, 28, 28, dtype=torch.float64)
        assert histogram_entropy(maps.float(), 100).tolist() == pytest.approx(
            histogram_entropy(maps, 100).tolist(), abs=1e-3
        )

    def test_gaussian_and_uniform_maps_have_the_known_entropies(self):
        """A density has ``ln sqrt(2 pi e)`` or 0, and bins of equal width add the logarithm of their number by unit."""
        drawn = generator("large")
        gaussian, uniform = torch.randn(20, 224, 224, generator=drawn), torch.rand(20, 224, 224, generator=drawn)
        width = (gaussian.amax((1, 2)) - gaussian.amin((1, 2))) / 100
        expected = [math.log((2 * math.pi * math.e) ** 0.5 / one) for one in width.tolist()]
        found = histogram_entropy(gaussian, 100)
        assert found.tolist() == pytest.approx(expected, abs=0.01)
        assert found.mean().item() == pytest.approx(3.885, abs=0.04)
        assert histogram_entropy(uniform, 100).mean().item() == pytest.approx(4.604, abs=0.001)

    def test_equal_shares_have_the_logarithm_of_their_number(self):
        maps = torch.arange(12.0).repeat(2, 5)
        assert histogram_entropy(maps, 12).tolist() == pytest.approx([math.log(12)] * 2, abs=1e-6)
        assert histogram_entropy(maps, 4).tolist() == pytest.approx([math.log(4)] * 2, abs=1e-6)

    def test_two_values_have_the_entropy_of_a_coin(self):
        maps = torch.tensor([[0.0] * 3 + [5.0], [1.0, 1.0, -1.0, -1.0]])
        expected = [stats.entropy([3, 1]), math.log(2)]
        assert histogram_entropy(maps, 100).tolist() == pytest.approx(expected, abs=1e-6)

    @given(scale=st.sampled_from([-1000.0, -1.0, 0.125, 3.0, 1e-6]), shift=st.sampled_from([0.0, -7.0, 0.3]))
    def test_scale_and_shift_change_nothing(self, scale, shift):
        maps = noise(8, 20, 20, dtype=torch.float64)
        altered = histogram_entropy(scale * maps + shift, 50)
        assert altered.tolist() == pytest.approx(histogram_entropy(maps, 50).tolist(), abs=1e-6)

    @given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=30), st.integers(2, 40))
    def test_it_lies_between_nothing_and_the_logarithm_of_the_bins(self, values, bins):
        (entropy,) = histogram_entropy(torch.tensor([values]), bins).tolist()
        assert -1e-6 <= entropy <= math.log(min(bins, len(values))) + 1e-6
        assert (entropy == 0) == (len(set(values)) == 1)

    def test_a_constant_map_has_none_and_one_that_is_not_finite_an_unknown_one(self):
        maps = torch.tensor([[2.0, 2.0], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [-math.inf, math.inf]])
        assert histogram_entropy(maps, 10).tolist() == pytest.approx([0, 0, *[math.nan] * 3], nan_ok=True)


class TestScore:
    def test_it_is_the_relative_rise_averaged_over_randomizations_of_all_layers(self):
        verdict = bounded(gradients, seeds=3, bins=20)
        model = network()
        targets = model(IMAGES).argmax(1)

        def entropy():
            maps = gradients(model, IMAGES, targets).sum(1).double().numpy()
            return np.array([stats.entropy(np.histogram(one, 20)[0]) for one in maps])

        before, after = entropy(), []
        layers = find_layers(model, lambda: model(IMAGES[:1])).top_down()
        with Randomizer(model, layers) as randomizer:
            for seed in range(3):
                for layer in layers:
                    randomizer.randomize(layer, seed=seed)
                after.append(entropy())
        assert entropies(verdict) == pytest.approx(np.stack([before, *after], axis=1), abs=1e-5)
        expected = np.mean([(one - before) / before for one in after], axis=0)
        scores = np.array(verdict.evidence["scores"]["explainer"])[np.argsort(verdict.evidence["indices"])]
        assert scores == pytest.approx(expected, abs=1e-5)

    def test_fresh_noise_has_about_none(self):
        images = torch.randn(32, 1, 48, 48, generator=generator("large images"))
        linear = nn.Sequential(nn.Flatten(), nn.Linear(48 * 48, 2)).eval()
        verdict = bounded(lambda model, x, t: torch.randn_like(x), inputs=images, model=linear)
        assert abs(verdict.evidence["means"]["explainer"]) < 0.02

    def test_maps_that_do_not_depend_on_the_model_have_exactly_none(self):
        verdict = bounded(lambda model, inputs, targets: inputs.square())
        assert set(verdict.evidence["scores"]["explainer"]) == {0.0}

    @pytest.mark.parametrize("rises", [True, False])
    def test_maps_that_lose_their_order_pass_and_those_that_gain_some_fail(self, rises):
        """The weights tell whether the model is as given: then the map has few values and afterwards many, or not."""
        model = network()
        original = model[5].weight[0, 0].item()

        def explain(model, inputs, targets):
            few = (model[5].weight[0, 0].item() == original) == rises
            return inputs.sign() if few else inputs * 1.0

        verdict = bounded(explain, model=model, seeds=2)
        assert verdict.outcome == ("passed" if rises else "failed")
        scores = np.array(verdict.evidence["scores"]["explainer"])
        assert (scores >= -1).all()
        assert ((scores > 0) == rises).all()

    def test_a_model_that_explains_with_a_constant_once_randomized_has_the_least_score(self):
        model = network()
        original = model[5].weight[0, 0].item()

        def explain(model, inputs, targets):
            return inputs * float(model[5].weight[0, 0].item() == original)

        verdict = bounded(explain, model=model, seeds=2)
        assert set(verdict.evidence["scores"]["explainer"]) == {-1.0}
        assert verdict.failed

    def test_scores_do_not_depend_on_the_batch_size(self):
        reference = entropies(bounded(gradients, seeds=2))
        assert entropies(bounded(gradients, seeds=2, batch_size=5)) == pytest.approx(reference, abs=0.05)

    def test_the_seed_decides(self):
        first, second, other = (entropies(bounded(gradients, seeds=2, seed=seed)) for seed in (1, 1, 2))
        assert (first == second).all()
        assert (first[:, 0] == other[:, 0]).all()
        assert (first[:, 1:] != other[:, 1:]).any()


class TestUndefined:
    @staticmethod
    def dead(share):
        """Return an explainer whose maps are constant for inputs of the lowest means."""
        limit = IMAGES.mean((1, 2, 3)).quantile(share)
        return lambda model, inputs, targets: inputs.sign() * (inputs.mean((1, 2, 3)) > limit)[:, None, None, None]

    def test_constant_maps_are_counted_against_either_decision(self):
        verdict = bounded(self.dead(0.5), at_least=-0.5, seeds=1)
        assert verdict.inconclusive
        assert verdict.evidence["constant_or_not_finite"] == 12
        assert verdict.evidence["scores"]["explainer"].count(None) == 12
        assert "12 inputs have constant or non-finite maps, counted against either decision" in verdict.reason

    def test_few_of_them_do_not_keep_a_claim_from_being_decided(self):
        assert bounded(self.dead(0.05), at_least=-0.5, seeds=1).passed
        assert bounded(self.dead(0.05), at_least=0.5, seeds=1).failed

    def test_a_map_that_is_not_finite_once_randomized_counts_too(self):
        model = network()
        original = model[5].weight[0, 0].item()

        def explain(model, inputs, targets):
            maps = inputs * 1.0
            if model[5].weight[0, 0].item() != original:
                maps[inputs.mean((1, 2, 3)) > 0] = math.inf
            return maps

        verdict = bounded(explain, model=model, at_least=-0.5, seeds=2)
        assert verdict.evidence["constant_or_not_finite"] == int((IMAGES.mean((1, 2, 3)) > 0).sum())

    def test_constant_maps_of_all_inputs_are_an_error_of_the_explainer(self):
        with pytest.raises(XaiError, match="constant attributions for all of 24 inputs"):
            bounded(lambda model, inputs, targets: torch.ones_like(inputs))


class TestClaim:
    def test_what_was_randomized_stands_in_the_evidence(self):
        evidence = bounded(gradients, seeds=2, bins=30, reinit="permutation").evidence
        assert evidence["layers"] == ["5", "3", "0"]
        assert evidence["models"] == ["as given", "randomized, seed 0", "randomized, seed 1"]
        assert (evidence["bins"], evidence["reinit"]) == (30, "Permutation()")

    def test_it_shares_the_maps_of_a_cascade(self):
        seen = []

        def explain(model, inputs, targets):
            seen.append(len(inputs))
            return gradients(model, inputs, targets)

        explainer = Bench(network(), IMAGES, device="cpu").explainer(explain)
        explainer.changes_under("cascading_randomization", similarity="spearman", at_most=0.9, seeds=2, early=False)
        cascade = len(seen)
        verdict = explainer.bounded("efficient_mprt", at_least=0.0, seeds=2, early=False)
        assert len(seen) == cascade
        assert entropies(verdict) == pytest.approx(entropies(bounded(gradients, seeds=2)))

    def test_without_a_cascade_only_whole_models_are_explained(self):
        seen = []

        def explain(model, inputs, targets):
            seen.append(len(inputs))
            return gradients(model, inputs, targets)

        bounded(explain, seeds=4)
        assert seen == [2, *[24] * 5]

    def test_nothing_of_the_user_changes(self):
        model = network()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = global_state()
        bounded(gradients, model=model)
        assert same_state(state, global_state())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_rows_have_entropies_too(self):
        linear = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
        verdict = bounded(gradients, inputs=noise(20, 12), model=linear)
        assert (entropies(verdict) <= math.log(12) + 1e-6).all()

    def test_a_suite_that_claims_nothing_else_is_warned(self):
        collected = Collected()
        for metric, warnings in (("efficient_mprt", 1), ("pixel_flipping", 0)):
            claim = claims.bounded(metric, at_least=0.0)
            record = record_of(explainer="E", verb=claim.verb, randomizes=claim.randomizes, outcome="passed")
            collected.add(metric, [record])
            assert len(list(collected.warnings())) == warnings


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "found"),
        [
            ({"bins": 1}, "bins: found 1"),
            ({"bins": 10.0}, "bins: found 10.0"),
            ({"bins": 10**9}, "bins: found 1000000000; expected a whole number from 2 to 10,000"),
            ({"seeds": 0}, "seeds: found 0"),
            ({"seeds": True}, "seeds: found True"),
            ({"reinit": 3}, "reinit: found a int"),
            ({"reinit": "permutatoin"}, "reinit: found 'permutatoin'"),
        ],
    )
    def test_settings_out_of_range(self, settings, found):
        with pytest.raises(XaiError, match=f"efficient_mprt {found}"):
            EfficientMPRT(**settings)

    def test_bounds_below_the_range(self):
        with pytest.raises(XaiError, match="at_least"):
            bounded(gradients, at_least=-1.5)

    def test_it_cannot_score_the_maps_of_a_baseline(self):
        with pytest.raises(XaiError, match="measures more than given maps"):
            Bench(network(), IMAGES, device="cpu").explainer(gradients).beats("random", on="efficient_mprt")

    def test_a_model_without_weights(self):
        with pytest.raises(XaiError):
            bounded(lambda model, inputs, targets: inputs, model=nn.Flatten().eval())
