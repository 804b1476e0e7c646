"""Every setting of every verb: an odd value is one error that names it, before anything is measured."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from captum.attr import Attribution, GradientAttribution
from model_state import state_of
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError, shown

X = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


def times(model, inputs, targets):
    return inputs * model[0].weight.sum(0)


class Odd:
    def __repr__(self):  # without an address, which would name a test otherwise in each process
        return "Odd()"


ODD = [np.array([1, 2]), torch.tensor([1, 2]), np.array(["a"]), 10**30, float("nan"), {}, {1}, int, Odd(), 1j, "?"]
CASCADE = ("changes_under", "cascading_randomization", {})
FLIPPING = ("beats", "random", {"on": "pixel_flipping"})
SETTINGS = [
    (CASCADE, "similarity cells confidence early depth seeds target reinit samples retention"),
    (("changes_under", "cascading_randomization", {"similarity": "spearman"}), "at_most"),
    (("changes_under", "cascading_randomization", {"samples": 2}), "noise"),
    (("changes_under", "later_layers", {}), "cut seeds reinit"),
    (("changes_under", "other_target", {}), "seeds"),
    (("changes_under", "label_randomization", {}), "seeds accuracy"),
    (("invariant_under", "batch_order", {}), "tolerance confidence early seeds"),
    (("invariant_under", "input_shift", {}), "shift"),
    (("invariant_under", "no_op_layer", {}), "form layer"),
    (("invariant_under", "batch_order", {"similarity": "spearman"}), "at_least"),
    (("invariant_under", "batch_order", {"at_least": 0.5}), "similarity"),
    (FLIPPING, "draws across within margin confidence early steps imputer patch order output"),
    (("beats", "uninformative", {"on": "pixel_flipping"}), "max_examples"),
    (("beats", "mutants", {"on": "pixel_flipping"}), "mutants"),
    (("bounded", "pixel_flipping", {}), "at_most at_least"),
    (
        ("bounded", "infidelity", {"at_most": 0.5}),
        "perturbation reading samples sigma unit side share baseline relative normalize",
    ),
    (("bounded", "completeness", {"at_most": 0.5}), "baseline relative"),
    (("bounded", "max_sensitivity", {"at_most": 0.5}), "radius samples unit relative"),
    (("bounded", "efficient_mprt", {"at_least": 0.1}), "bins seeds reinit"),
    (("bounded", "scale_preservation", {"at_least": 0.1}), "layer seeds axis reduction reinit"),
    (("bounded", "cosine_similarity_convergence", {"at_most": 0.9}), "start layer draws axis"),
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{type(value).__name__}-{shown(value)}")
def test_an_odd_value_of_any_setting_is_one_error_that_leaves_the_model_alone(value):
    model = linear()
    explainer, before = Bench(model, X).explainer(times), state_of(model)
    for (verb, subject, others), names in SETTINGS:
        for name in names.split():
            with pytest.raises(XaiError) as caught:
                getattr(explainer, verb)(subject, **{**others, name: value})
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 600
    assert state_of(model) == before


@pytest.mark.parametrize("value", ODD[:-1], ids=lambda value: f"{type(value).__name__}-{shown(value)}")
@pytest.mark.parametrize(
    "setting", ["task", "device", "confidence", "batch_size", "cache_dir", "training_data", "name"]
)
def test_an_odd_value_of_a_setting_of_the_bench_or_the_explainer_is_one_error(setting, value):
    if setting == "training_data":
        bench = Bench(linear(), X, train=lambda inputs, targets, seed: linear(), training_data=value)
        with pytest.raises(XaiError, match="xai_training_data"):
            bench.explainer(times).changes_under("label_randomization")
        return
    with pytest.raises(XaiError):
        Bench(linear(), X).explainer(times, name=value) if setting == "name" else Bench(linear(), X, **{setting: value})


@pytest.mark.parametrize(
    ("verb", "subject", "settings"),
    [
        ("changes_under", "cascading_randomization", {"seeds": 1001}),
        ("changes_under", "cascading_randomization", {"samples": 10_001}),
        ("changes_under", "other_target", {"seeds": 1001}),
        ("invariant_under", "batch_order", {"seeds": 1001}),
        ("beats", "random", {"draws": 1001, "on": "pixel_flipping"}),
        ("beats", "uninformative", {"max_examples": 10_001, "on": "pixel_flipping"}),
        ("bounded", "efficient_mprt", {"seeds": 1001, "at_least": 0.1}),
        ("bounded", "infidelity", {"samples": 1001, "at_most": 0.1}),
        ("bounded", "max_sensitivity", {"samples": 1001, "at_most": 0.1}),
        ("bounded", "scale_preservation", {"seeds": 1001, "at_least": 0.1}),
        ("bounded", "cosine_similarity_convergence", {"draws": 1001, "at_most": 0.9}),
    ],
)
def test_what_costs_passes_has_an_upper_bound(verb, subject, settings):
    with pytest.raises(XaiError, match=r"a whole number from \d to 10?,000"):
        getattr(Bench(linear(), X).explainer(times), verb)(subject, **settings)


@pytest.mark.parametrize("number", [Fraction(3, 10), np.float32(0.3), np.float64(0.3)])
def test_numbers_of_any_kind_are_numbers(number):
    explainer = Bench(linear(), X).explainer(times)
    whole = np.int64(2)
    for verdict in (
        explainer.changes_under("cascading_randomization", retention=number, seeds=whole, depth=np.uint8(1)),
        explainer.changes_under("cascading_randomization", similarity="spearman", at_most=number),
        explainer.changes_under("cascading_randomization", samples=whole, noise=number),
        explainer.invariant_under("batch_order", tolerance=number),
        explainer.invariant_under("batch_order", similarity="spearman", at_least=number),
        explainer.beats("random", on="pixel_flipping", margin=number, draws=whole, steps=np.int32(4)),
        explainer.bounded("pixel_flipping", at_most=number),
    ):
        assert verdict.n


def test_the_budget_of_a_search_may_be_a_number_of_numpy():
    inputs = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    verdict = (
        Bench(linear(), inputs).explainer(times).beats("uninformative", on="pixel_flipping", max_examples=np.int64(3))
    )
    assert verdict.n


@pytest.mark.parametrize("kind", [Attribution, GradientAttribution])
def test_a_class_that_methods_derive_from_is_no_explainer(kind):
    with pytest.raises(XaiError, match=f"the class {kind.__name__}, which other methods derive from"):
        Bench(linear(), X).explainer(kind)


class Quantized(nn.Module):
    """Reads its input through quantized weights."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))


