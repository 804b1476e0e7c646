"""Metrics, baselines, interventions, similarities and imputers of others: what they get wrong is one error each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.base import (
    Baseline,
    Intervention,
    MapMetric,
    Measurement,
    Measuring,
    OwnMetric,
    Procedure,
    Scored,
    Scores,
)
from pytest_xaisanity.evidence.comparison import DISTANCE
from pytest_xaisanity.evidence.foreign import checked_similarity
from pytest_xaisanity.maps.similarity import SIMILARITIES, Similarity

X = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))


def gradient(model, inputs, targets):
    leaf = inputs.clone().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)[0] * inputs


@pytest.fixture
def explainer():
    torch.manual_seed(0)
    return Bench(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).eval(), X).explainer(gradient)


def raising(*_, **__):
    raise ZeroDivisionError("by zero\nand more")


def refused(claim, where, found):
    with pytest.raises(XaiError) as caught:
        claim()
    assert caught.value.where == where
    assert found in caught.value.found
    return caught.value


# -------------------------------------------------------------------------------------------------------------- metrics


def metric(score, **attributes):
    class Mine(MapMetric):
        name, low, high, higher_is_better = "mine", 0.0, 1.0, True

        def prepare(self, lab, block):
            return block

        def score(self, prepared, maps, *, draw=""):
            return score(maps)

    for attribute, value in attributes.items():
        setattr(Mine, attribute, value)
    return Mine()


def fair(maps):
    return Scores(torch.rand(len(maps), generator=torch.Generator().manual_seed(0)))


BAD_SCORES = {
    "nothing": (lambda m: None, "None as scores"),
    "a tensor": (lambda m: torch.rand(len(m)), "a tensor"),
    "a pair": (lambda m: (torch.rand(len(m)), {}), "a tuple as scores"),
    "a list": (lambda m: Scores([0.5] * len(m)), "a list as scores"),
    "an array": (lambda m: Scores(np.zeros(len(m))), "a ndarray as scores"),
    "too few": (lambda m: Scores(torch.rand(len(m) - 1)), "a tensor (15,)"),
    "too many": (lambda m: Scores(torch.rand(len(m) + 1)), "a tensor (17,)"),
    "one": (lambda m: Scores(torch.tensor(0.5)), "a tensor ()"),
    "a column": (lambda m: Scores(torch.rand(len(m), 1)), "a tensor (16, 1)"),
    "complex": (lambda m: Scores(torch.rand(len(m)) + 0j), "torch.complex64"),
    "sparse": (lambda m: Scores(torch.rand(len(m)).to_sparse()), "a sparse tensor"),
    "meta": (lambda m: Scores(torch.rand(len(m), device="meta")), "a meta tensor"),
    "few curves": (lambda m: Scores(torch.rand(len(m)), {"c": torch.rand(2, 3)}), "as the curve 'c'"),
    "listed curves": (lambda m: Scores(torch.rand(len(m)), [torch.rand(len(m), 3)]), "a list as curves"),
    "a nameless curve": (lambda m: Scores(torch.rand(len(m)), {"": torch.rand(len(m), 3)}), "a curve named ''"),
    "an error": (raising, "ZeroDivisionError raised: by zero"),
    "changed maps": (lambda m: Scores(m.zero_().sum(1)), "tensors that it was given, changed in place"),
}


@pytest.mark.parametrize("kind", BAD_SCORES)
def test_scores_that_are_none_are_named(explainer, kind):
    score, found = BAD_SCORES[kind]
    refused(lambda: explainer.bounded(metric(score), at_least=0.1), "metric 'mine'", found)
    refused(lambda: explainer.beats("random", on=metric(score)), "metric 'mine'", found)


@pytest.mark.parametrize("shift", [5.0, -5.0])
def test_scores_outside_of_their_range_are_named_and_widening_it_helps(explainer, shift):
    def score(maps):
        return Scores(fair(maps).values + shift)

    for claim in (
        lambda mine: explainer.bounded(mine, at_least=mine.low + 0.1),
        lambda mine: explainer.beats("random", on=mine),
        lambda mine: explainer.beats("input_times_noise", on=mine),
    ):
        with pytest.raises(XaiError, match="expected scores from 0 to 1"):
            claim(metric(score))
        assert claim(metric(score, low=-6.0, high=6.0)).n


def test_numbers_of_any_real_type_are_scores(explainer):
    for dtype in (torch.bool, torch.int64, torch.bfloat16, torch.float16):
        assert explainer.bounded(metric(lambda m, d=dtype: Scores(torch.ones(len(m)).to(d))), at_least=0.1).passed


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"low": 1.0, "high": 0.0}, "scores from 1.0 to 0.0"),
        ({"low": float("nan")}, "scores from nan to 1.0"),
        ({"low": "0"}, "scores from '0' to 1.0"),
        ({"high": np.array([1, 2])}, "scores from 0.0 to array([1, 2])"),
        ({"higher_is_better": None}, "higher_is_better is None"),
        ({"name": 3}, "name is 3"),
        ({"name": property(raising)}, "ZeroDivisionError raised"),
        ({"__hash__": None}, "cannot be hashed"),
    ],
)
def test_a_metric_that_says_of_itself_what_cannot_be_is_named(explainer, attributes, found):
    refused(lambda: explainer.bounded(metric(fair, **attributes), at_least=0.1), "bounded", found)


def own_metric(measure):
    class Mine(Measuring):
        def measure(self, block):
            return measure(block)

    class Measured(Measurement):
        key = "mine"

        def start(self, lab, block):
            return Mine()

    class Own(OwnMetric):
        name, low, high, higher_is_better = "own", 0.0, 1.0, True

        def measurement(self):
            return Measured()

    return Own()


@pytest.mark.parametrize(
    ("measure", "found"),
    [
        (lambda block: None, "None"),
        (lambda block: torch.rand(len(block)), "a tensor (16,)"),
        (lambda block: Scored.of(torch.rand(len(block))), "scores (16,)"),
        (lambda block: Scored.of(torch.rand(len(block) - 1, 1)), "15 rows of scores for 16 inputs"),
        (lambda block: Scored([[1.0]] * len(block)), "a list of scores"),
        (lambda block: Scored(np.array([["a"]] * len(block))), "scores (16, 1) of <U1"),
        (raising, "ZeroDivisionError raised: by zero"),
    ],
)
def test_what_is_nothing_measured_is_named(explainer, measure, found):
    refused(lambda: explainer.bounded(own_metric(measure), at_least=0.1), "measurement Measured", found)


@pytest.mark.parametrize(("measurement", "found"), [(lambda self: None, "None"), (raising, "ZeroDivisionError")])
def test_a_measurement_that_is_none_is_named(explainer, measurement, found):
    own = own_metric(raising)
    type(own).measurement = measurement
    refused(lambda: explainer.bounded(own, at_least=0.1), "metric 'own'", found)


# ------------------------------------------------------------------------------------------------------------ baselines


def baseline(maps, **attributes):
    class Mine(Baseline):
        name = "theirs"

        def maps(self, block, like, *, seed):
            return maps(like)

    for attribute, value in attributes.items():
        setattr(Mine, attribute, value)
    return Mine()


BAD_MAPS = {
    "nothing": (lambda like: None, "TypeError raised"),
    "none": (lambda like: [], "0 batches of maps"),
    "arrays": (lambda like: [np.zeros(like.shape)], "a ndarray as maps"),
    "another shape": (lambda like: [torch.rand(len(like), 2)], "a tensor (16, 2)"),
    "too few": (lambda like: [torch.rand(like.shape)[:-1]], "a tensor (15, 5)"),
    "some NaN": (lambda like: [torch.ones(like.shape).index_fill(1, torch.tensor([0]), torch.nan)], "16 of 16 inputs"),
    "infinite": (lambda like: [torch.full(like.shape, torch.inf)], "16 of 16 inputs"),
    "complex": (lambda like: [torch.rand(like.shape) + 0j], "torch.complex64"),
    "sparse": (lambda like: [torch.rand(like.shape).to_sparse()], "a sparse tensor"),
    "an error": (raising, "ZeroDivisionError raised: by zero"),
}


@pytest.mark.parametrize("kind", BAD_MAPS)
def test_maps_of_a_baseline_that_are_none_are_named(explainer, kind):
    maps, found = BAD_MAPS[kind]
    refused(lambda: explainer.beats(baseline(maps), on="pixel_flipping"), "baseline 'theirs'", found)


def test_a_baseline_that_does_not_start_from_the_explainer_is_given_zeros(explainer):
    """So that one that reads them all the same has the same verdict each time."""
    given = []
    explainer.beats(baseline(lambda like: [given.append(like.clone()) or torch.rand_like(like)]), on="pixel_flipping")
    assert given
    assert not any(like.any() for like in given)


def test_a_baseline_may_not_change_the_maps_of_the_explainer(explainer):
    mine = baseline(lambda like: [like.zero_()], from_explainer=True)
    refused(lambda: explainer.beats(mine, on="pixel_flipping"), "baseline 'theirs'", "changed in place")
    copied = baseline(lambda like: [like.clone().zero_()], from_explainer=True)
    assert explainer.beats(copied, on="pixel_flipping").n  # as the error advises


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"begin": lambda self, lab: None}, "None"),
        ({"several": True, "parts": lambda self, places: None}, "TypeError raised"),
        ({"several": True, "parts": lambda self, places: []}, "the parts []"),
        ({"several": True, "parts": lambda self, places: [self, self]}, "the parts ['theirs', 'theirs']"),
    ],
)
def test_a_baseline_that_begins_with_nothing_is_named(explainer, attributes, found):
    mine = baseline(lambda like: [torch.rand(like.shape)], **attributes)
    refused(lambda: explainer.beats(mine, on="pixel_flipping"), "baseline 'theirs'", found)


# -------------------------------------------------------------------------------------------------------- interventions


def intervention(maps=lambda self, block: (yield torch.rand(len(block), 5)), **attributes):
    class Mine(Procedure):
        def __init__(self, lab):
            self.attributions = lab.attributions
            for attribute, value in attributes.items():
                setattr(self, attribute, value)

        def maps(self, block):
            return maps(self, block)

    class Theirs(Intervention):
        name = "theirs"
        verbs = ("changes_under", "invariant_under")

        def start(self, lab, block):
            return Mine(lab)

    return Theirs()


@pytest.mark.parametrize(
    ("maps", "found"),
    [
        (lambda self, block: [torch.rand(len(block), 5)], "a list from maps(...)"),
        (lambda self, block: (yield None), "None as maps"),
        (lambda self, block: (yield torch.rand(len(block), 4)), "a tensor (16, 4)"),
        (lambda self, block: (yield torch.rand(len(block), 5) + 0j), "torch.complex64"),
        (lambda self, block: (yield torch.rand(len(block), 5).to_sparse()), "a sparse tensor"),
        (lambda self, block: (yield raising()), "ZeroDivisionError raised: by zero"),
    ],
)
def test_maps_of_an_intervention_that_are_none_are_named(explainer, maps, found):
    for verb in (explainer.changes_under, explainer.invariant_under):
        refused(lambda verb=verb: verb(intervention(maps)), "intervention 'theirs'", found)


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"shape": None}, "the shape None"),
        ({"shape": (0, 1)}, "the shape (0, 1)"),
        ({"shape": (1.5, 1)}, "the shape (1.5, 1)"),
        ({"attributions": None}, "None as the attributions"),
        ({"again": lambda block: None}, "TypeError raised"),
        ({"again": lambda block: []}, "no maps from again"),
        ({"again": lambda block: [torch.rand(len(block), 3)]}, "a tensor (16, 3)"),
    ],
)
def test_a_procedure_that_says_of_itself_what_cannot_be_is_named(explainer, attributes, found):
    refused(lambda: explainer.changes_under(intervention(**attributes)), "intervention 'theirs'", found)


# --------------------------------------------------------------------------------------------------------- similarities


def flat(maps):
    return (maps.flatten(1),)


@pytest.mark.parametrize(
    ("prepare", "compare", "found"),
    [
        (flat, lambda a, b: None, "None as scores"),
        (flat, lambda a, b: 0.5, "a float as scores"),
        (flat, lambda a, b: torch.rand(2), "a tensor (2,)"),
        (flat, lambda a, b: torch.rand(len(a[0])) + 4, "scores from"),
        (flat, lambda a, b: torch.full((len(a[0]),), torch.inf), "scores from inf"),
        (flat, lambda a, b: torch.ones(len(a[0])) + 0j, "torch.complex64"),
        (flat, raising, "ZeroDivisionError raised: by zero"),
        (lambda maps: None, raising, "None from prepare(maps)"),
        (lambda maps: maps, raising, "from prepare(maps)"),
        (lambda maps: (maps.zero_(),), raising, "changed in place"),
    ],
)
def test_what_a_similarity_returns_is_checked(prepare, compare, found):
    theirs = checked_similarity(Similarity("theirs", prepare, compare))
    refused(lambda: theirs(X.clone(), X.clone()), "similarity 'theirs'", found)


@pytest.mark.parametrize("name", [*SIMILARITIES, None])
def test_a_checked_similarity_is_the_same_on_what_is_in_order(name):
    similarity = DISTANCE if name is None else SIMILARITIES[name]
    maps = [torch.randn(4, 9, 9, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    maps[0][0] = 0.0
    torch.testing.assert_close(checked_similarity(similarity)(*maps), similarity(*maps), rtol=0, atol=0, equal_nan=True)


# ------------------------------------------------------------------------------------------------------------- imputers


@dataclass(frozen=True)
class Zero:
    """Black, made of what it is given or anew."""

    in_place: bool

    def __call__(self, inputs, *, seed, indices):
        return inputs.zero_() if self.in_place else torch.zeros_like(inputs)


def test_an_imputer_may_work_in_place(explainer):
    one, other = (explainer.beats("random", on="pixel_flipping", imputer=Zero(flag)) for flag in (True, False))
    assert one.evidence["scores"] == other.evidence["scores"]


@pytest.mark.parametrize(
    ("imputer", "found"),
    [
        (lambda x: x, "TypeError raised"),
        (torch.zeros_like, "TypeError raised"),
        (raising, "ZeroDivisionError raised: by zero"),
        (lambda x, seed, indices: x.to_sparse(), "a sparse tensor"),
        (lambda x, seed, indices: x.to("meta"), "a meta tensor"),
        (lambda x, seed, indices: x + 0j, "torch.complex64"),
        (lambda x, seed, indices: x.numpy(), "a ndarray as a reference"),
    ],
)
def test_a_reference_that_is_none_is_named(explainer, imputer, found):
    claim = explainer.beats
    refused(lambda: claim("random", on="pixel_flipping", imputer=imputer), "pixel_flipping imputer", found)


def test_a_class_that_is_no_imputer_is_named(explainer):
    refused(lambda: explainer.beats("random", on="pixel_flipping", imputer=dict), "pixel_flipping imputer", "dict")
