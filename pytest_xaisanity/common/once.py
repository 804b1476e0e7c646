"""Work that is done once: spread over jobs, kept on disk as it ends, and left to whichever process has begun it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pickle import PicklingError
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import XaiError, XaiWarning
from .jobs import Jobs, shipped, unshipped
from .kept import Kept
from .threads import threads

__all__ = ["Failed", "Once", "arrived", "one_thread", "travelling"]

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
_RESERVED = 256  # at a time: each is an open file
_WAIT = 0.1  # seconds until it is seen again whether another process has made something


class Failed(NamedTuple):
    """Why a piece of work has no result: an error that travels between processes, and where it came from."""

    error: XaiError
    trace: str = ""


@dataclass(frozen=True)
class Once(Generic[S, T, R]):
    """Pieces of work, each known by a key of all that its result depends on.

    Several processes may need the same pieces, as the workers of pytest-xdist do. Whatever one of them is at, the
    others leave to it; they do what is left, and then wait. Nobody waits who has reserved anything.

    Attributes:
        jobs: What the work is spread over.
        kept: Where results are kept, whose locks tell what is being made.
        work: A function of an importable module, of what is shared and a piece; it returns a result or :class:`Failed`.
        shared: What it is called with each time.
        known: Whether the result of a key is there by now; it takes note of it.
        keep: Takes note of a result, and keeps it.
    """

    jobs: Jobs
    kept: Kept
    work: Callable[[S, T], R | Failed]
    shared: S
    known: Callable[[str], bool]
    keep: Callable[[str, R], None]

    def done(self, pieces: Mapping[str, T]) -> Generator[str]:
        """Do what is not known yet, and yield each key when its result is there.

        Raises:
            XaiError: A piece failed; workers died in a row.
        """
        left = dict(pieces)
        try:
            while left:
                waiting = True
                for key in self._done_here(left):
                    waiting = False
                    del left[key]
                    yield key
                if waiting:
                    time.sleep(_WAIT)
        finally:
            self.kept.release()

    def _done_here(self, left: Mapping[str, T]) -> Iterator[str]:
        """Do what no other process is at, and yield each key; where calls are not spread it is the first of these."""
        mine: dict[str, T] = {}
        for key, piece in list(left.items()):
            if len(mine) == (_RESERVED if self.jobs.spread else 1):
                break
            if self.known(key):
                yield key
            elif self.kept.reserve(key):
                if self.known(key):  # it was made just before
                    self.kept.release(key)
                    yield key
                else:
                    mine[key] = piece
        keys = list(mine)
        for place, result in self.jobs.run(self.work, self.shared, list(mine.values())):
            if isinstance(result, Failed):
                raise result.error from RuntimeError(result.trace) if result.trace else result.error.__cause__
            self.keep(keys[place], result)
            self.kept.release(keys[place])
            yield keys[place]


def travelling(jobs: Jobs, value: T, what: str) -> tuple[Jobs, T | bytes]:
    """Return what calls are spread over, and a value as they are given it: as bytes where they are spread.

    Where it cannot be sent, that is a warning, and the calls are done in this process.

    Args:
        jobs: What calls are to be spread over.
        value: What they share.
        what: What then happens, and what the value is, for the warning.
    """
    if not jobs.spread:
        return jobs, value
    try:
        return jobs, shipped(value)
    except PicklingError as error:
        text = (
            f"{what} refers to what cannot be sent to another one ({error}): open files, locks, generators and the "
            "like are better made inside the function"
        )
        warnings.warn(text, XaiWarning, stacklevel=2)
        return Jobs(1), value


@lru_cache(maxsize=1)
def _unshipped(sent: bytes) -> Any:
    return unshipped(sent)


def arrived(value: object) -> Any:
    """Return a value that :func:`travelling` may have made bytes of; of equal bytes in a row the same one."""
    return _unshipped(value) if isinstance(value, bytes) else value


def one_thread() -> AbstractContextManager[None]:
    """Let torch use one thread, so that results are the same wherever they are computed."""
    return threads(1)
