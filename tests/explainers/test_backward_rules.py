"""Backward rules as contexts: relevance between any two modules, functions that escape nothing, models left alone."""

from __future__ import annotations

import copy
import subprocess
import sys

import captum.attr
import pytest
import torch
import zennit.attribution
import zennit.composites
import zennit.rules
from test_rules import IMAGES, RULES, TARGETS, cnn, normal, residual_network
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg16

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.explainers import (
    LRP,
    BackwardRules,
    Deconvolution,
    DeepLift,
    DeepTaylor,
    ExcitationBackprop,
    GuidedBackprop,
    GuidedGradCAM,
    PatternAttribution,
    RectGrad,
    Request,
    backward_rules,
    estimate_patterns,
)
from pytest_xaisanity.explainers.adapters import as_explainer

pytestmark = pytest.mark.long

EXPLAINERS = [
    *(LRP(rule) for rule in RULES),
    LRP("alpha2beta1", dense="epsilon", first="wsquare"),
    DeepTaylor(-5.0, 5.0),
    ExcitationBackprop(),
    DeepLift(),
    DeepLift("revealcancel", baseline=0.5),
    DeepLift("ablation"),
    Deconvolution(),
    GuidedBackprop(),
    RectGrad(80.0),
]
EPSILON = zennit.composites.LayerMapComposite(
    [(zennit.composites.Linear, zennit.rules.Epsilon(1e-6)), *zennit.composites.layer_map_base()]
)


def relevances(source, model, names, start, relevance, inputs=IMAGES):
    """Relevance of the outputs of the modules ``names``, where that of ``start`` has been given."""
    kept = {}

    def keep(name):
        def hook(module, _, output):
            kept[name] = output
            return output.clone()

        return hook

    with backward_rules(source, model):
        modules = dict(model.named_modules())
        handles = [modules[name].register_forward_hook(keep(name)) for name in (*names, start)]
        model(inputs.clone().requires_grad_())
        for handle in handles:
            handle.remove()
        value = relevance(kept[start].detach())
        result = torch.autograd.grad(kept[start], [kept[name] for name in names], value)
    return result, [kept[name].detach() for name in names]


class Written(nn.Module):
    """One network, written in three ways that compute the same."""

    def __init__(self, style):
        super().__init__()
        self.style = style
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.top = nn.BatchNorm2d(4).eval(), nn.Linear(4 * 36, 4)
        nn.init.normal_(self.norm.running_mean)
        self.relu = nn.ReLU(inplace=style == "in place")
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.double()

    def forward(self, x):
        if self.style == "modules":
            x = self.relu1(self.conv1(x))
            x = self.relu2(self.norm(self.conv2(x))) + x
            return self.top(torch.flatten(self.pool(self.relu3(self.conv2(x))), 1))
        if self.style == "functions":
            x = F.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1).relu()
            x = torch.relu(self.norm(self.conv2(x))).add(x)
            x = F.max_pool2d(F.relu(F.conv2d(input=x, weight=self.conv2.weight, bias=self.conv2.bias, padding=1)), 2)
            return F.linear(x.reshape(len(x), -1), self.top.weight, self.top.bias)
        x = self.relu(self.conv1(x))
        y = self.norm(self.conv2(x))
        y.relu_()
        y = y + x
        return self.top(self.pool(F.relu(self.conv2(y), inplace=True)).flatten(1))


class TestAnyOperation:
    @pytest.mark.parametrize("explainer", EXPLAINERS, ids=repr)
    @pytest.mark.parametrize("style", ["functions", "in place"])
    def test_functions_reused_modules_and_calls_in_place_are_alike(self, explainer, style):
        expected = explainer(Written("modules"), IMAGES, TARGETS)
        model = Written(style)
        plain = IMAGES.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(plain).gather(1, TARGETS[:, None]).sum(), plain)
        got = explainer(model, IMAGES, TARGETS)
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(got, gradient)

    @pytest.mark.slow
    @pytest.mark.parametrize("explainer", [LRP("zplus"), DeepLift("revealcancel"), GuidedBackprop()], ids=repr)
    def test_a_network_of_torchvision_with_activations_in_place(self, explainer):
        torch.manual_seed(0)
        model = vgg16(num_classes=3)
        model.classifier = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(512 * 49, 3))
        model.eval()
        images = normal(1, 3, 32, 32).float()
        before = copy.deepcopy(model.state_dict())
        attributions = explainer(model, images, torch.tensor([1]))
        assert attributions.shape == images.shape
        assert attributions.any()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_a_compiled_model_is_seen(self):
        model = cnn()
        expected = GuidedBackprop()(model, IMAGES, TARGETS)
        got = GuidedBackprop()(torch.compile(model, backend="eager"), IMAGES, TARGETS)
        assert torch.equal(got, expected)

    def test_several_inputs(self):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b, self.top = (
                    nn.Linear(3, 5, bias=False),
                    nn.Linear(4, 5, bias=False),
                    nn.Linear(5, 1, bias=False),
                )

            def forward(self, a, b):
                return self.top(F.relu(self.a(a) + self.b(b)))[:, 0]

        model, inputs = Two().double(), (normal(6, 3), normal(6, 4, seed=1))
        for explainer in (LRP("z"), DeepLift(), DeepLift("revealcancel")):
            attributions = explainer(model, inputs, None)
            assert [one.shape for one in attributions] == [one.shape for one in inputs]
            assert torch.allclose(sum(one.sum(1) for one in attributions), model(*inputs))


