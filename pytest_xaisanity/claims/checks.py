"""What every verb asks of its numbers and flags."""

from __future__ import annotations

from ..common.checks import is_number
from ..common.errors import XaiError, shown

__all__ = ["checked_confidence", "checked_early"]


def checked_early(early: object, verb: str) -> bool:
    """Return ``early`` when it is True or False; otherwise raise."""
    if not isinstance(early, bool):
        raise XaiError(f"{verb} early", found=shown(early), expected="True or False", fix="change early=")
    return early


def checked_confidence(confidence: object, *, where: str) -> float:
    """Return ``confidence`` when it is a number in (0.5, 1); otherwise raise."""
    if not is_number(confidence) or not 0.5 < confidence < 1:
        raise XaiError(where, found=shown(confidence), expected="a number between 0.5 and 1", fix="use 0.95 or 0.99")
    return float(confidence)
