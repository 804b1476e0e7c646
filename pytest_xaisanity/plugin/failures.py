"""What a failing assertion about a verdict says: a sentence first, a few lines, and then what pytest says by itself."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from ..common.errors import XaiError

if TYPE_CHECKING:
    from ..report.records import Record

__all__ = ["hide_frames", "own_frames", "say_first", "tell"]

_PACKAGE = __name__.partition(".")[0]
_NOT_OWN = {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")}
_MOST = 8  # frames that are shown


def tell(call: pytest.CallInfo[None], decided: Sequence[tuple[Record, str]]) -> list[Record]:
    """Let the assertion that ended a phase of a test say what was found, and return the verdicts that it was about.

    Args:
        call: The phase.
        decided: The verdicts of the phase with what an assertion shows of each.
    """
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, pytest.fail.Exception):
        error = error.__context__  # what a battery says in few lines
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


def own_frames(error: BaseException) -> list[str]:
    """Return where the cause of an error was raised, in lines: the frames of neither this package nor a library."""
    cause = error.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is None:
        return []
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if _is_own(frame.filename)]
    lines = [line for frame in frames[-_MOST:] for line in _shown(frame)]
    exception = "".join(traceback.format_exception_only(cause)).rstrip().splitlines()
    return ["", *lines, *exception] if lines or isinstance(cause, SyntaxError) else []


def _is_own(file: str) -> bool:
    path = Path(file).resolve()
    library = any(path.is_relative_to(folder) for folder in _NOT_OWN) or path.is_relative_to(Path(__file__).parents[1])
    return path.is_file() and not library


def _shown(frame: traceback.FrameSummary) -> Iterator[str]:
    path = Path(frame.filename)
    name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    yield f"{name}:{frame.lineno}: in {frame.name}"
    if frame.line:
        yield f"    {frame.line}"


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