class TestContexts:
    LAYERS = ("0", "1", "2", "4", "5", "8")

    def test_relevance_by_z_is_activation_times_gradient_at_every_module(self):
        model = cnn(bias=False)
        chosen = F.one_hot(TARGETS, 4)
        by_rule, values = relevances(LRP("z"), model, self.LAYERS, "9", lambda output: chosen * output)
        gradients, _ = relevances(captum.attr.Saliency, model, self.LAYERS, "9", lambda output: chosen.double())
        for relevance, value, gradient in zip(by_rule, values, gradients, strict=True):
            assert relevance.any()
            assert torch.allclose(relevance, value * gradient, atol=1e-8)

    @pytest.mark.parametrize("start", ["3", "7", "9"])
    def test_relevance_may_start_at_any_module(self, start):
        model = cnn()
        names = [name for name in self.LAYERS if int(name) < int(start)]
        drawn = lambda output: normal(*output.shape, seed=5)  # noqa: E731
        ours, _ = relevances(LRP("epsilon"), model, names, start, drawn)
        theirs, _ = relevances(EPSILON, model, names, start, drawn)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()))

    @pytest.mark.parametrize("explainer", EXPLAINERS, ids=repr)
    def test_several_relevances_at_once_are_each_alone(self, explainer):
        model = cnn()
        drawn = normal(5, 8, 4, 4, seed=6)
        several, _ = relevances(
            explainer, model, ["0"], "3", lambda _: torch.cat([drawn, -drawn]), IMAGES.repeat(2, 1, 1, 1)
        )
        for part, sign in ((several[0][:5], 1), (several[0][5:], -1)):
            alone, _ = relevances(explainer, model, ["0"], "3", lambda _, sign=sign: sign * drawn)
            assert torch.allclose(part, alone[0], rtol=1e-10, atol=1e-14)

    def test_a_forward_pass_without_gradients_to_the_inputs_has_relevance_between_modules(self):
        model, kept = cnn(), []
        with LRP("zplus").rules(model):
            handle = model[3].register_forward_hook(lambda module, inputs, output: kept.append(output))
            output = model(IMAGES)
            handle.remove()
        assert torch.autograd.grad(output.sum(), kept)[0].any()

    def test_one_context_serves_several_passes(self):
        model, leaf = cnn(), IMAGES.clone().requires_grad_()
        with LRP("zplus").rules(model):
            first, second = model(leaf), model(2 * leaf)
            got = torch.autograd.grad(first.sum(), leaf)[0]
        with LRP("zplus").rules(model):
            expected = torch.autograd.grad(model(leaf).sum(), leaf)[0]
        assert torch.equal(got, expected)
        assert second.shape == first.shape

    @pytest.mark.parametrize("kind", ["GuidedBackprop", "Deconvolution"])
    def test_hooks_of_captum(self, kind):
        model, source = cnn(), getattr(captum.attr, kind)
        ours, _ = relevances(
            {"GuidedBackprop": GuidedBackprop(), "Deconvolution": Deconvolution()}[kind],
            model,
            ["0"],
            "9",
            torch.ones_like,
        )
        for given in (source, source(model), captum.attr.NoiseTunnel(source(model)), as_explainer(source, model)):
            theirs, _ = relevances(given, model, ["0"], "9", torch.ones_like)
            assert torch.allclose(theirs[0], ours[0])
        assert not any(module._backward_hooks or module._forward_pre_hooks for module in model.modules())

    @pytest.mark.parametrize(
        "source", [captum.attr.Saliency, captum.attr.InputXGradient, captum.attr.IntegratedGradients]
    )
    def test_plain_gradients(self, source):
        model = cnn()
        got, _ = relevances(source(model), model, ["0"], "9", torch.ones_like)
        expected, _ = relevances(captum.attr.Saliency, model, ["0"], "9", torch.ones_like)
        assert torch.equal(got[0], expected[0])

    def test_an_attributor_of_zennit_stands_for_its_composite(self):
        model = cnn()
        attributor = zennit.attribution.Gradient(model, EPSILON)
        expected, _ = relevances(EPSILON, model, ["0"], "9", torch.ones_like)
        assert torch.equal(relevances(attributor, model, ["0"], "9", torch.ones_like)[0][0], expected[0])

    @pytest.mark.parametrize("source", [captum.attr.DeepLift, "lrp", zennit.rules.ZPlus(), print])
    def test_anything_else_is_an_error(self, source):
        with pytest.raises(XaiError, match="whose backward pass cannot be taken apart"):
            backward_rules(source, cnn())

    @pytest.mark.parametrize(("source", "function"), [(captum.attr.GuidedBackprop, "relu"), (EPSILON, "conv2d")])
    def test_functions_that_escape_the_hooks_of_others_are_errors(self, source, function):
        model = Written("functions")
        with pytest.raises(XaiError, match=rf"{function}\(\) called as a function"), backward_rules(source, model):
            model(IMAGES)

    def test_a_module_of_which_zennit_sees_but_the_last_call_is_an_error(self):
        class Again(Written):
            def forward(self, x):
                x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
                return self.top(torch.flatten(self.pool(self.relu3(self.conv2(x))), 1))

        model = Again("modules")
        with pytest.raises(XaiError, match=r"conv2 .*a second call of the same module"), backward_rules(EPSILON, model):
            model(IMAGES)


