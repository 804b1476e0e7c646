"""The explainer's own map in the wrong places: turned over, as one is whose axes were mistaken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...common.errors import XaiError
from ...maps.counted import counted_maps
from ...subject.block import Block
from ..base import Baseline

__all__ = ["Misplaced", "TurnedMap"]

TRANSPOSED = "transposed"
_OF_IMAGES = ("rows reversed", "columns reversed")


@dataclass(frozen=True)
class TurnedMap(Baseline):
    """The explainer's own map, turned over by one symmetry of its places.

    What is too small to count is 0.01, as against own maps of other inputs.

    Attributes:
        turn: What was done to the map, in words.
        axis: Which axis of the places runs the other way; None where the last two are exchanged.
    """

    turn: str
    axis: int | None
    from_explainer: ClassVar[bool] = True
    margin: ClassVar[float] = 0.01

    @property
    def name(self) -> str:
        """What was done to the map."""
        return self.turn

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps: ``like``, turned over; of sentences the places that count."""
        if block.layout.kind == "table":
            raise XaiError(
                "baseline 'misplaced'",
                found="features of a table, which stand in no order",
                expected="images, volumes, series or tokens",
                fix="use the baseline 'random', or 'other_input'",
            )
        count = len(block.layout.places)
        return [counted_maps(block.mask, lambda maps: self._turned(maps, count), like)]

    def _turned(self, maps: Tensor, count: int) -> Tensor:
        return maps.transpose(-2, -1) if self.axis is None else maps.flip(self.axis - count)


@dataclass(frozen=True)
class Misplaced(Baseline):
    """The baseline ``"misplaced"``: the explainer's own map turned over, in several ways that each must be beaten.

    Each axis of the places is reversed that has more than one; of square images, rows and columns are exchanged
    too. Of an explanation that was itself turned over, one of these is the right one, and wins by far; of one that
    is right, all are wrong. What an input has in common with its mirror image no such map can lose, and inputs that
    are their own gain nothing.
    """

    name: ClassVar[str] = "misplaced"
    from_explainer: ClassVar[bool] = True
    several: ClassVar[bool] = True

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return a batch of maps for each way."""
        return [maps for part in self.parts(block.layout.places) for maps in part.maps(block, like, seed=seed)]

    def parts(self, places: tuple[int, ...]) -> Sequence[Baseline]:
        """Return the baselines that must each be beaten, for maps with these places."""
        names = [f"axis {axis} reversed" for axis in range(len(places))]
        if len(places) <= 2:
            names = [*_OF_IMAGES] if len(places) == 2 else ["reversed"]
        parts = [TurnedMap(name, axis) for axis, name in enumerate(names) if places[axis] > 1 or max(places) == 1]
        square = len(places) == 2 and places[0] == places[1]
        return [*parts, TurnedMap(TRANSPOSED, None)] if square else parts
