"""The explainer's own mean map over other inputs of the same target: a template of the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...maps.counted import from_grid, on_grid
from ...subject.block import Block
from ..base import Lab
from .own_maps import OwnMaps

__all__ = ["ClassMean"]


@dataclass(frozen=True)
class ClassMean(OwnMaps):
    """The explainer's mean map over the other inputs of the same target: of the same block, and of all before it.

    An input whose target no other has had so far has none. Of each target a sum of maps is kept, however many inputs;
    sentences of different lengths are averaged on a grid of 64 places, linearly between their own.
    """

    name: ClassVar[str] = "class_mean"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps, of the other inputs of this block alone."""
        return _Sums()(block, like)

    def begin(self, lab: Lab) -> Callable[[Block, Tensor], list[Tensor]]:
        """Return a function that adds up the maps of each target from one block to the next."""
        return _Sums()


class _Sums:
    """Adds up the maps of each target, and gives each input the mean of the others."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int, ...], Tensor] = {}
        self.counts: dict[tuple[int, ...], int] = {}

    def __call__(self, block: Block, like: Tensor) -> list[Tensor]:
        """Return one batch of maps of the shape of ``like``, NaN where there is no other."""
        targets, wide = block.target_keys, on_grid(like.detach().cpu().double(), block.mask)
        for row, target in enumerate(targets):
            self.sums[target] = self.sums[target] + wide[row] if target in self.sums else wide[row].clone()
            self.counts[target] = self.counts.get(target, 0) + 1
        maps = torch.full_like(wide, torch.nan)
        for row, target in enumerate(targets):
            if self.counts[target] > 1:
                maps[row] = (self.sums[target] - wide[row]) / (self.counts[target] - 1)
        return [from_grid(maps.to(like.device, like.dtype), block.mask, like)]
