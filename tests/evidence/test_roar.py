"""ROAR and KAR: a slow twin, closed forms, the leak of the mask, settings that cannot be."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from rates import rate_at_most
from retraining import Linear, descended, least_squares, problem

from pytest_xaisanity import KAR, ROAR, Bench, XaiError, beats
from pytest_xaisanity.claims.shared_errors import SharedErrors
from pytest_xaisanity.common.seeding import generator, seed_of
from pytest_xaisanity.evidence.baselines.random import Random
from pytest_xaisanity.evidence.metrics.roar_evidence import LeakDominated, Retrainings, SameRuns
from pytest_xaisanity.maps.noise import noise_maps
from pytest_xaisanity.maps.removal import drawn, packed, ranks, unpacked
from pytest_xaisanity.statistics.grouped import Grouped
from pytest_xaisanity.statistics.question import Level, Question
from pytest_xaisanity.statistics.trainings import training_error

TRAIN, TEST = problem(90, 0), problem(40, 1)
DATA = (*TRAIN, *TEST)


def own_map(model, inputs, targets):
    """Return a map that is the input's own, with signs and a value for each channel."""
    return inputs * torch.linspace(-1, 2, 18).reshape(2, 3, 3)


def bench(model=None, *, train=least_squares, data=DATA, **settings):
    model = train(data[0], data[1], 7).eval() if model is None else model
    return Bench(model, data[2], train=train, training_data=data, device="cpu", **settings)


def found(verdict):
    return verdict.evidence.get_part(Retrainings)


# ---------------------------------------------------------------------------------------------------------------------
# The definition, written again


def removed(maps, fraction, *, keep):
    """Return which of the values of each map ``(n, k)`` are removed, from the definition; no two are equal."""
    flags = np.zeros(maps.shape, bool)
    count = round(fraction * maps.shape[1])
    for row, values in enumerate(maps):
        order = sorted(range(len(values)), key=lambda place: -values[place])
        for place in order[count:] if keep else order[:count]:
            flags[row, place] = True
    return flags


def altered(inputs, flags, unit):
    """Return inputs whose removed values are the mean of the training inputs per channel."""
    result = inputs.double().numpy().copy()
    for channel in range(2):
        mean = float(np.mean(TRAIN[0].double().numpy()[:, channel]))
        for row in range(len(result)):
            of_row = flags[row].reshape(3, 3) if unit == "pixel" else flags[row].reshape(2, 3, 3)[channel]
            result[row, channel][of_row] = mean
    return torch.from_numpy(result).float()


@pytest.mark.parametrize("unit", ["pixel", "value"])
@pytest.mark.parametrize("name", ["roar", "kar"])
def test_scores_are_those_of_the_definition(name, unit):
    fractions, runs = (0.25, 0.6), 2
    verdict = bench().explainer(own_map).bounded(name, at_most=0.99, fractions=fractions, runs=runs, unit=unit)
    expected = np.zeros((len(fractions), runs, len(TEST[1])))
    for place, fraction in enumerate(fractions):
        maps = []
        for inputs in (TRAIN[0], TEST[0]):
            one = own_map(None, inputs, None).double().numpy()
            maps.append((one.sum(1) if unit == "pixel" else one).reshape(len(inputs), -1))
        data = [
            altered(inputs, removed(one, fraction, keep=name == "kar"), unit)
            for inputs, one in zip((TRAIN[0], TEST[0]), maps, strict=True)
        ]
        for run in range(runs):
            model = least_squares(data[0], TRAIN[1], run)
            expected[place, run] = (model(data[1]).argmax(1) == TEST[1]).numpy()
    assert np.array(found(verdict).accuracies) == pytest.approx(expected.mean(2), abs=0.011)  # one input, by rounding
    scores = verdict.evidence["scores"]["explainer"]
    order = verdict.evidence["indices"]
    assert np.abs(np.array(scores) - expected.mean((0, 1))[order]).mean() < 0.011


