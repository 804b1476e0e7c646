"""Pictures of inputs and their maps: they are those that were measured, and change no verdict."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.claims.base import Worst
from pytest_xaisanity.evidence.pictures import Pictured, numbers, pictures
from pytest_xaisanity.explainers.attributions import MapCache
from pytest_xaisanity.report.figures import Figures
from pytest_xaisanity.statistics.evidence import Sample
from pytest_xaisanity.subject.block import Block
from pytest_xaisanity.subject.layout import Layout


def network(*layers):
    """Return a small network with weights that are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*(make() for make in layers)).eval()


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def images():
    """Return a network on images of 6×6 in three colors, and 32 of these."""
    model = network(lambda: nn.Conv2d(3, 4, 3), nn.ReLU, nn.Flatten, lambda: nn.Linear(64, 3))
    return model, drawn(32, 3, 6, 6)


def bench_of(model, inputs, *, pictured=True, **settings):
    bench = Bench(model, inputs, device="cpu", **settings)
    bench.pictures = pictured
    return bench


def shown(verdict):
    return verdict.evidence.get_part(Pictured).exhibits


def decided(bench):
    """Yield the verdicts on claims of which later ones continue what earlier ones have measured."""
    one = bench.explainer(Saliency, abs=False)
    yield one.changes_under("cascading_randomization", seeds=2)
    yield one.beats("other_input", on="pixel_flipping")
    yield one.beats("uninformative", on="pixel_flipping", max_examples=2)
    yield one.changes_under("cascading_randomization", seeds=2, confidence=0.999)
    yield one.beats("other_input", on="pixel_flipping", confidence=0.999)
    yield one.invariant_under("batch_order")
    yield bench.explainer(lambda m, x, t: torch.rand_like(x), name="noise").beats("random", on="pixel_flipping")


@pytest.fixture(scope="module")
def pictured(images):
    """Return these verdicts, with pictures."""
    return list(decided(bench_of(*images)))


@pytest.mark.slow
def test_pictures_change_no_verdict(images, pictured):
    plain = list(decided(bench_of(*images, pictured=False)))
    assert plain == pictured
    assert [verdict.evidence.plain() for verdict in plain] == [verdict.evidence.plain() for verdict in pictured]
    assert all(verdict.evidence.find(Pictured) is None for verdict in plain)
    assert all(len(shown(verdict)) == 6 for verdict in pictured)


def test_the_worst_inputs_come_first(images):
    verdict = bench_of(*images).explainer(Saliency).beats("edges", on="pixel_flipping")
    worst = [index for index, _ in verdict.evidence.get_part(Worst).inputs]
    rest = [index for index in verdict.evidence.get_part(Sample).indices if index not in worst]
    assert [one.index for one in shown(verdict)] == [*worst, rest[0]]
    assert [bool(one.note) for one in shown(verdict)] == [True] * 5 + [False]
    predicted = images[0](images[1]).argmax(1).tolist()
    assert [one.target for one in shown(verdict)] == [str(predicted[one.index]) for one in shown(verdict)]


def test_a_picture_shows_the_map_of_its_input(images):
    """To half a step of its scale."""
    model, inputs = images
    verdict = bench_of(model, inputs).explainer(Saliency, abs=False).beats("edges", on="pixel_flipping")
    for one in shown(verdict):
        x = inputs[one.index : one.index + 1].clone().requires_grad_()
        model(x)[0].max().backward()
        gradient, (picture,) = x.grad.sum(1)[0], one.pictures
        own, edges = picture.maps
        assert (own.name, edges.name) == ("explanation", "edges")
        scale = own.values
        assert scale.high == pytest.approx(float(gradient.abs().max()))
        assert scale.low == -scale.high
        expected = gradient.clamp(scale.low, scale.high).flatten()
        assert torch.tensor(scale.values) == pytest.approx(expected, abs=scale.high / 254 * 1.001)
        assert edges.values.low == 0
        pixels = torch.tensor(picture.given.values).reshape(6, 6, 3).permute(2, 0, 1)
        assert pixels == pytest.approx(inputs[one.index], abs=(picture.given.high - picture.given.low) / 508 * 1.001)


