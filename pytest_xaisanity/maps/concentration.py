"""How far a map is concentrated on few places."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

__all__ = ["fraction_entropy", "gini"]


def fraction_entropy(maps: Tensor) -> Tensor:
    """Return the Shannon entropy, in nats, of each place's share of a map in absolute values: ``(b,)``.

    From 0 for a map with one place that is not 0, to the logarithm of the number of places for one of equal magnitudes,
    or of zeros, which names no place either (Bhatt et al. 2020, without the case of zeros).

    Args:
        maps: Finite maps ``(b, *places)``.
    """
    shares, empty = _magnitudes(maps)
    total = shares.sum(1, keepdim=True)
    entropy = torch.special.entr(shares / torch.where(empty[:, None], 1.0, total)).sum(1)
    most = log(shares.shape[1])
    return torch.where(empty, most, entropy).clamp(0.0, most)


def gini(maps: Tensor) -> Tensor:
    """Return the Gini index of each map in absolute values: ``(b,)``.

    From 0 for equal magnitudes, or zeros, to ``1 - 1 / places`` for a map with one place that is not 0 (Hurley and
    Rickard 2009; Chalasani et al. 2020).

    Args:
        maps: Finite maps ``(b, *places)``.
    """
    magnitudes, empty = _magnitudes(maps)
    ordered, count = magnitudes.sort(1).values, magnitudes.shape[1]
    ranks = torch.arange(1, count + 1, dtype=ordered.dtype, device=ordered.device)
    total = torch.where(empty, 1.0, ordered.sum(1))
    return (((2 * ranks - count - 1) * ordered).sum(1) / (count * total)).clamp(0.0, 1.0)


def _magnitudes(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return absolute values relative to the largest of each map, ``(b, places)``, and which maps are zeros."""
    flat = maps.flatten(1).abs()
    most = flat.amax(1)
    return flat / torch.where(most > 0, most, 1.0)[:, None], most == 0
