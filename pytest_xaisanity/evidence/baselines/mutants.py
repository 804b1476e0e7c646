"""The explainer's own map, changed: what an explanation whose detail matters beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...common.errors import XaiError, unknown_name
from ...maps.changes import CHANGES
from ...maps.counted import counted_maps
from ...subject.block import Block
from ..base import Baseline

__all__ = ["ChangedMap", "Mutants"]


@dataclass(frozen=True)
class ChangedMap(Baseline):
    """The explainer's own map, changed: what every explanation whose detail matters beats.

    Attributes:
        change: One of :data:`~pytest_xaisanity.maps.changes.CHANGES`.
    """

    change: str
    from_explainer: ClassVar[bool] = True
    margin: ClassVar[float] = 0.01

    @property
    def name(self) -> str:
        """The name of the change."""
        return self.change

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps: ``like``, changed."""
        return [counted_maps(block.mask, lambda maps: CHANGES[self.change](maps, len(maps.shape) - 1), like)]


@dataclass(frozen=True)
class Mutants(Baseline):
    """The baseline ``"mutants"``: the explainer's own map, changed in several ways that each must be beaten.

    By default the map is made coarse. An explanation whose signs carry information also beats ``"absolute_value"``.

    Args:
        mutants: Names of changes, one or more.
    """

    mutants: Sequence[str] = ("low_rank", "rounded")
    name: ClassVar[str] = "mutants"
    from_explainer: ClassVar[bool] = True
    several: ClassVar[bool] = True

    def __post_init__(self) -> None:
        names = self.mutants
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            raise XaiError(
                "baseline 'mutants'",
                found=repr(names),
                expected="a tuple of one or more names",
                fix=f"choose among {', '.join(CHANGES)}",
            )
        for name in names:
            if name not in CHANGES:
                raise unknown_name("baseline 'mutants'", name, CHANGES, kind="change of a map")
        object.__setattr__(self, "mutants", tuple(names))

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return a batch of maps for each change."""
        return [maps for part in self.parts(block.layout.places) for maps in part.maps(block, like, seed=seed)]

    def parts(self, places: tuple[int, ...]) -> Sequence[Baseline]:
        """Return the baselines that must each be beaten, for maps with these places.

        Raises:
            XaiError: None of the changes can be made to such maps.
        """
        fit = [name for name in self.mutants if len(places) > 1 or name != "low_rank"]
        if not fit:
            raise XaiError(
                "baseline 'mutants'",
                found=f"maps of shape {places}",
                expected="maps with two axes for low_rank",
                fix='write mutants=("rounded",)',
            )
        return [ChangedMap(name) for name in fit]
