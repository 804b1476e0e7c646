"""What was found for each target by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..report.figures import Figure, Table
from ..statistics.evidence import Evidence, Part, Row, number
from ..statistics.verdict import Outcome

__all__ = ["ByTarget", "OfTarget", "Target", "named"]

_SHOWN = 10  # targets in one row of a report
Target: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class OfTarget:
    """What was found for the inputs of one target.

    Attributes:
        estimate: The mean of what the claim was decided on.
        n: How many inputs there are.
        groups: How many groups they make.
        outcome: The outcome for this target alone, where it was asked for and there are enough inputs.
        interval: The bounds of the mean, likewise.
    """

    estimate: float
    n: int
    groups: int
    outcome: Outcome | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ByTarget(Part):
    """What was found for each target by itself.

    Attributes:
        found: By target: an index of the outputs, or a position with several.
        least: How many groups a target needs to be decided by itself; None where that was not asked for.
    """

    found: Mapping[Target, OfTarget]
    least: int | None = None

    @property
    def too_few(self) -> tuple[Target, ...]:
        """The targets that were to be decided and have too few inputs."""
        return tuple(target for target, one in self.found.items() if self.least is not None and one.outcome is None)

    def plain(self) -> dict[str, object]:
        """Return what was found, by the target as text."""
        return {"targets": {named(target): _plain(one) for target, one in self.found.items()}}

    def rows(self) -> Iterator[Row]:
        """Yield the lowest means, and the targets with too few inputs."""
        if len(self.found) > 1:
            lowest = sorted(self.found, key=lambda target: self.found[target].estimate)
            shown = (f"{named(one)}: {number(self.found[one].estimate)} (n={self.found[one].n})" for one in lowest)
            yield "by target", ", ".join([one for one, _ in zip(shown, range(_SHOWN), strict=False)])
        if self.too_few:
            yield "too few inputs", f"for target {', '.join(map(named, self.too_few[:_SHOWN]))}"

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield all targets, the lowest mean first."""
        if len(self.found) < 2:
            return
        lowest = sorted(self.found, key=lambda target: self.found[target].estimate)
        rows = [_cells(one, self.found[one]) for one in lowest]
        head = ("target", "mean of what decides", "inputs", "groups", "interval", "outcome")
        columns = 4 if self.least is None else len(head)
        cut = tuple(row[:columns] for row in rows)
        yield Table("By target, the lowest first", head[:columns], cut, targets=True)


def _cells(target: Target, one: OfTarget) -> tuple[str, ...]:
    interval = "" if one.interval is None else f"{number(one.interval[0])} to {number(one.interval[1])}"
    counts = str(one.n), str(one.groups)
    return named(target), number(one.estimate), *counts, interval, one.outcome or "too few inputs"


def named(target: Target) -> str:
    """Return a target as text: ``"3"``, ``"3, 0"``."""
    return ", ".join(map(str, target))


def _plain(one: OfTarget) -> dict[str, object]:
    found: dict[str, object] = {"estimate": one.estimate, "n": one.n, "groups": one.groups}
    return found if one.outcome is None else {**found, "outcome": one.outcome, "interval": one.interval}
