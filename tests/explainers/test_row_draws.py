"""Explainers that draw are run in company where each input gets the map that it gets alone, and else one at a time."""

import numpy as np
import pytest
import torch
from captum.attr import (
    GradientShap,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Saliency,
)
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.common.seeding import global_state, isolated, same_state
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.explainers.row_draws import RowDraws
from pytest_xaisanity.subject.subject import Subject

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::UserWarning:captum")]
X = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
SHAP = {"baselines": torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), "n_samples": 4, "stdevs": 0.1}
TUNNEL = {"attribution_method": Saliency, "nt_samples": 5, "abs": False}


class Net(nn.Module):
    """Notes how many rows come in."""

    def __init__(self, most=None):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        self.seen, self.most = [], most

    def forward(self, x):
        if self.most is not None and len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if torch.is_grad_enabled():
            self.seen.append(len(x))
        return self.net(x)


def maps_of(source, model, *, batch_size=None, **settings):
    """Return maps in the order of the inputs, and whether the explainer draws in company."""
    subject = Subject(model.eval(), X, device="cpu", batch_size=batch_size)
    explained = Attributions(subject, as_explainer(source, model, name="e", **settings), 0)
    with subject.lent():
        parts = [(block.indices, explained(block)) for block in subject.blocks()]
    order = torch.tensor(sum((places for places, _ in parts), ())).argsort()
    return torch.cat([maps for _, maps in parts])[order], explained.sampling


def by_rows(model, inputs, targets):
    """SmoothGrad of one's own: all copies of an input next to one another."""
    copies = inputs.repeat_interleave(4, 0)
    leaf = (copies + torch.randn_like(copies)).detach().requires_grad_()
    outputs = model(leaf).gather(1, targets.repeat_interleave(4)[:, None])
    return torch.autograd.grad(outputs.sum(), leaf)[0].unflatten(0, (-1, 4)).mean(1)


def by_samples(model, inputs, targets):
    """The same with all inputs of a sample next to one another, so that rows do not tell which input they are of."""
    copies = inputs.repeat(4, 1)
    leaf = (copies + torch.randn_like(copies)).detach().requires_grad_()
    outputs = model(leaf).gather(1, targets.repeat(4)[:, None])
    return torch.autograd.grad(outputs.sum(), leaf)[0].unflatten(0, (4, -1)).mean(0)


@pytest.mark.parametrize(
    ("source", "settings", "copies"),
    [
        (NoiseTunnel, TUNNEL, 5),
        (NoiseTunnel, TUNNEL | {"nt_samples_batch_size": 2}, 2),
        (NoiseTunnel, {"attribution_method": IntegratedGradients, "nt_samples": 3, "n_steps": 4}, 3),
        (GradientShap, SHAP, 4),
        (by_rows, {}, 4),
    ],
)
def test_an_input_gets_in_company_what_it_gets_alone(source, settings, copies):
    model = Net()
    together, sampling = maps_of(source, model, **settings)
    assert (sampling.draws, sampling.copies) == (True, copies)
    assert max(model.seen) > 2 * copies  # three inputs or more at once
    state = global_state()
    alone, other = maps_of(source, Net(), batch_size=1, **settings)
    assert same_state(state, global_state())
    assert (other.draws, other.copies) == (True, None)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    odd, _ = maps_of(source, Net(), batch_size=3 * copies, **settings)
    torch.testing.assert_close(odd, alone, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_drawn_by_row_is_run_one_input_at_a_time():
    together, sampling = maps_of(by_samples, Net())
    assert (sampling.draws, sampling.copies) == (True, None)
    alone, _ = maps_of(by_samples, Net(), batch_size=1)
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


def test_copies_are_counted_as_rows_of_a_pass():
    model = Net()
    maps_of(NoiseTunnel, model, batch_size=16, **TUNNEL)
    assert max(model.seen) == 15  # three inputs with five copies each


def test_memory_that_runs_out_in_company_changes_no_map():
    expected, _ = maps_of(NoiseTunnel, Net(), **TUNNEL)
    tight, _ = maps_of(NoiseTunnel, Net(most=12), **TUNNEL)
    torch.testing.assert_close(tight, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "settings"), [(NoiseTunnel, TUNNEL), (GradientShap, SHAP), (KernelShap, {"n_samples": 10})]
)
def test_batch_order_decides_on_explainers_that_draw(source, settings):
    verdict = Bench(Net().eval(), X, device="cpu").explainer(source, **settings).invariant_under("batch_order")
    assert verdict.passed, verdict


def test_batch_order_finds_what_depends_on_the_company_beside_the_draws():
    def leaking(model, inputs, targets):
        maps = by_rows(model, inputs, targets)
        return maps if len(inputs) < 3 else maps - maps.mean(0)

    verdict = Bench(Net().eval(), X, device="cpu").explainer(leaking).invariant_under("batch_order")
    assert verdict.failed, verdict


def test_rows_are_drawn_from_the_states_of_the_inputs():
    seeds = [(0, "a"), (0, "b")]

    def draw(count):
        like = torch.zeros(count, 3)
        drawn = [torch.randn_like(like), torch.normal(0.0, like + 2), torch.rand(count, 2), torch.bernoulli(like + 0.5)]
        drawn.append(torch.zeros(count, 2).normal_())
        drawn += [torch.from_numpy(np.random.uniform(0.0, 1.0, count)), torch.from_numpy(np.random.choice(9, count))]
        return drawn

    alone = []
    for parts in seeds:
        with isolated(*parts):
            alone.append(draw(2))
    draws = RowDraws(seeds)
    before, uniform = global_state(), np.random.uniform
    with draws.block():
        together = draw(4)
    assert same_state(before, global_state())
    assert np.random.uniform is uniform
    assert draws.copies == 2
    for one, other, both in zip(*alone, together, strict=True):
        assert torch.equal(torch.cat([one, other]), both)
