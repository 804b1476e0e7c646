"""Explainers that the paper compares and Captum does not have under one name, as plain functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule
from torch import nn


def lrp_z_plus(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return what layer-wise relevance propagation gives when positive contributions alone are passed on."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d):
            module.rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)  # Captum takes it away again
    return LRP(model).attribute(inputs.requires_grad_(), target=targets)


def diluted(explain: Callable[..., torch.Tensor], noise: float) -> Callable[..., torch.Tensor]:
    """Return an explainer that scales the maps of another to variance 1 and adds noise of this standard deviation."""

    def explain_with_noise(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        maps = explain(model, inputs, targets).detach()
        maps = (maps - maps.mean((1, 2, 3), keepdim=True)) / maps.std((1, 2, 3), keepdim=True)
        return maps + noise * torch.randn_like(maps)

    return explain_with_noise
