"""How many passes it takes to decide ``beats("random", on="pixel_flipping")``, by steps and draws.

Scores of a thousand digits are measured once; claims are then simulated on samples of them, and the smallest number of
inputs is sought with which four in five pass. What that costs in passes decides the defaults.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients, Saliency

from pytest_xaisanity import Bench
from pytest_xaisanity.evidence.baselines.random import Random
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.evidence.scoring import Scoring
from pytest_xaisanity.statistics.question import Level, Question
from pytest_xaisanity.statistics.shares import beaten_shares

sys.path.append(str(Path(__file__).parents[1] / "examples" / "quickstart"))

STEPS, DRAWS = (4, 8, 16, 32), (1, 2, 3, 5, 8)
SIZES = (5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
POWER, RUNS = 0.8, 200


def mixed(weight: float):
    """Return the gradient with noise of ``weight`` times its size."""

    def explain(model, inputs, targets):
        inputs = inputs.requires_grad_()
        (maps,) = torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)
        size = maps.flatten(1).std(1)[:, None, None, None]
        return maps + weight * size * torch.randn_like(maps)

    return explain


EXPLAINERS = {
    "Integrated Gradients": (IntegratedGradients, {"n_steps": 8}),
    "gradient": (Saliency, {"abs": False}),
    "gradient + 8 × noise": (mixed(8.0), {}),
    "gradient + 16 × noise": (mixed(16.0), {}),
    "gradient + 32 × noise": (mixed(32.0), {}),
}


def main() -> None:
    """Print a table for each explainer: inputs needed, and passes, by steps and draws."""
    from digits import load_digits, trained_cnn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=512)
    count = parser.parse_args().inputs
    torch.set_num_threads(1)
    bench = Bench(trained_cnn(), load_digits().test_images[:count], device="cpu")
    for name, (source, settings) in EXPLAINERS.items():
        explainer = bench.explainer(source, name=name, **settings).explainer
        print(f"\n{name}: inputs (passes) for a power of {POWER}")
        print("steps " + "".join(f"{f'draws={draws}':>14}" for draws in DRAWS))
        for steps in STEPS:
            metric = PixelFlipping(steps=steps)
            wanted = [Scoring(metric), Scoring(metric, Random(draws=max(DRAWS)))]
            own, random = (found.values.astype(float) for found in bench.measure(wanted, explainer))
            cells = []
            for draws in DRAWS:
                n = needed(beaten_shares(own[:, 0], random[:, :draws]))
                passes = 2 * (steps - 1) * (1 + draws) + 2
                cells.append("more" if n is None else f"{n} ({n * passes:,})")
            print(f"{steps:5} " + "".join(f"{cell:>14}" for cell in cells), flush=True)


def needed(shares: np.ndarray) -> int | None:
    """Return the smallest number of inputs with which the claim passes in four of five samples."""
    question, level, rng = Question(0.0, 1.0, 0.5, margin=0.1), Level(0.95), np.random.default_rng(0)
    for n in SIZES:
        passed = 0
        for _ in range(RUNS):
            some = rng.choice(shares, n)
            passed += question.outcome(some, some, level, final=True)[0] == "passed"
        if passed >= POWER * RUNS:
            return n
    return None


if __name__ == "__main__":
    main()
