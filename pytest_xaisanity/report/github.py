"""Workflow commands of GitHub Actions: a claim that a test did not get past is shown at its line in a pull request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .records import Record
from .text import sentence, short

__all__ = ["workflow_commands"]

_LONGEST = 1000  # characters of a part of a message


def workflow_commands(records: Iterable[Record], locate: Callable[[str], str]) -> Iterator[str]:
    """Yield one line for each claim that failed its test, and for each inconclusive one that was let through.

    Nothing is said of a claim that the test wanted to fail, or that was expected to.

    Args:
        records: The verdicts.
        locate: Makes of a file of a record, relative to pytest's root, the file as GitHub knows it.
    """
    for record in records:
        level = _level(record)
        if level:
            place = {"file": locate(record.file), "line": str(record.line)} if record.file else {}
            named = {**place, "title": f"explanation claim: {record.regression or record.outcome}"}
            properties = ",".join(f"{name}={_property(value)}" for name, value in named.items())
            yield f"::{level} {properties}::{_data(_message(record))}"


def _level(record: Record) -> str:
    """Return GitHub's word for how bad it is; nothing where all is as it should be."""
    if record.regression:
        return "error" if record.test_outcome in ("failed", "interrupted") else "warning"
    if record.outcome == "passed" or record.expected:
        return ""
    if record.tolerated or record.test_outcome == "skipped":
        return "warning"
    return "error" if record.test_outcome in ("failed", "interrupted") else ""


def _message(record: Record) -> str:
    told = sentence(record)
    reason = [] if record.outcome == "error" or record.reason in told else [record.reason]
    if record.regression and record.compared is not None:
        reason.append(f"{record.regression}: {record.compared['reason']}")
    return "\n".join(short(part, _LONGEST) for part in (told, *reason, record.reproduce))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