def test_trainings_are_seeded_by_fraction_and_run_whatever_the_explainer():
    seen = []

    def train(inputs, targets, seed):
        seen.append(seed)
        return least_squares(inputs, targets, seed)

    claims = bench(train=train)
    seen.clear()
    claims.explainer(own_map).bounded("roar", at_most=0.9, fractions=(0.5,), runs=2)
    first, seen[:] = list(seen), []
    claims.explainer(own_map, name="other").bounded("roar", at_most=0.9, fractions=(0.5,), runs=2)
    assert first[1:3] == [seed_of(0, "retrain", "0.5", run, 0) % 2**31 for run in (0, 1)]
    assert seen == []  # equal maps are equal trials


def test_equal_values_are_ranked_at_random():
    maps = torch.zeros(600, 4)
    maps[:, 0] = 1
    first = ranks(maps, range(600), 0, "one")
    assert (first[:, 0] == 0).all()
    shares = (first[:, 1:] == 1).double().mean(0)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.06)
    assert torch.equal(first, ranks(maps, range(600), 0, "one"))
    assert not torch.equal(first, ranks(maps, range(600), 0, "two"))
    assert torch.equal(first[5:9], ranks(maps[5:9], range(5, 9), 0, "one"))  # whatever the company


def test_values_are_ranked_with_their_signs():
    assert ranks(torch.tensor([[-3.0, 1.0, 0.5]]), [0]).tolist() == [[2, 0, 1]]


def test_flags_travel_as_bits():
    flags = torch.rand(5, 19) < 0.5
    assert torch.equal(unpacked(packed(flags), 19), flags)


def test_bernoulli_removes_each_value_by_itself():
    flags = drawn(0.3, 50, range(400), 0)
    assert float(flags.double().mean()) == pytest.approx(0.3, abs=0.01)
    counts = flags.sum(1).double()
    assert float(counts.var()) == pytest.approx(50 * 0.3 * 0.7, rel=0.25)
    assert drawn(1.0, 9, [0]).all()
    assert not drawn(0.0, 9, [0]).any()


def test_the_random_control_removes_an_exact_count_or_each_value_by_itself():
    counts = {}
    for control in ("exact", "bernoulli"):
        seen = []

        def train(inputs, targets, seed, seen=seen):
            seen.append((inputs[:, 0] == TRAIN[0][:, 0].double().mean().float()).flatten(1).sum(1))
            return least_squares(inputs, targets, seed)

        claims = bench(least_squares(*TRAIN, 0), train=train)
        claims.explainer(own_map).beats("random", on="roar", fractions=(1 / 3,), runs=2, control=control)
        counts[control] = seen[-2]  # the last is of the mask alone
    assert (counts["exact"] == 3).all()
    assert counts["bernoulli"].double().var() > 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Closed forms


def ranking(order):
    """Return an explainer that ranks features in an order, the same for each input but for a factor of its own."""
    values = torch.empty(len(order))
    values[list(order)] = torch.arange(len(order), 0, -1.0)
    return lambda model, inputs, targets: values * (1 + inputs[:, :1].abs())


def table(n, seed, weights, *, noise=0.0, copies=False):
    """Return independent normal features, and whether their weighted sum with noise is above 0."""
    drawn = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, len(weights), generator=drawn)
    if copies:
        inputs[:, 1] = inputs[:, 0]
    scores = inputs @ torch.tensor(weights) + noise * torch.randn(n, generator=drawn)
    return inputs, (scores > 0).long()


def curve(explainer, data, fractions, **settings):
    claims = bench(data=data).explainer(explainer)
    return found(claims.bounded("roar", at_most=0.999, fractions=fractions, runs=2, **settings))


def test_the_toy_of_sixteen_features_is_flat_to_three_quarters():
    """``x = a z / 10 + d η + ε / 10``, of which four features know of the class."""
    drawn = torch.Generator().manual_seed(3)
    a, d = torch.randn(16, generator=drawn), torch.randn(16, generator=drawn)
    a[4:] = 0

    def toy(n, seed):
        rng = torch.Generator().manual_seed(seed)
        z, eta = torch.randn(n, 1, generator=rng), torch.randn(n, 1, generator=rng)
        x = a * z / 10 + d * eta + torch.randn(n, 16, generator=rng) / 10
        return x, (z[:, 0] > 0).long()

    data = (*toy(2000, 0), *toy(2000, 1))
    order = a.abs().argsort(descending=True).tolist()
    fractions = (0.0, 0.25, 0.5, 0.75, 0.875, 1.0)
    inverse, truth = (curve(ranking(one), data, fractions).means for one in (order[::-1], order))
    assert inverse[0] > 0.7
    assert inverse[:4] == pytest.approx([inverse[0]] * 4, abs=0.02)
    assert inverse[4] < inverse[0] - 0.02
    assert truth[1:] == pytest.approx([0.5] * 5, abs=0.05)
    assert inverse[5] == pytest.approx(0.5, abs=0.05)


