"""The adversary: it finds planted weaknesses, keeps to its budget, and is measured on inputs it did not see."""

from __future__ import annotations

import json
from math import isfinite, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laboratory import evidence_of, lab_of
from torch import nn

from pytest_xaisanity.adversaries.search import Adversarial, search
from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.evidence.base import MapMetric, Scores
from pytest_xaisanity.evidence.baselines.uninformative import Uninformative
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.uninformative import Box, UninformativeMap
from pytest_xaisanity.subject.subject import Subject

pytestmark = pytest.mark.long

torch.set_num_threads(1)

SHAPE = (28, 28)


def share(part):
    """Return the gain of a metric that rewards what lies in a part of the map, beside an explanation that has half."""

    def gain(candidate):
        mass = candidate.render(SHAPE, seed=0, indices=range(2), magnitudes=torch.ones(2, *SHAPE)).abs().sum(0)
        total = float(mass.sum())
        return float((mass * part).sum()) / total - 0.5 if total else -0.5

    return gain


def sparsity(candidate):
    """Return the gain of a metric that rewards places without attribution, beside an explanation that has 80 %."""
    maps = candidate.render(SHAPE, seed=0, indices=range(2), magnitudes=torch.ones(2, *SHAPE)).flatten(1)
    return float((maps == 0).float().mean() if (maps != 0).any(1).all() else 0) - 0.8


def region(rows, columns):
    part = torch.zeros(SHAPE)
    part[rows, columns] = 1
    return part


BORDER = 1 - region(slice(3, -3), slice(3, -3))
CORNER = region(slice(-10, None), slice(-10, None))
PLANTED = {"border": share(BORDER), "corner": share(CORNER), "sparse": sparsity}


def counted(gain):
    calls = []

    def counting(candidate):
        calls.append(candidate)
        return gain(candidate)

    return counting, calls


