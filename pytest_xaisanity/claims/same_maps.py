"""Whether an explainer gives one map to several inputs: what then beats no map of another input."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..evidence.base import Array
from ..statistics.evidence import Part, Row
from ..statistics.question import Decision, Level, Question

__all__ = ["SameMaps"]

_MANY = 1 / 3  # of pairs: an explainer that gives one map to more of them is not passed, and fails once it is shown
_SPENT = 0.1  # of the accepted rate of wrong fails: equal maps take little evidence


@dataclass(frozen=True)
class SameMaps(Part):
    """Pairs of different inputs of one target, each input in one pair at most, and whether they have (nearly) one map.

    Attributes:
        flags: Whether each pair has, in the order in which pairs are complete.
    """

    flags: tuple[bool, ...] = ()

    @classmethod
    def of(cls, groups: Array | None, targets: Sequence[Hashable]) -> SameMaps:
        """Return the pairs of inputs whose groups by map or input, and by input alone, are ``(n, 2)``."""
        if groups is None:
            return cls()
        waiting: dict[Hashable, int] = {}
        flags = []
        for place, target in enumerate(targets):
            first = waiting.pop(target, None)
            if first is None:
                waiting[target] = place
            elif groups[first, 1] != groups[place, 1]:  # the same input may have the same map
                flags.append(bool(groups[first, 0] == groups[place, 0]))
        return cls(tuple(flags))

    @property
    def share(self) -> float:
        """The share of pairs that have one map."""
        return float(np.mean(self.flags)) if self.flags else 0.0

    @property
    def many(self) -> bool:
        """Whether there are too many for a pass."""
        return self.share > _MANY

    def shown(self, level: Level, *, final: bool) -> Decision | None:
        """Return the decision that more than a third of such pairs have one map, where that is shown."""
        if not self.flags:
            return None
        flags = np.array(self.flags, float)
        level = replace(level, fail_share=level.fail_share * _SPENT).for_fails()
        decision = Question.of_share(_MANY).decide(flags, flags, level, final=final)
        return decision._replace(outcome="failed") if decision.outcome == "passed" else None

    @staticmethod
    def left(level: Level) -> Level:
        """Return the level that is left for other questions."""
        return replace(level, fail_share=level.fail_share * (1 - _SPENT))

    def plain(self) -> dict[str, object]:
        """Return how many pairs there are, and how many have one map."""
        return {"same_maps": {"pairs": len(self.flags), "same": sum(self.flags)}}

    def rows(self) -> Iterator[Row]:
        """Yield both, where any have."""
        if any(self.flags):
            yield "same maps", str(self)

    def __str__(self) -> str:
        return f"{sum(self.flags)} of {len(self.flags)} pairs of inputs of one target share one map"
