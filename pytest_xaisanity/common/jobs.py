"""Independent calls, one after the other here or spread over the cores or a cluster through joblib.

joblib is imported only where calls are spread. A Dask or a Ray cluster is a configuration of joblib's:
``joblib.parallel_config(backend="dask")`` before the session's first claim.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import torch
from packaging.version import Version  # comes with pytest

from .checks import check_whole
from .digest import is_installed
from .errors import XaiError, XaiWarning, said

__all__ = ["Jobs", "shipped", "unshipped"]

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
_ATTEMPTS = 3  # in a row in which no call ends
_MOST = 4096
_PATIENCE = 60.0  # seconds without a result, after which a cluster without workers counts as gone
_LOOK = 1.0  # seconds between two looks of a worker whether the process that started it still runs
_OLDEST = "1.5"
_DASK = "DaskDistributedBackend"


class Jobs:
    """Does independent calls, and yields what they return as they end.

    Those that a worker takes with it when it dies are done again, by others; where
    workers die in a row without one call done, there is an error, and what was yielded before is whoever keeps it.

    Args:
        count: How many processes: 1, which is this one, or more, or -1 for one a core; None for all that a backend
            has for which joblib is configured, or this one.

    Raises:
        XaiError: The number is none of these.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count != -1:
            count = check_whole("Bench", "jobs", count, most=_MOST, also="-1 for one a core")
        self.count = count

    @property
    def spread(self) -> bool:
        """Whether calls are done in other processes."""
        return _configured() if self.count is None else self.count != 1

    @property
    def over(self) -> str:
        """What calls are spread over, in words; nothing where that is this process alone."""
        if not self.spread:
            return ""
        counted = {None: "the processes that joblib is configured for", -1: "a process for each core"}
        return counted.get(self.count, f"{self.count} processes")

    def run(self, work: Callable[[S, T], R], shared: S, calls: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Yield the place of each call and what ``work`` returns for it, in the order in which they end.

        Args:
            work: A function of an importable module. What it raises counts as a worker that died.
            shared: What it is called with each time.
            calls: What else it is called with. All can be pickled where calls are spread (see :func:`shipped`).

        Raises:
            XaiError: joblib is missing; or workers died in a row.
        """
        if not self.spread:
            for place, call in enumerate(calls):
                yield place, work(shared, call)
            return
        todo, attempts = dict(enumerate(calls)), 0
        while todo:
            before = len(todo)
            try:
                with closing(self._spread(work, shared, todo)) as done:
                    for place, result in done:
                        del todo[place]
                        yield place, result
                if todo:
                    raise RuntimeError("no more results")
            except XaiError:
                raise
            except Exception as error:
                attempts = 1 if len(todo) < before else attempts + 1
                if attempts >= _ATTEMPTS:
                    raise _gone(error, len(todo), len(calls)) from error
                _warn_again(error, len(todo))

    def _spread(self, work: Callable[[S, T], R], shared: S, todo: dict[int, T]) -> Generator[tuple[int, R]]:
        """Yield what the workers return; raise what befalls them."""
        joblib = _joblib()
        backend, configured = joblib.parallel.get_active_backend()
        _check_processes(backend, joblib.parallel.BACKENDS)
        if type(backend).__name__ == _DASK:
            yield from _on_dask(backend.client, work, shared, todo)
            return
        count = self.count or configured or -1  # a backend's own default may be a single process: this one
        calls = [joblib.delayed(_numbered)(work, shared, place, call) for place, call in todo.items()]
        settings = {"n_jobs": count, "batch_size": 1, **_mortal(backend, joblib.parallel.BACKENDS["loky"])}
        if backend.supports_return_generator:
            done = joblib.Parallel(**settings, return_as="generator_unordered")(calls)
            try:
                yield from map(_checked, done)
            finally:
                with warnings.catch_warnings():  # of calls that are given up, where one has failed
                    warnings.filterwarnings("ignore", r".*\btasks\b", UserWarning)
                    done.close()
            return
        parallel = joblib.Parallel(**settings)
        with parallel:
            at_once = max(1, parallel.n_jobs if parallel.n_jobs > 0 else backend.effective_n_jobs(count))
            for start in range(0, len(calls), at_once):  # in rounds, each of which ends before it says anything
                yield from map(_checked, parallel(calls[start : start + at_once]))


def _on_dask(client: Any, work: Callable[[S, T], R], shared: S, todo: dict[int, T]) -> Generator[tuple[int, R]]:
    """Yield what the workers of Dask return, of calls that are given to joblib's own client.

    Dask does the calls of a worker that dies again; joblib's backend would wait for one of them for ever. What is
    shared is a task too, so that it is there again where all workers have died.
    """
    distributed = _library("distributed")
    held = client.submit(_same, shared, pure=False)
    left = [client.submit(_numbered, work, held, place, call, pure=False) for place, call in todo.items()]
    try:
        while left:
            with suppress(TimeoutError):
                done, left = distributed.wait(left, timeout=_PATIENCE, return_when="FIRST_COMPLETED")
                for future in done:
                    yield _checked(future.result())
                continue
            if not client.ncores():
                raise RuntimeError("the cluster has no workers any more")
    finally:
        with suppress(Exception):  # of a cluster that is gone
            client.cancel(left)


def _same(shared: S) -> S:
    return shared


class _Numbered(NamedTuple):
    """What a call returned, with its place."""

    place: int
    result: Any


def _checked(done: object) -> tuple[int, Any]:
    """Return what a worker returned; a backend whose cluster has gone may hand out something else."""
    if not isinstance(done, _Numbered):
        raise RuntimeError(f"no result, but {done!r}")
    return done.place, done.result


_ALONE = threading.Lock()  # workers with several threads, as those of Dask may be, share their global generators


def _numbered(work: Callable[[S, T], R], shared: S, place: int, call: T) -> _Numbered:
    with _ALONE:
        _take_device()
        return _Numbered(place, work(shared, call))


# ------------------------------------------------------------------------------------------------------------- orphans


def _mortal(backend: Any, loky: Any) -> dict[str, object]:
    """Return the settings with which processes of loky end soon after this one, even if it is killed.

    Else they wait five minutes for more to do, or for ever for the rest of what was being sent to them, and keep their
    memory, their devices, and whoever reads what this process writes.
    """
    if not isinstance(backend, loky) or "initializer" in backend.backend_kwargs:
        return {}
    return {"initializer": _end_with, "initargs": (os.getpid(),)}


def _end_with(parent: int) -> None:
    """End this process once its parent has ended; Windows does not tell, and there loky's five minutes hold."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)  # whatever it is at: nobody is left to take the result

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


# ------------------------------------------------------------------------------------------------------------- devices

_devices: list[Any] = []  # the lock on the device that this process has taken, held until it ends


def _take_device() -> None:
    """Make an accelerator that no other worker on this machine uses the current one, where there are several."""
    if _devices or not torch.cuda.is_available() or torch.cuda.device_count() < 2:
        return
    from filelock import FileLock, Timeout  # comes with torch; the system releases it when its holder dies

    for device in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_properties(device).uuid
        lock = FileLock(Path(tempfile.gettempdir()) / f"pytest_xaisanity-{name}.lock")
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):
            continue
        _devices.append(lock)
        torch.cuda.set_device(device)
        return


