"""ROAD: how the output changes once a few of the pixels an explanation ranks are interpolated (Rong et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...common.checks import check_fractions
from ...maps.imputation import Imputer, Learning
from ...subject.block import Block
from ..base import Lab
from .pixel_flipping import Output, PixelFlipping, _Flipping
from .token_flipping import TokenFlipping, refuse_tokens

__all__ = ["Road"]


@dataclass(frozen=True)
class Road(PixelFlipping):
    """Mean explained output over a few removed fractions, where what is removed is interpolated and not blanked.

    "Remove and debias": the outline of what was removed is to tell as little as it can.

    Args:
        fractions: Which fractions of the pixels are removed, each above 0 and below 1. Small ones by default: at
            half and more, the output with the least relevant pixels first can fall below that of random orders, whose
            gaps are small and well interpolated.
        imputer: What removed pixels become: ``"noisy_linear"``, or any other of
            :class:`~pytest_xaisanity.PixelFlipping`.
        patch: Side of the regions that are removed together.
        groups: Other regions that are removed together.
        order: ``"srg"``: mean with the least relevant pixels first, minus mean with the most relevant first (higher is
            better, 0 for random orders in expectation); ``"morf"`` (lower is better) or ``"lerf"`` (higher is better).
        output: ``"probability"`` or ``"logit"`` of the explained output, or ``"accuracy"``: 1 where it is the highest
            of the classes, and 0 elsewhere.
        reading: What a map is taken for.

    The other settings are those of :class:`~pytest_xaisanity.PixelFlipping`. Scores of probabilities and accuracies lie
    in [-1, 1], of a single order in [0, 1].

    Raises:
        XaiError: A setting is out of range, or does not fit the inputs.
    """

    steps: int = field(default=1, init=False, repr=False)
    imputer: str | Imputer | Learning = "noisy_linear"
    order: Literal["srg", "morf", "lerf"] = "srg"
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3)
    name: ClassVar[str] = "road"
    outputs: ClassVar[tuple[Output, ...]] = ("probability", "logit", "accuracy")

    def __post_init__(self) -> None:
        super().__post_init__()
        fractions = check_fractions(self.name, "fractions", self.fractions, below_one=True)
        object.__setattr__(self, "fractions", fractions)

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> dict[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first, for maps of these places where they are known."""
        shared = PixelFlipping.open_settings(places)
        return {"order": shared["order"], "fractions": ((0.1, 0.2, 0.3), (0.1,), (0.2, 0.4))}

    def prepare(self, lab: Lab, block: Block) -> _Flipping | TokenFlipping:
        """Return the outputs and references that every order of this block shares; tokens are refused."""
        refuse_tokens(self.name, block)
        return super().prepare(lab, block)

    def removals(self, counts: Tensor, *, own: bool) -> Tensor:
        """Return how many regions are removed at each point: none, and then the nearest to each fraction."""
        fractions = torch.tensor([0.0, *self.fractions], dtype=counts.dtype)
        removed = (fractions[:, None] * counts).round()
        for fraction, some in zip(self.fractions, removed[1:], strict=True):
            nothing, everything = bool((some < 1).any()), bool((some == counts).any())
            if nothing or everything:
                count = int(counts[(some < 1) | (some == counts)][0])
                what = "nothing" if nothing else "everything"
                found = f"{fraction:g} of {count} pixels or regions, which removes {what}"
                raise self.error("fractions", found, "fractions that remove one region or more, and leave one")
        return removed

    def value(self, curves: Sequence[Tensor], fractions: Tensor) -> Tensor:
        """Return the scores ``(b,)`` of the curves ``(b, points)``, whose first point is the untouched input."""
        means = [curve[:, 1:].mean(1) for curve in curves]
        return means[1] - means[0] if len(means) == 2 else means[0]