def test_weights_that_stay_are_said_by_metrics_that_randomize_too():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(Quantized().eval(), {"first"}, dtype=torch.qint8)
        verdict = Bench(model.eval(), X).explainer(lambda m, x, t: x * 2).bounded("scale_preservation", at_least=0.1)
    assert "not randomized: first (quantized)" in verdict.reason


def test_an_order_of_registration_is_said_by_every_claim_that_randomizes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = Bench(torch.jit.script(linear()), X).explainer(lambda m, x, t: x * 2)
    for verdict in (
        explainer.changes_under("cascading_randomization", seeds=2),
        explainer.bounded("efficient_mprt", at_least=0.02, seeds=2),
    ):
        assert "layers in order of registration, not of execution (TorchScript)" in verdict.reason


class Failing(nn.Module):
    """Raises from its third pass on."""

    def __init__(self):
        super().__init__()
        self.net, self.passes = nn.Linear(5, 3), 0

    def forward(self, x):
        self.passes += 1
        if self.passes > 3:
            raise ValueError("no more\n" + "a long story\n" * 50)
        return self.net(x)


def test_a_model_that_raises_later_is_one_error():
    with pytest.raises(XaiError, match="ValueError when called with inputs") as caught:
        Bench(Failing().eval(), X).explainer(lambda m, x, t: x * 2).beats("random", on="pixel_flipping")
    assert "a long story" not in str(caught.value)


FIXES = [  # a call that is refused, what the error advises, and the call that follows it
    (("bounded", "pixel_flipping", {}), "give one of the two", {"at_most": 0.9}),
    (("bounded", "pixel_flipping", {"at_most": 0.1, "at_least": 0.5}), "swap them", {"at_most": 0.5, "at_least": 0.1}),
    (("changes_under", "cascading_randomization", {"at_most": 0.5}), "name one similarity", {"similarity": "cosine"}),
    (("changes_under", "cascading_randomization", {"noise": 0.2}), "average over samples=50", {"samples": 50}),
    (
        ("changes_under", "cascading_randomization", {"seeds": "fresh", "cells": "all"}),
        "pass seeds=8",
        {"seeds": 8},
    ),
    (("invariant_under", "batch_order", {"similarity": "cosine"}), "and its bound", {"at_least": 0.5}),
    (("beats", "random", {"on": "pixel_fliping"}), "use 'pixel_flipping'", {"on": "pixel_flipping"}),
    (("beats", "random", {"on": "pixel_flipping", "within": "class"}), 'within="target"', {"within": None}),
    (("beats", "mutants", {"on": "pixel_flipping", "mutants": ("low_rank",)}), "rounded", {"mutants": ("rounded",)}),
    (("beats", "random", {"on": "pixel_flipping", "imputer": "blur"}), "'mean'", {"imputer": "noise"}),
    (("beats", "edges", {"on": "pixel_flipping"}), "use the baseline 'random'", "random"),
    (("beats", "random", {"on": "efficient_mprt"}), "name pixel_flipping", {"on": "pixel_flipping"}),
    (
        ("changes_under", "cascading_randomization", {"similarity": "ssim"}),
        "use 'spearman'",
        {"similarity": "spearman"},
    ),
    (("beats", "random", {"on": "pixel_flipping", "patch": 2}), "change patch=", {"patch": 1}),
]


@pytest.mark.parametrize(("call", "advice", "mended"), FIXES, ids=[advice for _, advice, _ in FIXES])
def test_a_fix_that_is_printed_can_be_followed(call, advice, mended):
    verb, subject, settings = call
    explainer = Bench(linear(), X).explainer(times)
    with pytest.raises(XaiError) as caught:
        getattr(explainer, verb)(subject, **settings)
    assert advice in caught.value.fix
    changed = {} if isinstance(mended, str) else mended
    assert getattr(explainer, verb)(mended if isinstance(mended, str) else subject, **{**settings, **changed}).n
