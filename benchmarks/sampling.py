"""LIME, KernelShap and Shapley sampling in batches against one input and one perturbation at a time, as before.

Run it as ``python benchmarks/sampling.py [--device cuda]``; it prints, for 32 inputs, the time that their maps take in
both ways (on a CPU that of one thread, else that of the clock), and how far the maps are apart.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from captum.attr import KernelShap, Lime, ShapleyValueSampling
from torch import Tensor, nn

from pytest_xaisanity.explainers import Attributions, as_explainer
from pytest_xaisanity.subject.subject import Subject

CASES = (
    (Lime, {"n_samples": 50}),
    (Lime, {"n_samples": 20}),
    (KernelShap, {"n_samples": 100}),
    (ShapleyValueSampling, {"n_samples": 3}),
    (KernelShap, {"n_samples": 100, "perturbations_per_eval": 1}),
)


def lenet() -> nn.Module:
    """Return LeNet for images of 28 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def resnet() -> nn.Module:
    """Return ResNet-18."""
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


def timed(work: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """Return how many seconds ``work`` takes, and what it returns."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    found = work().cpu()
    return clock() - start, found


def measured(
    model: nn.Module, inputs: Tensor, kind: type, settings: dict[str, object], device: str, **batch: int
) -> tuple:
    """Return the time for the maps of all inputs, the maps, and how the explainer was run."""
    subject = Subject(model, inputs, torch.arange(len(inputs)) % 10, device=device, **batch)
    attributions = Attributions(subject, as_explainer(kind, model, name="e", **settings), 0)

    def work() -> Tensor:
        return torch.cat([attributions(block) for block in subject.blocks()])

    with subject.lent():
        return *timed(work, device), attributions.sampling


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(0)
    for name, make, shape in (("LeNet", lenet, (32, 1, 28, 28)), ("ResNet-18", resnet, (32, 3, 64, 64))):
        torch.manual_seed(0)
        model, inputs = make().eval(), torch.randn(shape, generator=generator)
        list(model.modules())[-1].weight.data *= 20  # so that the lasso leaves something
        side = torch.arange(shape[-1]) * 7 // shape[-1]
        mask = (side[:, None] * 7 + side).repeat(1, shape[1], 1, 1)
        measured(model, inputs[:3], Lime, {"n_samples": 4, "feature_mask": mask}, device)
        for kind, settings in CASES:
            given = {**settings, "feature_mask": mask}
            together, maps, sampling = measured(model, inputs, kind, given, device)
            alone, expected, _ = measured(
                model, inputs, kind, {"perturbations_per_eval": 1, **given}, device, batch_size=1
            )
            apart = float((maps - expected).abs().max() / expected.abs().max())
            print(
                f"| {name}, {kind.__name__} {settings} | {alone:.2f} s | {together:.2f} s | {alone / together:.1f} | "
                f"{sampling.way or 'by itself'} | {apart:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
