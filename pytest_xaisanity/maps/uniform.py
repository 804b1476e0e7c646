"""Uniform noise in the place of removed features, as region perturbation was first measured with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.seeding import generator
from ..subject.layout import Layout

__all__ = ["Uniform"]


@dataclass(frozen=True)
class Uniform:
    """Uniform noise between the least and the greatest value of the original image, for each channel.

    Samek et al. 2017 draw from all values that a pixel may have, which inputs do not tell. Drawn by (seed, input), so
    that it is the same at every step and for every order of removal.
    """

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the noise."""
        generators = [generator(seed, "imputer", i) for i in indices]
        # In float32 whatever the default type: other types draw other numbers.
        drawn = torch.stack([torch.rand(inputs.shape[1:], dtype=torch.float32, generator=g) for g in generators])
        rows, places = Layout.of((inputs,)).over_places(inputs)
        low, high = rows.amin(places, keepdim=True), rows.amax(places, keepdim=True)
        shares = drawn.to(inputs.device, inputs.dtype).reshape(rows.shape)
        return torch.lerp(low.expand_as(rows), high.expand_as(rows), shares).reshape(inputs.shape)
