"""The same tests as other libraries run them. Each function raises ImportError where its library is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from subjects import gradients
from torch import nn

Explain = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def quantus_mprt(
    model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, *, explain: Explain = gradients, seed: int = 0
) -> dict[str, np.ndarray]:
    """Run Quantus's model parameter randomization test: cascading from the top, signed Spearman correlation.

    Quantus explains the batch once more than it has layers to randomize, and once more again for the key
    ``"original"``, which compares the explanations with themselves.

    Returns:
        Layer name to the ``(N,)`` correlations after that layer and all above it were re-initialized.
    """
    import quantus

    metric = quantus.MPRT(
        similarity_func=quantus.similarity_func.correlation_spearman,
        layer_order="top_down",
        seed=seed,
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    scores = _randomized(metric, model, inputs, targets, explain)
    return {layer: np.asarray(values) for layer, values in scores.items()}


def quantus_smooth_mprt(
    model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, *, samples: int, explain: Explain = gradients
) -> dict[str, np.ndarray]:
    """Run Quantus's smooth MPRT: cascading from the top, signed Spearman correlation, one randomization.

    Returns:
        Layer name to the ``(N,)`` correlations after that layer and all above it were re-initialized.
    """
    import quantus

    metric = quantus.SmoothMPRT(
        similarity_func=quantus.similarity_func.correlation_spearman,
        layer_order="top_down",
        nr_samples=samples,
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    scores = _randomized(metric, model, inputs, targets, explain)
    return {layer: np.asarray(values) for layer, values in scores.items()}


def quantus_efficient_mprt(
    model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, *, explain: Explain = gradients
) -> np.ndarray:
    """Run Quantus's efficient MPRT: the rise of the entropy of 100 bins, one randomization; return it, ``(N,)``."""
    import quantus

    metric = quantus.EfficientMPRT(
        complexity_func=quantus.complexity_func.discrete_entropy,
        complexity_func_kwargs={"n_bins": 100},
        disable_warnings=True,
    )
    return np.asarray(_randomized(metric, model, inputs, targets, explain))


def _randomized(metric: Any, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, explain: Explain) -> Any:
    with torch.random.fork_rng(devices=[]):  # Quantus seeds the global generator anew before each layer
        return metric(
            model=model,
            x_batch=inputs.numpy(),
            y_batch=targets.numpy(),
            explain_func=_numpy(explain),
            device="cpu",
            batch_size=64,
        )


def quantus_pixel_flipping(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    features_in_step: int,
    explain: Explain = gradients,
) -> np.ndarray:
    """Run Quantus's pixel flipping: the most relevant features first, replaced by zero.

    Its features are the single channels of a pixel, and its curve begins after the first step.

    Args:
        model: The model, in evaluation mode.
        inputs: The inputs ``(N, C, H, W)``.
        targets: The classes ``(N,)``.
        features_in_step: How many features are replaced at a time; it must divide ``H * W``.
        explain: What gives the order of the features.

    Returns:
        The softmax of the target after each step, ``(N, C * H * W / features_in_step)``.
    """
    import quantus

    metric = quantus.PixelFlipping(
        features_in_step=features_in_step,
        perturb_baseline=0.0,
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    curves = metric(
        model=model,
        x_batch=inputs.numpy(),
        y_batch=targets.numpy(),
        explain_func=_numpy(explain),
        device="cpu",
        batch_size=len(inputs),
    )
    return np.asarray(curves)


def _numpy(explain: Explain) -> Callable[..., np.ndarray]:
    def explain_arrays(*, model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        return explain(model, torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()

    return explain_arrays
