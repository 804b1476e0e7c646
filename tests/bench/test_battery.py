"""Batteries in a notebook: which claims they hold, which are skipped and why, and what fails them."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from torch import nn

from pytest_xaisanity import Bench, XaiError, beats
from pytest_xaisanity.bench.battery import BATTERIES, battery

CASCADE = "changes_under-cascading_randomization"
LATER = "changes_under-later_layers"
OTHER_TARGET = "changes_under-other_target"
RANDOM = "beats-random-on-pixel_flipping-reading_either"
OTHER_INPUT = "beats-other_input-on-pixel_flipping"
OTHER_LOCAL = "beats-other_local-on-pixel_flipping"
MISPLACED = "beats-misplaced-on-pixel_flipping-reading_either"
MEAN = "beats-class_mean-on-pixel_flipping"
WITHIN = "beats-random-on-pixel_flipping-reading_either-within_target"
EDGES = "beats-edges-on-pixel_flipping-reading_either"
MUTANTS = "beats-mutants-on-pixel_flipping-reading_either"
ORDER = "invariant_under-batch_order"


def network(*layers: nn.Module, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers:
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.reset_parameters()
    return nn.Sequential(*layers).eval()


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def features():
    return Bench(network(nn.Linear(8, 3)), drawn(128, 8))


@pytest.fixture(scope="module")
def images():
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    return Bench(network(*layers), drawn(128, 1, 8, 8))


def reasons(bench: Bench) -> dict[str, str]:
    """Return why claims of the thorough battery are skipped, without deciding any."""
    claims = [entry.claim for entry in battery("thorough", where="battery")]
    return {claim.claim_id: why for claim in claims if (why := bench.lacking(claim))}


def test_each_battery_holds_those_before_it():
    quick, standard, thorough = ({entry.claim.claim_id for entry in BATTERIES[name]} for name in BATTERIES)
    assert quick == {CASCADE, RANDOM, ORDER}
    assert standard == {CASCADE, LATER, OTHER_TARGET, RANDOM, OTHER_INPUT, OTHER_LOCAL, ORDER}
    assert standard < thorough
    assert {MEAN, WITHIN, EDGES, MUTANTS} < thorough


def test_a_sound_explainer_passes_all_that_can_be_asked(images):
    decided = images.battery(captum.attr.InputXGradient)
    assert decided
    assert set(decided) == {entry.claim.claim_id for entry in BATTERIES["standard"]}
    assert not decided.skipped


def test_what_a_subject_lacks_is_said_and_the_others_are_decided(features):
    explainer = features.explainer(captum.attr.InputXGradient)
    decided = features.battery(explainer)
    assert decided
    assert set(decided.skipped) == {LATER, OTHER_LOCAL}
    assert decided[RANDOM].passed
    assert "layers above another" in repr(decided)
    assert "of a linear model they are the same" in decided.skipped[OTHER_LOCAL]
    assert len(repr(decided).splitlines()) == 7


@pytest.mark.parametrize(
    ("explain", "failed"),
    [
        (lambda m, x, t: x.clone(), {CASCADE, OTHER_TARGET}),
        (lambda m, x, t: m[0].weight[t].abs() * drawn(8), {OTHER_INPUT}),
    ],
    ids=["the input", "a template of the class"],
)
def test_a_broken_explainer_fails(features, explain, failed):
    decided = features.battery(explain)
    assert not decided
    assert failed <= {claim for claim, verdict in decided.items() if not verdict.passed}


def test_images_are_asked_everything(images):
    assert reasons(images) == {}


@pytest.mark.parametrize(
    ("bench", "lacks"),
    [
        (Bench(network(nn.Linear(8, 3)), drawn(64, 8)), {LATER, OTHER_LOCAL}),
        (Bench(network(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)), drawn(64, 8)), set()),
        (Bench(network(nn.Linear(8, 1)), drawn(64, 8)), {LATER, OTHER_TARGET, OTHER_LOCAL, WITHIN}),
        (
            Bench(network(nn.Linear(8, 64)), drawn(64, 8), torch.arange(64)),
            {LATER, OTHER_INPUT, OTHER_LOCAL, MEAN, WITHIN},
        ),
        (
            Bench(network(nn.Linear(8, 3)), drawn(64, 8), torch.ones(64, dtype=torch.long)),
            {LATER, OTHER_LOCAL, WITHIN},
        ),
        (Bench(network(nn.Linear(8, 3)), [drawn(32, 8), drawn(32, 8)]), {LATER, OTHER_LOCAL}),
    ],
    ids=["one layer", "two layers", "one output", "no two of a target", "one target", "a stream"],
)
def test_what_is_skipped(bench, lacks):
    assert set(reasons(bench)) == lacks | {MISPLACED, EDGES, MUTANTS}  # which are of images


def test_reasons_are_in_words():
    bench = Bench(network(nn.Linear(8, 64)), drawn(64, 8), torch.tensor([0, 0, *range(2, 64)]))
    found = reasons(bench)
    assert found[OTHER_INPUT].startswith("inputs of one target: 2 of 64 have another of theirs, and ")
    assert found[WITHIN].startswith("inputs of each target: the most of one are 2, and ")


def test_too_few_inputs_are_an_error_and_no_skip():
    bench = Bench(network(nn.Linear(8, 3)), drawn(4, 8), torch.arange(4) % 3)
    assert not {OTHER_INPUT, MEAN, WITHIN} & set(reasons(bench))
    with pytest.raises(XaiError, match="found 4 inputs for the claim"):
        bench.battery(captum.attr.InputXGradient)


def test_a_mistake_is_no_skip():
    bench = Bench(network(nn.Linear(8, 3)), drawn(64, 8))
    with pytest.raises(XaiError, match="attributions"):
        bench.battery(lambda m, x, t: x[:, :3])
    with pytest.raises(XaiError, match="xai_inputs"):
        Bench(network(nn.Linear(8, 3)), torch.full((64, 8), torch.nan)).battery(captum.attr.InputXGradient)


def test_the_model_comes_back():
    model = network(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.warns(UserWarning, match="training mode"):
        reasons(Bench(model, drawn(64, 8)))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["standrd", 3, None])
def test_an_unknown_battery_is_named(features, name):
    with pytest.raises(XaiError, match=r"battery name: found .*expected one of quick, standard, thorough"):
        features.battery(captum.attr.InputXGradient, name)


@pytest.mark.parametrize("baseline", ["uninformative", "mutants"])
def test_gradients_of_a_nearly_linear_network_are_read_as_sensitivities(images, baseline):
    """Against what several claims make up too; a reading's share of the error goes to each of them."""
    explainer = images.explainer(captum.attr.Saliency, abs=False)
    named = {"max_examples": 5} if baseline == "uninformative" else {}
    verdict = explainer.beats(baseline, on="pixel_flipping", reading="either", **named)
    contributions = explainer.beats(baseline, on="pixel_flipping", reading="contribution", **named)
    readings = verdict.evidence["readings"]
    assert not contributions.passed
    assert readings["sensitivities"]["estimate"] > readings["contributions"]["estimate"]
    assert not verdict.failed
    claims = beats(baseline, on="pixel_flipping", reading="either", **named).planned((8, 8))
    assert len(claims) == {"uninformative": 2, "mutants": 4}[baseline]
    assert {claim.pass_share for claim in claims} == {0.5}
