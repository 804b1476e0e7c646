"""What an interrupt leaves: a SIGTERM, as a CI sends it, ends a session as Ctrl-C does; workers leave what they know.

A process that pytest-xdist has started can tell the controller nothing more once that has been interrupted. So it
leaves what it decided in files, in a folder that the controller names, makes and takes away.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

__all__ = ["Leftovers", "Terminated", "end_on_sigterm", "leave"]

_FOLDER = "xai_leftovers"  # in a worker's input


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


class Leftovers:
    """What workers left that were interrupted."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def tell(self, workerinput: dict[str, Any]) -> None:
        """Tell a worker where to leave something."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="xaisanity-"))
        workerinput[_FOLDER] = str(self._folder)

    def take(self) -> Iterator[Mapping[str, Any]]:
        """Yield all of it, once; what a second interrupt has cut off is left out."""
        folder, self._folder = self._folder, None
        if folder is None:
            return
        try:
            for file in sorted(folder.glob("*.json")):
                try:
                    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    continue
                yield found
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def leave(config: pytest.Config, found: Mapping[str, object]) -> None:
    """Leave plain values for the controller, from a worker; one that shares no disk with it cannot."""
    folder = getattr(config, "workerinput", {}).get(_FOLDER)
    if folder is None:
        return
    from ..report.file import write_whole

    try:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".json", delete=False) as file:
            write_whole(Path(file.name), json.dumps(found))
    except OSError:
        return