def test_independent_features_lose_their_share_of_the_variance():
    """The best accuracy on what is left is ``1/2 + arcsin(ρ) / π``, and ρ² is 1 less the share that is gone."""
    weights = [2.0, 1.5, 1.0, 0.75, 0.5, 0.25]
    data = (*table(4000, 0, weights), *table(6000, 1, weights))
    fractions = tuple(k / 6 for k in range(6))
    means = curve(ranking(range(6)), data, fractions).means
    shares = np.square(weights) / np.square(weights).sum()
    left = 1 - np.concatenate([[0], np.cumsum(shares)[:-1]])
    assert means == pytest.approx((0.5 + np.arcsin(np.sqrt(left)) / math.pi).tolist(), abs=0.02)
    r2 = np.sin(math.pi * (np.array(means) - 0.5)) ** 2
    assert r2 == pytest.approx(left, abs=0.05)


def test_a_copy_keeps_what_its_twin_loses():
    data = (*table(3000, 0, [1.0, 1.0, 0.2, 0.2], copies=True), *table(3000, 1, [1.0, 1.0, 0.2, 0.2], copies=True))
    means = curve(ranking(range(4)), data, (0.0, 0.25, 0.5)).means
    assert means[1] == pytest.approx(means[0], abs=0.005)
    assert means[2] < means[0] - 0.2


def test_nothing_removed_is_the_unmodified_accuracy_and_everything_is_chance():
    retrained = found(bench().explainer(own_map).bounded("roar", at_most=0.99, fractions=(0, 1), runs=2))
    assert retrained.accuracies[0] == (retrained.intact,) * 2
    most = int(TRAIN[1].bincount().argmax())
    assert retrained.accuracies[1] == pytest.approx((float((TEST[1] == most).double().mean()),) * 2)
    assert retrained.leaks == (None, None)


# ---------------------------------------------------------------------------------------------------------------------
# The mask


def test_a_mask_that_tells_the_class_is_said():
    """The explainer points at a place of the class, where nothing is: all that models then know is the mask."""

    def tells(model, inputs, targets):
        maps = torch.rand_like(inputs[:, 0]) * 0.1
        maps.view(len(inputs), -1)[torch.arange(len(inputs)), targets] = 1.0
        return maps

    rng = torch.Generator().manual_seed(0)
    targets = torch.arange(300) % 3
    inputs = torch.randn(300, 1, 3, 3, generator=rng) * 0.1
    inputs[torch.arange(300), 0, 2, targets] += 1.0
    data = (inputs[:200], targets[:200], inputs[200:], targets[200:])
    verdict = bench(data=data).explainer(tells).beats("random", on="roar", fractions=(1 / 9,), runs=2)
    retrained = found(verdict)
    assert retrained.leaks[0] > 0.95
    assert retrained.dominated == (True,)
    assert "leak-dominated: the mask of tells alone tells the class" in verdict.reason
    control = [part for part in verdict.evidence.parts if isinstance(part, Retrainings)][1]
    assert control.whose == "random"
    assert control.leaks[0] == pytest.approx(1 / 3, abs=0.17)  # three standard deviations, of 100 inputs


def test_a_mask_that_knows_no_label_is_at_chance():
    data = (*problem(300, 0), *problem(300, 1))
    verdict = bench(data=data).explainer(noise).bounded("roar", at_most=0.99, fractions=(0.3, 0.6), runs=2)
    for leak in found(verdict).leaks:
        assert abs(leak - found(verdict).chance) < 4 * math.sqrt(0.25 / 300)
    assert found(verdict).dominated == (False, False)


def noise(model, inputs, targets):
    return torch.randn_like(inputs[:, 0])


