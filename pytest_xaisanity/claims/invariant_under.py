"""The verb ``invariant_under``: the mean of a similarity decides, or a search for counterexamples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..evidence.base import Intervention
from ..evidence.comparison import DISTANCE, Comparison
from ..evidence.interventions.batch_order import Orders
from ..evidence.same_function import RoundingAlone
from ..maps.similarity import SIMILARITIES, Similarity
from ..report.figures import Chart, Figure, Line, Scale
from ..statistics.evidence import Evidence, Part, Row, number
from ..statistics.grouped import Grouped
from ..statistics.question import Decision, Level, Question
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Look,
    Need,
    PerInput,
    Scores,
    Thresholds,
    Worst,
    by_axis,
    closer_to,
    extremes,
    plain,
    remarked,
    remarks_in,
    require_inputs,
)
from .groups import Groups, counted, settled_by
from .quality import Quality
from .told import Sentences, bounds_of, measured, percent

__all__ = ["InvariantUnder"]

_SEED = "; an explainer that is seeded would; or name a similarity and at_least="


@dataclass(frozen=True)
class Tolerance(Part):
    """How far a map may move, relative to its own norm."""

    tolerance: float

    def plain(self) -> dict[str, object]:
        """Return the tolerance."""
        return {"tolerance": self.tolerance}


@dataclass(frozen=True)
class Curve(Part):
    """The mean similarity before and after under each cell: every position of the first seed, then the next.

    Attributes:
        after: The means.
        similarity: Of which similarity.
    """

    after: tuple[float | None, ...]
    similarity: str

    def plain(self) -> dict[str, object]:
        """Return the means."""
        return {"after_by_cell": list(self.after)}

    def rows(self) -> Iterator[Row]:
        """Yield the means where there are several."""
        if len(self.after) > 1:
            yield self.similarity, f"before and after {' '.join(number(value) for value in self.after)}"

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield the means where there are several."""
        if len(self.after) > 1:
            points = tuple(map(float, range(1, len(self.after) + 1)))
            up = f"mean {self.similarity} before and after"
            yield Chart("Similarity by cell", "cell", up, points, (Line(self.similarity, self.after),))


