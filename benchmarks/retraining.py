"""Time ROAR's cells on one process and on several: ``python benchmarks/retraining.py [JOBS [METHOD]]``.

It takes two minutes. METHOD is one of ``examples/hooker2019``, ``GRAD`` by default; with ``SG-GRAD`` the explanations
take a third of the time.

The same cells are trained, and the same inputs explained, in this process and in JOBS others (2 by default), without a
cache. The processes are started before, and have trained before: what they import for that takes seconds, once in a
session.

Beside the times stand the processor times of this process and of each other one, and how many times as fast several
processes are where each has a core for itself: the processor time of one process alone over that of this process and
of the busiest other one together, for one works where the other waits. On a busy machine, whose load is printed, the
clock says little, and that ratio stays.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "examples" / "hooker2019"))

from hooker_digits import METHODS, load_digits, one_thread, train, trained
from torch import nn

from pytest_xaisanity import ROAR, Bench
from pytest_xaisanity.evidence.metrics.roar_evidence import Retrainings

METRIC = ROAR(fractions=(0.3, 0.6, 0.9), runs=5)
FIRST = ROAR(fractions=(0.5,), runs=2)


def others() -> dict[int, float]:
    """Return the processor time of each process that this one has started, in seconds, by its id (Linux)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # of one that has just ended
            continue
        if int(fields[1]) == os.getpid():
            found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def timed(work: Callable[[], object]) -> tuple[float, float, list[float], object]:
    """Return the wall time of some work, the processor times of this process and of the others, and the result."""
    before, begun, start = os.times(), others(), time.perf_counter()
    result = work()
    wall, after = time.perf_counter() - start, os.times()
    spent = sorted((now - begun.get(process, 0.0) for process, now in others().items()), reverse=True)
    return wall, sum(after[:2]) - sum(before[:2]), [one for one in spent if one > 0.05], result


def roar(model: nn.Module, jobs: int, method: str, metric: ROAR = METRIC) -> object:
    """Return the accuracies of all cells."""
    digits = load_digits()
    bench = Bench(model, digits.test_images, train=train, training_data=tuple(digits), device="cpu", jobs=jobs)
    source, settings = METHODS[method]
    verdict = bench.explainer(source, **settings).bounded(metric, at_most=0.5)
    return verdict.evidence.get_part(Retrainings).accuracies


if __name__ == "__main__":
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    method = sys.argv[2] if len(sys.argv) > 2 else "GRAD"
    with one_thread():
        model = trained(load_digits())
        roar(model, jobs, method, FIRST)
        wall, processor, _, alone = timed(lambda: roar(model, 1, method))
        print(f"1 process: {wall:.1f} s, {processor:.1f} s of processor")
        spread, own, spent, together = timed(lambda: roar(model, jobs, method))
        each = ", ".join(f"{one:.1f}" for one in spent)
        print(f"{jobs} processes: {spread:.1f} s, {wall / spread:.2f} times as fast; equal: {alone == together}")
        print(f"of processor: {own:.1f} s here and {each} s there, {(own + sum(spent)) / processor - 1:+.0%} in all")
        print(f"with a core for each: {processor / (own + max(spent)):.2f} times as fast")
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
