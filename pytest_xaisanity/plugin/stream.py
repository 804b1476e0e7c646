"""A stream to the terminal while pytest captures what tests print."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

__all__ = ["Terminal"]


class Terminal:
    """Standard error past pytest's capturing, for a progress bar: it begins on a line of its own."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._begun = False

    def write(self, text: str) -> None:
        """Write ``text`` at once."""
        with self._uncaptured():
            sys.stderr.write(text if self._begun else f"\n{text}")
            sys.stderr.flush()
        self._begun = True

    def flush(self) -> None:
        """Do nothing: what is written is written at once."""

    def isatty(self) -> bool:
        """Whether anyone is there to see it."""
        with self._uncaptured():
            return sys.stderr.isatty()

    def _uncaptured(self) -> AbstractContextManager[None]:
        return nullcontext() if self._capture is None else self._capture.global_and_fixture_disabled()
