"""What a battery catches, and what its audit costs: mutants of three explainers of the quickstart's CNN.

Run it as ``python benchmarks/audit.py``, with ``quick`` or ``thorough`` for another battery than the standard one; it
needs the ``examples`` extra and takes some minutes. For each explainer it prints which mutants the battery kills, and
the CPU time of the audit over that of the battery and over the number of live mutants.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency

from pytest_xaisanity import Bench
from pytest_xaisanity.bench import audit
from pytest_xaisanity.bench.battery import BATTERIES, STANDARD
from pytest_xaisanity.report.mutation import Mutations

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "quickstart"))
from digits import load_digits, trained_cnn

EXPLAINERS = {
    "gradients": (Saliency, {"abs": False}),
    "integrated gradients": (IntegratedGradients, {"n_steps": 32}),
    "occlusion": (Occlusion, {"sliding_window_shapes": (1, 5, 5), "strides": (1, 2, 2)}),
}


def main() -> None:
    """Audit each explainer, and print the table."""
    torch.set_num_threads(1)
    name = next((word for word in sys.argv[1:] if word in BATTERIES), STANDARD)
    battery = [entry.claim for entry in BATTERIES[name]]  # of images of ten classes each says something
    digits = load_digits()
    model, inputs = trained_cnn(digits), digits.test_images[:256]
    found, spent, allowed = Mutations(), 0.0, 0.0
    for name, (kind, settings) in EXPLAINERS.items():
        bench = Bench(model, inputs)
        explainer = bench.explainer(kind, name=name, **settings)
        start = time.process_time()
        verdicts = [explainer.decide(claim) for claim in battery]
        suite = time.process_time() - start
        for verdict in verdicts:
            print(verdict)
        start = time.process_time()
        audited = audit.audit(bench, explainer.explainer, battery, suggest="--suggest" in sys.argv)
        took = time.process_time() - start
        found.add(audited)
        live = sum(mutation.status in ("killed", "survived") for mutation in audited.mutations.values())
        spent, allowed = spent + took, allowed + live * suite
        ratio = took / (live * suite)
        print(f"{name}: battery {suite:.1f} s, audit {took:.1f} s, {live} live mutants: {ratio:.2f}", flush=True)
    print(found.headline())
    for line, _ in found.lines():
        print(line)
    print(f"audits over live mutants × battery, all together: {spent / allowed:.2f}")


if __name__ == "__main__":
    main()
