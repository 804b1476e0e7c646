"""Explanations as shards: the same maps wherever they are made, none of them made twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
import torch
from captum.attr import (
    GradientShap,
    InputXGradient,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
)
from jobs_done import Elsewhere
from retraining import least_squares, problem
from torch import nn

from pytest_xaisanity import Bench, XaiError, XaiWarning
from pytest_xaisanity.common.jobs import Jobs
from pytest_xaisanity.evidence import shards as module
from pytest_xaisanity.evidence.metrics.roar_evidence import Retrainings
from pytest_xaisanity.evidence.shards import explanations
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.model.training import Retraining
from pytest_xaisanity.subject.subject import Subject

COUNT = 64 * 3 + 30  # four blocks in three shards
INPUTS = problem(COUNT, 0)[0]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(module, "_BLOCKS", 2)


class Terminal(StringIO):
    def isatty(self):
        return True


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    return nn.Sequential(*layers).eval()


def explained(source, *, model=None, inputs=INPUTS, jobs=None, folder=None, channels=False, seed=3, **settings):
    """Return the maps of all inputs."""
    model = network() if model is None else model
    subject = Subject(model, inputs, device="cpu")
    attributions = Attributions(subject, as_explainer(source, model, **settings), seed)
    retraining = Retraining(None, None, cache_dir=folder, progress=settings.pop("progress", None))
    retraining.jobs = jobs or Jobs(1)
    attributions = attributions.per_channel() if channels else attributions
    return subject.lend(lambda: explanations(attributions, retraining, "training"))


def one_by_one(source, **settings):
    """Return the maps block by block, as any other measurement has them."""
    model = network()
    subject = Subject(model, INPUTS, device="cpu")
    attributions = Attributions(subject, as_explainer(source, model, **settings), 3)

    def work():
        found = torch.full((COUNT, 3, 3), torch.nan)
        for block in subject.blocks(early=False):
            found[list(block.indices)] = attributions(block)
        return found

    return subject.lend(work)


def times_input(model, inputs, targets):
    """Return the input, with signs and a value for each channel."""
    return inputs * torch.linspace(-1, 2, 18).reshape(2, 3, 3)


def noise(model, inputs, targets):
    """Return a map that is drawn, for all inputs at once."""
    return torch.rand(len(inputs), 1, 3, 3) + inputs


def smooth(model, inputs, targets):
    """Return SmoothGrad, whose draws are rows of inputs."""
    return NoiseTunnel(Saliency(model)).attribute(inputs, target=targets, nt_samples=4, abs=False)


def of_batch(model, inputs, targets):
    """Return maps that depend on the whole batch."""
    maps = times_input(model, inputs, targets)
    return maps / maps.abs().mean() + inputs.mean(0)


EXPLAINERS = {
    "a function": (times_input, {}),
    "gradients": (InputXGradient, {}),
    "a layer": (LayerGradCam, {"layer": "2"}),
    "draws for all": (noise, {}),
    "draws by row": (smooth, {}),
    "whole batches": (of_batch, {}),
}
SLOW = {
    "draws in an object": (GradientShap, {"baselines": torch.zeros(2, 2, 3, 3), "n_samples": 3, "stdevs": 0.1}),
    "draws in company": (ShapleyValueSampling, {"n_samples": 1}),
    "fits": (Lime, {"n_samples": 5}),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "settings"),
    [
        *(pytest.param(*one, id=name) for name, one in EXPLAINERS.items()),
        *(pytest.param(*one, id=name, marks=pytest.mark.slow) for name, one in SLOW.items()),
    ],
)
def test_maps_are_the_same_wherever_they_are_made(source, settings, monkeypatch):
    """Bit for bit: as shards that travel, as shards of another size, and block by block."""
    expected = one_by_one(source, **settings)
    assert torch.equal(explained(source, jobs=Elsewhere(2), **settings), expected)
    monkeypatch.setattr(module, "_BLOCKS", 1)
    assert torch.equal(explained(source, **settings), expected)


def test_each_channel_has_its_map():
    expected = explained(times_input, channels=True)
    assert expected.shape == (COUNT, 2, 3, 3)
    assert torch.equal(explained(times_input, channels=True, jobs=Elsewhere(2)), expected)


@pytest.mark.parametrize("count", [1, 64, 65, 193])
def test_any_number_of_inputs_is_explained(count):
    inputs = INPUTS[:count]
    maps = explained(times_input, inputs=inputs, jobs=Elsewhere(2))
    assert torch.allclose(maps, times_input(None, inputs, None).sum(1), atol=1e-5)


def test_inputs_whose_maps_are_constant_are_no_mistake_in_a_shard_of_their_own():
    """The first block tells that the explainer ranks something; a shard of a single dead input says nothing."""
    inputs = INPUTS[: 64 * 3 + 1].clone()
    visited = Subject(network(), inputs, device="cpu")
    last = visited.lend(lambda: list(visited.blocks(early=False)))[-1].indices
    inputs[list(last)] = 0
    maps = explained(times_input, inputs=inputs, jobs=Elsewhere(2))
    assert not maps[list(last)].any()


# ---------------------------------------------------------------------------------------------------------------------
# What stays here


@pytest.mark.slow
def test_an_explainer_that_cannot_be_sent_is_asked_here(tmp_path):
    lock = threading.Lock()

    def locked(model, inputs, targets):
        with lock:
            return times_input(model, inputs, targets)

    with pytest.warns(XaiWarning, match=r"locked explains in this process alone.*cannot be sent.*lock"):
        maps = explained(locked, jobs=Elsewhere(2), folder=tmp_path)
    assert torch.equal(maps, explained(times_input))
    assert not list(tmp_path.iterdir())  # nor is what it holds told by a digest


def test_a_model_that_cannot_be_sent_stays_here():
    model = network()
    model.lock = threading.Lock()
    with pytest.warns(XaiWarning, match="for it or xai_model refers to what cannot be sent"):
        maps = explained(times_input, model=model, jobs=Elsewhere(2))
    assert torch.equal(maps, explained(times_input))


def test_an_explainer_with_numbers_of_its_own_is_asked_here_and_not_kept(tmp_path):
    own = torch.Generator().manual_seed(0)

    def drifting(model, inputs, targets):
        return inputs + torch.rand(inputs.shape, generator=own)

    with pytest.warns(XaiWarning, match="drifting explains in this process alone, for it gives the same inputs other"):
        explained(drifting, jobs=Elsewhere(2), folder=tmp_path)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# What is kept


class Counted:
    """An explainer that writes down in a file how many inputs it is asked about."""

    def __init__(self, file, limit=None):
        self.file = str(file)

    def __call__(self, model, inputs, targets):
        with open(self.file, "a") as stream:
            stream.write(f"{len(inputs)} ")
        return times_input(model, inputs, targets)

    def asked(self):
        return sum(map(int, Path(self.file).read_text().split())) if Path(self.file).exists() else 0


def test_what_is_kept_is_not_explained_again(tmp_path):
    counted, folder = Counted(tmp_path / "asked"), tmp_path / "kept"
    expected = explained(counted, folder=folder)
    first = counted.asked()
    assert len(list(folder.glob("maps-*.npz"))) == len(list(folder.iterdir())) == 3
    assert torch.equal(explained(counted, folder=folder), expected)
    assert counted.asked() == first


def test_a_session_that_is_cut_off_keeps_its_shards(tmp_path):
    class Interrupted(Elsewhere):
        def run(self, work, shared, calls):
            found = super().run(work, shared, calls)
            yield next(found)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explained(times_input, jobs=Interrupted(2), folder=tmp_path)
    saved = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(saved) == 2  # that of the first block, and one more; no lock
    assert torch.equal(explained(times_input, jobs=Elsewhere(2), folder=tmp_path), explained(times_input))
    assert {name: (tmp_path / name).read_bytes() for name in saved} == saved
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"inputs": INPUTS + 1e-6},
        {"channels": True},
        {"source": of_batch},
        {"source": InputXGradient},
        {"model": least_squares(*problem(90, 0), 0).eval()},
    ],
)
def test_whatever_maps_depend_on_makes_others(tmp_path, change):
    explained(times_input, folder=tmp_path)
    before = len(list(tmp_path.iterdir()))
    source = change.get("source", times_input)
    maps = explained(source, folder=tmp_path, **{k: v for k, v in change.items() if k != "source"})
    assert len(list(tmp_path.iterdir())) == 2 * before
    assert torch.equal(maps, explained(source, **{k: v for k, v in change.items() if k != "source"}))


def test_a_damaged_shard_is_made_again(tmp_path):
    expected = explained(times_input, folder=tmp_path)
    damaged = sorted(tmp_path.iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.warns(XaiWarning, match="ignored and made again") as warned:
        assert torch.equal(explained(times_input, folder=tmp_path), expected)
    assert len(warned) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Errors, the bar, and the claim


def only_some(model, inputs, targets):
    """Return maps, but for the last inputs of the data."""
    if torch.isin(inputs[:, 0, 0, 0], INPUTS[180:190, 0, 0, 0]).any():
        raise ValueError("not these")
    return times_input(model, inputs, targets)


def test_what_an_explainer_raises_elsewhere_is_the_same_error():
    errors = []
    for jobs in (None, Elsewhere(2)):
        with pytest.raises(XaiError, match=r"ValueError raised by the explainer.*not these") as raised:
            explained(only_some, jobs=jobs)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]


def test_the_bar_counts_inputs():
    model, terminal = network(), Terminal()
    subject = Subject(model, INPUTS, device="cpu")
    attributions = Attributions(subject, as_explainer(times_input, model), 0)
    retraining = Retraining(None, None, progress=terminal)
    subject.lend(lambda: explanations(attributions, retraining, "training"))
    assert "times_input, training: 100%|" in terminal.getvalue()
    assert f"{COUNT}/{COUNT} [" in terminal.getvalue()


TRAIN, TEST = problem(200, 0), problem(100, 1)


def measured(source=times_input, **settings):
    """Return what a claim has measured of retrained models, and its scores."""
    model = least_squares(*TRAIN, 0).eval()
    claims = Bench(model, TEST[0], train=least_squares, training_data=(*TRAIN, *TEST), device="cpu", **settings)
    verdict = claims.explainer(source).bounded("roar", at_most=0.9, fractions=(0.4,), runs=2)
    return verdict.evidence.get_part(Retrainings), verdict.evidence["scores"]


def test_a_claim_explains_each_input_once(tmp_path):
    counted = Counted(tmp_path / "asked")
    measured(counted)
    spare = 2 * 16  # inputs on which it is seen how the explainer is run
    assert 300 <= counted.asked() <= 300 + spare


def test_explanations_of_a_claim_are_kept(tmp_path):
    counted, folder = Counted(tmp_path / "asked"), tmp_path / "kept"
    first = measured(counted, cache_dir=folder)
    asked = counted.asked()
    assert measured(counted, cache_dir=folder) == first
    assert counted.asked() == asked


# ---------------------------------------------------------------------------------------------------------------------
# Processes


@pytest.mark.slow
def test_two_processes_find_the_same_as_one(tmp_path):
    assert measured(smooth, jobs=2, cache_dir=tmp_path) == measured(smooth)


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(tmp_path):
    session, mark = os.getpid(), tmp_path / "killed"

    def dying(model, inputs, targets):
        if os.getpid() != session and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return times_input(model, inputs, targets)

    with pytest.warns(XaiWarning, match="workers were lost"):
        assert torch.equal(explained(dying, jobs=Jobs(2)), explained(times_input))
    assert mark.exists()


SESSION = """
import sys, time
sys.path[:0] = [{tests!r}, {here!r}]
import test_shards as t

def slowly(model, inputs, targets):
    time.sleep(0.15)
    return t.noise(model, inputs, targets)

print(t.explained(slowly, folder={folder!r}).sum().item())
"""


@pytest.mark.slow
def test_a_session_that_is_killed_loses_the_shards_in_flight(tmp_path):
    here = Path(__file__).parent

    def session(folder):
        code = SESSION.format(tests=str(here.parent), here=str(here), folder=str(folder))
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    folder, drawn = tmp_path / "cut", random.Random(0)
    cut = session(folder)
    while len(list(folder.glob("*.npz"))) < 2 and cut.poll() is None:
        time.sleep(0.01)
    time.sleep(drawn.random() * 0.3)
    cut.kill()
    cut.communicate(timeout=60)
    saved = {file.name: file.read_bytes() for file in folder.glob("*.npz")}
    assert len(saved) >= 2
    again = session(folder)
    text, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert float(text) == explained(noise_called_slowly()).sum().item()
    assert {name: (folder / name).read_bytes() for name in saved} == saved


def noise_called_slowly():
    """Return the explainer of the session without its rest: draws are seeded by the name."""

    def slowly(model, inputs, targets):
        return noise(model, inputs, targets)

    return slowly
