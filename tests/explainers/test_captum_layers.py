"""Captum's layer methods: their channels are summed, and what has no places is refused by name."""

import captum.attr as captum
import pytest
import torch
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request

torch.set_num_threads(1)
IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    ).eval()


def answer(source, model, x, **settings):
    request = Request(model, (x.clone(),), torch.zeros(len(x)).long(), tuple(range(len(x))))
    return as_explainer(source, model, **settings).attribute(request)


@pytest.mark.parametrize(
    "name",
    [
        "LayerGradCam",
        "LayerActivation",
        "LayerGradientXActivation",
        "LayerConductance",
        "LayerIntegratedGradients",
        "LayerDeepLift",
        "InternalInfluence",
        "LayerFeatureAblation",
    ],
)
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_channels_are_summed(name):
    model, kind = cnn(), getattr(captum, name)
    got = answer(kind, model, IMAGES, layer="2")
    target = {} if name == "LayerActivation" else {"target": 0}
    expected = kind(model, model[2]).attribute(IMAGES.clone(), **target).sum(1, keepdim=True)
    assert got.shape == (4, 1, 4, 4)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


class Vision(nn.Module):
    """Patches as tokens, and a block that returns its states and its weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.block = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8)
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        h = self.block(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(self.attention(h, h, h)[0].mean(1))


@pytest.mark.parametrize("name", ["LayerGradCam", "LayerGradientXActivation"])
def test_channels_of_tokens_are_no_image(name):
    model = Vision().eval()
    explainer = Bench(model, IMAGES.repeat(4, 1, 1, 1)).explainer(getattr(captum, name), layer="block")
    with pytest.raises(XaiError, match=rf"{name} layer: found attributions .* of a layer of tokens"):
        explainer.changes_under("cascading_randomization")
    assert answer(getattr(captum, name), model, IMAGES, layer="patches").shape == (4, 1, 3, 3)


def test_a_layer_that_returns_several_tensors_is_named():
    with pytest.raises(XaiError, match="LayerActivation layer: found a layer that returns 2 tensors"):
        answer(captum.LayerActivation, Vision().eval(), IMAGES, layer="attention")


def test_the_entries_of_a_token_stay_to_be_reduced():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(20, 6), nn.Linear(6, 3)

        def forward(self, tokens):
            return self.head(torch.tanh(self.embedding(tokens)).mean(1))

    model, tokens = Reader().eval(), torch.randint(0, 20, (4, 7))
    got = answer(captum.LayerIntegratedGradients, model, tokens, layer="embedding", n_steps=8)
    expected = captum.LayerIntegratedGradients(model, model.embedding).attribute(tokens, target=0, n_steps=8)
    torch.testing.assert_close(got, expected)


def test_a_noise_tunnel_over_a_class_shares_its_settings_with_it():
    model, settings = cnn(), {"nt_samples": 2, "stdevs": 0.0, "draw_baseline_from_distrib": False}
    inner = {"attribution_method": captum.LayerGradCam, "layer": "2", "relu_attributions": True}
    got = answer(captum.NoiseTunnel, model, IMAGES, **inner, **settings)
    torch.testing.assert_close(got, answer(captum.LayerGradCam, model, IMAGES, layer="2", relu_attributions=True))
    inner = {"attribution_method": captum.IntegratedGradients, "multiply_by_inputs": False, "n_steps": 4}
    got = answer(captum.NoiseTunnel, model, IMAGES, **inner, **settings)
    alone = answer(captum.IntegratedGradients, model, IMAGES, multiply_by_inputs=False, n_steps=4)
    torch.testing.assert_close(got, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attribution_method": captum.LayerGradCam}, "no layer"),
        ({"attribution_method": captum.LayerGradCam, "layer": "20"}, "'20'; expected one of"),
        ({"attribution_method": captum.Saliency, "layer": "2"}, "'layer'; expected one of abs"),
    ],
)
def test_settings_of_a_class_inside_a_noise_tunnel_are_checked(settings, said):
    with pytest.raises(XaiError, match="NoiseTunnel") as caught:
        answer(captum.NoiseTunnel, cnn(), IMAGES, **settings)
    assert said in str(caught.value)
