"""Plans: what a claim costs is known before it is decided, and one that cannot be decided costs nothing."""

from __future__ import annotations

import io
import time

import captum.attr
import pytest
import torch
from sentences import Convolutional, sentences
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.bench import progress
from pytest_xaisanity.bench.plan import Plan, shown_time
from pytest_xaisanity.claims.make import beats, bounded, changes_under, invariant_under
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.base import Cost


class Counting:
    """The gradient, which counts what it explains."""

    def __init__(self):
        self.rows = 0

    def __call__(self, model, inputs, targets):
        self.rows += len(inputs)
        inputs = inputs.requires_grad_()
        return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 12), nn.Tanh(), nn.Linear(12, 4)
    ).eval()


def images(n):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


N = 128
CASCADE = "cascading_randomization"
CLAIMS = {
    "a sample": (changes_under(CASCADE, cells="sample", early=False), 2 + 2 - 1 / 3),
    "all cells": (changes_under(CASCADE, seeds=2, early=False), 2 + 2 * 3),
    "two layers": (changes_under("independent_randomization", depth=2, seeds=3, cells="all", early=False), 2 + 3 * 2),
    "noisy copies": (changes_under(CASCADE, samples=4, depth=1, early=False), 4 * (2 + 8)),
    "two of many copies": (changes_under(CASCADE, samples=40, depth=1, cells="sample", early=False), 3),
    "later layers": (changes_under("later_layers", cells="sample", early=False), 3),
    "another class": (changes_under("other_target", cells="sample", early=False), 3),
    "order": (invariant_under("batch_order"), 3),
    "entropies": (bounded("efficient_mprt", at_most=0.5, seeds=3, early=False), 4),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_as_many_explanations_are_made_as_are_planned(what):
    """But for the few on which an explainer is tried out, and what the draw of the cells leaves to chance."""
    claim, each = CLAIMS[what]
    bench = Bench(network(), images(N), device="cpu")
    explainer = bench.explainer(explain := Counting())
    (plan,) = bench.plan(claim, explainer)
    assert plan.cost.explanations == pytest.approx(each)
    explain.rows = 0
    verdict = explainer.decide(claim)
    assert verdict.n == N
    # The first block is explained already: its time was taken.
    assert explain.rows == pytest.approx(each * N, rel=0.15)


@pytest.mark.parametrize(("claim", "maps"), [(beats("random", on="pixel_flipping", draws=4), 5), (None, 1)])
def test_as_many_passes_are_made_as_are_planned(claim, maps):
    """Of eight removals the last is shared, in either order."""
    model, passes = network(), []
    bench = Bench(model, images(N), device="cpu")
    explainer = bench.explainer(lambda model, inputs, targets: inputs * 2)
    claim = claim or bounded("pixel_flipping", at_least=0.9, early=False)
    (plan,) = bench.plan(claim, explainer)
    assert (plan.cost.explanations, plan.cost.passes) == (1, maps * 2 * 7 + 2)
    model.register_forward_hook(lambda module, given, result: passes.append(len(result)))
    explainer.decide(beats("random", on="pixel_flipping", draws=4, early=False) if maps == 5 else claim)
    # untouched and emptied, and 16 edge maps; the model was checked when it was planned
    assert sum(passes) == (maps * 14 + 2) * N + plan.cost.once - 16
    assert plan.cost.once == 16 * 16 + 16


UNDECIDED = {"on": "pixel_flipping", "early": False}
WHOLE = {
    "a sample": changes_under(CASCADE, cells="sample", early=False),
    "all cells": changes_under("bottom_up_randomization", seeds=2, early=False),
    "noisy copies": changes_under(CASCADE, samples=2, depth=1, early=False),
    "later layers": changes_under("later_layers", cells="sample", early=False),
    "another class": changes_under("other_target", cells="sample", early=False),
    "order": invariant_under("batch_order"),
    "random orders": beats("random", **UNDECIDED),
    "own maps": beats("other_input", **UNDECIDED),
    "edges": beats("edges", patch=2, **UNDECIDED),
    "flipping": bounded("pixel_flipping", at_least=0.9, early=False),
    "infidelity": beats("random", on="infidelity", early=False),
    "sensitivity": bounded("max_sensitivity", at_most=0.5, early=False),
    "interpolation": beats("random", on="road", early=False),
    "regions": beats("random", on="region_perturbation", early=False),
    "deletion": beats("random", on="deletion", early=False),
    "insertion": beats("random", on="insertion", early=False),
    "shift": invariant_under("input_shift"),
    "layer": invariant_under("no_op_layer"),
    "completeness": bounded("completeness", at_most=0.5, early=False),
    "entropies": bounded("efficient_mprt", at_most=0.5, seeds=2, early=False),
    "channels": bounded("scale_preservation", at_least=0.1, seeds=2, early=False),
}


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("given", [False, True], ids=["predicted", "given"])
@pytest.mark.parametrize("what", WHOLE)
def test_controls_checks_and_predictions_are_planned_too(what, given):
    """Of 32 inputs, where they weigh: every pass of the model, but for the two inputs on which it is tried out."""
    inputs, targets = images(32), torch.arange(32) % 4 if given else None
    bench = Bench(network(), inputs, targets, device="cpu")
    plans = bench.plan(WHOLE[what], bench.explainer(Counting()))
    planned = sum(32 * (plan.cost.explanations + plan.cost.passes) + plan.cost.once for plan in plans)
    if what in ("a sample", "all cells"):  # the network's own gradients are not asked for where a claim passes
        planned -= sum(32 * (plan.cost.passes - (not given)) for plan in plans)  # but predictions are made
    model, passes = network(), []
    bench = Bench(model, inputs, targets, device="cpu")
    model.register_forward_hook(lambda module, given, result: passes.append(len(result)))
    if what == "channels":
        model.register_full_backward_hook(lambda module, given, result: passes.append(len(result[0])))
    bench.explainer(Counting()).decide(WHOLE[what])
    assert 0.9 * planned <= sum(passes) <= 1.03 * planned


def test_the_gradients_of_a_network_are_planned_where_a_cascade_may_ask_for_them():
    """A gradient before and one after, of which a hook sees the way forward alone."""
    inputs, targets = images(32), torch.arange(32) % 4
    claim, passes, model = WHOLE["a sample"], [], network()
    bench = Bench(model, inputs, targets, device="cpu")
    (plan,) = bench.plan(claim, bench.explainer(Counting()))
    assert plan.cost.passes == 4
    bench = Bench(model, inputs, targets, device="cpu")
    model.register_forward_hook(lambda module, given, result: passes.append(len(result)))
    assert not bench.explainer(lambda model, inputs, targets: inputs * 2).decide(claim)
    assert 2 * 32 <= sum(passes) <= 2 * 32 + plan.cost.once


@pytest.mark.parametrize("on", ["pixel_flipping", "deletion", "insertion", "comprehensiveness", "sufficiency"])
def test_passes_of_tokens_are_planned_too(on):
    """The sentence without a token is the last point of all curves, and passed once."""
    model, passes = Convolutional().eval(), []
    bench = Bench(model, sentences(32), embedding="embedding", device="cpu")
    claim = beats("random", on=on, early=False)
    (plan,) = bench.plan(claim, bench.explainer(captum.attr.InputXGradient))
    bench = Bench(model, sentences(32), embedding="embedding", device="cpu")
    model.head.register_forward_hook(lambda module, given, result: passes.append(len(result)))
    bench.explainer(captum.attr.InputXGradient).decide(claim)
    planned = 32 * (plan.cost.explanations + plan.cost.passes) + plan.cost.once
    assert 0.9 * planned <= sum(passes) <= planned + 4  # the two sentences on which the explainer is tried


def test_a_claim_of_several_has_a_plan_for_each():
    bench = Bench(network(), images(32), device="cpu")
    explainer = bench.explainer(Counting())
    each = bench.plan(beats("mutants", on="pixel_flipping"), explainer)
    assert [plan.claim for plan in each] == [
        f"{explainer.name} beats {part} on pixel_flipping" for part in ("low_rank", "rounded")
    ]
    assert len(bench.plan(beats("random", on="pixel_flipping", across="settings"), explainer)) == 12


def test_a_rival_has_a_speed_of_its_own():
    def slow(model, inputs, targets):
        time.sleep(0.002 * len(inputs))
        return inputs * 2

    bench = Bench(network(), images(50), device="cpu")
    (plan,) = bench.plan(beats(bench.explainer(slow), on="pixel_flipping"), bench.explainer(Counting()))
    assert plan.seconds > 0.1


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 40), (0.15, 6)])
def test_what_takes_long_is_timed_on_two_inputs(seconds, most):
    """Networks at 224 pixels, Integrated Gradients of many steps: a dry run must not take minutes to say so."""
    explain, rows = Counting(), []

    def explainer(model, inputs, targets):
        rows.append(len(inputs))
        time.sleep(seconds * len(inputs))
        return explain(model, inputs, targets)

    bench = Bench(network(), images(32), device="cpu")
    (plan,) = bench.plan(beats("random", on="pixel_flipping"), bench.explainer(explainer))
    assert sum(rows) <= most
    assert plan.seconds > 32 * seconds


