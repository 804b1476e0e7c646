"""Whether scores are worse than recorded ones: paired where the inputs are the same, otherwise of two samples.

An explainer of which one map in twenty is wrong hardly moves a mean, and moves one score in twenty by far more than
anything else does. So inputs are counted: those whose score is worse by more than a tolerance, those whose score is
better by as much. A regression is shown when both of these are, each by the exact bound of Clopper and Pearson at the
whole error, so that it takes both errors at once to be wrong:

* of the inputs that changed, more than half are worse (the sign test);
* of all inputs, more than :data:`WORSE_SHARE` are worse.

Where nothing has changed but what is drawn, each input is as likely to be worse as to be better, whatever the
tolerance: the sign test alone keeps the error. Where nothing is drawn, no score changes at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounds import gaffke_lower_bound
from .question import CLOPPER_PEARSON, GAFFKE, SPENT, Level, Question

__all__ = [
    "FEWEST_PAIRS",
    "WORSE_BY",
    "WORSE_SHARE",
    "Scale",
    "Standing",
    "Status",
    "noise_of",
    "of_intervals",
    "of_pairs",
    "of_samples",
    "rounded",
]

WORSE_BY = 0.01
"""A score that is worse by no more than this share counts as kept: of its range, as margins are, or of the score itself
where it has none, or of a typical one."""

WORSE_SHARE = 0.01
"""No more than this share of inputs that got worse counts as none."""

FEWEST_PAIRS = 16
"""Fewer inputs than these that are the same are compared as two samples."""

DIGITS = 4
"""Significant digits of a recorded score: what is lost is less than a twentieth of what counts as worse."""

Status: TypeAlias = Literal["kept", "regressed", "refused", "missing", "exempt"]


@dataclass(frozen=True)
class Scale:
    """What scores are measured on.

    Attributes:
        low: The least possible score, or minus infinity.
        high: The greatest possible score, or infinity.
        higher_is_better: Which direction is better.
    """

    low: float
    high: float
    higher_is_better: bool

    @property
    def bounded(self) -> bool:
        """Whether scores have a range."""
        return isfinite(self.low) and isfinite(self.high)

    @property
    def unit(self) -> float:
        """What margins are shares of: 1, or the width of a range that is wider than 2."""
        width = self.high - self.low
        return 1.0 if width <= 2 else width

    def loss(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much worse the scores are."""
        return before - after if self.higher_is_better else after - before

    def tolerances(self, before: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
        """Return by how much each score may be worse and still counts as kept."""
        sizes = np.abs(before)
        own = np.full(before.shape, self.unit) if self.bounded else np.maximum(sizes, np.median(sizes))
        own = WORSE_BY * own
        return np.maximum(own, noise)


@dataclass(frozen=True)
class Standing:
    """How a claim stands to what was recorded of it.

    Attributes:
        status: ``"kept"``: not shown to be worse; ``"regressed"``: shown to be; ``"refused"``: not comparable;
            ``"missing"``: nothing was recorded; ``"exempt"``: claims of its kind are not compared.
        reason: Why, in one sentence.
        confidence: One minus the probability that a regression is shown where there is none; None without a comparison.
        n: How many inputs were compared.
        worse: How many of them are worse by more than what counts as kept.
        better: How many are better by as much.
        decided_by: The statistical tool.
        worst: Those of them that lost most, by their place in what the user gave, the worst first: five at most.
    """

    status: Status
    reason: str
    confidence: float | None = None
    n: int = 0
    worse: int = 0
    better: int = 0
    decided_by: str = ""
    worst: tuple[int, ...] = ()

    @property
    def regressed(self) -> bool:
        """Whether it is shown to be worse."""
        return self.status == "regressed"


def rounded(scores: ArrayLike) -> NDArray[np.float64]:
    """Return scores as they are recorded, of four significant digits.

    >>> rounded([0.123456, -1234.5]).tolist()
    [0.1235, -1234.0]
    """
    return np.array([float(f"{score:.{DIGITS}g}") for score in np.asarray(scores, np.float64)])


def noise_of(scores: ArrayLike, again: ArrayLike) -> float:
    """Return by how much a score differs from one run to another at most, of nearly all inputs.

    It is twice the 95th percentile of the differences: of normal noise one input in ten thousand differs by more.

    Args:
        scores: Of a run, ``(n,)``.
        again: Of another run on the same inputs, ``(n,)``; NaN where there is none.
    """
    apart = np.abs(np.asarray(scores, np.float64) - np.asarray(again, np.float64))
    known = apart[np.isfinite(apart)]
    return 2 * float(np.quantile(known, 0.95)) if known.size else 0.0


def of_pairs(before: ArrayLike, after: ArrayLike, scale: Scale, level: Level, *, noise: float = 0.0) -> Standing:
    """Return whether the scores of the same inputs are shown to have got worse.

    Args:
        before: Recorded scores, ``(n,)``, of at least one input.
        after: Scores now, ``(n,)``.
        scale: What they are measured on.
        level: How sure a regression must be; there are no earlier looks.
        noise: By how much scores differ from run to run, see :func:`noise_of`.
    """
    then, now = (np.asarray(scores, np.float64) for scores in (before, after))
    loss, tolerance = scale.loss(then, now), scale.tolerances(then, noise)
    worse, better = loss > tolerance, -loss > tolerance
    changed = worse | better
    shown = _shown(worse[changed], 0.5, level) and _shown(worse, WORSE_SHARE, level)
    count = f"{int(worse.sum())} of {len(then)} inputs are worse than recorded by more than {_told(tolerance)}"
    count += f", {int(better.sum())} better"
    if not changed.any():
        reason = f"none of {len(then)} inputs differs from what was recorded by more than {_told(tolerance)}"
    elif shown:
        reason = (
            f"{count}: shown to be most of those that changed, and over {WORSE_SHARE:.0%} of all (confidence "
            f"{level.confidence:g})"
        )
    else:
        reason = f"{count}: not shown to be a regression"
    status: Status = "regressed" if shown else "kept"
    found = (len(then), int(worse.sum()), int(better.sum()))
    return Standing(status, reason, level.confidence, *found, f"{CLOPPER_PEARSON}, of pairs")


def of_samples(before: ArrayLike, after: ArrayLike, scale: Scale, level: Level) -> Standing:
    """Return whether the mean score of other inputs is shown to be worse, by more than a margin: of scores in a range.

    Half of the error goes to a bound of each mean.
    """
    then, now = (_in_unit(scores, scale) for scores in (before, after))
    error = SPENT * (1 - level.confidence) / 2
    fallen = gaffke_lower_bound(then, error) - (1 - gaffke_lower_bound(1 - now, error))
    margin = WORSE_BY * scale.unit
    shown = fallen * (scale.high - scale.low) > margin
    counts = f"of {len(then)} inputs then and {len(now)} now"
    reason = f"the mean score {counts} is {'' if shown else 'not '}shown to be worse by more than {margin:.3g}"
    status: Status = "regressed" if shown else "kept"
    return Standing(status, reason, level.confidence, len(now), decided_by=f"{GAFFKE}, of two samples")


def of_intervals(
    before: tuple[float, float], after: tuple[float, float], *, higher_is_better: bool, confidence: float
) -> Standing:
    """Return whether two intervals of an estimate show that it has got worse: they have to lie apart.

    Args:
        before: The recorded one.
        after: The one now.
        higher_is_better: Which direction of the estimate is better.
        confidence: With which each bound holds: both fail with at most twice the probability.
    """
    lost = before[0] - after[1] if higher_is_better else after[0] - before[1]
    if not isfinite(lost):
        return Standing("refused", "an interval has no bound on the side that is compared")
    shown = lost > 0
    apart = f"the recorded interval [{before[0]:.3g}, {before[1]:.3g}] and [{after[0]:.3g}, {after[1]:.3g}]"
    reason = f"{apart} {'lie apart: shown to be worse' if shown else 'do not show a regression'}"
    status: Status = "regressed" if shown else "kept"
    return Standing(status, reason, round(1 - 2 * (1 - confidence), 12), decided_by="two intervals")


def _shown(flags: NDArray[np.bool_], share: float, level: Level) -> bool:
    """Whether more than a share of inputs is shown to have a flag."""
    question = Question.of_share(share)
    return bool(flags.any()) and question.outcome(flags, flags, level, final=True)[0] == "passed"


def _in_unit(scores: ArrayLike, scale: Scale) -> NDArray[np.float64]:
    """Return scores in [0, 1], where higher is better."""
    unit = np.clip((np.asarray(scores, np.float64) - scale.low) / (scale.high - scale.low), 0.0, 1.0)
    return unit if scale.higher_is_better else 1 - unit


def _told(tolerances: NDArray[np.float64]) -> str:
    """Return tolerances in words: one number, or that each is a share of the score."""
    least, most = float(tolerances.min()), float(tolerances.max())
    return f"{most:.3g}" if least == most else f"{WORSE_BY:.0%} of each (at most {most:.3g})"
