"""What the claims of a battery cost, said before the first of them is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from .dry_run import DryRun
from .options import setting
from .pending import PendingVerdict

if TYPE_CHECKING:
    from ..claims.base import Claim

__all__ = ["Costs"]

_CLAIMS = pytest.StashKey[Sequence["Claim"]]()
_SAID = pytest.StashKey[set[str]]()
_COST = pytest.StashKey[tuple[str, str]]()
_LINE = "xai_cost"  # an attribute of a report travels from a worker to the controller


class Costs:
    """The cost for each explainer: found when its first claim is set up, shown where all reports arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._shown: set[str] = set()

    @staticmethod
    def expect(config: pytest.Config, claims: Sequence[Claim]) -> None:
        """Remember the claims of the session's battery."""
        config.stash[_CLAIMS] = claims
        config.stash[_SAID] = set()

    @staticmethod
    def find(item: pytest.Item, verdict: PendingVerdict, explainer: str) -> None:
        """Find what all claims about an explainer cost, when the first of them is set up."""
        said = item.config.stash.get(_SAID, None)
        if said is None or explainer in said or DryRun.is_on(item.config):
            return
        said.add(explainer)
        recorded = bool(setting(item.config, "update_baseline"))
        item.stash[_COST] = explainer, verdict.cost(item.config.stash[_CLAIMS], recorded=recorded)

    @staticmethod
    def attach(item: pytest.Item, report: pytest.TestReport) -> None:
        """Move it to the report of the setup."""
        if report.when == "setup" and _COST in item.stash:
            vars(report)[_LINE] = item.stash[_COST]

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write it at once, on a line of its own; each worker finds it, and the times differ."""
        explainer, line = vars(report).get(_LINE, ("", ""))
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if line and explainer not in self._shown and terminal is not None and self._config.get_verbosity() >= 0:
            self._shown.add(explainer)
            terminal.ensure_newline()
            terminal.write_line(f"xaisanity: {line}, less what they share and what is decided early")
