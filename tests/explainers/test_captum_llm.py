"""Captum's attribution of prompts as explainers: the maps of the methods that it calls, of any continuation."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from decoders import END, Numbers, continuations, gpt2, prompts
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError

torch.set_num_threads(1)
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.long]
N = 4
TARGETS = {"a token": continuations(N)[:, 0], "several tokens": continuations(N), "its own next token": None}
METHODS = {
    "by token": ({"attr_method": captum.attr.FeatureAblation}, captum.attr.FeatureAblation, {}),
    "at once": (
        {"attr_method": captum.attr.FeatureAblation, "forward_in_tokens": False},
        captum.attr.FeatureAblation,
        {},
    ),
    "the gradient": (
        {"attr_method": captum.attr.LayerIntegratedGradients, "layer": "transformer.wte", "n_steps": 6},
        captum.attr.LayerIntegratedGradients,
        {"layer": "transformer.wte", "n_steps": 6},
    ),
}


def bench_of(targets, model=None, count=N):
    return Bench(gpt2().double() if model is None else model, prompts(count, further=2, left=True), targets)


def maps_of(bench, source, **settings):
    explainer = bench.explainer(source, **settings).on(bench)
    with bench.subject.lent():
        return bench._lab(explainer).attributions(next(bench.subject.blocks()))


def kind_of(settings):
    layered = "layer" in settings
    return captum.attr.LLMGradientAttribution if layered else captum.attr.LLMAttribution


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("settings", "plain", "its"), METHODS.values(), ids=METHODS)
def test_maps_are_those_of_the_method_inside(settings, plain, its, targets):
    """Which our own adapter runs on padded prompts, all at once, in place of one unpadded prompt at a time."""
    bench = bench_of(targets)
    found = maps_of(bench, kind_of(settings), tokenizer=Numbers(), **settings)
    expected = maps_of(bench, plain, baselines=END, **its)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_objects_are_taken_as_they_are():
    """Bound to the model, and with settings for their calls; they come back as they were."""
    model = gpt2().double()
    source = captum.attr.LLMAttribution(captum.attr.FeatureAblation(model), Numbers())
    state = dict(vars(source))
    bench = bench_of(TARGETS["several tokens"], model)
    found = maps_of(bench, source, baselines="7")
    expected = maps_of(bench, captum.attr.FeatureAblation, baselines=7)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert vars(source) == state
    assert bench.explainer(source).name == "LLMAttribution[FeatureAblation]"


def test_methods_that_draw_are_decided_alike_in_any_company():
    settings = {
        "attr_method": captum.attr.KernelShap,
        "tokenizer": Numbers(),
        "n_samples": 8,
        "forward_in_tokens": False,
    }
    assert bench_of(None).explainer(captum.attr.LLMAttribution, **settings).invariant_under("batch_order").estimate == 0


def test_weights_are_randomized_under_it():
    explainer = bench_of(None, count=12).explainer(
        captum.attr.LLMGradientAttribution,
        attr_method=captum.attr.LayerGradientXActivation,
        layer="transformer.wte",
        tokenizer=Numbers(),
    )
    plain = bench_of(None, count=12).explainer(
        captum.attr.LayerGradientXActivation, layer="transformer.wte", name=explainer.name
    )
    claims = [one.changes_under("cascading_randomization") for one in (explainer, plain)]
    assert claims[0].estimate == pytest.approx(claims[1].estimate, abs=1e-6)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(40, 8), nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        return self.head(self.embedding(input_ids).mean(1))


def llm(model, **settings):
    return captum.attr.LLMAttribution(captum.attr.FeatureAblation(model), Numbers(), **settings)


BAD = {
    "no tokenizer": (lambda b: b.explainer(captum.attr.LLMAttribution, attr_method=captum.attr.Lime), "tokenizer"),
    "no method": (lambda b: b.explainer(captum.attr.LLMAttribution, tokenizer=Numbers()), "attr_method"),
    "no layer": (
        lambda b: b.explainer(
            captum.attr.LLMGradientAttribution,
            attr_method=captum.attr.LayerIntegratedGradients,
            tokenizer=Numbers(),
        ),
        "layer",
    ),
    "a method that it does not take": (
        lambda b: b.explainer(captum.attr.LLMAttribution, attr_method=captum.attr.Saliency, tokenizer=Numbers()),
        "use FeatureAblation",
    ),
    "another model": (lambda b: b.explainer(llm(gpt2())), "another model"),
    "a target of its own": (lambda b: b.explainer(llm(b.subject.model), target="7"), "target="),
    "an unknown keyword": (lambda b: b.explainer(llm(b.subject.model), num_trial=2), "num_trials"),
    "a classifier": (
        lambda b: (
            Bench(Classifier(), prompts(16))
            .explainer(captum.attr.LLMAttribution, attr_method=captum.attr.FeatureAblation, tokenizer=Numbers())
            .invariant_under("batch_order")
        ),
        "'next_token'",
    ),
}


@pytest.mark.parametrize(("ask", "found"), BAD.values(), ids=BAD)
def test_what_cannot_be_explained_is_refused(ask, found):
    with pytest.raises(XaiError) as caught:
        ask(bench_of(None))
    assert found in str(caught.value)
