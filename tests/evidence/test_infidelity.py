"""Infidelity against a slow definition in float64, closed forms and Captum."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity, infidelity_perturb_func_decorator
from laboratory import lab_of
from sentences import Convolutional, sentences
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.metrics.infidelity import Infidelity, Unmoved
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
FORMS = {
    "raw": {"relative": False},
    "relative": {},
    "normalized": {"relative": False, "normalize": True},
    "relative and normalized": {"normalize": True},
}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*shape, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 8), nn.Tanh(), nn.Linear(8, classes)).double().eval()


def gradient(model, inputs, targets):
    leaf = inputs.detach().requires_grad_()
    outputs = model(leaf)
    chosen = outputs.sum() if targets is None or outputs.ndim == 1 else outputs.gather(1, targets[:, None]).sum()
    return torch.autograd.grad(chosen, leaf)[0]


def times_input(model, inputs, targets):
    return gradient(model, inputs, targets) * inputs


def scores_of(metric, model, inputs, maps, *, targets=None, seed=0, batch_size=None, axes=None):
    """Return the scores of maps, in the order in which inputs and maps were given."""
    subject = Subject(model.eval(), inputs, targets, batch_size=batch_size, axes=axes)
    found = {}
    with subject.lent():
        for block in subject.blocks():
            prepared = metric.prepare(lab_of(subject, seed=seed), block)
            scores = metric.score(prepared, maps[list(block.indices)]).values
            found.update(zip(block.indices, scores.tolist(), strict=True))
    return np.array([found[index] for index in sorted(found)])


# ------------------------------------------------------------------------------------------------- a slow definition


def slow_numbers(metric, index, values, places, seed=0):
    """Return the numbers that are drawn for an input, ``(samples, values or places)``, one square at a time."""
    kind, samples = metric.perturbation, metric.samples
    rng = generator(seed, "infidelity", kind, 0, index)
    if kind == "gaussian":
        count = prod(values if metric.per_channel else places)
        return (torch.randn(samples, count, generator=rng, dtype=torch.float32) * metric.sigma).double().numpy()
    if kind == "binary":
        return (torch.rand(samples, prod(places), generator=rng, dtype=torch.float32) < metric.share).double().numpy()
    corners = [torch.randint(0, n - metric.side + 1, (samples, 1), generator=rng)[:, 0].tolist() for n in places]
    numbers = np.zeros((samples, *places))
    for sample in range(samples):
        for steps in product(range(metric.side), repeat=len(places)):
            numbers[(sample, *(corner[sample] + step for corner, step in zip(corners, steps, strict=True)))] = 1
    return numbers.reshape(samples, -1)


def slow(metric, model, inputs, maps, index, target, form):
    """Return the infidelity of one map by the definition; inputs are ``(N, C, *places)`` or ``(N, F)``."""
    image = inputs[index].double().numpy()
    table = image.ndim == 1
    channels, relevance = (image[None], maps[index][None]) if table else (image, maps[index])
    places, values = channels.shape[1:], image.shape
    spread = inputs.double().numpy().std(0) if table else channels.reshape(len(channels), -1).std(1)
    errors, changes, predictions = [], [], []

    def output(at):
        return float(model(torch.from_numpy(at.reshape(1, *image.shape)))[0, target].detach())

    for numbers in slow_numbers(metric, index, values, places):
        moved, predicted = channels.copy(), 0.0
        for c, p in product(range(len(channels)), np.ndindex(*places)):
            place = int(np.ravel_multi_index(p, places))
            if metric.perturbation == "gaussian" and metric.per_channel:
                unit = 1.0 if metric.unit == "absolute" else spread[place] if table else spread[c]
                taken = unit * numbers[c * prod(places) + place]
                predicted += taken * float(relevance[(c, *p)])
            else:
                taken = numbers[place] * (channels[(c, *p)] - metric.baseline)
                if metric.per_channel:
                    predicted += taken * float(relevance[(c, *p)])
            moved[(c, *p)] = channels[(c, *p)] - taken
        if not metric.per_channel:
            predicted = sum(numbers[place] * float(value) for place, value in enumerate(maps[index].flatten()))
        predictions.append(predicted)
        changes.append(output(channels) - output(moved))
    scale = 1.0
    if "normalized" in form:
        scale = np.mean(np.multiply(predictions, changes)) / np.mean(np.square(predictions))
    errors = [(scale * p - d) ** 2 for p, d in zip(predictions, changes, strict=True)]
    return np.mean(errors) / (np.mean(np.square(changes)) if "relative" in form else 1.0)


PERTURBATIONS = {
    "gaussian": {"sigma": 0.3},
    "gaussian, absolute": {"sigma": 0.2, "unit": "absolute"},
    "gaussian of contributions": {"sigma": 0.3, "reading": "contribution", "baseline": 0.5},
    "binary": {"perturbation": "binary", "share": 0.3},
    "binary of sensitivities": {"perturbation": "binary", "reading": "sensitivity", "baseline": -1},
    "square": {"perturbation": "square", "side": 2},
    "square of sensitivities": {"perturbation": "square", "side": 3, "reading": "sensitivity", "baseline": 0.25},
}
SHAPES = {"image": (2, 4, 5), "series": (2, 6), "volume": (1, 3, 3, 4), "table": (5,)}


CASES = [
    *product(["image"], PERTURBATIONS),
    *product(["table"], ["gaussian", "gaussian, absolute", "gaussian of contributions", "binary"]),
    *product(["series"], ["gaussian", "binary of sensitivities", "square of sensitivities"]),
    ("volume", "square"),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_it_is_the_definition(name, kind):
    shape, settings = SHAPES[name], {"samples": 4, **PERTURBATIONS[kind]}
    model, inputs, targets = network(*shape), normal(2, *shape), torch.tensor([0, 2])
    per_channel = Infidelity(**settings).per_channel
    maps = normal(2, *(shape if per_channel or len(shape) == 1 else shape[1:]), seed=1)
    for form, chosen in FORMS.items():
        metric = Infidelity(**settings, **chosen)
        expected = [slow(metric, model, inputs, maps, index, int(targets[index]), form) for index in range(2)]
        found = scores_of(metric, model, inputs, maps, targets=targets)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)  # what is drawn is in single precision


def test_several_tensors_are_perturbed_together():
    """The joined tensors of a linear model: each value by its own noise, in units of its own tensor."""

    class Two(nn.Module):
        def forward(self, image, table):
            return (image.flatten(1).sum(1) + 2 * table.sum(1))[:, None]

    images, table = normal(8, 2, 3, 3), 100 * normal(8, 4, seed=1)
    weights = torch.cat([torch.ones(8, 18), torch.full((8, 4), 2.0)], dim=1).double()
    assert scores_of(Infidelity(), Two(), (images, table), weights).max() < 1e-12
    # Half of the table's weights are missing: its noise, of a spread of 100, is nearly all that moves the output.
    half = torch.cat([torch.ones(8, 18), torch.ones(8, 4)], dim=1).double()
    np.testing.assert_allclose(scores_of(Infidelity(samples=200), Two(), (images, table), half), 0.25, atol=0.01)
    removed = torch.cat([images.sum(1).flatten(1), 2 * table], dim=1)
    assert scores_of(Infidelity("binary"), Two(), (images, table), removed).max() < 1e-12


def test_channels_may_be_last():
    model, inputs = network(2, 4, 5), normal(6, 2, 4, 5)
    maps = normal(6, 2, 4, 5, seed=1)

    class Last(nn.Module):
        def forward(self, x):
            return model(x.movedim(-1, 1))

    for settings in ({}, {"perturbation": "square", "side": 2, "reading": "sensitivity"}):
        first = scores_of(Infidelity(**settings), model, inputs, maps)
        last = scores_of(Infidelity(**settings), Last(), inputs.movedim(1, -1), maps, axes="channels_last")
        np.testing.assert_allclose(last, first, rtol=1e-9)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_captum_has_the_same_given_the_same_draws(normalize, dtype):
    model, inputs = network(2, 5, 5).to(dtype), normal(6, 2, 5, 5).to(dtype)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    maps = gradient(model, inputs, targets) + 0.1 * normal(6, 2, 5, 5, seed=1).to(dtype)
    metric = Infidelity(samples=7, sigma=0.2, unit="absolute", relative=False, normalize=normalize)
    noise = torch.from_numpy(np.stack([slow_numbers(metric, i, (2, 5, 5), (5, 5)) for i in range(6)])).to(dtype)

    def perturbed(given):
        return noise.reshape(42, 2, 5, 5), given - noise.reshape(42, 2, 5, 5)

    expected = infidelity(
        model, perturbed, inputs, maps, target=targets, n_perturb_samples=7, normalize=normalize
    ).numpy()
    np.testing.assert_allclose(scores_of(metric, model, inputs, maps, targets=targets), expected, rtol=1e-5)


def test_captum_has_the_same_of_contributions_given_the_same_draws():
    """Where no input equals the baseline: Captum takes a feature that does for one that was not removed."""
    model, inputs, targets = network(2, 5, 5), normal(4, 2, 5, 5), torch.tensor([0, 1, 2, 0])
    maps = gradient(model, inputs, targets) * inputs
    metric = Infidelity("binary", samples=9, relative=False)
    gone = np.stack([slow_numbers(metric, i, (2, 5, 5), (5, 5)) for i in range(4)])
    gone = torch.from_numpy(gone).reshape(36, 1, 5, 5)

    @infidelity_perturb_func_decorator(True)
    def perturbed(given, baselines):
        return torch.where(gone.bool(), baselines, given)

    expected = infidelity(model, perturbed, inputs, maps, 0 * inputs, target=targets, n_perturb_samples=9).numpy()
    np.testing.assert_allclose(scores_of(metric, model, inputs, maps.sum(1), targets=targets), expected, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------ closed forms


class Quadratic(nn.Module):
    """``x' H x / 2``."""

    def __init__(self, h):
        super().__init__()
        self.h = nn.Parameter(h)

    def forward(self, x):
        return ((x @ self.h) * x).sum(1, keepdim=True) / 2


