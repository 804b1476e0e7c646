"""The time to a decision, against the time to Quantus's numbers on the same inputs.

Explained is the gradient of a small network that reads MNIST digits. A claim stops as soon as it is decided; Quantus
measures every input, with one randomization, along one order and without a rival to set the numbers against. Both run
on one thread, in turns, and are counted in CPU seconds; each claim has a bench of its own, so that nothing is shared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from peers import quantus_efficient_mprt, quantus_mprt, quantus_pixel_flipping
from subjects import Subject, gradients

from pytest_xaisanity import Bench
from pytest_xaisanity.statistics.verdict import Verdict

sys.path.append(str(Path(__file__).parents[1] / "examples" / "quickstart"))

T = TypeVar("T")
CLAIMS = {
    "model parameter randomization": lambda one: one.changes_under("cascading_randomization"),
    "efficient MPRT": lambda one: one.bounded("efficient_mprt", at_least=0.0),
    "pixel flipping": lambda one: one.beats("random", on="pixel_flipping"),
}
NUMBERS = {
    "model parameter randomization": quantus_mprt,
    "efficient MPRT": quantus_efficient_mprt,
    "pixel flipping": lambda *subject: quantus_pixel_flipping(*subject, features_in_step=98),  # 8 steps too
}


def main() -> None:
    """Print a line for each test."""
    from digits import load_digits, trained_cnn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model, images = trained_cnn(), load_digits().test_images[: options.inputs]
    with torch.no_grad():
        subject = Subject(model, images, model(images).argmax(1))
    for name, claim in CLAIMS.items():
        decided, numbers, verdicts = [], [], []
        for seed in range(options.rounds + 1):  # the first warms up
            took, verdict = timed(lambda claim=claim, seed=seed: decide(subject, claim, seed))
            decided.append(took)
            verdicts.append(f"{verdict.outcome} n={verdict.n}")
            numbers.append(timed(lambda name=name: NUMBERS[name](*subject))[0])
        shown = f"{statistics.median(decided[1:]):6.2f} s to a decision ({', '.join(verdicts[1:])})"
        print(f"{name:30} {shown}, {statistics.median(numbers[1:]):6.2f} s to Quantus's numbers", flush=True)


def decide(subject: Subject, claim: Callable[..., Verdict], seed: int) -> Verdict:
    """Return the verdict of a new bench."""
    return claim(Bench(*subject, device="cpu", seed=seed).explainer(gradients))


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds that ``work`` takes, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
