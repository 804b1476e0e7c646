"""The terminal summary of a session's claims: what is news first, then what passed, folded."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from .records import Record
from .text import columns, cut, numbers, printable, wrapped

__all__ = ["Collected"]

Line = tuple[str, dict[str, bool]]
Folded = tuple[str, str, list[str]]
"""``"passed"`` or ``"as expected"``, an explainer, and its claims."""

_COLORS = {
    "passed": {"green": True},
    "failed": {"red": True},
    "error": {"red": True},
    "inconclusive": {"yellow": True},
}
_NEWS = ("failed", "error", "inconclusive")
_INDENT = 14
_NARROWEST = 40  # columns, of which a line has that many whatever the terminal says
_REASON = 6  # words of a reason
_LINES = 4  # of a claim
_ID_PARTS = re.compile(r"::|[\[\]]|-")  # what stands between the parts of a test's id


class Collected:
    """The records of a session, in the order of their tests' names whatever the workers did."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = {}

    def add(self, test: str, records: Iterable[Record]) -> None:
        """Take over records of one test."""
        new = list(records)
        if new:
            self._records.setdefault(test, []).extend(new)

    def forget(self, test: str) -> None:
        """Drop the records of a test that begins once more."""
        self._records.pop(test, None)

    @property
    def records(self) -> list[Record]:
        """Records sorted by test; those of one test in the order in which they were made."""
        return [record for test in sorted(self._records) for record in self._records[test]]

    def headline(self) -> str:
        """Return the counts."""
        counts = Counter(record.outcome for record in self.records)
        expected = Counter(record.outcome for record in self.records if record.expected)
        shown = ", ".join(
            f"{counts[outcome]} {outcome}" + (f" ({expected[outcome]} expected)" if expected[outcome] else "")
            for outcome in _COLORS
            if counts[outcome]
        )
        held = Counter(record.regression for record in self.records if record.regression)
        beside = "".join(f", {count} {status}" for status, count in held.items())
        return f"claims about explanations: {shown}{beside}"

    def news(self) -> list[Record]:
        """Return the claims that did not pass, unless that was expected: the failed ones first; and the regressed."""
        quiet = self._quiet()
        news = [record for outcome in _NEWS for record in self.records if record.outcome == outcome]
        return [record for record in news if record not in quiet] + [
            record for record in self.records if record.outcome == "passed" and record.regression
        ]

    def folded(self) -> Iterator[Folded]:
        """Yield what passed and what failed as expected, for each explainer."""
        return _grouped(self._quiet())

    def _quiet(self) -> list[Record]:
        return [
            record
            for record in self.records
            if (record.outcome == "passed" or record.expected) and not record.regression
        ]

    def lines(self, *, verbosity: int = 0, width: int = 80) -> Iterator[Line]:
        """Yield lines with their colors: claims with news, each with its test, then a line for each explainer.

        Args:
            verbosity: That of pytest: below 0 there are only claims with news, above 0 each claim has lines of its own.
            width: Columns of a line.
        """
        width = max(width, _NARROWEST)
        for record in self.news():
            yield from _entry(record, width)
        quiet = self._quiet()
        if verbosity > 0:
            for record in quiet:
                yield from _entry(record, width)
        elif verbosity == 0:
            for word, explainer, parts in self.folded():
                listed = _listed(f"{explainer}: ", parts, width - _INDENT)
                yield f"{word:<{_INDENT}}{listed}", _COLORS.get(word, {})
        for warning in self.warnings():
            for line in wrap(warning, width, subsequent_indent="  "):
                yield line, {"yellow": True}

    def warnings(self) -> Iterator[str]:
        """Yield a line for each explainer of which nothing but randomization was claimed."""
        names = _told_apart(self.records)
        verbs: dict[tuple[str, str], set[str]] = defaultdict(set)
        passed = set()
        for record in self.records:
            of = record.explainer, record.subject
            verbs[of].add("changes_under" if record.randomizes else record.verb)
            if record.randomizes and record.outcome == "passed":
                passed.add(of)
        for of in sorted(passed):
            if not verbs[of] & {"beats", "bounded"}:
                yield (
                    f"warning: only randomization speaks for {names[of]}; noise drawn from the model's output would "
                    'pass that too: claim beats("random", on="pixel_flipping") as well'
                )


