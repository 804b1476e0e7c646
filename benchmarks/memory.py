"""Peak memory of claims above that of the bare passes, and for 64 against many streamed inputs.

Run it as ``python benchmarks/memory.py``. Each figure is the peak resident memory of a process of its own, above what
it held when the model was ready; streamed inputs are made batch by batch. The allocator is told to give memory back at
once, since otherwise the figures show how it splits its heap.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator

import torch
from subjects import SUBJECTS, gradients

from pytest_xaisanity import Bench

CLAIMS = ("randomization", "pixel_flipping")


class Batches:
    """Batches of 64 random inputs, drawn again whenever they are read."""

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        self.shape, self.count = shape, count

    def __iter__(self) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.count // 64):
            yield torch.randn(64, *self.shape, generator=generator)


def main() -> None:
    """Print the table, each row measured in a process of its own."""
    for name in SUBJECTS:
        bare = peak(name, "bare", 64)
        for claim in CLAIMS:
            few, many = peak(name, claim, 64), peak(name, claim, 4096 if name == "lenet" else 512)
            print(f"{name:<9} {claim:<15} bare {bare:6.1f} MB   64 inputs {few:6.1f} MB   many streamed {many:6.1f} MB")


def peak(*arguments: object) -> float:
    """Return the megabytes that a process of its own reports."""
    command = [sys.executable, __file__, *map(str, arguments)]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


def measure(name: str, what: str, count: int) -> float:
    """Return the peak in megabytes above what was held before."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    model, inputs, targets = SUBJECTS[name]()
    with torch.no_grad():
        model(inputs[:1])
    Bench(model, inputs[:8], device="cpu").explainer(gradients).changes_under(  # imports, libraries, allocator
        "cascading_randomization", similarity="spearman", at_most=0.9, seeds=1, depth=1
    )
    before = _peak()
    if what == "bare":
        gradients(model, inputs, targets)
    else:
        run(what, model, Batches(tuple(inputs.shape[1:]), count))
    return _peak() - before


def run(what: str, model: torch.nn.Module, inputs: Batches) -> None:
    """Decide one claim on every input."""
    explainer = Bench(model, inputs, device="cpu").explainer(gradients)
    if what == "randomization":
        explainer.changes_under(
            "cascading_randomization", similarity="spearman", at_most=0.5, seeds=1, depth=2, early=False
        )
    else:
        explainer.beats("random", on="pixel_flipping", steps=4, draws=1, early=False)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))
