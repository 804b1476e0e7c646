"""The explainer's own local attributions of another input of the same target, times this input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...common.errors import XaiError
from ...explainers.attributions import Attributions
from ...maps.forms import Multiplier
from ...subject.block import Block, Inputs
from ...subject.layout import Layout
from ...subject.subject import Subject
from ..base import Cost, Lab
from ..own_gradient import GRADIENT
from .other_input import Others
from .own_maps import OwnMaps

__all__ = ["OtherLocal", "UnitGradients"]

_SAME = 0.95  # cosine of gradients above which nothing is told apart by exchanging them
_NOTHING = 1e-6  # of a map or an input, relative to its largest value


@dataclass(frozen=True)
class OtherLocal(OwnMaps):
    """Of maps that are multiplied by the input: what another input of the same target was multiplied by, times this.

    Global attributions are local ones times ``x - x0`` (Ancona et al. 2018). The map of the other input over its own
    ``x - x0`` is its local attribution, of which this input's ``x - x0`` makes a map that knows this input, but not
    what the model makes of it: an explainer that multiplies the input by one template of the class returns that very
    map. The other input is the one of :class:`~pytest_xaisanity.evidence.baselines.other_input.OtherInput`. Where it is
    0 it tells nothing, and the explainer's own value stands.

    Maps are taken to be multiplied where the explainer says so, or else where the map of the other input is 0 wherever
    that is 0. Of any others the map of the other input stands as it is. Of a network whose own gradient is (nearly) the
    same at both inputs, as a linear one's is, nothing follows from this: such inputs are left out.
    """

    name: ClassVar[str] = "other_local"
    why_none: ClassVar[str] = (
        "no other input of their target among those measured, or one at which the network's own gradient is the same"
    )

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps, of the other inputs of this block alone, whose multipliers are the inputs."""
        return _Locals(lambda _: like, lambda _: block.inputs, Others(seed), lambda: None, lambda _: None)(block, like)

    def begin(self, lab: Lab) -> Callable[[Block, Tensor], list[Tensor]]:
        """Return a function that keeps a few maps of each target, and their multipliers, from block to block."""
        explain = lab.attributions.per_channel()
        told, gradients = (lambda: explain.known.forms[0].multiplier), UnitGradients(lab.subject)
        return _Locals(explain, explain.multipliers, Others(lab.seed), told, gradients)

    def cost(self) -> Cost:
        """Return what the values of each channel cost, where maps were made without them, and the gradient."""
        return Cost(explanations=1, passes=2)


class UnitGradients:
    """The network's own gradient at each input, where it has one."""

    def __init__(self, subject: Subject) -> None:
        self._attributions: Attributions | None = Attributions(subject, GRADIENT, 0).per_channel()

    def __call__(self, block: Block) -> Tensor | None:
        """Return gradients of length one, ``(b, V)``; None for a model without gradients, or where all are zero."""
        if self._attributions is None:
            return None
        try:
            return normalize(self._attributions(block).flatten(1), dim=1)
        except XaiError:
            self._attributions = None
            return None

    def same(self, block: Block) -> float:
        """Return the share of pairs of inputs of one target in a block at which it is (nearly) the same."""
        gradients = self(block)
        if gradients is None:
            return 0.0
        keys = block.target_keys
        pairs = [(one, two) for two in range(len(block)) for one in range(two) if keys[one] == keys[two]]
        alike = [float(gradients[one] @ gradients[two]) > _SAME for one, two in pairs]
        return sum(alike) / max(1, len(alike))


@dataclass(frozen=True)
class _Locals:
    """Gives each input the local attributions of another, times its own multiplier.

    Attributes:
        explain: Returns the maps of a block with a value for each channel.
        multipliers: Returns what local attributions of a block are multiplied by, one tensor for each of its inputs.
        others: Gives each input what is another's.
        told: Returns what the explainer says of its multiplier, once it was called.
        gradients: Returns the network's own gradients, where it has any.
    """

    explain: Callable[[Block], Tensor]
    multipliers: Callable[[Block], Inputs | None]
    others: Others
    told: Callable[[], Multiplier | None]
    gradients: Callable[[Block], Tensor | None]

    def __call__(self, block: Block, like: Tensor) -> list[Tensor]:
        """Return one batch of maps of the shape of ``like``, NaN where there is no other."""
        layout, own = block.layout, self.explain(block).flatten(1)
        times, gradients = self._times(block, own), self.gradients(block)
        known = [own, times, *([] if gradients is None else [gradients.to(own)])]
        other, its, *there = self.others(block, torch.stack(known, dim=1))[0].unbind(1)
        empty = ~_something(its)
        swapped = torch.where(empty, own, other / its.masked_fill(empty, 1.0) * times)
        told = self.told()
        multiplied = _vanishes(other, empty) if told is None else torch.full_like(empty[:, 0], told == "with")
        maps = torch.where(multiplied[:, None], swapped, other)
        maps[other.isnan().all(1)] = torch.nan
        for gradient in there:  # of length one, as this input's own
            maps[(gradient * known[-1]).sum(1) > _SAME] = torch.nan
        return [maps.reshape(like.shape) if like.numel() == maps.numel() else _on_places(maps, layout, like)]

    def _times(self, block: Block, own: Tensor) -> Tensor:
        """Return what local attributions are multiplied by, ``(b, V)`` as the maps."""
        layout = block.layout
        factors = None if layout.kind == "tokens" else self.multipliers(block)
        if factors is None or own.shape[1] != prod(layout.values):
            raise _no_multiplier(block)
        parts = zip(layout.each, factors, strict=True)
        return torch.cat([part.channels_first(factor).flatten(1) for part, factor in parts], dim=1).to(own)


def _something(values: Tensor) -> Tensor:
    """Return where rows ``(b, V)`` are other than 0, but for rounding."""
    sizes = values.abs()
    return sizes > _NOTHING * sizes.amax(1, keepdim=True)


def _vanishes(maps: Tensor, empty: Tensor) -> Tensor:
    """Return which maps ``(b, V)`` are 0 wherever what they may be multiplied by is, which it is somewhere."""
    return empty.any(1) & ~(_something(maps) & empty).any(1)


def _on_places(maps: Tensor, layout: Layout, like: Tensor) -> Tensor:
    """Return maps ``(b, V)`` with a value for each channel as the sums over channels, in the shape of ``like``."""
    each = torch.split(maps, [prod(part.values) for part in layout.each], dim=1)
    parts = zip(layout.each, each, strict=True)
    sums = [flat.reshape(len(flat), -1, prod(part.places)).sum(1) for part, flat in parts]
    return torch.cat(sums, dim=1).reshape(like.shape)


def _no_multiplier(block: Block) -> XaiError:
    shapes = ", ".join(f"{tuple(tensor.shape)} of {tensor.dtype}" for tensor in block.inputs)
    return XaiError(
        "baseline 'other_local'",
        found=f"inputs {shapes}, by which no attribution of a token is multiplied",
        expected="floating-point inputs",
        fix="use the baseline 'other_input'",
    )
