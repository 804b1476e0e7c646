"""A dry run: what the claims of a session cost, without deciding any."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import pytest

from .options import setting

if TYPE_CHECKING:
    from ..bench.bench import Bench, BoundExplainer
    from ..bench.plan import Plan
    from ..bench.recorded import Kept
    from ..claims.base import Claim
    from ..statistics.verdict import Verdict

__all__ = ["DryRun"]

_PLANS = pytest.StashKey[list["Plan"]]()
_LINES = "xai_plans"  # an attribute of a report travels from a worker to the controller


class DryRun:
    """The plans of each test: gathered while it runs, moved to its report, shown where all reports arrive."""

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[str, float | None]]] = {}

    @staticmethod
    def is_on(config: pytest.Config) -> bool:
        """Whether nothing is to be decided."""
        return bool(setting(config, "dry_run"))

    @staticmethod
    def decide(
        item: pytest.Item, bench: Bench, claim: Claim, explainer: BoundExplainer, baseline: Kept | None
    ) -> Verdict:
        """Plan a claim, with what its baseline takes, and return a verdict that lets the test go on."""
        from ..statistics.verdict import Verdict

        plans = bench.plan(claim, explainer, baseline=baseline)
        item.stash.setdefault(_PLANS, []).extend(plans)
        return Verdict(
            claim=f"{explainer.name} {claim}",
            outcome="inconclusive",
            estimate=nan,
            interval=(nan, nan),
            confidence=claim.confidence or bench.confidence,
            n=0,
            decided_by="",
            quantity="nothing measured",
            reason="a dry run decides nothing",
            tolerated=True,
        )

    @staticmethod
    def attach(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Move a test's plans to its report; what it asserts of a verdict beyond that fails nothing."""
        plans = item.stash.get(_PLANS, [])
        if not plans or report.when == "teardown":
            return
        item.stash[_PLANS] = []
        vars(report)[_LINES] = [(str(plan), plan.seconds) for plan in plans]
        if report.failed and call.excinfo is not None and call.excinfo.errisinstance(AssertionError):
            file, line, _ = item.reportinfo()
            report.outcome = "skipped"
            report.longrepr = (str(file), (line or 0) + 1, "a dry run, whose verdicts decide nothing")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the plans of a test."""
        if lines := vars(report).get(_LINES, []):
            self._lines.setdefault(report.nodeid, []).extend((text, seconds) for text, seconds in lines)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write a line for each claim, and what they cost together."""
        if not self._lines:
            return
        from ..bench.plan import shown_time

        lines = [line for test in sorted(self._lines) for line in self._lines[test]]
        terminalreporter.section(f"plan of {len(lines)} claims, of which none was decided")
        for text, _ in lines:
            terminalreporter.write_line(text)
        known = [seconds for _, seconds in lines if seconds is not None]
        streams = "" if len(known) == len(lines) else f", and {len(lines) - len(known)} on streams of unknown length"
        together = f"at most about {shown_time(sum(known))}" if known else "no time that is known"
        terminalreporter.write_line(f"all: {together}{streams}, less what claims share and what is decided early")
