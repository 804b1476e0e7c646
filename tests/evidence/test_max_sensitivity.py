"""Max-sensitivity against a slow definition in float64, closed forms and Captum."""

from __future__ import annotations

from math import prod

import captum.attr
import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from laboratory import lab_of
from sentences import Convolutional, sentences
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.metrics.max_sensitivity import InputIndependent, MaxSensitivity
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*shape, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 8), nn.Tanh(), nn.Linear(8, classes)).double().eval()


def linear(features=5):
    torch.manual_seed(0)
    return nn.Linear(features, 1).double().eval()


def gradient(model, inputs, targets):
    leaf = inputs.detach().requires_grad_()
    outputs = model(leaf)
    chosen = outputs.sum() if targets is None else outputs.gather(1, targets[:, None]).sum()
    return torch.autograd.grad(chosen, leaf)[0]


def times_input(model, inputs, targets):
    return gradient(model, inputs, targets) * inputs


def noisy(model, inputs, targets):
    """Return gradient × input of inputs with noise: it draws for each input."""
    return times_input(model, inputs + 0.5 * torch.randn_like(inputs), targets)


def measured(metric, model, inputs, source=times_input, *, targets=None, seed=0, batch_size=None, **settings):
    """Return scores ``(n,)`` and distances ``(n, samples)`` in the order in which inputs were given."""
    subject = Subject(model, inputs, targets, batch_size=batch_size)
    found, seen = {}, {}
    with subject.lent():
        lab = lab_of(subject, source, seed, **settings)
        measuring = None
        for block in subject.blocks():
            measuring = metric.measurement().start(lab, block) if measuring is None else measuring
            scored = measuring.measure(block)
            found.update(zip(block.indices, scored.values[:, 0], strict=True))
            seen.update(zip(block.indices, scored.curves["distance"], strict=True))
    order = sorted(found)
    return np.array([found[index] for index in order]), np.array([seen[index] for index in order])


def moves_of(metric, index, shape, seed=0):
    """Return what is drawn for an input, ``(samples, *shape)`` in [-1, 1]."""
    numbers = torch.empty(metric.samples, prod(shape), dtype=torch.float32)
    numbers.uniform_(-1, 1, generator=generator(seed, "max_sensitivity", 0, index))
    return numbers.double().reshape(metric.samples, *shape)


# ------------------------------------------------------------------------------------------------- a slow definition


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("unit", ["spread", "absolute"])
@pytest.mark.parametrize("shape", [(2, 4, 5), (3, 6), (5,)], ids=str)
def test_it_is_the_definition(shape, unit, relative):
    metric = MaxSensitivity(radius=0.3, samples=4, unit=unit, relative=relative)
    model, inputs, targets = network(*shape), normal(5, *shape), torch.tensor([0, 1, 2, 0, 1])
    expected = []
    for index in range(5):
        x, target = inputs[index], targets[index : index + 1]
        if unit == "absolute":
            scale = torch.ones_like(x)
        elif len(shape) == 1:
            scale = inputs.std(0, correction=0)
        else:
            scale = torch.stack([torch.full_like(channel, channel.std(correction=0)) for channel in x])
        own = times_input(model, x[None], target)
        furthest = max(
            float((times_input(model, (x + 0.3 * scale * move)[None], target) - own).square().sum().sqrt())
            for move in moves_of(metric, index, shape)
        )
        expected.append(furthest / (float(own.square().sum().sqrt()) if relative else 1.0))
    found, _ = measured(metric, model, inputs, targets=targets)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("source", [captum.attr.Saliency, captum.attr.IntegratedGradients, captum.attr.DeepLift])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_captum_has_the_same_given_the_same_draws(source, dtype):
    model, inputs = network(2, 4, 4).to(dtype), normal(6, 2, 4, 4).to(dtype)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    metric = MaxSensitivity(unit="absolute", samples=5)
    moves = torch.cat([moves_of(metric, index, (2, 4, 4)) for index in range(6)]).to(dtype)
    settings = {"abs": False} if source is captum.attr.Saliency else {}
    method = source(model)

    def explain(given, **keywords):
        return method.attribute(given, **keywords, **settings)

    def perturbed(given):
        return given + 0.02 * moves

    expected = sensitivity_max(explain, inputs, perturbed, n_perturb_samples=5, target=targets).detach()
    found, _ = measured(metric, model, inputs, source, targets=targets, **settings)
    tolerance = 1e-5 if dtype == torch.float64 else 2e-4  # single precision: maps that differ by a hundredth
    np.testing.assert_allclose(found, expected.numpy(), rtol=tolerance)


