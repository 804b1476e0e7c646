"""The mutation score of a suite and its table: explainers, their mutants, and the claims that killed each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Any

__all__ = ["Mutations"]

Record = Mapping[str, Any]
Line = tuple[str, dict[str, bool]]

_ORDER = ("broken", "killed", "survived", "equivalent", "inapplicable")  # of two workers, the first says more
_MARKS = {"survived": "SURVIVED", "equivalent": "=", "inapplicable": "-", "broken": "BROKEN"}
_WIDTH = 26  # characters of an explainer's name in the table


class Mutations:
    """What an audit found, of all workers together.

    Records are those of :class:`~pytest_xaisanity.audit.Audited` as plain values.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: list[dict[str, Any]] = []
        self._named: dict[tuple[str, str], dict[str, Any]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take over what one process found about one explainer."""
        key = record["explainer"], record["subject"]
        if key not in self._named:
            self._named[key] = {**record, "claims": [], "dropped": [], "mutations": {}}
            self.records = [self._named[key] for key in sorted(self._named)]
        known = self._named[key]
        for part in ("claims", "dropped"):
            known[part] = sorted({*known[part], *record[part]})
        for name, mutation in record["mutations"].items():
            known["mutations"][name] = _joined(known["mutations"].get(name), mutation)

    def count(self, *statuses: str) -> int:
        """Return how many mutants have one of these statuses."""
        return sum(mutation["status"] in statuses for _, _, mutation in self._all())

    @property
    def score(self) -> float | None:
        """The share of the live mutants that a claim killed; None where there are none."""
        live = self.count("killed", "survived")
        return self.count("killed") / live if live else None

    def headline(self) -> str:
        """Return the score."""
        if self.score is None:
            return "audit of the claims: no mutant was put to them"
        live = self.count("killed", "survived")
        return f"audit of the claims: mutation score {self.score:.2f} ({self.count('killed')} of {live} mutants killed)"

    def below(self, least: float) -> str | None:
        """Return why the score is not at least ``least``, or None when it is."""
        if self.score is None:
            return f"no mutation score, where at least {least:g} is asked for"
        if self.score < least:
            return f"a mutation score of {self.score:.4g}, where at least {least:g} is asked for"
        return None

    def lines(self) -> Iterator[Line]:
        """Yield what a person reads: survivors first, then the table."""
        if not self.records:
            yield "no claim about an explainer passed, so that there was nothing to audit", {"yellow": True}
            return
        yield from self._news()
        claims = sorted({claim for record in self.records for claim in record["claims"]})
        for start in range(0, len(self.records), 3):
            yield from self._table(self.records[start : start + 3], claims)
        for number, claim in enumerate(claims, 1):
            yield f"{number:>3} {claim}", {}
        if self.count("equivalent", "inapplicable"):
            yield "  = explains as the original does; - does not exist here: neither is counted", {}

    def _all(self) -> Iterator[tuple[Record, str, Record]]:
        for record in self.records:
            for name, mutation in record["mutations"].items():
                yield record, name, mutation

    def _news(self) -> Iterator[Line]:
        for record, name, mutation in self._all():
            who = f"{record['explainer']} / {name}"
            if mutation["status"] == "survived":
                caught = mutation["caught_by"]
                known = f"caught by {caught}" if caught else mutation["reason"] or "no claim of this plugin catches it"
                yield f"survived     {who}: {known}", {"red": True}
            if mutation["status"] == "broken":
                yield f"broken       {who}: it raised {mutation['reason']}", {"red": True}
        for record in self.records:
            statuses = {mutation["status"] for mutation in record["mutations"].values()}
            if not statuses & {"killed", "survived", "broken"}:
                yield (
                    f"no mutants   {record['explainer']}: all explain as it does, so that nothing tests its claims",
                    {"yellow": True},
                )
            for claim in record["dropped"]:
                yield (
                    f"not audited  {record['explainer']} {claim}: it passed in its test, and no longer does",
                    {"yellow": True},
                )

    def _table(self, records: Sequence[Record], claims: Sequence[str]) -> Iterator[Line]:
        names = list(dict.fromkeys(name for record in records for name in record["mutations"]))
        first = max(len(name) for name in names) + 2
        heads = [
            shorten(record["explainer"].replace(" ", ""), _WIDTH, placeholder="") or record["explainer"][:_WIDTH]
            for record in records
        ]
        yield " " * first + "  ".join(f"{head:<{_WIDTH}}" for head in heads).rstrip(), {"bold": True}
        for name in names:
            cells = [_cell(record["mutations"].get(name), claims) for record in records]
            markup = {"red": True} if {"SURVIVED", "BROKEN"} & {*cells} else {}
            yield f"{name:<{first}}" + "  ".join(f"{cell:<{_WIDTH}}" for cell in cells).rstrip(), markup


def _cell(mutation: Record | None, claims: Sequence[str]) -> str:
    if mutation is None:
        return ""
    numbers = sorted(claims.index(claim) + 1 for claim in mutation["killed_by"])
    return _MARKS.get(mutation["status"], " ".join(map(str, numbers)))


def _joined(first: Record | None, second: Record) -> dict[str, Any]:
    """Return what two processes say of one mutant: killed by one is killed."""
    if first is None:
        return dict(second)
    chosen = min(first, second, key=lambda one: _ORDER.index(one["status"]))
    killed_by = sorted({*first["killed_by"], *second["killed_by"]})
    return {**chosen, "killed_by": killed_by}
