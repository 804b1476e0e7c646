"""What jobs do in tests, in a module that workers can import."""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path

import cloudpickle

from pytest_xaisanity import XaiError
from pytest_xaisanity.common.jobs import Jobs
from pytest_xaisanity.common.once import Failed


def squared(shared, number):
    """Return a number times another, squared."""
    return (shared * number) ** 2


def dies_once(folder, number):
    """Return a number, but for a worker that is killed over one of them, the first time."""
    mark = Path(folder) / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(shared, number):
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def told(shared, sent):
    """Return what a function that was sent returns, and the process."""
    from pytest_xaisanity.common.jobs import unshipped

    return unshipped(sent)(), os.getpid()


def fails(shared, number):
    """Return why there is no result."""
    return Failed(XaiError("work", found="nothing", expected="a number", fix="count"), "as told")


class Elsewhere(Jobs):
    """Jobs that travel as they would to another process, and end in another order."""

    spread = True

    def run(self, work, shared, calls):
        for place in reversed(range(len(calls))):
            work_there, shared_there, call = pickle.loads(cloudpickle.dumps((work, shared, calls[place])))
            yield place, pickle.loads(pickle.dumps(work_there(shared_there, call)))


def sleeps(folder, number):
    """Leave a mark that names the process, and be busy for longer than a test waits."""
    (Path(folder) / f"{os.getpid()}").touch()
    time.sleep(120)
