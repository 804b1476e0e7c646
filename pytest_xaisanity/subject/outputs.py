"""What a model returns, and the output that is explained."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.errors import XaiError
from .tensors import kind_of, readable

__all__ = ["HALF", "checked_output", "columns", "select"]

HALF = {torch.float16, torch.bfloat16}


def select(outputs: Tensor, targets: Tensor | None) -> Tensor:
    """Return the explained output of each row: ``(b,)``."""
    if targets is None:
        return outputs[:, 0]
    columns = targets.reshape(len(targets), -1)
    return outputs[(torch.arange(len(outputs), device=outputs.device), *columns.unbind(1))]


def checked_output(result: object, count: int) -> Tensor:
    """Return what the model returned for ``count`` inputs, detached, when it is what a model should return."""
    if isinstance(result, Tensor):
        readable(result, "xai_model")
    if isinstance(result, Tensor) and result.is_floating_point() and result.numel() and result.shape[:1] == (count,):
        return result.detach()
    found = (
        f"a tensor {tuple(result.shape)} of {result.dtype}" if isinstance(result, Tensor) else f"a {kind_of(result)}"
    )
    dropped = count == 1 and isinstance(result, Tensor)
    raise XaiError(
        "xai_model",
        found=f"{found} as output for {count} input{'s' if count > 1 else ', whose axis the model drops' * dropped}",
        expected="one floating-point tensor (N, classes), (N, 1) or (N,)",
        fix="name the axis where the model squeezes: squeeze(1) keeps that of the inputs"
        if dropped
        else "wrap the model in a torch.nn.Module that returns the tensor of logits alone",
    )


def columns(outputs: Tensor) -> Tensor:
    """Return outputs ``(b,)`` as ``(b, 1)``, and any others as they are."""
    return outputs[:, None] if outputs.ndim == 1 else outputs
