"""Undoing what was done, whatever is raised meanwhile, at whichever line, and however often.

The end of a ``with`` block and the first line of a ``finally`` are places like any other for an interrupt to arrive
at, and one that arrives just there skips the clean-up. So the work runs inside a ``with`` of the standard library,
which is asked to clean up several times: where one attempt is cut off, another one follows. A Ctrl-C that arrives when
the work is over waits until the clean-up is, and is raised then.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import Protocol, TypeVar

__all__ = ["Context", "undoing", "undone", "until_done"]

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")
_ATTEMPTS = 8


class Context(Protocol):
    """A context for a ``with`` statement, and a decorator."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    def __call__(self, work: F, /) -> F:
        """Return a function that does ``work`` within the context."""


def undoing(undo: Callable[[], object], work: Callable[[], T]) -> T:
    """Return ``work()``, after which ``undo`` has been done to its end, also where either was cut off at any line.

    Args:
        undo: May be called any number of times, also after it was cut off.
        work: What is done in between. All that needs to be undone begins in it.

    Raises:
        KeyboardInterrupt: One arrived in ``work`` or later; none is lost, whatever else was raised.
    """
    signals = _Signals()
    stack = _Undoing()
    stack.attempt(_Until(signals.let_through))
    stack.attempt(_Until(undo))
    return stack(lambda: signals.wait_unless(work))()


@contextmanager
def undone(undo: Callable[[], object], begin: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Begin something, and let ``undo`` be done to its end when the block ends.

    Where a ``with`` statement is ended by an interrupt at that very place, no context can help; used as a decorator,
    ``undone(undo, begin)(work)()``, this one is safe there too.

    Args:
        undo: May be called any number of times, also after it was cut off.
        begin: What needs to be undone.
    """
    until = _Until(undo)
    # Where the end of the inner context is cut off, the outer one takes over.
    with _Undoing() as outer, _Undoing() as inner:
        outer.attempt(until)
        inner.attempt(until)
        begin()
        yield


class _Undoing(ExitStack, ContextDecorator):
    """A context of the standard library's own, in a ``with`` or around a call, that attempts something at its end."""

    def attempt(self, until: _Until) -> None:
        for _ in range(_ATTEMPTS):
            self.push(until)


def until_done(action: Callable[[], object]) -> None:
    """Do ``action``, which may be repeated, until it ends; then raise the interrupt that came, if one did."""
    _Until(action).__exit__(None, None, None)


class _Until:
    """Does something until it ends; an interrupt meanwhile is raised afterwards."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.done = False
        self.interrupt: KeyboardInterrupt | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.interrupt = _interrupt_in(error) or self.interrupt
        while not self.done:
            try:
                self.action()
                self.done = True
            except KeyboardInterrupt as interrupt:
                self.interrupt = interrupt
        if self.interrupt is not None and not isinstance(error, KeyboardInterrupt):
            raise self.interrupt


def _interrupt_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt that ``error`` is, or in whose stead it was raised by a clean-up that was cut off."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


class _Signals:
    """Lets Ctrl-C through while the work runs, and lets it wait before and after."""

    def __init__(self) -> None:
        self._before: Callable[[int, FrameType | None], object] | None = None
        self._waiting = False

    def wait_unless(self, work: Callable[[], T]) -> T:
        """Return ``work()``; from now on Ctrl-C waits unless it runs."""
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._arrived)
        return _in_the_open(self.raise_waiting, work)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code not in (_in_the_open.__code__, undoing.__code__):
            frame = frame.f_back
        if frame is not None and frame.f_code is undoing.__code__:
            self._waiting = True
        elif self._before is not None:
            self._before(number, frame)

    def raise_waiting(self) -> None:
        """Hand on the Ctrl-C that has waited, if one has."""
        if self._waiting and self._before is not None:
            self._waiting = False
            self._before(signal.SIGINT, None)

    def let_through(self) -> None:
        """Let Ctrl-C through from now on, and raise what has waited."""
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._arrived:
            signal.signal(signal.SIGINT, self._before)
        self.raise_waiting()


def _in_the_open(check: Callable[[], object], work: Callable[[], T]) -> T:
    check()
    return work()
