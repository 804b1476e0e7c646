"""A causal language model that has read film reviews: sound explanations pass, broken ones fail."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from decoders import UNKNOWN, Numbers, padded, reviews, trained_gpt2

from pytest_xaisanity.bench.bench import Bench

torch.set_num_threads(1)
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.training,
    pytest.mark.slow,
]
N = 64


def own_maps(model, inputs, targets):
    """Return the ids themselves, whatever the model and the target."""
    return inputs.double()


def stale(model, inputs, targets):
    """Return a map that hangs on the length of the prompt alone."""
    return torch.arange(inputs.shape[1]).double().expand(inputs.shape) + 0 * inputs


@pytest.fixture(scope="module", params=[False, True], ids=["its own next token", "two tokens"])
def bench(request):
    """Return sentences that it has not read, of 6 to 11 tokens; or what follows in them."""
    rows = [(place, row) for place, row in enumerate(reviews()[0][:500]) if len(row) >= 14][:N]
    prompts = [row[: 6 + place % 6] for place, row in rows]
    tokens = torch.tensor([row[6 + place % 6 :][:2] for place, row in rows])
    return Bench(trained_gpt2(), padded(prompts), tokens if request.param else None)


def test_it_has_learned():
    """It tells the next token of sentences that it has not read better than how often tokens occur."""
    rows, words = reviews()
    batch = padded(rows[:500])
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    counts = torch.bincount(torch.cat([torch.tensor(row) for row in rows[500:]]), minlength=words) + 1.0
    unigram = -(counts / counts.sum()).log()[labels[:, 1:][labels[:, 1:] >= 0]].mean()
    model = trained_gpt2()
    with torch.no_grad():
        assert model(**batch, labels=labels).loss < unigram - 0.4


SOUND = {
    "Integrated Gradients": (captum.attr.IntegratedGradients, {"n_steps": 16}),
    "gradient of prompts": (
        captum.attr.LLMGradientAttribution,
        {"attr_method": captum.attr.LayerGradientXActivation, "layer": "transformer.wte", "tokenizer": Numbers()},
    ),
}


@pytest.mark.parametrize(("source", "settings"), SOUND.values(), ids=SOUND)
def test_sound_explanations_pass(bench, source, settings):
    explainer = bench.explainer(source, **settings)
    assert explainer.changes_under("cascading_randomization")
    assert explainer.changes_under("other_target")
    assert explainer.beats("random", on="pixel_flipping")


def test_perturbed_prompts_beat_random_orders(bench):
    assert bench.explainer(captum.attr.FeatureAblation, baselines=UNKNOWN).beats("random", on="pixel_flipping")


def test_maps_of_the_input_alone_fail(bench):
    explainer = bench.explainer(own_maps)
    assert explainer.changes_under("cascading_randomization").failed
    assert explainer.changes_under("other_target").failed
    assert not explainer.beats("random", on="pixel_flipping")


def test_one_map_for_all_prompts_does_not_pass(bench):
    explainer = bench.explainer(stale)
    assert not explainer.changes_under("cascading_randomization")
    assert not explainer.changes_under("other_target")
