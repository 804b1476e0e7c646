"""Undoing what was done, whatever is raised meanwhile, at whichever line, and however often.

The end of a ``with`` block and the first line of a ``finally`` are places like any other for an interrupt to arrive
at, and one that arrives just there skips the clean-up. So the work runs inside a ``with`` of the standard library,
which is asked to clean up several times: where one attempt is cut off, another one follows. A Ctrl-C that arrives when
the work is over waits until the clean-up is, and is raised then.
"""

from __future__ import annotations

import _thread
import _weakrefset
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import Protocol, TypeVar

__all__ = ["Context", "undoing", "undone", "until_done"]

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")
_ATTEMPTS = 8
_WEAK = (weakref.__file__, _weakrefset.__file__)


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
        self._raised = False

    def wait_unless(self, work: Callable[[], T]) -> T:
        """Return ``work()``; from now on Ctrl-C waits unless it runs.

        Raises:
            KeyboardInterrupt: One was raised where Python only prints it, such as in the callback of a weak reference.
        """
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._arrived)
        result = _in_the_open(self.raise_waiting, work)
        if self._raised:
            raise KeyboardInterrupt
        return result

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        lost = False
        while frame is not None and frame.f_code not in (_in_the_open.__code__, undoing.__code__):
            lost = lost or _would_be_lost(frame)
            frame = frame.f_back
        if frame is not None and frame.f_code is undoing.__code__:
            self._waiting = True
        elif lost:
            _thread.start_new_thread(_press_again, ())  # as threading would, but without its locks
        elif self._before is not None:
            try:
                self._before(number, frame)
            except KeyboardInterrupt:
                self._raised = True
                raise

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


def _would_be_lost(frame: FrameType) -> bool:
    """Whether it is known of a frame that what is raised in it is only printed."""
    code = frame.f_code
    return code.co_name == "__del__" or (code.co_name in ("_remove", "remove") and code.co_filename in _WEAK)


def _press_again() -> None:
    time.sleep(0.002)
    _thread.interrupt_main()


def _in_the_open(check: Callable[[], object], work: Callable[[], T]) -> T:
    check()
    return work()
