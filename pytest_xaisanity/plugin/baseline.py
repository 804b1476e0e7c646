"""``--xai-baseline``: claims are recorded, or held against what was recorded of them, and the file is written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..common.errors import XaiError
from .options import flag, given, named_in, setting
from .records import VERDICTS
from .running import is_repeated

if TYPE_CHECKING:
    from ..bench.bench import Bench, BoundExplainer
    from ..bench.recorded import Kept, Past
    from ..claims.base import Claim
    from ..report.recordings import Name, Recordings
    from ..report.records import Plain, Record
    from ..statistics.verdict import Verdict

__all__ = ["BASELINE", "Baseline", "check_baseline"]

_OPTION = flag("baseline")
_ANEW = "it was recorded now: nothing is compared while a baseline is updated"
_EXAMPLES = "a test of Hypothesis's makes its claims once an example: these are neither recorded nor compared"


def check_baseline(config: pytest.Config) -> None:
    """Raise where the options about a recorded baseline cannot be."""
    from ..report.file import check_file

    files, updates = named_in(config, "baseline"), setting(config, "update_baseline")
    fails = setting(config, "fail_on_regression")
    for name, on in (("update_baseline", updates), ("fail_on_regression", fails)):
        if on and not files:
            raise XaiError(
                flag(name),
                found="no recorded baseline",
                expected=f"{_OPTION}=FILE beside it",
                fix=f"add {_OPTION}=baseline.json, or the ini key xai_baseline",
            )
    if {"update_baseline", "fail_on_regression"} <= given(config).keys():  # of which an ini file may have one
        raise XaiError(
            flag("update_baseline"),
            found="--xai-fail-on-regression beside it",
            expected="one of the two: what is compared with, or what takes its place",
            fix="leave one of them out",
        )
    if updates and not hasattr(config, "workerinput"):
        check_file(_OPTION, files[0])


class Baseline:
    """A plugin for one session: what was recorded, what is recorded now, and how claims stand to what was."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._files = named_in(config, "baseline")
        self._updates = bool(setting(config, "update_baseline"))
        self._fails = bool(setting(config, "fail_on_regression")) and not self._updates
        self._recordings = self._read() if self._files else None
        self.said: list[str] = []  # what became of the file, or of the comparisons, for the summary

    def _read(self) -> Recordings:
        """Return what the files hold; one that is written need not exist, and without comparisons none need."""
        from ..report.recordings import Recordings

        found = Recordings()
        for file in self._files[:1] if self._updates else self._files:  # the others are only compared with
            if file.exists() or self._fails:
                found = found.joined(Recordings.read(file, _OPTION))
        return found

    def past(self, item: pytest.Item) -> Past | None:
        """Return what was recorded, for the claims of a test."""
        if self._recordings is None:
            return None
        from ..bench.recorded import Past

        return Past(self._recordings, self._updates, item.nodeid, self._files[0])

    def settled(self, claim: Claim, verdict: Verdict) -> Verdict:
        """Return the verdict; one against what is recorded only now is left open, and counts as true."""
        if not (self._updates and claim.against_record):
            return verdict
        return replace(verdict, outcome="inconclusive", tolerated=True, reason=_ANEW, advice="")

    def kept(self, item: pytest.Item, bench: Bench, claim: Claim, explainer: BoundExplainer) -> dict[str, Plain]:
        """Return what a record keeps of a claim: what is recorded of it, or how it stands to what was."""
        if self._recordings is None:
            return {}
        from ..statistics.regression import Standing

        what = self.asks(item, claim, explainer)
        if what == "recorded":
            return {"recording": bench.recording(claim, explainer, noise=True).plain()}
        if what == "compared":
            return {"compared": self._plain(bench.compare(claim, explainer))}
        if is_repeated(item):
            return {"compared": self._plain(Standing("exempt", _EXAMPLES))}
        return {"compared": self._plain(Standing("missing", "nothing is recorded of this claim"))}

    def asks(self, item: pytest.Item, claim: Claim, explainer: BoundExplainer) -> Kept | None:
        """Return what is measured for the baseline of a claim, once it is decided."""
        if self._recordings is None or is_repeated(item):
            return None
        if self._updates:
            return "recorded"
        return "compared" if self._fails or self._accepted(item, claim, explainer) else None

    def _accepted(self, item: pytest.Item, claim: Claim, explainer: BoundExplainer) -> bool:
        past = self.past(item)
        return past is not None and bool(past.accepted(explainer.name, claim.claim_id))

    def _plain(self, standing: Any) -> dict[str, Plain]:
        fails = self._fails and standing.status not in ("kept", "exempt")
        return {**asdict(standing), "worst": list(standing.worst), "fails": fails}

    def judge(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Let a test fail whose claims are worse than recorded, or cannot be compared."""
        bad = [record for record in VERDICTS.of(item) if record.compared is not None and record.compared["fails"]]
        if not bad or report.outcome == "failed":
            return
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # that a claim fails may be expected, and not that it gets worse
        report.longrepr = "\n".join(line for record in bad for line in self._lines(record))

    def _lines(self, record: Record) -> Iterator[str]:
        from ..report.recordings import command_for
        from ..report.text import WIDTH, wrapped

        assert record.compared is not None
        yield f"{record.compared['status']}: {record.claim}"
        fix = {
            "regressed": "find out what has made it worse; where that is meant, accept it with:",
            "refused": "compare it as it was recorded, or record it again with:",
            "missing": "record it where explanations are as they should be, with:",
        }[record.compared["status"]]
        yield from (f"  {line}" for text in (record.compared["reason"], fix) for line in wrapped(str(text), WIDTH))
        yield f"  {command_for(self._files[0])}"  # on one line, so that it can be copied

    def finish(self, records: list[Record], *, interrupted: bool) -> str:
        """Write the file, where one is updated, and keep what is to be said; return why it could not be."""
        if self._recordings is None or setting(self._config, "dry_run"):
            return ""
        if not self._updates:
            self.said += self._compared(records)
            return ""
        file = self._files[0]
        if interrupted:
            return f"{_OPTION}: the session stopped before its end: {str(file)!r} is as it was"
        try:
            self.said.append(self._written(records, file))
        except (OSError, XaiError) as error:
            return f"{_OPTION}: {str(file)!r} could not be written ({error}): it is as it was"
        return ""

    def _written(self, records: list[Record], file: Path) -> str:
        """Write the file, and return what has changed in it."""
        assert self._recordings is not None
        from ..report.recordings import Recording

        new: dict[Name, Recording] = {}
        for name, values in _recorded(records):
            found = Recording.of_plain(values)
            if new.setdefault(name, found) != found:
                raise _twins(name)
        changed = Counter(_change(self._recordings.get(name), one) for name, one in new.items())
        self._recordings.updated(new).write(file)
        counts = ", ".join(f"{changed[how]} {how}" for how in ("new", "changed", "as before") if changed[how])
        kept = len({*self._recordings} - {*new})
        others = f"; {kept} others stay as they were" if kept else ""
        return f"{len(new)} claims recorded in {file}" + (f": {counts}" if new else "") + others

    def _compared(self, records: list[Record]) -> Iterator[str]:
        from ..bench.recorded import name_of

        assert self._recordings is not None
        counts = Counter(record.compared["status"] for record in records if record.compared is not None)
        if not counts:
            return
        words = {"kept": "no regression shown", "regressed": "regressed", "refused": "not comparable"}
        words |= {"missing": "not recorded", "exempt": "of examples, not compared"}
        told = ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status])
        yield f"held against {', '.join(map(str, self._files))}: {told}"
        decided = {name_of(one.test, one.explainer, one.claim_id) for one in records}
        if left := len({*self._recordings} - decided):
            yield f"{left} recorded claim{'s were' if left > 1 else ' was'} not decided in this session"


def _recorded(records: list[Record]) -> Iterator[tuple[Name, Mapping[str, Plain]]]:
    from ..bench.recorded import name_of

    for record in records:
        if record.recording is not None:
            yield name_of(record.test, record.explainer, record.claim_id), record.recording


def _change(before: tuple[Any, ...] | None, now: object) -> str:
    return "new" if before is None else "as before" if before == (now,) else "changed"


def _twins(name: Name) -> XaiError:
    return XaiError(
        "two claims",
        found=f"one name for both, {name}, and other scores",
        expected="names that tell explainers apart",
        fix="name them: xai.explainer(..., name='first')",
    )


BASELINE = pytest.StashKey[Baseline]()
