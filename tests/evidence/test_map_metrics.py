"""Completeness, complexity and sparseness: definitions, closed forms, verdicts."""

from __future__ import annotations

from math import log, prod

import captum.attr
import numpy as np
import pytest
import torch
from laboratory import lab_of
from scipy.stats import entropy
from sentences import Convolutional, sentences
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.metrics.completeness import Completeness
from pytest_xaisanity.maps.concentration import fraction_entropy, gini
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*shape, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 8), nn.Tanh(), nn.Linear(8, classes)).double().eval()


def gaps(metric, model, inputs, maps, targets=None):
    subject = Subject(model, inputs, targets)
    found = {}
    with subject.lent():
        for block in subject.blocks():
            scores = metric.score(metric.prepare(lab_of(subject), block), maps[list(block.indices)]).values
            found.update(zip(block.indices, scores.tolist(), strict=True))
    return np.array([found[index] for index in sorted(found)])


# ------------------------------------------------------------------------------------------------------ concentration


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_complexity_is_the_entropy_of_the_shares(dtype):
    maps = normal(7, 4, 5).to(dtype)
    expected = [entropy(np.abs(one).ravel() / np.abs(one).sum()) for one in maps.double().numpy()]
    np.testing.assert_allclose(fraction_entropy(maps), expected, rtol=1e-5)


def test_sparseness_is_half_the_mean_difference_of_all_pairs_over_the_mean():
    maps = normal(7, 4, 5)
    expected = []
    for one in maps.abs().flatten(1).numpy():
        pairs = [abs(a - b) for a in one for b in one]
        expected.append(np.mean(pairs) / (2 * one.mean()))
    np.testing.assert_allclose(gini(maps), expected, rtol=1e-10)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_both_have_closed_forms_whatever_the_size_of_a_map(size):
    flat, one = torch.full((1, 8), -size), torch.zeros(1, 8)
    one[0, 3] = size
    some = torch.zeros(1, 8)
    some[0, :2] = size
    np.testing.assert_allclose(fraction_entropy(torch.cat([flat, one, some])), [log(8), 0, log(2)], atol=1e-6)
    np.testing.assert_allclose(gini(torch.cat([flat, one, some])), [0, 7 / 8, 6 / 8], atol=1e-6)


def test_a_map_of_zeros_names_no_place():
    assert float(fraction_entropy(torch.zeros(1, 4, 4))) == pytest.approx(log(16))
    assert float(gini(torch.zeros(1, 4, 4))) == 0


def test_verdicts_on_concentration():
    def peaked(model, inputs, targets):
        return inputs**9

    bench = Bench(network(40), normal(64, 40))
    explainer, flat = bench.explainer(peaked), bench.explainer(lambda m, x, t: x.sign() + 0.1 * x, name="flat")
    assert explainer.bounded("sparseness", at_least=0.8)
    assert flat.bounded("sparseness", at_least=0.8).failed
    assert explainer.bounded("complexity", at_most=2.0)
    assert flat.bounded("complexity", at_most=2.0).failed
    assert explainer.beats("random", on="sparseness")
    assert explainer.beats(lambda m, x, t: x + 0, on="complexity")
    verdict = explainer.bounded("complexity", at_most=2.0)
    assert "mean complexity is at most 2" in verdict.reason
    assert verdict.evidence["places"] == 40


@pytest.mark.parametrize("side", ["at_most", "at_least"])
def test_a_bound_on_complexity_lies_in_the_range_that_the_inputs_have(side):
    bench = Bench(network(6), normal(16, 6))
    explainer = bench.explainer(captum.attr.Saliency)
    with pytest.raises(XaiError, match=f"bounded {side}: found 100; expected a number between 0 and 1.79176, the ra"):
        explainer.bounded("complexity", **{side: 100.0})
    # The end of the range may be given as the error shows it.
    assert explainer.bounded("complexity", **{side: 1.79176}).passed == (side == "at_most")


