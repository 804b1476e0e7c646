"""Claims as they are written in one line: ``changes_under("cascading_randomization", depth=1)``."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import NamedTuple

from ..common.errors import XaiError, shown, unknown_name
from .make import VERBS

__all__ = ["Written", "read"]

_EXAMPLE = 'beats("random", on="pixel_flipping")'
_UNREADABLE = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)  # what Python says of text that is none


class Written(NamedTuple):
    """A claim as a marker holds it: its verb, arguments and keywords."""

    verb: str
    args: tuple[object, ...]
    settings: Mapping[str, object]

    def __str__(self) -> str:
        """Return the claim as code, which :func:`read` reads again.

        >>> str(Written("beats", ("random",), {"on": "pixel_flipping", "steps": 8}))
        'beats("random", on="pixel_flipping", steps=8)'
        """
        values = [*map(_code, self.args), *(f"{name}={_code(value)}" for name, value in self.settings.items())]
        return f"{self.verb}({', '.join(values)})"


def read(text: str, *, where: str) -> Written:
    """Return the claim that a text writes: one call of a verb, whose values are literals; nothing is evaluated.

    Args:
        text: The text.
        where: The option that held it, for the error.

    Raises:
        XaiError: It is no such call, or there is no such verb.

    >>> read('beats("random", on="pixel_flipping", steps=8)', where="--xai-claim")
    Written(verb='beats', args=('random',), settings={'on': 'pixel_flipping', 'steps': 8})
    """
    text = text.strip()
    verb, call = _call(text, where)
    if verb not in VERBS:
        raise unknown_name(where, verb, VERBS, kind="verb")
    args = tuple(_literal(one, text, where) for one in call.args)
    settings: dict[str, object] = {}
    for one in call.keywords:
        if one.arg is None or one.arg in settings:
            found = f"{shown(text)}, with {'**' if one.arg is None else f'{one.arg}= twice'}"
            raise _error(where, found, "each setting by its name, once", "write them out, as in steps=8")
        settings[one.arg] = _literal(one.value, text, where)
    return Written(verb, args, settings)


def _code(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_code, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call(text: str, where: str) -> tuple[str, ast.Call]:
    """Return the one call that a text is, and the name that it calls."""
    try:
        call = ast.parse(text, mode="eval").body
    except _UNREADABLE as error:
        found = f"{shown(text)} ({error.msg})" if isinstance(error, SyntaxError) else shown(text)
        raise _error(where, found, "a call of one of the verbs", _how()) from None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
        return call.func.id, call
    raise _error(where, shown(text), f"a call of one of the verbs {', '.join(VERBS)}", _how())


def _literal(node: ast.expr, text: str, where: str) -> object:
    try:
        return ast.literal_eval(node)
    except _UNREADABLE:
        pass
    found = shown(ast.get_source_segment(text, node))
    fix = f"write {node.id!r}, in quotes" if isinstance(node, ast.Name) else "mark a test with it, which may hold any"
    raise _error(where, found, "a number, a text in quotes, True, False, None or a tuple of these", fix)


def _how() -> str:
    return f"write it as in a test, in quotes for the shell: '{_EXAMPLE}'"


def _error(where: str, found: str, expected: str, fix: str) -> XaiError:
    return XaiError(where, found=found, expected=expected, fix=fix)
