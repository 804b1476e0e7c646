"""What the suites of examples share: all but those on faces train the networks that they explain, and all are long."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that train, and all as long."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("long")
            if not item.path.stem.endswith("_faces"):
                item.add_marker("training")
