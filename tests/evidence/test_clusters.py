"""Retraining on cores and clusters: the same numbers, and no more lost than what is in flight."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from retraining import descended, least_squares, problem

from pytest_xaisanity import Bench, XaiError, XaiWarning
from pytest_xaisanity.evidence.metrics.roar_evidence import Retrainings

TRAIN, TEST = problem(90, 0), problem(40, 1)
DATA = (*TRAIN, *TEST)
MANY = (*problem(500, 0), *TEST)  # of which the explanations are spread too
SETTINGS = {"fractions": (0.3, 0.6), "runs": 2}
TRIALS = 7  # four models, two of masks alone, one on the inputs as they are


def own_map(model, inputs, targets):
    return inputs * torch.linspace(-1, 2, 18).reshape(2, 3, 3)


def measured(train=descended, *, data=DATA, **settings):
    """Return all that a claim has measured of retrained models."""
    model = least_squares(*TRAIN, 0).eval()
    claims = Bench(model, TEST[0], train=train, training_data=data, device="cpu", **settings)
    verdict = claims.explainer(own_map).bounded("roar", at_most=0.9, **SETTINGS)
    return verdict.evidence.get_part(Retrainings), verdict.evidence["scores"]


def kept_in(folder):
    """Return the files of cells, beside which there are those of explanations."""
    return sorted(file.name for file in Path(folder).glob("*.npz") if not file.name.startswith("maps-"))


# ---------------------------------------------------------------------------------------------------------------------
# What is kept


def test_what_is_kept_is_not_trained_again(tmp_path):
    trained = []
    first = measured(descended_as(trained), cache_dir=tmp_path)
    assert len(trained) == len(kept_in(tmp_path)) == TRIALS
    (tmp_path / kept_in(tmp_path)[3]).unlink()
    trained.clear()  # a function counts with what it refers to
    assert measured(descended_as(trained), cache_dir=tmp_path) == first
    assert len(trained) == 1


def descended_as(trained):
    def train(inputs, targets, seed):
        trained.append(seed)
        return descended(inputs, targets, seed)

    return train


def test_a_damaged_cell_is_trained_again_with_the_same_result(tmp_path):
    first = measured(cache_dir=tmp_path)
    damaged, other, empty = (tmp_path / name for name in kept_in(tmp_path)[:3])
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    np.savez(other, predictions=np.zeros(3, np.int64))
    empty.write_bytes(b"")
    with pytest.warns(XaiWarning, match="is ignored and made again") as warned:
        assert measured(cache_dir=tmp_path) == first
    assert len([one for one in warned if "is ignored" in str(one.message)]) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", XaiWarning)
        assert measured(cache_dir=tmp_path) == first


def test_another_function_or_seed_is_another_cell(tmp_path):
    measured(cache_dir=tmp_path)
    measured(cache_dir=tmp_path, seed=1)
    assert len(kept_in(tmp_path)) == 2 * TRIALS
    measured(least_squares, cache_dir=tmp_path)
    assert len(kept_in(tmp_path)) == 3 * TRIALS


def test_a_folder_that_cannot_be_written_to_is_a_warning_and_changes_nothing(tmp_path, monkeypatch):
    first = measured()

    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_xaisanity.common.kept.np.savez", refuse)
    with pytest.warns(XaiWarning, match="cannot be kept on disk.*No space left"):
        assert measured(cache_dir=tmp_path) == first
    assert not list(tmp_path.iterdir())


def test_what_a_failed_session_has_trained_is_kept(tmp_path):
    calls = []

    def train(inputs, targets, seed):
        calls.append(seed)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return descended(inputs, targets, seed)

    with pytest.raises(KeyboardInterrupt):
        measured(train, cache_dir=tmp_path)
    assert len(kept_in(tmp_path)) == 3


def test_a_function_that_cannot_travel_is_used_here():
    import threading

    lock = threading.Lock()

    def train(inputs, targets, seed):
        with lock:
            return descended(inputs, targets, seed)

    with pytest.warns(XaiWarning, match="in this process alone.*lock"):
        assert measured(train, jobs=2) == measured()


# ---------------------------------------------------------------------------------------------------------------------
# Cores and clusters


@pytest.mark.slow
def test_two_processes_find_the_same_as_one(tmp_path):
    assert measured(jobs=2, cache_dir=tmp_path) == measured()
    assert len(kept_in(tmp_path)) == TRIALS


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(tmp_path):
    def train(inputs, targets, seed):
        mark = tmp_path / "killed"
        if not mark.exists() and len(list(tmp_path.glob("*.npz"))) >= 2:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return descended(inputs, targets, seed)

    with pytest.warns(XaiWarning, match="workers were lost"):
        assert measured(train, jobs=2, cache_dir=tmp_path) == measured()


@pytest.mark.slow
def test_dask_finds_the_same():
    distributed = pytest.importorskip("distributed")
    import joblib

    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        assert measured(data=MANY) == measured(data=MANY, jobs=1)


@pytest.mark.slow
def test_a_dask_cluster_that_goes_away_stops_with_what_was_saved(tmp_path):
    distributed = pytest.importorskip("distributed")
    import joblib

    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = distributed.Client(cluster)

    def train(inputs, targets, seed):
        time.sleep(0.2)
        return descended(inputs, targets, seed)

    from pytest_xaisanity.common.kept import Kept

    written = Kept.write

    def write(self, key, arrays):
        written(self, key, arrays)
        if len(kept_in(tmp_path)) == 2:
            cluster.close()

    with pytest.MonkeyPatch.context() as patch, joblib.parallel_config(backend="dask"):
        patch.setattr(Kept, "write", write)
        with pytest.warns(XaiWarning), pytest.raises(XaiError, match="lost 3 times in a row"):
            measured(train, cache_dir=tmp_path)
    client.close()
    saved = kept_in(tmp_path)
    assert 2 <= len(saved) < TRIALS
    assert measured(train, cache_dir=tmp_path) == measured()
    assert set(saved) <= set(kept_in(tmp_path))


@pytest.mark.slow
def test_ray_finds_the_same():
    ray = pytest.importorskip("ray")
    import joblib
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config(backend="ray"):
            assert measured(data=MANY) == measured(data=MANY, jobs=1)
    finally:
        ray.shutdown()


# ---------------------------------------------------------------------------------------------------------------------
# Sessions that are killed

SESSION = """
import sys, time
sys.path.insert(0, {tests!r})
sys.path.insert(0, {here!r})
import test_clusters as t