# ------------------------------------------------------------------------------------------------------ closed forms


def test_gradient_times_input_of_a_linear_model_moves_as_far_as_its_weights():
    """By r |w| at most, and by r |w| / √3 in root mean square."""
    model, inputs = linear(6), normal(40, 6)
    metric = MaxSensitivity(radius=0.1, samples=500, unit="absolute", relative=False)
    scores, distances = measured(metric, model, inputs)
    most = 0.1 * float(model.weight.detach().norm())
    assert (scores <= most).all()
    assert scores.mean() > 0.8 * most
    np.testing.assert_allclose(np.sqrt((distances**2).mean()), most / 3**0.5, rtol=0.01)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_size_of_a_map_does_not_matter_to_a_relative_one(size):
    """Gradients under a saturated softmax are as small, and no constant explainer."""
    inputs = normal(16, 5).float()
    found = []
    for factor in (1.0, size):
        bench = Bench(network(5).float(), inputs)
        explainer = bench.explainer(lambda *given, factor=factor: factor * times_input(*given))
        verdict = explainer.bounded("max_sensitivity", at_most=0.5)
        assert verdict.evidence.find(InputIndependent) is None
        found.append(verdict.evidence["scores"]["explainer"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_a_map_of_norm_zero_has_no_relative_sensitivity():
    model, inputs = linear(4), normal(6, 4)
    inputs[2] = 0
    scores, _ = measured(MaxSensitivity(), model, inputs)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [2]
    scores, _ = measured(MaxSensitivity(relative=False), model, inputs)
    assert np.isfinite(scores).all()


def test_a_wider_ball_moves_maps_further():
    model, inputs = network(5), normal(10, 5)
    near, far = (measured(MaxSensitivity(radius=radius), model, inputs)[0] for radius in (0.01, 0.1))
    assert (far > 5 * near).all()


# ---------------------------------------------------------------------------------------------------- common numbers


@pytest.mark.parametrize("alone", [False, True])
def test_the_noise_of_an_explainer_is_not_counted(alone):
    """Of a linear model the noisy maps move exactly as those without noise do."""

    def by_rows(model, inputs, targets):
        rows = [noisy(model, row[None], None) for row in inputs]
        return torch.cat(rows) if len(rows) > 1 else rows[0]

    def drawn_together(model, inputs, targets):
        noise = torch.from_numpy(np.random.standard_normal(inputs.shape[1:]))  # one noise for all inputs of a call
        return times_input(model, inputs + noise, targets)

    model, inputs = linear(6), normal(20, 6)
    metric = MaxSensitivity(unit="absolute", relative=False)
    expected, _ = measured(metric, model, inputs)
    found, _ = measured(metric, model, inputs, drawn_together if alone else noisy)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_scores_do_not_depend_on_the_company():
    model, inputs = network(2, 4, 4), normal(8, 2, 4, 4)
    for source in (times_input, noisy):
        whole, _ = measured(MaxSensitivity(), model, inputs, source)
        for batch_size in (3,):
            some, _ = measured(MaxSensitivity(), model, inputs, source, batch_size=batch_size)
            np.testing.assert_allclose(some, whole, rtol=1e-6)
        few, _ = measured(MaxSensitivity(), model, inputs[:5], source)
        np.testing.assert_allclose(few, whole[:5], rtol=1e-6)


def test_no_pass_holds_more_inputs_than_a_batch():
    sizes = []

    def noted(model, inputs, targets):
        sizes.append(len(inputs))
        return times_input(model, inputs, targets)

    measured(MaxSensitivity(samples=7), network(5), normal(16, 5), noted, batch_size=4)
    assert max(sizes) == 4
    assert sum(sizes) >= 16 * 8


def test_many_samples_of_large_inputs_are_drawn_a_few_at_a_time(monkeypatch):
    from pytest_xaisanity.evidence.metrics import max_sensitivity

    monkeypatch.setattr(max_sensitivity, "_DRAWN", 25)
    _, distances = measured(MaxSensitivity(samples=7), network(10), normal(9, 10))
    assert len(set(distances.flatten().tolist())) == 63


def test_segmentations_go_with_their_inputs():
    """Each input has one of its own: the map of a moved input has that of the input."""
    model, inputs = network(1, 4, 4), normal(12, 1, 4, 4)
    masks = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i)) // 4 for i in range(12)])
    masks = masks.reshape(12, 1, 4, 4)
    metric = MaxSensitivity(unit="absolute", samples=3)
    targets = torch.arange(12) % 3
    found, _ = measured(metric, model, inputs, captum.attr.FeatureAblation, targets=targets, feature_mask=masks)
    method = captum.attr.FeatureAblation(model)
    expected = []
    for index in range(12):
        own, *moved = (
            method.attribute(x[None], target=int(targets[index]), feature_mask=masks[index][None])
            for x in (
                inputs[index],
                *(inputs[index] + 0.02 * move for move in moves_of(metric, index, (1, 4, 4))),
            )
        )
        expected.append(max(float((one - own).norm()) for one in moved) / float(own.norm()))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("source", [pytest.param(captum.attr.Lime, marks=pytest.mark.slow), captum.attr.GradientShap])
