"""A bar for a claim that takes its time."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TextIO

from tqdm import tqdm  # type: ignore[import-untyped]

__all__ = ["Progress"]

_WORTH_SHOWING = 5.0  # seconds that are left


class Progress(AbstractContextManager["Progress"]):
    """Shows how many inputs are measured, on a terminal, once it is clear that more than five seconds are left.

    Args:
        stream: Where to; standard error by default. Nothing is shown unless it is a terminal.
        claim: What is decided.
        n: How many inputs there are at most; None where that is not known.
    """

    def __init__(self, stream: TextIO | None, claim: str, n: int | None) -> None:
        self._stream, self._claim, self._n = stream, claim, n
        self._start = time.perf_counter()
        self._bar: tqdm | None = None

    def reach(self, done: int) -> None:
        """Say that so many inputs are measured."""
        took = time.perf_counter() - self._start
        left = took if self._n is None else took * (self._n - done) / max(1, done)
        if self._bar is None and left > _WORTH_SHOWING:
            self._bar = tqdm(
                desc=self._claim, total=self._n, unit="input", file=self._stream, disable=None, leave=False
            )
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