def test_the_gradient_of_a_linear_model_is_perfect_and_another_map_is_off_by_its_squared_distance():
    weights, inputs = normal(6), normal(5, 6, seed=1)
    model = nn.Linear(6, 1, bias=False).double()
    model.weight.data = weights[None]
    exact = weights.expand(5, 6)
    settings = {"sigma": 0.1, "unit": "absolute", "samples": 1000}
    assert scores_of(Infidelity(**settings), model, inputs, exact).max() < 1e-20
    other = exact + normal(5, 6, seed=2)
    expected = 0.01 * (other - exact).square().sum(1).numpy()
    np.testing.assert_allclose(
        scores_of(Infidelity(relative=False, **settings), model, inputs, other), expected, rtol=0.15
    )
    relative = (other - exact).square().sum(1).numpy() / float(weights.square().sum())
    np.testing.assert_allclose(scores_of(Infidelity(**settings), model, inputs, other), relative, rtol=0.15)


def test_the_gradient_of_a_quadratic_is_off_by_its_curvature():
    h = normal(4, 4)
    h = h + h.T
    inputs, sigma = normal(6, 4, seed=1), 0.3
    expected = sigma**4 / 4 * float(h.trace() ** 2 + 2 * (h @ h).trace())
    metric = Infidelity(sigma=sigma, unit="absolute", samples=1000, relative=False)
    found = scores_of(metric, Quadratic(h), inputs, inputs @ h)
    np.testing.assert_allclose(found.mean(), expected, rtol=0.1)