def test_a_remark_is_made_of_the_cells_that_the_mask_dominates():
    one = Retrainings("x", "kar", (0.3, 0.7), ((0.9, 0.9), (0.5, 0.5)), (0.88, 0.2), 0.9, 0.1, "pixel", {})
    assert one.dominated == (True, False)
    assert LeakDominated.of(one).cells == {0.3: (0.9, 0.88)}
    at_chance = replace(one, leaks=(0.12, None), accuracies=((0.12, 0.12), (0.1, 0.1)))
    assert LeakDominated.of(at_chance) is None


# ---------------------------------------------------------------------------------------------------------------------
# Claims


def informative(model, inputs, targets):
    """Return the magnitude of the input at the places by which the classes differ most."""
    centers = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(9))
    return centers.std(0).sum(0) * (1 + 0.5 * torch.rand_like(inputs[:, 0]))


def test_what_tells_the_classes_beats_random_and_its_reverse_does_not():
    """With masks that hardly tell the class; the random control is drawn again in each run."""
    data = (*problem(300, 0), *problem(300, 1))
    settings = {"fractions": (0.5, 0.7), "runs": 3}
    claims = bench(data=data)
    verdict = claims.explainer(informative).beats("random", on="roar", **settings)
    assert verdict.passed
    assert verdict.estimate > 0.05
    low, high = verdict.interval
    assert 0 < low < verdict.estimate < high
    assert "Student's bound over trainings" in verdict.decided_by
    reverse = claims.explainer(lambda m, x, t: -informative(m, x, t), name="reverse")
    assert reverse.beats("random", on="roar", **settings).failed
    assert reverse.beats("random", on="kar", **settings).failed
    assert claims.explainer(informative).beats(reverse, on="roar", **settings).passed
    bound = claims.explainer(informative).bounded("roar", at_least=0.3, at_most=0.95, **settings)
    assert bound.passed
    assert bound.estimate == pytest.approx(np.mean(found(bound).accuracies), abs=0.01)  # of groups


def test_the_class_that_tells_most_is_one_group_where_all_maps_are_one():
    """A fixed map is one observation, on these metrics too."""
    fixed = torch.arange(9.0).reshape(3, 3)
    verdict = bench().explainer(lambda m, x, t: fixed.expand(len(x), 3, 3)).beats("random", on="roar", runs=2)
    assert verdict.inconclusive
    assert verdict.evidence["groups"] == 1


def outcome(number, *, n, runs, fractions, spread, gain=0.0):
    """Return the outcome for inputs whose chance to be right is shared by all models, but for each training's luck."""
    rng = np.random.default_rng([number, n, runs])
    ease = rng.beta(2, 1, n)
    sides = []
    for advantage in (-gain, 0.0):
        luck = spread * rng.standard_normal((fractions, runs, 1)) + advantage
        sides.append(rng.random((fractions, runs, n)) < np.clip(0.2 + 0.6 * ease + luck, 0, 1))
    own, other = sides
    gains = -(own.mean((0, 1)) - other.mean((0, 1)))
    difference = own.mean(2) - other.mean(2)
    level = Level(0.95, early=False)
    errors = SharedErrors.of(level, lambda confidence: training_error(difference, confidence))
    question, scores = errors.widened(Question(-1.0, 1.0, 0.0, margin=0.05), Grouped.of(gains, gains))
    return scores.outcome(question, errors.level, final=True)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "runs"), [(100, 3), (1000, 3), (1000, 5), (1000, 2)])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.1])
def test_a_wrong_pass_is_as_rare_as_the_confidence_says(n, runs, spread):
    """Over inputs and trainings, however much luck there is in these."""
    settings = {"n": n, "runs": runs, "fractions": 3, "spread": spread}
    assert rate_at_most(lambda run: outcome(run, **settings) == "passed", 0.05, most=2000) <= 0.05


@pytest.mark.slow
def test_a_wrong_fail_is_as_rare():
    settings = {"n": 500, "runs": 3, "fractions": 3, "spread": 0.05, "gain": 0.05}
    assert rate_at_most(lambda run: outcome(run, **settings) == "failed", 0.05, most=1000) <= 0.05


