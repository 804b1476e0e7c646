"""What services that run tests are told: annotations and step summaries of GitHub's, and Markdown for the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..report.file import check_file, write_whole
from .audit import AUDIT
from .interrupts import end_on_sigterm
from .options import flag, setting
from .terminal import VERDICTS_OF_SESSION

if TYPE_CHECKING:
    from ..report.summary import Collected

__all__ = ["Services"]

_OPTION = "markdown"


class Services:
    """A plugin for one session, in the process that has all verdicts."""

    def __init__(self, config: pytest.Config) -> None:
        """Try the file that is asked for.

        Raises:
            XaiError: Nothing could be written to it.
        """
        self._config = config
        self._lost: list[str] = []  # what could not be written, and why
        file = setting(config, _OPTION)
        self._file = None if file is None else Path(file)
        if self._file is not None:
            check_file(flag(_OPTION), self._file)

    @property
    def _collected(self) -> Collected | None:
        """The verdicts; None where there are none, so that a session without claims loads and says nothing."""
        return self._config.stash[VERDICTS_OF_SESSION].collected

    def pytest_sessionstart(self) -> None:
        """Do not let a SIGTERM cost the summary."""
        if self._file is not None:
            end_on_sigterm(self._config)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the summary in Markdown to the file that is asked for, and to that of the step."""
        if self._config.getoption("collectonly"):
            return
        if self._file is not None:
            self._write(session, self._file)
        step = os.environ.get("GITHUB_STEP_SUMMARY")
        if _on_github() and step and self._collected is not None:
            self._append(session, Path(step))

    def _write(self, session: pytest.Session, file: Path) -> None:
        try:
            write_whole(file, self._markdown(session))
        except OSError as error:
            self._lost.append(f"{flag(_OPTION)}: {str(file)!r} could not be written ({error}): the summary is lost")
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _append(self, session: pytest.Session, step: Path) -> None:
        """Add to what other steps have said; nobody asked for it, so that it costs nobody a session."""
        try:
            with step.open("a", encoding="utf-8") as stream:
                stream.write(f"\n{self._markdown(session)}")
        except OSError as error:
            self._lost.append(f"GITHUB_STEP_SUMMARY: {str(step)!r} could not be written ({error})")

    def _markdown(self, session: pytest.Session) -> str:
        from ..report.markdown import markdown
        from ..report.summary import Collected

        notes = [self._config.stash[AUDIT].found.headline()] if AUDIT in self._config.stash else []
        stopped = self._config.stash[VERDICTS_OF_SESSION].is_interrupted(session)
        return markdown(self._collected or Collected(), notes=notes, interrupted=stopped)

    def pytest_unconfigure(self) -> None:
        """Annotate, below all else, and say what could not be written."""
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is None:
            return
        for lost in self._lost:
            terminal.write_line(lost, red=True)
        if _on_github() and self._collected is not None:
            from ..report.github import workflow_commands

            for line in workflow_commands(self._collected.records, self._in_workspace):
                terminal.write_line(line)

    def _in_workspace(self, file: str) -> str:
        """Return a file as GitHub knows it: relative to the checkout, of which pytest's root may be a folder."""
        path = self._config.rootpath / file
        workspace = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
        return (path.relative_to(workspace) if path.is_relative_to(workspace) else path).as_posix()


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"
