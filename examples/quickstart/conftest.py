"""What is explained: a small network and the digits that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from digits import Digits, DigitsCNN, load_digits, one_thread, trained_cnn


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread than on two that wait for each other."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Return five thousand digits, 1,000 of them to test on."""
    return load_digits()


@pytest.fixture(scope="session")
def xai_model() -> DigitsCNN:
    """Return the network whose explanations are tested; a module that tests another overrides this fixture."""
    return trained_cnn()


@pytest.fixture(scope="session")
def xai_inputs(digits: Digits):
    """Return the images that are explained, each for the digit that the network reads in it."""
    return digits.test_images[:256]