def _entry(record: Record, width: int) -> Iterator[Line]:
    """Yield the lines of one claim: what is claimed, what was found, and the test."""
    color: dict[str, bool] = {} if record.expected else _COLORS[record.outcome]
    room = width - _INDENT
    claim, *more = wrapped(f"{record.claim}{_note(record)}", room, most=_LINES)
    word = record.regression if record.regression and record.outcome == "passed" else record.outcome
    yield f"{word:<{_INDENT}}{claim}", {"red": True} if record.regression else color
    held = ""
    if record.regression and record.compared is not None:
        reason = str(record.compared["reason"])
        held = reason if word == record.regression else f"{record.regression}: {reason}"
    told = (*wrapped(_found(record), room, most=2), *(wrapped(held, room, most=_LINES) if held else ()))
    for line in (*more, *told, cut(record.test, room)):
        yield f"{'':<{_INDENT}}{line}", {}


def _found(record: Record) -> str:
    """Return what was found in short: the first of the lines below the sentence, or why nothing was decided."""
    if record.outcome == "error":
        return record.reason
    if record.outcome == "inconclusive":
        return _in_short(record.why or record.reason)
    return " ".join(record.lines[0]) if record.lines else numbers(record)


def _grouped(records: Sequence[Record]) -> Iterator[Folded]:
    groups: dict[tuple[bool, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.expected, record.explainer, record.subject].append(record)
    names = _told_apart(records)
    for (expected, explainer, subject), own in sorted(groups.items(), key=lambda group: _order(names, *group[0])):
        claims = Counter(record.claim.removeprefix(f"{explainer} ") for record in own)
        parts = [claim if times == 1 else f"{claim} ({times} times)" for claim, times in claims.items()]
        yield "as expected" if expected else "passed", names[explainer, subject], parts


def _order(names: Mapping[tuple[str, str], str], expected: bool, explainer: str, subject: str) -> tuple[bool, str, str]:
    return expected, names[explainer, subject], subject


def _told_apart(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """Return a name for each explainer of each subject, with a part of its tests' ids where others share the name."""
    tests: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        tests[record.explainer][record.subject].append(record.test)
    return {
        (explainer, subject): explainer if len(subjects) == 1 else f"{explainer} ({_apart(subject, subjects)})"
        for explainer, subjects in tests.items()
        for subject in subjects
    }


def _apart(subject: str, subjects: Mapping[str, Sequence[str]]) -> str:
    """Return what the tests of one subject have in their ids and those of no other have; or the first test."""
    parts = {name: [_ID_PARTS.split(test) for test in tests] for name, tests in subjects.items()}
    others = {part for name, ids in parts.items() if name != subject for one in ids for part in one}
    own = [part for part in parts[subject][0] if all(part in one for one in parts[subject])]
    return next((part for part in reversed(own) if part and part not in others), subjects[subject][0])


def _listed(head: str, parts: list[str], room: int) -> str:
    """Return as many parts as there is room for, and how many more there are."""
    for count in range(len(parts), 0, -1):
        rest = len(parts) - count
        text = printable(head + ", ".join(parts[:count]) + (f", and {rest} more" if rest else ""))
        if columns(text) <= room:
            return text
    rest = len(parts) - 1
    more = f", and {rest} more" if rest else ""
    whole = (f"{head}{part}{more}" for part in parts)
    first = next((text for text in whole if columns(printable(text)) <= room), None)
    return printable(first) if first is not None else cut(head + parts[0], room - len(more)) + more


def _in_short(reason: str) -> str:
    """Return the first words of a reason."""
    words = reason.split()
    return " ".join(words[:_REASON]).rstrip(",;:.") + ("" if len(words) <= _REASON else " ...")


def _note(record: Record) -> str:
    if record.outcome == "passed":
        return ""
    if record.tolerated:
        return " (tolerated)"
    # A verdict that nobody asserts, or one that the test wants: either way the reader should know.
    return {"xfailed": " (expected)", "passed": " (the test passed)"}.get(record.test_outcome, "")
