"""Smoothing: the network with softplus and log-sum-exp is hardly another one, and so is its explanation to be."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...model.smooth import LSE, Smooth, sharpness, smooths_of
from ...statistics.evidence import Part
from ...subject.block import Block
from ..base import Cell, Cost, Intervention, Lab, Sweep, Verb
from ..smoothing import SmoothedNetwork

__all__ = ["Smoothed"]


@dataclass(frozen=True)
class Smoothed(Intervention):
    """Explain the network with its ReLUs made softplus and its max-pooling made log-sum-exp, weights as they are.

    Smoothing changes the network, so the verdict always says for how many inputs the prediction stays. What is
    smoothed, modules and functions alike, is in :class:`~pytest_xaisanity.model.smoothing.Smoothing`, with what
    softplus and log-sum-exp are in :class:`~pytest_xaisanity.model.smooth.Smooth`. With several settings the claim is
    about their mean, and the evidence has a curve over them: several of one go with a single one of the other, or each
    with its own.

    Args:
        beta: Of softplus, above 0: the larger, the closer to ReLU. ``inf`` leaves ReLUs as they are.
        r: Of log-sum-exp, above 0: the larger, the closer to the maximum. ``inf`` leaves max-pooling as it is.
        lse: ``"sum"``, which is never below the maximum; or ``"mean"``, which is never above it.

    Raises:
        XaiError: A setting is out of range; the model has nothing to smooth, or its operations cannot be seen.
    """

    beta: float | Sequence[float] = 10.0
    r: float | Sequence[float] = 10.0
    lse: LSE = "sum"
    name: ClassVar[str] = "smoothed"
    verbs: ClassVar[tuple[Verb, ...]] = ("changes_under", "invariant_under")

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", sharpness("beta", self.beta))
        object.__setattr__(self, "r", sharpness("r", self.r))
        smooths_of(self.beta, self.r, self.lse)

    def start(self, lab: Lab, block: Block) -> _Smoothed:
        """Find out, on a few inputs of the block, what there is to smooth."""
        return _Smoothed(smooths_of(self.beta, self.r, self.lse), lab, block)

    def cost(self, explained: float) -> Cost:
        """Return the explanations, and the passes that predict: of the network, and of each that is smoothed."""
        return super().cost(explained) + Cost(passes=1 + len(smooths_of(self.beta, self.r, self.lse)))


class _Smoothed(Sweep):
    layered = False

    def __init__(self, smooths: Sequence[Smooth], lab: Lab, block: Block) -> None:
        self.attributions = lab.attributions
        self.shape = (1, len(smooths))
        self.network = SmoothedNetwork(lab.subject, smooths)
        self.network.probe(block)

    def sampled(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the maps that are wanted, setting by setting."""
        self.network.observe(block)
        for cell in sorted(wanted):
            yield cell, self.network.maps(self.attributions, block, wanted[cell], cell[1])

    def describe(self) -> tuple[Part, ...]:
        """Return whether the smoothed networks predict the same."""
        return (self.network.agreement(),)
