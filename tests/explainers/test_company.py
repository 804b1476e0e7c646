"""Explainers that go through one input after another share their passes of the model, and draw as if alone."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import KernelShap, Lime, LimeBase, NoiseTunnel, ShapleyValueSampling
from captum.attr._core.lime import get_exp_kernel_similarity_function
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, isolated, same_state
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.explainers.company import Company
from pytest_xaisanity.subject.batches import MicroBatches
from pytest_xaisanity.subject.subject import Subject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

X = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
BASELINES = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
MASKS = torch.stack([torch.arange(6).roll(shift) // 2 for shift in range(6)])


class Net(nn.Module):
    """Notes how many rows come in when maps are made."""

    def __init__(self, *, most=10**6, forward=None):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
        self.seen, self.most = [], most
        self.forwarded = forward or (lambda outputs: outputs)

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.seen.append(len(x))
        return self.forwarded(self.net(x))


def explained(source, model=None, *, inputs=X, explain=None, batch_size=64, **settings):
    """Return the maps in the order of the inputs, and how the explainer is run."""
    model = Net().eval() if model is None else model.eval()
    targets = torch.arange(len(X)) % 3
    subject = Subject(model, inputs, targets, device="cpu", batch_size=batch_size, explain=explain)
    attributions = Attributions(subject, as_explainer(source, model, name="e", **settings), 0)
    model.seen = []
    with subject.lent():
        parts = [(block.indices, attributions(block)) for block in subject.blocks()]
    order = torch.tensor(sum((places for places, _ in parts), ())).argsort()
    return torch.cat([maps for _, maps in parts])[order], attributions.sampling


def by_hand(kind, row, rows=lambda row: {}, **settings):
    """Return what Captum attributes to one input with the random numbers that are its own."""
    model = Net().eval()
    with isolated(0, "explain", "e", 0, repr(()), row):
        return kind(model).attribute(X[row : row + 1], target=row % 3, **rows(row), **settings)[0]


def own_lime(model, inputs, targets):
    """A method of one's own in NumPy: the mean output where a feature is kept, less that where it is not."""
    maps = np.zeros(tuple(inputs.shape))
    for row, one in enumerate(inputs.numpy()):
        kept = np.random.random_sample((8, one.size)) < 0.5
        kept[0], kept[1] = True, False
        scores = model(torch.tensor(np.where(kept, one, 0), dtype=torch.float32))[:, targets[row]].detach().numpy()
        maps[row] = (scores[:, None] * kept).sum(0) / kept.sum(0) - (scores[:, None] * ~kept).sum(0) / (~kept).sum(0)
    return maps


class Ridge(Lime):
    """LIME with another similarity and another interpretable model."""

    def __init__(self, model):
        super().__init__(model, SkLearnRidge(alpha=0.1), get_exp_kernel_similarity_function("euclidean", 2.0))


CASES = [
    (Lime, {"n_samples": 10}, 10),
    pytest.param(*(Lime, {"n_samples": 12, "perturbations_per_eval": 1}, 1), marks=pytest.mark.slow),
    (Ridge, {"n_samples": 12, "perturbations_per_eval": 4}, 4),
    pytest.param(*(KernelShap, {"n_samples": 30}, 30), marks=pytest.mark.slow),
    (KernelShap, {"n_samples": 30, "feature_mask": torch.tensor([[0, 0, 1, 1, 2, 2]])}, 30),
    pytest.param(*(ShapleyValueSampling, {"n_samples": 3}, 6), marks=pytest.mark.slow),
    (ShapleyValueSampling, {"n_samples": 3, "perturbations_per_eval": 5}, 5),
]


@pytest.mark.parametrize(("kind", "settings", "copies"), CASES)
def test_an_input_gets_what_captum_attributes_to_it_alone(kind, settings, copies):
    model = Net()
    maps, sampling = explained(kind, model, **settings)
    assert (sampling.draws, sampling.way, sampling.copies) == (True, "in company", copies)
    assert max(model.seen) > copies
    expected = torch.stack([by_hand(kind, row, **settings) for row in range(len(X))])
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2, 7, None])
@pytest.mark.parametrize("settings", [{}, {"perturbations_per_eval": 2}])
@pytest.mark.parametrize("kind", [KernelShap, ShapleyValueSampling])
def test_the_batch_size_changes_no_map(kind, settings, batch_size):
    state = global_state()
    maps, _ = explained(kind, batch_size=batch_size, n_samples=8, **settings)
    assert same_state(state, global_state())
    expected, sampling = explained(kind, batch_size=1, n_samples=8)
    assert sampling.way is None
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [Lime, KernelShap, ShapleyValueSampling])
def test_rows_of_settings_follow_their_inputs_into_company(kind):
    rows = {"baselines": BASELINES, "feature_mask": MASKS}
    maps, sampling = explained(kind, n_samples=8, **rows)
    assert sampling.way == "in company"
    expected = [
        by_hand(kind, row, lambda row: {k: v[row : row + 1] for k, v in rows.items()}, n_samples=8) for row in range(6)
    ]
    torch.testing.assert_close(maps, torch.stack(expected), rtol=1e-3, atol=1e-5)