def test_sampling_explainers_of_captum_are_measured(source):
    settings = {"baselines": torch.zeros(1, 5)} if source is captum.attr.GradientShap else {"n_samples": 6}
    inputs = normal(3, 5).float()
    scores, _ = measured(MaxSensitivity(samples=1), network(5).float(), inputs, source, **settings)
    assert np.isfinite(scores).all()


# ------------------------------------------------------------------------------------------------ constant explainers

WEIGHTS = normal(6)
CONSTANT = {
    "a map for each target": lambda model, inputs, targets: torch.eye(6, dtype=inputs.dtype)[targets],
    "noise": lambda model, inputs, targets: torch.randn_like(inputs),
    "the gradient of a linear model": lambda model, inputs, targets: WEIGHTS.expand(len(inputs), 6) + 0,
}


@pytest.mark.parametrize("source", CONSTANT.values(), ids=CONSTANT)
def test_a_constant_explainer_is_told_and_passes_nothing(source):
    bench = Bench(network(6, classes=6), normal(32, 6))
    verdict = bench.explainer(source, name="constant").bounded("max_sensitivity", at_most=0.4)
    assert verdict.inconclusive
    assert "the explainer is constant" in verdict.reason
    assert verdict.evidence.find(InputIndependent).count == verdict.n
    distances = np.array(verdict.evidence["curves"]["explainer"]["distance"])
    assert (distances == 0).all()  # it is measured all the same


def test_maps_that_follow_their_input_are_not_constant():
    bench = Bench(network(6, classes=6), normal(64, 6))
    for source in (gradient, times_input, noisy):
        verdict = bench.explainer(source).bounded("max_sensitivity", at_most=0.4)
        assert verdict
        assert verdict.evidence.find(InputIndependent) is None
        assert "relative max_sensitivity of most inputs is at most 0.4" in verdict.reason


def test_a_map_that_moves_is_known_to_depend_on_the_input():
    """No other explanation is asked for then; of a map that stays another input is put into its place."""
    asked = []

    def counted(source):
        def explain(model, inputs, targets):
            asked.append(len(inputs))
            return source(model, inputs, targets)

        return explain

    counts = {}
    for name, source in (("moves", times_input), ("stays", CONSTANT["the gradient of a linear model"])):
        asked.clear()
        bench = Bench(network(6, classes=6), normal(32, 6))
        bench.explainer(counted(source)).bounded("max_sensitivity", at_most=0.9, early=False, samples=3, radius=0.1)
        counts[name] = sum(asked)
    assert counts["stays"] == counts["moves"] + 16


