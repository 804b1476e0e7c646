"""Ids of claims: equal for equal claims in every process, different for different ones, and readable."""

from __future__ import annotations

import functools
import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from hypothesis import given
from hypothesis import strategies as st

from pytest_xaisanity import (
    BatchOrder,
    CascadingRandomization,
    PixelFlipping,
    beats,
    bounded,
    changes_under,
    invariant_under,
)
from pytest_xaisanity.claims.identity import label
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.baselines.random import Random
from pytest_xaisanity.evidence.interventions import INTERVENTIONS
from pytest_xaisanity.evidence.metrics import METRICS

pytestmark = pytest.mark.long

MODEL = torch.nn.Sequential(torch.nn.Linear(4, 3))


class Odd(PixelFlipping):
    """A metric that is not this package's, under the name of one that is."""


class Holder:
    """A callable without a repr of its own."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, model, inputs, targets):
        return self.scale * inputs

    def method(self, model, inputs, targets):
        return self(model, inputs, targets)


def explain(model, inputs, targets, scale=1):
    return scale * inputs


def scaled(scale):
    def explain(model, inputs, targets):
        return scale * inputs

    return explain


def against(baseline):
    return beats(baseline, on="pixel_flipping")


READABLE = {
    "beats-random-on-pixel_flipping": beats("random", on="pixel_flipping"),
    "beats-random-draws9-on-pixel_flipping-steps4": beats("random", draws=9, on="pixel_flipping", steps=4),
    "beats-mutants-mutants_shuffled+rounded-on-pixel_flipping-earlyFalse": beats(
        "mutants", mutants=("shuffled", "rounded"), on="pixel_flipping", early=False
    ),
    "beats-edges-on-pixel_flipping-across_settings-imputer_mean": beats(
        "edges", on="pixel_flipping", across="settings", imputer="mean"
    ),
    "bounded-pixel_flipping-at_least-0.5-confidence0.99": bounded("pixel_flipping", at_least=-0.5, confidence=0.99),
    "changes_under-cascading_randomization-depth2-similarity_ssim": changes_under(
        "cascading_randomization", depth=2, similarity="ssim"
    ),
    "invariant_under-batch_order-tolerance0.1": invariant_under(BatchOrder(), tolerance=0.1),
}


@pytest.mark.parametrize("expected", READABLE)
def test_an_id_reads_as_the_claim_does(expected):
    assert READABLE[expected].claim_id == expected


@pytest.mark.parametrize("claim", READABLE.values(), ids=list(READABLE))
def test_what_is_claimed_is_said_without_settings(claim):
    assert re.match(re.escape(claim.kind) + "(-|$)", re.sub(r"-(draws|mutants_)[\w+]+", "", claim.claim_id))
    assert not re.search(r"\d", claim.kind)


SAME = {
    "a name and the object it stands for": (
        beats("random", on="pixel_flipping", steps=4),
        beats(Random(), on=PixelFlipping(steps=4)),
    ),
    "a setting that is the default": (
        changes_under("cascading_randomization"),
        changes_under("cascading_randomization", seeds=8, reinit="own", retention=0.5, early=True),
    ),
    "a number in another type": (
        bounded("pixel_flipping", at_least=0.5, at_most=1),
        bounded("pixel_flipping", at_least=np.float32(0.5), at_most=1.0),
    ),
    "an explainer of the same settings": (
        against(IntegratedGradients(MODEL)),
        against(IntegratedGradients(torch.nn.Sequential(torch.nn.Linear(4, 3)))),
    ),
    "a partial call": (
        against(functools.partial(explain, scale=2)),
        against(functools.partial(explain, scale=2)),
    ),
}


@pytest.mark.parametrize("how", SAME)
def test_equal_claims_have_one_id(how):
    """However they are written, and whatever the weights of a model are."""
    first, second = SAME[how]
    assert first.claim_id == second.claim_id


DIFFERENT = {
    "two objects of a name": [beats("random", on=PixelFlipping(steps=k)) for k in (4, 8)],
    "a metric of another class": [beats("random", on=kind(steps=4)) for kind in (PixelFlipping, Odd)],
    "instances of Captum": [
        against(IntegratedGradients(MODEL, multiply_by_inputs=multiply)) for multiply in (True, False)
    ],
    "a class and its instance": [against(Saliency), against(Saliency(MODEL))],
    "objects without a repr": [against(Holder(scale)) for scale in (1, 2)],
    "methods": [against(Holder(scale).method) for scale in (1, 2)],
    "arrays": [against(Holder(np.full(3, scale))) for scale in (1, 2)],
    "tensors": [against(Holder(torch.full((3,), scale))) for scale in (1, 2)],
    "lambdas": [against(lambda model, inputs, targets: inputs), against(lambda model, inputs, targets: -inputs)],
    "what functions close over": [against(scaled(scale)) for scale in (1, 2)],
    "partial calls": [against(functools.partial(explain, scale=scale)) for scale in (1, 2)],
    "one setting and each": [
        beats("random", on="pixel_flipping"),
        beats("random", on="pixel_flipping", across="settings"),
    ],
    "verbs": [changes_under("other_target"), bounded("pixel_flipping", at_most=0.5), invariant_under("batch_order")],
    "bounds": [bounded("pixel_flipping", **{side: value}) for side in ("at_most", "at_least") for value in (0.5, -0.5)],
    "reinits": [
        changes_under(CascadingRandomization(reinit=reinit)) for reinit in ("own", "truncated_normal", "permutation")
    ],
}


@pytest.mark.parametrize("how", DIFFERENT)
def test_different_claims_have_different_ids(how):
    """Also where their words are equal."""
    ids = [claim.claim_id for claim in DIFFERENT[how]]
    assert len(set(ids)) == len(ids)


@given(
    depth=st.none() | st.integers(1, 40),
    seeds=st.integers(1, 99),
    target=st.sampled_from(["fixed", "dynamic"]),
    retention=st.floats(0, 1),
    similarity=st.sampled_from([None, "ssim", "mse"]),
    other=st.data(),
)
def test_ids_are_equal_just_where_claims_are(depth, seeds, target, retention, similarity, other):
    def claim(**settings):
        return changes_under("cascading_randomization", **settings)

    first = {"depth": depth, "seeds": seeds, "target": target, "retention": retention, "similarity": similarity}
    second = {**first, other.draw(st.sampled_from(["depth", "seeds"])): other.draw(st.integers(1, 99))}
    assert (claim(**first).claim_id == claim(**second).claim_id) == (claim(**first) == claim(**second))


@pytest.mark.parametrize("claim", [*READABLE.values(), *itertools.chain(*SAME.values(), *DIFFERENT.values())], ids=str)
def test_ids_have_nothing_that_a_shell_or_a_selection_trips_over(claim):
    assert re.fullmatch(r"[\w.+-]+", claim.claim_id)


@pytest.mark.parametrize("registry", [METRICS, INTERVENTIONS, BASELINES], ids=lambda registry: registry.kind)
def test_no_setting_reads_like_another_with_a_value(registry):
    """As ``at`` with the value ``"most"`` would read like ``at_most``."""
    for name in registry:
        settings = list(getattr(registry.get(name, where="test"), "__dataclass_fields__", ()))
        assert not [(one, other) for one, other in itertools.permutations(settings, 2) if other.startswith(f"{one}_")]


@pytest.mark.slow
def test_ids_are_the_same_in_every_process(capsys):
    """Whatever the hashes of strings and the addresses of objects are."""
    code = (
        "import functools, torch\nfrom pytest_xaisanity import beats, changes_under\nfrom captum.attr import Saliency\n"
        "def against(baseline): return beats(baseline, on='pixel_flipping', draws=None).claim_id\n"
        "print(against(lambda m, x, t: {x.sum(), 1}), against(Saliency(torch.nn.Linear(3, 2))), against(Saliency),\n"
        "      against(functools.partial(print, 1)), against(torch.nn.Linear(2, 1)))\n"
    )
    exec(code, {"__name__": "__main__"})
    here = capsys.readouterr().out
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == here
    assert len(set(here.split())) == 5


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (None, "None"),
        (0.5, "0.5"),
        (np.float32(0.5), "0.5"),
        ("mean", "mean"),
        (("a", "b"), "a+b"),
        (Saliency, "Saliency"),
        (print, "print"),
        (PixelFlipping(), "pixel_flipping"),
        (np.zeros(3), "ndarray"),
        (torch.zeros(3), "Tensor"),
    ],
)
def test_a_word_stands_for_any_object(spec, word):
    assert label(spec) == word