def test_maps_after_an_intervention_are_those_that_were_compared(images):
    """An explainer that returns the weights of the last layer shows those that were drawn for the input's cell."""
    model, inputs = images
    seen = []

    def explain(model, inputs, targets):
        maps = model[3].weight.detach().flatten()[:36].reshape(1, 1, 6, 6).expand(len(inputs), 1, 6, 6).clone()
        seen.append(maps[0, 0])
        return maps + 0.01 * inputs.mean(1, keepdim=True)

    verdict = bench_of(model, inputs).explainer(explain).changes_under("cascading_randomization", depth=1, seeds=2)
    for one in shown(verdict):
        names = [named.name for named in one.pictures[0].maps]
        assert names[0] == "explanation"
        assert set(names[1:]) <= {"after (seed 0)", "after (seed 1)"}
        after = torch.tensor(one.pictures[0].maps[1].values.values)
        before = torch.tensor(one.pictures[0].maps[0].values.values)
        nearest = min(float((after - maps.flatten()).abs().max()) for maps in seen)
        assert nearest < 0.1
        assert (after - before).abs().max() > 0.1


def test_a_baseline_that_another_explainer_was_measured_against_is_no_rival(images):
    """What is kept of a baseline is shared, and does not say whose claim it was measured for."""
    bench = bench_of(*images)
    for source in (Saliency, lambda model, inputs, targets: inputs * 2):
        verdict = bench.explainer(source).beats("random", on="pixel_flipping")
        assert {tuple(named.name for named in one.pictures[0].maps) for one in shown(verdict)} == {("explanation",)}


def test_a_rival_is_shown_under_its_name(images):
    bench = bench_of(*images)
    verdict = bench.explainer(Saliency).beats(bench.explainer(IntegratedGradients, n_steps=2), on="pixel_flipping")
    assert {tuple(named.name for named in one.pictures[0].maps) for one in shown(verdict)} == {
        ("explanation", "IntegratedGradients(n_steps=2)")
    }


def test_what_was_explained_is_told(images):
    model, inputs = images
    verdict, again, other = (
        bench_of(model, data).explainer(Saliency).beats("edges", on="pixel_flipping")
        for data in (inputs, inputs.clone(), inputs + 1)
    )
    facts = [{one.label: one.text for one in v.evidence.get_part(Pictured).facts} for v in (verdict, again, other)]
    assert facts[0] == facts[1]
    assert facts[0]["model"].startswith("Sequential, 307 parameters; fingerprint ")
    assert facts[0]["data"].startswith("32 inputs; fingerprint ")
    assert facts[0]["device"] == "cpu"
    assert (facts[2]["model"], facts[2]["data"] == facts[0]["data"]) == (facts[0]["model"], False)


def test_a_verdict_stands_where_inputs_cannot_be_explained_once_more(images, monkeypatch):
    model, inputs = images
    calls, bench = [], bench_of(model, inputs)
    monkeypatch.setattr(MapCache, "get", lambda cache, key: None)

    def explain(model, inputs, targets):
        calls.append(len(inputs))
        if len(calls) > limit:
            raise RuntimeError("<no more>")
        return inputs * len(calls)

    limit = 10**6
    expected = bench_of(model, inputs, pictured=False).explainer(explain).beats("random", on="pixel_flipping")
    limit, _ = len(calls), calls.clear()
    verdict = bench.explainer(explain).beats("random", on="pixel_flipping")
    assert (verdict.outcome, verdict.n) == (expected.outcome, expected.n)
    (why,) = [one.text for one in verdict.evidence.get_part(Pictured).facts if one.label == "inputs and maps"]
    assert "RuntimeError" in why
    assert "<no more>" in why


def test_inputs_of_a_stream_are_shown(images):
    model, inputs = images
    verdict = bench_of(model, list(inputs.split(8))).explainer(Saliency).beats("edges", on="pixel_flipping")
    assert len(shown(verdict)) == 6
    data = next(one.text for one in verdict.evidence.get_part(Pictured).facts if one.label == "data")
    assert data == "a stream; fingerprint not known, as it is streamed"


