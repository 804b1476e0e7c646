"""How claims tell what was measured, in the lines below a verdict's sentence: amounts, bounds, curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TypeAlias

from ..statistics.evidence import Row, number

__all__ = ["Sentences", "along", "bounds_of", "measured", "named", "percent"]

Sentences: TypeAlias = "dict[str, str]"
"""By outcome, a sentence in which ``{explainer}``, ``{object}`` and ``{reason}`` are filled in."""

_SHOWN = 5  # positions of a curve
_NAME = 24  # characters of a layer's name


def percent(share: float) -> str:
    """Return a share as people read it.

    >>> percent(0.534)
    '53%'
    """
    return f"{share:z.0%}" if isfinite(share) else "unknown"


def bounds_of(interval: tuple[float, float], limits: tuple[float, float], write: Callable[[float], str]) -> str:
    """Return an interval in words; a bound at one of the limits is not known, and neither is one that is NaN.

    >>> bounds_of((0.5, 3.0), (-2.0, 3.0), percent)
    ' (at least 50%)'
    """
    low, high = interval
    below = isfinite(low) and low > limits[0]
    above = isfinite(high) and high < limits[1]
    if below and above:
        return f" ({write(low)} to {write(high)})"
    return f" (at least {write(low)})" if below else f" (at most {write(high)})" if above else ""


def measured(label: str, amount: str, of: str, interval: str, n: int) -> Row:
    """Return the line of what was measured: how much of what, between which bounds, on how many inputs."""
    return label, f"{amount}{f' {of}' if of else ''}{interval}, n={n}"


def along(names: Sequence[str], values: Sequence[float | None], write: Callable[[float], str]) -> str:
    """Return a curve over named positions: a few of them, the first and the last among these."""
    count = len(values)
    places = sorted({round(step * (count - 1) / (_SHOWN - 1)) for step in range(_SHOWN)}) if count > 1 else [0]
    parts = [f"{named(names, place)} {_written(values[place], write)}" for place in places]
    return ", ".join(parts) + (f" ({len(places)} of {count})" if len(places) < count else "")


def named(names: Sequence[str], place: int) -> str:
    """Return the name of a position, the end of a long one; its number where it has none."""
    name = names[place] if place < len(names) else str(place + 1)
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _written(value: float | None, write: Callable[[float], str]) -> str:
    return number(None) if value is None else write(value)
