"""What a person reads of one verdict: a line, and the whole section."""

from __future__ import annotations

from collections.abc import Iterator

from .records import Record

__all__ = ["details", "numbers", "one_line", "printable", "sentence", "short"]


def one_line(record: Record) -> str:
    """Return outcome, claim and numbers in one line."""
    return f"{record.outcome}: {sentence(record)}"


def sentence(record: Record) -> str:
    """Return claim and numbers in one line; of a claim that raised, what it raised."""
    return f"{record.claim}: {record.reason if record.outcome == 'error' else numbers(record)}"


def printable(text: str) -> str:
    """Return a text on one line, with what cannot be printed written out."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in " ".join(text.split()))


def short(text: str, limit: int) -> str:
    """Return a text on one line, without its middle where it has more than ``limit`` characters."""
    text = printable(text)
    half = limit // 2 - 2
    return text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"


def details(record: Record) -> str:
    """Return the section under a claim that did not pass."""
    return "\n".join(f"{label:<12} {text}" for label, text in _rows(record))


def numbers(record: Record) -> str:
    """Return estimate, interval and number of inputs."""
    low, high = record.interval
    bounds = f" in [{_number(low)}, {_number(high)}]" if low is not None or high is not None else ""
    return f"{record.quantity} {_number(record.estimate)}{bounds}, n={record.n}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _rows(record: Record) -> Iterator[tuple[str, str]]:
    yield "claim", record.claim
    yield "verdict", f"{record.outcome}: {record.reason}"
    if record.outcome != "error":
        yield "measured", numbers(record)
        yield "decided by", f"{record.decided_by}; each bound holds with confidence {record.confidence:g}"
    yield from record.rows
    yield "reproduce", record.reproduce
    if record.advice:
        yield "try", record.advice
    if record.outcome == "inconclusive" and not record.tolerated:
        yield "policy", "neither shown nor refuted; --xai-inconclusive=skip or warn lets such claims through"