def block_of(*inputs, axes=None, mask=None):
    """Return a block of these tensors."""
    return Block(0, tuple(range(len(inputs[0]))), inputs, None, Layout.of(inputs, axes), mask=mask)


def test_a_series_is_shown_by_its_channels():
    (picture,) = pictures(block_of(drawn(2, 5, 200)), 1, [("explanation", drawn(200))])
    assert (picture.kind, picture.given.shape, picture.note) == ("series", (3, 96), "3 of 5 channels")
    assert picture.maps[0].values.shape == (1, 96)


def test_of_a_volume_the_plane_with_most_attribution_is_shown():
    volume, own, other = drawn(2, 1, 4, 5, 6), torch.zeros(4, 5, 6), torch.ones(4, 5, 6)
    own[2, 1, 1], other[2] = -3.0, 0.5
    (picture,) = pictures(block_of(volume), 0, [("explanation", own), ("after", other)])
    assert picture.note == "plane 3 of 4, to which the explanation gives most"
    assert picture.given.values == pytest.approx(volume[0, 0, 2].flatten().tolist(), abs=0.02)
    assert [min(named.values.values) for named in picture.maps] == pytest.approx([-3.0, 0.5], abs=0.01)


def test_of_a_long_sentence_the_words_with_most_attribution_are_shown():
    ids, mask = torch.arange(200).reshape(1, 200), torch.ones(1, 200, dtype=torch.bool)
    mask[0, :50] = False
    own = torch.zeros(200)
    own[150], own[10] = -1.0, 9.0  # the second does not count
    (picture,) = pictures(block_of(ids, mask=mask), 0, [("explanation", own)])
    assert len(picture.words) == 64
    assert picture.words[picture.maps[0].values.values.index(-1.0)] == "150"
    assert picture.note.startswith("tokens ")
    assert "of 150" in picture.note


def test_of_a_wide_table_the_features_with_most_attribution_are_shown():
    own = torch.arange(20.0) - 10
    (picture,) = pictures(block_of(drawn(1, 20)), 0, [("explanation", own)], [f"f{i}" for i in range(20)])
    assert picture.words[:3] == ("f0", "f1", "f19")
    assert len(picture.words) == 12
    assert picture.note == "the 12 features of 20 with most attribution"
    assert pictures(block_of(drawn(1, 3)), 0, [("explanation", own[:3])])[0].words == (
        "feature 0",
        "feature 1",
        "feature 2",
    )


def test_each_of_several_tensors_has_a_picture():
    block = block_of(drawn(2, 3, 4, 4), drawn(2, 5))
    image, table = pictures(block, 1, [("explanation", torch.arange(21.0))], [f"f{i}" for i in range(21)])
    assert (image.kind, table.kind) == ("image", "table")
    assert image.maps[0].values.values[-1] == 15.0
    assert table.words[0] == "f20"


def test_large_images_are_averaged_and_other_channels_than_colors_too():
    given = drawn(1, 5, 96, 192)
    (picture,) = pictures(block_of(given), 0, [("explanation", torch.ones(96, 192))])
    assert picture.given.shape == (24, 48)
    assert picture.note == "mean of 5 channels"
    assert picture.maps[0].values.values == [1.0] * (24 * 48)
    expected = given[0].mean(0).reshape(24, 4, 48, 4).mean((1, 3))
    assert torch.tensor(picture.given.values) == pytest.approx(expected.flatten(), abs=0.01)


def test_numbers_keep_zero_and_what_is_not_finite():
    found = numbers(torch.tensor([-2.0, 0.0, 1.0, float("nan"), float("inf")]))
    assert found.values[:2] == [-2.0, 0.0]
    assert found.values[2] == pytest.approx(1.0, abs=4 / 508)
    assert found.values[3:] == [None, None]
    assert numbers(torch.zeros(3)).values == [0.0] * 3
    assert numbers(torch.full((2,), float("nan"))).values == [None] * 2


def test_figures_of_every_claim_travel(pictured):
    for verdict in pictured:
        found = Figures.of(verdict.evidence.figures())
        assert Figures.of_plain(found.plain()) == found
        assert found.scale is not None
        assert found.exhibits
