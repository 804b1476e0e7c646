"""What is drawn of a verdict, with the words for tokens and targets that the suite has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ..common.errors import XaiError, said

if TYPE_CHECKING:
    from ..report.figures import Exhibit, Figures, Picture, Table
    from ..statistics.verdict import Verdict

__all__ = ["figures_of"]

Words = Callable[[int], str]


def figures_of(verdict: Verdict, request: pytest.FixtureRequest) -> Figures:
    """Return what is drawn of a verdict.

    Args:
        verdict: The verdict.
        request: The fixtures of the test, such as ``xai_tokenizer`` and ``xai_class_names``.

    Raises:
        XaiError: These make no words.
    """
    from ..report.figures import Figures

    figures = Figures.of(verdict.evidence.figures())
    if any(picture.kind == "tokens" for exhibit in figures.exhibits for picture in exhibit.pictures):
        words = _words(request.getfixturevalue("xai_tokenizer"), "xai_tokenizer")
        figures = replace(figures, exhibits=tuple(_with_words(one, words) for one in figures.exhibits))
    named = _words(request.getfixturevalue("xai_class_names"), "xai_class_names")
    exhibits = tuple(replace(one, target=_called(one.target, named)) for one in figures.exhibits)
    return replace(figures, exhibits=exhibits, tables=tuple(_with_names(one, named) for one in figures.tables))


def _words(given: Any, where: str) -> Words:
    """Return what makes a word of a number: of an id, or of a target."""
    decode = getattr(given, "decode", None)
    make: Callable[[int], object]
    if given is None:
        return str
    if callable(decode):
        make = lambda number: decode([number])  # noqa: E731
    elif isinstance(given, (Mapping, Sequence)) and not isinstance(given, str):
        make = _looked_up(given)
    elif callable(given):
        make = given
    else:
        raise _no_words(where, f"an object of type {type(given).__name__}")

    def word(number: int) -> str:
        try:
            return str(make(number)) or str(number)
        except Exception as error:
            raise _no_words(where, f"{type(error).__name__} raised for {number}{said(error)}") from error

    return word


def _looked_up(given: Mapping[int, object] | Sequence[object]) -> Callable[[int], object]:
    def look_up(number: int) -> object:
        if isinstance(given, Mapping):
            return given.get(number, number)
        return given[number] if 0 <= number < len(given) else number

    return look_up


def _no_words(where: str, found: str) -> XaiError:
    return XaiError(
        where,
        found=found,
        expected="a list or a mapping of words, a function of a whole number that returns one"
        + (", or a tokenizer" if where == "xai_tokenizer" else ""),
        fix=f"call what {where} returns by hand, or leave the fixture out: numbers are shown then",
    )


def _with_words(exhibit: Exhibit, words: Words) -> Exhibit:
    return replace(exhibit, pictures=tuple(_picture(one, words) for one in exhibit.pictures))


def _picture(picture: Picture, words: Words) -> Picture:
    if picture.kind != "tokens":
        return picture
    return replace(picture, words=tuple(words(int(one)) for one in picture.words))


def _with_names(table: Table, named: Words) -> Table:
    if not table.targets:
        return table
    return replace(table, rows=tuple((_called(first, named), *rest) for first, *rest in table.rows))


def _called(target: str, named: Words) -> str:
    """Return a target with its name; the first number of one with several tells it."""
    first = target.partition(",")[0]
    name = named(int(first)) if first else first
    return target if name == first else f"{target} ({name})"