def hooks(model):
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        len(getattr(module, name))
        for module in (nn.modules.module, *model.modules())
        for name in names
        if hasattr(module, name)
    ]


class Raising(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error("no")


@pytest.mark.parametrize(
    "source",
    [LRP("zplus"), DeepLift("revealcancel"), RectGrad(), EPSILON, captum.attr.GuidedBackprop],
    ids=["lrp", "deeplift", "rectgrad", "zennit", "captum"],
)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_model_is_left_as_it_was(source, error):
    model = nn.Sequential(*cnn(), *([Raising(error)] if error else [])).train()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    state = copy.deepcopy(model.state_dict())
    before = (hooks(model), [m.training for m in model], [p.requires_grad for p in model.parameters()])
    everywhere = [
        len(hook) for hook in (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks)
    ]
    random = torch.get_rng_state()
    try:
        with backward_rules(source, model):
            model(IMAGES.clone().requires_grad_())
    except (ValueError, KeyboardInterrupt) as raised:
        assert type(raised) is error  # noqa: PT017 - it may raise nothing
    assert (hooks(model), [m.training for m in model], [p.requires_grad for p in model.parameters()]) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [
        len(hook) for hook in (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks)
    ] == everywhere
    assert torch.equal(random, torch.get_rng_state())
    assert torch.overrides._get_current_function_mode() is None


class Computes(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.layer(x))


def assigned(x):
    y = torch.zeros_like(x)
    y[:, :2] = x[:, :2]
    return y


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class TestMistakes:
    INPUTS, TARGETS = torch.rand(3, 4), torch.tensor([0, 1, 2])

    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (lambda x: F.softmax(x, 1), "softmax"),
            (lambda x: F.layer_norm(x, (4,)), "layer_norm"),
            (lambda x: x.clamp(min=0), "clamp"),
            (lambda x: x * x, "mul"),
            (lambda x: x @ x.T, "matmul"),
            (lambda x: torch.div(torch.ones(4), x), "div"),
            (lambda x: 1 / x, r"r\w*div"),
            (lambda x: torch.where(x > 0, x, 0.0), "where"),
            (lambda x: F.batch_norm(x, None, None, training=True), "batch_norm"),
            (lambda x: F.dropout(x, 0.5, training=True), "dropout"),
            (lambda x: F.linear(x, x), "linear"),
            (assigned, "setitem"),
        ],
    )
    @pytest.mark.parametrize("explainer", [LRP(), DeepLift(), GuidedBackprop()], ids=repr)
    def test_an_unknown_operation_is_named_with_the_known_ones(self, function, name, explainer):
        with pytest.raises(XaiError, match=rf"the model \(Computes\): found {name}\(\)") as caught:
            explainer(Computes(function), self.INPUTS, self.TARGETS)
        assert all(known in str(caught.value) for known in ("Linear", "ReLU", "MaxPool", "AvgPool", "BatchNorm"))

    def test_an_autograd_function_of_its_own_is_named(self):
        with pytest.raises(XaiError, match="the result of Own, an autograd function of its own"):
            LRP()(Computes(lambda x: F.relu(Own.apply(x))), self.INPUTS, self.TARGETS)
        with pytest.raises(XaiError, match="the result of Own, an autograd function of its own"):
            LRP()(Computes(lambda x: Own.apply(F.relu(x))), self.INPUTS, self.TARGETS)

    @pytest.mark.parametrize("activation", [nn.PReLU(init=0.3), nn.LeakyReLU(0.3), nn.Softshrink(), nn.Tanhshrink()])
    def test_activations_of_single_values_are_known(self, activation):
        model = Computes(activation)
        shares = DeepLift()(model, self.INPUTS, self.TARGETS).sum(1)
        gain = (model(self.INPUTS) - model(torch.zeros_like(self.INPUTS))).gather(1, self.TARGETS[:, None])[:, 0]
        torch.testing.assert_close(shares, gain.detach())
        with torch.no_grad():
            model.layer.bias.zero_()
            value = model(self.INPUTS).gather(1, self.TARGETS[:, None])[:, 0]
        torch.testing.assert_close(LRP("z")(model, self.INPUTS, self.TARGETS).sum(1), value)

    @pytest.mark.parametrize("explainer", [Deconvolution(), GuidedBackprop(), RectGrad()], ids=repr)
    def test_a_network_without_relus_is_an_error_for_a_rule_of_relus(self, explainer):
        with pytest.raises(XaiError, match=r"no ReLU in the forward pass, so that \w+\(\) changes nothing"):
            explainer(Computes(F.gelu), self.INPUTS, self.TARGETS)

    @pytest.mark.parametrize("explainer", [LRP(), DeepTaylor(0.0, 1.0), DeepLift()], ids=repr)
    def test_a_network_without_weights_is_an_error_for_a_rule_of_weights(self, explainer):
        with pytest.raises(XaiError, match="no Linear, Conv1d"):
            explainer(nn.Sequential(nn.ReLU()), self.INPUTS, self.TARGETS)

    def test_batch_normalization_that_cannot_be_merged(self):
        model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()
        with pytest.raises(XaiError, match=r"0 \(BatchNorm1d\): found batch normalization that cannot be merged"):
            LRP()(model, self.INPUTS, self.TARGETS)
        merged_by_none = nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 3))
        assert GuidedBackprop()(merged_by_none, self.INPUTS, self.TARGETS).any()

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_layer_that_is_used_beside_its_batch_normalization(self, order):
        norm = nn.BatchNorm1d(4).eval()

        def both(x):
            first, second = (use(x) for use in (norm, F.relu)[::order])
            return first + second

        model = Computes(both)
        model.norm = norm
        with pytest.raises(XaiError, match="batch normalization"):
            LRP()(model, self.INPUTS, self.TARGETS)

    @pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning", "ignore:.*deprecated:DeprecationWarning")
    def test_scripted_models_and_functions(self):
        with pytest.raises(XaiError, match="a ScriptModule, inside which rules cannot reach"):
            LRP().rules(torch.jit.trace(nn.Linear(4, 2), self.INPUTS)).__enter__()
        with pytest.raises(XaiError, match="found a function"):
            LRP()(lambda x: x, self.INPUTS, self.TARGETS)

    def test_settings(self):
        with pytest.raises(XaiError, match=r"'zpluss'.*use 'zplus', the nearest known name"):
            LRP("zpluss")
        with pytest.raises(XaiError, match="'zbox' without bounds"):
            LRP(first="zbox")
        with pytest.raises(XaiError, match="'rescal'"):
            DeepLift("rescal")
        with pytest.raises(XaiError, match="RectGrad percentile: found 100"):
            RectGrad(100)
        with pytest.raises(XaiError, match=r"3 values for inputs of shape \(3, 4\)"):
            DeepTaylor((0.0, 0.0, 0.0), 1.0)(Computes(F.relu), self.INPUTS, self.TARGETS)
        with pytest.raises(XaiError, match="input tensor 0 of torch"):
            LRP()(Computes(F.relu), torch.ones(3, 4, dtype=torch.long), self.TARGETS)

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: LRP(epsilon=-1.0), r"LRP epsilon: found -1.0; expected a number of at least 0"),
            (lambda: LRP("gamma", gamma="much"), "LRP gamma: found 'much'"),
            (lambda: LRP("zbox", low=3, high=1), "LRP: found low=3 and high=1; expected each low below its high"),
            (lambda: LRP("zbox", low=(0.0, 0.0), high=(1.0, 1.0, 1.0)), "each low below its high"),
            (
                lambda: DeepTaylor([0.0], 1.0),
                r"DeepTaylor low: found \[0.0\]; expected a number, or a tuple of one for",
            ),
            (lambda: DeepTaylor((0.0, 2.0), 1.0), r"DeepTaylor: found low=\(0.0, 2.0\) and high=1.0"),
            (lambda: DeepLift(baseline="black"), "DeepLift baseline: found 'black'"),
            (lambda: DeepLift(baseline=float("nan")), "DeepLift baseline: found nan"),
            (lambda: RectGrad("most"), "RectGrad percentile: found 'most'"),
        ],
    )
    def test_numbers_out_of_range_are_refused_when_they_are_set(self, build, message):
        with pytest.raises(XaiError, match=message):
            build()

    def test_without_zennit_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "zennit", None)
        monkeypatch.setitem(sys.modules, "zennit.rules", None)
        with pytest.raises(XaiError, match=r"pip install pytest-xaisanity\[rules\]"):
            LRP()(Computes(F.relu), self.INPUTS, self.TARGETS)
        assert GuidedBackprop()(Computes(F.relu), self.INPUTS, self.TARGETS).any()