def base(model):
    """LIME on the features themselves, with steps of one's own."""
    return LimeBase(
        model,
        SkLearnRidge(alpha=0.1),
        similarity_func=lambda original, other, interpretable, **more: torch.exp(-torch.norm(original - other)),
        perturb_func=lambda original, **more: original + torch.randn_like(original),
        perturb_interpretable_space=False,
        from_interp_rep_transform=None,
        to_interp_rep_transform=lambda other, original, **more: other,
    )


@pytest.mark.slow
@pytest.mark.parametrize("made", [base, lambda model: NoiseTunnel(KernelShap(model))], ids=["LimeBase", "NoiseTunnel"])
def test_others_of_the_kind_share_passes(made):
    model = Net()
    settings = {"n_samples": 10} if made is base else {"nt_samples": 2, "n_samples": 10}
    together, sampling = explained(made(model), model, **settings)
    assert sampling.way == "in company"
    other = Net()
    alone, _ = explained(made(other), other, batch_size=1, **settings)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)


def test_an_input_fills_a_pass_by_itself_where_the_user_has_not_said_how_much_there_is_to_be_in_it():
    filled, said = Net(), Net()
    _, sampling = explained(KernelShap, filled, batch_size=16, n_samples=20)
    assert sampling.way is None
    assert filled.seen.count(16) == len(X)
    assert explained(KernelShap, said, batch_size=16, n_samples=20, perturbations_per_eval=4)[1].way == "in company"
    assert said.seen.count(4) == 5 * 5  # of the three inputs on which it was found out who draws, and two alone
    assert said.seen.count(16) == 5  # four inputs, 20 samples of each