# -------------------------------------------------------------------------------------------------------- what travels


def shipped(value: object) -> bytes:
    """Return a function of the user's, with all it refers to in modules of the user's own, as bytes.

    Modules that are not installed, such as a ``conftest.py``, are not asked for where the bytes are read: what is used
    of them travels along.

    Raises:
        pickle.PicklingError: It refers to what cannot be pickled.
        XaiError: joblib is missing, or cloudpickle, which it needs.
    """
    cloudpickle = _library("cloudpickle")
    own = [module for module in list(sys.modules.values()) if _is_own(module)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception:  # of something else in these modules: they may be there where the bytes are read
        pass
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise pickle.PicklingError(f"{type(error).__name__}{said(error)}") from error


def unshipped(sent: bytes) -> Any:
    """Return what :func:`shipped` made bytes of."""
    return pickle.loads(sent)


def _is_own(module: object) -> bool:
    """Whether a module is the user's own, neither installed nor of this package."""
    if not isinstance(module, ModuleType) or module.__name__ in ("__main__", "__mp_main__"):
        return False
    package = module.__name__.partition(".")[0]
    return (
        package != __name__.partition(".")[0]
        and bool(getattr(module, "__file__", None))
        and not is_installed(module.__name__)
    )


# -------------------------------------------------------------------------------------------------------------- joblib


def _configured() -> bool:
    """Whether joblib is configured to spread calls; it is where it has been imported alone."""
    if "joblib" not in sys.modules:
        return False
    from joblib.parallel import default_parallel_config, get_active_backend

    backend, count = get_active_backend()
    chosen = type(backend).__name__ not in ("LokyBackend", "SequentialBackend", "ThreadingBackend")
    return chosen or (count is not None and count not in (1, default_parallel_config["n_jobs"]))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise XaiError(
            "--xai-jobs",
            found=f"no package {name}, through which jobs are spread",
            expected="joblib, and cloudpickle, which it needs",
            fix='pip install "pytest-xaisanity[scale]", or leave --xai-jobs (Bench(jobs=)) out',
        ) from error


def _joblib() -> Any:
    joblib = _library("joblib")
    if Version(joblib.__version__) < Version(_OLDEST):
        raise XaiError(
            "--xai-jobs",
            found=f"joblib {joblib.__version__}",
            expected=f"joblib {_OLDEST} or newer, which can tell its processes to end with this one",
            fix='pip install "pytest-xaisanity[scale]"',
        )
    return joblib


def _check_processes(backend: object, known: dict[str, type]) -> None:
    """Refuse threads, and processes forked from one that has threads, as any that has used torch: they may hang."""
    if isinstance(backend, known["threading"]):
        found = "a backend of threads, which share the random numbers and the devices of one process"
    elif type(backend) is known["multiprocessing"]:  # Ray's is derived from it, and forks nothing
        found = "a backend of forked processes, which hang where torch's threads held a lock as they were forked"
    else:
        return
    raise XaiError(
        "joblib.parallel_config",
        found=found,
        expected="one of processes of their own: loky, dask or ray",
        fix='call joblib.parallel_config(backend="loky"), or name no backend',
    )


def _warn_again(error: Exception, left: int) -> None:
    text = f"workers were lost ({type(error).__name__}{said(error)}); the {left} jobs that are left are done by others"
    warnings.warn(text, XaiWarning, stacklevel=3)


def _gone(error: Exception, left: int, count: int) -> XaiError:
    return XaiError(
        "--xai-jobs",
        found=f"workers that were lost {_ATTEMPTS} times in a row, with {left} of {count} jobs left "
        f"({type(error).__name__}{said(error)})",
        expected="workers that end a job",
        fix="look for memory that runs out or a cluster that is gone, and run the session again: what was done by then "
        "is kept, where the session has a cache",
    )
