"""What the paper compares, and how the networks are trained."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, NoiseTunnel, Saliency
from digits import Digits, DigitsCNN, load_digits, trained_cnn
from explainers import edges
from torch import nn

from pytest_xaisanity.explainers import GuidedBackprop, GuidedGradCAM

TRAINING_SIZE = 1000  # few enough that permuted labels can be learned by heart in seconds
EPOCHS = 40
SHOWN = 128


def training_data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return images and labels to train on, and images and labels to test on."""
    digits = load_digits()
    images, labels = digits.train_images[:TRAINING_SIZE], digits.train_labels[:TRAINING_SIZE]
    return images, labels, digits.test_images, digits.test_labels


def train(inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> DigitsCNN:
    """Return the network trained until it knows its labels by heart, true or permuted."""
    return trained_cnn(Digits(inputs, targets, inputs, targets), seed=seed, epochs=EPOCHS)


def smooth_grad(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean gradient over eight noisy copies of each image, with its sign."""
    settings = {"nt_samples": 8, "nt_samples_batch_size": 8, "stdevs": 0.15, "abs": False}
    return NoiseTunnel(Saliency(model)).attribute(inputs.requires_grad_(), target=targets, **settings)


def methods(bench: Any) -> dict[str, Any]:
    """Return the paper's methods, and its control, as explainers of a bench or of the fixture ``xai``."""
    sources: dict[str, tuple[Any, dict[str, Any]]] = {
        "Gradient": (Saliency, {"abs": False}),
        "SmoothGrad": (smooth_grad, {}),
        "GradCAM": (LayerGradCam, {"layer": "relu2"}),
        "Gradient × Input": (InputXGradient, {}),
        "Integrated Gradients": (IntegratedGradients, {"n_steps": 8}),
        "Guided Backprop": (GuidedBackprop(), {}),
        "Guided GradCAM": (GuidedGradCAM("relu2", interpolation="bilinear"), {}),
        "edges": (edges, {}),
    }
    return {name: bench.explainer(source, name=name, **settings) for name, (source, settings) in sources.items()}
