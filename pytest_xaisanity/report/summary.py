"""The terminal summary of a session's claims."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from .records import Record
from .text import sentence

__all__ = ["Collected"]

_COLORS = {"passed": {"green": True}, "failed": {"red": True}, "inconclusive": {"yellow": True}}
_SHOWN = 20  # claims without news that are listed unless pytest is asked for more with -v


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
        return f"claims about explanations: {shown}"

    def lines(self, *, verbosity: int = 0) -> Iterator[tuple[str, dict[str, bool]]]:
        """Yield one line for each claim with its color, under the name of its file where there are several.

        Args:
            verbosity: That of pytest: below 0 only claims with news are listed, above 0 all are.
        """
        quiet = [record for record in self.records if record.outcome == "passed" or record.expected]
        limit = 0 if verbosity < 0 else _SHOWN
        hidden = {id(record) for record in quiet[limit:]} if verbosity <= 0 else set()
        several = len({_file(record) for record in self.records}) > 1
        file = None
        for record in self.records:
            if id(record) in hidden:
                continue
            if several and _file(record) != file:
                file = _file(record)
                yield file, {"bold": True}
            yield f"{record.outcome:<13}{sentence(record)}{_note(record)}", _color(record)
        if hidden:
            yield f"{'...':<13}{len(hidden)} more that passed or failed as expected; -v lists them", {}
        for warning in self.warnings():
            yield warning, {"yellow": True}

    def warnings(self) -> Iterator[str]:
        """Yield a line for each explainer of which nothing but randomization was claimed."""
        verbs: dict[str, set[str]] = defaultdict(set)
        passed = set()
        for record in self.records:
            verbs[record.explainer].add("changes_under" if record.randomizes else record.verb)
            if record.randomizes and record.outcome == "passed":
                passed.add(record.explainer)
        for explainer in sorted(passed):
            if not verbs[explainer] & {"beats", "bounded"}:
                yield (
                    f"warning: only randomization speaks for {explainer}; noise drawn from the model's output would "
                    'pass that too: claim beats("random", on="pixel_flipping") as well'
                )


def _file(record: Record) -> str:
    return str(record.test).partition("::")[0]


def _note(record: Record) -> str:
    if record.outcome == "passed":
        return ""
    if record.tolerated:
        return " (tolerated)"
    # A verdict that nobody asserts, or one that the test wants: either way the reader should know.
    return {"xfailed": " (expected)", "passed": " (the test passed)"}.get(record.test_outcome, "")


def _color(record: Record) -> dict[str, bool]:
    return {} if record.expected else _COLORS[record.outcome]