def test_the_best_map_of_a_quadratic_is_its_gradient_where_noise_is_small():
    """Least squares on what was drawn recovers it, and no map has less infidelity."""
    h = normal(4, 4)
    inputs = normal(1, 4, seed=1)
    metric = Infidelity(sigma=1e-3, unit="absolute", samples=60, relative=False)
    drawn = slow_numbers(metric, 0, (4,), (4,))
    model = Quadratic(h + h.T)
    changes = (model(inputs) - model(inputs - torch.from_numpy(drawn))).detach().numpy()[:, 0]
    best = torch.from_numpy(np.linalg.lstsq(drawn, changes, rcond=None)[0])[None]
    torch.testing.assert_close(best, inputs @ (h + h.T), rtol=0, atol=1e-2)
    least = scores_of(metric, model, inputs, best)
    for seed in range(2):
        assert (scores_of(metric, model, inputs, best + 0.01 * normal(1, 4, seed=seed)) > least).all()


@pytest.mark.parametrize("kind", ["binary", "square", "gaussian"])
def test_contributions_to_a_linear_model_are_perfect(kind):
    weights, inputs = normal(2, 4, 4), normal(5, 2, 4, 4, seed=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 1)).double()
    model[1].weight.data = weights.reshape(1, 32)
    settings = {"side": 2} if kind == "square" else {}
    metric = Infidelity(kind, reading="contribution", baseline=0.3, **settings)
    exact = (weights * (inputs - 0.3)).sum(1)
    assert scores_of(metric, model, inputs, exact).max() < 1e-20
    assert scores_of(metric, model, inputs, exact * (1 + normal(5, 4, 4, seed=2))).min() > 1e-3


