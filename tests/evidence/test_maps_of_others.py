"""The explainer's own maps of other inputs as baselines: which others, and what becomes of inputs without one."""

from __future__ import annotations

import math

import pytest
import torch
from laboratory import lab_of
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.claims.beats import LeftOut
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.baselines.class_mean import ClassMean
from pytest_xaisanity.evidence.baselines.other_input import OtherInput
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)

BOTH = [OtherInput(), ClassMean()]


def images_of(count, seed=0):
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """A linear model, whose product of gradient and input is right."""

    def __init__(self, classes=3):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(16, classes, generator=generator))

    def forward(self, x):
        return x.flatten(1) @ self.weight


def subject_of(inputs, targets, **settings):
    return Subject(Linear().eval(), inputs, targets, seed=0, **settings)


def made(baseline, subject, *, early=True):
    """Return the baseline's map of each input, by index; the explainer returns the input."""
    lab, found = lab_of(subject, lambda model, inputs, targets: inputs + 0), {}
    with subject.lent():
        make = baseline.begin(lab)
        for block in subject.blocks(early=early):
            like = lab.attributions(block)
            (maps,) = make(block, like)
            assert maps.shape == like.shape
            found.update(zip(block.indices, maps, strict=True))
    return found


def visited(subject):
    """Return the blocks of indices."""
    with subject.lent():
        return [block.indices for block in subject.blocks()]


@pytest.fixture
def targets():
    return torch.randint(0, 3, (100,), generator=torch.Generator().manual_seed(1))


def test_other_input_gives_the_map_of_another_input_of_the_same_target(targets):
    inputs = images_of(100)
    found = made(OtherInput(), subject_of(inputs, targets))
    others = {}
    for index, one in found.items():
        (others[index],) = [other for other in range(100) if torch.equal(inputs[other, 0], one)]
    assert all(other != index and targets[other] == targets[index] for index, other in others.items())
    assert len(set(others.values())) > 40


def test_class_mean_gives_the_mean_of_the_others_measured_so_far(targets):
    """Against a loop in float64."""
    inputs = images_of(100)
    subject = subject_of(inputs, targets)
    found, seen = made(ClassMean(), subject), []
    for indices in visited(subject):
        seen += indices
        for index in indices:
            rows = [inputs[o, 0].double() for o in seen if o != index and targets[o] == targets[index]]
            mean = sum(rows) / len(rows)
            assert torch.allclose(found[index].double(), mean, atol=1e-6)


@pytest.mark.parametrize("baseline", BOTH)
def test_maps_do_not_depend_on_the_size_of_batches(baseline, targets):
    inputs = images_of(100)
    first, second = (made(baseline, subject_of(inputs, targets, batch_size=size)) for size in (3, 64))
    assert all(torch.equal(first[index], second[index]) for index in range(100))


@pytest.mark.parametrize("baseline", BOTH)
def test_maps_of_a_stream_are_those_of_its_inputs_in_this_order(baseline, targets):
    inputs = images_of(100)
    streams = [[inputs[start : start + size] for start in range(0, 100, size)] for size in (7, 50)]
    first, second = (made(baseline, subject_of(stream, targets)) for stream in streams)
    assert all(torch.equal(first[index], second[index]) for index in range(100))


@pytest.mark.parametrize("baseline", BOTH)
def test_an_input_whose_target_no_other_has_has_no_map(baseline):
    targets = torch.tensor([0, 0, 1, 0, 2, 2, 0, 0])
    found = made(baseline, subject_of(images_of(8), targets))
    assert [index for index in range(8) if found[index].isnan().all()] == [2]
    assert not any(found[index].isnan().any() for index in range(8) if index != 2)


@pytest.mark.parametrize("baseline", BOTH)
def test_one_output_makes_all_inputs_of_one_target(baseline):
    subject = Subject(Linear(1).eval(), images_of(8), seed=0)
    assert not any(one.isnan().any() for one in made(baseline, subject).values())


@pytest.mark.parametrize("baseline", BOTH)
def test_maps_alone_are_of_one_block(baseline):
    """What a caller without a lab gets."""
    subject = subject_of(images_of(8), torch.zeros(8, dtype=torch.long))
    with subject.lent():
        (block,) = subject.blocks()
        (maps,) = baseline.maps(block, block.inputs[0][:, 0], seed=0)
    assert maps.isfinite().all()


def test_what_is_kept_of_other_inputs_is_bounded(monkeypatch):
    monkeypatch.setattr("pytest_xaisanity.evidence.baselines.other_input._BYTES", 5 * 16 * 4)
    targets = torch.arange(100) % 3
    subject = subject_of(images_of(100), targets)
    lab = lab_of(subject)
    with subject.lent():
        make = OtherInput().begin(lab)
        for block in subject.blocks():
            make(block, lab.attributions(block))
            assert sum(map(len, make.kept.values())) <= 5


