"""The summary of a session's claims in Markdown, for CI services to show: tables, and names as nothing but names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from .records import Record
from .summary import Collected, Folded
from .text import numbers, short

__all__ = ["as_code", "as_text", "markdown"]

_ROWS = 50  # of a table; GitHub takes 1 MiB of summary from a step, and nothing of what is longer
_LONGEST = 500  # characters of a cell
_ACTIVE = {ord(char): f"\\{char}" for char in "\\`*_[]#~|!^"}
_ENTITIES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("$"): "&#36;"}


def markdown(collected: Collected, *, notes: Sequence[str] = (), interrupted: bool = False) -> str:
    """Return the claims with news, how to reproduce them, and then what passed, by explainer.

    Args:
        collected: The verdicts.
        notes: What is said above the tables, such as the score of an audit.
        interrupted: Whether the session stopped before its end.
    """
    headline = collected.headline() if collected.records else "claims about explanations: none"
    said = ["The session stopped before its end."] * interrupted + [*notes, *collected.warnings()]
    blocks = [f"## {as_text(headline[0].upper() + headline[1:])}", *(f"> {as_text(note)}" for note in said)]
    news = collected.news()
    if news:
        blocks.append(_table(("verdict", "claim", "found", "test"), (_row(record) for record in news), len(news)))
        blocks.append(_commands(news))
    folded = list(collected.folded())
    if folded:
        blocks.append(_table(("verdict", "explainer", "claims"), map(_passed, folded), len(folded)))
    return "\n\n".join(blocks) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], count: int) -> str:
    """Return a table, and how many rows it lacks."""
    shown = [row for _, row in zip(range(_ROWS), rows, strict=False)]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *shown)]
    rest = count - len(shown)
    return "\n".join(lines) + (f"\n\nAnd {rest} more." if rest else "")


def _row(record: Record) -> Sequence[str]:
    word = f"**{record.outcome}**" + (" (tolerated)" if record.tolerated else "")
    if record.test_outcome == "passed" and not record.tolerated:
        word += " (the test passed)" if record.outcome != "passed" else ""
    found = [] if record.outcome == "error" else [as_text(numbers(record))]
    if record.regression and record.compared is not None:
        word += f", **{record.regression}**"
        found.append(as_text(record.compared["reason"]))
    where = f"{as_code(record.test)}, line {record.line}" if record.line else as_code(record.test)
    return word, as_code(record.claim), "<br>".join([*found, as_text(record.reason)]), where


def _passed(folded: Folded) -> Sequence[str]:
    word, explainer, claims = folded
    return word, as_code(explainer), as_text(", ".join(claims))


def _commands(records: Sequence[Record]) -> str:
    """Return what decides these claims again, folded away; a blank line would end the block of HTML."""
    lines = "\n".join(_unique(escape(short(record.reproduce, _LONGEST)) for record in records[:_ROWS]))
    return f"<details><summary>Reproduce</summary>\n<pre>\n{lines}\n</pre>\n</details>"


def _unique(lines: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(lines))


def as_text(text: str) -> str:
    """Return a text that Markdown and HTML take for nothing but text, on one line."""
    plain = short(text, _LONGEST).translate(_ACTIVE | _ENTITIES)
    return re.sub(r":(?=//)|(?<=www)\.", r"\\\g<0>", plain, flags=re.IGNORECASE)  # these would become links


def as_code(text: str) -> str:
    """Return a text likewise, as code."""
    return f"<code>{as_text(text)}</code>"
