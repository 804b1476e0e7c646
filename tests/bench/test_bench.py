"""The bench: nothing computed twice, same seed same evidence, flat memory."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from textwrap import dedent

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.claims.make import beats, bounded, changes_under, invariant_under
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.report.records import plain_value

pytestmark = pytest.mark.long

RANDOMIZATION = "cascading_randomization"


def small():
    """Return a network whose gradients differ from input to input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 4)).eval()


@pytest.fixture
def model():
    return small()


def images(n=40, seed=0):
    """Return seeded inputs."""
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def gradients(model, inputs, targets):
    """Return the gradient of the explained output."""
    inputs = inputs.requires_grad_()
    outputs = model(inputs)[torch.arange(len(inputs)), targets]
    return torch.autograd.grad(outputs.sum(), inputs)[0]


class Counting:
    """An explainer that counts how often each input is explained."""

    def __init__(self, explain=gradients):
        self.explain, self.seen = explain, Counter()

    def __call__(self, model, inputs, targets):
        self.seen.update(inputs.detach().flatten(1).sum(1).tolist())
        return self.explain(model, inputs, targets)

    def pause(self):
        """Return how many inputs were explained since the last time."""
        count, self.seen = sum(self.seen.values()), Counter()
        return count


class Passes:
    """Counts the inputs that go through a model."""

    def __init__(self, model):
        self.count = 0
        model.register_forward_pre_hook(self._count)

    def _count(self, _module, args):
        self.count += len(args[0])

    def pause(self):
        """Return how many inputs went through since the last time."""
        count, self.count = self.count, 0
        return count


def noisy(model, inputs, targets):
    """Return gradients with noise from the global generator."""
    return gradients(model, inputs, targets) + 0.2 * torch.randn_like(inputs)


class TestNothingIsComputedTwice:
    def test_a_second_claim_on_the_same_evidence_costs_nothing(self, model):
        passes, explain = Passes(model), Counting()
        bound = Bench(model, images()).explainer(explain)
        bound.changes_under(RANDOMIZATION, early=False)
        assert passes.pause() > 0
        assert explain.pause() > 0
        bound.changes_under(RANDOMIZATION, early=False, retention=0.4)
        bound.changes_under(RANDOMIZATION, early=False, confidence=0.9)
        assert (passes.pause(), explain.pause()) == (0, 0)

    def test_two_similarities_share_one_randomization(self, model):
        bound = Bench(model, images()).explainer(explain := Counting())
        bound.changes_under(RANDOMIZATION, similarity="ssim", at_most=0.3, early=False)
        whole = explain.pause()
        bound.changes_under(RANDOMIZATION, similarity="cosine", at_most=0.3, early=False)
        bound.changes_under(RANDOMIZATION, depth=1, seeds=2, similarity="spearman", early=False)
        assert whole == 2 + 40 * (2 + 8 * 2)  # two to see whether it draws; before, again, eight seeds of two layers
        assert explain.pause() == 0

    def test_a_claim_that_needs_more_inputs_measures_only_those(self, model):
        bound = Bench(model, images(160)).explainer(explain := Counting())
        few = bound.changes_under(RANDOMIZATION, similarity="spearman", cells="all")
        first = explain.pause()
        more = bound.changes_under(RANDOMIZATION, similarity="spearman", cells="all", confidence=0.999999)
        assert (few.n, more.n) == (32, 128)
        assert first == 2 + 32 * 18
        assert explain.pause() == 96 * 18

    def test_a_metric_goes_over_an_explainer_once(self, model):
        passes, bench = Passes(model), Bench(model, images())
        bench.explainer(gradients).bounded("pixel_flipping", at_least=-0.5, steps=4, early=False)
        first = passes.pause()
        bench.explainer(gradients).bounded("pixel_flipping", at_most=0.9, steps=4, early=False)
        assert first > 0
        assert passes.pause() == 0
        bench.explainer(gradients).beats("random", on="pixel_flipping", steps=4, draws=2, early=False)
        random = passes.pause()
        bench.explainer(Saliency).beats("random", on="pixel_flipping", steps=4, draws=2, early=False)
        assert 0 < passes.pause() < first + 200 < first + random + 200, "the random orders are scored once for all"

    def test_the_evidence_of_the_shorter_claim_begins_that_of_the_longer(self, model):
        made = [lambda b: b.changes_under(RANDOMIZATION), lambda b: b.changes_under(RANDOMIZATION, confidence=0.999999)]
        bound, other = (Bench(model, images(160)).explainer(gradients) for _ in range(2))
        short, long = (claim(bound) for claim in made)
        assert [claim(other).evidence for claim in reversed(made)] == [long.evidence, short.evidence]
        assert short.n < long.n
        assert short.evidence["indices"] == long.evidence["indices"][: short.n]
        for name, scores in short.evidence["scores"].items():
            assert scores == long.evidence["scores"][name][: short.n]

    def test_a_claim_on_every_input_has_the_evidence_of_one_that_may_stop(self, model):
        """Whatever the blocks: who is whose partner does not depend on them."""
        bound = Bench(model, images(70)).explainer(gradients)
        whole = bound.changes_under(RANDOMIZATION, early=False)
        looked = bound.changes_under(RANDOMIZATION, cells="all", confidence=0.9999999)
        assert whole.n == looked.n == 70
        for name, scores in whole.evidence["scores"].items():
            assert scores == pytest.approx(looked.evidence["scores"][name], abs=1e-5)

    def test_explainers_are_the_same_by_content(self, model):
        calls = []

        class Watched(Saliency):
            def attribute(self, inputs, target=None, abs=True):  # noqa: A002 - captum's name
                calls.append(len(inputs))
                return super().attribute(inputs, target, abs)

        bench = Bench(model, images(16))
        bench.explainer(Watched, abs=False).changes_under(RANDOMIZATION, early=False)
        once = sum(calls)
        bench.explainer(Watched, abs=False).changes_under(RANDOMIZATION, early=False)
        assert sum(calls) == once
        bench.explainer(Watched, abs=True).changes_under(RANDOMIZATION, early=False)
        assert sum(calls) == 2 * once

    def test_a_failed_measurement_is_made_anew(self, model):
        calls = []

        def explain(model, inputs, targets):
            calls.append(1)
            if len(calls) == 9:
                raise RuntimeError("once")
            return gradients(model, inputs, targets)

        bound = Bench(model, images()).explainer(explain)
        with pytest.raises(XaiError, match="once"):
            bound.changes_under(RANDOMIZATION, early=False)
        again = bound.changes_under(RANDOMIZATION, early=False)
        assert (
            again.evidence
            == Bench(model, images()).explainer(gradients).changes_under(RANDOMIZATION, early=False).evidence
        )


