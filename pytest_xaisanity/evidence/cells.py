"""Cells: which randomized models each input is explained under.

A cell is a seed and a position in the order of an intervention. What a claim says is about the mean over all cells, and
over those of the upper third, which is estimated from a sample: each pair of inputs is explained under one cell drawn
for it and under one of the upper third. Both means are then free of bias, pairs are independent of one another given
the seeds, and the cost does not grow with layers and seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch

from ..common.seeding import generator, seed_of
from ..statistics.evidence import Part, Row
from ..subject.block import Block
from .base import Array, Cell

__all__ = ["CELLS", "Cells", "Chosen"]

Chosen: TypeAlias = Literal["sample", "all"]
CELLS: tuple[Chosen, ...] = ("sample", "all")


@dataclass(frozen=True)
class Cells(Part):
    """The cells of an intervention, and which of them each input is explained under.

    Attributes:
        seeds: How many seeds.
        positions: How many positions each seed has.
        sampled: Whether a cell is drawn for each pair of inputs; otherwise each input is explained under all.
        fresh: Whether each pair has a seed of its own, so that a verdict is about seeds at large.
        seed: Seeds the draws.
        layered: Whether positions are an order of layers, of which the upper third counts for itself.
    """

    seeds: int
    positions: int
    sampled: bool
    fresh: bool = False
    seed: int = 0
    layered: bool = True

    @property
    def upper(self) -> int:
        """How many positions are the upper third: the first ones, one at least."""
        return max(1, self.positions // 3)

    @property
    def thirdless(self) -> bool:
        """Whether no upper third counts for itself."""
        return self.positions == 1 or not self.layered

    @property
    def draws(self) -> int:
        """How many cells each input is explained under."""
        if not self.sampled:
            return self.seeds * self.positions
        return 1 if self.thirdless else 2

    @property
    def explained(self) -> float:
        """How many explanations an input takes, on average: a cell drawn from the upper third serves twice."""
        if not self.sampled or self.thirdless:
            return float(self.draws)
        return 2 - self.upper / self.positions

    def of(self, block: Block) -> Array:
        """Return the cells ``(b, draws, 2)``, seed and position, of each input of a block.

        Inputs that are visited in a row are a pair; an odd last one has cells of its own.
        """
        if not self.sampled:
            every = np.array([(seed, place) for seed in range(self.seeds) for place in range(self.positions)])
            return np.broadcast_to(every, (len(block), *every.shape))
        pairs = [self._of_pair(index) for index in block.indices[::2]]
        drawn: Array = np.repeat(np.array(pairs), 2, axis=0)[: len(block)]
        return drawn

    def _of_pair(self, index: int) -> tuple[Cell, ...]:
        """Return the cells of the pair whose first input is ``index``: of all, and of the upper third."""
        drawn = generator(self.seed, "cells", index)

        def below(limit: int) -> int:
            return int(torch.randint(limit, (), generator=drawn))

        seeds = [below(self.seeds), below(self.seeds)]
        if self.fresh:
            seeds = [seed_of(self.seed, "fresh", index) % 2**31] * 2
        whole = seeds[0], below(self.positions)
        if self.thirdless:
            return (whole,)
        upper = seeds[1], below(self.upper)
        return whole, whole if whole[1] < self.upper else upper  # which is drawn from the upper third as well

    def whole(self, scores: Array) -> Array:
        """Return the columns of scores ``(n, draws)`` that speak of all cells."""
        return scores[:, :1] if self.sampled else scores

    def upper_third(self, scores: Array) -> Array:
        """Return the columns of scores ``(n, draws)`` that speak of the upper third."""
        if self.sampled:
            return scores[:, -1:]
        by_cell = scores.reshape(len(scores), self.seeds, self.positions)
        return by_cell[:, :, : self.upper].reshape(len(scores), -1)

    def plain(self) -> dict[str, object]:
        """Return the numbers of seeds and positions, and how cells were chosen."""
        chosen = "all" if not self.sampled else "fresh" if self.fresh else "sample"
        return {"cells": {"seeds": self.seeds, "positions": self.positions, "chosen": chosen, "upper": self.upper}}

    def rows(self) -> Iterator[Row]:
        """Yield how many cells there are, and how many of them an input was explained under."""
        if self.seeds * self.positions == 1:
            return
        if not self.layered:
            yield "settings", f"{self.positions}, {'one drawn for each pair of inputs' if self.sampled else 'all'}"
            return
        seeds = "a seed for each pair of inputs" if self.fresh else f"{self.seeds} seeds"
        shown = f"all {self.draws}" if not self.sampled else f"{self.draws} drawn for each pair of inputs"
        yield "cells", f"{seeds} × {self.positions} positions, {shown}"
