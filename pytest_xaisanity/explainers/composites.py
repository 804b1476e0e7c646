"""zennit's attributors and composites as explainers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..subject.block import Inputs
from ..subject.outputs import select

__all__ = ["zennit_call", "zennit_kind"]


def zennit_kind(source: Any) -> str | None:
    """Return ``"Attributor"`` or ``"Composite"`` for an object of zennit's, and None for any other."""
    names = {base.__name__ for base in type(source).__mro__ if base.__module__.partition(".")[0] == "zennit"}
    return next((name for name in ("Attributor", "Composite") if name in names), None)


def zennit_call(source: Any) -> Callable[..., Tensor]:
    """Return a function ``(model, inputs, targets) -> attributions`` that calls an attributor or a composite.

    Relevance is 1 at the explained output and 0 at the others, whatever ``attr_output`` the attributor has of its own.
    """

    def attribute(model: Any, inputs: Inputs, targets: Tensor | None) -> Tensor:
        from zennit.attribution import Gradient

        from .backward import backward_rules  # which imports the adapters, which import this

        if len(inputs) > 1:
            raise XaiError(
                "xai.explainer",
                found=f"{len(inputs)} input tensors for zennit's {type(source).__name__}",
                expected="a single one, which is all it takes",
                fix="use a rule of pytest_xaisanity.explainers",
            )

        def start(outputs: Tensor) -> Tensor:
            leaf = outputs.detach().requires_grad_()
            columns = leaf[:, None] if leaf.ndim == 1 else leaf
            return torch.autograd.grad(select(columns, targets).sum(), leaf)[0]

        attributor = Gradient(model, source) if zennit_kind(source) == "Composite" else source
        composite = attributor.composite
        # Where activations escape zennit's hooks this raises; the attributor registers no composite a second time.
        with nullcontext() if composite is None else backward_rules(composite, attributor.model):
            attributions: Tensor = attributor(inputs[0], start)[1]
        return attributions.detach()

    return attribute