def test_nobody_is_told_off_for_what_is_tried_once():
    """Captum advises against several inputs at once, which the user has not asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explained(Lime, n_samples=10)


def test_functions_of_ones_own_that_only_call_the_model_share_its_passes():
    model = Net()
    maps, sampling = explained(own_lime, model)
    assert (sampling.way, sampling.copies) == ("in company", 8)
    assert max(model.seen) == 32  # four inputs; two were explained alone before
    torch.testing.assert_close(maps, explained(own_lime, batch_size=1)[0], rtol=1e-4, atol=1e-5)


class Scaled(Net):
    """Takes context behind what is explained."""

    def forward(self, x, scale):
        return super().forward(x) * scale


@pytest.mark.parametrize(("source", "settings"), [(KernelShap, {"n_samples": 20}), (own_lime, {})])
def test_context_goes_with_its_input(source, settings):
    inputs = (X, torch.linspace(0.5, 2, 6)[:, None])
    together, sampling = explained(source, Scaled(), inputs=inputs, explain=0, **settings)
    assert sampling.way == "in company"
    alone, _ = explained(source, Scaled(), inputs=inputs, explain=0, batch_size=1, **settings)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)


class Sum(Net):
    """Takes two inputs that are explained."""

    def forward(self, x, z):
        return super().forward(x + z)


def test_several_inputs_share_passes():
    inputs = (X, BASELINES)
    together, sampling = explained(KernelShap, Sum(), inputs=inputs, n_samples=30)
    assert sampling.way == "in company"
    alone, _ = explained(KernelShap, Sum(), inputs=inputs, batch_size=1, n_samples=30)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)


class Remembering(KernelShap):
    """Attributes what its last pass has seen as well."""

    last = 0.0

    def attribute(self, inputs, **settings):
        type(self).last = float(inputs.detach().sum())
        maps = super().attribute(inputs, **settings)
        return maps + type(self).last


def asks_for_gradients(model, inputs, targets):
    order = torch.randperm(inputs.shape[1])
    leaf = inputs[:, order].requires_grad_()
    return torch.autograd.grad(model(leaf).sum(), leaf)[0]


def looks_into_the_model(model, inputs, targets):
    return (model(inputs).sum(1, keepdim=True) * model.net[0].weight.sum(0) * inputs)[:, torch.randperm(6)]


@pytest.mark.parametrize(
    ("source", "model", "settings"),
    [
        (asks_for_gradients, Net, {}),
        (looks_into_the_model, Net, {}),
        (KernelShap, lambda: Net(forward=lambda out: out - out.mean(0) * (len(out) > 1)), {"n_samples": 20}),
        (ShapleyValueSampling, lambda: Net(most=1), {"n_samples": 2}),
        (Remembering, Net, {"n_samples": 20}),
    ],
    ids=["gradients", "layers", "statistics", "memory", "state"],
)
def test_what_cannot_share_passes_is_explained_one_input_at_a_time(source, model, settings):
    net = model()
    maps, sampling = explained(source, net, **settings)
    assert (sampling.draws, sampling.way) == (True, None)
    assert torch.equal(maps, explained(source, model(), batch_size=1, **settings)[0])


def test_an_error_in_company_is_that_of_an_input_alone():
    def failing(model, inputs, targets):
        order = torch.randperm(6)
        if inputs[0, 0] == X[3, 0]:
            raise KeyError("lookup")
        return model(inputs)[:, :1] * inputs[:, order]

    with pytest.raises(XaiError, match="KeyError raised by the explainer on the model as given: 'lookup'"):
        explained(failing)


def test_memory_that_runs_out_in_a_shared_pass_changes_no_map():
    settings = {"n_samples": 12, "perturbations_per_eval": 4}
    tight, sampling = explained(KernelShap, Net(most=10), **settings)
    assert sampling.way == "in company"
    torch.testing.assert_close(tight, explained(KernelShap, **settings)[0], rtol=1e-4, atol=1e-6)


def test_memory_that_runs_out_for_what_an_input_computes_at_once_changes_no_map():
    tight, _ = explained(KernelShap, Net(most=20), n_samples=48)
    torch.testing.assert_close(tight, explained(KernelShap, n_samples=48)[0], rtol=1e-4, atol=1e-6)


def company(count):
    return Company([(0, row) for row in range(count)], MicroBatches(None, torch.device("cpu")), 1)


def adding(row, passes, each=lambda place: None):
    """Call the model three times with a row of its own, each time with what it has got and a random number."""
    total = torch.zeros(1, 1)
    for place in range(3):
        each(place)
        total = passes(total + row + torch.rand(1, 1))
    return total


def test_turns_are_taken_with_the_random_numbers_of_each():
    """Also by those that call the model less often, and with generators that nobody finds moved."""
    state = global_state()
    works = [lambda passes, row=row: adding(row, passes) if row else None for row in range(4)]
    results = company(4).results(lambda x: 2 * x, works)
    assert same_state(state, global_state())
    assert results[0] is None
    for row in range(1, 4):
        with isolated(0, row):
            assert torch.equal(results[row], adding(row, lambda x: 2 * x))


class Stop(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize("stop", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["model", "work"])
def test_what_is_cut_off_leaves_no_thread_and_no_generator_moved(stop, where):
    calls, threads, state, filters = [], threading.active_count(), global_state(), warnings.filters[:]

    def model(x):
        calls.append(len(x))
        if where == "model" and len(calls) == 2:
            raise stop
        return 2 * x

    def each(place):
        warnings.simplefilter("always" if place else "ignore")
        if where == "work" and place == 2:
            raise stop

    with pytest.raises(stop):
        company(5).results(model, [lambda passes, row=row: adding(row, passes, each) for row in range(5)])
    assert calls == [5, 5]
    assert threading.active_count() == threads
    assert same_state(state, global_state())
    assert warnings.filters == filters


def test_a_work_that_keeps_exceptions_to_itself_is_dismissed_all_the_same():
    threads = threading.active_count()

    def stubborn(passes):
        while True:
            try:
                passes(torch.zeros(1, 1))
            except Exception:
                return

    def model(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        company(3).results(model, [stubborn] * 3)
    assert threading.active_count() == threads


@pytest.mark.slow
def test_batch_order_decides_on_what_shares_passes_and_says_what_is_explained_alone():
    bench = Bench(Net().eval(), torch.randn(20, 6), device="cpu")
    verdict = bench.explainer(KernelShap, n_samples=12).invariant_under("batch_order")
    assert verdict.passed, verdict
    assert "by itself" not in verdict.reason
    alone = bench.explainer(asks_for_gradients).invariant_under("batch_order")
    assert alone.passed
    assert "each input was explained by itself" in alone.reason
