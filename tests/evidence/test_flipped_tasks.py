"""Pixel flipping by the task of the model: what was flipped, in which range, and what is said of it."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xaisanity import Bench, PixelFlipping, XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import Flipped, Saturated

N, FEATURES = 128, 24


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def groups(outputs):
    """Return the weights of sums ``(N, outputs)``, each over its own features."""
    return torch.eye(outputs).repeat_interleave(FEATURES // outputs, dim=1)


def trained(outputs, wanted, loss):
    """Return a network that has learned what ``wanted`` makes of normal inputs."""
    torch.manual_seed(0)
    x = normal(1024, FEATURES)
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.Tanh(), nn.Linear(64, outputs))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss(model(x), wanted(x)).backward()
        optimizer.step()
    return model.eval()


def contributions(model, inputs, weights):
    """Return what a weighted sum of the outputs owes to each feature, beside the mean that replaces it."""
    x = inputs.clone().requires_grad_()
    (model(x) * weights).sum().backward()
    return ((x - x.mean(1, keepdim=True)) * x.grad).detach()


def sound(model, inputs, targets):
    """Contributions to the explained output."""
    weights = torch.zeros(len(inputs), model(inputs).shape[1])
    weights[torch.arange(len(inputs)), targets] = 1.0
    return contributions(model, inputs, weights)


def beside(model, inputs, targets):
    """Contributions to all outputs but the explained one, turned over: what softmax rewards."""
    weights = -torch.ones(len(inputs), model(inputs).shape[1])
    weights[torch.arange(len(inputs)), targets] = 0.0
    return contributions(model, inputs, weights)


@pytest.fixture(scope="module")
def regression():
    """Return a network of eight values, the last of which is about the first in another unit."""
    weights = groups(8)
    weights[7] = weights[0]
    model = trained(8, lambda x: 3 * torch.tanh(x @ weights.T), nn.functional.mse_loss)
    with torch.no_grad():
        model[2].weight[7] *= 10.0
        model[2].bias[7] = 40.0
    return model


@pytest.fixture(scope="module")
def tagger():
    """Return a network of the logits of six labels, which are there or not each by itself; and inputs with labels."""
    model = trained(6, tags, nn.functional.binary_cross_entropy_with_logits)
    x = normal(2 * N, FEATURES, seed=5)
    x = x[tags(x).any(1)][:N]
    return model, x, tags(x)


def tags(x):
    return (x @ groups(6).T > -0.5).float()


def beaten(bench, explainer, **settings):
    return bench.explainer(explainer).beats("random", on="pixel_flipping", **settings)


@pytest.mark.training
class TestEightValues:
    x = normal(N, FEATURES, seed=5)

    @pytest.mark.parametrize("target", [0, 3, 7])
    def test_are_flipped_one_by_one(self, regression, target):
        bench = Bench(regression, self.x, torch.full((N,), target), task="regression")
        assert beaten(bench, sound).passed
        assert not beaten(bench, beside).passed
        assert beaten(bench, sound).evidence["outputs"] == "values (xai_task=regression)"

    def test_are_judged_wrongly_as_classes(self, regression):
        """What the task is for: of these values no softmax makes sense, and the reason says what to try."""
        bench = Bench(regression, self.x, torch.zeros(N).long())
        assert beaten(bench, beside).passed
        verdict = beaten(bench, sound)
        assert not verdict.passed
        assert "taken so by xai_task=auto" in verdict.evidence["outputs"]
        assert "'regression'" in verdict.reason

    def test_need_no_target(self, regression):
        """The highest is explained then."""
        assert beaten(Bench(regression, self.x, task="regression"), sound).passed

    def test_have_no_range(self, regression):
        """A gain is no share of the range [-1, 1] of probabilities: it counts, however large it is."""
        targets = torch.zeros(N).long()
        found = []
        for scale in (1e-3, 1.0, 1e3):
            model = nn.Sequential(regression, Times(scale))
            explainer = Bench(model.eval(), self.x, targets, task="regression").explainer(sound)
            found.append(explainer.beats(explainer.bench.explainer(beside), on="pixel_flipping"))
        assert [verdict.quantity for verdict in found] == ["share of inputs with a gain"] * 3
        assert all(verdict.passed for verdict in found)
        assert len({verdict.estimate for verdict in found}) == 1
        bounded = explainer.bounded("pixel_flipping", at_least=0.5)
        assert (bounded.passed, bounded.quantity) == (True, "share of inputs within the bound")
        assert explainer.beats("uninformative", on="pixel_flipping", max_examples=5).quantity == found[0].quantity


class Times(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, values):
        return self.scale * values


@pytest.mark.training
class TestTags:
    @pytest.mark.parametrize("sigmoid", [False, True])
    def test_are_flipped_one_by_one(self, tagger, sigmoid):
        model, x, present = tagger
        called = nn.Sequential(model, nn.Sigmoid()).eval() if sigmoid else model
        for bench in (Bench(called, x, present), Bench(called, x, task="multilabel")):
            assert beaten(bench, sound).passed
            assert not beaten(bench, beside).passed
            assert beaten(bench, sound).evidence["task"] == "multilabel"

    def test_are_judged_wrongly_as_classes(self, tagger):
        model, x, _ = tagger
        assert beaten(Bench(model, x, task="classification"), beside).passed

    def test_start_from_the_sigmoid_of_the_label(self, tagger):
        model, x, present = tagger
        verdict = beaten(Bench(model, x, present), sound, early=False)
        order = verdict.evidence["indices"]
        outputs = model(x).detach().double()
        highest = outputs.where(present.bool(), -torch.inf).max(1).values[order]
        curves = np.array(verdict.evidence["curves"]["explainer"]["most relevant first"])
        assert curves[:, 0] == pytest.approx((1 / (1 + (-highest).exp())).numpy(), abs=1e-5)


class Sum(nn.Module):
    """Logits of two classes that differ by the sum of the features, and by so much more."""

    def __init__(self, more, function=None):
        super().__init__()
        self.more, self.function = more, function

    def forward(self, x):
        difference = x.sum(1) + self.more
        logits = torch.stack([difference, torch.zeros_like(difference)], 1)
        return logits if self.function is None else self.function(logits)


class TestSaturation:
    x = normal(64, 6)

    def remark(self, model, **settings):
        explain = Bench(model.eval(), self.x, torch.zeros(64).long()).explainer(lambda model, x, targets: x.clone())
        verdict = explain.beats("random", on=PixelFlipping(**settings))
        return verdict, verdict.evidence.find(Saturated)

    def test_is_said_with_what_to_try(self):
        verdict, remark = self.remark(Sum(60.0))
        assert (remark.still, remark.inputs) == (verdict.n, verdict.n)
        assert verdict.passed or "moves by less than 0.01 whatever is removed: try output='logit'" in verdict.reason
        assert ("saturated", str(remark)) in list(verdict.evidence.rows())
        assert verdict.evidence["saturated"] == {"inputs": verdict.n, "of": verdict.n, "moves_less_than": 0.01}

    def test_is_not_said_of_what_moves_or_is_no_probability(self):
        assert self.remark(Sum(0.0))[1] is None
        verdict, remark = self.remark(Sum(60.0), output="logit")
        assert remark is None
        assert verdict.passed

    def test_counts_by_the_range_of_the_curves(self):
        metric, rng = PixelFlipping(), np.random.default_rng(0)
        described = metric_parts("probability")
        for still in range(5):
            curves = {name: rng.uniform(0.5, 0.5 + 0.009, (4, 5)) for name in ("a", "b")}
            curves["a"][still:, 0], curves["b"][still:, 4] = 0.2, 0.9
            remarks = metric.remarks(scored(curves), described)
            assert [remark.still for remark in remarks] == ([still] if still >= 2 else [])
        assert metric.remarks(scored(curves), metric_parts("raw output")) == ()
        assert metric.remarks(scored({}), described) == ()


def metric_parts(output):
    return (Flipped((0.0, 1.0), output, 5, "classification", "classes"),)


def scored(curves):
    from pytest_xaisanity.evidence.base import Scored

    return Scored(np.zeros((4, 1)), curves)


class TestTaken:
    x = normal(64, 6)

    @pytest.mark.parametrize(
        ("function", "task", "words"),
        [
            (None, "auto", "logits of the classes, made probabilities by softmax (taken so by xai_task=auto"),
            (lambda z: z.softmax(1), "auto", "probabilities of the classes (taken so by xai_task=auto"),
            (torch.sigmoid, "auto", "probabilities of each label by itself (taken so by xai_task=auto: multilabel)"),
            (None, "multilabel", "logits of each label by itself, made probabilities by sigmoid (xai_task=multilabel)"),
            (lambda z: z[:, 0], "auto", "the value of a single output (taken so by xai_task=auto: regression)"),
        ],
    )
    def test_is_said_in_the_evidence(self, function, task, words):
        bench = Bench(Sum(0.0, function).eval(), self.x, task=task)
        evidence = beaten(bench, lambda model, x, targets: x.clone()).evidence
        assert evidence["outputs"].startswith(words)
        assert dict(evidence.rows())["outputs"] == evidence["outputs"]

    def test_of_several_classes_softmax_is_taken_at_each_place(self):
        model = nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (3, 2, 2))).eval()
        positions = torch.tensor([[2, 0, 1]] * 64)
        bench = Bench(model, self.x, positions)
        evidence = bench.explainer(lambda model, x, targets: x.clone()).bounded("pixel_flipping", at_most=0.9).evidence
        curves = np.array(evidence["curves"]["explainer"]["most relevant first"])
        outputs = model(self.x)[evidence["indices"]].detach().double()[:, :, 0, 1]
        slow = outputs.exp()[:, 2] / outputs.exp().sum(1)
        assert curves[:, 0] == pytest.approx(slow.numpy(), abs=1e-6)

    def test_values_that_only_looked_like_probabilities_are_named(self):
        """The inputs as they are have values in [0, 1]; once features are removed, some have not."""
        x = torch.rand(64, 6, generator=torch.Generator().manual_seed(0))
        model = Decaying()
        assert 0 <= float(model(x).min()) <= float(model(x).max()) <= 1

        def explain(model, x, targets):
            return x.clone()

        settings = {"imputer": "constant"}
        with pytest.raises(XaiError, match="xai_task: found probabilities of each label") as caught:
            beaten(Bench(model, x), explain, **settings)
        for word in ("regression", "classification"):
            assert f"'{word}'" in caught.value.fix
            beaten(Bench(model, x, task=word), explain, **settings)
        beaten(Bench(model, x), explain, output="logit", **settings)


class Decaying(nn.Module):
    """Two values that large inputs keep in [0, 1], and features that are all removed drive beyond."""

    def forward(self, x):
        mean = x.mean(1)
        return torch.stack([1.5 * (-3 * mean).exp(), 1.2 * (-2 * mean).exp()], 1)
