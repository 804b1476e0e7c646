"""The verdicts of a session, where all of them arrive: the summary in the terminal, and the reports."""

from __future__ import annotations

import shlex
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .audit import AUDIT
from .baseline import BASELINE
from .interrupts import Leftovers, end_on_sigterm, leave
from .options import REPORTS, flag, setting
from .records import RECORDS, SECTION, VERDICTS

if TYPE_CHECKING:
    from ..report.mutation import Mutations
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
        self._leftovers = Leftovers()
        self._lost: list[str] = []  # which reports there are not, and why

    @cached_property
    def _collected(self) -> Collected:
        from ..report.summary import Collected

        return Collected()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect verdicts; those of a test that is run once more replace the earlier ones."""
        if self._any and report.when == "setup":
            self._collected.forget(report.nodeid)
        self._write_plainly(report)
        if plain := vars(report).get(RECORDS, []):
            from ..report.records import Record

            self.take(report.nodeid, list(map(Record.from_plain, plain)))

    def _write_plainly(self, report: pytest.TestReport) -> None:
        """Let an ASCII terminal show our sections: pytest would write them on one line, their ends written out."""
        if any(title.startswith(SECTION) for title, _ in report.sections):
            from ..report.text import encodable

            encoding = _encoding()
            report.sections[:] = [
                (title, encodable(text, encoding) if title.startswith(SECTION) else text)
                for title, text in report.sections
            ]

    def take(self, test: str, records: list[Record]) -> None:
        """Take over verdicts of a test."""
        if records:
            self._any = True
            self._collected.add(test, records)

    def interrupted(self, item: pytest.Item) -> None:
        """Take over the verdicts of a test that was interrupted, of which there will be no report."""
        records = VERDICTS.interrupted(item)
        self.take(item.nodeid, records)
        if records:
            leave(self._config, {"test": item.nodeid, "records": [record.plain() for record in records]})

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where to leave what it knows when it is interrupted."""
        self._leftovers.tell(node.workerinput)

    def _take_leftovers(self) -> None:
        for found in self._leftovers.take():
            if "records" in found:
                from ..report.records import Record

                self.take(found["test"], list(map(Record.from_plain, found["records"])))
            elif AUDIT in self._config.stash:
                self._config.stash[AUDIT].take(found["audited"], interrupted=True)

    @property
    def collected(self) -> Collected | None:
        """The verdicts so far; None where there are none."""
        return self._collected if self._any and self._collected.records else None

    def is_interrupted(self, session: pytest.Session) -> bool:
        """Whether the session stopped before its end, so that there may be less than there would be."""
        return self._interrupted or session.exitstatus == pytest.ExitCode.INTERRUPTED

    def pytest_sessionstart(self) -> None:
        """Do not let a SIGTERM cost the report."""
        if any(setting(self._config, report) is not None for report in REPORTS):
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
            from ..report.text import encodable

            encoding = _encoding()
            width = config.get_terminal_writer().fullwidth
            terminalreporter.write_sep("=", self._collected.headline())
            for line, markup in self._collected.lines(verbosity=config.get_verbosity(), width=width):
                terminalreporter.write_line(encodable(line, encoding), **markup)
            for text in config.stash[BASELINE].said:
                terminalreporter.write_line(encodable(text, encoding))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports, in the process that has all verdicts."""
        config = self._config
        if hasattr(config, "workerinput") or config.getoption("collectonly"):
            return
        self._take_leftovers()
        stopped = self.is_interrupted(session)
        records = self._collected.records if self._any else []
        if lost := config.stash[BASELINE].finish(records, interrupted=stopped):
            self._has_lost(session, lost)
        for report, write in zip(REPORTS, (self._write_json, self._write_html, self._write_markdown), strict=True):
            file = setting(config, report)
            if file is None:
                continue
            try:
                write(Path(file), stopped)
            except OSError as error:
                self._has_lost(session, f"{flag(report)}: {file!r} could not be written ({error}): the report is lost")

    def _has_lost(self, session: pytest.Session, why: str) -> None:
        """Let a session fail that could not write what it was asked to."""
        self._lost.append(why)
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _write_json(self, file: Path, interrupted: bool) -> None:
        from ..report.json import write

        found = self._audited
        audit = None if found is None else found.plain()
        write(file, self._collected.records, settings=self._settings, audit=audit, interrupted=interrupted)

    def _write_html(self, file: Path, interrupted: bool) -> None:
        from ..report.html import write

        write(
            file,
            self._collected.records,
            settings=self._settings,
            command=shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
            audit=self._audited,
            interrupted=interrupted,
        )

    def _write_markdown(self, file: Path, interrupted: bool) -> None:
        from ..report.file import write_whole

        write_whole(file, self.markdown(interrupted))

    def markdown(self, interrupted: bool) -> str:
        """Return the summary for services that show Markdown."""
        from ..report.markdown import markdown

        notes = [] if self._audited is None else [self._audited.headline()]
        return markdown(self._collected, notes=notes, interrupted=interrupted)

    @property
    def _settings(self) -> dict[str, object]:
        return {name: setting(self._config, name) for name in _REPORTED}

    @property
    def _audited(self) -> Mutations | None:
        return self._config.stash[AUDIT].found if AUDIT in self._config.stash else None

    def pytest_unconfigure(self) -> None:
        """Say, below all else, that there is no report."""
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        for lost in self._lost if terminal is not None else ():
            terminal.write_line(lost, red=True)


def _encoding() -> str:
    """Return how the terminal is written to."""
    return "utf-8" if sys.__stdout__ is None else sys.__stdout__.encoding


VERDICTS_OF_SESSION = pytest.StashKey[Verdicts]()
