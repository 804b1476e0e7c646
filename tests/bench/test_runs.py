"""What a bench keeps of what it measured, and what it forgets."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.interventions.weight_randomization import CascadingRandomization
from pytest_xaisanity.evidence.metrics.cosine_similarity_convergence import Convergence
from pytest_xaisanity.explainers import LRP
from pytest_xaisanity.report.records import plain_value
from pytest_xaisanity.subject.block import Block

pytestmark = pytest.mark.long


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
        ).eval()


def images(count=128):
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def gradients(model, inputs, targets):
    leaf = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)[0]


def bench(inputs=None, **settings):
    return Bench(network(), images() if inputs is None else inputs, device="cpu", **settings)


def test_evidence_is_that_of_the_inputs_a_claim_took_whatever_was_measured_before():
    """A claim that stops at 16 inputs describes 16, also where another one has measured all of them."""
    early = {"at_most": 0.99, "layer": "0"}
    alone = bench().explainer(LRP("zplus")).bounded("cosine_similarity_convergence", **early)
    shared = bench().explainer(LRP("zplus"))
    longer = shared.bounded("cosine_similarity_convergence", at_most=0.9305, layer="0")
    after = shared.bounded("cosine_similarity_convergence", **early)
    assert longer.n > after.n == alone.n
    assert after.evidence.get_part(Convergence) == alone.evidence.get_part(Convergence)
    assert plain_value(after.evidence.plain()) == plain_value(alone.evidence.plain())
    assert longer.evidence.get_part(Convergence) != alone.evidence.get_part(Convergence)


def living(kind: type) -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is kind]


def test_an_early_decision_keeps_no_inputs_and_no_drawn_weights():
    weights = sum(parameter.numel() for parameter in network().parameters())
    before = {id(one) for one in living(Block)}
    explainer = bench().explainer(gradients)
    verdict = explainer.changes_under("cascading_randomization", similarity="spearman", seeds=3)
    assert verdict.n < 128
    assert all(id(one) in before for one in living(Block))
    (run,) = explainer.bench._runs.values()
    procedure = run._measuring.procedure
    assert isinstance(procedure.settings, CascadingRandomization)
    kept = [value for layer in (procedure._kept or {}).values() for value in layer.values()]
    assert sum(tensor.numel() for tensor in kept if isinstance(tensor, Tensor)) < weights / 10


def test_a_claim_goes_on_where_another_one_stopped():
    calls = []

    def counted(model, inputs, targets):
        calls.append(len(inputs))
        return gradients(model, inputs, targets)

    explainer = bench().explainer(counted)
    first = explainer.beats("random", on="pixel_flipping", draws=5, confidence=0.6)
    done = sum(calls)
    second = explainer.beats("random", on="pixel_flipping", draws=5, confidence=0.999999)
    assert second.n > first.n
    assert sum(calls) - done <= second.n - first.n + 64  # nothing is explained twice
    alone = bench().explainer(counted).beats("random", on="pixel_flipping", draws=5, confidence=0.999999)
    assert second == alone
    assert second.evidence["scores"] == alone.evidence["scores"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stream_and_a_tensor_are_taken_up_again_alike(streamed):
    given = list(images().split(24)) if streamed else images()
    explainer = bench(given).explainer(gradients)
    first = explainer.beats("random", on="pixel_flipping", confidence=0.6)
    second = explainer.beats("random", on="pixel_flipping", confidence=0.999999)
    alone = bench(given).explainer(gradients).beats("random", on="pixel_flipping", confidence=0.999999)
    assert second.n > first.n
    assert second.evidence["scores"] == alone.evidence["scores"]
    assert second.evidence["indices"] == alone.evidence["indices"]


def test_what_was_measured_on_a_model_that_an_explainer_changed_is_forgotten():
    """The claim raises as often as it is made; it does not pass on the second try."""

    def meddling(model, inputs, targets):
        with torch.no_grad():
            model[0].weight.add_(0.01)
        return gradients(model, inputs, targets)

    explainer = bench().explainer(meddling)
    for _ in range(3):
        with pytest.raises(XaiError, match="changed"):
            explainer.beats("random", on="pixel_flipping")


def test_an_error_in_a_measurement_leaves_nothing_half_measured():
    fails = [True]

    def failing(model, inputs, targets):
        if fails[0] and len(inputs) < 64:
            raise RuntimeError("not today")
        return gradients(model, inputs, targets)

    explainer = bench(batch_size=64).explainer(failing)
    with pytest.raises(XaiError, match="not today"):
        explainer.changes_under("cascading_randomization", similarity="spearman", seeds=1)
    fails[0] = False
    verdict = explainer.changes_under("cascading_randomization", similarity="spearman", seeds=1)
    same = bench().explainer(failing).changes_under("cascading_randomization", similarity="spearman", seeds=1)
    assert verdict.evidence["scores"] == same.evidence["scores"]
