"""The baseline "misplaced": the explainer's own map turned over."""

from __future__ import annotations

import pytest
import torch
from laboratory import lab_of
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.baselines.misplaced import Misplaced
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def turned(inputs, maps):
    """Return the maps of each part, by name."""
    subject = Subject(nn.Flatten().eval(), inputs, seed=0)
    with subject.lent():
        block = next(subject.blocks())
        return {part.name: part.maps(block, maps, seed=0)[0] for part in Misplaced().parts(block.layout.places)}


def test_square_images_are_turned_over_three_ways():
    """Against a loop over pixels."""
    maps = drawn(2, 4, 4)
    found = turned(drawn(2, 1, 4, 4), maps)
    assert [*found] == ["rows reversed", "columns reversed", "transposed"]
    for image in range(2):
        for row in range(4):
            for column in range(4):
                own = maps[image, row, column]
                assert found["rows reversed"][image, 3 - row, column] == own
                assert found["columns reversed"][image, row, 3 - column] == own
                assert found["transposed"][image, column, row] == own


def test_channels_stay_where_they_are():
    maps = drawn(2, 3, 4, 4)
    found = turned(drawn(2, 3, 4, 4), maps)
    for channel in range(3):
        alone = turned(drawn(2, 1, 4, 4), maps[:, channel])
        assert all(torch.equal(found[name][:, channel], alone[name]) for name in alone)


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((2, 1, 4, 6), ["rows reversed", "columns reversed"]),
        ((2, 3, 8), ["reversed"]),
        ((2, 1, 3, 3, 3), ["axis 0 reversed", "axis 1 reversed", "axis 2 reversed"]),
    ],
    ids=["oblong", "series", "volume"],
)
def test_other_places_are_reversed_along_each_axis(shape, names):
    maps = drawn(shape[0], *shape[2:])
    found = turned(drawn(*shape), maps)
    assert [*found] == names
    assert all(torch.equal(found[name], maps.flip(1 + axis)) for axis, name in enumerate(names))


@pytest.mark.parametrize(("places", "names"), [((8, 1), ["rows reversed"]), ((1, 8), ["columns reversed"])])
def test_an_axis_with_a_single_place_cannot_be_turned_over(places, names):
    """A map gains nothing over itself, so that no explanation could beat it."""
    assert [part.name for part in Misplaced().parts(places)] == names


def test_of_sentences_the_tokens_that_count_are_reversed():
    ids, mask = torch.arange(1, 9).reshape(2, 4), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    model = nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(8, 2)).eval()
    subject = Subject(model, ids, mask=mask, embedding=model[0], seed=0)
    with subject.lent():
        block = next(subject.blocks())
        (part,) = Misplaced().parts(block.layout.places)
        maps = torch.tensor([[1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
        (found,) = part.maps(block, maps[list(block.indices)], seed=0)
    expected = torch.tensor([[3.0, 2.0, 1.0, 0.0], [4.0, 3.0, 2.0, 1.0]])
    assert torch.equal(found, expected[list(block.indices)])


def test_features_of_a_table_stand_in_no_order():
    subject = Subject(nn.Linear(8, 3).eval(), drawn(4, 8), seed=0)
    lab = lab_of(subject)
    with subject.lent():
        block = next(subject.blocks())
        with pytest.raises(XaiError, match="'misplaced': found features of a table") as raised:
            Misplaced().maps(block, lab.attributions(block), seed=0)
    assert "use the baseline 'random', or 'other_input'" in str(raised.value)


class Weighted(nn.Module):
    """A linear model of images whose pixels matter more the further they lie down and to the right."""

    def forward(self, x):
        steep = torch.arange(8.0)[:, None] * 2 + torch.arange(8.0) - 10.5
        score = (x[:, 0] * steep).flatten(1).sum(1) / 20
        return torch.stack([score, -score], dim=1)


def contribution(model, inputs, targets):
    inputs = inputs.detach().requires_grad_()
    gradient = torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]
    return gradient * (inputs.detach() - inputs.detach().mean((2, 3), keepdim=True))


TURNS = {
    "rows reversed": lambda maps: maps.flip(2),
    "columns reversed": lambda maps: maps.flip(3),
    "transposed": lambda maps: maps.transpose(2, 3),
    "by half a turn": lambda maps: maps.flip(2, 3),
    "by a quarter turn": lambda maps: maps.rot90(1, (2, 3)),
}


@pytest.fixture(scope="module")
def bench():
    return Bench(Weighted().eval(), drawn(128, 1, 8, 8))


def test_the_right_map_passes(bench):
    verdict = bench.explainer(contribution).beats("misplaced", on="pixel_flipping")
    assert verdict.passed, verdict
    assert "the closest of rows reversed, columns reversed, transposed" in verdict.reason


@pytest.mark.parametrize("turn", TURNS)
def test_a_map_that_is_turned_over_does_not(bench, turn):
    def explain(model, inputs, targets):
        return TURNS[turn](contribution(model, inputs, targets))

    verdict = bench.explainer(explain, name=turn.replace(" ", "_")).beats("misplaced", on="pixel_flipping")
    assert verdict.failed, verdict
    if turn in ("rows reversed", "columns reversed", "transposed"):
        assert verdict.estimate < -0.05
