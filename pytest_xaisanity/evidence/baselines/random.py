"""Random maps: several random orders of the same input, the null of every ranking metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...common.checks import FEW, check_whole
from ...maps.noise import noise_maps
from ...subject.block import Block
from ..base import Baseline

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(Baseline):
    """Random maps.

    Args:
        draws: How many for each input, 1 to 1,000.
    """

    draws: int = 3
    name: ClassVar[str] = "random"
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws", check_whole("baseline 'random'", "draws", self.draws, most=FEW))

    @property
    def count(self) -> int:
        """The draws."""
        return self.draws

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps for each draw."""
        indices, mask = block.indices, block.mask
        names = [f"random {k}" for k in range(self.draws)]
        return [noise_maps(like, seed=seed, indices=indices, draw=name, mask=mask) for name in names]
