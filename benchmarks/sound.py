"""Twelve explainers that follow the network, with settings for the networks of :mod:`networks`."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import (
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from networks import Subject
from torch import Tensor

from pytest_xaisanity.explainers import LRP, DeepLift

Source = tuple[Any, dict[str, Any]]


def squares(images: Tensor, side: int) -> Tensor:
    """Return which square of ``side`` pixels each pixel is in, ``(1, 1, H, W)``: what is removed at once."""
    height, width = (torch.arange(size) // side for size in images.shape[-2:])
    return (height[:, None] * (int(width.max()) + 1) + width)[None, None]


def smoothgrad(model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean gradient of 16 noisy copies of each image, with Captum's noise tunnel."""
    tunnel = NoiseTunnel(Saliency(model))
    return tunnel.attribute(inputs, target=targets, nt_samples=16, stdevs=0.1, abs=False)


def sound(subject: Subject) -> dict[str, Source]:
    """Return each explainer's source and settings, by name."""
    images = subject.images
    large = images.explained.shape[-1] > 8
    window, stride = (5, 4) if large else (2, 1)
    grouped = {"feature_mask": squares(images.explained, 4 if large else 1)}
    return {
        "gradient": (Saliency, {"abs": False}),
        "gradient × input": (InputXGradient, {}),
        "Integrated Gradients": (IntegratedGradients, {"n_steps": 16}),
        "SmoothGrad": (smoothgrad, {}),
        "GradientShap": (GradientShap, {"baselines": images.known[:16], "n_samples": 16, "stdevs": 0.0}),
        "DeepLIFT": (DeepLift("rescale"), {}),
        "LRP ε": (LRP("epsilon"), {}),
        "occlusion": (
            Occlusion,
            {"sliding_window_shapes": (1, window, window), "strides": (1, stride, stride)},
        ),
        "GradCAM": (LayerGradCam, {"layer": subject.last}),
        "LIME": (Lime, {"n_samples": 200, **grouped}),
        "KernelShap": (KernelShap, {"n_samples": 200, **grouped}),
        "Shapley sampling": (ShapleyValueSampling, {"n_samples": 5, **grouped}),
    }
