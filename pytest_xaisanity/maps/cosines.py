"""Cosines of relevance vectors: what cosine similarity convergence is measured with (Sixt et al. 2020).

Several random vectors are sent down the same chain of layers. Where every two of them have become parallel, only a
scalar is left of what they were, and whatever is sent down there is forgotten but for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import special
from torch import Tensor

__all__ = ["CosineHistogram", "absolute_cosines", "null_mean", "null_median", "row_medians"]

_SAFE = (1e-30, 1e30)  # squares of norms outside lose digits in float32
_DROPPED_BITS = 16  # of a float's 23-bit significand and below: bins of 1 - |cos| that are 0.8 % wide
_BINS = 1 + (0x3F800000 >> _DROPPED_BITS)  # as many as the bits of 1.0, the greatest distance, have
_UNDEFINED = 2.0  # a distance that no two vectors have, for NaN


def absolute_cosines(vectors: Tensor) -> Tensor:
    """Return the magnitude of the cosine of every two vectors.

    Args:
        vectors: V vectors of C entries each, ``(..., V, C)``, in whatever scale; half precision is computed in float32.

    Returns:
        Magnitudes in [0, 1], ``(..., V (V - 1) / 2)``; NaN where one of the two is zero or not finite.
    """
    wide = vectors if vectors.dtype == torch.float64 else vectors.float()
    gram = wide @ wide.mT
    squares = gram.diagonal(dim1=-2, dim2=-1)
    poor = ~((squares > _SAFE[0]) & (squares < _SAFE[1])).all(-1)
    if bool(poor.any()):
        scaled = wide[poor] / wide[poor].abs().amax(-1, keepdim=True)
        gram[poor] = scaled @ scaled.mT
    norms, count = squares.sqrt(), vectors.shape[-2]
    first, second = torch.triu_indices(count, count, 1, device=vectors.device)
    products = norms.index_select(-1, first).mul_(norms.index_select(-1, second))
    pairs = gram.flatten(-2).index_select(-1, first * count + second)
    return pairs.div_(products).abs_().clamp_(max=1)


def row_medians(values: Tensor) -> Tensor:
    """Return the median of each row ``(n, m)`` without its NaN, ``(n,)``; NaN for a row of nothing else."""
    if values.device.type == "cpu":  # NumPy sorts with vector instructions, many times faster
        ordered = torch.from_numpy(np.sort(values.numpy(), axis=1))
    else:
        ordered = values.sort(1).values
    count = (~values.isnan()).sum(1)  # NaN comes last
    middle = torch.stack([(count - 1).clamp(min=0) // 2, count // 2], dim=1)
    return ordered.gather(1, middle).mean(1)


def null_mean(channels: int) -> float:
    """Return the mean of |cos| for two normal vectors of so many entries: 1/2 for three, 0.100 for 64."""
    return math.exp(math.lgamma(channels / 2) - math.lgamma((channels + 1) / 2)) / math.sqrt(math.pi)


def null_median(channels: int) -> float:
    """Return the median of |cos| for two normal vectors: the square is Beta(1/2, (channels - 1)/2)."""
    return math.sqrt(special.betaincinv(0.5, (channels - 1) / 2, 0.5)) if channels > 1 else 1.0


class CosineHistogram:
    """The distribution of any number of |cos| values, in little memory.

    Values are counted in bins of 1 - |cos| that are wide in proportion, so that a percentile is known to 0.4 % of its
    distance from 1, however small that is; the mean is exact.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(_BINS, dtype=torch.int64)
        self.total = 0.0
        self.undefined = 0

    @property
    def count(self) -> int:
        """How many values are known."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean; NaN without values."""
        return self.total / self.count if self.count else math.nan

    def add(self, values: Tensor) -> None:
        """Count values in [0, 1]; NaN counts as undefined."""
        distances = (1 - values.flatten()).nan_to_num_(_UNDEFINED).float()
        # Floats that are not negative have the order of their bits.
        found = torch.bincount(distances.view(torch.int32) >> _DROPPED_BITS, minlength=_BINS).cpu()
        self.undefined += int(found[_BINS:].sum())
        self.counts += found[:_BINS]
        self.total += float(values.nansum(dtype=torch.float64 if values.device.type == "cpu" else None))

    def percentiles(self, percent: Sequence[float]) -> list[float]:
        """Return percentiles of |cos|, each in [0, 1]; NaN without values."""
        if not self.count:
            return [math.nan] * len(percent)
        above = self.counts.flip(0).cumsum(0)  # from the greatest distance, hence the least cosine
        rank = 1 + torch.tensor(percent, dtype=torch.float64) / 100 * (self.count - 1)
        bins = _BINS - 1 - torch.searchsorted(above, rank.floor().long())
        edges = torch.stack([bins, (bins + 1).clamp(max=_BINS - 1)]).int() << _DROPPED_BITS
        middle = edges.view(torch.float32).double().mean(0)
        return [1 - distance for distance in torch.where(bins == 0, 0.0, middle).tolist()]
