"""The verb ``changes_under``: each similarity decides by itself, on raw values or on retention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import ClassVar

import numpy as np
import torch

from ..evidence.base import Compared, Intervention
from ..evidence.comparison import Comparison, Similarities
from ..evidence.randomized import Randomized
from ..maps.similarity import SIMILARITIES, Similarity
from ..statistics.evidence import Evidence, Part, Row, number
from ..statistics.question import FIRST_LOOK, Decision, Question
from ..statistics.verdict import Outcome, Verdict
from .base import (
    Claim,
    Look,
    Need,
    PerInput,
    Scores,
    Worst,
    by_axis,
    closer_to,
    constant_note,
    extremes,
    mean,
    plain,
    require_inputs,
    settled_by,
)

__all__ = ["ChangesUnder", "Reading", "Readings"]

REPRODUCES = 0.1  # an explainer reproduces itself when s_self - s_chance is shown to be above this
_POSITIONS = 12  # of a curve that a person reads

_REPRODUCED = Question(-1.0, 1.0, REPRODUCES)
_NOT_KEPT = Question(-1.0, 1.0, 0.0, "below")


@dataclass(frozen=True)
class Reading:
    """What one similarity found.

    Attributes:
        after_by_position: Mean similarity before and after, by position in the order of the intervention.
        after_by_seed: Likewise by seed.
        own: Mean similarity of two runs on the same input, or of what stands in its place.
        chance: Mean similarity to unrelated inputs.
        constant: How many inputs have a constant or non-finite map.
        calibrated: Whether retention was asked for, rather than the raw similarity.
        gap: ``own - chance``, as it was measured on pairs of inputs; None where it is not known.
        retention: The share of the gap that is left; None where the explainer is not shown to reproduce itself.
    """

    after_by_position: tuple[float | None, ...]
    after_by_seed: tuple[float | None, ...]
    own: float | None
    chance: float | None
    constant: int
    calibrated: bool = False
    gap: float | None = None
    retention: float | None = None

    @property
    def retention_by_position(self) -> tuple[float | None, ...]:
        """The share of the similarity above chance that is left, by position: 1 for all of it, 0 for none.

        It is that of the mean similarities. ``retention`` is decided on pairs of inputs, whose differences are clipped.
        None where a similarity is not known, or where the explanations of one input are no more alike than others.
        """
        if self.own is None or self.chance is None or self.own == self.chance:
            return (None,) * len(self.after_by_position)
        own, chance = self.own, self.chance
        return tuple(None if after is None else (after - chance) / (own - chance) for after in self.after_by_position)

    def plain(self) -> dict[str, object]:
        """Return all of it; gap and retention where they were asked for."""
        return {
            "after_by_position": list(self.after_by_position),
            "after_by_seed": list(self.after_by_seed),
            "self": self.own,
            "chance": self.chance,
            "constant_or_not_finite": self.constant,
            **({"gap": self.gap, "retention": self.retention} if self.calibrated else {}),
        }


@dataclass(frozen=True)
class Readings(Part):
    """What each similarity found.

    Attributes:
        by_similarity: By name.
        ceiling: What maps are compared with in place of a second run on the same input, in words; or nothing.
    """

    by_similarity: Mapping[str, Reading]
    ceiling: str = ""

    def __getitem__(self, similarity: str) -> Reading:
        """Return what one similarity found."""
        return self.by_similarity[similarity]

    def plain(self) -> dict[str, object]:
        """Return each under its name."""
        return {"by_similarity": {name: reading.plain() for name, reading in self.by_similarity.items()}}

    def rows(self) -> Iterator[Row]:
        """Yield one row a similarity."""
        again = self.ceiling or "one input twice"
        for name, reading in self.by_similarity.items():
            curve = " ".join(number(value) for value in reading.after_by_position[:_POSITIONS])
            more = " ..." if len(reading.after_by_position) > _POSITIONS else ""
            kept = f"; retention {number(reading.retention)}" if reading.calibrated else ""
            yield (
                name,
                f"{again} {number(reading.own)}, unrelated inputs {number(reading.chance)}, "
                f"before and after {curve}{more}{kept}",
            )


@dataclass(frozen=True, kw_only=True)
class ChangesUnder(Claim):
    """The attributions differ once the intervention is made. See :func:`~pytest_xaisanity.changes_under`."""

    intervention: Intervention
    similarity: str | None = None
    at_most: float | None = None
    retention: float = 0.5
    verb: ClassVar[str] = "changes_under"

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What the intervention advises, or else what helps with any."""
        return self.intervention.advice or (
            "the explanation hardly depends on what was changed in the model: use a method that does "
            "(gradients, Integrated Gradients), or look for a multiplication by the input"
        )

    @property
    def randomizes(self) -> bool:
        """True: noise that is seeded by the output passes as well."""
        return True

    @property
    def bounds(self) -> Mapping[str, float | None]:
        """The bound of the raw similarity."""
        return {"at_least": None, "at_most": self.at_most}

    def needs(self) -> Sequence[Need]:
        """One comparison of the maps before and after."""
        return [Need(Comparison(self.intervention, () if self.similarity is None else (self.similarity,)))]

    def decide(self, look: Look) -> Verdict | None:
        """Decide each similarity by itself; where they contradict one another the verdict is inconclusive."""
        if self.at_most is None and look.n <= FIRST_LOOK and not look.final:
            return None  # retention is decided on pairs, which are half as many as the first look is made for
        measured = Evidence(*look.parts[0])
        similarities = measured.get_part(Similarities)
        ceiling = similarities.ceiling
        views = [self._view(SIMILARITIES[name], look, ceiling) for name in similarities.names]
        outcome = _joint([view.outcome for view in views])
        if outcome is None:
            return None
        main = _worst(views, outcome)
        if outcome == "inconclusive" and main.settles and look.final:
            self._check_enough(look)
        return self._verdict(
            look,
            main.decision,
            outcome=outcome,
            quantity=main.quantity,
            reason=_reason(views, outcome, main)
            + "".join(part.remark for part in look.parts[0] if isinstance(part, Randomized)),
            evidence=(
                Readings({view.name: view.reading for view in views}, ceiling),
                *look.parts[0],
                PerInput({view.name: view.scores for view in views}),
                *main.worst(look),
            ),
            estimate=main.estimate,
            interval=main.interval,
        )

    def _view(self, similarity: Similarity, look: Look, ceiling: str) -> _View:
        compared = look.compared()
        after, own, chance = (part[similarity.name] for part in (compared.after, compared.own, compared.chance))
        reading = Reading(
            after_by_position=tuple(by_axis(after, 2)),
            after_by_seed=tuple(by_axis(after, 1)),
            own=mean(own),
            chance=mean(chance),
            constant=int((np.isnan(after).any((1, 2)) | np.isnan(own)).sum()),
            calibrated=self.at_most is None,
        )
        if self.at_most is not None:
            return _raw_view(similarity, after, self.at_most, look, reading)
        return _retention_view(similarity, compared, self.retention, look, reading, ceiling)

    def _check_enough(self, look: Look) -> None:
        if self.at_most is not None and self.similarity is not None:
            s = SIMILARITIES[self.similarity]
            least = Question(s.low, s.high, self.at_most, closer_to(s, below=True)).smallest_n(look.level)
        else:
            pairs = _REPRODUCED.smallest_n(look.level)
            least = None if pairs is None else 2 * pairs
        require_inputs(look.n, least, f"{look.explainer} {self}")


