"""zennit's attributors and composites, given to the bench as they are."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request

attribution = pytest.importorskip("zennit.attribution")
composites = pytest.importorskip("zennit.composites")

INPUTS = torch.randn(12, 2, 6, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(12) % 3


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)).eval()


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(F.relu(self.layer(x)))


def answered(source, model, inputs, targets):
    return as_explainer(source, model).attribute(Request(model, inputs, targets, tuple(range(len(inputs[0])))))


def attributed(source, model, targets=TARGETS):
    return answered(source, model, (INPUTS.clone(),), targets)


@pytest.mark.parametrize("kind", ["EpsilonPlus", "EpsilonAlpha2Beta1", "GuidedBackprop"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_composite_explains_as_in_zennit(model, kind, wrapped):
    composite = getattr(composites, kind)()
    with composite.context(model) as modified, attribution.Gradient(modified) as attributor:
        expected = attributor(INPUTS.clone(), torch.eye(3)[TARGETS])[1]
    source = attribution.Gradient(model, composite) if wrapped else composite
    torch.testing.assert_close(attributed(source, model), expected, rtol=0, atol=0)
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("output", [None, torch.zeros(12, 3)])
def test_an_attributor_without_a_composite_is_the_gradient_of_the_target(model, output):
    expected = Saliency(model).attribute(INPUTS.clone().requires_grad_(), TARGETS, abs=False)
    torch.testing.assert_close(attributed(attribution.Gradient(model, attr_output=output), model), expected)


def test_a_single_output(model):
    flat = nn.Sequential(model, nn.Linear(3, 1), nn.Flatten(0))
    expected = Saliency(flat).attribute(INPUTS.clone().requires_grad_(), abs=False)
    torch.testing.assert_close(attributed(attribution.Gradient(flat), flat, None), expected)


def test_claims_follow_the_model_and_the_target(model):
    bench = Bench(model, INPUTS, TARGETS, device="cpu")
    explainer = bench.explainer(composites.EpsilonPlus())
    for intervention in ("other_target", "later_layers"):
        verdict = explainer.changes_under(intervention, similarity="cosine", at_most=0.99, early=False, seeds=2)
        assert -1 < verdict.estimate < 0.99
    rules = (composites.EpsilonPlus(), attribution.Gradient(model, composites.EpsilonPlus()))
    settings = {"at_most": 0.9, "early": False, "start": "1"}
    same = [bench.explainer(rule).bounded("cosine_similarity_convergence", **settings) for rule in rules]
    assert same[0].evidence["scores"] == same[1].evidence["scores"]


def test_an_attributor_that_draws_is_seen_and_a_plain_one_has_rules(model):
    bench = Bench(model, INPUTS, TARGETS, device="cpu")
    smooth = bench.explainer(attribution.SmoothGrad(model, n_iter=3))
    first = smooth.changes_under("other_target", similarity="cosine", at_most=0.5, early=False)
    again = Bench(model, INPUTS, TARGETS, device="cpu", batch_size=5).explainer(attribution.SmoothGrad(model, n_iter=3))
    second = again.changes_under("other_target", similarity="cosine", at_most=0.5, early=False)
    assert first.evidence["scores"]["cosine"] == pytest.approx(second.evidence["scores"]["cosine"], abs=1e-5)
    assert smooth.bounded("cosine_similarity_convergence", at_most=0.9, start="1").n > 0


def test_names_say_what_is_inside(model):
    assert as_explainer(composites.EpsilonPlus(), model).name == "EpsilonPlus"
    assert as_explainer(attribution.Gradient(model, composites.EpsilonPlus()), model).name == "Gradient[EpsilonPlus]"


def test_what_cannot_be(model):
    composite = composites.EpsilonPlus()
    with pytest.raises(XaiError, match="bound to another model than xai_model"):
        as_explainer(attribution.Gradient(nn.Linear(2, 2)), model)
    with pytest.raises(XaiError, match="found 'n_iter'; expected no settings"):
        as_explainer(attribution.SmoothGrad(model), model, n_iter=3)
    with pytest.raises(XaiError, match="pass an object of it: EpsilonPlus"):
        as_explainer(composites.EpsilonPlus, model)
    with pytest.raises(XaiError, match="found 2 input tensors for zennit's EpsilonPlus"):
        answered(composite, model, (INPUTS, INPUTS), TARGETS)
    functional = Functional()
    with pytest.raises(XaiError, match=r"relu\(\) called as a function, which zennit's hooks do not see"):
        answered(composite, functional, (torch.randn(2, 4),), torch.zeros(2).long())
    assert not any(module._forward_hooks for module in functional.modules())