@pytest.mark.parametrize("factor", [1e-3, 1.0, 50.0, -2.0])
def test_a_normalized_score_does_not_know_the_size_of_a_map(factor):
    model = nn.Linear(6, 1).double()
    exact = model.weight.data.expand(5, 6)
    inputs = normal(5, 6)
    assert scores_of(Infidelity(normalize=True), model, inputs, factor * exact).max() < 1e-12
    plain = scores_of(Infidelity(), model, inputs, factor * exact)
    np.testing.assert_allclose(plain, (factor - 1) ** 2, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_a_normalized_score_has_no_squares_of_small_and_large_maps(factor):
    model = nn.Linear(6, 1).double()
    exact = model.weight.data.expand(5, 6)
    assert scores_of(Infidelity(normalize=True), model, normal(5, 6), factor * exact).max() < 1e-12


@pytest.mark.parametrize("kind", ["gaussian", "square", "binary"])
@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_outputs_whose_squares_no_float_holds_are_measured_all_the_same(kind, size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False))
    inputs, targets = torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 0, 1])
    maps, metric = torch.rand(4, 1, 6, 6), Infidelity(perturbation=kind, reading="sensitivity")
    expected = scores_of(metric, model, inputs, maps, targets=targets)
    assert np.allclose(scores_of(metric, model, size * inputs, maps, targets=targets), expected, rtol=1e-4)


def test_no_explanation_scores_one_and_a_normalized_score_is_never_worse():
    model, inputs = network(5), normal(8, 5)
    for settings in ({}, {"normalize": True}, {"perturbation": "binary"}):
        np.testing.assert_allclose(scores_of(Infidelity(**settings), model, inputs, torch.zeros(8, 5)), 1.0)
    noise = 100 * normal(8, 5, seed=1)
    assert scores_of(Infidelity(), model, inputs, noise).min() > 1
    assert scores_of(Infidelity(normalize=True), model, inputs, noise).max() <= 1


# ------------------------------------------------------------------------------------------------------------ draws


def test_no_pass_holds_more_inputs_than_a_batch():
    model, sizes = network(5), []
    handle = model.register_forward_hook(lambda module, given, output: sizes.append(len(output)))
    scores_of(Infidelity(samples=9), model, normal(16, 5), normal(16, 5, seed=1), batch_size=4)
    handle.remove()
    assert max(sizes) == 4
    assert sum(sizes) >= 16 * 9


