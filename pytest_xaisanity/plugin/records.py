"""Verdicts on their way from the test to the summary: on the item, on its report, on the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ..report.records import Record
from ..report.text import details, one_line
from .running import is_repeated

if TYPE_CHECKING:
    from ..claims.base import Claim
    from ..statistics.verdict import Verdict

__all__ = ["RECORDS", "VERDICTS", "Records"]

RECORDS = "xai_records"  # attributes of a report travel from a worker to the controller

_KEY = pytest.StashKey[dict[Any, dict[str, Any]]]()


class Records:
    """The verdicts of each test, as plain values that travel between processes."""

    def add(
        self, item: pytest.Item, verdict: Verdict, claim: Claim, *, explainer: str, kind: str, command: str
    ) -> None:
        """Record a verdict with the running test.

        A ``@given`` test makes its claims once an example, perhaps with other settings: the last counts, which for a
        failing test is the minimal one.
        """
        records = item.stash.setdefault(_KEY, {})
        key = (kind, claim.kind) if is_repeated(item) else len(records)
        records[key] = Record(
            test=item.nodeid,
            claim=verdict.claim,
            claim_id=claim.claim_id,
            explainer=explainer,
            verb=claim.verb,
            randomizes=claim.randomizes,
            bounds=claim.bounds,
            outcome=verdict.outcome,
            tolerated=verdict.tolerated,
            estimate=verdict.estimate,
            interval=verdict.interval,
            confidence=verdict.confidence,
            n=verdict.n,
            quantity=verdict.quantity,
            decided_by=verdict.decided_by,
            reason=verdict.reason,
            reproduce=command,
            evidence=verdict.evidence.plain(),
            rows=tuple(verdict.evidence.rows()),
            advice=verdict.advice,
        ).plain()

    def attach(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Move a test's verdicts to a report on it: sections a person reads, properties that JUnit keeps.

        Each verdict goes to the report of the phase, or of the subtest, in which it was reached.
        """
        records = list(item.stash.get(_KEY, {}).values())
        if not records:
            return
        item.stash[_KEY] = {}
        expected = hasattr(report, "wasxfail")
        outcome = ("xfailed" if report.skipped else "xpassed") if expected else report.outcome
        done = [Record.from_plain(record).of_test(outcome) for record in records]
        for record in done:
            for properties in (item.user_properties, report.user_properties):
                properties.append(("xai", one_line(record)))
            if record.outcome != "passed":
                report.sections.append((f"explanation claim: {record.outcome}", details(record)))
        vars(report)[RECORDS] = [record.plain() for record in done]


VERDICTS = Records()
