"""Metrics of Quantus and torchmetrics as metrics: the real ones where they are installed, and stand-ins anywhere."""

from __future__ import annotations

from enum import Enum

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.names import as_metric


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(48, 1, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def explainer(inputs):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)).eval()
    return Bench(net, inputs).explainer(InputXGradient)


class Direction(Enum):
    HIGHER = "higher"
    LOWER = "lower"


class QuantusBase:
    """What an object of Quantus is to us: called with arrays, it returns a list with a score for each input."""

    score_direction = Direction.LOWER

    def __init__(self, returns=lambda scores: scores):
        self.returns, self.evaluation_scores = returns, []

    def __call__(self, *, model, x_batch, y_batch, a_batch, s_batch, explain_func, device):
        assert x_batch.shape == a_batch.shape == (1, 1, 6, 6)
        assert y_batch.shape == (1,)
        shares = np.abs(a_batch).reshape(1, -1) / np.abs(a_batch).sum() + 1e-12
        self.evaluation_scores = list(-(shares * np.log(shares)).sum(1) + 0 * np.random.rand())
        return self.returns(self.evaluation_scores)


QuantusBase.__module__, QuantusBase.__name__ = "quantus.metrics.base", "Metric"


class Entropy(QuantusBase):
    pass


class Drawn(QuantusBase):
    score_direction = Direction.HIGHER

    def __call__(self, **given):
        super().__call__(**given)
        return [float(np.random.rand())]


class Again(QuantusBase):
    def __call__(self, **given):
        return given["explain_func"](model=given["model"], inputs=given["x_batch"])


class Inside(QuantusBase):
    score_direction = Direction.HIGHER

    def __call__(self, *, a_batch, s_batch, **given):
        assert s_batch.shape == (1, 1, 6, 6)
        return [bool(s_batch.reshape(-1)[a_batch.reshape(-1).argmax()])]


def test_a_score_of_quantus_is_that_of_our_own_metric_of_the_same(explainer):
    metric = Entropy()
    theirs = explainer.beats("random", on=metric)
    ours = explainer.beats("random", on="complexity")
    assert (theirs.outcome, theirs.n) == (ours.outcome, ours.n)
    assert theirs.estimate == pytest.approx(ours.estimate)
    assert metric.evaluation_scores == []  # the user's object keeps what it had
    assert explainer.bounded(metric, at_most=3.5, early=False).n == 48


def test_what_a_metric_draws_does_not_depend_on_the_batch(inputs):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    found = [
        Bench(net, inputs, batch_size=size).explainer(InputXGradient).bounded(Drawn(), at_least=0.5, early=False)
        for size in (5, None)
    ]
    scores = [one.evidence["scores"]["explainer"] for one in found]
    assert scores[0] == scores[1]
    assert len({*scores[0]}) > 40


def test_masks_follow_their_inputs(explainer, inputs):
    """The place of the highest attribution, as a mask: each map points into its own, and hardly into others."""
    bench = explainer.bench
    block = next(bench.subject.blocks())
    model, targets = bench.subject.model, bench.subject.model(inputs).argmax(1)
    given = inputs.clone().requires_grad_()
    model(given)[torch.arange(48), targets].sum().backward()
    maps = (given.grad * inputs).detach()[:, 0]
    masks = maps >= maps.flatten(1).amax(1)[:, None, None]
    assert len(block) < 48
    assert explainer.bounded(Inside(), masks=masks, at_least=1)
    assert explainer.bounded(Inside(), masks=masks[:, None].numpy(), at_least=1)
    assert not explainer.bounded(Inside(), masks=masks.roll(1, 0), at_least=1)


@pytest.mark.parametrize(
    ("metric", "settings", "said"),
    [
        (Again(), {}, "a metric that explains again"),
        (Entropy(lambda scores: [scores * 3]), {}, "for one input; expected one number"),
        (Entropy(lambda scores: [0.1, 0.2]), {}, "expected one number"),
        (Entropy(), {"msks": 3}, "use 'masks', the nearest"),
        (Inside(), {"masks": torch.zeros(5, 6, 6)}, r"a mask for each input, \(48, 6, 6\)"),
        (Inside(), {"masks": "mask"}, "a mask for each input"),
    ],
)
def test_what_cannot_be_scored_is_one_error(explainer, metric, settings, said):
    with pytest.raises(XaiError, match=said):
        explainer.bounded(metric, at_most=1, **settings)


def test_an_object_of_neither_library_is_no_metric():
    with pytest.raises(XaiError, match="an object of type object"):
        as_metric(object(), where="bounded")


# ------------------------------------------------------------------------------------------------- the real libraries


def test_metrics_of_quantus(explainer, inputs):
    quantus = pytest.importorskip("quantus")
    quiet = {"disable_warnings": True}
    verdict = explainer.beats("random", on=quantus.Complexity(**quiet))
    assert verdict.estimate == pytest.approx(explainer.beats("random", on="complexity").estimate)
    assert explainer.bounded(quantus.Sparseness(**quiet), at_least=0.2)
    faithful = quantus.FaithfulnessCorrelation(nr_runs=10, subset_size=8, **quiet)
    assert explainer.beats("random", on=faithful, early=False).n == 48
    masks = torch.ones(48, 6, 6, dtype=torch.bool)
    assert explainer.bounded(quantus.PointingGame(**quiet), masks=masks, at_least=1)
    for again in (quantus.MaxSensitivity(**quiet), quantus.MPRT(**quiet)):
        with pytest.raises(XaiError, match=r"explains again|quantus"):
            explainer.bounded(again, at_most=1)
    with pytest.raises(XaiError, match="one number"):
        explainer.bounded(quantus.PixelFlipping(features_in_step=6, **quiet), at_most=1)


def test_metrics_of_torchmetrics(explainer, inputs):
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = torchmetrics.classification.BinaryAUROC()
    given = inputs.clone().requires_grad_()
    model = explainer.bench.subject.model
    model(given)[torch.arange(48), model(inputs).argmax(1)].sum().backward()
    maps = (given.grad * inputs).detach()[:, 0]
    masks = maps > maps.flatten(1).median(1).values[:, None, None]
    verdict = explainer.bounded(metric, masks=masks, at_least=0.9)
    assert verdict
    assert verdict.evidence["scores"]["explainer"] == pytest.approx([1.0] * verdict.n)
    assert explainer.beats("random", on=metric, masks=masks)
    assert metric.update_count == 0
    ranged = as_metric(metric, {"masks": masks}, where="bounded")
    assert (ranged.low, ranged.high, ranged.higher_is_better) == (0.0, 1.0, True)
    with pytest.raises(XaiError, match="no masks"):
        explainer.bounded(metric, at_least=0.9)
    error = torchmetrics.MeanSquaredError()
    assert explainer.bounded(error, masks=maps, at_most=0.1)
    with pytest.raises(XaiError, match="which direction is better"):
        as_metric(torchmetrics.MeanMetric(), {"masks": masks}, where="bounded")