class TestTheModelMayChange:
    def test_other_weights_are_measured_anew(self, model):
        bound = Bench(model, images()).explainer(explain := Counting())
        first = bound.changes_under(RANDOMIZATION, early=False)
        explain.pause()
        with torch.no_grad():
            model[1].weight.mul_(-1.5)
        second = bound.changes_under(RANDOMIZATION, early=False)
        assert explain.pause() > 0
        assert first.evidence["scores"] != second.evidence["scores"]
        assert (
            second.evidence
            == Bench(model, images()).explainer(gradients).changes_under(RANDOMIZATION, early=False).evidence
        )

    @pytest.mark.parametrize("value", [3.0, True, "tanh"])
    def test_other_attributes_are_measured_anew(self, model, value):
        """A slope, a flag, a mode: plain values that a forward pass may read."""
        model[2].setting = 1.0
        bound = Bench(model, images()).explainer(explain := Counting())
        bound.changes_under(RANDOMIZATION, early=False)
        explain.pause()
        model[2].setting = value
        bound.changes_under(RANDOMIZATION, early=False)
        assert explain.pause() > 0


def leave_a_hook(model):
    """Double what a layer gives, from now on."""
    model[2].register_forward_hook(lambda module, given, output: 2 * output)


def change_an_attribute(model):
    """Change what the forward pass of :class:`Sloped` reads."""
    model[2].slope = 3.0


class Sloped(nn.Module):
    """An activation with a setting."""

    def __init__(self):
        super().__init__()
        self.slope = 1.0

    def forward(self, x):
        return torch.tanh(self.slope * x)


