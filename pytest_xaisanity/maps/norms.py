"""Euclidean norms of maps of any size."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["norms", "relative_distances"]

_PLAIN = (torch.float32, torch.float64)
_LEAST, _MOST = 1e-15, 1e15  # norms of single precision whose squares are as precise as they are


def norms(rows: Tensor, *, dim: int = 1) -> Tensor:
    """Return the Euclidean norms along an axis, of rows as small or large as their type holds.

    The square of a gradient under a saturated softmax may be zero in single precision, where the gradient is not.
    """
    if rows.device.type != "cpu" or rows.dtype not in _PLAIN:  # elsewhere a look at the norms would be waited for
        return _scaled(rows, dim)
    found: Tensor = torch.linalg.vector_norm(rows, dim=dim)
    odd = ~((found > _LEAST) & (found < _MOST))
    if odd.any():  # each row by itself, so that its norm does not depend on the others
        found[odd] = _scaled(rows.movedim(dim, -1)[odd], -1)
    return found


def relative_distances(before: Tensor, after: Tensor) -> Tensor:
    """Return how far rows have moved, relative to the norm of the first, ``(b,)``; 0 for two rows of zeros."""
    moved, norm = norms(before - after), norms(before)
    return torch.where(moved == 0, moved, moved / norm)


def _scaled(rows: Tensor, dim: int) -> Tensor:
    """Return norms of rows that are divided by their largest value first."""
    largest = rows.abs().amax(dim, keepdim=True)  # ten times as fast as the maximum norm of torch, and the same
    unit = torch.where((largest > 0) & torch.isfinite(largest), largest, 1.0)
    found: Tensor = torch.linalg.vector_norm(rows / unit, dim=dim) * unit.squeeze(dim)
    return found
