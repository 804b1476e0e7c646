"""Deletion and insertion: how the output falls and rises as the most relevant pixels go or come.

Petsiuk et al. 2018 (RISE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from torch import Tensor

from ...maps.imputation import Blur, Constant, Imputer, Learning, Mean
from ...statistics.evidence import Part
from ..base import Scores
from .pixel_flipping import CURVES, Flipped, PixelFlipping, _Flipping
from .token_flipping import TokenFlipping

__all__ = ["Deletion", "Insertion"]


@dataclass(frozen=True)
class Deletion(PixelFlipping):
    """Area under the curve of the explained output while the most relevant pixels are deleted; lower is better.

    Args:
        steps: Number of deletions, 1 or more; at most one for each pixel (or patch).
        imputer: The canvas that is left: ``"constant"`` (zeros), or any other of
            :class:`~pytest_xaisanity.PixelFlipping`.
        patch: Side of the regions that are deleted together.
        groups: Other regions that are deleted together.
        output: ``"probability"`` or ``"logit"``.
        reading: What a map is taken for.

    The settings are those of :class:`~pytest_xaisanity.PixelFlipping`. Scores of probabilities lie in [0, 1].

    Raises:
        XaiError: A setting is out of range, or does not fit the inputs.
    """

    imputer: str | Imputer | Learning = "constant"
    order: Literal["srg", "morf", "lerf"] = field(default="morf", init=False)
    name: ClassVar[str] = "deletion"
    token_defaults: ClassVar[tuple[type, ...]] = (Constant, Mean)

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> dict[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first, for maps of these places where they are known."""
        shared = PixelFlipping.open_settings(places)
        return {setting: shared[setting] for setting in ("imputer", "steps", "patch")}


@dataclass(frozen=True)
class Insertion(PixelFlipping):
    """Area under the curve of the explained output while the most relevant pixels are inserted; higher is better.

    The curve starts at the canvas and ends with the untouched input.

    Args:
        steps: Number of insertions, 1 or more; at most one for each pixel (or patch).
        imputer: The canvas: ``"blur"`` (the blurred image), ``"constant"``, or any other of
            :class:`~pytest_xaisanity.PixelFlipping`. Of inputs that are no images name another one than the default.
        patch: Side of the regions that are inserted together.
        groups: Other regions that are inserted together.
        output: ``"probability"`` or ``"logit"``.
        reading: What a map is taken for.

    The settings are those of :class:`~pytest_xaisanity.PixelFlipping`. Scores of probabilities lie in [0, 1].

    Raises:
        XaiError: A setting is out of range, or does not fit the inputs.
    """

    imputer: str | Imputer | Learning = "blur"
    # To insert the most relevant pixels first is to remove the least relevant first, seen from the other end.
    order: Literal["srg", "morf", "lerf"] = field(default="lerf", init=False)
    name: ClassVar[str] = "insertion"
    token_defaults: ClassVar[tuple[type, ...]] = (Blur, Mean)

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> dict[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first, for maps of these places where they are known."""
        return Deletion.open_settings(places)

    def _of_places(self, prepared: _Flipping | TokenFlipping, maps: Tensor, draw: str) -> Scores:
        scores = super()._of_places(prepared, maps, draw)
        return Scores(scores.values, {CURVES["morf"]: scores.curves[CURVES["lerf"]].flip(1)})

    def describe(self, prepared: _Flipping | TokenFlipping) -> tuple[Part, ...]:
        """Return what pixel flipping does, with the inserted fractions."""
        return tuple(_inserted(part) if isinstance(part, Flipped) else part for part in super().describe(prepared))


def _inserted(flipped: Flipped) -> Flipped:
    return replace(flipped, fractions=tuple(1 - one for one in reversed(flipped.fractions)), axis="inserted fraction")
