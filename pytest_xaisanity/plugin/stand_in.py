"""The plugin in the place of one that is blocked: its markers, and fixtures that skip the tests that ask for them."""

from __future__ import annotations

from typing import NoReturn

import pytest

from . import markers
from .fixture import Xai

_BLOCKED = "pytest-xaisanity is blocked, by -p no:xaisanity"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Offer the markers to conftest files."""
    markers.install(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    markers.register(config, Xai.explainer)
    markers.install(config)


@pytest.fixture(scope="session")
def xai() -> NoReturn:
    """Skip what makes a claim."""
    pytest.skip(_BLOCKED)


@pytest.fixture
def xai_verdict() -> NoReturn:
    """Skip what looks at a verdict."""
    pytest.skip(_BLOCKED)


@pytest.fixture(scope="session")
def xai_device() -> NoReturn:
    """Skip what asks for the device of claims."""
    pytest.skip(_BLOCKED)


@pytest.fixture(scope="session")
def xai_seed() -> NoReturn:
    """Skip what asks for the seed of claims."""
    pytest.skip(_BLOCKED)
