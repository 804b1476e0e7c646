"""Pixel flipping by regions: patches of any rank, labels, segmentations of each input, and named groups."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from laboratory import lab_of
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.imputation import Noise
from pytest_xaisanity.maps.noise import noise_maps
from pytest_xaisanity.maps.regions import Groups, Regions
from pytest_xaisanity.subject.layout import Layout
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
COUNT = 6


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(*shape, most, seed=0):
    return torch.randint(0, most, shape, generator=torch.Generator().manual_seed(seed))


def network(*shape):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 12), nn.Tanh(), nn.Linear(12, 3)).eval()


def flip(metric, model, inputs, maps, targets, **settings):
    """Return scores and curves in the order in which inputs were given, and the last block's flipping."""
    subject = Subject(model, inputs, targets, **settings)
    values, curves, indices = [], [], []
    with subject.lent():
        for block in subject.blocks():
            prepared = metric.prepare(lab_of(subject), block)
            scores = metric.score(prepared, maps[list(block.indices)])
            values.append(scores.values)
            curves.append(scores.curves)
            indices += block.indices
    order = torch.tensor(indices).argsort()
    return torch.cat(values)[order], {name: torch.cat([c[name] for c in curves])[order] for name in curves[0]}, prepared


def slow(model, image, relevance, labels, target, *, steps, fill, least_first=False):
    """Return one input's area from the definition: loops over removals and places, in float64.

    ``image`` and ``fill`` are ``(C, *places)``, ``relevance`` and ``labels`` ``(*places)``.
    """
    image, fill, relevance = (x.double().numpy() for x in (image, fill, relevance))
    places = list(np.ndindex(relevance.shape))
    regions = {}
    for place in places:
        regions.setdefault(int(labels[place]), []).append(place)
    ranked = sorted(regions.values(), key=lambda region: -np.mean([relevance[place] for place in region]))
    ranked = ranked[::-1] if least_first else ranked
    steps = min(steps, len(ranked))
    fractions, curve = [], []
    for step in range(steps + 1):
        count = round(step * len(ranked) / steps)
        changed = image.copy()
        for region in ranked[:count]:
            for place in region:
                changed[(slice(None), *place)] = fill[(slice(None), *place)]
        logits = model.double()(torch.from_numpy(changed)[None]).detach().numpy()[0]
        fractions.append(count / len(ranked))
        curve.append(np.exp(logits)[target] / np.exp(logits).sum())
    return np.trapezoid(curve, fractions) if hasattr(np, "trapezoid") else np.trapz(curve, fractions)


def check(shape, labels, *, steps, **groups):
    """Compare the gain of each input with the definition."""
    x, maps = normal(COUNT, *shape), normal(COUNT, *shape[1:], seed=1)
    targets = torch.tensor([0, 1, 2] * 2)
    found = flip(PixelFlipping(steps=steps, imputer="noise", **groups), network(*shape), x, maps, targets)[0]
    for i in range(COUNT):
        fill = Noise()(x[i : i + 1], seed=0, indices=[i])[0]
        areas = [
            slow(network(*shape), x[i], maps[i], labels[i], int(targets[i]), steps=steps, fill=fill, least_first=least)
            for least in (True, False)
        ]
        assert float(found[i]) == pytest.approx(areas[0] - areas[1], abs=1e-5)


