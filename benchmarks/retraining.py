"""Time ROAR's cells on one process and on several: ``python benchmarks/retraining.py [JOBS]`` (two minutes).

The same cells are trained in this process and in JOBS others (2 by default), without a cache. The processes are started
before, and have trained before: what they import for that takes seconds, once in a session.
Beside the times stands the load of the machine: on a busy one they say little.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "examples" / "hooker2019"))

from hooker_digits import METHODS, load_digits, one_thread, train, trained

from pytest_xaisanity import ROAR, Bench
from pytest_xaisanity.evidence.metrics.roar_evidence import Retrainings

METRIC = ROAR(fractions=(0.3, 0.6, 0.9), runs=5)
FIRST = ROAR(fractions=(0.5,), runs=2)


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Return the wall time of some work, the processor time of this process, and the result."""
    before, start = os.times(), time.perf_counter()
    result = work()
    wall, after = time.perf_counter() - start, os.times()
    return wall, sum(after[:2]) - sum(before[:2]), result


def roar(jobs: int, metric: ROAR = METRIC) -> object:
    """Return the accuracies of all cells."""
    digits = load_digits()
    model, data = trained(digits), tuple(digits)
    bench = Bench(model, digits.test_images, train=train, training_data=data, device="cpu", jobs=jobs)
    source, settings = METHODS["GRAD"]
    verdict = bench.explainer(source, **settings).bounded(metric, at_most=0.5)
    return verdict.evidence.get_part(Retrainings).accuracies


if __name__ == "__main__":
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with one_thread():
        roar(jobs, FIRST)
        wall, processor, alone = timed(lambda: roar(1))
        print(f"1 process: {wall:.1f} s, {processor:.1f} s of processor")
        spread, _, together = timed(lambda: roar(jobs))
        print(f"{jobs} processes: {spread:.1f} s, {wall / spread:.2f} times as fast; equal: {alone == together}")
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
