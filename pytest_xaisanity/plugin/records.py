"""Verdicts on their way from the test to the summary: on the item, on its report, on the controller."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ..common.errors import XaiError, said
from .options import setting
from .places import asserted_at, claimed_at
from .running import is_repeated

if TYPE_CHECKING:
    from ..bench.bench import BoundExplainer
    from ..claims.base import Claim
    from ..report.figures import Figures
    from ..report.records import Plain, Record
    from ..statistics.verdict import Verdict

__all__ = ["RECORDS", "SECTION", "VERDICTS", "Records"]

RECORDS = "xai_records"  # attributes of a report travel from a worker to the controller
SECTION = "explanation claim"
"""The title of a section of a report, before the outcome."""


_PREFIX = "xai_"
_NAMES = tuple(f"{_PREFIX}{name}" for name in ("claim", "verdict", "estimate", "interval", "n", "reason"))
"""Of the properties that JUnit keeps, in this order for each claim."""


def _name(explainer: BoundExplainer) -> str:
    """Return what verdicts call an explainer; what it is, where it cannot be made for the model."""
    try:
        return explainer.name
    except Exception:
        return explainer.kind


def _properties(record: Record) -> list[tuple[str, str]]:
    """Return what JUnit keeps of a verdict; numbers as JSON has them, ``null`` for what was not measured."""
    values = {
        "claim": record.claim,
        "verdict": record.outcome,
        "estimate": json.dumps(record.estimate),
        "interval": json.dumps(list(record.interval)),
        "n": json.dumps(record.n),
        "reason": record.reason,
    }
    return [(name, values[name.removeprefix(_PREFIX)]) for name in _NAMES]


def _placed(records: list[Record], line: int | None) -> list[Record]:
    """Return the records, the last of which that did not pass stands where the assertion failed."""
    for index in reversed(range(len(records)) if line is not None else ()):
        if records[index].outcome not in ("passed", "error") and records[index].file:
            return [*records[:index], replace(records[index], line=line or 0), *records[index + 1 :]]
    return records


class Records:
    """The verdicts of each test."""

    def begin(self, item: pytest.Item) -> None:
        """Forget what a test that is run once more has said before."""
        item.stash[_KEY] = {}
        item.user_properties[:] = [(name, value) for name, value in item.user_properties if name not in _NAMES]

    def add(
        self,
        item: pytest.Item,
        verdict: Verdict,
        claim: Claim,
        explainer: BoundExplainer,
        command: str,
        figures: Figures | None = None,
        subject: str = "",
        kept: Mapping[str, Plain] | None = None,
    ) -> None:
        """Record a verdict with the running test.

        Args:
            item: The test.
            verdict: The verdict.
            claim: What it is on.
            explainer: What that is about.
            command: What decides the claim again.
            figures: What is drawn of it, where a report is asked for.
            subject: The fingerprint of what is explained.
            kept: What is recorded of it, or how it stands to what was.
        """
        compared = (kept or {}).get("compared")
        beside = () if compared is None else (("recorded", f"{compared['status']}: {compared['reason']}"),)
        self._add(
            item,
            claim,
            explainer,
            repr(verdict),
            claim=verdict.claim,
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
            rows=(*verdict.evidence.rows(), *beside),
            advice=verdict.advice,
            sentence=verdict.sentence,
            lines=verdict.lines,
            why=verdict.why,
            subject=subject,
            **(kept or {}),
            **({} if figures is None else {"figures": figures}),
        )

    def add_error(
        self, item: pytest.Item, error: BaseException, claim: Claim, explainer: BoundExplainer, command: str
    ) -> None:
        """Record a claim that raised, so that it was not decided."""
        text = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}{said(error)}"
        self._add(
            item,
            claim,
            explainer,
            "",
            claim=f"{_name(explainer)} {claim}",
            outcome="error",
            tolerated=False,
            estimate=None,
            interval=(None, None),
            confidence=claim.confidence or float(setting(item.config, "confidence")),
            n=0,
            quantity="",
            decided_by="",
            reason=text,
            sentence=text,
            reproduce=command,
            evidence={},
        )

    def _add(self, item: pytest.Item, about: Claim, explainer: BoundExplainer, shown: str, **values: Any) -> None:
        """Record what became of a claim.

        A ``@given`` test makes its claims once an example, perhaps with other settings: the last counts, which for a
        failing test is the minimal one.
        """
        from ..report.records import Record

        records = item.stash.setdefault(_KEY, {})
        file, line = claimed_at(item)
        key = (explainer.kind, about.kind) if is_repeated(item) else len(records)
        record = Record(
            test=item.nodeid,
            claim_id=about.claim_id,
            explainer=_name(explainer),
            file=file,
            line=line,
            verb=about.verb,
            randomizes=about.randomizes,
            bounds=about.bounds,
            **values,
        )
        records[key] = Record.from_plain(record.plain())  # as all reports see it, on whatever process
        item.stash.setdefault(_SHOWN, {})[key] = shown

    def of(self, item: pytest.Item) -> list[Record]:
        """Return the verdicts of a test that no report has yet."""
        return [*item.stash.get(_KEY, {}).values()]

    def interrupted(self, item: pytest.Item) -> list[Record]:
        """Return the verdicts of a test that was interrupted, of which there will be no report."""
        records, item.stash[_KEY] = item.stash.get(_KEY, {}), {}
        return [record.of_test("interrupted") for record in records.values()]

    def decided(self, item: pytest.Item) -> list[tuple[Record, str]]:
        """Return the verdicts of the phase of a test that has ended, with what an assertion shows of each."""
        records, shown = item.stash.get(_KEY, {}), item.stash.get(_SHOWN, {})
        return [(record, shown[key]) for key, record in records.items()]

    def attach(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, told: Sequence[Record]
    ) -> None:
        """Move a test's verdicts to a report on it: sections a person reads, properties that JUnit keeps.

        Each verdict goes to the report of the phase, or of the subtest, in which it was reached.

        Args:
            item: The test.
            call: Its phase.
            report: The report.
            told: The verdicts of which the report tells already why they failed the test.
        """
        records = item.stash.get(_KEY, {})
        if not records:
            return
        from ..report.text import brief, details

        item.stash[_KEY] = {}
        expected = hasattr(report, "wasxfail")
        outcome = ("xfailed" if report.skipped else "xpassed") if expected else report.outcome
        done = _placed([record.of_test(outcome) for record in records.values()], asserted_at(item, call))
        tables = item.config.get_verbosity() > 0
        for record, own in zip(done, records.values(), strict=True):
            for properties in (item.user_properties, report.user_properties):
                properties.extend(_properties(record))
            if (record.outcome != "passed" and (tables or not any(own is one for one in told))) or record.regression:
                text = details(record) if tables else brief(record)
                report.sections.append((f"{SECTION}: {record.regression or record.outcome}", text))
        vars(report)[RECORDS] = [record.plain() for record in done]


VERDICTS = Records()
_KEY = pytest.StashKey[dict[Hashable, "Record"]]()
_SHOWN = pytest.StashKey[dict[Hashable, str]]()  # what assertions show of them
