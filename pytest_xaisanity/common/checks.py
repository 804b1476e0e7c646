"""Checks of settings that every room makes alike."""

from __future__ import annotations

from numbers import Integral

from .errors import setting_error

__all__ = ["check_whole"]


def check_whole(
    owner: str, setting: str, value: object, *, least: int = 1, most: int | None = None, also: str = ""
) -> int:
    """Return ``value`` when it is a whole number in a range; otherwise raise.

    Args:
        owner: What has the setting: the name of a metric, an intervention, a baseline.
        setting: Its keyword.
        value: What was given; True and False are no numbers.
        least: The least number that is accepted.
        most: The largest number that is accepted; None for no limit.
        also: What else is accepted, for the error.

    Raises:
        XaiError: It is none.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if least <= number and (most is None or number <= most):
            return number
    limits = f"of at least {least}" if most is None else f"from {least} to {most:,}"
    raise setting_error(owner, setting, repr(value), f"a whole number {limits}{also and f', or {also}'}")