@pytest.mark.parametrize("kind", ["gaussian", "binary"])
def test_what_an_input_scores_does_not_depend_on_the_others(kind):
    model, inputs, maps = network(2, 4, 4), normal(20, 2, 4, 4), normal(20, 2, 4, 4, seed=1)
    maps = maps if kind == "gaussian" else maps.sum(1)
    metric = Infidelity(kind, samples=5)
    whole = scores_of(metric, model, inputs, maps)
    np.testing.assert_allclose(scores_of(metric, model, inputs, maps, batch_size=3), whole, rtol=1e-9)
    np.testing.assert_allclose(scores_of(metric, model, inputs[:7], maps[:7]), whole[:7], rtol=1e-9)
    assert not np.allclose(scores_of(metric, model, inputs, maps, seed=1), whole)


def test_equal_inputs_are_perturbed_by_draws_of_their_own():
    scores = scores_of(
        Infidelity(unit="absolute"), network(5), normal(1, 5).expand(6, 5), normal(1, 5, seed=1).expand(6, 5)
    )
    assert len(set(scores)) == 6


def test_many_samples_of_large_inputs_are_drawn_a_few_at_a_time(monkeypatch):
    """How many one generator draws depends on the size of an input alone, and every sample is another."""
    from pytest_xaisanity.evidence.metrics import perturbing

    monkeypatch.setattr(perturbing, "_DRAWN", 25)
    monkeypatch.setattr(perturbing, "_KEPT", 0)
    model, inputs, maps = network(10), normal(9, 10), normal(9, 10, seed=1)
    few = scores_of(Infidelity(samples=7), model, inputs, maps, batch_size=2)
    np.testing.assert_allclose(scores_of(Infidelity(samples=7), model, inputs, maps), few, rtol=1e-9)
    subject = Subject(model, inputs)
    with subject.lent():
        (block,) = subject.blocks()
        prepared = Infidelity(samples=7).prepare(lab_of(subject), block)
        _, changes = prepared.measured(maps)
    assert len(set(changes.flatten().tolist())) == 63


def test_the_model_is_called_once_for_all_maps_of_a_block():
    model, inputs = network(5), normal(16, 5)
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    subject = Subject(model, inputs)
    with subject.lent():
        (block,) = subject.blocks()
        prepared = Infidelity().prepare(lab_of(subject), block)
        Infidelity().score(prepared, normal(16, 5))
        before = len(calls)
        second = Infidelity().score(prepared, normal(16, 5, seed=1)).values
        assert len(calls) == before
        alone = Infidelity().score(Infidelity().prepare(lab_of(subject), block), normal(16, 5, seed=1)).values
    handle.remove()
    assert torch.equal(second, alone)


# ----------------------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("settings", [{}, {"perturbation": "binary"}, {"reading": "contribution"}], ids=str)
def test_the_embedding_of_tokens_is_perturbed_where_they_count(settings):
    bench = Bench(Convolutional().eval(), sentences(16), embedding="embedding")
    subject, seen = bench.subject, []
    metric = Infidelity(samples=3, **settings)
    with subject.lent():
        (block,) = subject.blocks()
        plain = subject.presentation.embedded(block.arguments)
        prepared = metric.prepare(lab_of(subject), block)
        answer = subject.answer

        def noted(arguments, embedded=None):
            seen.append((arguments, embedded))
            return answer(arguments, embedded)

        subject.answer = noted
        metric.score(prepared, block.mask.float())
    arguments = [torch.cat(column) for column in zip(*(given for given, _ in seen), strict=True)]
    embedded = torch.cat([one for _, one in seen])
    for given, expected in zip(arguments, block.arguments, strict=True):
        assert torch.equal(given, expected.repeat_interleave(3, 0))
    moved = (embedded != plain.repeat_interleave(3, 0)).any(2)
    counted = block.mask.repeat_interleave(3, 0)
    assert not moved[~counted].any()
    assert moved[counted].float().mean() > (0.3 if settings.get("perturbation") == "binary" else 0.99)


