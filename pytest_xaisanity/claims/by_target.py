"""What was found for each target by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..report.figures import Figure, Table
from ..statistics.evidence import Evidence, Part, Row, number
from ..statistics.grouped import Grouped
from ..statistics.question import Question
from ..statistics.verdict import Outcome

__all__ = ["ByTarget", "OfTarget", "Target", "named", "weak_ones"]

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
        weak: The targets that looked weak on a third of the inputs, where that decided the claim.
        together: What was found for those targets together on the others.
    """

    found: Mapping[Target, OfTarget]
    least: int | None = None
    weak: tuple[Target, ...] = ()
    together: OfTarget | None = None

    @property
    def too_few(self) -> tuple[Target, ...]:
        """The targets that were to be decided and have too few inputs."""
        return tuple(target for target, one in self.found.items() if self.least is not None and one.outcome is None)

    def plain(self) -> dict[str, object]:
        """Return what was found, by the target as text."""
        found: dict[str, object] = {"targets": {named(target): _plain(one) for target, one in self.found.items()}}
        if self.together is not None:
            found["weak_targets"] = {"targets": [named(one) for one in self.weak], **_plain(self.together)}
        return found

    def rows(self) -> Iterator[Row]:
        """Yield the lowest means, and the targets with too few inputs."""
        if len(self.found) > 1:
            lowest = sorted(self.found, key=lambda target: self.found[target].estimate)
            shown = (f"{named(one)}: {number(self.found[one].estimate)} (n={self.found[one].n})" for one in lowest)
            yield "by target", ", ".join([one for one, _ in zip(shown, range(_SHOWN), strict=False)])
        if self.together is not None:
            weak = ", ".join(map(named, self.weak[:_SHOWN]))
            yield "weak ones together", f"{weak}: {number(self.together.estimate)} (n={self.together.n})"
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


def weak_ones(
    scores: Grouped, targets: Sequence[Target], question: Question
) -> tuple[tuple[Target, ...], NDArray[np.bool_]]:
    """Return the targets that look weak on a third of the groups, and which inputs of theirs are in the other two.

    Those inputs had no part in the choice, so that what they say of the targets together is not biased by it. With
    a third there is more power than with a half, where targets have 25 inputs each and some are explained by noise.

    Args:
        scores: One score an input.
        targets: The target of each input.
        question: What is asked of each target: that its mean lies above a threshold.
    """
    number = {target: place for place, target in enumerate(dict.fromkeys(targets))}
    of = np.array([number[target] for target in targets])
    chooses, middles = _each_third_group(scores.groups, of), (scores.lo + scores.hi) / 2
    sums, counts = (np.bincount(of[chooses], what, len(number)) for what in (middles[chooses], None))
    weak = sums < (question.threshold + question.margin) * counts
    return tuple(target for target, place in number.items() if weak[place]), weak[of] & ~chooses


def _each_third_group(groups: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which inputs are of the first, fourth, seventh group of a target; a group is of its first input's."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    taken, seen = np.zeros(len(first), bool), np.zeros(int(of.max()) + 1, int)
    for place in np.argsort(first):
        target = of[first[place]]
        taken[place] = seen[target] % 3 == 0
        seen[target] += 1
    return np.asarray(taken[group])


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
