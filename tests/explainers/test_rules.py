"""Explainers by rules: each against its definition, and against zennit or Captum where they have it."""

from __future__ import annotations

import copy

import captum.attr
import numpy as np
import pytest
import torch
import zennit.composites
import zennit.rules
import zennit.torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import resnet18

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.explainers import (
    LRP,
    Deconvolution,
    DeepLift,
    DeepTaylor,
    ExcitationBackprop,
    GuidedBackprop,
    GuidedGradCAM,
    PatternAttribution,
    RectGrad,
    estimate_patterns,
)

pytestmark = pytest.mark.long

ignore_captum = pytest.mark.filterwarnings("ignore::UserWarning:captum")
RULES = ("z", "epsilon", "zplus", "alpha1beta0", "alpha2beta1", "alpha5beta4", "gamma", "composite", "wsquare")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cnn(*, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2, 12, bias=bias),
        nn.ReLU(),
        nn.Linear(12, 4, bias=bias),
    ).double()


IMAGES, TARGETS = normal(5, 2, 12, 12), torch.tensor([0, 1, 2, 3, 1])


def logit(model, inputs=IMAGES, targets=TARGETS):
    return model(inputs).gather(1, targets[:, None])[:, 0].detach()


def gradient(model, inputs=IMAGES, targets=TARGETS):
    inputs = inputs.clone().requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def propagated(explainer, model, inputs, relevance):
    """What the rule makes, at the inputs, of a relevance of the outputs."""
    leaf = inputs.clone().requires_grad_()
    with explainer.rules(model):
        return torch.autograd.grad(model(leaf), leaf, relevance)[0]


def residual_network():
    torch.manual_seed(0)
    model = resnet18(num_classes=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, -1, 2)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval().double()


ZENNIT = {
    "epsilon": zennit.rules.Epsilon(1e-6),
    "zplus": zennit.rules.ZPlus(),
    "alpha1beta0": zennit.rules.AlphaBeta(1, 0),
    "alpha2beta1": zennit.rules.AlphaBeta(2, 1),
    "alpha5beta4": zennit.rules.AlphaBeta(5, 4),
    "gamma": zennit.rules.Gamma(0.25),
    "wsquare": zennit.rules.WSquare(zero_params=["bias"]),
}


