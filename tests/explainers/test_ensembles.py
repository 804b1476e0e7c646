"""Ensembles of an explainer: what they are for linear models, against Captum's, and whatever the batch."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from laboratory import lab_of
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.common.seeding import isolated
from pytest_xaisanity.explainers import SmoothGrad, SmoothGradSquared, Squared, VarGrad
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request
from pytest_xaisanity.subject.subject import Subject

INPUTS = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A network that is not linear."""

    def __init__(self, curved=True):
        super().__init__()
        self.first, self.last = nn.Linear(48, 16), nn.Linear(16, 4)
        self.curved = curved

    def forward(self, x):
        hidden = self.first(x.flatten(1))
        return self.last(torch.tanh(hidden) if self.curved else hidden)


def gradients(model, inputs, targets):
    """Return the gradient of the explained output."""
    inputs = inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def attributed(source, model, inputs=INPUTS, **settings):
    """Return what an explainer returns before anything is summed over channels."""
    explainer = as_explainer(source, model, **settings)
    request = Request(model, (inputs.clone(),), model(inputs).argmax(1), tuple(range(len(inputs))))
    with isolated("ensemble"):
        result = explainer.attribute(request)
    return (result[0] if isinstance(result, (tuple, list)) else result).detach()


@pytest.mark.parametrize("base", [gradients, Saliency, IntegratedGradients])
def test_of_a_linear_model_they_are_known(base):
    model = Net(curved=False).eval()
    settings = {"abs": False} if base is Saliency else {"n_steps": 4} if base is IntegratedGradients else {}
    plain = attributed(base, model, **settings)
    assert attributed(Squared(base), model, **settings) == pytest.approx(plain.square(), abs=1e-6)
    if base is not IntegratedGradients:  # whose attributions follow the noise
        assert attributed(SmoothGrad(base, samples=4), model, **settings) == pytest.approx(plain, abs=1e-5)
        assert attributed(SmoothGradSquared(base, samples=4), model, **settings) == pytest.approx(plain**2, abs=1e-5)
        assert attributed(VarGrad(base, samples=4), model, **settings).abs().max() < 1e-9


def test_they_are_those_of_the_definition():
    """Mean, mean square and variance over the very same noisy copies."""
    model = Net().eval()
    widths = 0.2 * (INPUTS.flatten(1).amax(1) - INPUTS.flatten(1).amin(1)).reshape(-1, 1, 1, 1)
    targets = model(INPUTS).argmax(1)
    with isolated("ensemble"):
        copies = [gradients(model, INPUTS + torch.randn_like(INPUTS) * widths, targets).double() for _ in range(9)]
    each = torch.stack(copies)
    expected = {SmoothGrad: each.mean(0), SmoothGradSquared: (each**2).mean(0), VarGrad: each.var(0, correction=0)}
    for kind, values in expected.items():
        found = attributed(kind(gradients, samples=9, scale=0.2), model)
        assert found.double() == pytest.approx(values, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "captum"), [(SmoothGrad, "smoothgrad"), (SmoothGradSquared, "smoothgrad_sq"), (VarGrad, "vargrad")]
)
def test_they_are_captums_on_average(kind, captum):
    model = Net().eval()
    one = INPUTS[:1]
    scale = 0.15
    width = float(one.max() - one.min()) * scale
    ours = attributed(kind(Saliency, samples=600, scale=scale), model, one, abs=False)
    with isolated("captum"):
        tunnel = NoiseTunnel(Saliency(model))
        theirs = tunnel.attribute(
            one, nt_type=captum, nt_samples=600, stdevs=width, target=model(one).argmax(1), abs=False
        )
    assert float((ours - theirs).abs().max()) < 0.3 * float(theirs.abs().max())


def test_an_input_gets_the_same_map_in_any_company():
    model = Net().eval()
    lab = lab_of(Subject(model, INPUTS, device="cpu"), SmoothGrad(gradients, samples=5))
    alone = lab_of(Subject(model, INPUTS, device="cpu", batch_size=1), SmoothGrad(gradients, samples=5))
    for one in (lab, alone):
        one.attributions.remember("x")
    with lab.subject.lent(), alone.subject.lent():
        together = lab.attributions(next(lab.subject.blocks()))
        single = alone.attributions(next(alone.subject.blocks()))
    assert together == pytest.approx(single, abs=1e-5)


def test_names_and_keys_tell_them_apart():
    made = [
        as_explainer(source, Net(), abs=False)
        for source in (Squared(Saliency), SmoothGrad(Saliency), VarGrad(Saliency), VarGrad(Saliency, samples=7))
    ]
    assert len({one.key for one in made}) == len({one.name for one in made}) == 4
    assert made[2].name == "vargrad(samples=15, scale=0.15) of Saliency(abs=False)"


def test_they_take_part_in_claims():
    claims = Bench(Net().eval(), torch.randn(40, 3, 4, 4), device="cpu").explainer(SmoothGrad(gradients, samples=3))
    assert claims.beats("random", on="pixel_flipping", steps=4).n >= 16


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SmoothGrad(Saliency, samples=0), "samples"),
        (lambda: VarGrad(Saliency, samples=1), "VarGrad samples: found 1; expected a whole number from 2"),
        (lambda: VarGrad(Saliency, scale=0), "scale"),
        (lambda: as_explainer(SmoothGrad(3), Net()), "an explainer that xai.explainer takes"),
        (lambda: as_explainer(SmoothGrad(Squared(Saliency)), Net()), "no other ensemble"),
        (lambda: attributed(SmoothGrad(lambda m, x, t: x), lambda x: torch.zeros(6, 2), INPUTS.long()), "no noise"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(XaiError, match=said):
        make()
