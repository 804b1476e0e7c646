"""What the benchmarks explain, and the bare passes that every measurement is set against.

A randomization test cannot cost less than its explanations, nor a flipping test less than its forward passes. What a
library takes beyond those is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn


class Subject(NamedTuple):
    """A model in evaluation mode, inputs ``(N, C, H, W)`` and the classes ``(N,)`` that the model predicts for them."""

    model: nn.Module
    inputs: torch.Tensor
    targets: torch.Tensor


def lenet(n: int = 64, *, seed: int = 0) -> Subject:
    """Return LeNet-5 with ReLUs (LeCun et al. 1998), 44 thousand weights, and ``n`` inputs of 1×28×28."""
    with _seeded(seed):
        model = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )
        return _subject(model, torch.rand(n, 1, 28, 28))


def resnet18(n: int = 64, *, seed: int = 0) -> Subject:
    """Return torchvision's ResNet-18 for ten classes, 11 million weights, and ``n`` inputs of 3×64×64."""
    from torchvision.models import resnet18 as build

    with _seeded(seed):
        return _subject(build(num_classes=10), torch.randn(n, 3, 64, 64))


SUBJECTS = {"lenet": lenet, "resnet18": resnet18}


def gradients(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the gradient of each target's logit by its input, shaped like ``inputs``: one explanation."""
    inputs = inputs.detach().requires_grad_()
    logits = model(inputs).gather(1, targets[:, None])
    return torch.autograd.grad(logits.sum(), inputs)[0]


def bare_explanations(subject: Subject, count: int) -> None:
    """Explain the whole batch ``count`` times and do nothing else.

    Gradients by the weights are switched off: a gradient by the input needs none of them.
    """
    required = [parameter for parameter in subject.model.parameters() if parameter.requires_grad]
    for parameter in required:
        parameter.requires_grad_(False)
    try:
        for _ in range(count):
            gradients(*subject)
    finally:
        for parameter in required:
            parameter.requires_grad_()


@torch.inference_mode()
def bare_forwards(subject: Subject, count: int) -> None:
    """Classify the whole batch ``count`` times and do nothing else."""
    for _ in range(count):
        subject.model(subject.inputs)


def randomizable_layers(model: nn.Module) -> int:
    """Return how many modules of ``model`` can draw their own parameters anew."""
    return sum(hasattr(module, "reset_parameters") for module in model.modules())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _subject(model: nn.Module, inputs: torch.Tensor) -> Subject:
    model.eval()
    with torch.no_grad():
        return Subject(model, inputs, model(inputs).argmax(1))
