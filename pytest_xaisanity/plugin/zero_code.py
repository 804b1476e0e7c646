"""Claims without a test file: the standard battery for what the command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

from .options import given, setting
from .running import fixtures_of

__all__ = ["BATTERY", "add_battery"]

BATTERY = "xai"  # the node id of the battery, which is no file of the user's


def add_battery(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the standard battery to ``items`` when the command line names an explainer to decide it for.

    That is when a model and inputs are named too, there or in the ini file; or when no test takes the explainer, and
    the fixtures of the suite give the model and inputs. The ini file by itself adds nothing.
    """
    if "explainer" not in given(config):
        return
    complete = all(setting(config, name) is not None for name in ("model", "inputs"))
    if complete or not any("xai_explainer" in fixtures_of(item) for item in items):
        file = Path(__file__).with_name("battery.py")
        module: pytest.Module = pytest.Module.from_parent(session, path=file, nodeid=BATTERY)  # type: ignore[no-untyped-call, unused-ignore]
        items.extend(session.genitems(module))