def test_the_luck_of_trainings_is_not_forgotten():
    """Inputs alone would decide on what three lucky trainings have in common."""
    assert training_error([[0.5, 0.5, 0.5]], 0.975) == 0
    assert training_error([[0.5, 0.6]], 0.975) == pytest.approx(12.706 * 0.0707107 / 2**0.5, rel=1e-3)
    equal = [[0.5, 0.6, 0.7]] * 4  # equal spreads add their degrees of freedom
    assert training_error(equal, 0.975) == pytest.approx(2.306 * 0.1 / 3**0.5 / 4**0.5, rel=1e-3)


def test_too_few_trainings_are_said_and_an_interval_keeps_to_the_range_of_its_scores():
    seeds = {}

    def unsteady(inputs, targets, seed):
        """Train well for one seed, and for the next upside down."""
        model = least_squares(inputs, targets, seed)
        if seeds.setdefault(seed, len(seeds)) % 2:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.neg_()
        return model

    claims = bench(least_squares(*TRAIN, 7), train=unsteady)
    verdict = claims.explainer(own_map).bounded("roar", at_most=0.9, fractions=(0.3,), runs=2)
    assert verdict.inconclusive
    assert "give more runs=" in verdict.reason
    assert 0 <= verdict.interval[0] <= verdict.estimate <= verdict.interval[1] <= 1


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fractions": (0.5, 1.5)}, "numbers from 0 to 1"),
        ({"fractions": ()}, "numbers from 0 to 1"),
        ({"fractions": -0.1}, "numbers from 0 to 1"),
        ({"fractions": (float("nan"),)}, "numbers from 0 to 1"),
        ({"fractions": "0.5"}, "numbers from 0 to 1"),
        ({"fractions": (10, 30)}, "the shares of the pixels, not percent"),
        ({"fractions": np.array([0.5, 2])}, "numbers from 0 to 1"),
        ({"fractions": np.array([])}, "numbers from 0 to 1"),
        ({"runs": 1}, "a whole number from 2"),
        ({"unit": "patch"}, "'pixel' or 'value'"),
        ({"control": "uniform"}, "'exact' or 'bernoulli'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    for metric in (ROAR, KAR):
        with pytest.raises(XaiError, match=said):
            metric(**settings)


@pytest.mark.parametrize(("fraction", "what"), [(0.01, "none"), (0.99, "all")])
def test_a_mask_that_removes_nothing_is_refused_before_anything_is_trained(fraction, what):
    def train(inputs, targets, seed):
        raise AssertionError("trained")

    claims = bench(least_squares(*TRAIN, 0), train=train).explainer(own_map)
    with pytest.raises(XaiError, match=rf"of 9 pixels, which is {what} of them.*fractions from 0.11 to 0.89"):
        claims.bounded("roar", at_most=0.5, fractions=(fraction,))


@pytest.mark.parametrize("count", [2, 3, 7, 784, 50176, 150528])
def test_fractions_that_are_advised_remove_something_and_not_all(count):
    with pytest.raises(XaiError, match="which is none of them") as error:
        ROAR(fractions=(1e-9,)).removed(1e-9, count)
    for advised in re.findall(r"from (\S+) to (\S+);", error.value.fix)[0]:
        assert 0 < ROAR().removed(float(advised), count) < count


def test_a_single_pixel_cannot_be_ranked():
    with pytest.raises(XaiError, match='several pixels, or with unit="value"'):
        ROAR().removed(0.5, 1)


def test_fractions_may_be_an_array():
    assert ROAR(fractions=np.linspace(0, 1, 3)).fractions == (0.0, 0.5, 1.0)
    assert KAR(fractions=torch.tensor([0.25, 0.5])).fractions == (0.25, 0.5)
    assert ROAR(fractions=-0.0).fractions == (0.0,)


def test_a_claim_without_a_training_function_says_what_to_write():
    claims = Bench(least_squares(*TRAIN, 0), TEST[0], device="cpu").explainer(own_map)
    with pytest.raises(XaiError, match="no training function and no training data") as error:
        claims.beats("random", on="roar")
    text = str(error.value)
    assert "def xai_train():" in text
    example = text[text.index("    @pytest.fixture") :].rstrip(".").replace("1000", "100")
    names = {"pytest": pytest, "torch": torch, "Net": lambda: Linear(18, 3)}
    lines = [line[4:] for line in example.splitlines()]
    exec("\n".join(line for line in lines if "fixture" not in line), names)  # what is advised works
    trained = names["xai_train"]()(*TRAIN, 0)
    assert (trained(TEST[0]).argmax(1) == TEST[1]).double().mean() > 0.6


def test_a_training_that_diverges_is_one_error():
    def diverging(inputs, targets, seed):
        model = Linear(18, 3)
        with torch.no_grad():
            model.layer.weight.fill_(float("nan"))
        return model

    claims = bench(least_squares(*TRAIN, 0), train=diverging).explainer(own_map)
    with pytest.raises(
        XaiError, match=r"NaN or infinite of the model trained on the inputs as they are.*learning rate"
    ):
        claims.beats("random", on="roar")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (lambda inputs, targets, seed: None, "None returned"),
        (lambda inputs, targets, seed: Linear(18, 2), "outputs of shape \\(40, 2\\) for targets up to 2"),
        (lambda inputs, targets, seed: 1 / 0, "ZeroDivisionError raised when training on the inputs as they are"),
        (lambda inputs: None, "a function with the signature"),
    ],
)
def test_training_functions_that_cannot_be_are_one_error(train, said):
    with pytest.raises(XaiError, match=said):
        bench(least_squares(*TRAIN, 0), train=train).explainer(own_map).beats("random", on="roar", runs=2)


