"""Batch order: the same inputs in another order must get the same explanations."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...common.errors import setting_error
from ...common.seeding import generator
from ...explainers.attributions import Attributions
from ...subject.block import Block

__all__ = ["BatchOrder"]


@dataclass(frozen=True)
class BatchOrder:
    """Explain each block in ``seeds`` random orders, in two halves, so that each input has other company too.

    An explanation that depends on its neighbours in the batch (statistics taken over the batch, state kept from one
    call to the next, attributions returned in the wrong rows) changes.
    """

    seeds: int = 1
    name: ClassVar[str] = "batch_order"
    relations: ClassVar[tuple[str, ...]] = ("invariant_under",)

    def __post_init__(self) -> None:
        if type(self.seeds) is not int or self.seeds < 1:
            raise setting_error("batch_order", "seeds", repr(self.seeds), "a whole number of at least 1")

    @property
    def key(self) -> Hashable:
        """Equal for equal settings."""
        return self

    def start(self, explained: Attributions, block: Block) -> _Reordering:
        """Return the session."""
        return _Reordering(self.seeds, explained)


class _Reordering:
    def __init__(self, seeds: int, explained: Attributions) -> None:
        self.explained = explained
        self.shape = (seeds, 1)

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of the block computed in each order, put back into place."""
        for seed in range(self.shape[0]):
            drawn = torch.randperm(len(block), generator=generator(self.explained.seed, "order", seed, block.number))
            # A rotation on top makes sure that a block of two or more never keeps its order.
            order = drawn if not torch.equal(drawn, torch.arange(len(block))) else drawn.roll(1)
            yield self.explained.reordered(block, order.to(block.inputs[0].device))

    def describe(self) -> dict[str, Any]:
        """Return the number of orders."""
        return {"orders": self.shape[0]}
