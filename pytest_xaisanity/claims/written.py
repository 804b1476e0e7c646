"""Claims as they are written in one line: ``changes_under("cascading_randomization", depth=1)``."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import NamedTuple

from ..common.errors import XaiError, shown, unknown_name
from ..common.literals import UNREADABLE, arguments
from .make import VERBS

__all__ = ["Written", "read"]

_ONE_EACH = "give {} once for each claim"
_EXAMPLE = 'beats("random", on="pixel_flipping")'
_MARKED = 'write settings beside the name, as in on="pixel_flipping", steps=8; or mark a test, which may hold any value'


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

    Names need no quotes, so that a shell may take the only ones: ``'changes_under(cascading_randomization, depth=3)'``.

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
    args, settings = arguments(call, text, where=where, otherwise=_MARKED, names=True)
    return Written(verb, args, settings)


def _code(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_code, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _call(text: str, where: str) -> tuple[str, ast.Call]:
    """Return the one call that a text is, and the name that it calls."""
    try:
        call = ast.parse(text, mode="eval").body
    except UNREADABLE as error:
        found = f"{shown(text)} ({error.msg})" if isinstance(error, SyntaxError) else shown(text)
        fix = _ONE_EACH.format(where) if ";" in text else _how()
        raise _error(where, found, "a call of one of the verbs", fix) from None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
        return call.func.id, call
    fix = _ONE_EACH.format(where) if isinstance(call, ast.Tuple) else _how()
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        fix = f"begin with the verb, as a method is called: {call.func.attr}(...)"
    raise _error(where, shown(text), f"a call of one of the verbs {', '.join(VERBS)}", fix)


def _how() -> str:
    return f"write it as in a test, in quotes for the shell: '{_EXAMPLE}'"


def _error(where: str, found: str, expected: str, fix: str) -> XaiError:
    return XaiError(where, found=found, expected=expected, fix=fix)