@dataclass(frozen=True)
class _View:
    """What one similarity says of a change.

    Attributes:
        name: The similarity.
        outcome: Its outcome, or None to measure more.
        decision: What decided.
        quantity: What ``estimate`` is of.
        estimate: The estimate.
        interval: Its bounds.
        reason: Why, in words.
        needed: How many inputs would settle it, where that is known.
        reading: What it found.
        scores: The score of each input.
        unit: What the scores are; nothing where no input was told apart by the intervention.
        sign: 1 where large scores speak against the claim, -1 where small ones do.
        settles: Whether more inputs could settle it.
    """

    name: str
    outcome: Outcome | None
    decision: Decision
    quantity: str
    estimate: float
    interval: tuple[float, float]
    reason: str
    needed: int | None
    reading: Reading
    scores: list[float | None]
    unit: str = ""
    sign: float = 1.0
    settles: bool = True

    def worst(self, look: Look) -> tuple[Part, ...]:
        """Return the inputs that speak most against the claim, where any do."""
        if not self.unit:
            return ()
        sign = self.sign
        return (Worst.of(look.indices, self.scores, lambda value: sign * value, self.unit),)


def _raw_view(s: Similarity, after: Scores, at_most: float, look: Look, reading: Reading) -> _View:
    lo, hi = extremes(after, s.low, s.high, axes=(1, 2))
    question = Question(s.low, s.high, at_most, closer_to(s, below=True))
    decision = question.decide(lo, hi, look.level, final=look.final)
    word = "at most" if question.direction == "below" else "at least"
    sides = {"passed": "is", "failed": "is not", "inconclusive": "may or may not be", None: ""}
    reason = f"mean {s.name} before and after {sides[decision.outcome]} {word} {at_most:g}"
    return _View(
        name=s.name,
        outcome=decision.outcome,
        decision=decision,
        quantity=f"{s.name} after",
        estimate=decision.estimate,
        interval=decision.interval,
        reason=reason + constant_note(reading.constant),
        needed=question.inputs_needed(lo, hi, look.level) if decision.outcome == "inconclusive" else None,
        reading=reading,
        scores=plain((lo + hi) / 2),
        unit=f"{s.name} before and after",
        sign=1.0 if question.direction == "below" else -1.0,
    )


