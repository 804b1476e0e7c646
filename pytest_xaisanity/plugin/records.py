"""Verdicts on their way from the test to the summary: on the item, on its report, on the controller."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import pytest

from .running import is_repeated

if TYPE_CHECKING:
    from ..claims.base import Claim
    from ..report.records import Record
    from ..statistics.verdict import Verdict

__all__ = ["RECORDS", "VERDICTS", "Records"]

RECORDS = "xai_records"  # attributes of a report travel from a worker to the controller


class Records:
    """The verdicts of each test."""

    def add(
        self, item: pytest.Item, verdict: Verdict, claim: Claim, *, explainer: str, kind: str, command: str
    ) -> None:
        """Record a verdict with the running test.

        A ``@given`` test makes its claims once an example, perhaps with other settings: the last counts, which for a
        failing test is the minimal one.

        Args:
            item: The test.
            verdict: The verdict.
            claim: What it is on.
            explainer: The explainer's name.
            kind: What the explainer is, whatever its settings.
            command: What decides the claim again.
        """
        from ..report.records import Record

        records = item.stash.setdefault(_KEY, {})
        key = (kind, claim.kind) if is_repeated(item) else len(records)
        record = Record(
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
        )
        records[key] = Record.from_plain(record.plain())  # as all reports see it, on whatever process

    def attach(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Move a test's verdicts to a report on it: sections a person reads, properties that JUnit keeps.

        Each verdict goes to the report of the phase, or of the subtest, in which it was reached.
        """
        records = item.stash.get(_KEY, {})
        if not records:
            return
        from ..report.text import details, one_line

        item.stash[_KEY] = {}
        expected = hasattr(report, "wasxfail")
        outcome = ("xfailed" if report.skipped else "xpassed") if expected else report.outcome
        done = [record.of_test(outcome) for record in records.values()]
        for record in done:
            for properties in (item.user_properties, report.user_properties):
                properties.append(("xai", one_line(record)))
            if record.outcome != "passed":
                report.sections.append((f"explanation claim: {record.outcome}", details(record)))
        vars(report)[RECORDS] = [record.plain() for record in done]


VERDICTS = Records()
_KEY = pytest.StashKey[dict[Hashable, "Record"]]()