class TestSearch:
    @pytest.mark.slow
    @pytest.mark.parametrize("weakness", PLANTED)
    def test_finds_what_fools_a_metric_and_shrinks_it(self, weakness):
        found = search(SHAPE, PLANTED[weakness], max_examples=200, search_seed=1)
        assert found.gain >= 0
        assert len(repr(found.map)) < 200

    @pytest.mark.slow
    @pytest.mark.parametrize("weakness", PLANTED)
    def test_finds_what_fools_a_metric_for_nearly_every_seed(self, weakness):
        found = [search(SHAPE, PLANTED[weakness], max_examples=200, search_seed=seed) for seed in range(10)]
        won = [one for one in found if one.gain >= 0]
        assert len(won) >= 9
        assert max(len(repr(one.map)) for one in won) < 200

    def test_scores_no_more_maps_than_its_budget_and_each_once(self):
        gain, calls = counted(lambda candidate: -1 - len(candidate.boxes))
        found = search(SHAPE, gain, max_examples=40, search_seed=0)
        assert found.tried == len(calls) == len(set(calls)) <= 40

    def test_shrinks_within_twice_its_budget(self):
        gain, calls = counted(share(BORDER))
        assert search(SHAPE, gain, max_examples=30, search_seed=0).tried == len(calls) <= 90

    def test_with_a_budget_of_one_tries_one(self):
        assert search(SHAPE, lambda candidate: -1.0, max_examples=1, search_seed=0).tried == 1

    def test_returns_the_map_with_the_largest_gain_where_none_wins(self):
        gain, calls = counted(lambda candidate: -1 / (1 + candidate.size + len(candidate.boxes)))
        found = search(SHAPE, gain, max_examples=60, search_seed=0)
        assert found.gain == max(map(gain, calls[:])) < 0

    @pytest.mark.slow
    def test_returns_the_simplest_map_with_half_of_the_best_gain(self):
        found = search(SHAPE, lambda candidate: min(candidate.size, 4), max_examples=200, search_seed=0)
        assert found.map.size == 2
        assert not found.map.boxes

    def test_is_the_same_for_the_same_seed_and_another_for_another(self):
        runs = []
        for seed in (3, 3, 4):
            gain, calls = counted(lambda candidate: -1.0)
            search(SHAPE, gain, max_examples=20, search_seed=seed)
            runs.append(calls)
        assert runs[0] == runs[1] != runs[2]

    @pytest.mark.parametrize("value", [0.0, -0.5, 0.5, nan, float("inf"), -float("inf")])
    def test_of_a_constant_metric_ends(self, value):
        found = search(SHAPE, lambda candidate: value, max_examples=20, search_seed=0)
        assert found.tried <= 60
        assert found.map == UninformativeMap() or not isfinite(value) or value < 0

    def test_leaves_global_generators_alone(self):
        before = global_state()
        search(SHAPE, lambda candidate: float(torch.rand(())) - 2, max_examples=10, search_seed=0)
        assert same_state(before, global_state())

    @pytest.mark.slow
    @settings(max_examples=3, deadline=None, database=None)
    @given(st.integers(0, 100))
    def test_works_inside_a_given_test(self, number):
        assert search(SHAPE, lambda candidate: candidate.size - 2.5, max_examples=20, search_seed=number).tried

    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt, XaiError("it", found="a", expected="b", fix="c"), MemoryError]
    )
    def test_lets_errors_through_at_once(self, error):
        calls = []

        def gain(candidate):
            calls.append(candidate)
            if len(calls) == 3:
                raise error
            return -1.0

        with pytest.raises(error if isinstance(error, type) else type(error)):
            search(SHAPE, gain, max_examples=50, search_seed=0)
        assert len(calls) == 3

    @pytest.mark.parametrize("budget", [0, -1, 2.5, True])
    def test_without_a_budget_is_an_error(self, budget):
        with pytest.raises(XaiError, match="max_examples"):
            Uninformative(max_examples=budget)

    @pytest.mark.skipif(not hasattr(settings, "get_current_profile_name"), reason="an older Hypothesis does not tell")
    def test_has_the_budget_of_the_active_profile(self):
        settings.register_profile("thirty-three", max_examples=33)
        before = settings.get_current_profile_name()
        settings.load_profile("thirty-three")
        try:
            assert Adversarial(PixelFlipping(), Uninformative()).budget == 33
        finally:
            settings.load_profile(before)
        assert Adversarial(PixelFlipping(), Uninformative(7)).budget == 7


def contributions(model, inputs, targets):
    return inputs * model.weight[targets].reshape(inputs.shape)


def noise(model, inputs, targets):
    return torch.randn_like(inputs)


class Images(nn.Linear):
    """A linear model of 5x5 images."""

    def forward(self, images):
        return super().forward(images.flatten(1))


