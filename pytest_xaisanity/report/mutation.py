"""The mutation score of a suite and its table: explainers, their mutants, and the claims that killed each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from textwrap import wrap
from typing import NamedTuple, get_args

from .audited import Audited, Mutation, Status
from .text import wrapped

__all__ = ["Mutations"]

Line = tuple[str, dict[str, bool]]

_ORDER: tuple[Status, ...] = get_args(Status)  # of two workers, the first says more
_MARKS = {"survived": "SURVIVED", "equivalent": "=", "inapplicable": "-", "broken": "BROKEN", "not judged": "?"}
_NEWS: tuple[Status, ...] = ("broken", "survived")
_INDENT = 13
_NARROWEST = 40  # columns, of which a line has that many whatever the terminal says
_UNCAUGHT = "no claim of this plugin catches it on these inputs"
_CAUGHT = " that this claim would catch:"
_WIDTH = 26  # characters of an explainer's name in a line of the table's head


class Mutations:
    """What an audit found, of all workers together."""

    def __init__(self, records: Iterable[Audited] = ()) -> None:
        self._named: dict[tuple[str, str], Audited] = {}
        for record in records:
            self.add(record)

    @property
    def records(self) -> list[Audited]:
        """What was found about each explainer, by name and subject."""
        return [self._named[key] for key in sorted(self._named)]

    def add(self, record: Audited) -> None:
        """Take over what one process found about one explainer."""
        key = record.explainer, record.subject
        known = self._named.setdefault(key, Audited(*key))
        known.claims = sorted({*known.claims, *record.claims})
        known.dropped |= record.dropped
        known.words |= record.words
        for name, mutation in record.mutations.items():
            known.mutations[name] = _joined(known.mutations.get(name), mutation)

    def count(self, *statuses: Status) -> int:
        """Return how many mutants have one of these statuses."""
        return sum(mutation.status in statuses for _, _, mutation in self._all())

    @property
    def score(self) -> float | None:
        """The share of the live mutants that were judged which a claim killed; None where there are none."""
        live = self.count("killed", "survived")
        return self.count("killed") / live if live else None

    def plain(self) -> dict[str, object]:
        """Return score, counts and records as plain values."""
        return {
            "score": self.score,
            "counts": {status: self.count(status) for status in _ORDER},
            "explainers": [record.plain() for record in self.records],
        }

    def headline(self) -> str:
        """Return the score."""
        left = self.count("not judged")
        if self.score is None:
            return "audit of the claims: no mutant was " + (f"judged, of {left}" if left else "put to them")
        live, more = self.count("killed", "survived"), f"; {left} not judged" if left else ""
        killed = f"{self.count('killed')} of {live} mutants killed{more}"
        return f"audit of the claims: mutation score {self.score:.2f} ({killed})"

    def interrupted(self) -> str:
        """Return what a person should know of an audit that was cut."""
        left = self.count("not judged")
        if not left:
            return "the audit was interrupted; not all was audited"
        mutants = "1 mutant was" if left == 1 else f"{left} mutants were"
        score = "" if self.score is None else ", and the score is that of the others"
        return f"the audit was interrupted: {mutants} not judged{score}; run it again, or on fewer tests with -k"

    def below(self, least: float) -> str | None:
        """Return why the score is not at least ``least``, or None when it is."""
        if self.score is None:
            return f"no mutation score, where at least {least:g} is asked for"
        if self.score < least:
            return f"a mutation score of {self.score:.4g}, where at least {least:g} is asked for"
        if left := self.count("not judged"):
            return f"{left} mutant{'' if left == 1 else 's'} not judged, so that the score of all is not known"
        return None

    def lines(self, *, width: int = 120) -> Iterator[Line]:
        """Yield what a person reads: survivors first, then tables that are at most ``width`` characters wide."""
        if not self.records:
            yield "no claim about an explainer passed, so that there was nothing to audit", {"yellow": True}
            return
        words = self._words()
        yield from self._news(words, width)
        used = {claim for record in self.records for claim in record.claims}
        claims = sorted(used, key=words.__getitem__)
        columns = [_column(name, record, claims) for name, record in self.named() if record.mutations]
        if not columns:
            return
        rows = self._rows()
        first = max(map(len, rows)) + 2
        for some in _fitting(columns, width - first):
            yield from _table(some, rows, first)
        yield "", {}
        for number, claim in enumerate(claims, 1):
            yield f"{number:>3} {words[claim]}", {}
        if self.count("equivalent", "inapplicable"):
            yield "  = explains as the original does; - does not exist here: neither is counted", {}
        if self.count("not judged"):
            yield "  ? was not judged before the audit was cut: not counted either", {}
        if any(name != record.explainer for name, record in self.named()):
            yield "  (2) is an explainer of the same name, of another model or on other inputs", {}

    def _words(self) -> dict[str, str]:
        """Return claims as they were written, by id; those that were written alike with their ids."""
        words = {claim: text for record in self.records for claim, text in record.words.items()}
        times = Counter(words.values())
        return {claim: text if times[text] == 1 else f"{text} ({claim})" for claim, text in words.items()}

    def named(self) -> Iterator[tuple[str, Audited]]:
        """Yield records, each with a name of its own."""
        seen: Counter[str] = Counter()
        for record in self.records:
            name = record.explainer
            seen[name] += 1
            yield name if seen[name] == 1 else f"{name} ({seen[name]})", record

    def _all(self) -> Iterator[tuple[str, str, Mutation]]:
        for explainer, record in self.named():
            for name, mutation in record.mutations.items():
                yield explainer, name, mutation

    def _rows(self) -> list[str]:
        """Return the mutants: those with news first, then those that something killed."""
        statuses: dict[str, set[Status]] = {}
        for _, name, mutation in self._all():
            statuses.setdefault(name, set()).add(mutation.status)
        return sorted(statuses, key=lambda name: (not statuses[name] & {*_NEWS}, "killed" not in statuses[name]))

    def survivors(self) -> list[Survivors]:
        """Return the mutants that survived, by what would catch them; those that nothing would last."""
        found: dict[tuple[str, str], dict[str, list[str]]] = {}
        for explainer, name, one in self._all():
            if one.status == "survived":
                by = one.caught_by or "", "" if one.caught_by else one.reason or _UNCAUGHT
                found.setdefault(by, {}).setdefault(explainer, []).append(name)
        return [Survivors(*by, mutants) for by, mutants in sorted(found.items(), key=lambda item: not item[0][0])]

    def _news(self, words: Mapping[str, str], width: int) -> Iterator[Line]:
        for explainer, name, mutation in self._all():
            if mutation.status == "broken":
                yield from _news("broken", f"{explainer} / {name}: it raised {mutation.reason}", width)
        for survivors in self.survivors():
            yield from survivors.lines(width)
        for explainer, record in self.named():
            statuses = {mutation.status for mutation in record.mutations.values()}
            left = [name for name, mutation in record.mutations.items() if mutation.status == "not judged"]
            if left:
                yield from _news("not judged", f"{explainer}: {', '.join(left)}", width, yellow=True)
            if statuses and not statuses & {"killed", "not judged", *_NEWS}:
                text = f"{explainer}: all explain as it does, so that nothing tests its claims"
                yield from _news("no mutants", text, width, yellow=True)
            for claim, why in record.dropped.items():
                yield from _news("not audited", f"{explainer} {words[claim]}: {why}", width, yellow=True)


class Survivors(NamedTuple):
    """Mutants that survived, and that one claim would catch.

    Attributes:
        caught_by: The claim, as code of an explainer or of a marker; empty where nothing would catch them.
        reason: Why nothing would.
        mutants: Their names, by explainer.
    """

    caught_by: str
    reason: str
    mutants: Mapping[str, Sequence[str]]

    @property
    def code(self) -> list[str]:
        """The claim as code to paste, for a test and for a marker."""
        return [f"assert explainer.{self.caught_by}", f"@pytest.mark.xai_{self.caught_by}"] if self.caught_by else []

    @property
    def sentence(self) -> str:
        """How many they are, and why nothing would catch them, or that the code does."""
        count = sum(map(len, self.mutants.values()))
        return f"{count} mutant{'' if count == 1 else 's'}" + (f": {self.reason}" if self.reason else _CAUGHT)

    def lines(self, width: int) -> Iterator[Line]:
        """Yield them for a terminal, below the code."""
        yield from _news("survived", self.sentence, width)
        for code in self.code:
            yield f"{'':<{_INDENT + 4}}{code}", {"bold": True}
        for explainer, names in self.mutants.items():
            for line in wrapped(f"{explainer}: {', '.join(names)}", max(width, _NARROWEST) - _INDENT):
                yield f"{'':<{_INDENT}}{line}", {}


class _Column(NamedTuple):
    """An explainer in the table: the lines of its name, and a cell for each mutant."""

    head: Sequence[str]
    cells: Mapping[str, str]

    @property
    def width(self) -> int:
        """Characters of the longest line, and two between columns."""
        return max(map(len, (*self.head, *self.cells.values()))) + 2


def _column(name: str, record: Audited, claims: Sequence[str]) -> _Column:
    cells = {mutant: _cell(mutation, claims) for mutant, mutation in record.mutations.items()}
    # A name that is too long for a line goes on in the next at its settings.
    return _Column(wrap(name if len(name) <= _WIDTH else re.sub(r"(?=[(\[])", " ", name), _WIDTH), cells)


def _cell(mutation: Mutation, claims: Sequence[str]) -> str:
    numbers = sorted(claims.index(claim) + 1 for claim in mutation.killed_by)
    return _MARKS.get(mutation.status, " ".join(map(str, numbers)))


def _fitting(columns: Sequence[_Column], room: int) -> Iterator[list[_Column]]:
    """Yield columns that stand side by side: as many as there is room for, and one at least."""
    some: list[_Column] = []
    for column in columns:
        if some and sum(one.width for one in (*some, column)) - 2 > room:
            yield some
            some = []
        some.append(column)
    yield some


def _table(columns: Sequence[_Column], rows: Sequence[str], first: int) -> Iterator[Line]:
    def line(name: str, cells: Iterable[str]) -> str:
        spread = (f"{cell:<{column.width}}" for cell, column in zip(cells, columns, strict=True))
        return f"{name:<{first}}{''.join(spread)}".rstrip()

    yield "", {}
    for words in zip_longest(*(column.head for column in columns), fillvalue=""):
        yield line("", words), {"bold": True}
    for name in rows:
        cells = [column.cells.get(name, "") for column in columns]
        yield line(name, cells), {"red": True} if {"SURVIVED", "BROKEN"} & {*cells} else {}


def _news(word: str, text: str, width: int, *, yellow: bool = False) -> Iterator[Line]:
    first, *more = wrapped(text, max(width, _NARROWEST) - _INDENT)
    color = {"yellow": True} if yellow else {"red": True}
    yield f"{word:<{_INDENT}}{first}", color
    for line in more:
        yield f"{'':<{_INDENT}}{line}", color


def _joined(first: Mutation | None, second: Mutation) -> Mutation:
    """Return what two processes say of one mutant: killed by one is killed."""
    if first is None:
        return replace(second)
    chosen = min(first, second, key=lambda one: _ORDER.index(one.status))
    return replace(chosen, killed_by=sorted({*first.killed_by, *second.killed_by}))
