"""What is explained: digits of the quickstart, whose modules are imported from the folder beside this one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "quickstart"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Networks this small are faster on one thread than on two that wait for each other."""
    from digits import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def digits():
    """Return five thousand digits, 1,000 of them to test on."""
    from digits import load_digits

    return load_digits()


@pytest.fixture(scope="session")
def xai_inputs(digits):
    """Return the images that are explained, each for the digit that the network reads in it."""
    return digits.test_images[:256]
