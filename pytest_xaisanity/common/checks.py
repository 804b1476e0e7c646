"""Checks of settings that every room makes alike: whole numbers, numbers and choices.

Each returns the value as a plain ``int``, ``float`` or ``str``, so that what is kept of NumPy's numbers and fractions
prints, compares and is written to JSON as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from numbers import Integral, Real
from typing import TypeGuard

from .errors import XaiError, setting_error, shown

__all__ = ["FEW", "check_choice", "check_fractions", "check_name", "check_number", "check_whole", "is_number"]

FEW = 1000
"""The most randomizations, random orders or the like: each costs passes, and a verdict needs no more."""


def check_whole(
    owner: str, setting: str, value: object, *, least: int = 1, most: int = 1_000_000, also: str = ""
) -> int:
    """Return ``value`` when it is a whole number in a range; otherwise raise.

    Args:
        owner: What has the setting: the name of a metric, an intervention, a baseline.
        setting: Its keyword.
        value: What was given; True and False are no numbers.
        least: The least number that is accepted.
        most: The largest number that is accepted.
        also: What else is accepted, for the error.

    Raises:
        XaiError: It is none.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if least <= number <= most:
            return number
    expected = f"a whole number from {least} to {most:,}{also and f', or {also}'}"
    raise setting_error(owner, setting, shown(value), expected)


def check_number(where: str, value: object, low: float = -inf, high: float = inf, *, fix: str = "") -> float:
    """Return ``value`` when it is a finite number in a range; otherwise raise.

    Args:
        where: What has the setting, and its keyword, in this order.
        value: What was given; True and False are no numbers.
        low: The least number that is accepted, or minus infinity.
        high: The largest number that is accepted, or infinity.
        fix: What to do, where it is more than to change the setting.

    Raises:
        XaiError: It is none.
    """
    if is_number(value):
        number = _plain(value)
        if isfinite(number) and low <= number <= high:
            return number
    limits = f"a number between {low:g} and {high:g}"
    if not isfinite(high):
        limits = f"a finite number of at least {low:g}" if isfinite(low) else "a finite number"
    raise XaiError(where, found=shown(value), expected=limits, fix=fix or f"change {where.split()[-1]}=")


def check_fractions(owner: str, setting: str, value: object, *, below_one: bool = False) -> tuple[float, ...]:
    """Return ``value`` as fractions in rising order, each once, when it is one or several above 0 and up to 1.

    Args:
        owner: What has the setting: the name of a metric.
        setting: Its keyword.
        value: What was given.
        below_one: Whether 1 itself is not accepted.

    Raises:
        XaiError: It is none, or no sequence of numbers, or empty.
    """
    given = [value] if is_number(value) else value
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        try:
            numbers = [_plain(one) if is_number(one) else inf for one in given]
        except TypeError:  # an array without axes calls itself iterable
            numbers = []
        if numbers and all(0 < one < 1 or (one == 1 and not below_one) for one in numbers):
            return tuple(sorted(set(numbers)))
    limits = "above 0 and below 1" if below_one else "above 0 and at most 1"
    raise setting_error(owner, setting, shown(value), f"fractions {limits}, such as (0.1, 0.2, 0.3)")


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a number, of Python or NumPy; True and False are none, and neither is an array."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _plain(value: float) -> float:
    """Return a number as a plain one; an infinite one where it is too large."""
    try:
        return float(value)
    except OverflowError:
        return inf


def check_name(where: str, name: object) -> str | None:
    """Return ``name`` when it is a text or None; otherwise raise.

    Args:
        where: What is named, for the error.
        name: What was given.

    Raises:
        XaiError: It is something else, or empty.
    """
    if name is None or (isinstance(name, str) and name.strip()):
        return name
    raise setting_error(where, "name", shown(name), "a name in words")


def check_choice(owner: str, setting: str, value: object, choices: Sequence[str]) -> str:
    """Return ``value`` when it is one of the choices; otherwise raise.

    Args:
        owner: What has the setting: the name of a metric, an intervention, a baseline.
        setting: Its keyword.
        value: What was given.
        choices: What is accepted, two or more.

    Raises:
        XaiError: It is none of them.
    """
    if isinstance(value, str) and value in choices:
        return str(value)
    *others, last = map(repr, choices)
    raise setting_error(owner, setting, shown(value), f"{', '.join(others)} or {last}")
