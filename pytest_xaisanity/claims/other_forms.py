"""What the other forms of the same maps say: other reductions of dimensions, with and without a multiplier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..maps.forms import Form
from ..statistics.evidence import Part, Row, number
from ..statistics.verdict import Outcome

__all__ = ["FoundInForm", "InForms", "otherwise_in_forms"]

_NOTHING = 0.005  # less than this is no share that a person reads
_ALIKE = 0.1  # of retentions, that of maps and that of their null
_FAR = 0.25  # on the other side of the bound, so that what is not decided is told as well
_NOISE = "noise in this form"
_KEEPS = {
    "sum": "their sum",
    "mean": "their mean",
    "l2": "their L2 norm",
    "abs_sum": "the sum of their absolute values",
}
_REDUCED = {
    "sum": "summed over the dimensions",
    "mean": "in the mean over the dimensions",
    "l2": "in the L2 norm over the dimensions",
    "abs_sum": "in absolute values, summed over the dimensions",
}
_MULTIPLIED = {"with": "multiplied by the input", "without": "without the multiplier"}


@dataclass(frozen=True)
class FoundInForm:
    """What one similarity found of one form of the maps.

    Attributes:
        outcome: What it would have decided; None where it would have measured more.
        estimate: The share that is left, or the mean similarity where the claim is about that; None where an explainer
            is not shown to reproduce itself in this form.
        after_by_position: Mean similarity before and after, by position in the order of the intervention.
        own: Mean similarity of two runs on the same input.
        chance: Mean similarity to unrelated inputs.
        null: The same of the matched null, which is noise in this form.
    """

    outcome: Outcome | None
    estimate: float | None
    after_by_position: tuple[float | None, ...]
    own: float | None
    chance: float | None
    null: float | None

    def plain(self) -> dict[str, object]:
        """Return all of it."""
        return {
            "outcome": self.outcome,
            "estimate": self.estimate,
            "after_by_position": list(self.after_by_position),
            "self": self.own,
            "chance": self.chance,
            "null": self.null,
        }


@dataclass(frozen=True)
class InForms(Part):
    """What was found in each form of the maps.

    Attributes:
        own: The explainer's own form.
        found: By form, and by similarity; the explainer's own first.
        bound: What is claimed to be left at most, or the bound of the similarity.
        retained: Whether estimates are shares that are left, rather than similarities.
    """

    own: Form
    found: Mapping[Form, Mapping[str, FoundInForm]]
    bound: float
    retained: bool = True

    def __getitem__(self, form: Form) -> Mapping[str, FoundInForm]:
        """Return what each similarity found of a form."""
        return self.found[form]

    def plain(self) -> dict[str, object]:
        """Return each form under what it has been made by."""
        return {
            "in_forms": {
                form.name: {name: one.plain() for name, one in by_name.items()} for form, by_name in self.found.items()
            }
        }

    def rows(self) -> Iterator[Row]:
        """Yield one row a form and similarity."""
        what = "retention" if self.retained else "mean similarity"
        for form, by_name in self.found.items():
            for name, one in by_name.items():
                null = "" if one.null is None else f", of the matched null {number(one.null)}"
                decides = "decides" if form == self.own else f"would be {one.outcome or 'open'}"
                yield form.name, f"{name}: {what} {number(one.estimate)}{null} ({decides})"


def otherwise_in_forms(part: InForms, outcome: Outcome) -> str:
    """Return what a reason adds where other reductions, or the other multiplier, would have decided otherwise.

    A claim stops as soon as its own form is decided, so that another one may be far on the other side and yet open.
    """
    if outcome == "inconclusive":
        return ""
    opposed = [
        (form, one)
        for form, by_name in part.found.items()
        for name, one in by_name.items()
        if form != part.own and _opposed(part, one, part[part.own][name], outcome)
    ]
    reductions = [each for each in opposed if each[0].reduction != part.own.reduction]
    multipliers = [each for each in opposed if each[0].reduction == part.own.reduction]
    return _of_reductions(part, reductions) + _of_multipliers(part, multipliers)


def _opposed(part: InForms, one: FoundInForm, own: FoundInForm, outcome: Outcome) -> bool:
    if one.outcome in ("passed", "failed"):
        return one.outcome != outcome
    if one.estimate is None or own.estimate is None:
        return False
    return abs(one.estimate - part.bound) > _FAR and (one.estimate > part.bound) != (own.estimate > part.bound)


def _of_reductions(part: InForms, opposed: Sequence[tuple[Form, FoundInForm]]) -> str:
    if not opposed:
        return ""
    own, reduced = next(iter(part[part.own].values())), _REDUCED[part.own.reduction or ""]
    if not part.retained:
        others = ", ".join(f"{_amount(part, one)} {_REDUCED[form.reduction or '']}" for form, one in opposed)
        return f"; it depends on the reduction: {_amount(part, own)} {reduced}, {others}"
    kept = ", ".join(
        f"{_KEEPS[form.reduction or '']} keeps {_amount(part, one)}{_as_the_null(part, one)}" for form, one in opposed
    )
    return f"; it depends on the reduction: {reduced} {_amount(part, own)} is left, {kept}"


def _of_multipliers(part: InForms, opposed: Sequence[tuple[Form, FoundInForm]]) -> str:
    left = " is left" if part.retained else " is the mean similarity"
    return "".join(
        f"; it depends on the multiplier: {_MULTIPLIED[form.multiplier or '']} {_amount(part, one)}{left}"
        f"{_as_the_null(part, one, 'any map multiplied by this input' if form.multiplier == 'with' else _NOISE)}"
        for form, one in opposed
    )


def _amount(part: InForms, one: FoundInForm) -> str:
    if one.estimate is None:
        return "an unknown share"
    if not part.retained:
        return f"{one.estimate:z.2f}"
    return "nothing" if one.estimate <= _NOTHING else f"{one.estimate:.0%}"


def _as_the_null(part: InForms, one: FoundInForm, null: str = _NOISE) -> str:
    """Return that noise in the same form keeps as much, where much is kept."""
    if not part.retained or one.null is None or one.estimate is None or one.estimate <= part.bound:
        return ""
    if one.null >= one.estimate - _ALIKE:
        return f", as of {null} ({one.null:.0%})"
    return f", of {null} {max(one.null, 0.0):.0%}"
