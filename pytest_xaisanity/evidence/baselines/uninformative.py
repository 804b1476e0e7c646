"""Maps that know nothing of the model, as baselines: a given one, the input times noise, and the best one there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...common.checks import check_whole
from ...common.errors import XaiError
from ...maps.counted import lengths, packed, spread
from ...maps.noise import magnitude
from ...maps.uninformative import UninformativeMap
from ...subject.block import Block
from ..base import Baseline

__all__ = ["GivenMap", "InputTimesNoise", "Uninformative", "drawn"]

_MOST = 10_000  # maps that a search may try


def drawn(candidate: UninformativeMap, block: Block, like: Tensor, *, seed: int, call: str = "") -> Tensor:
    """Return the maps of a block, of the shape of ``like``; ``call`` tells calls apart."""
    magnitudes = magnitude(block.layout, block.inputs, like) if candidate.match == "input" else None
    if block.mask is None:
        shape = tuple(like.shape[1:])
        maps = candidate.render(shape, seed=seed, indices=block.indices, call=call, magnitudes=magnitudes)
        return maps.to(like.device, like.dtype)
    result = torch.zeros_like(like)
    for rows, length in lengths(block.mask):
        some = None if magnitudes is None else packed(magnitudes, block.mask, rows, length)
        indices = [block.indices[row] for row in rows.tolist()]
        maps = candidate.render((length,), seed=seed, indices=indices, call=call, magnitudes=some)
        spread(maps, block.mask, rows, result)
    return result


@dataclass(frozen=True)
class GivenMap(Baseline):
    """One uninformative map, drawn for each input.

    Args:
        map: The map.
    """

    map: UninformativeMap
    name: ClassVar[str] = "uninformative"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps."""
        return [drawn(self.map, block, like, seed=seed)]


@dataclass(frozen=True)
class InputTimesNoise(Baseline):
    """The input times normal noise: the null of methods that multiply by the input."""

    name: ClassVar[str] = "input_times_noise"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps."""
        noise = UninformativeMap("gaussian", "both", match="input")
        return [drawn(noise, block, like, seed=seed, call="input times noise")]


@dataclass(frozen=True)
class Uninformative(Baseline):
    """The best map that a search of the family of :class:`UninformativeMap` finds.

    A claim searches on one half of the inputs (32 at most) and is decided on the others.

    Args:
        max_examples: How many maps to try, 1 to 10,000; by default what the active Hypothesis profile says (100).
    """

    max_examples: int | None = None
    name: ClassVar[str] = "uninformative"

    def __post_init__(self) -> None:
        if self.max_examples is not None:
            most = check_whole("baseline 'uninformative'", "max_examples", self.max_examples, most=_MOST)
            object.__setattr__(self, "max_examples", most)

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """There are none before a search."""
        raise XaiError(
            "baseline 'uninformative'",
            found="a place where a baseline has to make maps without a search",
            expected="beats('uninformative', on=...), which searches for one",
            fix="name a map: UninformativeMap(...)",
        )