def linear(count):
    """Return a model of 5x5 images, and images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Images(25, 3).eval(), torch.randn(count, 1, 5, 5)


def measured(count, source=contributions, *, metric=None, batch_size=None, streamed=None, seed=0, budget=10):
    """Return scores ``(n, 2)``, the indices of their rows, and the evidence."""
    model, inputs = linear(count)
    source_of_inputs = list(inputs.split(streamed)) if streamed else inputs
    subject = Subject(model, source_of_inputs, batch_size=batch_size, seed=seed)
    lab = lab_of(subject, source, seed)
    measuring, scores, indices = None, [], []
    with subject.lent():
        for block in subject.blocks():
            adversarial = Adversarial(metric or PixelFlipping(steps=5), Uninformative(budget))
            measuring = measuring or adversarial.start(lab, block)
            scores.append(torch.from_numpy(measuring.measure(block).values))
            indices += block.indices
    return torch.cat(scores), indices, evidence_of(measuring)


class TestAdversarial:
    @pytest.mark.parametrize("streamed", [None, 7])
    @pytest.mark.parametrize(
        ("count", "searched"), [(2, 1), (3, 1), (16, 8), (17, 8), (31, 15), (40, 20), (64, 32), (100, 32)]
    )
    def test_searches_half_of_the_inputs_and_scores_the_others(self, count, searched, streamed):
        scores, indices, evidence = measured(count, streamed=streamed, budget=2)
        if streamed and 16 < count < 64:  # how many there are is not known in time
            searched = 16 if count <= 32 else 32
        assert len(scores) == len(indices) == count
        assert scores.isnan().all(1).tolist() == [place < searched for place in range(count)]
        assert evidence["adversary"]["searched"] == searched

    @pytest.mark.parametrize("streamed", [None, 1])
    def test_of_a_single_input_scores_nothing(self, streamed):
        scores, _, evidence = measured(1, streamed=streamed)
        assert scores.isnan().all()
        assert evidence == {}

    @pytest.mark.slow
    @pytest.mark.parametrize("source", [contributions, noise])
    def test_does_not_depend_on_the_micro_batch(self, source):
        whole, _, evidence = measured(40, source)
        parts, _, again = measured(40, source, batch_size=3)
        assert torch.allclose(whole, parts, atol=1e-5, equal_nan=True)
        assert evidence["adversary"]["call"] == again["adversary"]["call"]

    def test_is_the_same_for_the_same_seed(self):
        assert torch.equal(measured(40)[0].nan_to_num(9), measured(40)[0].nan_to_num(9))
        assert not torch.equal(measured(40)[0].nan_to_num(9), measured(40, seed=1)[0].nan_to_num(9))

    def test_scores_as_a_claim_against_the_very_map_does(self):
        scores, indices, evidence = measured(40)
        found = eval(evidence["adversary"]["call"], {"UninformativeMap": UninformativeMap, "Box": Box})
        model, inputs = linear(40)
        explainer = Bench(model, inputs, seed=0).explainer(contributions)
        claimed = explainer.beats(found, on=PixelFlipping(steps=5), early=False).evidence
        assert claimed["indices"] == indices
        for place, kind in ((0, "explainer"), (1, "uninformative")):
            assert scores[20:, place].tolist() == pytest.approx(claimed["scores"][kind][20:], abs=1e-5)

    @pytest.mark.slow
    def test_wins_against_noise_and_loses_to_true_contributions(self):
        for source, wins in ((contributions, False), (noise, True)):
            scores, _, evidence = measured(64, source, budget=40)
            gain = (scores[:, 0] - scores[:, 1]).nanmean()
            assert (float(gain) < 0.05) == wins
            assert (evidence["adversary"]["gain"] >= 0) == wins

    @pytest.mark.slow
    def test_gains_where_lower_is_better(self):
        evidence = measured(64, noise, metric=PixelFlipping(steps=5, order="morf"), budget=40)[2]
        assert evidence["adversary"]["gain"] >= 0

    def test_leaves_evidence_of_plain_values(self):
        adversary = measured(40)[2]["adversary"]
        assert json.loads(json.dumps(adversary)) == adversary
        assert adversary["call"].startswith("UninformativeMap(")
        assert np.shape(adversary["picture"]) == (5, 5)
        assert 1 <= adversary["tried"] <= 30

    def test_of_a_constant_metric_ends(self):
        scores, _, _ = measured(40, metric=Constant())
        assert scores[20:].unique().tolist() == [0.5]

    def test_is_equal_to_another_of_equal_settings(self):
        one, other = (Adversarial(PixelFlipping(steps=5), Uninformative(9)) for _ in range(2))
        assert one.key == other.key != Adversarial(PixelFlipping(steps=5), Uninformative(8)).key
        assert one.about == "explainer"


class Constant(MapMetric):
    """A metric that scores everything alike."""

    name, low, high, higher_is_better = "constant", 0.0, 1.0, True

    def prepare(self, lab, block):
        return None

    def score(self, prepared, maps, *, draw=""):
        return Scores(torch.full((len(maps),), 0.5))