def test_maps_of_tokens_are_perfect_for_a_model_that_is_linear_in_its_embedding():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(20, 5, padding_idx=0)
            self.head = nn.Linear(5, 1)

        def forward(self, ids):
            counted = ids % 7  # how much a token counts; padding does not
            return self.head((self.embedding(ids) * counted[..., None]).sum(1))

    ids = torch.randint(1, 20, (24, 6), generator=torch.Generator().manual_seed(0))
    ids[::2, 4:] = 0
    bench = Bench(Bag().double().eval(), ids, embedding="embedding")
    slope = bench.explainer(gradient, name="gradient")
    contribution = bench.explainer(times_input, name="gradient x input")
    assert slope.bounded("infidelity", at_most=1e-6)
    for settings in ({"perturbation": "binary"}, {"reading": "contribution"}):
        assert contribution.bounded("infidelity", at_most=1e-6, **settings)
        assert not slope.bounded("infidelity", at_most=0.01, **settings)
    assert contribution.bounded("infidelity", at_most=0.01).failed


# ---------------------------------------------------------------------------------------------------------- verdicts


def half(model, inputs, targets):
    return 0.5 * gradient(model, inputs, targets)


def test_verdicts_name_the_form_and_the_perturbation():
    bench = Bench(network(6), normal(64, 6))
    verdict = bench.explainer(gradient).bounded("infidelity", at_most=0.1)
    assert verdict
    assert "relative infidelity (gaussian) of most inputs is at most 0.1" in verdict.reason
    assert verdict.quantity == "share of inputs within the bound"
    failed = bench.explainer(half).bounded("infidelity", at_most=0.1)
    assert failed.failed
    assert "perturbation=" in failed.advice
    whole = bench.explainer(half).bounded("infidelity", at_most=0.1, normalize=True)
    assert whole
    assert "mean relative, normalized infidelity (gaussian) is at most 0.1" in whole.reason
    assert set(whole.evidence["forms"]) >= {"raw", "relative"}
    assert len(whole.evidence["scores"]["explainer"]) == whole.n


def test_it_beats_and_is_beaten():
    bench = Bench(network(6), normal(64, 6))
    assert bench.explainer(gradient).beats("random", on="infidelity")
    assert bench.explainer(gradient).beats(half, on="infidelity")
    verdict = bench.explainer(half).beats(gradient, on="infidelity")
    assert verdict.failed
    assert "infidelity (gaussian)" in verdict.reason
    noise = bench.explainer(lambda m, x, t: torch.randn_like(x), name="noise")
    assert not noise.beats("random", on="infidelity")


def test_maps_that_are_too_small_to_count_are_told_and_no_setting_that_there_is_not():
    bench = Bench(network(6), normal(16, 6))
    verdict = bench.explainer(lambda *given: 1e-30 * gradient(*given)).beats("random", on="infidelity")
    assert verdict.inconclusive
    assert "the output is saturated or constant, or maps are too small to count beside it" in verdict.reason
    assert "output=" not in verdict.reason


def test_outputs_that_do_not_move_are_told():
    """A dead network: no map says more than zeros would, and so no map is within a bound below 1."""

    class Dead(nn.Module):
        def forward(self, x):
            return torch.relu(x - 100).sum(1, keepdim=True) + 3

    bench = Bench(Dead().eval(), normal(32, 5))
    for source in (lambda m, x, t: x + 0, lambda m, x, t: 1e-3 * x):
        verdict = bench.explainer(source, name="map").bounded("infidelity", at_most=0.9)
        assert verdict.failed
        assert "the output of 32 of 32 inputs does not move" in verdict.reason or verdict.n < 32
        assert verdict.evidence.find(Unmoved) is not None


def test_a_layer_normalization_takes_out_what_all_dimensions_of_a_token_share():
    """Gaussian noise moves nothing, and what the reason proposes does."""

    class Normalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm, self.top = nn.Embedding(20, 8), nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, ids):
            return self.top(self.norm(self.embed(ids)).mean(1)) + 3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bench = Bench(Normalized().eval(), torch.randint(1, 20, (24, 6)), embedding="embed")
    contributions = bench.explainer(IntegratedGradients, n_steps=8)
    verdict = contributions.bounded("infidelity", at_most=10.0)
    assert "layer normalization" in verdict.reason
    assert "try perturbation='binary'" in verdict.reason
    other = contributions.bounded("infidelity", at_most=10.0, perturbation="binary")
    assert other.evidence.find(Unmoved) is None


