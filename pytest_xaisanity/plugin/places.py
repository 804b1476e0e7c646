"""Where in a test a claim stands, for those who show it there."""

from __future__ import annotations

import inspect

import pytest

from .zero_code import BATTERY

__all__ = ["asserted_at", "claimed_at"]


def claimed_at(item: pytest.Item) -> tuple[str, int]:
    """Return the file of the running test, relative to pytest's root, and the line that makes a claim right now.

    That is the test's first line for a claim that is made elsewhere, as in a helper's thread or a fixture of
    ``conftest.py``; an empty name and 0 for a battery, which is in no file of the user's.
    """
    if item.nodeid.partition("::")[0] == BATTERY:
        return "", 0
    file, first, _ = item.location
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != str(item.path):
        frame = frame.f_back
    line = (first or 0) + 1 if frame is None else frame.f_lineno
    return file.replace("\\", "/"), line


def asserted_at(item: pytest.Item, call: pytest.CallInfo[None]) -> int | None:
    """Return the line of the test's file whose assertion failed; None where none did."""
    if call.excinfo is None or not call.excinfo.errisinstance(AssertionError):
        return None
    lines = [entry.lineno + 1 for entry in call.excinfo.traceback if str(entry.path) == str(item.path)]
    return lines[-1] if lines else None
