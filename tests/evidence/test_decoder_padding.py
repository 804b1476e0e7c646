"""Padding of prompts is nobody's business: verdicts on causal language models, and all numbers of their evidence."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from alike import assert_alike
from decoders import WRITERS, Convolutional, Recurrent, continuations, gpt2, prompts

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.token_imputation import Deletion

torch.set_num_threads(1)
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.long]
N = 16


def bench_of(make, targets, *, batch_size=None, **how):
    known = {} if make is gpt2 else {"task": "next_token", "embedding": "embedding"}
    return Bench(make().double().eval(), prompts(N, **how), targets, batch_size=batch_size, **known)


def flipped(imputer, **settings):
    return PixelFlipping(imputer=imputer, **settings)


CLAIMS = {
    "cascading": lambda explainer: explainer.changes_under("cascading_randomization"),
    "random": lambda explainer: explainer.beats("random", on="pixel_flipping"),
}
MORE = {
    "other target": lambda explainer: explainer.changes_under("other_target"),
    "without the embedding": lambda explainer: explainer.changes_under("independent_randomization", embedding=False),
    "later layers": lambda explainer: explainer.changes_under("later_layers"),
    "uninformative": lambda explainer: explainer.beats("uninformative", on="pixel_flipping", max_examples=5),
    "class mean": lambda explainer: explainer.beats("class_mean", on="pixel_flipping"),
    "mutants": lambda explainer: explainer.beats("mutants", on="pixel_flipping", mutants=("rounded", "shuffled")),
    "deletion": lambda explainer: explainer.beats("random", on=flipped(Deletion(id=0))),
    "log-probability": lambda explainer: explainer.beats("random", on=flipped("zero_embedding", output="logit")),
}
TIED = {**CLAIMS, **{name: claim for name, claim in MORE.items() if name != "later layers"}}  # of a head that is tied
WAYS = {"further": {"further": 9}, "in front": {"left": True}, "further in front": {"left": True, "further": 9}}
TARGETS = {"a token": torch.arange(N) % 2 + 5, "several tokens": continuations(2).repeat(N // 2, 1)}


def check(make, targets, claim, how):
    near = claim(bench_of(make, targets).explainer(captum.attr.InputXGradient))
    far = claim(bench_of(make, targets, batch_size=5, **how).explainer(captum.attr.InputXGradient))
    assert_alike(near, far)


@pytest.mark.slow
@pytest.mark.parametrize("make", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_padding_is_invisible(make, claim):
    """On the right, for all of them."""
    check(make, TARGETS["several tokens"], claim, WAYS["further"])


@pytest.mark.slow
@pytest.mark.parametrize("how", [WAYS["in front"], WAYS["further in front"]], ids=["in front", "further in front"])
@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("claim", TIED.values(), ids=TIED)
def test_padding_of_gpt2_is_invisible_in_front_of_prompts(targets, claim, how):
    check(gpt2, targets, claim, how)


@pytest.mark.slow
@pytest.mark.parametrize("make", [Recurrent, Convolutional])
@pytest.mark.parametrize("claim", MORE.values(), ids=MORE)
def test_padding_is_invisible_to_other_claims(make, claim):
    check(make, TARGETS["a token"], claim, WAYS["further"])
