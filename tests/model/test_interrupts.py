"""A campaign: whatever is raised, at whichever line of the plugin, the model comes back and no interrupt is lost.

A claim is decided many times. Each time something is raised at another line of the plugin, those of its clean-up
included, and the whole state of model and torch is compared with what it was before. The campaigns are of about 1,000
faults and 400 interrupts over all claims, and of one line in three of what is used without a bench; the full ones are

    XAI_FAULTS=5000 XAI_INTERRUPTS=2000 XAI_LINES=1 pytest -m slow tests/model/test_interrupts.py
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
import torch
from captum.attr import DeepLift, GuidedBackprop, Saliency
from model_state import state_of
from planting import planted
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.explainers import LRP, backward_rules, estimate_patterns
from pytest_xaisanity.explainers import DeepLift as Rescale

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

FAULTS, INTERRUPTS = int(os.environ.get("XAI_FAULTS", "1000")), int(os.environ.get("XAI_INTERRUPTS", "400"))
SHARE = int(os.environ.get("XAI_LINES", "3"))  # of how many lines one is taken

IMAGES = torch.randn(16, 2, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(300) % 2
DATA = torch.randn(300, 2, 6, 6, generator=torch.Generator().manual_seed(2)) + 0.7 * LABELS[:, None, None, None]


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2)
    )


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    """A model in mixed modes, with hooks, gradients, and parameters that ask for none."""
    torch.manual_seed(0)
    made = network()
    made[1].eval()
    made(IMAGES).sum().backward()
    made[4].bias.requires_grad_(False)
    made[0].register_forward_hook(lambda *_: None)
    return made


def train(inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    made = network().train()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(10):
        nn.functional.cross_entropy(made(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    return made.eval()


CLAIMS: dict[str, Callable[[nn.Module], Callable[[], object]]] = {
    "cascading_randomization": lambda model: explained(model, Saliency, "changes_under", "cascading_randomization"),
    "later_layers": lambda model: explained(model, LRP("epsilon"), "changes_under", "later_layers", seeds=1),
    "smoothed": lambda model: explained(model, Saliency, "changes_under", "smoothed"),
    "label_randomization": lambda model: explained(
        model, Saliency, "changes_under", "label_randomization", accuracy=0.5, train=train
    ),
    "pixel_flipping": lambda model: explained(model, DeepLift, "beats", "random", on="pixel_flipping", steps=2),
    "convergence": lambda model: explained(
        model, GuidedBackprop, "bounded", "cosine_similarity_convergence", draws=3, at_most=0.9
    ),
    "scale_preservation": lambda model: explained(
        model, Saliency, "bounded", "scale_preservation", seeds=1, at_least=0.1
    ),
    "modified gradients": lambda model: explained(
        model, GuidedBackprop, "changes_under", "independent_randomization", seeds=1, depth=1
    ),
    "own rules": lambda model: explained(
        model, Rescale("rescale"), "bounded", "cosine_similarity_convergence", draws=3, at_most=0.9
    ),
}


def explained(model, source, verb, what, *, train=None, **settings):
    """Return a function that decides one claim on a bench of its own."""
    if what == "cascading_randomization":
        settings |= {"seeds": 1, "depth": 2, "similarity": "spearman"}
    data = None if train is None else (DATA[:200], LABELS[:200], DATA[200:], LABELS[200:])
    bench = Bench(model, IMAGES, device="cpu", train=train, training_data=data)
    return lambda: getattr(bench.explainer(source), verb)(what, **settings)


class Campaign:
    """Decides a claim with something raised at one line, and compares.

    Attributes:
        changed: Where something was left changed, and what.
        swallowed: Where an interrupt did not come out.
    """

    def __init__(self, model: nn.Module, claim: str) -> None:
        self.model, self.claim = model, claim
        CLAIMS[claim](model)()  # what is imported on first use may set filters of warnings
        self.before = state_of(model)
        self.changed: list[str] = []
        self.swallowed: list[str] = []
        self.runs = 0
        self.lines, _, result = self.decide(())
        assert not isinstance(result, BaseException), result
        assert not self.changed, self.changed

    def decide(self, places, error=KeyboardInterrupt):
        """Decide the claim once, and raise ``error`` at these lines."""
        with unraisable() as lost:
            lines, where, result = planted(CLAIMS[self.claim](self.model), places, error)
        self.runs += 1
        if error is KeyboardInterrupt and where and (lost or not isinstance(result, KeyboardInterrupt)):
            self.swallowed.append(f"{self.claim} at {where}: {result!r} {lost}")
        self.compare(where)
        return lines, where, result

    def compare(self, where) -> None:
        """Note what is not as it was."""
        after = state_of(self.model)
        if after != self.before:
            names = [name for name in {**self.before, **after} if self.before.get(name) != after.get(name)]
            self.changed.append(f"{self.claim} at {where}: {names[:5]}")
            self.before = after


@contextmanager
def unraisable() -> Iterator[list[str]]:
    """Gather interrupts that Python prints, because they were raised where nothing can be."""
    lost: list[str] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda raised: lost.append(repr(raised.exc_value))
    try:
        yield lost
    finally:
        sys.unraisablehook = before


def spread(lines: int, count: int, seed: str) -> list[int]:
    """Return ``count`` of the lines from 1 to ``lines``, a third of them among the last 400: the clean-up."""
    rng = random.Random(seed)
    last = rng.sample(range(max(1, lines - 400), lines + 1), min(400, lines, count // 3))
    return last + [rng.randrange(1, lines + 1) for _ in range(count - len(last))]


def report(*campaigns: Campaign) -> None:
    found = [one for campaign in campaigns for one in (*campaign.changed, *campaign.swallowed)]
    assert not found, f"{len(found)} of {sum(c.runs for c in campaigns)} runs:\n" + "\n".join(found[:20])


FEW = ("cascading_randomization", "pixel_flipping", "convergence")


@pytest.mark.parametrize("claim", [pytest.param(one, marks=[] if one in FEW else pytest.mark.slow) for one in CLAIMS])
def test_an_interrupt_and_a_fault_leave_nothing_behind(model, claim):
    campaign = Campaign(model, claim)
    for error in (KeyboardInterrupt, RuntimeError):
        for place in spread(campaign.lines, 2, f"{claim} {error}"):
            campaign.decide((place,), error)
    report(campaign)


@pytest.mark.slow
def test_interrupts_that_follow_one_another_in_the_clean_up_leave_nothing_behind(model):
    campaign = Campaign(model, "modified gradients")
    repeated(campaign, 6)
    report(campaign)


def test_real_signals_leave_nothing_behind_and_are_raised(model):
    campaign = Campaign(model, "modified gradients")
    signaled(campaign, 10)
    report(campaign)


def repeated(campaign: Campaign, count: int) -> None:
    """Raise two to four interrupts in one run, a few lines after one another, in the clean-up or shortly before it."""
    rng = random.Random(campaign.claim)
    for _ in range(count):
        first = campaign.lines - rng.randrange(500)
        steps = [rng.choice([1, 2, 3, 10, 40]) for _ in range(rng.randrange(1, 4))]
        campaign.decide(tuple(first + sum(steps[:place]) for place in range(len(steps) + 1)))


def signaled(campaign: Campaign, count: int) -> None:
    """Send one or two real signals at any time while a claim is decided."""
    start = time.perf_counter()
    CLAIMS[campaign.claim](campaign.model)()
    length, rng = time.perf_counter() - start, random.Random(campaign.claim)
    for _ in range(count):
        delays = [rng.uniform(0, 1.1 * length)] + [rng.uniform(0, 0.002)] * rng.randrange(2)
        with unraisable() as lost:
            raised, result = interrupted(CLAIMS[campaign.claim](campaign.model), delays)
        campaign.runs += 1
        # One that arrives in a callback of a weak reference, of the standard library's or torch's, is printed there.
        if raised > len(lost) and not isinstance(result, KeyboardInterrupt):
            campaign.swallowed.append(f"{campaign.claim} after {delays} of {length} s: {result!r}")
        campaign.compare(f"signals after {delays} s")


def interrupted(run: Callable[[], object], delays: list[float]) -> tuple[int, object]:
    """Do ``run`` and send a signal after each delay; return how many were raised in it, and how it ended."""
    raised = 0

    def arrived(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        inside = frame is None  # one that has waited
        while frame is not None and not inside:
            inside, frame = frame.f_code is run.__code__, frame.f_back
        if inside:
            raised += 1
            raise KeyboardInterrupt

    def send() -> None:
        for delay in delays:
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)

    result: object
    thread = threading.Thread(target=send)
    before = signal.signal(signal.SIGINT, arrived)
    try:
        thread.start()
        result = run()
    except BaseException as error:
        result = error
    thread.join()
    time.sleep(0.005)  # one that has arrived where it would be lost comes again
    signal.signal(signal.SIGINT, before)
    return raised, result


def patterned() -> tuple[nn.Module, Callable[[], object]]:
    """Return a model and the estimation of its patterns."""
    model = nn.Sequential(nn.Linear(72, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    return model, lambda: estimate_patterns(model, IMAGES.flatten(1))


def ruled(source: object) -> tuple[nn.Module, Callable[[], object]]:
    """Return a model and a pass of it under the rules of ``source``."""
    torch.manual_seed(0)
    model = network()
    model[1].eval()
    model[4].bias.requires_grad_(False)
    if not isinstance(source, type):
        return model, lambda: source(model, IMAGES[:2], torch.tensor([0, 1]))

    def swept() -> None:
        with backward_rules(source, model):
            model(IMAGES[:2].clone().requires_grad_()).sum()

    return model, swept


ALONE = {
    "patterns": patterned,
    "LRP": lambda: ruled(LRP("epsilon")),
    "DeepLift": lambda: ruled(Rescale("rescale")),
    "Captum's hooks": lambda: ruled(GuidedBackprop),
}


def alone(what: str, share: int) -> None:
    """Raise something at one in ``share`` of the lines of what users call without a bench, and compare."""
    model, run = ALONE[what]()
    run()
    before, (lines, *_) = state_of(model), planted(run, (), KeyboardInterrupt)
    for error in (KeyboardInterrupt, RuntimeError):
        for place in range(1 + lines % share, lines + 1, share):
            _, where, result = planted(run, (place,), error)
            assert isinstance(result, (KeyboardInterrupt if error is KeyboardInterrupt else Exception)), (where, result)
            assert state_of(model) == before, where


@pytest.mark.parametrize("what", ALONE)
def test_rules_used_without_a_bench_leave_nothing_behind(what):
    alone(what, 150)


@pytest.mark.slow
@pytest.mark.parametrize("what", ALONE)
def test_rules_used_without_a_bench_leave_nothing_behind_at_any_line(what):
    alone(what, SHARE)


LONG = [claim for claim in CLAIMS if claim != "label_randomization"]  # whose trainings would take minutes


@pytest.mark.slow
@pytest.mark.parametrize("claim", LONG)
def test_faults_at_many_lines_leave_nothing_behind(model, claim):
    campaign = Campaign(model, claim)
    for place in spread(campaign.lines, FAULTS // len(LONG), claim):
        campaign.decide((place,), RuntimeError)
    report(campaign)


@pytest.mark.slow
@pytest.mark.parametrize("claim", LONG)
def test_interrupts_at_many_lines_leave_nothing_behind_and_are_raised(model, claim):
    """At single lines; and half as often each: at several in one run, and at any time, by signals."""
    campaign = Campaign(model, claim)
    count = INTERRUPTS // len(LONG)
    for place in spread(campaign.lines, count, claim):
        campaign.decide((place,))
    repeated(campaign, count // 2)
    signaled(campaign, count // 2)
    report(campaign)