# ------------------------------------------------------------------------------------------------------------ errors

WRONG = [
    ({"perturbation": "uniform"}, "infidelity perturbation: found 'uniform'"),
    ({"reading": "either"}, "infidelity reading: found 'either'"),
    ({"unit": "range"}, "infidelity unit: found 'range'"),
    ({"samples": 0}, "infidelity samples: found 0"),
    ({"samples": 2.5}, "infidelity samples: found 2.5"),
    ({"sigma": 0}, "infidelity sigma: found 0"),
    ({"sigma": -0.1}, "infidelity sigma: found -0.1"),
    ({"sigma": float("nan")}, "infidelity sigma: found nan"),
    ({"sigma": "wide"}, "infidelity sigma: found 'wide'"),
    ({"perturbation": "square", "side": 0}, "infidelity side: found 0"),
    ({"perturbation": "binary", "share": 1}, "infidelity share: found 1"),
    ({"perturbation": "binary", "share": -0.5}, "infidelity share: found -0.5"),
    ({"baseline": float("inf")}, "infidelity baseline: found inf"),
    ({"relative": "yes"}, "infidelity relative: found 'yes'"),
    ({"normalize": 1}, "infidelity normalize: found 1"),
    ({"side": 3}, "infidelity side: found 3 beside perturbation='gaussian'"),
    ({"perturbation": "binary", "sigma": 0.1}, "infidelity sigma: found 0.1 beside perturbation='binary'"),
    ({"reading": "contribution", "unit": "absolute"}, "infidelity unit: found 'absolute' beside"),
    ({"sigmas": 0.1}, "sigma"),
]


@pytest.mark.parametrize(("settings", "found"), WRONG, ids=str)
def test_a_setting_that_cannot_be_is_one_error(settings, found):
    with pytest.raises(XaiError) as raised:
        Bench(network(6), normal(32, 6)).explainer(gradient).bounded("infidelity", at_most=1.0, **settings)
    assert found in str(raised.value)


@pytest.mark.parametrize(
    ("inputs", "settings", "found"),
    [
        (normal(32, 6), {"perturbation": "square"}, "'square' for a table"),
        (normal(32, 1, 4, 4), {"perturbation": "square", "side": 5}, "side: found 5 for places (4, 4)"),
        (normal(32, 1, 4, 4), {"perturbation": "square"}, "side: found 4 for places (4, 4)"),
    ],
    ids=str,
)
def test_a_perturbation_that_does_not_fit_the_inputs_is_one_error(inputs, settings, found):
    bench = Bench(network(*inputs.shape[1:]), inputs)
    with pytest.raises(XaiError) as raised:
        bench.explainer(times_input).bounded("infidelity", at_most=1.0, **settings)
    assert found in str(raised.value)


def test_tokens_need_an_embedding_and_have_no_value_a_dimension():
    def occlusion(model, ids, targets):
        return torch.rand(ids.shape, generator=torch.Generator().manual_seed(0))

    without = Bench(Convolutional().eval(), sentences(16), embedding=False)
    with pytest.raises(XaiError, match="no embedding"):
        without.explainer(occlusion).bounded("infidelity", at_most=1.0)
    bench = Bench(Convolutional().eval(), sentences(16), embedding="embedding")
    with pytest.raises(XaiError, match="reading='contribution'"):
        bench.explainer(gradient).bounded("infidelity", at_most=1.0, perturbation="binary", reading="sensitivity")


def test_outputs_that_are_not_finite_are_one_error():
    class Narrow(nn.Module):
        def forward(self, x):
            return torch.log(x - x.min().detach() + 1 - 10 * (x.std() > 1.2)).sum(1, keepdim=True)

    bench = Bench(Narrow().eval(), normal(32, 6).clamp(-1, 1))
    with pytest.raises(XaiError, match="NaN or infinite on perturbed inputs"):
        bench.explainer(lambda m, x, t: x + 0, name="map").bounded("infidelity", at_most=1.0, sigma=5)
