"""What a failing assertion about a verdict says: a sentence first, a few lines, and then what pytest says by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from ..common.errors import XaiError

if TYPE_CHECKING:
    from ..report.records import Record

__all__ = ["hide_frames", "say_first", "tell"]

_PACKAGE = __name__.partition(".")[0]


def tell(call: pytest.CallInfo[None], decided: Sequence[tuple[Record, str]]) -> list[Record]:
    """Let the assertion that ended a phase of a test say what was found, and return the verdicts that it was about.

    Args:
        call: The phase.
        decided: The verdicts of the phase with what an assertion shows of each.
    """
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, XaiError):
        return [record for record, _ in decided if record.outcome == "error" and record.reason == str(error)]
    if not isinstance(error, AssertionError) or len(error.args) > 1:
        return []
    said = str(error)
    # Where assertions are not rewritten they say nothing, and it can only be the last.
    asserted = [(record, shown) for record, shown in decided if shown in said] if said else decided[-1:]
    told = [(record, shown) for record, shown in asserted if record.outcome not in ("passed", "error")]
    if told:
        from ..report.text import brief

        error.args = ("\n".join([*(brief(record) for record, _ in told), *_of_pytest(said, told)]),)
    return [record for record, _ in told]


def _of_pytest(said: str, told: Sequence[tuple[Record, str]]) -> Iterator[str]:
    """Yield what is kept of pytest's own words: where the verdict itself was asserted, not how it was computed."""
    first, _, _ = said.partition("\n")
    if any(first == f"assert {shown}" for _, shown in told):
        yield first
    elif said:
        yield said


def say_first(report: pytest.TestReport, told: Sequence[Record]) -> None:
    """Let the summary of tests, JUnit and editors show the sentence, whole and on one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if not told or told[0].outcome == "error" or crash is None:
        return
    from ..report.text import sentence, sentence_lines

    lines = sentence_lines(told[0])
    named = f"AssertionError: {lines[0]}"  # where pytest does not leave the name out
    crash.message = crash.message.replace(named, lines[0], 1).replace("\n".join(lines), sentence(told[0]), 1)
    for entry in getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", []):
        entry.lines = [line.replace(named, lines[0], 1) for line in entry.lines]


def hide_frames(error: BaseException) -> None:
    """Keep the frames of this package out of what pytest shows of an error and its causes, but for ``--full-trace``."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            _hide(one.__traceback__)
            waiting += [one.__cause__, one.__context__]


def _hide(trace: TracebackType | None) -> None:
    while trace is not None:
        names = trace.tb_frame.f_globals
        if str(names.get("__name__", "")).partition(".")[0] == _PACKAGE:
            names["__tracebackhide__"] = True
        trace = trace.tb_next