# ---------------------------------------------------------------------------------------------------------------------
# Training functions that do not train a new model


def stepped(model, inputs, targets, seed):
    """Train a model further, and return it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for rows in torch.randint(len(inputs), (30, 32), generator=torch.Generator().manual_seed(seed)):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    return model


def sharing(model):
    other = Linear(18, 3)
    other.layer = model.layer
    return other


def constant(seed):
    model = Linear(18, 3)
    with torch.no_grad():
        model.layer.weight.zero_()
        model.layer.bias.fill_(seed % 1000)
    return model


def changing(model, inputs, targets, seed):
    return copy.deepcopy(stepped(model, inputs, targets, seed))


SELF, CHANGED = "xai_model itself, or a model that shares its weights, returned", "xai_model changed by training on"
NOT_NEW = {
    "itself": (lambda model, other, *given: model, SELF),
    "itself, trained further": (lambda model, other, *given: stepped(model, *given), SELF),
    "what shares its weights": (lambda model, other, *given: sharing(model), SELF),
    "a copy, having trained it": (lambda model, other, *given: changing(model, *given), CHANGED),
    "another, trained further": (lambda model, other, *given: stepped(other, *given), "the model object of an earlier"),
    "a trained one": (lambda model, other, *given: other, "the same weights, bit for bit, from 4 trainings on 3 sets"),
    "a copy": (lambda model, other, *given: copy.deepcopy(model), "the same weights, bit for bit, from 4 trainings"),
    "one that has learned nothing": (
        lambda model, other, x, y, seed: constant(seed),
        "learned nothing of the inputs as they",
    ),
}


def not_new(which, **settings):
    torch.manual_seed(0)
    model, other = descended(*TRAIN, 1).eval(), descended(*TRAIN, 2)
    before = copy.deepcopy(model.state_dict())

    def train(inputs, targets, seed):
        return NOT_NEW[which][0](model, other, inputs, targets, seed)

    with pytest.raises(XaiError, match=f"xai_train: found .*{NOT_NEW[which][1]}"):
        bench(model, train=train, **settings).explainer(own_map).bounded("roar", at_most=0.9, fractions=0.5, runs=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("which", list(NOT_NEW))
def test_a_training_function_that_trains_no_new_model_is_one_error(which):
    not_new(which)


@pytest.mark.slow
@pytest.mark.filterwarnings("error:.*tasks")
@pytest.mark.parametrize("which", ["a copy, having trained it", "another, trained further"])
def test_it_is_one_error_in_other_processes_too(which):
    not_new(which, jobs=2)


def test_a_model_object_that_is_trained_from_new_weights_each_time_may_be_the_same():
    kept = Linear(18, 3)

    def train(inputs, targets, seed):
        torch.manual_seed(seed)
        kept.layer.reset_parameters()
        return stepped(kept, inputs, targets, seed)

    claims = [bench(descended(*TRAIN, 1), train=one) for one in (train, lambda *given: copy.deepcopy(train(*given)))]
    one, other = (claim.explainer(own_map).bounded("roar", at_most=0.9, fractions=0.5, runs=2) for claim in claims)
    assert found(one).accuracies == found(other).accuracies


def test_a_training_function_that_ignores_its_seed_is_said_and_one_that_heeds_it_is_not():
    """Also of a claim that passes: what it says of trainings at large then rests on one."""
    settings = {"at_most": 0.999, "fractions": (0.3, 0.6), "runs": 2}
    ignoring = bench(train=lambda inputs, targets, seed: descended(inputs, targets, 0)).explainer(own_map)
    verdict = ignoring.bounded("roar", **settings)
    assert verdict.passed
    assert "xai_train gives the same weights in all 2 runs: unless nothing is drawn in it" in verdict.reason
    assert verdict.evidence["same_whatever_the_seed"] is True
    assert "same weights" not in bench(train=descended).explainer(own_map).bounded("roar", **settings).reason


def test_runs_are_the_same_where_all_that_have_the_same_inputs_have_the_same_weights():
    assert SameRuns.of([["x", "x"]], [["a", "a"]]) == SameRuns(2)
    assert SameRuns.of([["x", "y"]], [["a", "a"]]) is None  # other orders of equal values
    assert SameRuns.of([["x", "x"], ["y", "y"]], [["a", "a"], ["b", "c"]]) is None
    assert SameRuns.of([["x", "x"]], [["", ""]]) is None  # models without weights


def test_a_trained_model_that_cannot_be_tested_is_one_error():
    def train(inputs, targets, seed):
        model = least_squares(inputs, targets, seed)
        model.forward = lambda x: 1 / 0
        return model

    claims = bench(least_squares(*TRAIN, 0), train=train).explainer(own_map)
    with pytest.raises(
        XaiError, match=r"ZeroDivisionError raised by the model trained on .* test inputs \(40, 2, 3, 3\)"
    ):
        claims.bounded("roar", at_most=0.9, runs=2)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (lambda e: e.beats("uninformative", on="roar"), "a search that would train models for each map"),
        (lambda e: e.beats("random", on="roar", within="target"), 'within="target"'),
        (lambda e: e.beats("random", on="roar", across="settings"), "train models for each of several settings"),
    ],
)
def test_claims_that_cannot_be_are_refused(claim, said):
    with pytest.raises(XaiError, match=said):
        claim(bench().explainer(own_map))


def test_data_that_have_no_mean_are_refused():
    data = (TRAIN[0].long(), TRAIN[1], TEST[0].long(), TEST[1])
    claims = Bench(least_squares(*TRAIN, 0), TEST[0], train=least_squares, training_data=data, device="cpu")
    with pytest.raises(XaiError, match=r"torch.int64.*replaces values by their mean"):
        claims.explainer(own_map).beats("random", on="roar")


def test_the_model_and_the_generators_come_back():
    model = descended(*TRAIN, 0).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    bench(model, train=descended).explainer(own_map).beats("random", on="roar", fractions=(0.5,), runs=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_a_plan_counts_the_trainings():
    claims = bench()
    claim = claims.explainer(own_map)
    (plan,) = claims.plan(beats("random", on="roar", fractions=(0, 0.5), runs=3), claim)
    assert plan.cost.trainings == (2 * 3 + 1 + 1) + (2 * 3 + 1)
    assert plan.n == len(TEST[1])
    assert plan.cost.explanations == 1 + len(TRAIN[1]) / len(TEST[1])  # of each test input, and of the training inputs
    assert "15 trainings" in str(plan)
    assert "spread" not in str(plan)
    claims = bench(jobs=3)
    (plan,) = claims.plan(beats("random", on="roar", fractions=(0, 0.5), runs=3), claims.explainer(own_map))
    assert str(plan).endswith("s in one process, spread over 3 processes")


def test_random_orders_are_drawn_for_each_run():
    assert ROAR(runs=4).measurement(Random()).baseline.draws == 4
    one, two = (noise_maps(torch.zeros(1, 4), seed=0, indices=[0], draw=f"random {k}") for k in (0, 1))
    assert not torch.equal(one, two)
    assert generator(0, "ties", 0).initial_seed() != generator(0, "ties", 1).initial_seed()
