"""Claims against the bare passes that their definition needs, and against Quantus where it is installed.

Run it as ``python benchmarks/overhead.py``. Everything runs in one process on one thread, in turns, and is counted in
CPU time; a ratio is the median over rounds of a measurement over the bare passes of the same round.

* Weight randomization: a claim on a named similarity (signed Spearman), every input, one seed. Bare: one explanation
  as given, one again, and one for each randomized layer.
* Smoothed randomization (sMPRT): the same with the mean of 8 noisy copies as the map; for ResNet-18 the two top layers
  alone are randomized, and Quantus, which always takes all of them, is left out. Bare: 8 times the explanations, on
  inputs that are ready.
* Efficient MPRT: the claim with one randomization of all layers, as Quantus has it, and with five, the default. Bare:
  one explanation as given and one for each randomization. Beside it, the same with each module's ``reset_parameters``
  once for each randomization, which is no small matter for a large model and few small inputs.
* Pixel flipping: the claim against one random map along one order, and by default (five random maps, both orders), on
  every input. Bare: the forward passes of all steps and of the control (an edge map on 16 inputs), on inputs that are
  ready.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from peers import quantus_efficient_mprt, quantus_mprt, quantus_pixel_flipping, quantus_smooth_mprt
from subjects import SUBJECTS, Subject, gradients

from pytest_xaisanity import Bench

STEPS = {"lenet": 28, "resnet18": 24}
SAMPLES = 8
MANY = {"lenet": 512, "resnet18": 256}  # inputs of the second size that the efficient MPRT is measured on


def main() -> None:
    """Measure and print a table of ratios."""
    options = asked(__doc__)
    keep_memory()
    for name in options.subject or SUBJECTS:
        subject = SUBJECTS[name]()
        report(f"{name:<9} randomization   ", randomization(subject), options.rounds)
        report(f"{name:<9} smoothed        ", smoothed(subject, name), options.rounds)
        for count in (len(subject.inputs), MANY[name]):
            for seeds in (1, 5):
                title = f"{name:<9} eMPRT x{seeds} n={count:<3}  "
                report(title, efficient(SUBJECTS[name](count), seeds), options.rounds)
        report(f"{name:<9} flipping        ", flipping(subject, name), options.rounds)
        report(f"{name:<9} flipping default", default_flipping(subject, name), options.rounds)


def asked(description: str | None) -> argparse.Namespace:
    """Return what the command line asks for, and prepare for measuring: one thread, no warnings."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subject", choices=SUBJECTS, action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return options


def keep_memory() -> None:
    """Tell glibc's allocator to keep what is freed.

    Otherwise it may give memory back after each pass and take it again for the next, which costs a third of a LeNet
    pass and is decided by what happens to lie on top of the heap.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for threshold in (-1, -3):  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
        if mallopt is not None:
            mallopt(threshold, 2**30)


def report(title: str, contestants: dict[str, Callable[[], object]], rounds: int) -> None:
    """Time the contestants in turns, and print each one's ratio to the first."""
    missing = [name for name, run in contestants.items() if not _runs(run)]
    times: dict[str, list[float]] = {name: [] for name in contestants if name not in missing}
    for _ in range(rounds):
        for name, taken in times.items():
            start = time.process_time()
            contestants[name]()
            taken.append(time.process_time() - start)
    bare = times["bare"]
    shown = [f"{title} bare {statistics.median(bare) * 1e3:8.1f} ms"]
    for name, taken in times.items():
        if name != "bare":
            ratios = [one / base for one, base in zip(taken, bare, strict=True)]
            shown.append(f"{name} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print("   ".join(shown + [f"{name} not installed" for name in missing]), flush=True)


def randomization(subject: Subject) -> dict[str, Callable[[], object]]:
    """Return the contestants of weight randomization."""
    model, inputs, targets = subject
    layers = sum(isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) for module in model.modules())

    def bare() -> None:
        for _ in range(layers + 2):
            gradients(model, inputs, targets)

    def claim() -> None:
        verdict = (
            Bench(model, inputs, targets, device="cpu")
            .explainer(gradients)
            .changes_under("cascading_randomization", similarity="spearman", at_most=0.5, seeds=1, early=False)
        )
        assert len(verdict.evidence["layers"]) == layers

    return {"bare": bare, "claim": claim, "Quantus": lambda: quantus_mprt(model, inputs, targets)}


