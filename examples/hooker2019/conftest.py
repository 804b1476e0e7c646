"""What is explained: digits of eight by eight pixels, and how networks are trained on them."""

from __future__ import annotations

import pytest
from hooker_digits import load_digits, one_thread, train, trained


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Networks this small are faster on one thread than on two that wait for each other."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def digits():
    """Return 1,797 digits, 540 of them to test on."""
    return load_digits()


@pytest.fixture(scope="session")
def xai_model(digits):
    """Return a network trained on them."""
    return trained(digits)


@pytest.fixture(scope="session")
def xai_inputs(digits):
    """Return the images to test on; claims that retrain explain those of the training data."""
    return digits.test_images


@pytest.fixture(scope="session")
def xai_train():
    """Return the function that trains each network anew."""
    return train


@pytest.fixture(scope="session")
def xai_training_data(digits):
    """Return what networks are trained and tested on."""
    return tuple(digits)
