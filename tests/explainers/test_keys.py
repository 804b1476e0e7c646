"""Keys of explainers: what is the same shares its attributions, and nothing else does."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, NoiseTunnel, Saliency
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.explainers import LRP, as_explainer
from pytest_xaisanity.explainers.adapters.keys import key_of

INPUTS = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))


def explain(model, inputs, targets, *, shift=0.0, scale=1.0):
    return inputs * scale + shift


@dataclass
class Settings:
    """Compares by value, and can be changed: it cannot be hashed."""

    size: int = 1


class Plain:
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(6.0),
        lambda: torch.arange(6.0).to_sparse(),
        lambda: np.arange(6),
        lambda: (torch.zeros(2), 3, "a", None),
        lambda: [1.5, float("nan")],
        lambda: {"a": torch.ones(2), "b": {1, 2}},
        lambda: functools.partial(explain, shift=torch.ones(3)),
        lambda: torch.float16,
    ],
)
def test_equal_values_have_equal_keys(make):
    assert key_of(make()) == key_of(make())
    assert hash(key_of(make())) == hash(key_of(make()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("1", 1),
        (None, False),
        ((1, 2), [1, 2]),
        ((1, 2), (2, 1)),
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.tensor([0.0, 1e-30])),
        (torch.zeros(2), np.zeros(2, dtype=np.float32)),
        ({"a": 1}, {"a": 2}),
        (functools.partial(explain, shift=1), functools.partial(explain, shift=2)),
        (functools.partial(explain, shift=1), functools.partial(explain, scale=1)),
        (nn.ReLU(), nn.ReLU()),
        (Plain(), Plain()),
        (Settings(), Settings()),
        (np.array([Plain()]), np.array([Plain()])),
        (torch.zeros(2, device="meta"), torch.zeros(2, device="meta")),
    ],
)
def test_other_values_have_other_keys(one, other):
    assert key_of(one) != key_of(other)
    assert key_of(one) == key_of(one)


def test_no_other_object_can_take_the_place_of_one_that_has_a_key():
    """Its number would be free again once it is gone."""
    assert len({key_of(Settings(size)) for size in range(100)}) == 100


@pytest.mark.parametrize(
    ("source", "settings", "others"),
    [
        (Saliency, {"abs": False}, {"abs": True}),
        (IntegratedGradients, {"baselines": torch.ones(1, 8)}, {"baselines": torch.zeros(1, 8)}),
        (NoiseTunnel, {"attribution_method": Saliency, "stdevs": (0.1,)}, {"attribution_method": IntegratedGradients}),
        (LayerGradCam, {"layer": "0"}, {"layer": "2"}),
        (LRP, {"rule": "zplus"}, {"rule": "z"}),
        (explain, {"shift": torch.ones(8)}, {"shift": torch.zeros(8)}),
        (explain, {"shift": 1}, {"shift": True}),
    ],
)
def test_explainers_are_the_same_by_their_settings(source, settings, others):
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    again = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in settings.items()}
    key = as_explainer(source, model, name="e", **settings).key
    assert key == as_explainer(source, model, name="e", **again).key
    assert key != as_explainer(source, model, name="e", **others).key


def test_a_tensor_that_was_changed_in_between_makes_another_explainer():
    shift = torch.zeros(8)
    bench = Bench(nn.Linear(8, 3).eval(), INPUTS, device="cpu")
    first = bench.explainer(explain, name="e", shift=shift)
    before = first.beats("random", on="pixel_flipping", early=False)
    shift += 5 * torch.arange(8) * (-1) ** torch.arange(8)
    after = bench.explainer(explain, name="e", shift=shift).beats("random", on="pixel_flipping", early=False)
    assert before.estimate != after.estimate


def test_explainers_called_alike_with_other_settings_share_no_attributions():
    bench = Bench(nn.Linear(8, 3).eval(), INPUTS, device="cpu")
    settings = {"on": "pixel_flipping", "early": False}
    several = [bench.explainer(explain, name="e", shift=shift).beats("random", **settings) for shift in INPUTS[:3] * 9]
    assert len({verdict.estimate for verdict in several}) == 3