def test_concentration_of_tokens_is_over_those_that_count():
    """Maps of equal magnitudes, whatever the padding: the entropy is the logarithm of the sentence's length."""
    bench = Bench(Convolutional().eval(), sentences(24), embedding="embedding")

    def signs(model, ids, targets):
        return torch.where(ids % 2 > 0, 1.0, -1.0)

    explainer = bench.explainer(signs)
    verdict = explainer.bounded("complexity", at_most=2.5, early=False)
    lengths = sentences(24)["attention_mask"].sum(1).numpy()[verdict.evidence["indices"]]
    np.testing.assert_allclose(verdict.evidence["scores"]["explainer"], np.log(lengths), atol=1e-5)
    sparse = explainer.bounded("sparseness", at_least=0.5, early=False)
    np.testing.assert_allclose(sparse.evidence["scores"]["explainer"], 0, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- completeness


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("baseline", [0.0, 0.7])
@pytest.mark.parametrize("shape", [(2, 4, 5), (5,)], ids=str)
def test_completeness_is_the_definition(shape, baseline, relative):
    model, inputs, targets = network(*shape), normal(6, *shape), torch.tensor([0, 1, 2, 2, 1, 0])
    maps = normal(6, *(shape[1:] or shape), seed=1)
    expected = []
    for index in range(6):
        with torch.no_grad():
            both = model(torch.stack([inputs[index], torch.full(shape, baseline, dtype=torch.float64)]))[
                :, targets[index]
            ]
        added = float(both[0] - both[1])
        gap = abs(float(maps[index].sum()) - added)
        expected.append(gap / abs(added) if relative else gap)
    found = gaps(Completeness(baseline=baseline, relative=relative), model, inputs, maps, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_map_of_zeros_has_a_gap_of_one_and_contributions_to_a_linear_model_none():
    model, inputs = nn.Linear(6, 1).double().eval(), normal(8, 6)
    exact = model.weight.detach() * inputs
    assert gaps(Completeness(), model, inputs, exact).max() < 1e-12
    np.testing.assert_allclose(gaps(Completeness(), model, inputs, 0 * exact), 1.0)
    still = inputs.clone()
    still[3] = 0  # the baseline itself: nothing is added, and nothing may be said
    found = gaps(Completeness(), model, still, 0 * exact)
    np.testing.assert_allclose(found, 1.0)


def test_integrated_gradients_are_complete_once_they_have_steps_enough():
    bench = Bench(network(2, 4, 4), 2 * normal(64, 2, 4, 4))
    fine = bench.explainer(captum.attr.IntegratedGradients, n_steps=64, name="fine")
    assert fine.bounded("completeness", at_most=0.05)
    verdict = bench.explainer(captum.attr.Saliency, abs=False).bounded("completeness", at_most=0.05)
    assert verdict.failed
    assert "relative completeness gap of most inputs" in verdict.reason

    assert fine.beats(captum.attr.InputXGradient, on="completeness")


def test_embedded_tokens_have_a_baseline():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(20, 5, padding_idx=0)
            self.head = nn.Linear(5, 1)

        def forward(self, ids):
            return self.head((self.embedding(ids) * (ids % 7)[..., None]).sum(1))

    ids = torch.randint(1, 20, (24, 6), generator=torch.Generator().manual_seed(0))
    bench = Bench(Bag().double().eval(), ids, embedding="embedding")
    assert bench.explainer(captum.attr.InputXGradient).bounded("completeness", at_most=1e-6)
    with pytest.raises(XaiError, match="no embedding"):
        Bench(Bag().double().eval(), ids, embedding=False).explainer(captum.attr.FeatureAblation, baselines=1).bounded(
            "completeness", at_most=0.1
        )


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"baseline": float("nan")}, "completeness baseline: found nan"),
        ({"baseline": "zero"}, "completeness baseline: found 'zero'"),
        ({"relative": 1}, "completeness relative: found 1"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_one_error(settings, found):
    with pytest.raises(XaiError) as raised:
        Bench(network(6), normal(32, 6)).explainer(captum.attr.InputXGradient).bounded(
            "completeness", at_most=1.0, **settings
        )
    assert found in str(raised.value)


def test_a_baseline_without_a_finite_output_is_one_error():
    class Log(nn.Module):
        def forward(self, x):
            return torch.log(x).sum(1, keepdim=True)

    bench = Bench(Log().eval(), normal(32, 6).abs() + 0.1)
    with pytest.raises(XaiError, match="completeness baseline: found outputs of xai_model that are NaN or infinite"):
        bench.explainer(captum.attr.InputXGradient).bounded("completeness", at_most=1.0)


def test_a_baseline_of_the_metric_is_given_where_it_is_made():
    explainer = Bench(network(5), normal(32, 5)).explainer(captum.attr.InputXGradient)
    with pytest.raises(XaiError, match=r"multiple values.*To fix it: .*on=Completeness\(baseline=0.5\)"):
        explainer.beats("random", on="completeness", baseline=0.5)
    assert explainer.beats("random", on=Completeness(baseline=0.5)).n
