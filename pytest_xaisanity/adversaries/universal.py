"""Universal maps: what is tried against an explanation before anything is searched for.

They know nothing of what the model makes of the input: a blob in the center, the magnitude of the input, and means over
other inputs, of the inputs or of the explainer's own maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..evidence.baselines.uninformative import drawn
from ..maps.counted import from_grid, on_grid
from ..maps.noise import magnitude
from ..maps.uninformative import Box, UninformativeMap
from ..subject.block import Block

__all__ = ["Candidate", "MeanMap", "candidate_maps", "center_blob", "longest", "universal_maps"]

_RINGS = 4  # boxes, one inside the other, that a blob is made of


@dataclass(frozen=True, eq=False, repr=False)
class MeanMap:
    """The mean of maps that stand for some inputs, without that of the input itself.

    Attributes:
        name: What it is the mean of, in words.
        rows: The maps, ``(m, *places)``; of sentences those on a grid, see :func:`~..maps.counted.on_grid`.
        indices: The input of each.
        targets: The target of each where those of the same target alone are averaged, and of all where there is none.
    """

    name: str
    rows: Tensor
    indices: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...] | None = None

    def __repr__(self) -> str:
        return self.name

    def maps(self, block: Block, like: Tensor) -> Tensor:
        """Return the maps of a block, of the shape of ``like``."""
        keys: Sequence[tuple[int, ...]] = block.target_keys
        weights = torch.zeros(len(block), len(self.indices), dtype=torch.float64)
        for row, index in enumerate(block.indices):
            others = [place for place, other in enumerate(self.indices) if other != index] or [0]
            mates = [place for place in others if self.targets is None or self.targets[place] == keys[row]]
            chosen = mates or others
            weights[row, chosen] = 1 / len(chosen)
        means = weights @ self.rows.flatten(1).cpu().double()
        if block.mask is not None:
            return from_grid(means.to(like.device, like.dtype), block.mask, like)
        return means.reshape(like.shape).to(like.device, like.dtype)


Candidate: TypeAlias = UninformativeMap | MeanMap


def candidate_maps(candidate: Candidate, block: Block, like: Tensor, *, seed: int) -> Tensor:
    """Return the maps of a block, of the shape of ``like``."""
    return candidate.maps(block, like) if isinstance(candidate, MeanMap) else drawn(candidate, block, like, seed=seed)


def center_blob(places: tuple[int, ...]) -> UninformativeMap:
    """Return a blob in the center: boxes one inside the other, over the last two places."""
    height, width = places[-2:] if len(places) > 1 else (1, places[-1])
    boxes = []
    for ring in range(1, _RINGS + 1):
        sides = [max(1, round(side * ring / (_RINGS + 1))) for side in (height, width)]
        boxes.append(Box((height - sides[0]) // 2, (width - sides[1]) // 2, *sides))
    return UninformativeMap(background=0, boxes=tuple(dict.fromkeys(boxes)))


def longest(blocks: Sequence[Block], own: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the places of one map; of sentences, as many as the longest has that count."""
    masks = [block.mask for block in blocks if block.mask is not None]
    return (max(int(mask.sum(1).max()) for mask in masks),) if masks else tuple(own[0].shape[1:])


def universal_maps(blocks: Sequence[Block], own: Sequence[Tensor]) -> dict[str, Candidate]:
    """Return what is always tried, by what it is called.

    Args:
        blocks: Inputs to average over.
        own: The explainer's maps of each block, ``(b, *places)``.
    """
    indices = tuple(index for block in blocks for index in block.indices)
    targets = tuple(target for block in blocks for target in block.target_keys)
    sizes = [magnitude(block.layout, block.inputs, maps) for block, maps in zip(blocks, own, strict=True)]
    inputs, maps = (
        torch.cat([on_grid(one, block.mask) for block, one in zip(blocks, each, strict=True)]) for each in (sizes, own)
    )
    means = [
        MeanMap("the mean image", inputs, indices),
        MeanMap("the mean image of the class", inputs, indices, targets),
        MeanMap("the explainer's own mean map", maps, indices),
    ]
    blob, size = center_blob(longest(blocks, own)), UninformativeMap(match="input")
    return {"a blob in the center": blob, "the magnitude of the input": size, **{one.name: one for one in means}}
