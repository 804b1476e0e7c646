"""Random maps: several random orders of the same input, the null of every ranking metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import setting_error
from ..seeding import generator
from ..subject import Block

__all__ = ["Random", "noise_maps"]


def noise_maps(like: Tensor, *, seed: int, indices: Sequence[int], draw: str) -> Tensor:
    """Return standard normal maps of the shape of ``like`` ``(b, *places)``, drawn by (seed, draw, input)."""
    shape, dtype = like.shape[1:], torch.float32  # whatever the default type: other types draw other numbers
    drawn = [torch.randn(shape, dtype=dtype, generator=generator(seed, "noise", draw, i)) for i in indices]
    return torch.stack(drawn).to(like.device, like.dtype)


@dataclass(frozen=True)
class Random:
    """Random maps.

    Args:
        draws: How many for each input, 1 or more.
    """

    draws: int = 5
    name: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        if type(self.draws) is not int or self.draws < 1:
            raise setting_error("baseline 'random'", "draws", repr(self.draws), "a whole number of at least 1")

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps for each draw."""
        return [noise_maps(like, seed=seed, indices=block.indices, draw=f"random {k}") for k in range(self.draws)]
