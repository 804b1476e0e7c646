"""What a cascading randomization costs when its cells are sampled, and when all are explained.

Each claim is set against its bare explanations: the same numbers of inputs, explained in the same company by the same
function, on the model as it is. What the claim takes beyond them is its own: new weights, similarities, the verdict.
On the processor both are counted in its seconds, on an accelerator (``--device cuda``) in those of a clock.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from subjects import SUBJECTS, Subject, gradients

from pytest_xaisanity import Bench


class Noted:
    """The gradient, which notes how many inputs it is asked for at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the gradients ``(b, C, H, W)``."""
        self.sizes.append(len(inputs))
        return gradients(model, inputs, targets)


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Return the seconds that ``work`` takes: of the processor, or of a clock where that only waits for another."""
    now, wait = (time.process_time, lambda: None) if device == "cpu" else (time.perf_counter, torch.cuda.synchronize)
    wait()
    start = now()
    work()
    wait()
    return now() - start


def measured(subject: Subject, cells: str, rounds: int, device: str) -> tuple[float, float, float]:
    """Return explanations an input, the median seconds of the claim, and their ratio to bare explanations."""
    model, inputs, targets = subject.model.to(device), subject.inputs.to(device), subject.targets.to(device)
    seconds, ratios, rows = [], [], 0
    for seed in range(rounds):
        noted = Noted()
        bench = Bench(model, inputs, targets, device=device, seed=seed)
        explainer = bench.explainer(noted)

        def claim(explainer=explainer) -> object:
            return explainer.changes_under("cascading_randomization", cells=cells, early=False)

        def bare(sizes=noted.sizes) -> None:
            for size in sizes:
                gradients(model, inputs[:size], targets[:size])

        took = seconds_of(claim, device)
        rows = sum(noted.sizes)
        seconds.append(took)
        ratios.append(took / seconds_of(bare, device))
    return rows / len(inputs), statistics.median(seconds), statistics.median(ratios)


def main() -> None:
    """Print a line for each network and choice of cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--only", choices=SUBJECTS)
    parser.add_argument("--all", action="store_true", help="also all cells of the larger network, which take minutes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, build in SUBJECTS.items():
        if options.only in (None, name):
            for cells in ("sample", "all") if options.all or name == "lenet" else ("sample",):
                each, seconds, ratio = measured(build(options.inputs), cells, options.rounds, options.device)
                print(
                    f"{name:10} {cells:7} {each:6.2f} explanations an input, {seconds:7.2f} s, {ratio:.2f} of bare",
                    flush=True,
                )


if __name__ == "__main__":
    main()
