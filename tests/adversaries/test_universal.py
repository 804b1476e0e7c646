"""Universal maps: what they are, that they are tried first, and that a verdict names the one that won."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from pytest_xaisanity.adversaries.search import Adversary
from pytest_xaisanity.adversaries.universal import candidate_maps, center_blob, universal_maps
from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.evidence.base import MapMetric, Scores
from pytest_xaisanity.maps.noise import magnitude
from pytest_xaisanity.subject.block import Block
from pytest_xaisanity.subject.layout import Layout

torch.set_num_threads(1)

NAMES = [
    "a blob in the center",
    "the magnitude of the input",
    "the mean image",
    "the mean image of the class",
    "the explainer's own mean map",
]


def block_of(inputs, targets, start=0):
    return Block(0, tuple(range(start, start + len(inputs))), (inputs,), targets, Layout.of((inputs,)))


@pytest.fixture
def searched():
    generator = torch.Generator().manual_seed(0)
    blocks = [
        block_of(torch.rand(4, 3, 8, 8, generator=generator), torch.tensor([0, 1] * 2), start) for start in (0, 4)
    ]
    return blocks, [torch.randn(4, 8, 8, generator=generator) for _ in blocks]


def test_means_leave_the_input_itself_out(searched):
    """Each against a loop in float64, on inputs that were averaged and on others."""
    blocks, own = searched
    found = universal_maps(blocks, own)
    assert list(found) == NAMES
    images = torch.cat(
        [magnitude(block.layout, block.inputs, maps) for block, maps in zip(blocks, own, strict=True)]
    ).double()
    targets = [target for block in blocks for target in block.target_keys]
    new = block_of(torch.rand(3, 3, 8, 8), torch.tensor([1, 0, 2]), 100)
    rows = {"the mean image": images, "the mean image of the class": images, NAMES[-1]: torch.cat(own).double()}
    for name, each in rows.items():
        for block in (blocks[1], new):
            maps = candidate_maps(found[name], block, block.empty_maps(), seed=0)
            for place, index in enumerate(block.indices):
                others = [one for number, one in enumerate(each) if number != index]
                mates = [
                    one
                    for number, one in enumerate(each)
                    if number != index and targets[number] == block.target_keys[place]
                ]
                chosen = mates if "class" in name and mates else others
                assert torch.allclose(maps[place].double(), sum(chosen) / len(chosen), atol=1e-6)


@pytest.mark.parametrize("places", [(28, 28), (8, 12), (5,), (1, 1), (40,)])
def test_the_blob_falls_from_the_center_to_nothing(places):
    blob = center_blob(places).render(places, seed=0, indices=[0])[0]
    row = blob[places[0] // 2] if len(places) > 1 else blob
    assert row.argmax() == pytest.approx(len(row) // 2, abs=len(row) / 4)
    assert row.max() >= 1
    half = row[len(row) // 2 :]
    assert (half.diff() <= 0).all()
    assert len(row) < 4 or row[0] < row.max()


@dataclass(frozen=True)
class InTheMiddle(MapMetric):
    """Scores how much of a map lies in the four places in the middle: a blob wins that."""

    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    name: str = "in_the_middle"

    def prepare(self, lab, block):
        return None

    def score(self, prepared, maps, *, draw=""):
        sizes = maps.abs()
        return Scores(sizes[:, 3:5, 3:5].sum((1, 2)) / sizes.sum((1, 2)).clamp_min(1e-9))


def noise(model, inputs, targets):
    """Return what differs from input to input."""
    return inputs[:, :1]


def middle(model, inputs, targets):
    """Return nearly nothing outside of the middle."""
    maps = 1e-3 * inputs[:, :1]
    maps[:, :, 3:5, 3:5] = inputs[:, :1, 3:5, 3:5]
    return maps


@pytest.fixture
def bench():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).eval()
    return Bench(model, torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_a_universal_map_that_wins_is_named(bench):
    verdict = bench.explainer(noise).beats("uninformative", on=InTheMiddle(), max_examples=1)
    assert verdict.failed
    adversary = verdict.evidence.get_part(Adversary)
    assert list(adversary.universal) == NAMES
    assert adversary.found.name == "a blob in the center"
    assert "the simplest that does as well: a blob in the center" in verdict.reason
    assert adversary.found.gain == max(adversary.universal.values())
    assert adversary.plain()["adversary"]["name"] == adversary.found.name


def test_universal_maps_are_tried_whatever_the_budget_and_the_best_is_named(bench):
    verdict = bench.explainer(middle).beats("uninformative", on=InTheMiddle(), max_examples=1)
    adversary = verdict.evidence.get_part(Adversary)
    assert not verdict.passed  # its own mean map does as well
    assert adversary.found.tried == len(NAMES) + 1
    assert adversary.found.name == NAMES[-1]
    assert f": {NAMES[-1]})" in verdict.reason
