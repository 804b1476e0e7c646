"""Random maps: several random orders of the same input, the null of every ranking metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...common.errors import setting_error
from ...maps.noise import noise_maps
from ...subject.block import Block

__all__ = ["Random"]


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