def _retention_view(s: Similarity, compared: Compared, r: float, look: Look, reading: Reading, ceiling: str) -> _View:
    """Decide ``(s_after - s_chance) - r (s_self - s_chance) < 0``, once ``s_self - s_chance`` is above a margin.

    ``s_chance`` compares two inputs, so that the scores of the two are not independent of one another; the means of
    pairs, which are, decide.
    """
    after_lo, after_hi = extremes(_unit(s, compared.after[s.name]), -1.0, 1.0, axes=(1, 2))
    own_lo, own_hi = extremes(_unit(s, compared.own[s.name]), -1.0, 1.0)
    chance_lo, chance_hi = extremes(_unit(s, compared.chance[s.name]), -1.0, 1.0)
    least, most = after_lo - (1 - r) * chance_hi - r * own_hi, after_hi - (1 - r) * chance_lo - r * own_lo
    gap_lo, gap_hi = _pairs(own_lo - chance_hi), _pairs(own_hi - chance_lo)
    clipped = _clip(gap_lo), _clip(gap_hi)
    gap = _REPRODUCED.decide(*clipped, look.level, final=look.final)
    scores = plain((least + most) / 2)
    if gap.outcome != "passed":
        pairs = _REPRODUCED.inputs_needed(*clipped, look.level) if gap.outcome == "inconclusive" else None
        return _unreproduced_view(s, gap, _twice(pairs), reading, scores, ceiling)
    lo, hi = _clip(_pairs(least)), _clip(_pairs(most))
    kept = _NOT_KEPT.decide(lo, hi, look.level, final=look.final)
    scale = float((gap_lo + gap_hi).mean()) / 2  # not clipped: maps that are all kept have retention 1
    estimate, low, high = (r + value / scale for value in (kept.estimate, *kept.interval))
    sides = {"passed": "at most", "failed": "more than", "inconclusive": "perhaps more, perhaps less than", None: ""}
    whole = f" of what {ceiling} leaves" if ceiling else ""
    above_chance = f"the similarity above chance{f' that {ceiling} leaves' if ceiling else ''}"
    reason = f"{sides[kept.outcome]} {r:.0%} of {above_chance} is left ({s.name})"
    pairs = _NOT_KEPT.inputs_needed(lo, hi, look.level) if kept.outcome == "inconclusive" else None
    return _View(
        name=s.name,
        outcome=kept.outcome,
        decision=kept,
        quantity=f"retention{whole} ({s.name})",
        estimate=estimate,
        interval=(low, high),
        reason=reason + constant_note(reading.constant),
        needed=_twice(pairs),
        reading=replace(reading, gap=scale, retention=_finite(estimate)),
        scores=scores,
        unit=f"{s.name} left above what is accepted",
    )


