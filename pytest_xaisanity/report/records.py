"""Recorded verdicts, as plain values: they travel between processes, and every report is made from them alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .figures import Figures

__all__ = ["Plain", "Record", "plain_value"]

_FOR_PEOPLE = ("sentence", "lines", "why", "subject", "rows", "figures", "recording")
Plain = Any  # None, a string, a number, or lists and mappings of these


@dataclass(frozen=True)
class Record:
    """One verdict, reached in one test.

    Attributes:
        test: The test's node id.
        claim: The claim in one phrase, with the explainer.
        claim_id: What the claim is called in every process, without the explainer.
        explainer: The explainer's name.
        verb: The claim's verb.
        randomizes: Whether the claim says no more than that the explainer follows drawn weights, as noise may too.
        bounds: ``at_least`` and ``at_most``, where the claim has them.
        outcome: ``"passed"``, ``"failed"``, ``"inconclusive"``, or ``"error"``: the claim raised, and was not decided.
        tolerated: Whether an inconclusive verdict counts as true.
        estimate: What was measured; None where that is no number.
        interval: Its bounds, likewise.
        confidence: One minus the accepted rate of wrong passes.
        n: How many inputs were measured.
        quantity: What ``estimate`` is of.
        decided_by: The statistical tool.
        reason: Why: what decided, and all that a reader should know beside it.
        reproduce: The command that decides the claim again.
        evidence: The whole evidence, by name.
        rows: What a person reads of the evidence: a label and a text each.
        file: The test's file, relative to pytest's root; empty for a battery, which has none.
        subject: Digest of model, inputs and targets, which tells apart what shares a name.
        line: Where in it the claim is made, or its verdict asserted; 0 without a file.
        advice: What to try after a failure, or nothing.
        sentence: What was found, in one sentence; of an error, what was raised.
        lines: What a person reads below it: a label and a text each.
        why: Of what is left open, why, in a few words.
        test_outcome: What became of the test: ``"passed"``, ``"failed"``, ``"xfailed"``, ``"interrupted"``, ...
        figures: What the HTML report draws, where one is asked for.
        compared: How the claim stands to what was recorded of it, and whether that fails its test; None where nothing
            is compared.
        recording: What is recorded of it, where that is done.
    """

    test: str
    claim: str
    claim_id: str
    explainer: str
    verb: str
    randomizes: bool
    bounds: Mapping[str, float | None]
    outcome: str
    tolerated: bool
    estimate: float | None
    interval: tuple[float | None, float | None]
    confidence: float
    n: int
    quantity: str
    decided_by: str
    reason: str
    reproduce: str
    evidence: Mapping[str, Plain]
    rows: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    file: str = ""
    line: int = 0
    advice: str = ""
    sentence: str = ""
    lines: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    why: str = ""
    subject: str = ""
    test_outcome: str = ""
    figures: Figures = field(default_factory=Figures, repr=False)
    compared: Mapping[str, Plain] | None = None
    recording: Mapping[str, Plain] | None = field(default=None, repr=False)

    @property
    def regression(self) -> str:
        """How a claim stands to what was recorded of it, where that is news: ``"regressed"``, ``"refused"``, ..."""
        compared = self.compared
        is_news = compared is not None and (compared["fails"] or compared["status"] == "regressed")
        return str(compared["status"]) if compared is not None and is_news else ""

    @property
    def expected(self) -> bool:
        """Whether the test was marked to fail, and the claim did not pass."""
        return self.outcome != "passed" and self.test_outcome == "xfailed"

    def of_test(self, outcome: str) -> Record:
        """Return the record with what became of the test."""
        return replace(self, test_outcome=outcome)

    def report(self) -> dict[str, Plain]:
        """Return what the JSON report has: all but what says and shows the same to a person."""
        return {name: value for name, value in self.plain().items() if name not in _FOR_PEOPLE}

    def plain(self) -> dict[str, Plain]:
        """Return all of it in built-in types, which travel between processes; :meth:`from_plain` is the reverse."""
        values: dict[str, Plain] = plain_value(asdict(replace(self, evidence={})))
        return {**values, "evidence": plain_value(self.evidence)}

    @classmethod
    def of_report(cls, values: Mapping[str, Plain]) -> Record:
        """Return the record of a claim in the JSON report, without what is for people; :meth:`report` reversed."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name not in _FOR_PEOPLE}
        low, high = known["interval"]
        return cls(**{**known, "interval": (low, high)})

    @classmethod
    def from_plain(cls, values: Mapping[str, Plain]) -> Record:
        """Return the record of these values."""
        known = {one.name: values[one.name] for one in fields(cls)}
        low, high = known["interval"]
        rows, lines = (tuple((label, text) for label, text in known[name]) for name in ("rows", "lines"))
        figures = Figures.of_plain(known["figures"])
        return cls(**{**known, "interval": (low, high), "rows": rows, "lines": lines, "figures": figures})


def plain_value(value: Any) -> Plain:
    """Return ``value`` in built-in types alone; None for a number that is not finite, a string for what is no value."""
    if value is None or type(value) in (int, bool):
        return value
    if type(value) is str:  # half of a surrogate pair cannot be written to a file, nor sent
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(key): plain_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(part) for part in value]
    return plain_value(value.tolist()) if hasattr(value, "tolist") else str(value)
