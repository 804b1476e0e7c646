"""The baseline "other_local": another input's local attributions, times this input."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient, Saliency
from laboratory import lab_of
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.baselines.other_input import OtherInput
from pytest_xaisanity.evidence.baselines.other_local import OtherLocal, UnitGradients
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)


class Quadratic(nn.Module):
    """A sum of products of neighbors, whose gradient at each pixel is what lies beside it."""

    def forward(self, x):
        flat = x.flatten(1)
        score = (flat * flat.roll(1, 1)).sum(1) / 2
        return torch.stack([score, -score], dim=1)


class Linear(nn.Module):
    def forward(self, x):
        score = (x.flatten(1) * torch.linspace(-1, 1, x[0].numel())).sum(1)
        return torch.stack([score, -score], dim=1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient(model, inputs, targets):
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def product(model, inputs, targets):
    return gradient(model, inputs, targets) * inputs


def template(model, inputs, targets):
    """Return the input times one template of its class."""
    return torch.linspace(-1, 1, inputs[0].numel()).reshape(inputs[0].shape) * inputs


def made(subject, source, baseline=None, **settings):
    """Return the baseline's map of each input, by index, the explainer's own, and what other_input gives."""
    lab, found = lab_of(subject, source, **settings), {}
    with subject.lent():
        local, other = (baseline or OtherLocal()).begin(lab), OtherInput().begin(lab)
        for block in subject.blocks():
            own = lab.attributions(block)
            for index, *maps in zip(block.indices, local(block, own)[0], own, other(block, own)[0], strict=True):
                found[index] = maps
    return found


def with_zeros(inputs):
    return inputs.masked_fill(drawn(*inputs.shape, seed=1) > 0.5, 0.0)


@pytest.mark.parametrize("source", [product, InputXGradient], ids=["a function", "an explainer that says so"])
def test_it_is_the_local_attribution_of_the_other_times_this(source):
    """Against a loop in float64: the other input is the one whose map other_input gives."""
    inputs = with_zeros(drawn(40, 1, 4, 4))
    targets = torch.arange(40) % 2
    found = made(Subject(Quadratic().eval(), inputs, targets, seed=0), source)
    owns = {index: own for index, (_, own, _) in found.items()}
    for index, (local, own, others) in found.items():
        (other,) = [one for one in owns if one != index and torch.equal(owns[one], others)]
        assert targets[other] == targets[index]
        for place in range(16):
            x, its = (inputs[one].double().flatten()[place] for one in (index, other))
            ratio = owns[other].double().flatten()[place] / its if its else None
            expected = own.double().flatten()[place] if ratio is None else ratio * x
            assert local.flatten()[place].double() == pytest.approx(float(expected), abs=1e-5)


def test_channels_are_multiplied_each_by_itself_and_then_summed():
    inputs, targets = with_zeros(drawn(12, 3, 4, 4)), torch.zeros(12, dtype=torch.long)
    subject = Subject(Quadratic().eval(), inputs, targets, seed=0)
    lab = lab_of(subject, product)
    with subject.lent():
        block = next(subject.blocks())
        whole, summed = lab.attributions.per_channel()(block), lab.attributions(block)
        by_channel, by_place = (OtherLocal().begin(lab)(block, like)[0] for like in (whole, summed))
    assert by_channel.shape == (12, 3, 4, 4)
    assert torch.allclose(by_channel.sum(1), by_place, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"abs": False}], ids=["absolute", "signed"])
def test_maps_that_are_not_multiplied_stand_as_they_are(settings):
    found = made(
        Subject(Quadratic().eval(), with_zeros(drawn(20, 1, 4, 4)), torch.arange(20) % 2, seed=0), Saliency, **settings
    )
    assert all(torch.equal(local, others) for local, _, others in found.values())


def test_inputs_at_which_the_network_has_the_same_gradient_have_none():
    subject = Subject(Linear().eval(), drawn(20, 1, 4, 4), torch.arange(20) % 2, seed=0)
    assert all(local.isnan().all() for local, _, _ in made(subject, product).values())
    with subject.lent():
        assert UnitGradients(subject).same(next(subject.blocks())) == 1.0
    curved = Subject(Quadratic().eval(), drawn(20, 1, 4, 4), torch.arange(20) % 2, seed=0)
    with curved.lent():
        assert UnitGradients(curved).same(next(curved.blocks())) == 0.0


def test_a_linear_model_leaves_nothing_to_decide_on():
    bench = Bench(Linear().eval(), drawn(64, 1, 4, 4))
    with pytest.raises(XaiError, match="64 have no other input of their target among those measured, or one at which"):
        bench.explainer(product).beats("other_local", on="pixel_flipping")


def test_an_input_whose_target_no_other_has_has_no_map():
    targets = torch.tensor([0, 0, 1, 0, 0, 0])
    found = made(Subject(Quadratic().eval(), with_zeros(drawn(6, 1, 4, 4)), targets, seed=0), product)
    assert [index for index in range(6) if found[index][0].isnan().all()] == [2]


def test_a_model_without_gradients_is_asked_too():
    class Still(Quadratic):
        def forward(self, x):
            return super().forward(x.detach())

    inputs, targets = with_zeros(drawn(12, 1, 4, 4)), torch.zeros(12, dtype=torch.long)
    found = made(Subject(Still().eval(), inputs, targets, seed=0), template)
    assert all(torch.allclose(local, own, atol=1e-5) for local, own, _ in found.values())


def test_tokens_are_refused():
    model = nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(8, 2)).eval()
    bench = Bench(model, torch.randint(1, 9, (32, 4)), embedding=model[0])
    with pytest.raises(XaiError, match="no attribution of a token is multiplied") as raised:
        bench.explainer(lambda m, x, t: x.float()).beats("other_local", on="pixel_flipping", imputer="zero_embedding")
    assert "use the baseline 'other_input'" in str(raised.value)


def test_the_input_times_a_template_gains_nothing_and_fails():
    """Random orders and other_input let it pass; the right map passes both."""
    bench = Bench(Quadratic().eval(), with_zeros(drawn(256, 1, 6, 6)), device="cpu")
    verdict = bench.explainer(template).beats("other_local", on="pixel_flipping", output="probability")
    assert verdict.failed, verdict
    assert verdict.estimate == 0.0
    right = bench.explainer(product).beats("other_local", on="pixel_flipping", imputer="constant")
    assert right.passed, right
