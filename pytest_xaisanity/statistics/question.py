"""How claims are decided: from bounded scores, one per input, to passed, failed or inconclusive.

Scores lie in a range known beforehand, and are independent from one input to the next. The question is always
whether their mean lies above (or below) a threshold. Nothing is assumed about their distribution, which is often
skewed, discrete or tied. Two tools answer, and the verdict names the one that did:

* the *betting confidence sequence* of Waudby-Smith and Ramdas (2023), which holds at every look at once, so that a
  claim may be decided before all inputs are measured;
* *Gaffke's bound* (Gaffke 2005; Learned-Miller and Thomas 2020), sharper, used once, when all inputs are measured.
  A proof that it holds is not known; the simulations in this project's tests stand in for one. For shares of inputs
  the exact bound of Clopper and Pearson (1934) takes its place.

A wrong pass has probability at most ``1 - confidence``, and so has a wrong fail. :data:`SPENT` of that
budget is used: :data:`BETTING_SHARE` of it for the betting sequence and the rest for the final tool, or all of it where
there is no earlier look.

References:
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024).
    Gaffke, Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable,
    Mathematical Methods of Statistics 14 (2005).
    Learned-Miller and Thomas, A new confidence interval for the mean of a bounded random variable (2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .bounds import (
    ROUNDING,
    Floats,
    betting_lower_bound,
    clopper_pearson_log_p_value,
    clopper_pearson_lower_bound,
    gaffke_log_p_value,
    gaffke_lower_bound,
    log_capital,
    unit_scores,
)
from .verdict import Outcome

__all__ = [
    "BETTING_SHARE",
    "FIRST_LOOK",
    "MOST_NEEDED",
    "Decision",
    "Direction",
    "Kind",
    "Level",
    "Outlook",
    "Question",
    "looks",
]

Direction: TypeAlias = Literal["above", "below"]
Kind: TypeAlias = Literal["mean", "share"]

BETTING = "betting confidence sequence"
GAFFKE = "Gaffke's bound"
CLOPPER_PEARSON = "Clopper-Pearson bound"

FIRST_LOOK = 16
MOST_NEEDED = 100_000  # inputs that a verdict asks for

# What is spent of 1 - confidence. The exact tools use up what they are given, so a rate simulated at the whole budget
# would hover around it; a tenth less keeps the upper bound of such a simulation below, and costs 2 points of power.
SPENT = 0.9

# Simulated for shares from 0 to 0.7, effects from 0.04 to 0.3 (sd 0.2, range [-1, 1]) and 16 to 256 inputs. A fifth
# costs 3 points of power at most and already saves 60 % of 256 inputs for an effect of 0.1; a half costs up to 9
# points and saves 67 %. It also leaves enough to show a share above 95 % with 64 inputs out of 64.
BETTING_SHARE = 0.2


def looks(n: int) -> Iterator[int]:
    """Yield how many inputs are measured at each look: 16, 32, 64, then every 64, and ``n`` last."""
    look = FIRST_LOOK
    while look < n:
        yield look
        look += min(look, 64)
    yield n


class Decision(NamedTuple):
    """What the scores measured so far say.

    Attributes:
        outcome: The outcome, or None while more inputs may still decide it.
        estimate: The mean of the scores (of the middles, where they are partly known).
        interval: Lower and upper bound of the mean; each holds with probability ``confidence``. NaN while undecided.
        decided_by: The tool that decided, or those that could not.
    """

    outcome: Outcome | None
    estimate: float
    interval: tuple[float, float]
    decided_by: str


@dataclass(frozen=True)
class Level:
    """How sure a decision must be.

    Attributes:
        confidence: One minus the accepted probability of a wrong pass, and of a wrong fail, over all looks, in (0, 1).
        early: Whether there are looks before the final one. Without, the whole budget goes to the final tool.
        fail_share: Share of the accepted probability of a wrong fail that may be spent, in (0, 1]: where a claim fails
            with any of k questions, each may spend 1 / k of it.
        looked: Whether there was a look before the final one; None where there was one if there are more scores than
            the first look has.
    """

    confidence: float
    early: bool = True
    fail_share: float = 1.0
    looked: bool | None = None

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, not {self.confidence}")
        if not 0 < self.fail_share <= 1:
            raise ValueError(f"fail_share must lie in (0, 1], not {self.fail_share}")

    def for_fails(self) -> Level:
        """Return the level at which a fail is decided."""
        return replace(self, confidence=1 - self.fail_share * (1 - self.confidence), fail_share=1.0)


Hindrance: TypeAlias = Literal["", "near", "many", "unknown", "few", "no others", "at odds", "trainings"]


class Outlook(NamedTuple):
    """What would settle an inconclusive verdict.

    Attributes:
        needed: About how many inputs, or how many at least where there are too ``"few"``; None where it is not known.
        hindrance: Why it is not known: the mean lies too ``"near"`` the bound; ``"many"`` more would be needed; so many
            scores are ``"unknown"`` that it would stay open; of groups there are ``"few"``, ``"no others"`` come, or
            large ones are ``"at odds"`` with the rest; or what inputs share, ``"trainings"``, is known too little.
        grouped: Whether groups are meant rather than inputs.
    """

    needed: int | None
    hindrance: Hindrance = ""
    grouped: bool = False

    @property
    def of_pairs(self) -> Outlook:
        """The same in inputs, where it was said of pairs of them."""
        return self if self.needed is None else self._replace(needed=2 * self.needed)

    @classmethod
    def of_all(cls, outlooks: Sequence[Outlook]) -> Outlook:
        """Return what would settle all of several questions: what hinders one hinders all."""
        hindered = [one for one in outlooks if one.hindrance]
        return hindered[0] if hindered else max(outlooks, key=lambda one: one.needed or 0)


class _Tool(NamedTuple):
    """A one-sided tool for when all inputs are measured: a log p-value for ``(z, m)``, a bound for ``(z, alpha)``."""

    name: str
    log_p_value: Callable[[Floats, float], float]
    lower_bound: Callable[[Floats, float], float]


_TOOLS: dict[Kind, _Tool] = {
    "mean": _Tool(GAFFKE, gaffke_log_p_value, gaffke_lower_bound),
    "share": _Tool(CLOPPER_PEARSON, clopper_pearson_log_p_value, clopper_pearson_lower_bound),
}


@dataclass(frozen=True)
class _Plan:
    """How the error budget of one side is spent: the level of each tool, 0 where it is not used."""

    tool: _Tool
    betting: float
    final: float

    @classmethod
    def of(cls, tool: _Tool, level: Level, n: int, *, final: bool) -> _Plan:
        if not (level.early or final):
            raise ValueError("without early looks there is only the final one")
        looked = n > FIRST_LOOK if level.looked is None else level.looked
        share = BETTING_SHARE if level.early and (looked or not final) else 0.0
        budget = SPENT * (1 - level.confidence)
        return cls(tool, share * budget, (1 - share) * budget if final else 0.0)

    @property
    def tools(self) -> str:
        return " and ".join(name for name, alpha in ((BETTING, self.betting), (self.tool.name, self.final)) if alpha)

    def shown_by(self, z: Floats, m: float) -> str | None:
        """Return the name of the tool that shows the mean of ``z`` to be above ``m``, or None."""
        if self.betting and log_capital(z, m) >= -math.log(self.betting):
            return BETTING
        if self.final and self.tool.log_p_value(z, m) <= math.log(self.final):
            return self.tool.name
        return None

    def lower_bound(self, z: Floats) -> float:
        betting = betting_lower_bound(z, self.betting) if self.betting else 0.0
        return max(betting, self.tool.lower_bound(z, self.final)) if self.final else betting


@dataclass(frozen=True)
class Question:
    """The question whether the mean score lies above (or below) a threshold.

    Attributes:
        low: The least possible score.
        high: The largest possible score.
        threshold: Where the mean must lie above or below.
        direction: ``"above"`` passes once the lower bound of the mean exceeds the threshold, and fails once the upper
            bound is under ``threshold + margin``; ``"below"`` is its mirror image.
        margin: An advantage smaller than this counts as none, so that a claim about no effect at all can fail. Where
            both ends are shown, the claim passes.
        kind: ``"mean"`` of scores in a range, or ``"share"`` of inputs with a flag, 0 or 1, for which an exact final
            tool is used.

    Raises:
        ValueError: The range, threshold, margin or direction makes no sense.
    """

    low: float
    high: float
    threshold: float
    direction: Direction = "above"
    margin: float = 0.0
    kind: Kind = "mean"

    def __post_init__(self) -> None:
        if not (self.low < self.high and self.low <= self.threshold <= self.high and self.margin >= 0):
            raise ValueError(f"need low < high, a threshold between and margin >= 0: {self}")
        if self.direction not in ("above", "below"):
            raise ValueError(f"direction must be 'above' or 'below', not {self.direction!r}")

    @classmethod
    def of_share(cls, threshold: float, *, margin: float = 0.0, direction: Direction = "above") -> Question:
        """Return the question whether the share of flagged inputs lies above (or below) a threshold."""
        return cls(0.0, 1.0, threshold, direction, margin, "share")

    def decide(self, lo: ArrayLike, hi: ArrayLike, level: Level, *, final: bool) -> Decision:
        """Decide on the scores measured so far.

        Call it at each of :func:`looks` with all scores so far, in the order of the inputs, until the outcome is not
        None. What it says at a look depends on those scores alone, so not on the sizes of batches.

        Args:
            lo: Lower ends of the scores, shape ``(n,)``; where a score is known, the score.
            hi: Upper ends of the scores, shape ``(n,)``; where a score is known, the score.
            level: How sure the decision must be.
            final: Whether these are all the inputs, so that an outcome must be given.

        Returns:
            The decision. A wrong pass is made with probability at most ``1 - confidence`` when the scores are
            independent with the same mean; the part of it that Gaffke's bound may spend rests on a conjecture, and
            the guarantee for shares on none.

        Raises:
            ValueError: A score is NaN or outside its range, or a flag is neither true nor false.
        """
        asked = self._unit(lo, hi)
        plan, fails = (
            _Plan.of(_TOOLS[self.kind], one, asked.lo.size, final=final) for one in (level, level.for_fails())
        )
        outcome, decided_by = asked.decide(plan, fails)
        bounds = (math.nan, math.nan)
        if outcome is not None:
            bounds = (plan.lower_bound(asked.lo), 1 - fails.lower_bound(1 - asked.hi))
        unit = np.array([asked.estimate, *bounds])
        shown = unit if self.direction == "above" else 1 - unit
        estimate, lower, upper = (self.low + (self.high - self.low) * shown).tolist()
        return Decision(outcome, estimate, (min(lower, upper), max(lower, upper)), decided_by)

    def outcome(self, lo: ArrayLike, hi: ArrayLike, level: Level, *, final: bool) -> tuple[Outcome | None, str]:
        """Return the outcome that :meth:`decide` comes to and the tool that decided, without estimate and interval."""
        asked = self._unit(lo, hi)
        tool = _TOOLS[self.kind]
        return asked.decide(*(_Plan.of(tool, one, asked.lo.size, final=final) for one in (level, level.for_fails())))

    def smallest_n(self, level: Level, *, best: float | None = None, limit: int = MOST_NEEDED) -> int | None:
        """Return the smallest number of inputs with which the claim could pass at all.

        Args:
            level: How sure the decision must be.
            best: The best score that can be hoped for; the favorable end of the range by default.
            limit: The most inputs to consider.

        Returns:
            The number, or None when even ``limit`` inputs whose scores are all ``best`` would not do.
        """
        hoped = best if best is not None else self.high if self.direction == "above" else self.low
        one = self._unit([hoped], [hoped])

        def passes(n: int) -> bool:
            plan = _Plan.of(_TOOLS[self.kind], level, n, final=True)
            return plan.shown_by(np.repeat(one.lo, n), one.threshold) is not None

        return _first(passes, 1, limit)

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return the smallest number of inputs with which the claim could pass or fail at all, None as above.

        Args:
            level: How sure the decision must be.
            to_pass: Ask for a pass alone.
        """
        if to_pass:
            return self.smallest_n(level)
        mirrored = replace(
            self,
            threshold=self.threshold + (self.margin if self.direction == "above" else -self.margin),
            direction="below" if self.direction == "above" else "above",
            margin=0.0,
        )
        numbers = [self.smallest_n(level), mirrored.smallest_n(level.for_fails())]
        return min((n for n in numbers if n is not None), default=None)

    def outlook(self, lo: ArrayLike, hi: ArrayLike, level: Level) -> Outlook:
        """Return what would settle an inconclusive verdict, if other inputs were like those measured.

        The number of inputs is such that about nine runs in ten would be settled by it, either way, were the measured
        mean and spread the true ones; it is rounded up to two digits. There is none when the effect seen is about zero
        (less than half a standard error). The arguments are those of :meth:`decide`.
        """
        asked, tool = self._unit(lo, hi), _TOOLS[self.kind]
        measured = asked.lo.size
        gaps = asked.lo.mean() - asked.threshold, asked.threshold + asked.margin - asked.hi.mean()
        if max(gaps) <= 0 and (asked.lo < asked.hi).any():
            return Outlook(None, "unknown")
        if max(gaps) <= 0.5 * float(np.std(asked.lo)) / math.sqrt(measured):
            return Outlook(None, "near")
        alpha = _Plan.of(tool, level, FIRST_LOOK + 1, final=True).final
        stricter = float(special.log_ndtr(special.ndtri(alpha) + special.ndtri(0.1)))
        z, m = asked.lo, asked.threshold
        if gaps[1] > gaps[0]:
            z, m = 1 - asked.hi, 1 - asked.threshold - asked.margin
        z = np.sort(z)

        def settles(n: int) -> bool:
            return tool.log_p_value(z[np.arange(n) * measured // n], m) <= stricter

        n = _first(settles, measured, MOST_NEEDED)
        return Outlook(None, "many") if n is None else Outlook(_round_up(n))

    def _unit(self, lo: ArrayLike, hi: ArrayLike) -> _Asked:
        """Return the question in units where the range is [0, 1] and the claim is "above"."""
        width = self.high - self.low
        lower, upper = (unit_scores((np.asarray(x, np.float64) - self.low) / width) for x in (lo, hi))
        if lower.shape != upper.shape or (lower > upper + ROUNDING).any():
            raise ValueError("lo and hi must have the same length, and lo must not exceed hi")
        if self.kind == "share" and not all(np.isin(flags, (0, 1)).all() for flags in (lower, upper)):
            raise ValueError("flags must be true or false")
        m, gap = (self.threshold - self.low) / width, self.margin / width
        if self.direction == "above":
            return _Asked(lower, upper, m, gap)
        return _Asked(1 - upper, 1 - lower, 1 - m, gap)


@dataclass(frozen=True)
class _Asked:
    """Scores and a threshold in units where the range is [0, 1]; "below" has been mirrored."""

    lo: Floats
    hi: Floats
    threshold: float
    margin: float

    @property
    def estimate(self) -> float:
        return float((self.lo + self.hi).mean()) / 2

    def decide(self, plan: _Plan, fails: _Plan) -> tuple[Outcome | None, str]:
        """Return the outcome, or None before it is known, and the tool that decided; ``fails`` plans a fail."""
        if tool := plan.shown_by(self.lo, self.threshold):
            return "passed", tool
        if tool := fails.shown_by(1 - self.hi, 1 - self.threshold - self.margin):
            return "failed", tool
        if not plan.final:
            return None, plan.tools
        return "inconclusive", plan.tools


def _first(holds: Callable[[int], bool], start: int, limit: int) -> int | None:
    """Return the first n from ``start`` to ``limit`` for which ``holds(n)``, which is false and then true."""
    low, high = start - 1, start
    while not holds(high):
        if high >= limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _round_up(n: int) -> int:
    """Return ``n`` rounded up to two digits."""
    unit = int(10 ** max(0, len(str(n)) - 2))
    return -(-n // unit) * unit
