"""Random maps: several random orders of the same input, the null of every ranking metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...common.checks import FEW, check_whole
from ...maps.noise import noise_maps
from ...subject.block import Block
from ..base import Baseline

__all__ = ["Random", "RandomPlaces"]


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

    def of_same_values(self) -> RandomPlaces:
        """Return random places for the values of the explainer's own map."""
        return RandomPlaces(self.draws)


@dataclass(frozen=True)
class RandomPlaces(Random):
    """The explainer's own maps, the values of each at random places: a random order where values matter too.

    Args:
        draws: How many for each input, 1 or more.
    """

    from_explainer: ClassVar[bool] = True

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps for each draw; of tokens, whose maps are not multiplied, random orders."""
        if block.mask is not None:
            return super().maps(block, like, seed=seed)
        flat = like.flatten(1)
        orders = [one.flatten(1).argsort(1) for one in super().maps(block, like, seed=seed)]
        return [flat.gather(1, order).reshape(like.shape) for order in orders]
