"""Groups of inputs: which inputs and maps count as one."""

from __future__ import annotations

import pytest
import torch
from captum.attr import FeatureAblation
from laboratory import lab_of
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.evidence.groups import SAME_MAP, Grouping, _sketched
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.evidence.scoring import Scoring
from pytest_xaisanity.subject.block import Block
from pytest_xaisanity.subject.layout import Layout
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)


def block_of(inputs, start=0):
    given = (inputs,)
    return Block(0, tuple(range(start, start + len(inputs))), given, None, Layout.of(given))


def numbered(inputs, maps):
    """Return the numbers of the groups, by input or map and by input alone."""
    found = Grouping().of(block_of(inputs), maps)
    return [one[0] for one in found], [one[1] for one in found]


@pytest.fixture
def images():
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def maps():
    return torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(1))


def test_different_inputs_with_different_maps_are_groups_of_their_own(images, maps):
    assert numbered(images, maps) == ([0, 1, 2, 3, 4, 5],) * 2


@pytest.mark.parametrize("change", [lambda x: x, lambda x: x * 1.001, lambda x: x + 1e-4 * torch.rand_like(x)])
def test_nearly_equal_inputs_are_one_group(images, maps, change):
    images[3] = change(images[1])
    assert numbered(images, maps) == ([0, 1, 2, 1, 3, 4],) * 2


@pytest.mark.parametrize("size", [1e-30, 1e20, 1e30])
def test_inputs_of_any_size_are_told_apart(images, maps, size):
    """The square of their distance may be more, or less, than single precision holds."""
    images[3] = images[1]
    assert numbered(size * images, maps) == ([0, 1, 2, 1, 3, 4],) * 2


@pytest.mark.parametrize("change", [lambda m: m, lambda m: 7 * m, lambda m: m + 0.01 * torch.randn_like(m)])
def test_maps_that_are_nearly_one_up_to_a_factor_are_one_group(images, maps, change):
    maps[3] = change(maps[1])
    assert numbered(images, maps) == ([0, 1, 2, 1, 4, 5], [0, 1, 2, 3, 4, 5])


def test_what_is_the_same_everywhere_is_no_part_of_a_map(images, maps):
    """Neither makes it one map of two, nor two of one."""
    maps[3] = maps[1] + 5
    assert numbered(images, maps)[0] == [0, 1, 2, 1, 4, 5]
    assert numbered(images, 1 + 1e-3 * torch.randn(6, 8, 8))[0] == [0, 1, 2, 3, 4, 5]


def test_maps_of_few_places_are_compared_as_they_are():
    """Less their mean, maps of two places are all one map or its negative."""
    inputs = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    maps = torch.tensor([[0.0, 1.0], [3.0, 4.0], [1.0, 3.0], [3.0, 4.0]])
    assert numbered(inputs, maps)[0] == [0, 1, 2, 1]


def test_a_map_and_its_negative_are_two_groups(images, maps):
    maps[3] = -maps[1]
    assert numbered(images, maps)[0] == [0, 1, 2, 3, 4, 5]


def test_constant_maps_have_no_order_that_they_share(images, maps):
    maps[2:5] = 1.0
    assert numbered(images, maps)[0] == [0, 1, 2, 3, 4, 5]


def test_groups_do_not_depend_on_blocks_nor_on_what_comes_later(images, maps):
    images[4], maps[5] = images[0], maps[1]
    whole = Grouping().of(block_of(images), maps)
    parts = Grouping()
    split = [*parts.of(block_of(images[:1]), maps[:1]), *parts.of(block_of(images[1:]), maps[1:])]
    assert split == whole
    assert Grouping().of(block_of(images[:3]), maps[:3]) == whole[:3]
    assert [one[0] for one in whole] == [0, 1, 2, 3, 0, 1]


def test_many_inputs_are_told_apart():
    """More than fit into what is kept at first."""
    generator = torch.Generator().manual_seed(0)
    images, maps = torch.rand(200, 1, 5, 5, generator=generator), torch.randn(200, 5, 5, generator=generator)
    grouping = Grouping()
    first = grouping.of(block_of(images), maps)
    assert [one[0] for one in first] == list(range(200))
    assert grouping.of(block_of(images.flip(0)), maps.flip(0)) == [(number, number) for number in reversed(range(200))]


def test_texts_that_differ_in_one_token_are_two():
    tokens = torch.randint(0, 30_000, (2, 1, 200), generator=torch.Generator().manual_seed(0))
    tokens[1] = tokens[0]
    maps = torch.randn(2, 200, generator=torch.Generator().manual_seed(1))
    assert numbered(tokens, maps)[1] == [0, 0]
    tokens[1, 0, 7] += 1
    assert numbered(tokens, maps)[1] == [0, 1]


@pytest.mark.parametrize("peaks", [1, 30, 5000])
def test_sketches_keep_distances(peaks):
    """Of dense vectors and of those with single peaks, to a third; what is nearly equal stays so."""
    rng = torch.Generator().manual_seed(peaks)
    rows = torch.zeros(12, 5000, dtype=torch.float64)
    for row in rows:
        row[torch.randperm(5000, generator=rng)[:peaks]] = torch.randn(peaks, dtype=torch.float64, generator=rng)
    rows /= rows.norm(dim=1, keepdim=True)
    exact = torch.cdist(rows, rows)
    sketch = torch.cdist(_sketched(rows), _sketched(rows))
    apart = ~torch.eye(12, dtype=torch.bool)
    assert (sketch[apart] / exact[apart] - 1).abs().max() < 0.5
    assert sketch[apart].min() > SAME_MAP


def test_a_scoring_of_the_explainer_carries_groups_and_one_of_a_baseline_does_not():
    images = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    images[5] = images[2]
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    subject = Subject(model, images, seed=0)
    with subject.lent():
        (block,) = subject.blocks()
        found = Scoring(PixelFlipping(steps=2)).start(lab_of(subject), block).measure(block)
    places = {index: place for place, index in enumerate(block.indices)}
    assert found.groups.shape == (8, 2)
    assert found.groups[places[2]].tolist() == found.groups[places[5]].tolist()
    assert len(set(found.groups[:, 0].tolist())) == 7
    assert found.concat([found.head(3), found.rows(range(3, 8))]).groups.tolist() == found.groups.tolist()


def test_one_number_an_input_may_be_explained():
    """Beside an image, say: it has no axis but that of the inputs."""

    class Clinic(torch.nn.Module):
        def forward(self, image, age):
            return torch.stack([image.mean((1, 2, 3)) * age, image[:, 0, 0, 0] - age], dim=1)

    inputs = {"image": torch.rand(16, 1, 4, 4), "age": torch.rand(16)}
    explainer = Bench(Clinic().eval(), inputs).explainer(FeatureAblation)
    assert explainer.invariant_under("batch_order")
    assert explainer.changes_under("other_target").n == 16