@dataclass(frozen=True, kw_only=True)
class InvariantUnder(Claim):
    """The attributions do not differ once the intervention is made. See :func:`~pytest_xaisanity.invariant_under`."""

    intervention: Intervention
    similarity: str | None = None
    at_least: float | None = None
    tolerance: float | None = None
    verb: ClassVar[str] = "invariant_under"
    sentences: ClassVar[Sentences] = {
        "passed": "{explainer} is invariant under {object}: {reason}",
        "failed": "{explainer} is not invariant under {object}: {reason}",
        "inconclusive": "It is open whether {explainer} is invariant under {object}: {reason}",
    }

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What the intervention advises, or else what helps with any."""
        return self.intervention.advice or "explain one of the worst inputs by hand, before and after"

    @property
    def bounds(self) -> Mapping[str, float | None]:
        """The bound of the similarity."""
        return {"at_least": self.at_least, "at_most": None}

    def needs(self) -> Sequence[Need]:
        """One comparison of the maps before and after."""
        return [Need(Comparison(self.intervention, (self.similarity or DISTANCE.name,)))]

    def fewest(self, level: Level, *, to_pass: bool = False) -> int | None:
        """Return two, which have an order, or how many it takes to show a bound to be kept or broken."""
        return 2 if self.similarity is None else self._question(self.similarity).fewest(level, to_pass=to_pass)

    def _question(self, name: str) -> Question:
        assert self.at_least is not None
        s = SIMILARITIES[name]
        return Question(s.low, s.high, self.at_least, closer_to(s, below=False))

    def decide(self, look: Look) -> Verdict | None:
        """With a similarity, decide on its mean; without one, a single changed input is a counterexample."""
        if self.similarity is not None:
            return self._by_similarity(look, self.similarity)
        if look.final:
            require_inputs(look.n, 2, f"{look.explainer} {self}")
        compared = look.compared()
        after, own = compared.after[DISTANCE.name], compared.own[DISTANCE.name]
        limit = look.tolerance if self.tolerance is None else self.tolerance
        worst: Scores = after.max(1)
        excused = _excused(look, worst, limit)
        changed = ~(worst <= limit) & ~excused
        alike = any(part.alike for part in look.parts[0] if isinstance(part, Orders))
        outcome = _invariance(changed, reproduces=alike or bool((own <= limit).all()), final=look.final)
        if outcome == "passed" and 2 * excused.sum() >= look.n:
            outcome = "inconclusive"
        if outcome is None:
            return None
        level = Level(look.level.confidence, early=False)
        share = Question.of_share(0.5).decide(changed, changed, level, final=True)
        values = plain(worst)
        unit = "moved by, relative to the size of the map"
        return self._verdict(
            look,
            Decision(outcome, share.estimate, share.interval, "a search for counterexamples"),
            quantity="share of inputs changed",
            reason=_reason(outcome, look.n - int(excused.sum()), changed, worst, own, limit),
            besides=f"{_set_aside(excused, worst)}{remarked(remarks_in(look.parts[0]), outcome)}",
            settled=_settled(excused) if outcome == "inconclusive" else "",
            lines=[_share_changed(share, look.n)],
            evidence=(
                Thresholds(Scale(0.0, 1.0, at_most=0.0)),
                *look.parts[0],
                Groups.of(counted(compared.groups), look.n),
                PerInput({DISTANCE.name: values}),
                Quality.of_moves(worst, compared.groups),
                Tolerance(limit),
                Worst.of(look.indices, values, lambda moved: moved, unit),
            ),
        )

    def _by_similarity(self, look: Look, name: str) -> Verdict | None:
        assert self.at_least is not None
        s = SIMILARITIES[name]
        lo, hi = extremes(look.compared().after[s.name], s.low, s.high, axes=(1,))
        question = self._question(name)
        groups_of = look.compared().groups
        groups = counted(groups_of)
        scores, made = Grouped.of(lo, hi, groups), Groups.of(groups, look.n)
        decision = scores.decide(question, look.level, final=look.final)
        if decision.outcome is None:
            return None
        outlook = None
        if decision.outcome == "inconclusive":
            require_inputs(look.n, question.smallest_n(look.level), f"{look.explainer} {self}")
            outlook = scores.outlook(question, look.level)
        side = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be"}[decision.outcome]
        word = "at least" if question.direction == "above" else "at most"
        values = plain((lo + hi) / 2)
        sign = -1.0 if question.direction == "above" else 1.0
        return self._verdict(
            look,
            decision,
            quantity=f"{s.name} after",
            reason=f"mean {s.name} before and after {side} {word} {self.at_least:g}",
            besides=f"{made}{remarked(remarks_in(look.parts[0]), decision.outcome)}",
            settled=settled_by(outlook, decision.outcome),
            lines=[_mean_similarity(s, decision, look.n)],
            evidence=(
                Thresholds.of(question),
                *look.parts[0],
                made,
                Curve(tuple(by_axis(look.compared().after[s.name], 1)), s.name),
                PerInput({s.name: values}),
                Quality.of_similarity(s, look.compared().after[s.name], groups_of, alike=True),
                Worst.of(look.indices, values, lambda value: sign * value, f"{s.name} before and after"),
            ),
        )


def _share_changed(share: Decision, n: int) -> Row:
    bounds = bounds_of(share.interval, (0.0, 1.0), percent)
    return measured("share", percent(share.estimate), "of inputs whose map changed", bounds, n)


def _mean_similarity(s: Similarity, decision: Decision, n: int) -> Row:
    amount = f"mean {s.name} before and after {number(decision.estimate)}"
    return measured("measured", amount, "", bounds_of(decision.interval, (s.low, s.high), number), n)


def _reason(outcome: Outcome, n: int, changed: Scores, worst: Scores, own: Scores, limit: float) -> str:
    if outcome == "passed":
        return f"no map of {n} inputs moved by more than {100 * limit:.3g}% of its size"
    if outcome == "failed":
        moved = f"the maps of {int(changed.sum())} of {n} inputs moved by more than {100 * limit:.3g}% of their size"
        return f"{moved} ({_furthest(worst)})"
    if not changed.any():
        return f"rounding alone moves as many maps as are left, {n}"
    return (
        "the explainer does not reproduce itself (the maps of two runs on one input differ by up to "
        f"{float(own.max()):.0%} of their size)"
    )


def _excused(look: Look, worst: Scores, limit: float) -> NDArray[np.bool_]:
    """Return whose map moved, but no further than rounding alone moves it."""
    alone = Evidence(*look.parts[0]).find(RoundingAlone)
    if alone is None:
        return np.zeros(look.n, bool)
    pairs = zip(look.indices, worst.tolist(), strict=True)
    return np.array([moved > limit and alone.excuses(index, moved) for index, moved in pairs])


def _set_aside(excused: NDArray[np.bool_], worst: Scores) -> str:
    if not excused.any():
        return ""
    count, most = int(excused.sum()), float(worst[excused].max())
    maps = (
        f"map of one input moved by {most:.0%}, as it does"
        if count == 1
        else (f"maps of {count} inputs moved by up to {most:.0%}, as they do")
    )
    return f"; set aside: the {maps} by rounding alone"


def _settled(excused: NDArray[np.bool_]) -> str:
    return "; a smaller shift= would, or the model and its inputs in torch.float64" if excused.any() else _SEED


def _furthest(moved: Scores) -> str:
    known = moved[~np.isnan(moved)]
    return f"the worst by {float(known.max()):,.0%}" if known.size else "to maps that are not finite"


def _invariance(changed: Scores, *, reproduces: bool, final: bool) -> Outcome | None:
    """Decide by whether anything changed, which speaks against an explainer that reproduces itself alone."""
    if changed.any():
        return "failed" if reproduces else "inconclusive"
    return "passed" if final else None
