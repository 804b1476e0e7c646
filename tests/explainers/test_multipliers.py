"""With and without the factor of the input: against Captum's own setting, and what has none."""

from __future__ import annotations

import captum.attr as ca
import numpy as np
import pytest
import torch
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
X, TARGETS = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
BASE = torch.full((1, 6), 0.25)


def maps(source, **settings):
    request = Request(MODEL, (X.clone(),), TARGETS, tuple(range(5)))
    return as_explainer(source, MODEL, **settings).attribute(request).detach()


@pytest.mark.parametrize(
    ("kind", "settings", "start"),
    [
        (ca.IntegratedGradients, {"n_steps": 16}, 0.0),
        (ca.IntegratedGradients, {"n_steps": 16, "baselines": BASE}, BASE),
        (ca.DeepLift, {}, 0.0),
        (ca.InputXGradient, {}, 0.0),
        (ca.Saliency, {}, 0.0),
    ],
)
def test_the_global_attribution_is_the_local_one_times_the_difference(kind, settings, start):
    local = maps(kind, multiplier="without", **(settings | ({"abs": False} if kind is ca.Saliency else {})))
    whole = maps(kind, multiplier="with", **settings)
    assert torch.allclose(whole, local * (X - start), atol=1e-6)
    assert not torch.allclose(whole, local)


@pytest.mark.parametrize("kind", [ca.IntegratedGradients, ca.DeepLift, ca.GradientShap, ca.DeepLiftShap])
def test_it_is_the_setting_of_captum(kind):
    settings = {"baselines": torch.zeros(2, 6)} if "Shap" in kind.__name__ else {}
    for word, value in (("with", True), ("without", False)):
        found = []
        for given in ({"multiplier": word}, {"multiply_by_inputs": value}):
            np.random.seed(0)
            torch.manual_seed(0)
            found.append(maps(kind, **given, **settings))
        assert torch.equal(*found)


def test_layers_have_one_too():
    settings = {"layer": "0", "n_steps": 8}
    model = MODEL
    ours = as_explainer(ca.LayerIntegratedGradients, model, multiplier="without", **settings)
    theirs = as_explainer(ca.LayerIntegratedGradients, model, multiply_by_inputs=False, **settings)
    request = Request(model, (X.clone(),), TARGETS, tuple(range(5)))
    assert torch.equal(ours.attribute(request), theirs.attribute(request))


def test_gradients_are_signed_without_and_of_their_size_where_that_is_asked_for():
    signed = maps(ca.Saliency, abs=False)
    assert torch.equal(maps(ca.InputXGradient, multiplier="without"), signed)
    assert torch.equal(maps(ca.Saliency, multiplier="without"), signed.abs())
    assert torch.equal(maps(ca.Saliency, multiplier="without", abs=False), signed)


def test_instances_are_taken_as_they_are_and_refused_where_they_are_otherwise():
    local = ca.IntegratedGradients(MODEL, multiply_by_inputs=False)
    assert torch.equal(maps(local, multiplier="without"), maps(local))
    with pytest.raises(XaiError, match="pass the class instead"):
        maps(local, multiplier="with")


def test_a_function_may_have_one_of_its_own():
    def gradient(model, inputs, targets, multiplier="with"):
        return inputs * (2.0 if multiplier == "with" else 1.0)

    assert torch.equal(maps(gradient, multiplier="without"), X)


def test_the_name_tells_it_and_explainers_differ_by_it():
    one, other = (as_explainer(ca.IntegratedGradients, MODEL, multiplier=word) for word in ("with", "without"))
    assert (one.name, other.name) == ("IntegratedGradients(multiplier=with)", "IntegratedGradients(multiplier=without)")
    assert one.key != other.key
    explainer = Bench(MODEL, torch.randn(32, 6)).explainer(ca.InputXGradient, multiplier="without")
    assert explainer.beats("random", on="pixel_flipping").n >= 16
    assert explainer.name == "InputXGradient(multiplier=without)"


@pytest.mark.parametrize(
    ("source", "settings", "found"),
    [
        (ca.Occlusion, {"sliding_window_shapes": (1,)}, "Occlusion, which has none to switch; expected .*Integrated"),
        (ca.FeatureAblation, {}, "FeatureAblation, which has none"),
        (ca.GuidedBackprop, {}, "GuidedBackprop, which has none"),
        (
            ca.NoiseTunnel,
            {"attribution_method": ca.Saliency},
            "NoiseTunnel, which has none.*method inside as an object",
        ),
        (ca.FeatureAblation(MODEL), {}, "FeatureAblation, which has none"),
        (lambda model, inputs, targets: inputs, {}, "<lambda>, which has none"),
        (ca.IntegratedGradients, {"multiply_by_inputs": True}, "beside multiply_by_inputs="),
    ],
)
def test_what_has_none_is_one_error(source, settings, found):
    with pytest.raises(XaiError, match=found):
        maps(source, multiplier="without", **settings)


def test_other_words_are_one_error():
    with pytest.raises(XaiError, match=r"multiplier: found 'global'; expected 'with', .* or 'without'"):
        maps(ca.IntegratedGradients, multiplier="global")
