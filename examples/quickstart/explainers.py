"""Explainers that explain nothing, as plain functions ``(model, inputs, targets) -> attributions``.

Each looks convincing to some test: that is what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import torch
from torch import nn
from torch.nn import functional as F


def edges(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how steep the image is at each pixel (Sobel), ``(N, 1, H, W)``, whatever the model."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    filters = torch.stack([across, across.T])[:, None].to(inputs)
    gray = F.pad(inputs.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(gray, filters).norm(dim=1, keepdim=True)


def fresh_noise(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return other noise at every call."""
    return torch.randn_like(inputs)


def noise_of_the_input(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return noise that is always the same for the same image."""
    # Not hash(): Python salts that of bytes anew in each process.
    return _noise(inputs, seeds=(crc32(image.cpu().numpy().tobytes()) for image in inputs))


def noise_of_the_output(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return noise that depends on how the model ranks the classes, and on nothing else."""
    with torch.no_grad():
        ranking = model(inputs).argsort(1)
    return _noise(inputs, seeds=(crc32(bytes(classes)) for classes in ranking.tolist()))


def _noise(like: torch.Tensor, *, seeds: Iterable[int]) -> torch.Tensor:
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.stack([torch.randn(like.shape[1:], generator=each) for each in generators]).to(like)
