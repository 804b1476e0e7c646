"""What the hooks of other libraries do not see is refused by name, in every claim, rather than left out in silence."""

import captum.attr as captum
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request

composites = pytest.importorskip("zennit.composites")
from zennit.layer import Sum  # noqa: E402

torch.set_num_threads(1)
X = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class InALeaf(nn.Module):
    def forward(self, x):
        return F.relu(x)


class Net(nn.Module):
    """A small network whose second activation, pooling and sum are what they are given to be."""

    def __init__(self, act=None, pool=None, add=None):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(96, 3)
        self.first, self.act = nn.ReLU(), nn.ReLU() if act is None else act
        self.pool, self.add = nn.AvgPool2d(2) if pool is None else pool, add
        self.eval()

    def forward(self, x):
        h = self.first(self.one(x))
        g = self.act(self.two(h))
        return self.head(self.pool(g if self.add is None else self.add(g, h)).flatten(1))


def explained(source, model):
    explainer = as_explainer(source, model)
    return explainer.attribute(Request(model, (X[:4].clone(),), torch.zeros(4).long(), (0, 1, 2, 3)))


RELUS = {
    "relu": (F.relu, "relu() called as a function"),
    "method": (lambda x: x.relu(), "relu() called as a function"),
    "in place": (lambda x: F.relu(x, inplace=True), "relu() called as a function"),
    "relu_": (lambda x: x.relu_(), "relu() called as a function"),
    "clamp": (lambda x: x.clamp(min=0), "clamp() called as a function for a ReLU"),
    "clamp_": (lambda x: x.clamp_(min=0), "clamp() called as a function for a ReLU"),
    "maximum": (lambda x: torch.maximum(x, torch.zeros(())), "maximum() called as a function for a ReLU"),
    "where": (lambda x: torch.where(x > 0, x, 0.0), "where() called as a function for a ReLU"),
    "mask": (lambda x: x * (x > 0), "mul() called as a function for a ReLU"),
    "threshold": (lambda x: F.threshold(x, 0, 0), "threshold() called as a function for a ReLU"),
    "made in forward": (lambda x: nn.ReLU()(x), "a ReLU made in the forward pass"),
    "own function": (OwnReLU.apply, "the result of OwnReLU, an autograd function of its own"),
    "in a leaf": (InALeaf(), "relu() called as a function"),
}
METHODS = {
    "guided": captum.GuidedBackprop,
    "deconvolution": captum.Deconvolution,
    "deeplift": captum.DeepLift,
    "zennit guided": composites.GuidedBackprop(),
    "zennit": composites.EpsilonPlus(),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", RELUS)
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_whatever_stands_for_a_relu_is_refused_by_name(method, way):
    act, found = RELUS[way]
    with pytest.raises(XaiError) as error:
        explained(METHODS[method], Net(act))
    assert found in str(error.value)
    library = "zennit" if "zennit" in method else "Captum"
    assert f"{library}'s hooks do not see" in str(error.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_modules_are_seen_and_nothing_is_left_behind(method):
    model = Net()
    got = explained(METHODS[method], model)
    plain = captum.Saliency(model).attribute(X[:4].clone(), 0, abs=False)
    assert not torch.allclose(got.to(plain), plain, atol=1e-4)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (Net(F.gelu), "gelu() called as a function"),
        (Net(torch.sigmoid), "sigmoid() called as a function"),
        (Net(pool=lambda x: F.avg_pool2d(x, 2)), "avg_pool2d() called as a function"),
        (Net(pool=lambda x: F.adaptive_avg_pool2d(x, 4)), "adaptive_avg_pool2d() called as a function"),
        (Net(add=lambda a, b: a + b), "add() called as a function"),
        (Net(add=lambda a, b: a.add_(b)), "add() called as a function"),
        (Net(add=lambda a, b: Sum()(torch.stack([a, b], -1))), "a Sum made in the forward pass"),
        (Net(pool=lambda x: F.conv2d(x, torch.ones(6, 6, 2, 2), stride=2)), "conv2d() called as a function"),
        (Net(pool=lambda x: x.flatten(2) @ torch.ones(64, 16)), "matmul() called as a function"),
    ],
)
def test_zennit_misses_functions_of_any_kind(model, found):
    with pytest.raises(XaiError) as error:
        explained(composites.EpsilonPlus(), model)
    assert found in str(error.value)


def test_what_no_rule_is_for_may_be_a_function():
    """Guided Backprop changes ReLUs alone, and a composite that maps no sums leaves them as they are."""
    for model in (Net(F.gelu), Net(pool=lambda x: F.avg_pool2d(x, 2)), Net(add=lambda a, b: a + b)):
        for source in (captum.GuidedBackprop, composites.GuidedBackprop()):
            assert explained(source, model).shape == (4, 1, 8, 8)
    module, function = Net(nn.GELU()), Net(F.gelu)
    assert torch.equal(*(explained(captum.GuidedBackprop, model) for model in (module, function)))


@pytest.mark.parametrize("source", [captum.GuidedBackprop, captum.Deconvolution, composites.GuidedBackprop()])
def test_modified_gradients_with_nothing_to_modify_are_refused(source):
    model = Net(nn.GELU())
    model.first = nn.SiLU()
    with pytest.raises(XaiError, match="change nothing: the map is the plain gradient"):
        explained(source, model)


def test_every_claim_refuses_alike():
    model = Net(F.relu)
    for source in (captum.GuidedBackprop, composites.GuidedBackprop()):
        explainer = Bench(model, X).explainer(source)
        for claim in (
            lambda e: e.changes_under("cascading_randomization"),
            lambda e: e.changes_under("later_layers"),
            lambda e: e.invariant_under("batch_order"),
            lambda e: e.beats("random", on="pixel_flipping"),
            lambda e: e.bounded("cosine_similarity_convergence", at_most=0.9),
        ):
            with pytest.raises(XaiError, match=r"relu\(\) called as a function"):
                claim(explainer)
    tunnel = Bench(model, X).explainer(captum.NoiseTunnel, attribution_method=captum.GuidedBackprop, nt_samples=2)
    with pytest.raises(XaiError, match=r"relu\(\) called as a function"):
        tunnel.changes_under("cascading_randomization")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_verdict_on_a_compiled_model_does_not_depend_on_the_claims_before():
    def verdicts(model, *sources):
        torch._dynamo.reset()
        bench = Bench(model, X)
        settings = {"seeds": 2, "depth": 1, "similarity": "spearman"}
        last = [bench.explainer(s, **kw).changes_under("cascading_randomization", **settings) for s, kw in sources][-1]
        return last.estimate

    plain = Net()
    compiled = torch.compile(plain, backend="eager")
    saliency, guided = (captum.Saliency, {"abs": False}), (captum.GuidedBackprop, {})
    cam = (captum.LayerGradCam, {"layer": "two"})
    for source in (guided, cam):
        expected = verdicts(plain, source)
        assert verdicts(compiled, source) == pytest.approx(expected, abs=1e-6)
        assert verdicts(compiled, saliency, source) == pytest.approx(expected, abs=1e-6)
    torch._dynamo.reset()


@pytest.mark.parametrize("source", [captum.GuidedBackprop, composites.EpsilonPlus()])
def test_an_exported_model_has_no_modules_to_hook(source):
    exported = torch.export.export(Net(), (X[:4],)).module()
    with pytest.raises(XaiError, match="called as a function"):
        explained(source, exported)
