"""Undoing: what was done is undone to its end, wherever an interrupt arrives, and no interrupt is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from planting import PACKAGE, planted

from pytest_xaisanity.common.undoing import undoing, undone, until_done


class Room:
    """Something that is opened, and must be closed."""

    def __init__(self):
        self.open = False

    def work(self):
        self.open = True
        return "done"

    def close(self):
        time.sleep(0)
        self.open = False
        time.sleep(0)


def traced(room, places, error):
    """Count the lines of the package, and of what is done and undone here."""
    return planted(lambda: undoing(room.close, room.work), places, error, files=(PACKAGE, __file__))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_is_raised_at_any_line_all_is_undone_and_the_error_comes_out(error):
    room, before = Room(), signal.getsignal(signal.SIGINT)
    lines, _, result = traced(room, (), error)
    assert result == "done"
    assert lines > 50
    for place in range(1, lines + 1):
        *_, result = traced(room, (place,), error)
        assert isinstance(result, error), place
        assert not room.open, place
        assert signal.getsignal(signal.SIGINT) is before, place


@pytest.mark.parametrize("times", [2, 3])
def test_interrupts_that_follow_one_another_during_the_clean_up_are_survived(times):
    room = Room()
    lines, *_ = traced(room, (), KeyboardInterrupt)
    for place in range(1, lines + 1):
        for step in (1, 2, 3, 7):
            places = range(place, place + times * step, step)
            *_, result = traced(room, places, KeyboardInterrupt)
            assert isinstance(result, KeyboardInterrupt), places
            assert not room.open, places


def test_a_clean_up_that_fails_once_is_tried_again_and_its_error_comes_out():
    attempts = []

    def close():
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("not yet")

    with pytest.raises(OSError, match="not yet"):
        undoing(close, lambda: None)
    assert len(attempts) == 2


def test_a_clean_up_that_always_fails_ends():
    def close():
        raise OSError("never")

    with pytest.raises(OSError, match="never"):
        undoing(close, lambda: None)


def test_the_clean_up_is_done_once_where_nothing_is_raised():
    calls = []
    assert undoing(lambda: calls.append(1), lambda: 3) == 3
    with undone(lambda: calls.append(2)):
        pass
    assert calls == [1, 2]


def test_a_block_is_undone_when_it_raises():
    room = Room()

    def use():
        with undone(room.close, room.work):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        use()
    assert not room.open


def test_an_action_is_repeated_until_it_ends_and_the_interrupt_is_raised_then():
    calls = []

    def action():
        calls.append(1)
        if len(calls) < 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        until_done(action)
    assert len(calls) == 4


@contextmanager
def printing():
    """Gather what Python would print because it cannot be raised."""
    printed = []
    before, sys.unraisablehook = sys.unraisablehook, printed.append
    try:
        yield printed
    finally:
        sys.unraisablehook = before


class TestSignals:
    @pytest.fixture(autouse=True)
    def handled(self):
        """Handle the signal as Python does by default; a shell starts what runs in its background to ignore it."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def press(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.001)

    def test_that_arrive_in_the_work_are_raised_there(self):
        seen, room = [], Room()

        def work():
            room.work()
            self.press()
            seen.append("after")

        with pytest.raises(KeyboardInterrupt):
            undoing(room.close, work)
        assert not seen
        assert not room.open

    def test_that_arrive_in_the_clean_up_wait_for_its_end(self):
        room, before = Room(), signal.getsignal(signal.SIGINT)

        def close():
            self.press()
            self.press()
            room.close()

        with pytest.raises(KeyboardInterrupt):
            undoing(close, room.work)
        assert not room.open
        assert signal.getsignal(signal.SIGINT) is before

    def test_that_arrive_in_the_clean_up_are_raised_even_where_the_work_has_failed(self):
        def work():
            raise ValueError("first")

        with pytest.raises(KeyboardInterrupt) as caught:
            undoing(self.press, work)
        assert isinstance(caught.value.__context__, ValueError)

    def test_are_raised_where_the_clean_up_of_the_work_itself_failed_for_them(self):
        def work():
            try:
                self.press()
            finally:
                raise RuntimeError("pop from empty mode stack")

        with pytest.raises(KeyboardInterrupt):
            undoing(lambda: None, work)

    def test_go_to_the_handler_that_was_there(self, monkeypatch):
        seen = []
        before = signal.signal(signal.SIGINT, lambda *_: seen.append("own"))
        try:
            assert undoing(self.press, lambda: self.press() or 3) == 3
        finally:
            signal.signal(signal.SIGINT, before)
        assert seen == ["own", "own"]

    def test_go_through_clean_ups_within_clean_ups(self):
        rooms = [Room(), Room()]

        def inner():
            return undoing(lambda: (self.press(), rooms[0].close()), rooms[0].work)

        with pytest.raises(KeyboardInterrupt):
            undoing(rooms[1].close, lambda: (rooms[1].work(), inner()))
        assert not any(room.open for room in rooms)

    def test_that_arrive_where_python_only_prints_what_is_raised_are_raised_after_all(self):
        class Dying:
            pass

        def work():
            dying = Dying()
            reference = weakref.ref(dying, lambda _: self.press())
            del dying
            return reference

        with pytest.raises(KeyboardInterrupt), printing():
            undoing(lambda: None, work)

    def test_that_arrive_while_an_object_is_deleted_are_raised_when_it_is(self):
        after = []

        class Dying:
            def __del__(_):  # noqa: N805 - self is the test
                self.press()

        def work():
            dying = Dying()
            del dying
            for _ in range(1000):
                time.sleep(0.001)
            after.append("the end")

        with pytest.raises(KeyboardInterrupt), printing() as printed:
            undoing(lambda: None, work)
        assert "the end" not in after
        assert not printed

    def test_are_left_alone_in_other_threads(self):
        before, results = signal.getsignal(signal.SIGINT), []
        thread = threading.Thread(target=lambda: results.append(undoing(lambda: None, lambda: 3)))
        thread.start()
        thread.join()
        assert results == [3]
        assert signal.getsignal(signal.SIGINT) is before