class TestDefinitions:
    """One dense layer, by loops over the formulas."""

    LAYER_INPUTS, LAYER_RELEVANCE = normal(3, 5, seed=1), normal(3, 4, seed=2)

    @staticmethod
    def layer(*, bias):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(5, 4, bias=bias)).double()

    @staticmethod
    def by_loops(inputs, weight, relevance, share):
        """Sum over the units of each input's share of their relevance."""
        result = torch.zeros_like(inputs)
        for n in range(len(inputs)):
            for j in range(len(weight)):
                shares = torch.stack([share(inputs[n, i], weight[j, i]) for i in range(inputs.shape[1])])
                result[n] += shares / (shares.sum() or 1.0) * relevance[n, j]  # a unit without shares keeps it
        return result

    @pytest.mark.parametrize(
        ("explainer", "share"),
        [
            (LRP("z"), lambda x, w: x * w),
            (LRP("epsilon", epsilon=1e-9), lambda x, w: x * w),
            (LRP("zplus"), lambda x, w: (x * w).clamp(min=0)),
            (LRP("alpha1beta0"), lambda x, w: (x * w).clamp(min=0)),
            (ExcitationBackprop(), lambda x, w: (x * w).clamp(min=0)),
            (LRP("wsquare"), lambda x, w: w**2),
            (LRP("zplus", first="wsquare"), lambda x, w: w**2),
            (LRP("zbox", low=-4.0, high=5.0), lambda x, w: x * w + 4 * w.clamp(min=0) - 5 * w.clamp(max=0)),
            (DeepTaylor(-4.0, 5.0), lambda x, w: x * w + 4 * w.clamp(min=0) - 5 * w.clamp(max=0)),
        ],
    )
    def test_a_rule_with_one_share(self, explainer, share):
        layer = self.layer(bias=False)
        got = propagated(explainer, layer, self.LAYER_INPUTS, self.LAYER_RELEVANCE)
        expected = self.by_loops(self.LAYER_INPUTS, layer[0].weight.detach(), self.LAYER_RELEVANCE, share)
        assert torch.allclose(got, expected, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize(("alpha", "beta"), [(2, 1), (5, 4)])
    def test_alpha_beta(self, alpha, beta):
        layer = self.layer(bias=False)
        got = propagated(LRP(f"alpha{alpha}beta{beta}"), layer, self.LAYER_INPUTS, self.LAYER_RELEVANCE)
        given = (self.LAYER_INPUTS, layer[0].weight.detach(), self.LAYER_RELEVANCE)
        positive = self.by_loops(*given, lambda x, w: (x * w).clamp(min=0))
        negative = self.by_loops(*given, lambda x, w: (x * w).clamp(max=0))
        assert torch.allclose(got, alpha * positive - beta * negative, rtol=1e-3, atol=1e-5)

    def test_gamma_on_active_units(self):
        layer, inputs = self.layer(bias=False), self.LAYER_INPUTS.abs()
        relevance = self.LAYER_RELEVANCE * (layer(inputs) > 0)
        got = propagated(LRP("gamma", gamma=0.4), layer, inputs, relevance)
        weight = layer[0].weight.detach()
        expected = self.by_loops(inputs, weight, relevance, lambda x, w: x * (w + 0.4 * w.clamp(min=0)))
        assert relevance.any()
        assert torch.allclose(got, expected, rtol=1e-3, atol=1e-5)

    def test_epsilon_takes_its_share(self):
        layer = self.layer(bias=True)
        got = propagated(LRP("epsilon", epsilon=0.3), layer, self.LAYER_INPUTS, self.LAYER_RELEVANCE)
        output = layer(self.LAYER_INPUTS).detach()
        shares = self.LAYER_RELEVANCE / (output + 0.3 * output.sign())
        assert torch.allclose(got, self.LAYER_INPUTS * (shares @ layer[0].weight.detach()))

    def test_a_bias_takes_its_share_unless_it_is_left_out(self):
        layer = self.layer(bias=True)
        nn.init.constant_(layer[0].bias, 2.0)
        inputs, relevance = self.LAYER_INPUTS.abs(), self.LAYER_RELEVANCE.abs()
        kept = propagated(LRP("zplus", bias=False), layer, inputs, relevance).sum(1)
        shared = propagated(LRP("zplus"), layer, inputs, relevance).sum(1)
        assert torch.allclose(kept, relevance.sum(1), rtol=1e-4)
        assert (shared < 0.9 * kept).all()


class TestLRP:
    def test_z_is_gradient_times_input_without_biases(self):
        model = cnn(bias=False)
        assert torch.allclose(LRP("z")(model, IMAGES, TARGETS), IMAGES * gradient(model), atol=1e-10)

    def test_z_is_gradient_times_input_through_sums_and_batch_normalization(self):
        model = residual_network()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.running_mean)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(model.fc.bias)
        images, targets = normal(2, 3, 32, 32), torch.tensor([0, 3])
        expected = images * gradient(model, images, targets)
        assert torch.allclose(LRP("z")(model, images, targets), expected, atol=1e-5 * float(expected.abs().max()))

    @pytest.mark.parametrize("rule", ["z", "epsilon", "zplus", "alpha1beta0", "alpha2beta1", "alpha5beta4"])
    def test_relevance_is_conserved_without_biases(self, rule):
        model = cnn(bias=False)
        total = LRP(rule)(model, IMAGES, TARGETS).flatten(1).sum(1)
        assert torch.allclose(total, logit(model), rtol=3e-3)

    def test_excitation_backprop_is_a_distribution(self):
        attributions = ExcitationBackprop()(cnn(), IMAGES, TARGETS)
        assert (attributions >= 0).all()
        assert torch.allclose(attributions.flatten(1).sum(1), torch.ones(5).double(), rtol=1e-3)

    def test_alpha1beta0_is_zplus_bit_for_bit_on_non_negative_inputs(self):
        model, images = cnn().float(), IMAGES.abs().float()
        assert torch.equal(LRP("alpha1beta0")(model, images, TARGETS), LRP("zplus")(model, images, TARGETS))

    def test_the_composite_has_another_rule_in_dense_layers(self):
        model = cnn()
        composite = LRP("composite")(model, IMAGES, TARGETS)
        spelled = LRP("alpha1beta0", dense="epsilon", epsilon=1e-10)(model, IMAGES, TARGETS)
        assert torch.equal(composite, spelled)
        assert not torch.allclose(composite, LRP("alpha1beta0")(model, IMAGES, TARGETS))

    def test_deep_taylor_is_zplus_with_zbox_at_the_inputs(self):
        model = cnn()
        expected = LRP("zplus", first="zbox", low=(-3.0, -4.0), high=5.0)(model, IMAGES, TARGETS)
        assert torch.equal(DeepTaylor((-3.0, -4.0), 5.0)(model, IMAGES, TARGETS), expected)
        assert not torch.allclose(DeepTaylor(-3.0, 5.0)(model, IMAGES, TARGETS), expected)

    @staticmethod
    def by_zennit(composite, model, images, targets, start=None):
        leaf = images.clone().requires_grad_()
        with composite.context(model) as hooked:
            output = hooked(leaf)
            start = output.detach() if start is None else start
            chosen = F.one_hot(targets, output.shape[1]) * start
            return torch.autograd.grad(output, leaf, chosen)[0]

    @pytest.mark.parametrize("rule", ZENNIT)
    def test_agrees_with_zennit(self, rule):
        layers = [(zennit.composites.Linear, ZENNIT[rule]), *zennit.composites.layer_map_base()]
        model = cnn()
        expected = self.by_zennit(zennit.composites.LayerMapComposite(layers), model, IMAGES, TARGETS)
        got = LRP(rule)(model, IMAGES, TARGETS)
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))

    def test_agrees_with_zennit_on_excitation_backprop(self):
        model = cnn()
        expected = self.by_zennit(
            zennit.composites.ExcitationBackprop(zero_params=["bias"]), model, IMAGES, TARGETS, start=1.0
        )
        assert torch.allclose(ExcitationBackprop()(model, IMAGES, TARGETS), expected, atol=1e-5)

    @pytest.mark.slow
    @pytest.mark.parametrize("rule", ["epsilon", "zplus", "gamma"])
    def test_agrees_with_zennit_on_a_residual_network(self, rule):
        model, images, targets = residual_network(), normal(2, 3, 16, 16), torch.tensor([0, 3])
        layers = [(zennit.composites.Linear, ZENNIT[rule]), *zennit.composites.layer_map_base()]
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = (
                    1e-12  # which zennit's merging applies a second time, and some versions of torch refuse as 0
                )
        canonizers = [zennit.torchvision.ResNetCanonizer()]
        composite = zennit.composites.LayerMapComposite(layers, canonizers=canonizers)
        # A copy, of which zennit 1.0 leaves merged weights.
        expected = self.by_zennit(composite, copy.deepcopy(model), images, targets)
        got = LRP(rule)(model, images, targets)
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))

    def test_agrees_with_captum(self):
        class Flattened(nn.Module):  # of whose modules Captum has a rule for each
            def __init__(self):
                super().__init__()
                layers = list(cnn())
                self.features, self.top = nn.Sequential(*layers[:6]), nn.Sequential(*layers[7:])

            def forward(self, x):
                return self.top(torch.flatten(self.features(x), 1))

        model = Flattened()
        expected = captum.attr.LRP(model).attribute(IMAGES.clone().requires_grad_(), target=TARGETS).detach()
        got = LRP("z")(model, IMAGES, TARGETS)
        assert torch.allclose(got, expected, atol=1e-5 * float(expected.abs().max()))

    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("kind", ["conv", "dense"])
    def test_merges_batch_normalization(self, rule, kind):
        torch.manual_seed(0)
        conv = kind == "conv"
        layer = nn.Conv2d(2, 4, 3) if conv else nn.Linear(6, 4)
        norm = nn.BatchNorm2d(4) if conv else nn.BatchNorm1d(4)
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.normal_(norm.running_mean)
        nn.init.normal_(norm.bias)
        top = [nn.ReLU(), nn.Flatten(), nn.Linear(64 if conv else 4, 3)]
        model = nn.Sequential(layer, norm, *top).eval().double()
        merged_layer = fuse_conv_bn_eval(layer, norm) if conv else nn.utils.fusion.fuse_linear_bn_eval(layer, norm)
        merged = nn.Sequential(merged_layer, *top)
        inputs, targets = (normal(3, 2, 6, 6) if conv else normal(3, 6)), torch.tensor([0, 1, 2])
        got, expected = (LRP(rule)(one, inputs, targets) for one in (model, merged))
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-9)

    def test_a_zero_factor_lets_no_relevance_through(self):
        class Masked(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 2)

            def forward(self, x):
                return self.layer((x - 0.5) / 0.2 * torch.tensor([1.0, 0.0, 1.0, 1.0]))

        attributions = LRP("wsquare")(Masked(), torch.rand(3, 4), torch.zeros(3, dtype=torch.long))
        assert ((attributions == 0) == torch.tensor([False, True, False, False])).all()


