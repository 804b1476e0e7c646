"""What every verb asks of its numbers and flags."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import TypeGuard

from ..common.errors import XaiError

__all__ = ["check_between", "checked_confidence", "checked_early"]


def check_between(where: str, value: object, low: float, high: float) -> None:
    """Raise when ``value`` is no finite number in a range.

    Args:
        where: The verb and its keyword, in this order.
        value: What was given; True and False are no numbers.
        low: The least number that is accepted, or minus infinity.
        high: The largest number that is accepted, or infinity.
    """
    if not _is_number(value) or not isfinite(value) or not low <= value <= high:
        limits = f"a number between {low:g} and {high:g}" if isfinite(low) or isfinite(high) else "a finite number"
        raise XaiError(where, found=repr(value), expected=limits, fix=f"change {where.split()[-1]}=")


def checked_early(early: object, verb: str) -> bool:
    """Return ``early`` when it is True or False; otherwise raise."""
    if not isinstance(early, bool):
        raise XaiError(f"{verb} early", found=repr(early), expected="True or False", fix="change early=")
    return early


def checked_confidence(confidence: object, *, where: str) -> float:
    """Return ``confidence`` when it is a number in (0.5, 1); otherwise raise."""
    if not _is_number(confidence) or not 0.5 < confidence < 1:
        raise XaiError(where, found=repr(confidence), expected="a number between 0.5 and 1", fix="use 0.95 or 0.99")
    return float(confidence)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)