def smoothed(subject: Subject, name: str) -> dict[str, Callable[[], object]]:
    """Return the contestants of randomization with smoothed maps."""
    model, inputs, targets = subject
    depth = 2 if name == "resnet18" else None
    layers = depth or sum(isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) for module in model.modules())
    settings = {"similarity": "spearman", "at_most": 0.5, "seeds": 1, "early": False, "depth": depth}

    def bare() -> None:
        for _ in range(SAMPLES * (layers + 2)):
            gradients(model, inputs, targets)

    def claim() -> None:
        explainer = Bench(model, inputs, targets, device="cpu").explainer(gradients)
        verdict = explainer.changes_under("cascading_randomization", samples=SAMPLES, **settings)
        assert len(verdict.evidence["layers"]) == layers

    peers = {"Quantus": lambda: quantus_smooth_mprt(model, inputs, targets, samples=SAMPLES)} if depth is None else {}
    return {"bare": bare, "claim": claim, **peers}


def efficient(subject: Subject, seeds: int) -> dict[str, Callable[[], object]]:
    """Return the contestants of the efficient MPRT."""
    model, inputs, targets = subject
    twin = copy.deepcopy(model)

    def bare() -> None:
        for _ in range(1 + seeds):
            for x, y in zip(inputs.split(64), targets.split(64), strict=True):
                gradients(model, x, y)

    def bare_and_resets() -> None:
        bare()
        for module in [module for module in twin.modules() for _ in range(seeds)]:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

    def claim() -> None:
        explainer = Bench(model, inputs, targets, device="cpu").explainer(gradients)
        explainer.bounded("efficient_mprt", at_least=0.0, seeds=seeds, early=False)

    peers = {"Quantus": lambda: quantus_efficient_mprt(model, inputs, targets)} if seeds == 1 else {}
    return {"bare": bare, "bare and resets": bare_and_resets, "claim": claim, **peers}


def flipping(subject: Subject, name: str) -> dict[str, Callable[[], object]]:
    """Return the contestants of pixel flipping along one order, for the explanation and for one random map."""
    model, inputs, targets = subject
    steps = STEPS[name]
    features = inputs[0].numel() // steps

    def quantus() -> None:
        for _ in range(2):
            quantus_pixel_flipping(model, inputs, targets, features_in_step=features)

    settings = {"order": "morf", "steps": steps, "draws": 1}
    return {"bare": bare_flips(subject, steps, 2, 1), "claim": flip_claim(subject, settings), "Quantus": quantus}


def default_flipping(subject: Subject, name: str) -> dict[str, Callable[[], object]]:
    """Return the contestants of pixel flipping as it is by default: both orders, five random maps."""
    steps = STEPS[name]
    return {"bare": bare_flips(subject, steps, 8, 2), "claim": flip_claim(subject, {"steps": steps})}


def bare_flips(subject: Subject, steps: int, orders: int, controls: int) -> Callable[[], object]:
    """Return the passes of so many orders, of the control on 16 inputs, and of the ends that all share."""
    model, inputs, targets = subject

    def bare() -> None:
        with torch.no_grad():
            for _ in range(orders * (steps - 1) + 2):
                model(inputs)
            for _ in range(controls * (steps - 1) + 2):
                model(inputs[:16])
        gradients(model, inputs, targets)

    return bare


def flip_claim(subject: Subject, settings: dict[str, object]) -> Callable[[], object]:
    """Return the claim against random orders, on every input."""
    model, inputs, targets = subject
    made = {"on": "pixel_flipping", "early": False, **settings}
    return lambda: Bench(model, inputs, targets, device="cpu").explainer(gradients).beats("random", **made)


def _runs(run: Callable[[], object]) -> bool:
    """Whether it can run here; also the round that warms up."""
    try:
        run()
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