class TestGates:
    @pytest.mark.parametrize("explainer", [Deconvolution(), GuidedBackprop(), RectGrad(60.0)])
    def test_by_hand(self, explainer):
        model, inputs = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).double(), normal(4, 6)
        targets = torch.tensor([0, 1, 2, 0])
        first, last = model[0].weight.detach().numpy(), model[2].weight.detach().numpy()
        before = model[0](inputs).detach().numpy()
        expected = np.zeros((4, 6))
        for n in range(4):
            above = last[targets[n]]
            products = np.maximum(before[n], 0) * above
            gate = {
                "Deconvolution": above > 0,
                "GuidedBackprop": (above > 0) & (before[n] > 0),
                "RectGrad": products > np.percentile(products, 60),
            }[type(explainer).__name__]
            expected[n] = (above * gate) @ first
        assert torch.allclose(explainer(model, inputs, targets), torch.from_numpy(expected))

    @ignore_captum
    @pytest.mark.parametrize("explainer", [Deconvolution(), GuidedBackprop()])
    def test_agrees_with_captum(self, explainer):
        model = cnn()
        theirs = getattr(captum.attr, type(explainer).__name__)(model).attribute(IMAGES.clone(), target=TARGETS)
        assert torch.allclose(explainer(model, IMAGES, TARGETS), theirs, atol=1e-10)

    @ignore_captum
    def test_guided_gradcam_agrees_with_captum(self):
        model = cnn()
        theirs = captum.attr.GuidedGradCam(model, model[4]).attribute(IMAGES.clone(), target=TARGETS)
        got = GuidedGradCAM("4")(model, IMAGES, TARGETS)
        assert theirs.any()
        assert torch.allclose(got, theirs, atol=1e-10)

    def test_guided_gradcam_needs_a_layer_with_places(self):
        with pytest.raises(XaiError, match=r"'relu'.*expected one of 0, 1"):
            GuidedGradCAM("relu")(cnn(), IMAGES, TARGETS)
        with pytest.raises(XaiError, match="'7', whose output has no places"):
            GuidedGradCAM("7")(cnn(), IMAGES, TARGETS)


