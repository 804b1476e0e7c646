"""What a person reads of one verdict: a sentence, a few lines below it, and all of its tables."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from html import escape

from .records import Record

__all__ = [
    "Lines",
    "brief",
    "columns",
    "cut",
    "details",
    "encodable",
    "lines_of",
    "numbers",
    "one_line",
    "page",
    "printable",
    "sentence",
    "sentence_lines",
    "short",
    "told",
    "wrapped",
]

Lines = Sequence[tuple[str, str]]
"""A label and a text each."""

MOST = 8  # lines below a sentence
WIDTH = 72  # columns of a line: pytest puts eight more before it
_LABEL = 14
_SENTENCE = 320  # characters
_COMMAND = 1000  # characters of a command, which is on one line so that it can be copied
_SPREADING = (
    *("kept", "share", "mean gain", "measured", "to settle it", "setting", "besides", "try", "compared with"),
    *("by layer", "by target", "worst inputs"),
)
"""The labels whose texts may take several lines, those that need them most first."""

REPRODUCE = "reproduce"
_PLAINLY = {ord("×"): "x", ord("…"): "..."}


def one_line(record: Record) -> str:
    """Return outcome, claim and numbers in one line."""
    return f"{record.outcome}: {record.claim}: {record.reason if record.outcome == 'error' else numbers(record)}"


def sentence(record: Record) -> str:
    """Return what was found in one sentence on one line, cut where it is very long; of an error, what was raised."""
    return short(record.sentence or f"{record.claim}: {record.reason}", _SENTENCE)


def sentence_lines(record: Record) -> list[str]:
    """Return the sentence as :func:`brief` has it, on as many lines as it takes."""
    return wrapped(sentence(record), WIDTH)


def lines_of(record: Record) -> Lines:
    """Return what stands below the sentence: what was measured, how to decide it again, and what to try."""
    policy = "--xai-inconclusive=skip or warn lets it through"
    let_through = record.outcome == "inconclusive" and not record.tolerated
    return [
        *record.lines,
        (REPRODUCE, record.reproduce),
        *([("try", record.advice)] if record.advice else []),
        *([("policy", policy)] if let_through else []),
    ]


def brief(record: Record) -> str:
    """Return the sentence and at most eight lines, of 72 columns but for a command that is longer."""
    return told(sentence(record), lines_of(record))


def told(sentence: str, lines: Lines) -> str:
    """Return a sentence, on as many lines as it takes, and below it at most eight: a label and a text each."""
    return "\n".join([*wrapped(sentence, WIDTH), *_below(lines)])


def page(outcome: str, sentence: str, lines: Lines) -> str:
    """Return the same for a notebook: HTML that needs nothing else, and in which names are nothing but text."""
    color = {"passed": "#1a7f37", "failed": "#cf222e"}.get(outcome, "#9a6700")
    cell = 'style="text-align:left;vertical-align:top;padding:1px 10px 1px 0"'
    rows = "".join(
        f"<tr><th {cell}>{escape(printable(label))}</th><td {cell}><bdi>{escape(short(text, _COMMAND))}</bdi></td></tr>"
        for label, text in lines
    )
    head = f'<strong style="color:{color}">{escape(outcome)}</strong>: <bdi>{escape(short(sentence, _SENTENCE))}</bdi>'
    return f'<div><p>{head}</p><table style="color:inherit">{rows}</table></div>'


def _below(lines: Lines) -> Iterator[str]:
    room = WIDTH - _LABEL
    given = list(lines[:MOST])
    spare = MOST - len(given)
    for label in _SPREADING:
        for place, (own, text) in enumerate(given):
            if own == label:
                taken = len(wrapped(text, room)) - 1
                given[place] = own, "\n".join(wrapped(text, room, most=1 + min(taken, spare)))
                spare -= min(taken, spare)
    for label, text in given:
        first, *more = _one_line_each(label, text, room)
        yield f"{printable(label):<{_LABEL - 1}} {first}"
        for line in more:
            yield f"{'':<{_LABEL}}{line}"


def _one_line_each(label: str, text: str, room: int) -> list[str]:
    if label == REPRODUCE:
        return [short(text, _COMMAND)]
    return text.split("\n") if label in _SPREADING else wrapped(text, room, most=1)


# ---------------------------------------------------------------------------------------------------------------------
# Text that may be anything: names of explainers, tests and classes


def printable(text: str) -> str:
    """Return a text on one line, with what cannot be printed written out."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in " ".join(text.split()))


def short(text: str, limit: int) -> str:
    """Return a text on one line, without its middle where it has more than ``limit`` characters."""
    text = printable(text)
    half = limit // 2 - 2
    return text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"


def encodable(text: str, encoding: str) -> str:
    """Return a text, of several lines, in what a terminal can write: all else is written out.

    >>> encodable("input × noise", "ascii")
    'input x noise'
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAINLY).encode(encoding, "backslashreplace").decode(encoding)
    return text


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide character, none for one that combines."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def wrapped(text: str, width: int, *, most: int | None = None) -> list[str]:
    """Return the lines of a text, of at most ``width`` columns; of more than ``most`` lines the rest is left out."""
    lines = [""]
    for word in printable(text).split(" "):
        for piece in _pieces(word, width):
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if columns(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], _fitting(lines[most - 1], width - 4) + " ..."]


def cut(text: str, width: int) -> str:
    """Return a text on one line of at most ``width`` columns, without its middle where there is no room for it."""
    text = printable(text)
    if columns(text) <= width:
        return text
    size = width
    while columns(shown := f"{text[: max(1, size // 2 - 3)]}...{text[len(text) - (size - size // 2) :]}") > width:
        size -= 1
    return shown


def _pieces(word: str, width: int) -> Iterator[str]:
    """Yield a word, or parts of one that is too long for a line."""
    while columns(word) > width:
        piece = _fitting(word, width)
        yield piece
        word = word[len(piece) :]
    yield word


def _fitting(text: str, width: int) -> str:
    """Return as much of a text's beginning as there are columns for, one character at least."""
    size = min(len(text), max(1, width))
    while size > 1 and columns(text[:size]) > width:
        size -= 1
    return text[:size].rstrip() or text[:1]


# ---------------------------------------------------------------------------------------------------------------------
# All of it


def details(record: Record) -> str:
    """Return all that is known of a claim that did not pass."""
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
    yield REPRODUCE, record.reproduce
    if record.advice:
        yield "try", record.advice
    if record.outcome == "inconclusive" and not record.tolerated:
        yield "policy", "neither shown nor refuted; --xai-inconclusive=skip or warn lets such claims through"