class TestValues:
    @pytest.mark.parametrize(
        "explainer", [*EXPLAINERS, GuidedGradCAM("3"), LRP(first="zbox", low=(0.0, 1.0), high=2.0)], ids=repr
    )
    def test_repr_is_the_call_that_rebuilds_an_equal_explainer(self, explainer):
        rebuilt = eval(repr(explainer))
        assert rebuilt == explainer
        assert hash(rebuilt) == hash(explainer)
        assert isinstance(explainer, BackwardRules)
        assert len(repr(explainer)) < 80

    def test_repr_leaves_out_what_is_left_as_it_is(self):
        assert repr(LRP("zplus")) == "LRP('zplus')"
        assert repr(LRP("gamma", gamma=0.5)) == "LRP('gamma', gamma=0.5)"
        assert repr(DeepLift()) == "DeepLift()"

    def test_an_explainer_is_taken_as_it_is_or_by_its_class(self):
        model = cnn()
        by_class = as_explainer(LRP, model, rule="zplus")
        by_value = as_explainer(LRP("zplus"), model)
        assert by_class.name == by_value.name == "LRP('zplus')"
        assert by_class.key == by_value.key
        assert by_class.key != as_explainer(LRP("z"), model).key
        request = Request(model, (IMAGES,), TARGETS, tuple(range(len(IMAGES))))
        assert torch.equal(by_class.attribute(request), LRP("zplus")(model, IMAGES, TARGETS))
        with pytest.raises(XaiError, match=r"'rul'.*use 'rule'"):
            as_explainer(LRP, model, rul="zplus")
        with pytest.raises(XaiError, match="settings that do not fit"):
            as_explainer(DeepTaylor, model)

    def test_patterns_compare_by_identity(self):
        patterns = estimate_patterns(cnn(), IMAGES)
        assert PatternAttribution(patterns) != PatternAttribution(patterns)
        assert repr(PatternAttribution(patterns)) == "PatternAttribution(<patterns of 4 layers>)"

    @pytest.mark.slow
    def test_zennit_is_imported_when_a_rule_of_its_own_is_used(self):
        code = (
            "import sys; from pytest_xaisanity.explainers import LRP, GuidedBackprop; LRP('zplus'); GuidedBackprop();"
            "print('zennit' in sys.modules, 'captum' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "False False"


def test_a_residual_network_has_relevance_at_every_layer():
    model, images = residual_network(), normal(2, 3, 32, 32)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    found, _ = relevances(LRP("zplus"), model, names, "fc", torch.ones_like, images)
    assert len(found) == 20
    assert all(torch.isfinite(one).all() and one.any() for one in found)