def test_maps_that_jump_fail():
    def jumping(model, inputs, targets):
        return torch.frac(1e3 * inputs.sum(1, keepdim=True)) * inputs.sign() + inputs

    verdict = Bench(network(6), normal(64, 6)).explainer(jumping).bounded("max_sensitivity", at_most=0.05)
    assert verdict.failed
    assert "smooth the model" in verdict.advice


# ------------------------------------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize("source", [captum.attr.InputXGradient, gradient])
def test_tokens_are_moved_in_their_embedding(source):
    bench = Bench(Convolutional().eval(), sentences(32), embedding="embedding")
    verdict = bench.explainer(source).bounded("max_sensitivity", at_most=0.5)
    assert verdict.n
    values = np.array(verdict.evidence["scores"]["explainer"])
    assert values.max() > 0  # gradients of a network of pieces may stay where they are
    assert ((values >= 0) & (values < 2)).all()


def test_tokens_are_moved_where_their_maps_are_kept():
    """Of a second claim the maps of the sentences themselves are those of the first."""
    explainer = Bench(Convolutional().eval(), sentences(16), embedding="embedding").explainer(captum.attr.Saliency)
    near, far = (explainer.bounded("max_sensitivity", at_most=0.5, radius=radius).n for radius in (0.01, 0.05))
    assert near == far == 16


def test_padding_is_nobodys_business():
    """The same sentences in wider batches have the same scores."""
    given = sentences(16)
    wide = {name: torch.cat([one, torch.zeros_like(one[:, :3])], dim=1) for name, one in given.items()}
    found = []
    for inputs in (given, wide):
        bench = Bench(Convolutional().eval(), inputs, embedding="embedding")
        verdict = bench.explainer(captum.attr.InputXGradient).bounded("max_sensitivity", at_most=0.5, early=False)
        order = np.argsort(verdict.evidence["indices"])
        found.append(np.array(verdict.evidence["scores"]["explainer"])[order])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_explainers_of_token_ids_are_refused():
    bench = Bench(Convolutional().eval(), sentences(32), embedding="embedding")
    with pytest.raises(XaiError, match="an explainer of token ids"):
        bench.explainer(captum.attr.FeatureAblation, baselines=1).bounded("max_sensitivity", at_most=0.5)


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"radius": 0}, "max_sensitivity radius: found 0"),
        ({"radius": -0.1}, "max_sensitivity radius: found -0.1"),
        ({"radius": float("nan")}, "max_sensitivity radius: found nan"),
        ({"radius": float("inf")}, "max_sensitivity radius: found inf"),
        ({"samples": 0}, "max_sensitivity samples: found 0"),
        ({"samples": 1.5}, "max_sensitivity samples: found 1.5"),
        ({"unit": "range"}, "max_sensitivity unit: found 'range'"),
        ({"relative": None}, "max_sensitivity relative: found None"),
        ({"radios": 0.1}, "radius"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_one_error(settings, found):
    with pytest.raises(XaiError) as raised:
        Bench(network(6), normal(32, 6)).explainer(gradient).bounded("max_sensitivity", at_most=1.0, **settings)
    assert found in str(raised.value)


# ------------------------------------------------------------------------------------------------- against explainers


@pytest.mark.slow
def test_explainers_are_compared_by_it():
    """What is averaged over noise is less sensitive than what it averages, and a constant explainer beats nothing."""

    def rough(model, inputs, targets):
        return times_input(model, inputs, targets) + 0.2 * torch.sin(200 * inputs)

    bench = Bench(network(6, classes=6), normal(64, 6))
    smooth = bench.explainer(times_input)
    verdict = smooth.beats(rough, on="max_sensitivity")
    assert verdict
    assert "better than rough on relative max_sensitivity" in verdict.reason
    assert bench.explainer(rough).beats(times_input, on="max_sensitivity").failed
    for source in (CONSTANT["noise"], CONSTANT["a map for each target"]):
        constant = bench.explainer(source, name="constant").beats(rough, on="max_sensitivity")
        assert constant.inconclusive
        assert "the explainer is constant" in constant.reason
        assert not smooth.beats(source, on="max_sensitivity")


def test_maps_alone_have_no_sensitivity():
    with pytest.raises(XaiError, match="measures more than given maps"):
        Bench(network(6), normal(64, 6)).explainer(gradient).beats("random", on="max_sensitivity")
