"""Groups of equal inputs and maps under every verb, and what is said to settle what is left open."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.claims.groups import settled_by
from pytest_xaisanity.statistics.question import Outlook

torch.set_num_threads(1)

RANDOMIZATION = {"seeds": 2, "similarity": "spearman"}


def rng(seed):
    return torch.Generator().manual_seed(seed)


def images(count=64):
    return torch.randn(count, 1, 6, 6, generator=rng(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).eval()


def gradients(model, inputs, targets):
    inputs = inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def fixed(model, inputs, targets):
    return torch.randn(1, 1, 6, 6, generator=rng(1)).expand_as(inputs).clone()


def upside_down(model, inputs, targets):
    return -gradients(model, inputs, targets) * inputs.detach()


VERBS = {
    "changes_under": lambda one: one.changes_under("cascading_randomization", **RANDOMIZATION),
    "changes_under at_most": lambda one: one.changes_under("cascading_randomization", at_most=0.5, **RANDOMIZATION),
    "invariant_under": lambda one: one.invariant_under("batch_order", similarity="spearman", at_least=0.5),
    "bounded": lambda one: one.bounded("pixel_flipping", at_least=-0.5, steps=3),
    "bounded by a metric of its own": lambda one: one.bounded("efficient_mprt", at_least=-0.5, seeds=1),
    "beats": lambda one: one.beats(upside_down, on="pixel_flipping", steps=3, output="logit"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_fixed_map_is_one_observation_however_many_inputs_it_is_shown_on(model, verb):
    verdict = VERBS[verb](Bench(model, images()).explainer(fixed))
    assert verdict.inconclusive
    assert (verdict.n, verdict.evidence["groups"]) == (64, 1)
    assert "the 64 inputs make 1 group, of equal inputs or equal maps" in verdict.reason
    assert "inputs would settle it" not in verdict.reason


@pytest.mark.parametrize("verb", VERBS)
def test_equal_inputs_are_one_observation(model, verb):
    """Four inputs, sixteen times each, decide nothing that 64 inputs decide."""
    repeated = Bench(model, images(4).repeat(16, 1, 1, 1)).explainer(gradients)
    verdict = VERBS[verb](repeated)
    assert verdict.evidence["groups"] == 4
    assert verdict.inconclusive
    apart = VERBS[verb](Bench(model, images()).explainer(gradients))
    assert apart.evidence["groups"] == apart.n
    assert not apart.inconclusive
    assert "group" not in apart.reason


def test_a_metric_of_the_model_alone_counts_equal_inputs_once(model):
    scaled = Bench(model, images(4).repeat(16, 1, 1, 1)).explainer(gradients)
    assert scaled.bounded("scale_preservation", at_most=0.9, seeds=1).evidence["groups"] == 4


def test_a_search_for_counterexamples_says_how_many_groups_it_saw(model):
    verdict = Bench(model, images()).explainer(fixed).invariant_under("batch_order")
    assert verdict.passed
    assert verdict.evidence["groups"] == 1


def test_an_open_claim_for_each_target_says_what_would_settle_the_worst(model):
    """Half of the inputs of target 1 have the gradient's map, the others its negative."""

    def mixed(model, inputs, targets):
        sign = torch.where((targets == 1) & (inputs[:, 0, 0, 0] > 0), -1.0, 1.0)
        return gradients(model, inputs, targets) * inputs.detach() * sign[:, None, None, None]

    explainer = Bench(model, images(90), torch.arange(90) % 3).explainer(mixed)
    verdict = explainer.beats("random", on="pixel_flipping", steps=3, within="target", output="logit")
    assert verdict.inconclusive
    assert "of target 1 would settle it" in verdict.reason or "how many inputs of target 1" in verdict.reason


def test_maps_that_are_constant_for_a_fixed_share_are_never_said_to_be_settled_by_more(model):
    """As ReLU leaves of GradCAM: at any number of inputs, under every verb that compares maps."""

    def often_constant(model, inputs, targets):
        maps = gradients(model, inputs, targets)
        return torch.where(inputs.detach()[:, :, :1, :1] > -0.5, 0.0, maps)

    for count in (64, 256):
        explainer = Bench(model, images(count)).explainer(often_constant)
        for verdict in (
            explainer.changes_under("cascading_randomization", **RANDOMIZATION),
            explainer.changes_under("cascading_randomization", at_most=0.3, **RANDOMIZATION),
            explainer.invariant_under("batch_order", similarity="spearman", at_least=0.5),
        ):
            assert verdict.inconclusive
            assert "more inputs like these would not settle it" in verdict.reason


@pytest.mark.parametrize("hindrance", ["", "near", "many", "unknown", "few", "no others", "at odds"])
@pytest.mark.parametrize("grouped", [False, True])
def test_every_outlook_has_its_words(hindrance, grouped):
    words = settled_by(Outlook(70, hindrance, grouped), of=" of target 2")
    assert words.startswith("; ")
    assert " of target 2" in words
    assert settled_by(Outlook(70, hindrance, grouped), "passed") == settled_by(None) == ""


class TestOfAnIterator:
    """A sample of what can be read only once is what the verdict speaks of, and it says so."""

    def test_the_sample_is_said(self, model, monkeypatch):
        monkeypatch.setattr("pytest_xaisanity.subject.window.HELD_INPUTS", 64)
        batches = iter(images(200).split(16))
        verdict = Bench(model, batches).explainer(gradients).bounded("pixel_flipping", at_least=0.0, early=False)
        assert (verdict.n, verdict.evidence["drawn_from"]) == (64, 200)
        assert "; measured on 64 of 200 inputs, drawn at random: an iterator is read only once" in verdict.reason
        assert ("inputs", "64 of the 200 of an iterator, drawn at random") in [*verdict.evidence.rows()]
        assert len(np.unique(verdict.evidence["indices"])) == 64

    def test_of_a_whole_nothing_is_said(self, model):
        for given in (images(40), iter(images(40).split(16)), images(40).split(16)[:2] + images(40).split(16)[2:]):
            given = list(given) if isinstance(given, tuple) else given
            verdict = Bench(model, given).explainer(gradients).bounded("pixel_flipping", at_least=0.0, early=False)
            assert "drawn_from" not in verdict.evidence
            assert "iterator" not in verdict.reason
