"""What is explained: the quickstart's network, trained until it knows 1,000 digits by heart, and other digits.

The modules of the quickstart are imported from the folder beside this one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "quickstart"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread than on two that wait for each other."""
    from digits import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def xai_training_data():
    """Return images and labels to train on, and images and labels to test on."""
    from adebayo_methods import training_data

    return training_data()


@pytest.fixture(scope="session")
def xai_train():
    """Return the function that trains a network: on the true labels, or on permuted ones."""
    from adebayo_methods import train

    return train


@pytest.fixture(scope="session")
def xai_model(xai_training_data, xai_train):
    """Return the network whose explanations are tested."""
    images, labels, *_ = xai_training_data
    return xai_train(images, labels, seed=0)


@pytest.fixture(scope="session")
def xai_inputs(xai_training_data):
    """Return the images that are explained, each for the digit that the network reads in it."""
    from adebayo_methods import SHOWN

    return xai_training_data[2][:SHOWN]
