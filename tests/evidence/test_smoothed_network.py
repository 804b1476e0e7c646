"""Smoothing as an intervention, as a baseline and as what an explainer explains."""

from __future__ import annotations

import copy
from math import inf

import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, NoiseTunnel, Saliency
from model_state import state_of
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import Bench, XaiError, beats, invariant_under
from pytest_xaisanity.evidence.baselines.smoothed import Smoothed as SmoothedBaseline
from pytest_xaisanity.evidence.interventions.smoothed import Smoothed
from pytest_xaisanity.explainers import LRP, GuidedBackprop, OnSmoothed

IMAGES = torch.randn(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))
ALIKE = {"similarity": "spearman", "at_least": 0.5}


class Network(nn.Module):
    """A network with ReLUs as modules, in place, and as functions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(32, 5)

    def forward(self, inputs):
        hidden = F.max_pool2d(F.relu(self.first(inputs)), 2)
        hidden = F.max_pool2d(self.act(self.second(hidden)), 2)
        return self.head(hidden.flatten(1))


class SmoothNetwork(Network):
    """The same, written with softplus and log-sum-exp by hand."""

    def __init__(self, beta, r):
        super().__init__()
        self.beta, self.r = beta, r

    def forward(self, inputs):
        hidden = self.pooled(F.softplus(self.first(inputs), self.beta))
        hidden = self.pooled(F.softplus(self.second(hidden), self.beta))
        return self.head(hidden.flatten(1))

    def pooled(self, values):
        places = [values[..., a::2, b::2] for a in (0, 1) for b in (0, 1)]
        return torch.logsumexp(self.r * torch.stack(places), 0) / self.r


@pytest.fixture
def bench():
    return Bench(Network().eval(), IMAGES, device="cpu")


def gradient(model, inputs, targets):
    inputs.requires_grad_()
    scores = model(inputs)[torch.arange(len(inputs)), targets]
    return torch.autograd.grad(scores.sum(), inputs)[0]


def test_maps_and_agreement_are_those_of_the_network_written_smooth(bench):
    """The similarity before and after is that to the gradients of a network that is smooth by itself."""
    seen = bench.explainer(gradient).invariant_under("smoothed", beta=2.0, r=3.0, early=False, **ALIKE)
    plain, smooth = Network().eval(), SmoothNetwork(2.0, 3.0).eval()
    targets = plain(IMAGES).argmax(1)
    own, other = (gradient(model, IMAGES.clone(), targets).flatten(1) for model in (plain, smooth))
    ranks = [maps.argsort(1).argsort(1).double() for maps in (own, other)]
    expected = torch.stack([torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(*ranks, strict=True)])
    found = torch.tensor(seen.evidence["scores"]["spearman"])[torch.tensor(seen.evidence["indices"]).argsort()]
    assert torch.allclose(found.double(), expected, atol=1e-4)
    told = seen.evidence["smoothed"]
    outputs = [model(IMAGES) for model in (plain, smooth)]
    assert told["agreement"] == [pytest.approx(float((outputs[0].argmax(1) == outputs[1].argmax(1)).double().mean()))]
    change = (outputs[1] - outputs[0])[torch.arange(24), targets].abs().mean()
    assert told["output_change"] == [pytest.approx(change.item(), rel=1e-4)]
    assert told["replaced"] == {"relu": 2, "max_pool2d": 2}
    assert f"the smoothed network predicts the same for {told['agreement'][0]:.0%} of 24 inputs" in seen.reason


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (Saliency, {}),
        (IntegratedGradients, {"n_steps": 8}),
        (LayerGradCam, {"layer": "second"}),
        (GuidedBackprop(), {}),
        (LRP("epsilon"), {}),
        (lambda model, x, t: gradient(copy.deepcopy(model), x, t), {}),
    ],
    ids=["saliency", "integrated gradients", "gradcam", "guided", "lrp", "on a copy"],
)
def test_sharp_smoothing_reproduces_the_maps_and_blunt_smoothing_does_not(source, settings):
    bench = Bench(Network().double().eval(), IMAGES.double(), device="cpu")
    explainer = bench.explainer(source, **settings)
    sharp = explainer.invariant_under("smoothed", beta=1e8, r=1e8)
    assert sharp.passed, sharp.reason
    assert "predicts the same for 100% of 24 inputs" in sharp.reason
    assert explainer.invariant_under("smoothed", beta=0.5, r=0.5).failed


def test_what_is_bound_to_the_model_follows(bench):
    model = bench.subject.model
    bound = bench.explainer(NoiseTunnel(Saliency(model)), nt_samples=2, stdevs=0.01)
    assert bound.invariant_under("smoothed", beta=0.5, r=0.5, similarity="spearman", at_least=0.9).failed


def test_the_model_comes_back_bit_for_bit(bench):
    model = bench.subject.model
    before = state_of(model)
    bench.explainer(Saliency).invariant_under("smoothed", **ALIKE)
    assert state_of(model) == before

    def fails(model, inputs, targets):
        if not torch.equal(model(torch.zeros(1, 1, 8, 8)), at_zero):
            raise ValueError("smoothed")
        return gradient(model, inputs, targets)

    at_zero = model(torch.zeros(1, 1, 8, 8)).detach()
    with pytest.raises(XaiError, match=r"ValueError raised by the explainer on the smoothed model \(beta=10, r=10\)"):
        bench.explainer(fails).invariant_under("smoothed", **ALIKE)
    assert state_of(model) == before


def test_a_sweep_is_a_curve_in_the_evidence(bench):
    sharp = (1, 2, 5, 10, 50)
    seen = bench.explainer(Saliency).invariant_under("smoothed", beta=sharp, r=sharp, early=False, **ALIKE)
    curve, told = seen.evidence["after_by_cell"], seen.evidence["smoothed"]
    assert curve == sorted(curve)
    assert curve[-1] > 0.8
    assert told["beta"] == told["r"] == list(sharp)
    assert told["output_change"] == sorted(told["output_change"], reverse=True)
    assert "with beta=50, r=50 of 24 inputs" in seen.reason
    alone = bench.explainer(Saliency).invariant_under("smoothed", beta=5, r=5, early=False, **ALIKE)
    assert alone.estimate == pytest.approx(curve[2])


def test_a_sweep_of_changes_draws_one_setting_for_each_pair_and_knows_no_upper_third(bench):
    seen = bench.explainer(Saliency, abs=False).changes_under("smoothed", beta=(1, 1000), r=(1, 1000))
    assert dict(seen.evidence.rows())["settings"] == "2, one drawn for each pair of inputs"
    blunt, sharp = seen.evidence["by_similarity"]["spearman"]["after_by_position"]
    assert blunt < sharp
    assert "upper third" not in seen.reason
    assert "predicts the same" in seen.reason


def test_values_have_no_agreement_but_a_change():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1)).eval()
    bench = Bench(model, IMAGES, device="cpu")
    seen = bench.explainer(Saliency).invariant_under("smoothed", r=inf, **ALIKE)
    assert seen.evidence["smoothed"]["agreement"] == [None]
    assert "smoothed: the output changes by" in seen.reason


SMOOTH = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 3)).eval()


@pytest.mark.parametrize("settings", [{}, {"beta": inf, "r": inf}])
@pytest.mark.parametrize(
    "decide",
    [
        lambda one, **how: one.changes_under("smoothed", **how),
        lambda one, **how: one.beats("smoothed", on="pixel_flipping", **how),
    ],
)
def test_a_model_with_nothing_to_smooth_is_refused(decide, settings):
    explainer = Bench(SMOOTH, IMAGES, device="cpu").explainer(Saliency)
    with pytest.raises(XaiError, match=r"smoothed: found nothing to smooth in the forward pass of Sequential"):
        decide(explainer, **settings)


def test_poolings_alone_are_no_relus(bench):
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)).eval()
    explainer = Bench(model, IMAGES, device="cpu").explainer(Saliency)
    with pytest.raises(XaiError, match=r"expected ReLUs, as modules or functions.*give that a finite setting"):
        explainer.invariant_under("smoothed", r=inf)
    assert explainer.invariant_under("smoothed", beta=inf, **ALIKE).evidence["smoothed"]["replaced"] == {
        "max_pool2d": 1
    }


def test_an_explainer_that_goes_round_the_model_is_refused(bench):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 64))

        def forward(self, inputs):
            return F.relu(inputs.flatten(1) @ self.weight.T)

    explainer = Bench(Functional().eval(), IMAGES, device="cpu").explainer(
        lambda model, inputs, targets: gradient(model.forward, inputs, targets)
    )
    with pytest.raises(XaiError, match=r"passes in which nothing was smoothed.*call model\(inputs\)"):
        explainer.invariant_under("smoothed", **ALIKE)


@pytest.mark.parametrize("kind", [Smoothed, SmoothedBaseline, lambda **how: OnSmoothed(Saliency, **how)])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": 0}, "smoothed beta: found 0"),
        ({"r": -1.0}, "smoothed r: found -1.0"),
        ({"r": float("nan")}, "smoothed r: found nan"),
        ({"beta": "5"}, "smoothed beta: found '5'"),
        ({"beta": True}, "smoothed beta: found True"),
        ({"beta": ()}, "smoothed beta: found"),
        ({"lse": "max"}, "smoothed lse: found 'max'"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, words):
    with pytest.raises(XaiError, match=words):
        kind(**settings)


class TestBaseline:
    """``beats("smoothed")``, and its reverse."""

    def test_maps_are_those_of_the_smoothed_network_scored_on_the_network_as_given(self, bench):
        seen = bench.explainer(gradient).beats("smoothed", on="pixel_flipping", beta=1, r=1, early=False)

        def by_hand(model, inputs, targets):
            smooth = SmoothNetwork(1.0, 1.0).eval()
            return gradient(smooth, inputs, targets)

        expected = bench.explainer(gradient).beats(by_hand, on="pixel_flipping", early=False)
        assert seen.estimate == pytest.approx(expected.estimate, abs=1e-6)
        assert "the smoothed network predicts the same for" in seen.reason
        assert seen.evidence["smoothed"]["beta"] == [1.0]

    def test_the_reverse_is_an_explainer_on_the_smoothed_network(self, bench):
        plain = bench.explainer(gradient)
        reverse = bench.explainer(OnSmoothed(gradient, beta=1, r=1))
        assert reverse.name == "gradient on smoothed(beta=1, r=1)"
        seen = reverse.beats(plain, on="pixel_flipping", early=False)
        against = plain.beats(SmoothedBaseline(1, 1), on="pixel_flipping", early=False)
        assert seen.estimate == pytest.approx(-against.estimate, abs=1e-6)
        for verdict in (
            seen,
            plain.beats(reverse, on="pixel_flipping"),
            reverse.bounded("pixel_flipping", at_most=0.9),
        ):
            assert "the smoothed network predicts the same for" in verdict.reason

    def test_several_settings_must_each_be_beaten(self, bench):
        seen = bench.explainer(Saliency).beats("smoothed", on="pixel_flipping", beta=(1, 5), early=False)
        assert [*seen.evidence["smoothings"]] == ["smoothed(beta=1, r=10)", "smoothed(beta=5, r=10)"]
        assert "the smoothed network predicts the same for" in seen.reason

    def test_an_explainer_on_the_smoothed_network_takes_the_settings_of_the_one_inside(self, bench):
        explainer = bench.explainer(OnSmoothed(IntegratedGradients, beta=5), n_steps=4)
        assert explainer.name == "IntegratedGradients(n_steps=4) on smoothed(beta=5, r=10)"
        assert explainer.changes_under("cascading_randomization", seeds=2).n
        with pytest.raises(XaiError, match="n_steps"):
            bench.explainer(OnSmoothed(IntegratedGradients), n_stps=4)
        with pytest.raises(XaiError, match="OnSmoothed: found a int"):
            bench.explainer(OnSmoothed(3))


def test_what_it_costs_is_planned(bench):
    """An explanation of each network, a pass of each that predicts, and the one that finds the targets."""
    explainer = bench.explainer(gradient)
    for claim, explanations in (
        (beats("smoothed", on="pixel_flipping", early=False), 2),
        (invariant_under("smoothed", **ALIKE), 3),
    ):
        assert sum(plan.cost.explanations for plan in bench.plan(claim, explainer)) == explanations
    assert bench.plan(invariant_under("smoothed", beta=(1, 2), **ALIKE), explainer)[0].cost.passes == 4
