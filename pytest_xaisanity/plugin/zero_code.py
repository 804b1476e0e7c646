"""Claims without a test file: a battery, or the claims that the command line writes, for the explainer it names."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from ..bench.battery import battery
from ..claims.make import make
from ..claims.written import Written, read
from .cost import Costs
from .markers import mark_of
from .options import explainers, given, setting, use_usual_explainers
from .running import fixtures_of

__all__ = ["BATTERY", "add_battery", "remember"]

BATTERY = "xai"  # the node id of the battery, which is no file of the user's
_ROOT = pytest.StashKey[pytest.Directory]()


def add_battery(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> bool:
    """Add a test for each claim and explainer to ``items``, when the command line asks for it; return whether it does.

    It does when it names a battery or claims; an explainer that no test takes, while the fixtures of the suite or the
    ini file give the model and inputs; an explainer beside a model and inputs; or a model and inputs alone, when no
    test makes a claim about them. The ini file by itself adds nothing.
    """
    on_command_line = given(config).keys()
    asked = bool(on_command_line & {"battery", "claim"})
    if "explainer" in on_command_line:
        complete = all(setting(config, name) is not None for name in ("model", "inputs"))
        asked = asked or complete or not any("xai_explainer" in fixtures_of(item) for item in items)
    elif {"model", "inputs"} <= on_command_line:
        asked = asked or not any("xai" in fixtures_of(item) for item in items)
    if not asked:
        return False
    if not explainers(config):
        use_usual_explainers(config)
    file = Path(__file__).with_name("battery.py")
    home = _common(items) or config.stash.get(_ROOT, session)
    module: pytest.Module = pytest.Module.from_parent(home, path=file, nodeid=BATTERY)  # type: ignore[no-untyped-call, unused-ignore]
    module.obj = _module(config)
    items.extend(session.genitems(module))
    return True


def remember(collector: pytest.Collector) -> None:
    """Keep the folder of the whole session, whose fixtures are those of a session without tests."""
    if isinstance(collector, pytest.Directory):
        collector.config.stash.setdefault(_ROOT, collector)


def _common(items: list[pytest.Item]) -> pytest.Directory | None:
    """Return the innermost folder that holds all tests, whose fixtures, and those of the folders above, all may use."""
    chains = [[node for node in item.listchain() if isinstance(node, pytest.Directory)] for item in items]
    found = None
    for level in zip(*chains, strict=False):
        if len({*level}) > 1:
            break
        found = level[0]
    return found


def _module(config: pytest.Config) -> ModuleType:
    """Return a module of this session's own, with the fixtures of ``battery.py`` and a test of the claims."""
    fixtures = importlib.import_module(".battery", __package__)
    written = [read(text, where="--xai-claim") for text in setting(config, "claim") or ()]
    listed = battery(setting(config, "battery"), where="--xai-battery")
    claims = written or [Written(entry.verb, entry.args, entry.settings) for entry in listed]
    Costs.expect(config, [make(one.verb, one.args, one.settings, where=one.verb) for one in claims])
    test = fixtures.battery_test([mark_of(one) for one in claims], written=bool(written))
    module = ModuleType(fixtures.__name__, fixtures.__doc__)
    vars(module).update(vars(fixtures))
    vars(module)[test.__name__] = test
    return module