def _unreproduced_view(
    s: Similarity, gap: Decision, needed: int | None, reading: Reading, scores: list[float | None], ceiling: str
) -> _View:
    """Quote the similarity of the explainer to itself, where it is not shown to be above chance."""
    return _View(
        name=s.name,
        outcome=None if gap.outcome is None else "inconclusive",
        decision=gap,
        quantity=f"{s.name} to {f'that of {ceiling}' if ceiling else 'itself'} above chance",
        estimate=gap.estimate,
        interval=gap.interval,
        reason=_not_reproduced(s.name, reading, shown=gap.outcome == "failed", ceiling=ceiling),
        needed=needed,
        reading=replace(reading, gap=_finite(gap.estimate)),
        scores=scores,
        settles=gap.estimate > REPRODUCES or reading.constant > 0,
    )


def _unit(similarity: Similarity, scores: Scores) -> Scores:
    """Return scores on the scale where identical maps have 1 and the least alike -1."""
    return np.asarray(similarity.unit(torch.from_numpy(scores)))


def _pairs(scores: Scores) -> Scores:
    """Return the mean of each two neighbors; an odd last one joins the two before it."""
    starts = 2 * np.arange(max(1, len(scores) // 2))
    sums = np.add.reduceat(scores, starts)
    means: Scores = sums / np.diff([*starts, len(scores)])
    return means


def _clip(scores: Scores) -> Scores:
    return np.clip(scores, -1.0, 1.0)


def _twice(pairs: int | None) -> int | None:
    return None if pairs is None else 2 * pairs


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _not_reproduced(name: str, reading: Reading, *, shown: bool, ceiling: str) -> str:
    own, chance = reading.own, reading.chance
    if own is None or chance is None:
        return f"all maps are constant, so {name} cannot compare them"
    between = f"to that of {ceiling}" if ceiling else "between two runs on one input"
    figures = f"{name} {own:z.2f} {between}, {chance:z.2f} between unrelated inputs"
    if ceiling and chance <= 0.5:
        if not shown:
            return f"not shown that the explanation outlives {ceiling} ({figures})" + constant_note(reading.constant)
        return f"{ceiling} changes the explanation nearly as much as another input does ({figures})"
    if own - chance > REPRODUCES:
        return f"not shown that the explainer reproduces itself ({figures})" + constant_note(reading.constant)
    if chance > 0.5:
        return f"explanations of unrelated inputs are as alike as those of one input ({figures}): nothing to retain"
    does_not = "does not reproduce" if shown else "does not seem to reproduce"
    return f"the explainer {does_not} itself ({figures}): a change cannot be told from its own noise"


def _joint(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    known = {outcome for outcome in outcomes if outcome is not None}
    if "inconclusive" in known or len(known) > 1:
        return "inconclusive"  # a contradiction stays one, whatever the undecided similarities would say
    return None if None in outcomes else known.pop()


def _worst(views: Sequence[_View], outcome: Outcome) -> _View:
    """The view a verdict quotes: the one that is nearest to another outcome."""
    decided = [view for view in views if view.outcome is not None]
    if outcome == "inconclusive":
        unsettled = [view for view in decided if view.outcome == "inconclusive"]
        if len({view.outcome for view in decided}) == 3:
            decided, unsettled = [view for view in decided if view not in unsettled], []
        return unsettled[0] if unsettled else max(decided, key=lambda view: view.estimate)
    return (max if outcome == "passed" else min)(decided, key=lambda view: view.estimate)


def _reason(views: Sequence[_View], outcome: Outcome, main: _View) -> str:
    opposed = [view for view in views if view.outcome in ("passed", "failed")]
    if len({view.outcome for view in opposed}) == 2:
        told = "; ".join(f"{view.name}: {view.estimate:z.2f} retained ({view.outcome})" for view in opposed)
        return f"it depends on the similarity ({told}); name the one that matters with similarity="
    unsettled = outcome == "inconclusive" and main.settles
    return main.reason + (settled_by(main.needed) if unsettled else "")
