"""The terminal summary of a session's claims."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .text import one_line

__all__ = ["Collected"]

_COLOURS = {"passed": {"green": True}, "failed": {"red": True}, "inconclusive": {"yellow": True}}


class Collected:
    """The records of a session, in the order of their tests' names whatever the workers did."""

    def __init__(self) -> None:
        self._records: list[Mapping[str, Any]] = []

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over the records of one test."""
        self._records.extend(records)

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """Records sorted by test; those of one test in the order in which they were made."""
        return sorted(self._records, key=lambda record: str(record["test"]))

    def headline(self) -> str:
        """Return the counts."""
        counts = Counter(record["outcome"] for record in self._records)
        shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _COLOURS if counts[outcome])
        return f"claims about explanations: {shown}"

    def lines(self) -> Iterator[tuple[str, dict[str, bool]]]:
        """Yield one line for each claim with its colour, then warnings."""
        for record in self.records:
            expected = record.get("test_outcome") == "xfailed"
            yield (
                one_line(record) + (" (expected)" if expected else ""),
                {} if expected else _COLOURS[record["outcome"]],
            )
        for warning in self.warnings():
            yield warning, {"yellow": True}

    def warnings(self) -> Iterator[str]:
        """Yield a line for each explainer of which nothing but randomization was claimed."""
        verbs: dict[str, set[str]] = defaultdict(set)
        passed = set()
        for record in self.records:
            verbs[record["explainer"]].add(record["verb"])
            if record["verb"] == "changes_under" and record["outcome"] == "passed":
                passed.add(record["explainer"])
        for explainer in sorted(passed):
            if not verbs[explainer] & {"beats", "bounded"}:
                yield (
                    f"warning: only randomization speaks for {explainer}; noise drawn from the model's output would "
                    'pass that too: claim beats("random", on="pixel_flipping") as well'
                )
