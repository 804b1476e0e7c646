"""Cells: which randomized models each input is explained under, when not all are."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from laboratory import evidence_of, lab_of, tensors_of
from rates import rate_at_most
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.cells import Cells
from pytest_xaisanity.evidence.comparison import Comparison
from pytest_xaisanity.evidence.interventions.later_layers import LaterLayers
from pytest_xaisanity.evidence.interventions.other_target import OtherTarget
from pytest_xaisanity.evidence.interventions.weight_randomization import (
    BottomUpRandomization,
    CascadingRandomization,
    IndependentRandomization,
)
from pytest_xaisanity.subject.subject import Subject

pytestmark = pytest.mark.long


def network():
    torch.manual_seed(0)
    layers = [part for sizes in pairwise([12, 10, 8, 7, 4]) for part in (nn.Linear(*sizes), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).eval()


X = torch.randn(33, 12, generator=torch.Generator().manual_seed(1))


class Gradient:
    """The gradient, which counts what it explains."""

    def __init__(self):
        self.rows = 0
        self.calls = 0

    def __call__(self, model, inputs, targets):
        self.rows += len(inputs)
        self.calls += 1
        inputs = inputs.requires_grad_()
        return torch.autograd.grad(model(inputs)[torch.arange(len(inputs)), targets].sum(), inputs)[0]


def blocks(n=33):
    return list(Subject(network(), X[:n], device="cpu").blocks(early=True))


class TestWhichAreDrawn:
    def test_each_pair_has_one_of_all_and_one_of_the_upper_third(self):
        cells = Cells(3, 7, sampled=True)
        for block in blocks():
            drawn = cells.of(block)
            assert drawn.shape == (len(block), 2, 2)
            assert (drawn >= 0).all()
            assert (drawn[:, :, 0] < 3).all()
            assert (drawn[:, 0, 1] < 7).all()
            assert (drawn[:, 1, 1] < cells.upper).all()
            pairs = drawn[: len(block) // 2 * 2].reshape(-1, 2, 2, 2)
            assert (pairs[:, 0] == pairs[:, 1]).all()

    @pytest.mark.parametrize(("positions", "upper"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (10, 3), (21, 7)])
    def test_the_upper_third_is_the_first_third_of_the_positions(self, positions, upper):
        assert Cells(2, positions, sampled=True).upper == upper

    def test_a_cell_that_is_in_the_upper_third_serves_for_both(self):
        drawn = np.array([Cells(4, 6, sampled=True)._of_pair(index) for index in range(300)])
        both = drawn[:, 0, 1] < 2
        assert 60 < both.sum() < 140
        assert (drawn[both, 0] == drawn[both, 1]).all()

    def test_all_cells_are_drawn_equally_often(self):
        """Within four standard deviations, for each of the two."""
        count = 6000
        drawn = [Cells(2, 6, sampled=True)._of_pair(index) for index in range(count)]
        for place, kinds in ((0, 12), (1, 4)):
            seen = Counter(cells[place] for cells in drawn)
            assert len(seen) == kinds
            spread = (count / kinds * (1 - 1 / kinds)) ** 0.5
            assert all(abs(times - count / kinds) < 4 * spread for times in seen.values())

    def test_fresh_seeds_are_another_for_each_pair(self):
        cells = Cells(1, 5, sampled=True, fresh=True)
        assert len({cells._of_pair(index)[0][0] for index in range(100)}) == 100

    def test_the_draw_depends_on_the_seed_and_the_pair_alone(self):
        first, second = (Cells(8, 6, sampled=True, seed=seed)._of_pair(5) for seed in (0, 1))
        assert first == Cells(8, 6, sampled=True)._of_pair(5)
        assert first != second


RANDOMIZATIONS = [
    CascadingRandomization(seeds=2),
    IndependentRandomization(seeds=2),
    BottomUpRandomization(seeds=2),
    LaterLayers(seeds=3),
    OtherTarget(seeds=3),
]


@pytest.mark.parametrize("intervention", RANDOMIZATIONS, ids=lambda one: one.name)
def test_a_sample_holds_what_all_cells_hold_there(intervention):
    """The maps under a cell are the same, whichever others are explained."""
    found = {}
    for cells in ("sample", "all"):
        subject = Subject(network(), X, device="cpu")
        lab = lab_of(subject, Gradient())
        measuring, parts = None, []
        for block in subject.blocks(early=True):
            measuring = measuring or Comparison(intervention, ("spearman",), cells=cells).start(lab, block)
            parts.append(measuring.measure(block))
        found[cells] = parts[0].concat(parts)
    sample, every = found["sample"], tensors_of(found["all"])["after spearman"].numpy()
    assert sample.after["spearman"].shape[1] == (2 if every.shape[2] > 1 else 1)
    for row, cells in enumerate(sample.cells):
        for draw, (seed, position) in enumerate(cells):
            assert sample.after["spearman"][row, draw] == pytest.approx(every[row, seed, position], abs=1e-6)


@pytest.mark.parametrize("intervention", ["cascading_randomization", "independent_randomization"])
@pytest.mark.parametrize("seeds", [2, 50, "fresh"])
def test_a_verdict_costs_four_explanations_an_input_whatever_the_seeds(intervention, seeds):
    gradient = Gradient()
    bench = Bench(network(), torch.randn(64, 12, generator=torch.Generator().manual_seed(2)), device="cpu")
    verdict = bench.explainer(gradient).changes_under(intervention, seeds=seeds, retention=0.001)
    assert verdict.n == 64
    assert gradient.rows <= 4 * verdict.n + 8  # what is tried out on a few inputs before


def test_the_weights_of_a_seed_are_drawn_once_a_block(monkeypatch):
    from pytest_xaisanity.model.reinit.randomizer import Randomizer

    drawn = []
    randomize = Randomizer.randomize
    monkeypatch.setattr(
        Randomizer,
        "randomize",
        lambda self, layer, seed: (drawn.append((seed, layer.name)), randomize(self, layer, seed)),
    )
    (block,) = blocks(16)
    subject = Subject(network(), X[:16], device="cpu")
    lab = lab_of(subject, Gradient())
    block = next(subject.blocks(early=True))
    Comparison(CascadingRandomization(seeds=3), ("spearman",), cells="sample").start(lab, block).measure(block)
    assert len(drawn) == len(set(drawn)) <= 3 * 4
    assert all(a[0] <= b[0] for a, b in pairwise(drawn))


@pytest.mark.filterwarnings("ignore:Gradient takes batches of one size alone")
@pytest.mark.parametrize("target", ["fixed", "dynamic"])
def test_a_model_that_takes_one_size_of_batch_is_measured(target):
    """Cells hold fewer inputs than a block."""

    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()
            self.eval()

        def forward(self, x):
            if len(x) != 16:
                raise RuntimeError(f"shape mismatch: 16 expected, not {len(x)}")
            return self.net(x)

    bench = Bench(Fixed(), X[:16], device="cpu", batch_size=16)
    assert bench.explainer(Gradient()).changes_under("cascading_randomization", seeds=2, target=target).n == 16


def test_an_error_that_has_nothing_to_do_with_the_number_of_inputs_is_raised():
    calls = []

    def explain(model, inputs, targets):
        calls.append(len(inputs))
        if len(calls) == 6:
            raise RuntimeError("once")
        return Gradient()(model, inputs, targets)

    with pytest.raises(XaiError, match=r"RuntimeError raised by the explainer .*: once"):
        Bench(network(), X, device="cpu").explainer(explain).changes_under("cascading_randomization")


def test_fresh_seeds_cannot_all_be_measured():
    with pytest.raises(XaiError, match="a seed for each pair of inputs, where every cell is measured"):
        Bench(network(), X, device="cpu").explainer(Gradient()).changes_under(
            "cascading_randomization", seeds="fresh", cells="all"
        )


def test_the_evidence_says_what_was_drawn():
    subject = Subject(network(), X, device="cpu")
    lab = lab_of(subject, Gradient())
    block = next(subject.blocks(early=True))
    for cells, seeds, chosen in (("sample", 2, "sample"), ("all", 2, "all"), ("sample", "fresh", "fresh")):
        measuring = Comparison(CascadingRandomization(seeds=seeds), cells=cells).start(lab, block)
        assert evidence_of(measuring)["cells"] == {
            "seeds": 1 if seeds == "fresh" else 2,
            "positions": 4,
            "chosen": chosen,
            "upper": 1,
        }


def test_the_mean_over_a_sample_is_that_over_all_cells():
    """Over many seeds of the draws, within four standard errors."""
    rng = np.random.default_rng(0)
    seeds, positions, n = 3, 6, 64
    scores = rng.uniform(-1, 1, (n, seeds, positions))
    means = []
    for seed in range(200):
        cells = Cells(seeds, positions, sampled=True, seed=seed)
        drawn = [cells._of_pair(index) for index in range(0, n, 2)]
        whole = [scores[2 * k + side][cell] for k, (cell, _) in enumerate(drawn) for side in (0, 1)]
        upper = [scores[2 * k + side][cell] for k, (_, cell) in enumerate(drawn) for side in (0, 1)]
        means.append((np.mean(whole), np.mean(upper)))
    for found, expected in zip(np.array(means).T, (scores.mean(), scores[:, :, :2].mean()), strict=True):
        assert abs(found.mean() - expected) < 4 * found.std() / 200**0.5


def test_pairs_under_drawn_cells_are_decided_at_the_level_that_is_asked_for():
    """Scores of one cell are alike: without a sample of independent pairs a wrong pass would be frequent."""
    from pytest_xaisanity.claims.retention import Between, Retained
    from pytest_xaisanity.statistics.question import Level

    def passed(run):
        rng = np.random.default_rng(run)
        by_cell = np.where(np.arange(8) % 2, 0.9, 0.1)  # half of all cells keep nearly all, on average half is left
        after = np.repeat(by_cell[rng.integers(8, size=32)], 2)
        between = [Between(values, values) for values in (after, np.ones(64), np.zeros(64))]
        return Retained(*between).test(0.5, Level(0.95, early=False), final=True)[0] == "passed"

    assert rate_at_most(passed, 0.05) <= 0.05