class TestDeepLift:
    @pytest.mark.parametrize("rule", ["rescale", "revealcancel"])
    @pytest.mark.parametrize("baseline", [0.0, (0.5, -0.2)])
    def test_attributions_sum_to_the_difference(self, rule, baseline):
        model = cnn()
        reference = torch.as_tensor(baseline).double().reshape(-1, 1, 1).expand(5, 2, 12, 12)
        total = DeepLift(rule, baseline=baseline)(model, IMAGES, TARGETS).flatten(1).sum(1)
        assert torch.allclose(total, logit(model) - logit(model, reference), atol=1e-9)

    @pytest.mark.parametrize("rule", ["rescale", "revealcancel"])
    def test_attributions_sum_to_the_difference_in_a_residual_network(self, rule):
        model, images, targets = residual_network(), normal(2, 3, 32, 32), torch.tensor([0, 3])
        total = DeepLift(rule)(model, images, targets).flatten(1).sum(1)
        expected = logit(model, images, targets) - logit(model, torch.zeros_like(images), targets)
        assert torch.allclose(total, expected, rtol=1e-6, atol=1e-6)

    @ignore_captum
    @pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Softplus, nn.ELU])
    def test_rescale_agrees_with_captum(self, activation):
        model = cnn()
        model[1], model[4], model[8] = activation(), activation(), activation()
        model[2] = nn.AvgPool2d(2)  # behind an activation, Captum's max-pooling is not complete
        theirs = captum.attr.DeepLift(model).attribute(IMAGES.clone(), target=TARGETS)
        assert torch.allclose(DeepLift()(model, IMAGES, TARGETS), theirs, atol=1e-8)

    @ignore_captum
    def test_max_pooling_of_the_inputs_agrees_with_captum(self):
        model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 4)).double()
        theirs = captum.attr.DeepLift(model).attribute(IMAGES.clone(), torch.full_like(IMAGES, 0.3), target=TARGETS)
        assert torch.allclose(DeepLift(baseline=0.3)(model, IMAGES, TARGETS), theirs, atol=1e-10)

    def test_a_minimum_of_two_inputs(self):
        """The paper's example, min(a, b) = a - relu(a - b): Rescale credits one input, RevealCancel both alike."""

        class Minimum(nn.Module):
            def __init__(self):
                super().__init__()
                self.difference, self.result = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
                self.difference.weight.data = torch.tensor([[1.0, -1.0], [1.0, 0.0]])
                self.result.weight.data = torch.tensor([[-1.0, 1.0]])

            def forward(self, x):
                return self.result(F.relu(self.difference(x)))

        inputs = torch.tensor([[5.0, 2.0], [2.0, 5.0]])
        rescaled = DeepLift()(Minimum(), inputs, None)
        revealed = DeepLift("revealcancel")(Minimum(), inputs, None)
        assert torch.allclose(rescaled, torch.tensor([[0.0, 2.0], [2.0, 0.0]]))
        assert torch.allclose(revealed, torch.tensor([[1.0, 1.0], [1.0, 1.0]]))

    @staticmethod
    def by_loops(model, x, target, rule):
        """Two dense layers and a ReLU, unit by unit, at a baseline of zeros."""
        first, bias, last = (model[0].weight.detach(), model[0].bias.detach(), model[2].weight.detach()[target])
        multiplier = torch.zeros_like(x)
        for j in range(len(first)):
            contributions = first[j] * x
            rise, fall = contributions.clamp(min=0).sum(), contributions.clamp(max=0).sum()

            def value(change, start=bias[j]):
                return (start + change).clamp(min=0)

            if rule == "revealcancel":
                up = (value(rise) - value(0) + value(rise + fall) - value(fall)) / 2 / rise
                down = (value(fall) - value(0) + value(rise + fall) - value(rise)) / 2 / fall
            else:
                up = down = (value(rise + fall) - value(0)) / (rise + fall)
            above = last[j]
            if rule == "ablation":  # the difference of the hidden unit chooses between positive and negative weights
                change = value(rise + fall) - value(0)
                above = (
                    (change > 0) * above.clamp(min=0) + (change < 0) * above.clamp(max=0) + (change == 0) * above / 2
                )
            for i in range(len(x)):
                kept = first[j, i]
                if rule == "ablation":
                    kept = kept.clamp(min=0) if x[i] > 0 else kept.clamp(max=0)
                multiplier[i] += kept * above * (up if contributions[i] > 0 else down)
        return x * multiplier

    @pytest.mark.parametrize("rule", ["rescale", "revealcancel", "ablation"])
    def test_unit_by_unit(self, rule):
        model, inputs = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).double(), normal(4, 6)
        targets = torch.tensor([0, 1, 2, 0])
        expected = torch.stack([self.by_loops(model, x, int(t), rule) for x, t in zip(inputs, targets, strict=True)])
        assert torch.allclose(DeepLift(rule)(model, inputs, targets), expected)

    def test_ablation_on_non_negative_differences_is_the_chain_of_positive_weights(self):
        """Without biases, on inputs above the baseline, each matrix of the chain is one of positive weights."""
        model, inputs = (
            nn.Sequential(nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Linear(9, 3, bias=False)),
            uniform(4, 6),
        )
        model.double()
        inactive = (model[0](inputs) <= 0).double()  # whose difference is zero: half of both signs, but a slope of zero
        slope = 1 - inactive
        start = model[2].weight.clamp(min=0)[[0, 1, 2, 0]] * slope
        expected = inputs * (start @ model[0].weight.clamp(min=0))
        assert torch.allclose(DeepLift("ablation")(model, inputs, torch.tensor([0, 1, 2, 0])), expected)

    def test_a_forward_pass_that_takes_another_course_is_refused(self):
        class Undecided(nn.Module):
            def forward(self, x):  # the first branch at the baseline, the second elsewhere
                return F.relu(x) if float(x.detach().sum()) == 0 else F.relu(F.relu(x) + 1)

        model = nn.Sequential(nn.Linear(3, 3, bias=False), Undecided(), nn.Linear(3, 2))
        with pytest.raises(XaiError, match="another course of the forward pass"):
            DeepLift()(model, torch.rand(2, 3), torch.tensor([0, 1]))


