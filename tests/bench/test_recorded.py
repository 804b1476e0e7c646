"""What a bench records of claims, and how they stand to it: the same inputs in pairs, and nothing that differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from model_state import state_of
from retraining import descended, problem
from scipy import stats
from torch import nn

from pytest_xaisanity import Bench, XaiError, beats, bounded, changes_under, invariant_under
from pytest_xaisanity.bench.recorded import standing
from pytest_xaisanity.report.recordings import Name, Recordings
from pytest_xaisanity.statistics.regression import WORSE_BY

N = 256
FLIPPING = beats("random", on="pixel_flipping")
CLAIMS = {
    "random": FLIPPING,
    "found": beats("uninformative", on="pixel_flipping", max_examples=4),
    "each": beats("mutants", on="pixel_flipping"),
    "either": beats("other_input", on="pixel_flipping"),
    "across": beats("random", on="pixel_flipping", across="settings"),
    "rival": beats(Saliency, on="pixel_flipping"),
    "within": beats("random", on="pixel_flipping", within="target"),
    "own metric": bounded("max_sensitivity", at_most=5.0, samples=2),
    "unbounded": bounded("completeness", at_most=0.5),
    "both bounds": bounded("pixel_flipping", at_least=-0.9, at_most=0.9),
    "randomized": changes_under("cascading_randomization"),
    "raw": changes_under("other_target", similarity="mse", at_most=0.1),
    "invariant": invariant_under("batch_order"),
    "similar": invariant_under("batch_order", similarity="spearman", at_least=0.8),
    "recorded": beats("recorded", on="pixel_flipping"),
}


CHEAP = bounded("complexity", at_most=1.9)
QUICK = {"random", "invariant"}
KINDS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CLAIMS]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(N, 8, generator=torch.Generator().manual_seed(1))


def method(model, inputs, targets):
    """Gradients times inputs."""
    leaf = inputs.detach().clone().requires_grad_()
    chosen = model(leaf).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(chosen, leaf)[0] * inputs


def noisy(model, inputs, targets):
    """The same, of inputs with noise that is drawn again in each run."""
    return method(model, inputs + 0.1 * torch.randn_like(inputs), targets)


def wrong(which, source=method):
    """Return the explainer of which the maps of some inputs, chosen by a number, are turned around."""

    def explain(model, inputs, targets):
        maps = source(model, inputs, targets)
        bad = ((inputs[:, 0].double() * 1e4).floor().long() * 7919 + which) % 20 == 0
        return torch.where(bad[:, None], -maps, maps)

    return explain


def bench_of(net, x, tmp_path, **settings):
    return Bench(net, x, baseline=tmp_path / "baseline.json", **settings)


def recorded(net, x, tmp_path, claim=FLIPPING, source=method, **settings):
    """Record a claim, and return the bench and what was recorded."""
    bench = bench_of(net, x, tmp_path, **settings)
    return bench, bench.record(claim, bench.explainer(source, name="it"))


def compared(net, x, tmp_path, claim=FLIPPING, source=method, **settings):
    """Return how a claim stands to what a file holds."""
    bench = bench_of(net, x, tmp_path, **settings)
    return bench.compare(claim, bench.explainer(source, name="it"))


# -------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("name", KINDS)
def test_claims_of_each_kind_are_recorded_and_found_unchanged(net, x, tmp_path, name):
    few = x[:64]
    _, found = recorded(net, few, tmp_path, CLAIMS[name])
    assert len(found.scores) >= 32  # a search leaves out those that it has seen
    assert dict(Recordings.read(tmp_path / "baseline.json", "a file")) == {
        Name("", "it", CLAIMS[name].claim_id): (found,)
    }
    held = compared(net, few, tmp_path, CLAIMS[name])
    assert (held.status, held.worse, held.better) == ("kept", 0, 0)
    assert held.n == len(found.scores)


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(FLIPPING, marks=pytest.mark.slow),
        bounded("pixel_flipping", at_least=0.0),
        pytest.param(bounded("completeness", at_most=0.5), marks=pytest.mark.slow),
        pytest.param(bounded("pixel_flipping", at_least=0.0, at_most=0.9), marks=pytest.mark.slow),
        pytest.param(CLAIMS["each"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_maps_that_are_turned_around_are_worse_for_claims_of_each_kind(net, x, tmp_path, claim):
    few = x[:64]
    recorded(net, few, tmp_path, claim)
    found = compared(net, few, tmp_path, claim, lambda *given: -method(*given))
    assert found.regressed
    assert found.worse > 32 > found.better


def test_the_inputs_that_got_worst_are_named(net, x, tmp_path):
    """By their place in what the user gave, with their scores then and now, so that a person can look at them."""
    few = x[:64]
    recorded(net, few, tmp_path, CHEAP)
    turned = {3, 17, 30, 31, 40, 63}

    def flat(model, inputs, targets):
        maps = method(model, inputs, targets)
        for row, one in enumerate(inputs):
            if any(torch.equal(one, few[place]) for place in turned):
                maps[row] = torch.linspace(1, 1.1, maps.shape[1])  # as complex as a map can be
        return maps

    found = compared(net, few, tmp_path, CHEAP, flat)
    assert found.regressed
    assert len(found.worst) == 5
    assert {*found.worst} < turned
    assert f"the worst are inputs {found.worst[0]} (" in found.reason
    assert compared(net, few, tmp_path, CHEAP, method).worst == ()


@pytest.mark.slow
def test_maps_that_are_read_in_another_way_are_not_compared(net, x, tmp_path):
    recorded(net, x[:64], tmp_path, CLAIMS["either"])
    found = compared(net, x[:64], tmp_path, CLAIMS["either"], lambda *given: -method(*given))
    assert found.status == "refused"
    assert found.reason.startswith("other scores: 'pixel_flipping-reading_contribution' was recorded")


@pytest.mark.slow
def test_a_map_that_stays_after_randomization_is_worse(net, x, tmp_path):
    x = x[:64]
    recorded(net, x, tmp_path, CLAIMS["randomized"])
    found = compared(net, x, tmp_path, CLAIMS["randomized"], lambda model, inputs, targets: inputs.clone())
    assert found.regressed
    assert found.better == 0


@pytest.mark.slow
def test_all_inputs_up_to_256_are_recorded_however_early_a_claim_is_decided(net, x, tmp_path):
    bench, found = recorded(net, torch.cat([x, x + 1]), tmp_path)
    assert found.n < 256 == len(found.scores)
    verdict = bench.explainer(method, name="it").beats("random", on="pixel_flipping")
    assert (found.n, found.outcome) == (verdict.n, verdict.outcome)


@pytest.mark.slow
def test_scores_are_those_of_their_inputs(net, x, tmp_path):
    """A slow twin: each input by itself."""
    few = x[:24]
    bench, found = recorded(net, few, tmp_path)
    verdict = bench.explainer(method).beats("random", on="pixel_flipping", early=False)
    scores = dict(zip(verdict.evidence["indices"], verdict.evidence["scores"]["explainer"], strict=True))
    for index in range(24):
        with bench.subject.lent():
            block = next(Bench(net, few[index : index + 1]).subject.blocks())
        assert found.scores[block.fingerprints[0]] == float(f"{scores[index]:.4g}")


def test_equal_inputs_count_once(net, x, tmp_path):
    _, found = recorded(net, torch.cat([x[:32], x[:32]]), tmp_path, CHEAP)
    assert len(found.scores) == 32


def test_recording_leaves_the_model_the_generators_and_the_verdicts_as_they_were(net, x, tmp_path):
    x = x[:64]
    before, drawn = state_of(net), torch.get_rng_state()
    bench = bench_of(net, x, tmp_path)
    it = bench.explainer(noisy, name="it")
    verdict = it.beats("random", on="pixel_flipping")
    bench.record(FLIPPING, it)
    bench.compare(FLIPPING, it)
    again = it.beats("random", on="pixel_flipping")
    assert again == verdict
    assert again.evidence.plain() == verdict.evidence.plain()
    assert state_of(net) == before
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.slow
def test_noise_is_recorded_of_explainers_that_draw(net, x, tmp_path):
    x = x[:64]
    _, quiet = recorded(net, x, tmp_path)
    _, found = recorded(net, x, tmp_path, source=noisy)
    assert (quiet.draws, found.draws) == (False, True)
    assert quiet.noise == 0.0 < found.noise < 0.3


# ------------------------------------------------------------------------------------------------- what is a regression


@pytest.mark.slow
def test_another_seed_is_no_change_where_nothing_is_drawn(net, x, tmp_path):
    x = x[:64]
    recorded(net, x, tmp_path)
    found = compared(net, x, tmp_path, seed=5)
    assert (found.status, found.n, found.worse, found.better) == ("kept", 64, 0, 0)


@pytest.mark.slow
def test_what_is_better_is_no_regression(net, x, tmp_path):
    recorded(net, x, tmp_path, source=wrong(3))
    found = compared(net, x, tmp_path)
    assert not found.regressed
    assert found.better > found.worse


@pytest.mark.slow
def test_another_model_is_compared(net, x, tmp_path):
    """Inputs whose prediction is another have no partner, and are said."""
    recorded(net, x, tmp_path)
    other = nn.Sequential(*(type(layer)(*size) for layer, size in zip(net, ((8, 16), (), (16, 3)), strict=True))).eval()
    other.load_state_dict({name: value + 0.05 * value.sign() for name, value in net.state_dict().items()})
    found = compared(other, x, tmp_path)
    assert found.status in ("kept", "regressed")
    assert 0 < found.n < N
    assert f"{N - found.n} other inputs were not measured then, or their target was another" in found.reason


@pytest.mark.slow
def test_a_claim_need_be_no_worse_than_one_that_is_accepted(net, x, tmp_path):
    bench, first = recorded(net, x, tmp_path)
    _, second = recorded(net, x, tmp_path, source=wrong(3))
    it = bench.explainer(wrong(3), name="it")
    now = bench.recording(FLIPPING, it)
    assert standing([first], now, 0.95, same_seed=False).regressed
    assert standing([first, second], now, 0.95, same_seed=False).status == "kept"
    other = replace(second, data="others")
    held = standing([other, first], now, 0.95, same_seed=False)
    assert (held.status, held.reason.endswith("(of 2 accepted recordings)")) == ("regressed", True)
    assert standing([other], now, 0.95, same_seed=False).status == "refused"


@pytest.mark.slow
def test_files_are_accepted_beside_one_another(net, x, tmp_path):
    recorded(net, x, tmp_path)
    other = Bench(net, x, baseline=tmp_path / "other.json")
    other.record(FLIPPING, other.explainer(wrong(3), name="it"))
    both = Bench(net, x, baseline=[tmp_path / "baseline.json", tmp_path / "other.json"])
    assert both.compare(FLIPPING, both.explainer(wrong(3), name="it")).status == "kept"


@pytest.mark.slow
def test_other_inputs_of_the_same_data_are_two_samples(net, x, tmp_path):
    many = torch.randn(4000, 8, generator=torch.Generator().manual_seed(2))
    recorded(net, many, tmp_path)
    found = compared(net, many, tmp_path, seed=3)
    assert found.status == "kept"
    assert (found.decided_by == "Gaffke's bound, of two samples") == (found.n == 256)
    turned = compared(net, many, tmp_path, source=lambda *given: -method(*given), seed=3)
    assert turned.regressed


# ------------------------------------------------------------------------------------------------- what is not compared


REFUSED = {
    "data": (lambda x: {"inputs": x + 1}, "other data"),
    "given targets": (lambda x: {"targets": torch.zeros(len(x)).long()}, "other targets: 'predicted' was recorded"),
    "task": (lambda x: {"task": "multilabel"}, "other task"),
    "axes": (lambda x: {"axes": "NF"}, "other axes"),
    "output": (lambda x: {"output": lambda found: found}, "other output"),
}


@pytest.mark.parametrize("name", [*REFUSED])
def test_what_differs_is_refused_with_the_reason(net, x, tmp_path, name):
    recorded(net, x[:32], tmp_path, CHEAP)
    change, found = REFUSED[name]
    settings = {"inputs": x[:32], **change(x[:32])}
    held = compared(net, settings.pop("inputs"), tmp_path, CHEAP, **settings)
    assert held.status == "refused"
    assert held.reason.startswith(found)


@pytest.mark.slow
def test_other_weights_are_another_measurement(net, x, tmp_path):
    recorded(net, x[:64], tmp_path, CLAIMS["randomized"])
    held = compared(net, x[:64], tmp_path, CLAIMS["randomized"], seed=1)
    assert held.status == "refused"
    assert held.reason.startswith("other seed: '0' was recorded, and now it is '1', and weights")


def test_a_stream_of_other_inputs_is_refused(net, x, tmp_path):
    recorded(net, [x[:32], x[32:64]], tmp_path, CHEAP)
    assert compared(net, [x[:32], x[32:64]], tmp_path, CHEAP).n == 64
    assert compared(net, [x[:64]], tmp_path, CHEAP).status == "kept"
    held = compared(net, [x[64:96], x[96:128]], tmp_path, CHEAP)
    assert (held.status, "none of those measured was measured then" in held.reason) == ("refused", True)


def test_another_claim_or_explainer_is_not_recorded(net, x, tmp_path):
    bench, _ = recorded(net, x[:32], tmp_path, CHEAP)
    assert bench.compare(CLAIMS["both bounds"], bench.explainer(method, name="it")).status == "missing"
    assert bench.compare(CHEAP, bench.explainer(method, name="other")).status == "missing"
    assert bench.compare(bounded("complexity", at_most=1.8), bench.explainer(method, name="it")).n == 0


def test_without_a_file_nothing_can_be_recorded_or_compared(net, x):
    bench = Bench(net, x)
    for work in (bench.record, bench.compare):
        with pytest.raises(XaiError, match="no recorded baseline"):
            work(FLIPPING, bench.explainer(method))


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("claim", [beats("random", on="roar"), bounded("roar", at_most=0.9)], ids=str)
def test_claims_whose_models_are_retrained_are_compared_by_interval(tmp_path, claim):
    data, test = problem(400, 0), problem(100, 1)
    model = descended(*data, 0)

    def held(source, inputs=test[0], data=data, record=False):
        settings = {"train": descended, "training_data": (*data, *test)}
        bench = Bench(model, inputs, test[1], baseline=tmp_path / "baseline.json", **settings)
        return (bench.record if record else bench.compare)(claim, bench.explainer(source, name="it"))

    def good(model, inputs, targets):
        return inputs * model.layer.weight[targets].reshape(inputs.shape)

    assert not held(good, record=True).scores
    assert (held(good).status, held(good).decided_by) == ("kept", "two intervals")
    assert held(lambda *given: -good(*given)).regressed
    assert held(good, data=problem(400, 3)).reason.startswith("other training_data")


# ---------------------------------------------------------------------------------------------------- beats("recorded")


@pytest.mark.slow
def test_what_has_improved_beats_its_record(net, x, tmp_path):
    x = x[:128]
    claim = CLAIMS["recorded"]
    recorded(net, x, tmp_path, claim, lambda *given: -method(*given))
    bench = bench_of(net, x, tmp_path)
    verdict = bench.explainer(method, name="it").beats("recorded", on="pixel_flipping")
    assert verdict.passed
    assert verdict.estimate > WORSE_BY
    assert bench.explainer(lambda *given: -method(*given), name="it").beats("recorded", on="pixel_flipping").failed


def test_what_has_stayed_does_not_beat_its_record(net, x, tmp_path):
    x = x[:128]
    recorded(net, x, tmp_path, CLAIMS["recorded"])
    verdict = bench_of(net, x, tmp_path).explainer(method, name="it").beats("recorded", on="pixel_flipping")
    assert verdict.failed
    assert verdict.estimate == 0.0
    assert "no better than recorded" in verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["completeness", "max_sensitivity"])
def test_metrics_without_a_range_and_of_their_own_have_a_record(net, x, tmp_path, metric):
    few = x[:64]
    recorded(net, few, tmp_path, beats("recorded", on=metric))
    verdict = bench_of(net, few, tmp_path).explainer(method, name="it").beats("recorded", on=metric)
    assert verdict.failed
    assert verdict.estimate == 0.0


@pytest.mark.slow
def test_inputs_without_a_record_are_left_out(net, x, tmp_path):
    claim = CLAIMS["recorded"]
    bench, found = recorded(net, x, tmp_path, claim)
    kept = dict([*found.scores.items()][: N // 2])
    bench.past = replace(
        bench.past, recordings=Recordings({Name("", "it", claim.claim_id): [replace(found, scores=kept)]})
    )
    verdict = bench.explainer(method, name="it").beats("recorded", on="pixel_flipping", early=True)
    assert verdict.n <= N // 2
    assert verdict.evidence["left_out"] > 0


def test_a_record_that_cannot_be_compared_is_an_error(net, x, tmp_path):
    x = x[:64]
    recorded(net, x, tmp_path, CLAIMS["recorded"])
    for settings, found in (
        ({"task": "multilabel"}, "other task"),
        ({"targets": torch.zeros(64).long()}, "other targets"),
    ):
        with pytest.raises(XaiError, match=found):
            bench_of(net, x, tmp_path, **settings).explainer(method, name="it").beats("recorded", on="pixel_flipping")
    with pytest.raises(XaiError, match="no record of other beats recorded") as error:
        bench_of(net, x, tmp_path).explainer(method, name="other").beats("recorded", on="pixel_flipping")
    assert "record(claim, explainer)" in error.value.fix


def test_claims_that_no_record_can_be_beaten_in_are_refused(net, x):
    with pytest.raises(XaiError, match="of which one setting was recorded"):
        beats("recorded", on="pixel_flipping", across="settings")
    with pytest.raises(XaiError, match="of which single inputs have scores"):
        beats("recorded", on="roar")
    with pytest.raises(XaiError, match="no recorded baseline"):
        Bench(net, x).explainer(method).beats("recorded", on="pixel_flipping")


# ------------------------------------------------------------------------------------------------------ simulated rates


@pytest.mark.slow
def test_a_plant_is_found_and_a_rerun_with_other_draws_is_quiet(net, x, tmp_path):
    """The slow lane has as many as show the rates."""
    bench, _ = recorded(net, x, tmp_path)
    found = bench.compare(FLIPPING, bench.explainer(wrong(3), name="it"))
    assert found.regressed
    assert 5 <= found.worse <= 25
    assert f"{found.worse} of {N} inputs are worse" in found.reason
    assert stats.binomtest(found.worse, found.worse + found.better, alternative="greater").pvalue <= 0.05
    recorded(net, x[:64], tmp_path, CHEAP, noisy)
    assert not compared(net, x[:64], tmp_path, CHEAP, noisy, seed=1).regressed


@pytest.mark.slow
def test_power_and_false_alarms_of_whole_claims(net, x, tmp_path):
    """Wrong maps in one input of twenty, another twentieth each time; 200 reruns whose draws are others."""
    recorded(net, x, tmp_path)
    bench = bench_of(net, x, tmp_path)
    found = [bench.compare(FLIPPING, bench.explainer(wrong(which), name="it")).regressed for which in range(20)]
    assert np.mean(found) >= 0.9
    recorded(net, x[:64], tmp_path, CHEAP, noisy)
    alarms = sum(compared(net, x[:64], tmp_path, CHEAP, noisy, seed=seed).regressed for seed in range(1, 201))
    assert stats.binomtest(alarms, 200, 0.05, alternative="greater").pvalue > 0.01
