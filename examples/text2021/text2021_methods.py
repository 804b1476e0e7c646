"""The explainers of the examples, and the paper's figures as claims on raw cosines of token scores."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import IntegratedGradients
from torch import nn

from pytest_xaisanity import Verdict

STEPS = 8
REDUCTIONS = ("sum", "l2")
MULTIPLIERS = {"global": "with", "local": "without"}
COSINE = {"similarity": "cosine", "at_most": 0.5}


def integrated_gradients(bench: Any, kind: str, reduction: str, **settings: Any) -> Any:
    """Return Integrated Gradients, ``"global"`` or ``"local"``, on the embedded tokens, from embeddings of zeros."""
    how = {"n_steps": STEPS, "multiplier": MULTIPLIERS[kind], "reduction": reduction, **settings}
    return bench.explainer(IntegratedGradients, name=f"{kind} IG", **how)


def attention(model: nn.Module, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how much each token is attended to in the last layer, on average over heads and tokens that attend.

    The model is a :class:`~text2021_networks.MiniLMReader`, which returns its encoder's weights when asked for them.
    """
    _, read = model(ids, output_attentions=True)
    attending = (ids != 0).to(read.last_hidden_state)
    weights = read.attentions[-1].mean(1)
    return (weights * attending[:, :, None]).sum(1) / attending.sum(1, keepdim=True)


def of_cosine(explainer: Any, depth: int = 1, **settings: Any) -> Verdict:
    """Return whether the mean cosine is at most a half once the topmost layers are randomized."""
    return explainer.changes_under("cascading_randomization", depth=depth, **COSINE, **settings)
