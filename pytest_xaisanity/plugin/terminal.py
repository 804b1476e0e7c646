"""The verdicts of a session, where all of them arrive: the summary in the terminal and the JSON report."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .audit import AUDIT
from .options import setting
from .records import RECORDS

if TYPE_CHECKING:
    from ..report.summary import Collected

__all__ = ["Verdicts"]

_REPORTED = ("seed", "device", "confidence", "inconclusive")


class Verdicts:
    """A plugin for one session: pytest keeps no config on a report, so the collector is an object of its own."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._any = False

    @cached_property
    def _collected(self) -> Collected:
        from ..report.summary import Collected

        return Collected()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect verdicts; those of a test that is run once more replace the earlier ones."""
        if self._any and report.when == "setup":
            self._collected.forget(report.nodeid)
        if plain := vars(report).get(RECORDS, []):
            from ..report.records import Record

            self._any = True
            self._collected.add(report.nodeid, map(Record.from_plain, plain))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Write the summary of claims."""
        if self._any and self._collected.records:
            terminalreporter.section(self._collected.headline())
            for line, markup in self._collected.lines(verbosity=config.get_verbosity()):
                terminalreporter.write_line(line, **markup)

    def pytest_sessionfinish(self) -> None:
        """Write the JSON report, in the process that has all verdicts."""
        config = self._config
        file = setting(config, "json")
        if file is None or hasattr(config, "workerinput") or config.getoption("collectonly"):
            return
        from ..report.json import write

        try:
            settings = {name: setting(config, name) for name in _REPORTED}
            audit = config.stash[AUDIT].found.plain() if AUDIT in config.stash else None
            write(Path(file), self._collected.records, settings=settings, audit=audit)
        except OSError as error:
            pytest.exit(f"--xai-json: {file!r} could not be written ({error})", returncode=pytest.ExitCode.USAGE_ERROR)
