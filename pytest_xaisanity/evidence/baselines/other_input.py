"""The explainer's own map of another input of the same target: what an explanation of this input beats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...common.seeding import generator
from ...maps.counted import counted_map, place_map
from ...subject.block import Block
from ..base import Lab
from .own_maps import OwnMaps

__all__ = ["OtherInput", "Others"]

_KEPT = 8  # maps of a target
_BYTES = 64 * 2**20  # of all that are kept


@dataclass(frozen=True)
class OtherInput(OwnMaps):
    """The explainer's own map of another input of the same target, drawn by (seed, input).

    The other is one of the same block, or of the last eight of that target before it. An input whose target no other
    has had so far has none. Of a sentence of another length the map is stretched or squeezed to this one's, linearly
    between its places.
    """

    name: ClassVar[str] = "other_input"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps, of the other inputs of this block alone."""
        return Others(seed)(block, like)

    def begin(self, lab: Lab) -> Callable[[Block, Tensor], list[Tensor]]:
        """Return a function that keeps a few maps of each target from one block to the next."""
        return Others(lab.seed)


class Others:
    """Gives each input the map of another, and keeps maps of each target for the blocks to come.

    Args:
        seed: Seeds which other it is.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.kept: dict[tuple[int, ...], list[Tensor]] = {}

    def __call__(self, block: Block, like: Tensor) -> list[Tensor]:
        """Return one batch of maps of the shape of ``like``, NaN where there is no other."""
        targets = block.target_keys
        maps = torch.full_like(like, torch.nan)
        for row, (index, target) in enumerate(zip(block.indices, targets, strict=True)):
            mates = [place for place, other in enumerate(targets) if other == target and place != row]
            before = self.kept.get(target, [])
            count = len(before) + len(mates)
            if not count:
                continue
            rng = generator(self.seed, "other input", index)
            drawn = int(torch.randint(0, count, (1,), generator=rng))
            mate = mates[drawn - len(before)] if drawn >= len(before) else None
            other = before[drawn].to(like) if mate is None else counted_map(like, block.mask, mate)
            place_map(other, block.mask, row, maps)
        for row, target in enumerate(targets):
            self._keep(target, counted_map(like, block.mask, row))
        return [maps]

    def _keep(self, target: tuple[int, ...], one: Tensor) -> None:
        """Keep one more map: the last eight of a target, and fewer of those with most where room is short."""
        self.kept.setdefault(target, []).append(one.detach().cpu().clone())
        del self.kept[target][:-_KEPT]
        most = max(1, _BYTES // max(1, one.numel() * one.element_size()))
        while sum(map(len, self.kept.values())) > most:
            longest = max(self.kept, key=lambda key: len(self.kept[key]))
            del self.kept[longest][0]
