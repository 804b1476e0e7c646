"""The network's own gradient: how much of it new weights at the top of the network leave.

The gradient of the explained output follows the weights by definition. Where a network reduces its inputs to a few
numbers below its head, as one that tells two classes does, a new head is a new sum of these few, and the gradient stays
nearly what it was, or turns over. Of what hardly changes itself no explanation can be asked to change.

It is measured on the inputs of a claim, under the cells of the upper third that these are explained under, and only
where the claim is not passed without it. All explainers of a bench share what was measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..common.errors import XaiError, XaiWarning
from ..explainers.attributions import Attributions
from ..explainers.explainer import Explainer, Request
from ..maps.similarity import SPEARMAN
from ..statistics.evidence import number
from ..subject.batches import out_of_memory
from ..subject.block import Block
from ..subject.outputs import select
from .base import Array, Compared, Cost, Lab, Measurement
from .cells import Cells
from .comparison import Comparing, Comparison
from .controls import Control

__all__ = ["GRADIENT", "OwnGradient", "OwnGradients", "UpperCells"]


def _gradient(request: Request) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in request.inputs]
    explained = select(request.bound(*leaves), request.targets).sum()
    found = torch.autograd.grad(explained, leaves, materialize_grads=True)  # 0 for an input that it does not depend on
    finite = torch.stack([one.isfinite().flatten(1).all(1) for one in found]).all(0)
    # A map of zeros is like none: what is not known of one input leaves the others as they are.
    return tuple(torch.where(finite.reshape(-1, *[1] * (one.ndim - 1)), one, 0) for one in found)


GRADIENT = Explainer("the network's own gradient", _gradient, ("own gradient",), tokens="embedded")
"""The gradient of each input's explained output."""


@dataclass(frozen=True)
class OwnGradient(Control):
    """How much of the network's own gradient is left in the upper third, by similarity.

    Attributes:
        kept: ``(after - chance) / (own - chance)``, of the means over ``n`` inputs; None where gradients of other
            inputs are as alike, or may be.
        n: The number of inputs.
    """

    kept: Mapping[str, float | None]
    n: int
    name: ClassVar[str] = "own gradient"  # type: ignore[misc]

    def plain(self) -> dict[str, object]:
        """Return the share that is left by similarity, and the number of inputs."""
        return {"kept": dict(self.kept), "n": self.n}

    def text(self) -> str:
        """Return both."""
        kept = ", ".join(f"{name} {number(value)}" for name, value in self.kept.items())
        return f"left in the upper third {kept} ({self.n} inputs)"


@dataclass(frozen=True)
class UpperCells(Cells):
    """Of the cells that inputs are explained under, those that speak of the upper third."""

    @classmethod
    def among(cls, cells: Cells) -> UpperCells:
        """Return those of an intervention."""
        return cls(**{field.name: getattr(cells, field.name) for field in fields(cells)})

    @property
    def draws(self) -> int:
        """How many cells each input is explained under."""
        return 1 if self.sampled else self.seeds * self.upper

    def of(self, block: Block) -> Array:
        """Return the cells ``(b, draws, 2)``."""
        every = super().of(block)
        if self.sampled:
            return every[:, -1:]
        by_seed = every.reshape(len(block), self.seeds, self.positions, 2)
        return by_seed[:, :, : self.upper].reshape(len(block), -1, 2)


@dataclass(frozen=True)
class OwnGradients(Measurement[Compared]):
    """Similarities of the network's own gradients before and after a randomization, in its upper third.

    They are NaN where the network has no gradients, or all are zero. A gradient is compared with itself in place of a
    second run, but for one that is the mean over noisy copies, of which it is another copy as for any explainer.

    Args:
        comparison: What the explainer is asked for.
    """

    comparison: Comparison
    about = "model"

    @property
    def key(self) -> Hashable:
        """Equal for gradients under the same cells."""
        return ("own gradient", self.comparison.key)

    def lab(self, lab: Lab) -> Lab:
        """Return the laboratory in which the gradient is the explainer."""
        known = lab.attributions
        gradient = Attributions(lab.subject, GRADIENT, lab.seed, known.cache)
        gradient.remember(known.fingerprint)
        return replace(lab, attributions=gradient)

    def start(self, lab: Lab, block: Block) -> _Gradients:
        """Begin on the first block."""
        return _Gradients(self.comparison, lab, block)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return the passes, forward and back, of a gradient before and of those after; none where none is asked."""
        begun = _Gradients(self.comparison, self.lab(lab), block)
        if begun.cells.thirdless:
            return Cost()
        return Cost(passes=2.0 * (1 + begun.cells.draws + bool(begun.procedure.ceiling)))


class _Gradients(Comparing):
    """The comparison of the own gradients of one network, by the similarities that decide and by signed ranks."""

    def __init__(self, comparison: Comparison, lab: Lab, block: Block) -> None:
        super().__init__(comparison, lab, block)
        self.cells = UpperCells.among(self.cells)
        self.keep((*self.deciding, SPEARMAN.name))

    def measure(self, block: Block) -> Compared:
        """Return the similarities of one block."""
        try:
            return self.measure_upper(block)
        except XaiError as error:  # a model without gradients, or one whose gradients are all zero
            if error.__cause__ is not None and out_of_memory(error.__cause__):
                text = "the network's own gradient has no room in memory: what is not passed is decided without it"
                warnings.warn(text, XaiWarning, stacklevel=2)
            names = [s.name for s in self.similarities]
            each = {name: torch.full((len(block),), torch.nan) for name in names}
            after = {name: torch.full((len(block), self.cells.draws), torch.nan) for name in names}
            return Compared.of(after=after, own=each, chance=each, cells=self.cells.of(block))
