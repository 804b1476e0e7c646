"""Work that is done once: kept as it ends, left to whichever process has begun it, and never waited for in a circle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from jobs_done import fails, squared

from pytest_xaisanity import XaiError
from pytest_xaisanity.common.jobs import Jobs
from pytest_xaisanity.common.kept import Kept
from pytest_xaisanity.common.once import Once

PIECES = {"one": 1, "two": 2, "three": 3}


class Results:
    """What was found, in this process, and kept in a folder."""

    def __init__(self, folder, work=squared):
        self.kept, self.found, self.made = Kept(folder, "numbers"), {}, []
        self.once = Once(Jobs(1), self.kept, work, 2, self.known, self.keep)

    def known(self, key):
        if (arrays := self.kept.read(key)) is not None:
            self.found[key] = int(arrays["number"])
        return key in self.found

    def keep(self, key, number):
        self.made.append(key)
        self.found[key] = number
        self.kept.write(key, {"number": np.array(number)})


def test_each_piece_is_done_once_and_found_by_the_next(tmp_path):
    first, second = Results(tmp_path), Results(tmp_path)
    assert list(first.once.done(PIECES)) == first.made == list(PIECES)
    assert list(second.once.done(PIECES)) == list(PIECES)
    assert second.made == []
    assert second.found == first.found == {"one": 4, "two": 16, "three": 36}
    assert not list(tmp_path.glob("*.lock"))


def test_without_a_folder_pieces_are_done(tmp_path):
    results = Results(None)
    assert list(results.once.done(PIECES)) == list(PIECES)


def test_what_another_process_is_at_is_left_to_it(tmp_path):
    """The others are done first; then it is waited for."""
    results, other = Results(tmp_path), Kept(tmp_path, "numbers")
    assert other.reserve("one")
    assert not results.kept.reserve("one")

    def made_meanwhile():
        while results.made != ["two", "three"]:
            time.sleep(0.01)
        other.write("one", {"number": np.array(7)})
        other.release("one")

    thread = threading.Thread(target=made_meanwhile)
    thread.start()
    assert list(results.once.done(PIECES)) == ["two", "three", "one"]
    thread.join()
    assert results.found["one"] == 7
    assert results.made == ["two", "three"]


def test_what_another_process_has_given_up_is_done_here(tmp_path):
    results, other = Results(tmp_path), Kept(tmp_path, "numbers")
    other.reserve("one")
    threading.Timer(0.3, other.release).start()
    assert list(results.once.done({"one": 1})) == ["one"]
    assert results.made == ["one"]


def test_a_lock_that_a_dead_process_has_left_is_none(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pytest_xaisanity.common.kept import Kept\n"
        "kept = Kept(Path(sys.argv[1]), ''); kept.reserve('one'); print(flush=True); sys.stdin.read()"
    )
    held = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    held.stdout.readline()
    results = Results(tmp_path)
    assert not results.kept.reserve("one")
    os.kill(held.pid, signal.SIGKILL)
    held.communicate()
    assert (tmp_path / "one.lock").exists()
    assert list(results.once.done({"one": 1})) == ["one"]


def test_two_who_need_the_same_in_other_orders_do_not_wait_for_each_other(tmp_path):
    results = [Results(tmp_path) for _ in range(2)]
    orders = [dict(list(PIECES.items())[::step]) for step in (1, -1)]
    threads = [
        threading.Thread(target=lambda one=one, order=order: list(one.once.done(order)), daemon=True)
        for one, order in zip(results, orders, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert results[0].found == results[1].found
    assert sorted(results[0].made + results[1].made) == sorted(PIECES)


def test_what_fails_is_raised_and_given_up(tmp_path):
    results = Results(tmp_path, fails)
    with pytest.raises(XaiError, match="nothing") as raised:
        list(results.once.done(PIECES))
    assert str(raised.value.__cause__) == "as told"
    assert Kept(tmp_path, "numbers").reserve("one")


def test_a_file_system_without_locks_lets_all_do_it(tmp_path, monkeypatch):
    def refuse(self, **_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert list(Results(tmp_path).once.done(PIECES)) == list(PIECES)


def test_a_folder_that_is_a_file_is_worked_without(tmp_path):
    (file := Path(tmp_path / "file")).touch()
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert list(Results(file).once.done(PIECES)) == list(PIECES)