class TestPatternAttribution:
    def test_a_pattern_is_the_signal_without_the_distractor(self):
        """Inputs are ``signal a + distractor d``; a linear model that reads the signal has the pattern ``a``."""
        signal, distractor = normal(4000, 1, seed=1), normal(4000, 1, seed=2)
        distractor -= signal * (signal * distractor).mean() / signal.square().mean()
        direction, disturbance = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0, 1.0]]).double()
        model = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
        model[0].weight.data = torch.tensor([[1.0, -1.0]]).double()
        patterns = estimate_patterns(model, signal * direction + distractor * disturbance, batch_size=999)
        assert torch.allclose(patterns["0.weight"], direction, atol=0.05)

    def test_patterns_of_each_kind_of_layer_by_definition(self):
        model, images = cnn(), normal(9, 2, 12, 12, seed=3)
        patterns = estimate_patterns(model, images.split(4))
        for index in (0, 3, 7, 9):
            layer, inputs = model[index], model[:index](images)
            if index < 7:
                padding = layer.padding
                inputs = F.unfold(inputs, 3, padding=padding).transpose(1, 2).flatten(0, 1)
            weight = layer.weight.detach().flatten(1)
            signal = inputs @ weight.T
            for unit in range(len(weight)):
                active = signal[:, unit] + layer.bias[unit] > 0 if index != 9 else torch.ones(len(signal)).bool()
                x, y = inputs[active], signal[active][:, unit]
                covariance = (x * y[:, None]).mean(0) - x.mean(0) * y.mean() if len(x) else torch.zeros_like(weight[0])
                variance = weight[unit] @ covariance
                expected = covariance / variance if variance > 1e-12 else torch.zeros_like(covariance)
                assert torch.allclose(patterns[f"{index}.weight"][unit].flatten(), expected, atol=1e-8)

    def test_attributes_by_weights_times_patterns(self):
        model, inputs = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).double(), normal(4, 6)
        targets, patterns = (
            torch.tensor([0, 1, 2, 0]),
            {"0.weight": normal(9, 6, seed=4), "2.weight": normal(3, 9, seed=5)},
        )
        signals = [(model[index].weight * patterns[f"{index}.weight"]).detach() for index in (0, 2)]
        start = logit(model, inputs, targets)[:, None] * signals[1][targets]
        expected = (start * (model[0](inputs) > 0)) @ signals[0]
        assert torch.allclose(PatternAttribution(patterns)(model, inputs, targets), expected)

    def test_estimation_leaves_a_model_in_training_as_it_was(self):
        model = cnn().train()
        model[1].eval()
        estimate_patterns(model, IMAGES)
        assert [module.training for module in model] == [index != 1 for index in range(10)]
        assert all(p.requires_grad and p.grad is None for p in model.parameters())

    def test_mistakes(self):
        model = cnn()
        with pytest.raises(XaiError, match=r"no pattern for the weight 0\.weight"):
            PatternAttribution({})(model, IMAGES, TARGETS)
        with pytest.raises(XaiError, match=r"a pattern of shape \(2,\) for the weight 0.weight"):
            PatternAttribution({"0.weight": torch.ones(2)})(model, IMAGES, TARGETS)
        with pytest.raises(XaiError, match="found no inputs"):
            estimate_patterns(model, [])
        with pytest.raises(XaiError, match="batch normalization"):
            estimate_patterns(residual_network(), normal(1, 3, 32, 32))


HALF_RULES = ["z", "epsilon", "zplus", "alpha2beta1", "gamma", "wsquare", "composite"]


@pytest.mark.parametrize("explainer", [*(LRP(rule) for rule in HALF_RULES), DeepLift("rescale")], ids=repr)
def test_constants_hold_in_half_precision(explainer):
    """In float16 a stabilizer of 1e-12 is zero: relevance over it was NaN."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)).eval()
    inputs = torch.rand(16, 12, generator=generator)
    inputs[:, :4] = 0  # where an input is its reference, its difference is zero
    targets = torch.arange(16) % 3
    expected = explainer(model.double(), inputs.double(), targets)
    got = explainer(model.half(), inputs.half(), targets)
    assert got.isfinite().all()
    if explainer not in (LRP("z"), LRP("epsilon")):  # whose quotients depend on the stabilizer where they are large
        assert torch.nn.functional.cosine_similarity(got.double(), expected).min() > 0.98