def cubes(shape, side):
    """Return labels of cubes, by a loop."""
    names = {place: tuple(index // side for index in place) for place in np.ndindex(shape)}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    return torch.tensor([numbers[names[place]] for place in names]).reshape(shape)


# ---------------------------------------------------------------------------------------------------------------------
# Against the definition


@pytest.mark.parametrize(
    ("shape", "side", "steps"),
    [((2, 11), 3, 8), ((1, 8), 4, 8), ((2, 5, 4, 3), 2, 5), ((2, 7, 5), 3, 8), ((1, 4, 4, 4), 2, 8)],
)
def test_patches_of_any_rank(shape, side, steps):
    labels = cubes(shape[1:], side).expand(COUNT, *shape[1:])
    check(shape, labels, steps=steps, patch=side)
    check(shape, labels, steps=steps, groups=labels[0])


@pytest.mark.parametrize("steps", [1, 3, 8, 40])
@pytest.mark.parametrize("shape", [(2, 6, 5), (3, 9)])
def test_one_segmentation_for_all(shape, steps):
    labels = whole(*shape[1:], most=7, seed=3) * 10 - 20
    check(shape, labels.expand(COUNT, *shape[1:]), steps=steps, groups=labels)


@pytest.mark.parametrize("steps", [1, 4, 8, 40])
@pytest.mark.parametrize("shape", [(2, 6, 5), (3, 9), (1, 3, 3, 2)])
def test_a_segmentation_of_each_input_with_its_own_number(shape, steps):
    """Removal counts go by each input's own number, also where there are fewer regions than steps."""
    labels = torch.stack([whole(*shape[1:], most=2 + 3 * i, seed=i) for i in range(COUNT)])
    assert len({len(row.unique()) for row in labels}) > 2
    check(shape, labels, steps=steps, groups=labels)


def thirds(images):
    """Return three regions of each image, by the size of its values."""
    size = images.square().sum(1).flatten(1)
    return (size.argsort(1).argsort(1) * (2 + (size.sum(1) > 50).long())[:, None] // size.shape[1]).reshape(-1, 6, 5)


@pytest.mark.parametrize("as_given", [lambda x: x, lambda x: x.numpy(), lambda x: x.tolist()])
def test_a_function_of_the_inputs(as_given):
    shape, x = (2, 6, 5), normal(COUNT, 2, 6, 5)
    check(shape, thirds(x), steps=3, groups=lambda images: as_given(thirds(images)))
    shared = whole(6, 5, most=4)
    check(shape, shared.expand(COUNT, 6, 5), steps=3, groups=lambda images: as_given(shared))


@pytest.mark.parametrize("batch_size", [1, 2, 5, None])
def test_labels_follow_their_inputs(batch_size):
    """In whatever order, block and micro-batch they are visited; as a stream too."""
    x, maps, targets = normal(40, 2, 6, 5), normal(40, 6, 5, seed=1), whole(40, most=3)
    labels = torch.stack([whole(6, 5, most=2 + i % 7, seed=i) for i in range(40)])
    metric, model = PixelFlipping(groups=labels, steps=5), network(2, 6, 5)
    expected = flip(metric, model, x, maps, targets)
    for inputs in (x, [[x[:7], targets[:7]], [x[7:], targets[7:]]]):
        given = targets if inputs is x else None
        found = flip(metric, model, inputs, maps, given, batch_size=batch_size)
        assert torch.allclose(found[0], expected[0], atol=1e-6)
    for i in (0, 17, 39):
        alone = flip(PixelFlipping(groups=labels[i], steps=5), model, x[i : i + 1], maps[i : i + 1], targets[i : i + 1])
        assert float(alone[0][0]) == pytest.approx(float(expected[0][i]), abs=1e-6)


def test_named_groups_move_together():
    """Features of no group are removed by themselves; names are interchangeable with indices and arrays of them."""
    x, maps, targets = normal(COUNT, 7), normal(COUNT, 7, seed=1), torch.tensor([0, 1, 2] * 2)
    labels = torch.tensor([0, 1, 0, 2, 2, 3, 2])
    by_label = flip(PixelFlipping(groups=labels), network(7), x, maps, targets)[0]
    for groups in (
        {"color": [0, 2], "size": (3, 4, 6)},
        {"color": {2, 0}, "size": np.array([3, 4, -1]), "age": 1},
        {"color": torch.tensor([0, 2]), "size": [3, 4, 6], "rest": 5},
    ):
        assert torch.equal(flip(PixelFlipping(groups=groups), network(7), x, maps, targets)[0], by_label)


def test_several_inputs_have_their_places_in_a_row():
    class Both(nn.Module):
        def forward(self, a, b):
            return a.flatten(1).sum(1) + 2 * b.sum(1)

    image, row = normal(COUNT, 1, 2, 2), normal(COUNT, 3, seed=2)
    maps = torch.cat([image.flatten(1), row], 1)
    groups = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    metric = PixelFlipping(groups=groups, imputer="constant", order="morf")
    _, curves, prepared = flip(metric, Both(), (image, row), maps, None)
    worth = torch.cat([image.flatten(1), 2 * row], 1)
    sums = torch.stack([worth[:, groups == region].sum(1) for region in range(3)], 1)
    means = torch.stack([maps[:, groups == region].mean(1) for region in range(3)], 1)
    falls = sums.gather(1, means.argsort(1, descending=True)).cumsum(1)
    expected = worth.sum(1, keepdim=True) - torch.cat([torch.zeros(COUNT, 1), falls], 1)
    assert torch.allclose(curves["most relevant first"], expected, atol=1e-5)
    assert prepared.regions.most == 3


# ---------------------------------------------------------------------------------------------------------------------
# Random orders, ties


def test_random_orders_do_not_depend_on_the_sizes_of_regions():
    """Means over few places are farther from zero: without a correction small regions come first too often."""
    labels = torch.tensor([[0] * 12 + [1] * 3 + [2]])
    regions = Regions.labeled(Layout.of((torch.zeros(1, 16),)), labels, own=False)
    noise = noise_maps(torch.zeros(6000, 16), seed=0, indices=range(6000), draw="test")
    for maps, fair in ((noise, False), (regions.evened(noise), True)):
        first = torch.bincount(regions.means(maps).argmax(1), minlength=3) / 6000
        assert bool((first - 1 / 3).abs().max() < 0.02) is fair


def test_random_orders_of_a_claim_are_even():
    """A model that looks at the small region alone: a random order finds it third by third."""
    labels = torch.tensor([0] * 12 + [1] * 3 + [2])
    x = 1 + normal(200, 16).abs()
    bench = Bench(lambda x: x[:, -1], x, task="regression")
    verdict = bench.explainer(lambda m, x, t: torch.arange(16.0) + x / 100).beats(
        "random", on="pixel_flipping", groups=labels, imputer="constant", order="morf", draws=5, early=False
    )
    assert verdict.estimate == pytest.approx(2 / 3 + 1 / 6, abs=0.04)  # ties count half


def test_ties_are_drawn_by_the_input_alone():
    """Whatever number of regions the others in its block have."""
    x, maps = normal(2, 1, 4, 4), torch.zeros(2, 4, 4)
    few, many = cubes((4, 4), 2), torch.arange(16).reshape(4, 4)
    metric = PixelFlipping(groups=torch.stack([few, few]), steps=4)
    with_few = flip(metric, network(1, 4, 4), x, maps, torch.tensor([0, 0]))[0]
    metric = PixelFlipping(groups=torch.stack([few, many]), steps=4)
    with_many = flip(metric, network(1, 4, 4), x, maps, torch.tensor([0, 0]))[0]
    assert float(with_few[0]) == pytest.approx(float(with_many[0]), abs=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# As a claim, and mistakes


def test_a_claim_tells_its_regions_and_is_another_with_others():
    x = normal(32, 2, 6, 5)
    labels = torch.stack([whole(6, 5, most=3 + i % 4, seed=i) for i in range(32)])
    explainer = Bench(network(2, 6, 5), x).explainer(InputXGradient)
    shared = explainer.beats("random", on="pixel_flipping", groups=labels[0])
    own = explainer.beats("random", on="pixel_flipping", groups=labels)
    assert shared.evidence["regions"] == 3
    assert own.evidence["regions"] is None
    assert len(own.evidence["fractions"]) == 9
    assert json.loads(json.dumps(own.evidence["fractions"]))[-1] == 1
    assert PixelFlipping(groups=labels) == PixelFlipping(groups=labels.clone()) != PixelFlipping(groups=labels[0])
    assert hash(PixelFlipping(groups=labels)) == hash(PixelFlipping(groups=labels.numpy()))
    assert PixelFlipping(groups=thirds) == PixelFlipping(groups=thirds)
    assert "groups=labels (32, 6, 5)" in repr(PixelFlipping(groups=labels))
    assert len(repr(PixelFlipping(groups={"color": range(500)}))) < 200


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        (torch.zeros(5, 6).long(), r"labels of shape \(5, 6\) for inputs with places \(6, 5\)"),
        (torch.zeros(6, 5), r"labels of torch.float32"),
        (torch.zeros(7, 6, 5).long(), "labels for 7 inputs where there are 16 inputs"),
        (lambda x: "slic", "a str returned by the function"),
        (lambda x: x[:3, 0].long(), "labels for 3 inputs where the function was given 16"),
        (lambda x: 1 / 0, "ZeroDivisionError raised by the function: division by zero"),
        (lambda x: x, "labels of torch.float32"),
        ({"a": [0, 1], "b": [1, 2]}, "feature 1 in the groups 'a' and 'b'"),
        ({"a": [0, 99]}, "feature 99 of inputs with 30 places"),
        ({"a": ["age"]}, "age"),
        ({"a": []}, r"the group 'a' of \[\]"),
        ({"a": [1.5]}, r"the group 'a' of \[1.5\]"),
        (3, "a int"),
        (torch.zeros(6, 5).long(), "with a single region"),
    ],
)
def test_what_does_not_fit_is_one_error(groups, found):
    bench = Bench(network(2, 6, 5), normal(16, 2, 6, 5))
    with pytest.raises(XaiError, match=found):
        bench.explainer(InputXGradient).beats("random", on="pixel_flipping", groups=groups)


def test_a_stream_longer_than_its_labels_is_one_error():
    x = normal(40, 2, 6, 5)
    bench = Bench(network(2, 6, 5), [x[:20], x[20:]])
    labels = whole(20, 6, 5, most=4)
    with pytest.raises(XaiError, match="labels for 20 inputs where there are a stream of more than 20"):
        bench.explainer(InputXGradient).beats("random", on="pixel_flipping", groups=labels, early=False)


def test_settings_that_do_not_go_with_groups_are_not_drawn():
    x = normal(32, 2, 8, 8)
    explainer = Bench(network(2, 8, 8), x).explainer(InputXGradient)
    verdict = explainer.beats("random", on="pixel_flipping", groups=cubes((8, 8), 2), across="settings")
    assert "groups=labels (8, 8)" in verdict.reason


def test_patches_of_tables_and_beside_groups_are_one_error():
    with pytest.raises(XaiError, match="patch=1 for tables, or groups="):
        Bench(network(8), normal(16, 8)).explainer(InputXGradient).beats("random", on="pixel_flipping", patch=2)
    with pytest.raises(XaiError, match="patch=2 beside groups="):
        PixelFlipping(patch=2, groups=torch.zeros(4).long())
    assert Groups({"a": 1}) == Groups({"a": [1]})
