"""Infidelity and max-sensitivity against the bare passes that their definitions need, and against Captum.

Run it as ``python benchmarks/faithfulness.py``. Everything runs in one process on one thread, in turns, and is counted
in CPU time; a ratio is the median over rounds of a measurement over the bare passes of the same round. Captum is run
with all perturbations of 64 inputs in one pass, as it does by default, and with 64 in a pass, as the claim has it.

* Infidelity: the whole claim, a gradient for each input and 32 (on ResNet-18 16) perturbations. Bare: the gradients,
  and the forward passes of the inputs and of as many ready inputs as there are perturbations.
* Max-sensitivity: the whole claim, gradients of each input and of 10 points around it. Bare: these
  gradients, of inputs that are ready.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from overhead import asked, keep_memory, report
from subjects import SUBJECTS, Subject, gradients
from torch import Tensor

from pytest_xaisanity import Bench

COUNT = {"lenet": 512, "resnet18": 64}
SAMPLES = {"lenet": 32, "resnet18": 16}
POINTS = {"lenet": 10, "resnet18": 10}
BATCH = 64


def main() -> None:
    """Measure and print a table of ratios."""
    options = asked(__doc__)
    keep_memory()
    for name in options.subject or SUBJECTS:
        subject = SUBJECTS[name](COUNT[name])
        report(f"{name:<9} infidelity      ", infidelity(subject, SAMPLES[name]), options.rounds)
        report(f"{name:<9} max-sensitivity ", max_sensitivity(subject, POINTS[name]), options.rounds)


def parts(subject: Subject) -> list[tuple[Tensor, Tensor]]:
    """Return the inputs and targets of each pass."""
    return list(zip(subject.inputs.split(BATCH), subject.targets.split(BATCH), strict=True))


def infidelity(subject: Subject, samples: int) -> dict[str, Callable[[], object]]:
    """Return the contestants of infidelity."""
    model, inputs, targets = subject
    ready = inputs[:BATCH].clone()

    def bare() -> None:
        for some, chosen in parts(subject):
            gradients(model, some, chosen)
        with torch.no_grad():
            for _ in range((samples + 1) * len(inputs) // BATCH):
                model(ready)

    def claim() -> None:
        bench = Bench(model, inputs, targets, device="cpu")
        explainer = bench.explainer(gradients)
        assert explainer.bounded("infidelity", at_most=1.0, early=False, samples=samples).n == len(inputs)

    def noise(given: Tensor) -> tuple[Tensor, Tensor]:
        drawn = 0.03 * torch.randn_like(given)
        return drawn, given - drawn

    def captum(most: int | None) -> None:
        for some, chosen in parts(subject):
            maps = gradients(model, some, chosen)
            captum_infidelity(
                model, noise, some, maps, target=chosen, n_perturb_samples=samples, max_examples_per_batch=most
            )

    return {"bare": bare, "claim": claim, "Captum": lambda: captum(None), "Captum by 64": lambda: captum(BATCH)}


def max_sensitivity(subject: Subject, points: int) -> dict[str, Callable[[], object]]:
    """Return the contestants of max-sensitivity."""
    model, inputs, targets = subject

    def bare() -> None:
        for some, chosen in parts(subject):
            for _ in range(points + 1):
                gradients(model, some, chosen)

    def claim() -> None:
        bench = Bench(model, inputs, targets, device="cpu")
        explainer = bench.explainer(gradients)
        assert explainer.bounded("max_sensitivity", at_most=1.0, early=False, samples=points).n == len(inputs)

    def explain(given: tuple[Tensor, ...] | Tensor, target: Tensor) -> tuple[Tensor]:
        with torch.enable_grad():
            return (gradients(model, given[0] if isinstance(given, tuple) else given, target),)

    def captum(most: int | None) -> None:
        for some, chosen in parts(subject):
            sensitivity_max(explain, some, n_perturb_samples=points, max_examples_per_batch=most, target=chosen)

    return {"bare": bare, "claim": claim, "Captum": lambda: captum(None), "Captum by 64": lambda: captum(BATCH)}


if __name__ == "__main__":
    main()
