"""What GitHub Actions is told of a session: annotations, and a summary of the step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .terminal import VERDICTS_OF_SESSION, Verdicts

__all__ = ["GitHub"]


class GitHub:
    """A plugin for one session, in the process that has all verdicts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._lost = ""  # why the step has no summary

    @property
    def _verdicts(self) -> Verdicts | None:
        """The verdicts; None elsewhere, and where there are none, so that nothing is loaded or said without claims."""
        verdicts = self._config.stash[VERDICTS_OF_SESSION]
        on_github = os.environ.get("GITHUB_ACTIONS") == "true"
        return verdicts if on_github and verdicts.collected is not None else None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add to the summary of the step; nobody asked for it, so that it costs nobody a session."""
        step, verdicts = os.environ.get("GITHUB_STEP_SUMMARY"), self._verdicts
        if not step or verdicts is None:
            return
        try:
            with Path(step).open("a", encoding="utf-8") as stream:
                stream.write(f"\n{verdicts.markdown(verdicts.is_interrupted(session))}")
        except OSError as error:
            self._lost = f"GITHUB_STEP_SUMMARY: {step!r} could not be written ({error})"

    def pytest_unconfigure(self) -> None:
        """Annotate, below all else, and say what could not be written."""
        terminal, verdicts = self._config.pluginmanager.getplugin("terminalreporter"), self._verdicts
        if terminal is None or verdicts is None or verdicts.collected is None:
            return
        from ..report.github import workflow_commands

        if self._lost:
            terminal.write_line(self._lost, red=True)
        for line in workflow_commands(verdicts.collected.records, self._in_workspace):
            terminal.write_line(line)

    def _in_workspace(self, file: str) -> str:
        """Return a file as GitHub knows it: relative to the checkout, of which pytest's root may be a folder."""
        path = self._config.rootpath / file
        workspace = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
        return (path.relative_to(workspace) if path.is_relative_to(workspace) else path).as_posix()
