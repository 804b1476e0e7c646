"""Content: what is the same has one digest in every process, what differs in anything has another, or there is none."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, LayerGradCam, Saliency
from torch import nn

from pytest_xaisanity.common.content import content_of
from pytest_xaisanity.explainers import LRP
from pytest_xaisanity.explainers.adapters import as_explainer


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Held:
    def __init__(self, held):
        self.held = held


def scaled(factor):
    def map_of(model, inputs, targets):
        return inputs * factor

    return map_of


def installed(function):
    """Return a function as if it were one of an installed package."""
    function.__module__ = "torch"
    return function


def lambdas():
    """Return two functions of one name that do other things."""
    return installed(lambda x: x + 1), installed(lambda x: x - 1)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()


def wide(last):
    found = np.empty(5000, object)
    found[2500] = last
    return found


DIFFERENT = {
    "numbers": (1, 1.0),
    "truth": (True, 1),
    "words with addresses": ("0x10", "0x11"),
    "objects of classes": (Held(1), Held(2)),
    "slots": (Slotted(1), Slotted(2)),
    "closures": (scaled(1), scaled(2)),
    "functions within an installed one": lambdas(),
    "classes made as they run": (type("Made", (Held,), {"factor": 1}), type("Made", (Held,), {"factor": 2})),
    "partials": (partial(scaled, 1), partial(scaled, 2)),
    "long arrays of objects": (wide(1), wide(2)),
    "long arrays of words": (np.array(["a"] * 5000 + ["b"]), np.array(["a"] * 2500 + ["b"] + ["a"] * 2500)),
    "sets": ({1, 2}, {1, 3}),
    "networks": (network(0), network(1)),
    "modules with another setting": (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
    "generators of torch": (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)),
    "generators of NumPy": (np.random.default_rng(0), np.random.default_rng(1)),
    "objects of an installed class": (
        IntegratedGradients(network(), multiply_by_inputs=True),
        IntegratedGradients(network(), multiply_by_inputs=False),
    ),
    "bound methods": (Held(scaled(1)).held.__call__, Held(scaled(2)).held.__call__),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_has_other_digests_or_none(one, other):
    told = content_of(one), content_of(other)
    assert told[0] != told[1] or told == (None, None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (Saliency, {"abs": False}),
        lambda: (IntegratedGradients, {"n_steps": 5}),
        lambda: (GradientShap, {"baselines": torch.zeros(3, 1, 2, 2), "n_samples": 3}),
        lambda: (LayerGradCam, {"layer": "1"}),
        lambda: (LRP("epsilon"), {}),
        lambda: (scaled(3), {}),
    ],
)
def test_explainers_of_every_kind_are_told(make):
    """Made twice they have one digest, with other settings another."""
    found = []
    for _ in range(2):
        source, settings = make()
        explainer = as_explainer(source, network(), **settings)
        found.append(content_of(explainer.attribute, explainer.name))
    assert found[0] is not None
    assert found[0] == found[1]


def test_settings_of_explainers_are_told_apart():
    pairs = [
        [as_explainer(Saliency, network(), abs=flag) for flag in (True, False)],
        [as_explainer(IntegratedGradients, network(), n_steps=steps) for steps in (5, 6)],
        [as_explainer(LRP("epsilon", epsilon=one), network()) for one in (0.1, 0.2)],
        [as_explainer(scaled(one), network()) for one in (0.1, 0.2)],
    ]
    for one, other in pairs:
        assert content_of(one.attribute) != content_of(other.attribute)


@pytest.mark.parametrize("value", [threading.Lock(), [threading.Lock()], (one for one in [1]), Held(sys.stdout)])
def test_what_cannot_be_told_has_no_digest(value):
    assert content_of(value) is None


def test_circles_end():
    held = Held(None)
    held.held = [held]
    assert content_of(held) is not None


@pytest.mark.slow
def test_digests_are_the_same_in_every_process():
    code = (
        f"import sys; sys.path.insert(0, {sys.path[0]!r}); sys.path.insert(0, {__file__.rpartition('/')[0]!r})\n"
        "import torch, test_content as t; from pytest_xaisanity.common.content import content_of\n"
        "print(content_of(t.network(), t.scaled(2), {'b', 'a', 'c'}, t.Held(torch.ones(2)), t.LRP('epsilon')))"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(found) == 1
    assert "None" not in found.pop()
