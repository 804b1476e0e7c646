"""The verdicts of a session, where all of them arrive: the summary in the terminal and the JSON report."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .audit import AUDIT
from .interrupts import end_on_sigterm
from .options import setting
from .records import RECORDS

if TYPE_CHECKING:
    from ..report.records import Record
    from ..report.summary import Collected

__all__ = ["VERDICTS_OF_SESSION", "Verdicts"]

_REPORTED = ("seed", "device", "confidence", "inconclusive")


class Verdicts:
    """A plugin for one session: pytest keeps no config on a report, so the collector is an object of its own."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._any = False
        self._interrupted = False
        self._lost = ""  # why there is no report

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

            self.take(report.nodeid, list(map(Record.from_plain, plain)))

    def take(self, test: str, records: list[Record]) -> None:
        """Take over verdicts of a test."""
        if records:
            self._any = True
            self._collected.add(test, records)

    def pytest_sessionstart(self) -> None:
        """Do not let a SIGTERM cost the report."""
        if setting(self._config, "json") is not None:
            end_on_sigterm(self._config)

    def pytest_keyboard_interrupt(self) -> None:
        """Remember that the session stopped before its end."""
        self._interrupted = True

    def pytest_internalerror(self) -> None:
        """Remember that the session stopped before its end."""
        self._interrupted = True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Write the summary of claims."""
        if self._any and self._collected.records and not config.getoption("no_summary"):
            width = config.get_terminal_writer().fullwidth
            terminalreporter.write_sep("=", self._collected.headline())
            for line, markup in self._collected.lines(verbosity=config.get_verbosity(), width=width):
                terminalreporter.write_line(line, **markup)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the JSON report, in the process that has all verdicts."""
        config = self._config
        file = setting(config, "json")
        if file is None or hasattr(config, "workerinput") or config.getoption("collectonly"):
            return
        from ..report.json import write

        settings = {name: setting(config, name) for name in _REPORTED}
        audit = config.stash[AUDIT].found.plain() if AUDIT in config.stash else None
        stopped = self._interrupted or session.exitstatus == pytest.ExitCode.INTERRUPTED
        try:
            write(Path(file), self._collected.records, settings=settings, audit=audit, interrupted=stopped)
        except OSError as error:
            self._lost = f"--xai-json: {file!r} could not be written ({error}): the report is lost"
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_unconfigure(self) -> None:
        """Say, below all else, that there is no report."""
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if self._lost and terminal is not None:
            terminal.write_line(self._lost, red=True)


VERDICTS_OF_SESSION = pytest.StashKey[Verdicts]()
