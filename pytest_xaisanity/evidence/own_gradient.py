"""The network's own gradient: how much of it new weights at the top of the network leave.

The gradient of the explained output follows the weights by definition. Where a network reduces its inputs to a few
numbers below its head, as one that tells two classes does, a new head is a new sum of these few, and the gradient stays
nearly what it was, or turns over. Of what hardly changes itself no explanation can be asked to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..explainers.explainer import Explainer, Request
from ..maps.similarity import Similarity
from ..statistics.evidence import number
from ..subject.block import Block
from ..subject.outputs import select
from .base import Array, Compared
from .cells import Cells
from .controls import Control

__all__ = ["GRADIENT", "GRADIENT_PASSES", "OwnGradient", "TopCells"]

_DRAWS = 4  # cells of the upper third that an input is explained under
GRADIENT_PASSES = 2 * (_DRAWS + 2)  # of an input, forward and back: before, in a second run, and under its cells
_SEEDS = 8  # of randomizations at large
_TOLD_APART = 0.1  # gradients of one input are more alike than those of others by more than this


def _gradient(request: Request) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in request.inputs]
    return torch.autograd.grad(select(request.bound(*leaves), request.targets).sum(), leaves)


GRADIENT = Explainer("the network's own gradient", _gradient, ("own gradient",), tokens="embedded")
"""The gradient of each input's explained output."""


@dataclass(frozen=True)
class OwnGradient(Control):
    """How much of the network's own gradient is left in the upper third, by similarity.

    Attributes:
        kept: ``(after - chance) / (own - chance)``, of the means over ``n`` inputs; None where gradients of other
            inputs are as alike.
        n: The number of inputs.
    """

    kept: Mapping[str, float | None]
    n: int
    name: ClassVar[str] = "own gradient"  # type: ignore[misc]

    @classmethod
    def of(cls, compared: Compared, chance: Mapping[str, Tensor], similarities: Iterable[Similarity]) -> OwnGradient:
        """Return what gradients that were compared have kept.

        Args:
            compared: Their similarities after new weights, and to a second run.
            chance: Those of gradients of different inputs, by similarity.
            similarities: The similarities.
        """
        kept = {}
        for s in similarities:
            scores = (torch.from_numpy(compared.after[s.name]), torch.from_numpy(compared.own[s.name]), chance[s.name])
            after, own, other = (float(s.unit(part).nanmean()) for part in scores)
            kept[s.name] = (after - other) / (own - other) if own - other > _TOLD_APART else None
        return cls(kept, len(compared.cells))

    def plain(self) -> dict[str, object]:
        """Return the share that is left by similarity, and the number of inputs."""
        return {"kept": dict(self.kept), "n": self.n}

    def text(self) -> str:
        """Return both."""
        kept = ", ".join(f"{name} {number(value)}" for name, value in self.kept.items())
        return f"left in the upper third {kept} (first {self.n} inputs)"


@dataclass(frozen=True)
class TopCells(Cells):
    """Four cells of the upper third for each of a few pairs of inputs, which go through seeds and positions in turn."""

    @classmethod
    def beside(cls, cells: Cells) -> TopCells:
        """Return those of an intervention."""
        seeds = _SEEDS if cells.fresh else cells.seeds
        return cls(seeds, cells.positions, sampled=True, seed=cells.seed)

    @property
    def draws(self) -> int:
        """How many cells each input is explained under."""
        return _DRAWS

    def of(self, block: Block) -> Array:
        """Return the cells ``(b, draws, 2)``."""
        turns = np.arange(len(block))[:, None] // 2 * _DRAWS + np.arange(_DRAWS)
        return np.stack([turns % self.seeds, turns // self.seeds % self.upper], axis=-1)
