"""What a cascading randomization costs when its cells are sampled, and when all are explained.

Each claim is set against its bare explanations: as many, of the same inputs, made by the same function on the model as
it is. They are made twice. In the same company: what a person would have to run who draws a cell for each pair of
inputs as well, for inputs can be explained together only under one cell. And in batches of 64: what as many
explanations cost that may be made in any company, which is less where passes of a few inputs do not fill a processor.
What the claim takes beyond the first is its own: new weights, similarities, the network's own gradient where it is
asked, the verdict.
On the processor both are counted in its seconds, on an accelerator (``--device cuda``) in those of a clock.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from subjects import SUBJECTS, Subject, gradients

from pytest_xaisanity import Bench

_STEPS = 16
_BATCH = 64

Explain = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def integrated_gradients(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return Integrated Gradients ``(b, C, H, W)`` from zero, in 16 steps that are passed together."""
    shares = ((torch.arange(_STEPS, device=inputs.device) + 0.5) / _STEPS).view(-1, 1, 1, 1, 1)
    along = (shares * inputs.detach()).flatten(0, 1)
    found = gradients(model, along, targets.repeat(_STEPS))
    return inputs.detach() * found.view(_STEPS, *inputs.shape).mean(0)


EXPLAINERS = {"gradient": gradients, "IG": integrated_gradients}


class Noted:
    """An explainer that notes how many inputs it is asked for at once."""

    def __init__(self, explain: Explain) -> None:
        self.explain = explain
        self.sizes: list[int] = []

    def __call__(self, model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the attributions ``(b, C, H, W)``."""
        self.sizes.append(len(inputs))
        return self.explain(model, inputs, targets)


class Cost(NamedTuple):
    """Explanations an input, the median seconds of a claim, and their ratios to bare explanations.

    ``ratio`` is to those in the same company, ``batched`` to as many in batches of 64.
    """

    each: float
    seconds: float
    ratio: float
    batched: float


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Return the seconds that ``work`` takes: of the processor, or of a clock where that only waits for another."""
    now, wait = (time.process_time, lambda: None) if device == "cpu" else (time.perf_counter, torch.cuda.synchronize)
    wait()
    start = now()
    work()
    wait()
    return now() - start


def bare(explain: Explain, subject: Subject, sizes: Sequence[int]) -> None:
    """Explain as many inputs at once as each of the sizes, and do nothing else."""
    for size in sizes:
        explain(subject.model, subject.inputs[:size], subject.targets[:size])


def batches(count: int, most: int) -> list[int]:
    """Return the sizes of batches of as many inputs in all: of 64, or of all inputs where there are fewer."""
    size = min(_BATCH, most)
    return [size] * (count // size) + ([count % size] if count % size else [])


def measured(subject: Subject, explain: Explain, cells: str, rounds: int, device: str) -> Cost:
    """Return what the claim costs."""
    subject = Subject(subject.model.to(device), subject.inputs.to(device), subject.targets.to(device))
    found = []
    for seed in range(rounds):
        bench = Bench(*subject, device=device, seed=seed)
        explainer = bench.explainer(noted := Noted(explain))

        def claim(explainer=explainer) -> object:
            return explainer.changes_under("cascading_randomization", cells=cells, early=False)

        took, count = seconds_of(claim, device), sum(noted.sizes)
        alone, together = (
            seconds_of(lambda sizes=sizes: bare(explain, subject, sizes), device)
            for sizes in (noted.sizes, batches(count, len(subject.inputs)))
        )
        found.append(Cost(count / len(subject.inputs), took, took / alone, took / together))
    return Cost(*(statistics.median(each) for each in zip(*found, strict=True)))


def main() -> None:
    """Print a line for each network, explainer and choice of cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--only", choices=SUBJECTS)
    parser.add_argument("--all", action="store_true", help="also all cells, which take minutes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, build in SUBJECTS.items():
        if options.only not in (None, name):
            continue
        for kind, explain in EXPLAINERS.items():
            for cells in ("sample", "all") if options.all else ("sample",):
                cost = measured(build(options.inputs), explain, cells, options.rounds, options.device)
                print(
                    f"{name:10} {kind:9} {cells:7} {cost.each:6.2f} explanations an input, {cost.seconds:7.2f} s, "
                    f"{cost.ratio:.2f} of bare, {cost.batched:.2f} of bare in batches of {_BATCH}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
