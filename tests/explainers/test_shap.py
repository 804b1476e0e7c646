"""The gradient and the deep explainer of shap, held against what they return when they are called by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum.attr import DeepLift
from torch import nn

from pytest_xaisanity import Bench, XaiError

shap = pytest.importorskip("shap")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def net():
    inner = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), inner, nn.Flatten(), nn.Linear(64, 3)).eval()


@pytest.fixture
def inputs():
    return torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def maps(bench, source, **settings):
    bound = bench.explainer(source, **settings)
    block = next(bench.subject.blocks())
    found = bench.subject.lend(lambda: bench._lab(bound.explainer).attributions(block))
    return block, found


def test_deep_values_are_those_of_the_target_by_hand(net, inputs):
    bench = Bench(net, inputs)
    background = inputs[:3]
    block, found = maps(bench, shap.DeepExplainer, data=background)
    by_hand = shap.DeepExplainer(net, background).shap_values(block.inputs[0], check_additivity=False)
    for name, module in net.named_modules():  # which the library leaves in modules inside of others
        for kept in {"x", "y"} & {*module._parameters}:
            del net.get_submodule(name)._parameters[kept]
    rows = np.arange(len(block))
    expected = by_hand[rows, ..., block.targets.numpy()][:, 0]
    assert torch.allclose(found, torch.from_numpy(expected).float(), atol=1e-5)


def test_deep_values_against_zeros_are_those_of_deeplift(inputs):
    """Without max-pooling, of which the two have another rule each."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)).eval()
    block, single = maps(Bench(net, inputs), shap.DeepExplainer)
    lifted = DeepLift(net).attribute(block.inputs[0].requires_grad_(), target=block.targets)[:, 0]
    assert torch.allclose(single, lifted.detach(), atol=1e-5)


def test_gradient_values_sum_to_the_difference_of_the_outputs(net, inputs):
    """In expectation; and they are the same each time, with random numbers of each input's own."""
    bench = Bench(net, inputs)
    block, found = maps(bench, shap.GradientExplainer, nsamples=60)
    again = maps(Bench(net, inputs, batch_size=3), shap.GradientExplainer, nsamples=60)[1]
    assert torch.equal(found, again)
    with torch.no_grad():
        wanted = net(block.inputs[0]) - net(torch.zeros(1, 1, 8, 8))
    difference = wanted[torch.arange(len(block)), block.targets]
    assert torch.allclose(found.flatten(1).sum(1), difference, atol=0.3)


@pytest.mark.parametrize("name", ["GradientExplainer", "DeepExplainer"])
def test_claims_are_decided_and_the_model_comes_back(net, inputs, name):
    kind = getattr(shap, name)
    settings = {"nsamples": 10} if name == "GradientExplainer" else {}
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(net.state_dict())
    bench = Bench(net, inputs)
    assert bench.explainer(kind, data=inputs[:4], **settings).beats("random", on="pixel_flipping")
    assert bench.explainer(kind, **settings).changes_under("cascading_randomization")
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(bool((parameter.grad == 1).all()) for parameter in net.parameters())


def test_an_object_is_bound_to_the_model_and_has_its_own_background(net, inputs):
    bench = Bench(net, inputs)
    of_object = maps(bench, shap.DeepExplainer(net, inputs[:3]))[1]
    of_class = maps(bench, shap.DeepExplainer, data=inputs[:3])[1]
    assert torch.equal(of_object, of_class)
    other = shap.DeepExplainer(copy.deepcopy(net), inputs[:3])
    with pytest.raises(XaiError, match="bound to another model"):
        maps(bench, other)
    with pytest.raises(XaiError, match="of a layer inside the model"):
        maps(bench, shap.GradientExplainer((net, net[0]), inputs[:3]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nsample": 3}, "nsample"),
        ({"ranked_outputs": 1}, "ranked_outputs"),
        ({"data": torch.zeros(2, 1, 7, 7)}, r"\(K, 1, 8, 8\)"),
    ],
)
def test_settings_that_cannot_be_are_one_error(net, inputs, settings, said):
    with pytest.raises(XaiError, match=said):
        maps(Bench(net, inputs), shap.GradientExplainer, **settings)


def test_a_model_of_one_output_and_one_of_two_inputs(inputs):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 1), nn.Linear(3, 1)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    net = Two().eval()
    x, y = torch.randn(32, 4), torch.randn(32, 3)
    bench = Bench(net, (x, y), task="regression")
    block, found = maps(bench, shap.DeepExplainer)
    expected = torch.cat([block.inputs[0] * net.a.weight, block.inputs[1] * net.b.weight], dim=1)
    assert torch.allclose(found, expected.detach(), atol=1e-5)
