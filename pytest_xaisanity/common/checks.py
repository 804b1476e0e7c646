"""Checks of settings that every room makes alike."""

from __future__ import annotations

from .errors import setting_error

__all__ = ["check_whole"]


def check_whole(owner: str, setting: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return ``value`` when it is a whole number in a range; otherwise raise.

    Args:
        owner: What has the setting: the name of a metric, an intervention, a baseline.
        setting: Its keyword.
        value: What was given; True and False are no numbers.
        least: The least number that is accepted.
        most: The largest number that is accepted; None for no limit.

    Raises:
        XaiError: It is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= least and (most is None or value <= most):
        return value
    limits = f"of at least {least}" if most is None else f"from {least} to {most:,}"
    raise setting_error(owner, setting, repr(value), f"a whole number {limits}")