def product(model, inputs, targets):
    """Return the right explanation of a linear model."""
    return model.weight.T[targets].reshape(inputs.shape) * inputs


def template(model, inputs, targets):
    """Return the same map for each input of a target."""
    return model.weight.T[targets].reshape(inputs.shape).abs() + 0 * inputs


@pytest.mark.parametrize("name", ["other_input", "class_mean"])
def test_what_sees_the_input_wins_and_a_template_of_the_class_loses(name):
    bench = Bench(Linear().eval(), images_of(160))
    metric = {"on": "pixel_flipping", "steps": 8}
    assert bench.explainer(product).beats(name, **metric).passed
    verdict = bench.explainer(template).beats(name, **metric)
    assert verdict.failed
    assert (verdict.estimate, verdict.quantity) == (1.0, "share of pairs of inputs with one map")
    assert verdict.n < 100
    assert BASELINES.build(name, {}, where="test").name in verdict.reason


def coarse_template(model, inputs, targets):
    """Return the same map for each input of a target, with as many ties as it has places."""
    return (template(model, inputs, targets) > 1).float() + 0 * inputs


def test_ties_are_broken_alike_for_both_maps():
    """So that a map gains nothing over itself on any input."""
    bench = Bench(Linear().eval(), images_of(160))
    verdict = bench.explainer(coarse_template).beats("other_input", on="pixel_flipping", early=False)
    assert verdict.failed
    assert verdict.evidence["per_input"] == [0.0] * verdict.n


def test_what_is_a_template_for_all_classes_but_one_does_not_pass():
    """However much it gains on that one."""

    def partly(model, inputs, targets):
        wrong = (targets != 0)[:, None, None, None]
        return torch.where(wrong, template(model, inputs, targets), product(model, inputs, targets))

    verdict = Bench(Linear().eval(), images_of(256)).explainer(partly).beats("other_input", on="pixel_flipping")
    assert not verdict.passed
    assert "pairs of inputs of one target share one map" in verdict.reason


@pytest.mark.parametrize("name", ["other_input", "class_mean"])
def test_inputs_without_another_are_left_out_and_counted(name):
    targets = torch.tensor([1, *[0] * 30, 2])
    verdict = (
        Bench(Linear().eval(), images_of(32), targets)
        .explainer(product)
        .beats(name, on="pixel_flipping", steps=8, early=False)
    )
    left = verdict.evidence.get_part(LeftOut)
    assert (verdict.n, left.count, verdict.evidence["left_out"]) == (30, 2, 2)
    assert not {0, 31} & set(verdict.evidence["indices"])
    assert math.isfinite(verdict.estimate)
    assert ("left out", "2 inputs with no other input of their target among those measured") in verdict.evidence.rows()


@pytest.mark.parametrize("name", ["other_input", "class_mean"])
@pytest.mark.parametrize("count", [0, 2])
def test_too_few_inputs_with_another_are_one_clear_error(name, count):
    targets = torch.tensor([*range(3, 23), *[0] * count])
    bench = Bench(Linear(30).eval(), images_of(len(targets)), targets)
    with pytest.raises(XaiError, match=rf"found {count} of {len(targets)} inputs .*: 20 have no other input") as raised:
        bench.explainer(product).beats(name, on="pixel_flipping", steps=8)
    assert "give more inputs of each target" in str(raised.value)
    more = torch.cat([targets, targets, targets])
    bench = Bench(Linear(30).eval(), images_of(len(more)), more)
    assert bench.explainer(product).beats(name, on="pixel_flipping", steps=8).n > 16  # what the error says mends it


def sensitivity(model, inputs, targets):
    """Return the gradient."""
    inputs = inputs.detach().requires_grad_()
    scores = model(inputs).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(scores, inputs)[0]


class Bilinear(nn.Module):
    """A quadratic form of the pixels, whose gradient depends on the input."""

    def forward(self, x):
        flat = x.flatten(1) - 0.5
        score = (flat * flat.roll(5, 1)).sum(1)
        return torch.stack([score, -score], 1)


def test_a_gradient_is_read_as_a_sensitivity_too():
    """Against another input's it gains as that, and an explicit reading is the only one."""
    explainer = Bench(Bilinear().eval(), images_of(256)).explainer(sensitivity)
    either = explainer.beats("other_input", on="pixel_flipping")
    assert either.passed
    assert "maps are read as" in either.reason
    alone = explainer.beats("other_input", on="pixel_flipping", reading="sensitivity", early=False)
    assert alone.passed
    assert alone.evidence["reading"] == "sensitivity"
    assert "readings" not in alone.evidence


def test_a_passed_reading_spends_half_of_the_error():
    verdict = Bench(Bilinear().eval(), images_of(64)).explainer(sensitivity).beats("other_input", on="pixel_flipping")
    assert verdict.confidence == pytest.approx(0.975)
