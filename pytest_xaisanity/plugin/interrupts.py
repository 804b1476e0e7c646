"""A SIGTERM, as a CI sends it, ends a session as Ctrl-C does: what was decided is told and reported."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

__all__ = ["Terminated", "end_on_sigterm"]


class Terminated(KeyboardInterrupt):
    """A SIGTERM arrived."""


def end_on_sigterm(config: pytest.Config) -> None:
    """Let a SIGTERM interrupt the session, until it ends; not where somebody else listens to it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    signal.signal(signal.SIGTERM, _interrupt)
    config.add_cleanup(_as_before)


def _as_before() -> None:
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Do what a Ctrl-C does, which clean-ups can make wait; where that is turned off, interrupt here."""
    listens = signal.getsignal(signal.SIGINT)
    if not callable(listens):
        raise Terminated("SIGTERM")
    listens(signal.SIGINT, frame)