def test_many_passes_are_told_as_people_write_them():
    plan = Plan("a claim", 40, Cost(passes=248.31, once=1741.0), each=1.0)
    assert str(plan) == "a claim: 248 passes for each of 40 inputs and 1,741 passes once, at most about 40 s"


@pytest.mark.parametrize(
    "claim",
    [
        changes_under(CASCADE, depth=99),
        changes_under("later_layers", cut="nope"),
        changes_under("later_layers", seeds="fresh", cells="all"),
        beats("random", on="pixel_flipping", patch=50),
    ],
)
def test_what_would_be_refused_is_not_planned(claim):
    bench = Bench(network(), images(32), device="cpu")
    with pytest.raises(XaiError):
        bench.plan(claim, bench.explainer(Counting()))


def test_trainings_are_planned_and_not_done():
    def train(inputs, targets, seed):
        raise AssertionError("trained")

    data = images(20), torch.arange(20) % 4
    bench = Bench(network(), images(32), device="cpu", train=train, training_data=data)
    (plan,) = bench.plan(changes_under("label_randomization", seeds=2), bench.explainer(Counting()))
    assert plan.cost.trainings == 4
    assert ", 4 trainings, at most about" in str(plan)


@pytest.mark.parametrize("baseline", [None, "compared", "recorded"])
@pytest.mark.parametrize(
    "claim", [bounded("pixel_flipping", at_least=0.9, early=False), changes_under("later_layers", early=False)]
)
def test_what_a_baseline_takes_is_planned_too(tmp_path, claim, baseline):
    """Recorded, what varies from run to run is measured twice, but for weights that all inputs share."""
    model, passes = network(), []

    def drawing(model, inputs, targets):
        passes.append(len(inputs))
        return inputs + torch.rand_like(inputs)

    bench = Bench(model, images(N), torch.arange(N) % 4, device="cpu", baseline=tmp_path / "b.json")
    explainer = bench.explainer(drawing)
    (plan,) = bench.plan(claim, explainer, baseline=baseline)
    planned = (N + plan.again) * (plan.cost.explanations + plan.cost.passes) + (1 + bool(plan.again)) * plan.cost.once
    passes.clear()
    assert plan.again == (N if baseline == "recorded" else 0)
    assert plan.seconds == pytest.approx((N + plan.again) * plan.each + (1 + bool(plan.again)) * plan.once)
    model.register_forward_hook(lambda module, given, result: passes.append(len(result)))
    {None: explainer.decide, "compared": lambda it: bench.compare(it, explainer)}.get(
        baseline, lambda it: bench.record(it, explainer)
    )(claim)
    assert 0.85 * planned <= sum(passes) <= 1.05 * planned


