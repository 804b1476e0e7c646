"""Verdicts on their way from the test to the summary: on the item, on its report, on the controller."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ..report.text import details, one_line

if TYPE_CHECKING:
    from ..verdict import Verdict

__all__ = ["RECORDS", "VERDICTS", "Records"]

RECORDS = "xai_records"  # attributes of a report travel from a worker to the controller

_KEY = pytest.StashKey[dict[Any, dict[str, Any]]]()


class Records:
    """The verdicts of each test, as plain values that travel between processes."""

    def add(self, item: pytest.Item, verdict: Verdict, explainer: str, verb: str) -> None:
        """Record a verdict with the running test.

        A ``@given`` test makes its claims once an example, perhaps with other settings: the last counts, which for a
        failing test is the minimal one.
        """
        records = item.stash.setdefault(_KEY, {})
        given = hasattr(getattr(item, "obj", None), "hypothesis")
        key = re.sub(r"\(.*?\)", "", verdict.claim) if given else len(records)
        records[key] = {
            "test": item.nodeid,
            "claim": verdict.claim,
            "explainer": explainer,
            "verb": verb,
            "outcome": verdict.outcome,
            "estimate": _plain(verdict.estimate),
            "interval": [_plain(bound) for bound in verdict.interval],
            "confidence": verdict.confidence,
            "n": verdict.n,
            "quantity": verdict.quantity,
            "decided_by": verdict.decided_by,
            "reason": verdict.reason,
            "evidence": dict(verdict.evidence),
        }

    def of(self, item: pytest.Item) -> list[dict[str, Any]]:
        """Return the records of a test."""
        return list(item.stash.get(_KEY, {}).values())

    def attach(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Put a test's verdicts on the report of its call: sections a person reads, properties JUnit keeps."""
        records = self.of(item)
        if not records:
            return
        expected = hasattr(report, "wasxfail")
        for record in records:
            record["test_outcome"] = ("xfailed" if report.skipped else "xpassed") if expected else report.outcome
            report.user_properties.append(("xai", one_line(record)))
            if record["outcome"] != "passed":
                report.sections.append((f"explanation claim: {record['outcome']}", details(record)))
        vars(report)[RECORDS] = records


def _plain(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None


VERDICTS = Records()
