"""Batch order: the same inputs in another order must get the same explanations."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...common.checks import FEW, check_whole
from ...common.seeding import generator
from ...explainers.attributions import Attributions
from ...statistics.evidence import Part, Remark
from ...subject.block import Block
from ..base import Intervention, Lab, Procedure, Verb

__all__ = ["BatchOrder", "ByItself", "Orders"]


@dataclass(frozen=True)
class BatchOrder(Intervention):
    """Explain each block in ``seeds`` random orders, in two halves, so that each input has other company too.

    An explanation that depends on its neighbors in the batch (statistics taken over the batch, state kept from one
    call to the next, attributions returned in the wrong rows) changes. What an explainer draws for an input is drawn
    again, alike, in each order.
    """

    seeds: int = 1
    name: ClassVar[str] = "batch_order"
    verbs: ClassVar[tuple[Verb, ...]] = ("invariant_under",)
    advice: ClassVar[str] = "look for statistics over the batch, or state kept between calls"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", check_whole(self.name, "seeds", self.seeds, most=FEW))

    def start(self, lab: Lab, block: Block) -> _Reordering:
        """Return the procedure."""
        return _Reordering(self.seeds, lab.attributions)


class _Reordering(Procedure):
    def __init__(self, seeds: int, attributions: Attributions) -> None:
        self.attributions = attributions
        self.shape = (seeds, 1)

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of the block computed in each order, put back into place."""
        for seed in range(self.shape[0]):
            drawn = torch.randperm(len(block), generator=generator(self.attributions.seed, "order", seed, block.number))
            # A rotation on top makes sure that a block of two or more never keeps its order.
            order = drawn if not torch.equal(drawn, torch.arange(len(block))) else drawn.roll(1)
            yield self.attributions.reordered(block, order.to(block.inputs[0].device))

    def describe(self) -> tuple[Part, ...]:
        """Return the number of orders, and whether inputs had no company in any."""
        sampling = self.attributions.sampling
        orders = Orders(self.shape[0], alike=sampling.way is not None)
        return (orders, ByItself()) if sampling.draws and sampling.way is None else (orders,)


@dataclass(frozen=True)
class Orders(Part):
    """In how many orders each block was explained.

    Attributes:
        count: The number.
        alike: Whether the explainer draws, and the same numbers for an input in each order.
    """

    count: int
    alike: bool = False

    def plain(self) -> dict[str, object]:
        """Return the number."""
        return {"orders": self.count}


@dataclass(frozen=True)
class ByItself(Remark):
    """An explainer that draws was run one input at a time, in whatever order."""

    always: ClassVar[bool] = True

    def plain(self) -> dict[str, object]:
        """Return that."""
        return {"by_itself": True}

    def __str__(self) -> str:
        return "each input was explained by itself, since the explainer draws"