def test_a_claim_against_a_record_is_not_planned_where_there_is_none(tmp_path):
    bench = Bench(network(), images(32), device="cpu", baseline=tmp_path / "b.json")
    claim, explainer = beats("recorded", on="pixel_flipping"), bench.explainer(Counting())
    with pytest.raises(XaiError, match="found no record of"):
        bench.plan(claim, explainer)
    (plan,) = bench.plan(claim, explainer, baseline="recorded")
    assert ", 32 inputs at least, and these twice, for the baseline, at most about" in str(plan)


def test_a_stream_has_no_length_and_no_time():
    bench = Bench(network(), [images(16), images(16)], device="cpu")
    (plan,) = bench.plan(changes_under("later_layers"), bench.explainer(Counting()))
    assert plan.seconds is None
    assert str(plan).endswith("later_layers: 3 explanations and 1 pass for each input of a stream and 28 passes once")


@pytest.mark.parametrize(
    ("claim", "least"),
    [
        (changes_under(CASCADE), 12),
        (changes_under(CASCADE, similarity="spearman", at_most=0.0), 10),
        (beats("random", on="pixel_flipping"), 5),
        (beats("edges", on="pixel_flipping"), 5),
        (beats("uninformative", on="pixel_flipping"), 9),
        (bounded("pixel_flipping", at_least=0.0), 5),
        (invariant_under("batch_order", similarity="spearman", at_least=0.0), 5),
    ],
)
@pytest.mark.parametrize("way", ["decide", "plan"])
def test_too_few_inputs_are_refused_before_anything_is_explained(claim, least, way):
    explain = Counting()
    bench = Bench(network(), images(3), device="cpu")
    explainer = bench.explainer(explain)
    explain.rows = 0
    with pytest.raises(XaiError, match=f"found 3 inputs for the claim .*at least {least}"):
        explainer.decide(claim) if way == "decide" else bench.plan(claim, explainer)
    assert way == "plan" or explain.rows == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.04 s"), (4.21, "4.2 s"), (42.1, "42 s"), (400, "7 min"), (9000, "2 h")]
)
def test_times_read_as_people_say_them(seconds, text):
    assert shown_time(seconds) == text


class Screen(io.StringIO):
    """A terminal, or not."""

    def __init__(self, *, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(("terminal", "worth", "shown"), [(True, 0.0, True), (False, 0.0, False), (True, 5.0, False)])
def test_a_bar_is_shown_on_a_terminal_where_it_is_worth_it(monkeypatch, terminal, worth, shown):
    monkeypatch.setattr(progress, "_WORTH_SHOWING", worth)
    screen = Screen(terminal=terminal)
    bench = Bench(network(), images(64), device="cpu", progress=screen)
    bench.explainer(Counting(), name="gradient").changes_under(CASCADE, retention=0.001)
    assert ("gradient changes_under cascading_randomization" in screen.getvalue()) is shown
    assert ("/64" in screen.getvalue()) is shown
