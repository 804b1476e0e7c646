"""Jobs: here or in other processes, done again where a worker dies, refused where they cannot be."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import pytest
from joblib.parallel import LokyBackend
from jobs_done import dies, dies_once, squared, told

from pytest_xaisanity import XaiError, XaiWarning
from pytest_xaisanity.common import jobs as module
from pytest_xaisanity.common.jobs import Jobs, shipped, unshipped


def test_jobs_are_done_here_by_default():
    assert list(Jobs().run(squared, 2, [1, 2])) == [(0, 4), (1, 16)]
    assert not Jobs().spread
    assert not Jobs(1).spread
    assert Jobs(2).spread
    assert Jobs(-1).spread


def test_joblib_is_imported_only_where_jobs_are_spread(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "joblib"]:
        monkeypatch.delitem(sys.modules, name)
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_again", module.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert list(again.Jobs().run(squared, 2, [5])) == [(0, 100)]
    assert "joblib" not in sys.modules


@pytest.mark.parametrize("count", [0, -2, 1.5, True, "2"])
def test_numbers_of_processes_that_cannot_be_are_refused(count):
    with pytest.raises(XaiError, match="jobs"):
        Jobs(count)


def test_a_backend_that_joblib_is_configured_for_is_used():
    assert not Jobs().spread
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        assert Jobs().spread
        assert not Jobs(1).spread
    with joblib.parallel_config(n_jobs=2):
        assert Jobs().spread
    assert not Jobs().spread


@pytest.mark.parametrize(
    ("backend", "found"), [("threading", "of threads"), ("multiprocessing", "of forked processes")]
)
def test_threads_and_forks_are_refused(backend, found):
    with joblib.parallel_config(backend=backend, n_jobs=2), pytest.raises(XaiError, match=f"backend {found}"):
        list(Jobs().run(squared, 2, [1, 2]))


def test_without_joblib_jobs_cannot_be_spread(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(XaiError, match=r"no package joblib.*pytest-xaisanity\[scale\]"):
        list(Jobs(2).run(squared, 2, [1, 2]))


@pytest.mark.long
def test_processes_do_all_jobs_once():
    assert sorted(Jobs(2).run(squared, 3, range(7))) == [(place, (3 * place) ** 2) for place in range(7)]


class _Rounds(LokyBackend):
    """A backend that returns nothing before all calls have ended, as Ray's."""

    supports_return_generator = False


@pytest.mark.slow
def test_a_backend_without_generators_works_in_rounds():
    with joblib.parallel_config(backend=_Rounds(), n_jobs=2):
        assert sorted(Jobs().run(squared, 1, range(5))) == [(place, place**2) for place in range(5)]


@pytest.mark.slow
def test_the_jobs_of_a_worker_that_dies_are_done_again(tmp_path):
    with pytest.warns(XaiWarning, match="workers were lost"):
        assert sorted(Jobs(2).run(dies_once, str(tmp_path), range(5))) == [(place, place) for place in range(5)]


@pytest.mark.slow
def test_workers_that_die_in_a_row_are_an_error():
    with pytest.warns(XaiWarning), pytest.raises(XaiError, match="lost 3 times in a row, with 2 of 2 jobs left"):
        list(Jobs(2).run(dies, None, range(2)))


ORPHANING = """
import sys
sys.path.insert(0, {tests!r})
from jobs_done import sleeps
from pytest_xaisanity.common.jobs import Jobs
list(Jobs(2).run(sleeps, {folder!r}, range(2)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell that a parent has ended")
def test_workers_end_soon_after_the_process_that_started_them_is_killed(tmp_path):
    code = ORPHANING.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(list(tmp_path.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.communicate(timeout=30)  # returns once all have ended that hold the other ends of the pipes, as workers do


def test_an_old_joblib_is_refused(monkeypatch):
    monkeypatch.setattr(joblib, "__version__", "1.4.2")
    with pytest.raises(XaiError, match=r"joblib 1\.4\.2"):
        list(Jobs(2).run(squared, 2, [1, 2]))


def test_what_is_no_result_is_not_taken_for_one():
    """A client whose scheduler is gone may hand out anything."""
    with pytest.raises(RuntimeError, match="no result, but"):
        module._checked(None)


@pytest.mark.slow
def test_a_function_of_a_module_that_workers_cannot_import_travels_whole(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(
        "FACTOR = 3\ndef helper():\n    return FACTOR\ndef work():\n    return helper() + 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import elsewhere

    sent = shipped(elsewhere.work)
    monkeypatch.delitem(sys.modules, "elsewhere")
    monkeypatch.undo()
    results = [result for _, result in Jobs(2).run(told, None, [sent, sent])]
    assert [value for value, _ in results] == [4, 4]


def test_what_cannot_travel_is_said():
    import pickle

    lock = threading.Lock()
    with pytest.raises(pickle.PicklingError, match="lock"):
        shipped(lambda: lock)


def test_a_module_of_which_something_cannot_travel_is_left_where_it_is(tmp_path, monkeypatch):
    (tmp_path / "locked.py").write_text(
        "import threading\nLOCK = threading.Lock()\ndef work():\n    return LOCK is not None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import locked

    assert unshipped(shipped(locked.work))()
    monkeypatch.delitem(sys.modules, "locked")


class _Properties:
    def __init__(self, uuid):
        self.uuid = uuid


def test_each_worker_takes_a_device_of_its_own(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(module.torch.cuda, "get_device_properties", lambda device: _Properties(f"id{device}"))
    monkeypatch.setattr(module.torch.cuda, "set_device", taken.append)
    locks = []
    for _ in range(3):
        monkeypatch.setattr(module, "_devices", [])
        module._take_device()
        module._take_device()  # a worker keeps its own
        locks += module._devices
    assert taken == [0, 1]  # a third worker keeps the default
    for lock in locks:
        lock.release()