class TestOneExplainerIsNotJudgedByWhatAnotherLeft:
    @pytest.mark.parametrize("leave", [leave_a_hook, change_an_attribute])
    def test_a_sound_explainer_has_the_figures_of_a_fresh_bench(self, model, leave):
        model[2] = Sloped()

        def careless(model, inputs, targets):
            leave(model)
            return gradients(model, inputs, targets)

        bench = Bench(model, images())
        bench.explainer(careless).beats("random", on="pixel_flipping", steps=4)
        verdict = bench.explainer(gradients).beats("random", on="pixel_flipping", steps=4)
        fresh = Bench(model, images()).explainer(gradients).beats("random", on="pixel_flipping", steps=4)
        assert verdict.evidence == fresh.evidence

    def test_a_model_that_counts_its_calls_is_not_measured_anew(self, model):
        class Counted(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner, self.calls = model, 0

            def forward(self, x):
                self.calls += 1
                return self.inner(x)

        bound = Bench(Counted().eval(), images()).explainer(explain := Counting())
        bound.changes_under(RANDOMIZATION, early=False)
        explain.pause()
        bound.changes_under(RANDOMIZATION, retention=0.3, early=False)
        assert explain.pause() == 0


def claims_of(bench, explain, order):
    """Return the evidence of several claims, made in an order."""
    bound = bench.explainer(explain, name="E")
    made = {
        "changes": lambda: bound.changes_under(RANDOMIZATION, seeds=2),
        "raw": lambda: bound.changes_under("independent_randomization", similarity="ssim", at_most=0.3, seeds=2),
        "beats": lambda: bound.beats("random", on="pixel_flipping", steps=4, draws=3),
        "paired": lambda: bound.beats(InputXGradient, on="pixel_flipping", steps=4),
        "bounded": lambda: bound.bounded("pixel_flipping", at_least=-0.9, steps=4),
        "order": lambda: bound.invariant_under("batch_order", similarity="cosine", at_least=0.0),
    }
    return {name: made[name]() for name in (made if order > 0 else reversed(made))}


class TestSameSeedSameVerdict:
    @pytest.mark.slow
    @pytest.mark.parametrize("explain", [gradients, noisy])
    def test_evidence_is_equal_to_the_last_bit_in_any_order_of_claims(self, explain):
        one = claims_of(Bench(small(), images(), seed=3), explain, 1)
        other = claims_of(Bench(small(), images(), seed=np.int64(3)), explain, -1)
        for name, verdict in one.items():
            assert verdict == other[name]
            one_side, other_side = (plain_value(part.evidence.plain()) for part in (verdict, other[name]))
            assert json.dumps(one_side, sort_keys=True) == json.dumps(other_side, sort_keys=True)

    @staticmethod
    @cache
    def found_in_default_batches(explain):
        return claims_of(Bench(small(), images(), seed=3), explain, 1)

    @pytest.mark.slow
    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    @pytest.mark.parametrize("explain", [gradients, noisy])
    def test_the_micro_batch_changes_no_verdict_and_scores_only_by_rounding(self, explain, batch_size):
        one = self.found_in_default_batches(explain)
        other = claims_of(Bench(small(), images(), seed=3, batch_size=batch_size), explain, 1)
        for name, verdict in one.items():
            assert verdict.outcome == other[name].outcome
            assert verdict.n == other[name].n
            if name == "order" and explain is noisy:
                continue  # what a batch draws in another order is another draw
            for key, scores in verdict.evidence["scores"].items():
                assert scores == pytest.approx(other[name].evidence["scores"][key], abs=1e-5)

    def test_another_seed_gives_other_numbers(self):
        one, other = (claims_of(Bench(small(), images(), seed=seed), gradients, 1) for seed in (0, 1))
        for name in ("changes", "raw", "beats"):
            assert one[name].evidence["scores"] != other[name].evidence["scores"]

    def test_the_global_generators_do_not_move(self, model):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        claims_of(Bench(model, images()), noisy, 1)
        assert torch.equal(before, torch.get_rng_state())

    @pytest.mark.parametrize("seed", [0.5, "7", None])
    def test_a_seed_is_a_whole_number(self, model, seed):
        with pytest.raises(XaiError, match="seed: found"):
            Bench(model, images(), seed=seed)


class TestStreams:
    def stream(self, size, n=40):
        """Return batches that can be read again."""
        return [list(images(n).split(size))[k] for k in range(-(-n // size))]

    def test_a_stream_is_measured_as_a_tensor_is_whatever_its_batches(self, model):
        verdicts = [
            claims_of(Bench(model, given), gradients, 1)
            for given in (images(40), self.stream(5), self.stream(40), iter(self.stream(7)))
        ]
        for other in verdicts[1:]:
            for name, verdict in verdicts[0].items():
                assert verdict == other[name]
                assert verdict.evidence == other[name].evidence
        assert verdicts[0]["changes"].evidence["indices"] != list(range(verdicts[0]["changes"].n))

    def test_a_stream_is_read_to_its_end_once_and_explained_no_further_than_a_claim_needs(self, model):
        """Decided on its first inputs it would be decided on its first class, were it sorted."""
        read = []

        class Batches:
            def __iter__(self):
                for k in range(60):
                    read.append(k)
                    yield images(16, seed=k)

        explainer = Bench(model, Batches()).explainer(gradients)
        verdict = explainer.changes_under(RANDOMIZATION, similarity="spearman")
        assert verdict.n == 32
        assert max(verdict.evidence["indices"]) > 480
        explainer.beats("random", on="pixel_flipping")
        assert read == list(range(60))

    def test_one_odd_input_at_the_end_has_a_partner(self, model):
        """It is compared with the last one of the block before."""
        verdict = Bench(model, self.stream(8, 33)).explainer(gradients).changes_under(RANDOMIZATION, early=False)
        assert verdict.n == 33
        assert None not in verdict.evidence["scores"]["spearman"]


MEMORY = """
    import sys
    from pathlib import Path
    import torch
    from torch import nn
    from pytest_xaisanity import Bench

    torch.set_num_threads(1)
    model = nn.Sequential(
        nn.Conv2d(1, 64, 1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64 * 49, 4)
    ).eval().requires_grad_(False)
    what, count = sys.argv[1], int(sys.argv[2])

    def gradients(model, inputs, targets):
        inputs = inputs.requires_grad_()
        return torch.autograd.grad(model(inputs)[torch.arange(len(inputs)), targets].sum(), inputs)[0]

    class Batches:
        def __iter__(self):
            generator = torch.Generator().manual_seed(0)
            for _ in range(count // 64):
                yield torch.randn(64, 1, 28, 28, generator=generator)

    def claim(inputs):
        bound = Bench(model, inputs, device="cpu").explainer(gradients)
        if what == "bounded":
            return bound.bounded("pixel_flipping", at_least=-0.99, steps=2, early=False)
        return bound.changes_under(
            "cascading_randomization", depth=1, seeds=1, similarity="spearman", at_most=0.5, early=False
        )

    def resident(line):
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(entry.split()[1]) for entry in status if entry.startswith(line)) / 1024

    claim(torch.randn(8, 1, 28, 28))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    if what == "bare":
        images = next(iter(Batches()))
        for _ in range(3):
            gradients(model, images, torch.zeros(64, dtype=torch.long))
    else:
        assert claim(Batches()).n == count
    print(resident("VmHWM") - before)
"""


class TestMemory:
    def peak(self, what, count):
        """Return the peak memory in MB above what was held before, in a process of its own that hoards nothing."""
        run = subprocess.run(
            [sys.executable, "-c", dedent(MEMORY), what, str(count)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
        )
        return float(run.stdout)

    @pytest.mark.slow
    @pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="peaks are read from Linux's /proc")
    @pytest.mark.parametrize("what", ["changes_under", "bounded"])
    def test_memory_is_flat_in_the_number_of_streamed_inputs(self, what):
        """One micro-batch above the bare passes at most, and the same once the first window of a stream is full."""
        bare, few, many = self.peak("bare", 64), self.peak(what, 1024), self.peak(what, 4096)
        print(f"\n{what}: bare {bare:.1f} MB, 1,024 inputs {few:.1f} MB, 4,096 inputs {many:.1f} MB")
        assert many <= 2 * bare
        assert abs(many - few) <= 0.1 * max(few, bare)


class TestBaselines:
    def test_an_explainer_of_the_bench_is_a_baseline(self, model):
        bench = Bench(model, images())
        named = bench.explainer(gradients).beats(bench.explainer(InputXGradient, name="other"), on="pixel_flipping")
        plain = bench.explainer(gradients).beats(InputXGradient, on="pixel_flipping")
        assert "beats other on" in named.claim
        assert named.estimate == plain.estimate

    def test_an_explainer_of_another_bench_is_refused(self, model):
        other = Bench(small(), images()).explainer(Saliency)
        with pytest.raises(XaiError, match="explains the model of another bench"):
            Bench(model, images()).explainer(gradients).beats(other, on="pixel_flipping")

    def test_an_explainer_of_a_bench_is_no_source_of_another(self, model):
        bench = Bench(model, images())
        with pytest.raises(XaiError, match="an explainer of a bench already"):
            bench.explainer(bench.explainer(Saliency))

    def test_an_explainer_does_not_beat_itself(self, model):
        verdict = Bench(model, images(64)).explainer(gradients).beats(gradients, on="pixel_flipping", steps=4)
        assert not verdict.passed
        assert verdict.estimate == pytest.approx(0, abs=0.01)


class TestBatchOrder:
    def test_an_explainer_that_looks_at_its_neighbors_is_caught(self, model):
        def beside(model, inputs, targets):
            return gradients(model, inputs, targets) / (1 + inputs.mean(0, keepdim=True).abs())

        def shifted(model, inputs, targets):
            return gradients(model, inputs, targets).roll(1, 0)

        bench = Bench(model, images())
        assert bench.explainer(gradients).invariant_under("batch_order")
        assert bench.explainer(IntegratedGradients, n_steps=4).invariant_under("batch_order", seeds=2)
        for explain in (beside, shifted):
            assert bench.explainer(explain).invariant_under("batch_order").failed or explain is beside

    def test_an_explainer_that_draws_for_each_input_is_decided_as_any_other(self, model):
        assert Bench(model, images()).explainer(noisy).invariant_under("batch_order").passed

    def test_an_explainer_that_draws_from_a_generator_of_its_own_decides_nothing(self, model):
        own = torch.Generator().manual_seed(0)

        def unseeded(model, inputs, targets):
            return gradients(model, inputs, targets) + torch.randn(inputs.shape, generator=own)

        verdict = Bench(model, images()).explainer(unseeded).invariant_under("batch_order")
        assert verdict.inconclusive
        assert "does not reproduce itself" in verdict.reason


class TestDecide:
    @pytest.mark.parametrize(
        "claim",
        [
            beats("random", on="pixel_flipping"),
            beats("edges", on="pixel_flipping"),
            beats("random", on="pixel_flipping", confidence=0.999),
            bounded("pixel_flipping", at_most=0.3),
            bounded("pixel_flipping", at_most=0.9, at_least=-0.3),
            changes_under("cascading_randomization", similarity="cosine", at_most=0.9),
            changes_under("cascading_randomization", similarity="cosine", at_most=-0.5),
            invariant_under("batch_order", similarity="cosine", at_least=0.5),
        ],
        ids=str,
    )
    def test_as_many_inputs_as_the_error_asks_for_are_enough(self, model, claim):
        with pytest.raises(XaiError, match="expected at least") as caught:
            Bench(model, images(1)).explainer(gradients).decide(claim)
        asked = int(re.findall(r"expected at least (\d+): ", str(caught.value))[0])
        assert Bench(model, images(asked)).explainer(gradients).decide(claim).n == asked

    def test_only_claims_are_decided(self, model):
        with pytest.raises(XaiError, match="found a str; expected a claim"):
            Bench(model, images()).explainer(gradients).decide("changes_under")

    def test_a_claim_object_is_decided_as_the_method_would(self, model):
        bound = Bench(model, images()).explainer(gradients)
        verdict = bound.changes_under(RANDOMIZATION)
        assert bound.decide(changes_under(RANDOMIZATION)) == verdict
        assert bound.bench.decide(changes_under(RANDOMIZATION), bound) == verdict

    def test_a_verdict_can_be_pickled(self, model):
        bound = Bench(model, images()).explainer(gradients)
        for verdict in (
            bound.changes_under(RANDOMIZATION),
            bound.beats("random", on="pixel_flipping", steps=4),
            bound.bounded("pixel_flipping", at_least=-0.9, steps=4),
            bound.invariant_under("batch_order"),
        ):
            assert pickle.loads(pickle.dumps(verdict)) == verdict

    def test_the_confidence_is_the_claims_or_else_the_benchs(self, model):
        bound = Bench(model, images(), confidence=0.9).explainer(gradients)
        assert bound.changes_under(RANDOMIZATION).confidence == 0.9
        assert bound.changes_under(RANDOMIZATION, confidence=0.99).confidence == 0.99

    def test_the_model_comes_back_whatever_the_claim(self, model):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        claims_of(Bench(model, images()), gradients, 1)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def bad_touch(model, inputs, targets):
    """Change the weights at every call, as an explainer that forgets to copy the model does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    return explain_again(model, inputs, targets)


def explain_again(model, inputs, targets):
    leaves = inputs.requires_grad_()
    return torch.autograd.grad(model(leaves).sum(), leaves)[0]


@pytest.mark.parametrize("fails", [False, True])
def test_an_explainer_that_changes_the_weights_is_an_error_and_they_are_restored(fails):
    """A verdict on a drifting model would be worth nothing."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def touching(model, inputs, targets):
        maps = bad_touch(model, inputs, targets)
        if fails:
            raise RuntimeError("after the damage")
        return maps

    bench = Bench(net, torch.randn(32, 6))
    with pytest.raises(XaiError, match="after the damage" if fails else "weights that the explainer"):
        bench.explainer(touching).beats("random", on="pixel_flipping", steps=3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_scripted_model_with_buffers_is_measured():
    """Its modules keep buffers in something that is no dictionary."""
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    scripted = torch.jit.script(net.eval())
    verdict = Bench(scripted, torch.randn(64, 6)).explainer(explain_again).changes_under(RANDOMIZATION, seeds=1)
    assert verdict.evidence["layer_order"] == "registration"


def test_a_scripted_model_from_a_file_is_measured(tmp_path):
    """It keeps its forward() as an attribute from its first call on."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    torch.jit.script(net).save(str(tmp_path / "net.pt"))
    loaded = torch.jit.load(str(tmp_path / "net.pt"))
    assert Bench(loaded, torch.randn(64, 6)).explainer(explain_again).changes_under(RANDOMIZATION, seeds=1) is not None
    frozen = torch.jit.freeze(torch.jit.script(net))
    bench = Bench(frozen, torch.randn(64, 6))
    assert bench.explainer(explain_again).beats("random", on="pixel_flipping", steps=3) is not None


def test_an_explanation_that_depends_on_its_company_is_not_invariant_under_batch_order():
    """Statistics over the batch are the same in any order, but not in other company."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()

    def centered(model, inputs, targets):
        maps = explain_again(model, inputs, targets)
        return maps - maps.mean(0, keepdim=True)

    bench = Bench(net, torch.randn(32, 6))
    assert bench.explainer(explain_again).invariant_under("batch_order")
    assert bench.explainer(centered).invariant_under("batch_order").failed


class Unused(nn.Module):
    """A network with weights, buffers and attributes that are not numbers, and that no output depends on."""

    def __init__(self, value):
        super().__init__()
        self.used, self.value = small(), value
        self.unused = nn.Linear(3, 3)
        self.alone = nn.Parameter(torch.tensor([value, 1.0]))
        self.register_buffer("kept", torch.tensor([value]))
        nn.init.constant_(self.unused.weight, value)

    def forward(self, inputs):
        return self.used(inputs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("intervention", "settings"),
    [
        ("cascading_randomization", {"seeds": 1}),
        ("cascading_randomization", {"seeds": 1, "reinit": "permutation"}),
        ("cascading_randomization", {"seeds": 1, "reinit": "truncated_normal"}),
        ("independent_randomization", {"seeds": 1}),
        ("bottom_up_randomization", {"seeds": 1}),
        ("later_layers", {}),
    ],
)
def test_unused_weights_that_are_no_numbers_do_no_harm(value, intervention, settings):
    model = Unused(value).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    explainer = Bench(model, images()).explainer(gradients)
    verdict = explainer.changes_under(intervention, **settings)
    assert np.isfinite([verdict.estimate, *verdict.interval]).all()
    explainer.beats("random", on="pixel_flipping", steps=4)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) or tensor.isnan().any() for name, tensor in before.items())
    assert all(torch.equal(after[name].isnan(), tensor.isnan()) for name, tensor in before.items())