def slowly(inputs, targets, seed):
    with open({log!r}, "a") as log:
        print(seed, file=log)
    time.sleep(0.15)
    return t.descended(inputs, targets, seed)

found, scores = t.measured(slowly, jobs={jobs}, cache_dir={folder!r})
print(repr((found.accuracies, found.leaks, found.intact, scores)))
"""


def session(folder, jobs):
    here = Path(__file__).parent
    log = f"{folder.parent / 'trained'}"
    code = SESSION.format(tests=str(here.parent), here=str(here), folder=str(folder), jobs=jobs, log=log)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_session_that_is_killed_loses_the_cells_in_flight(tmp_path, jobs):
    """At random moments; ``XAI_KILLS`` says how often: by default 3 times, or once where it has other processes."""
    expected = session(tmp_path / "whole", jobs)
    text, errors = expected.communicate(timeout=240)
    assert expected.returncode == 0, errors
    drawn = random.Random(jobs)
    for attempt in range(int(os.environ.get("XAI_KILLS", 3 if jobs == 1 else 1))):
        folder = tmp_path / f"cut {attempt}"
        wanted = drawn.randrange(TRIALS)
        cut = session(folder, jobs)
        while len(kept_in(folder)) < wanted and cut.poll() is None:
            time.sleep(0.01)
        time.sleep(drawn.random() * 0.3)
        cut.kill()
        cut.communicate(timeout=60)
        saved = {name: (folder / name).read_bytes() for name in kept_in(folder)}
        assert len(saved) >= wanted  # those that had ended are there
        again = session(folder, jobs)
        found, errors = again.communicate(timeout=240)
        assert again.returncode == 0, errors
        assert found == text
        assert "ignored" not in errors
        assert {name: (folder / name).read_bytes() for name in saved} == saved  # and not trained again


@pytest.mark.slow
def test_two_sessions_at_once_train_each_cell_once(tmp_path):
    """As the workers of pytest-xdist do that need the same cells."""
    both = [session(tmp_path / "shared", 1) for _ in range(2)]
    found = [one.communicate(timeout=240) for one in both]
    assert [one.returncode for one in both] == [0, 0], found
    assert found[0][0] == found[1][0]
    assert len((tmp_path / "trained").read_text().split()) == TRIALS
    assert not list((tmp_path / "shared").glob("*.lock"))
