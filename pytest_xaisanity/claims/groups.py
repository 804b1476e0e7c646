"""Groups of inputs, which count once, and what would settle a claim that is left open: how claims say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..evidence.base import Array
from ..statistics.evidence import Part, Row
from ..statistics.question import MOST_NEEDED, Outlook
from ..statistics.verdict import Outcome

__all__ = ["Groups", "counted", "settled_by"]


@dataclass(frozen=True)
class Groups(Part):
    """How many groups the inputs make: (nearly) equal inputs, and inputs with (nearly) the same map, count once.

    Attributes:
        count: How many groups.
        n: How many inputs.
    """

    count: int
    n: int

    @classmethod
    def of(cls, groups: Array | None, n: int) -> Groups:
        """Return how many groups are numbered; each input is one of its own where none are."""
        return cls(n if groups is None else int(np.unique(groups).size), n)

    def plain(self) -> dict[str, object]:
        """Return how many there are."""
        return {"groups": self.count}

    def rows(self) -> Iterator[Row]:
        """Yield how many there are, where inputs share one."""
        if self.count < self.n:
            yield "groups", f"{self.count}, of {self.n} inputs: equal inputs, and inputs with one map, count once"

    def __str__(self) -> str:
        """Return what a reason adds, where inputs share a group."""
        if self.count == self.n:
            return ""
        made = f"{self.count} group{'s' if self.count > 1 else ''}"
        return f"; the {self.n} inputs make {made}, of equal inputs or equal maps, which count once each"


def counted(groups: Array | None, column: int = 0) -> NDArray[np.int64] | None:
    """Return one number of a group for each input: 0 for groups by input or map, 1 for those by input alone."""
    return None if groups is None else np.asarray(groups[:, column], np.int64)


def settled_by(outlook: Outlook | None, outcome: Outcome | None = "inconclusive", *, of: str = "") -> str:
    """Return what an inconclusive reason adds of what would settle the claim.

    Args:
        outlook: What would; None where the reason has said so itself.
        outcome: The outcome.
        of: Which inputs are meant: a phrase.
    """
    if outcome != "inconclusive" or outlook is None:
        return ""
    units = f"{'groups' if outlook.grouped else 'inputs'}{of}"
    return {
        "": f"; about {outlook.needed} {units} would settle it",
        "near": f"; it lies too near the bound to say how many {units} would settle it",
        "many": f"; more than {MOST_NEEDED:,} {units} are needed to settle it",
        "unknown": f"; more inputs like these would not settle it, {units} whose maps are not constant might",
        "few": f"; at least {outlook.needed} {units} are needed",
        "no others": f"; more inputs of these groups{of} would settle nothing",
        "trainings": "; so few trainings differ too much to tell: give more runs=",
        "at odds": f"; large groups{of} speak against what the others show",
    }[outlook.hindrance]
