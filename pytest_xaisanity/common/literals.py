"""Calls that are written as text, whose values are literals: nothing in them is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import NamedTuple

from .errors import XaiError, shown

__all__ = ["UNREADABLE", "Arguments", "arguments"]

UNREADABLE = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)  # what Python says of text that is none


class Arguments(NamedTuple):
    """What a call is given."""

    args: tuple[object, ...]
    settings: Mapping[str, object]


def arguments(call: ast.Call, text: str, *, where: str, otherwise: str, names: bool = False) -> Arguments:
    """Return the arguments of a call.

    Args:
        call: The call.
        text: What it was read from.
        where: The option that held it, for the error.
        otherwise: What to do where a value cannot be a literal, for the error.
        names: Whether a name without quotes is a text, as the shell leaves it.

    Raises:
        XaiError: A value is no literal, or a setting stands there twice or without its name.
    """
    if names:
        call = _Quoted().visit(call)
    args = tuple(_literal(one, text, where, otherwise) for one in call.args)
    settings: dict[str, object] = {}
    for one in call.keywords:
        if one.arg is None or one.arg in settings:
            found = f"{shown(text)}, with {'**' if one.arg is None else f'{one.arg}= twice'}"
            fix = "write them out, as in steps=8"
            raise XaiError(where, found=found, expected="each setting by its name, once", fix=fix)
        settings[one.arg] = _literal(one.value, text, where, otherwise)
    return Arguments(args, settings)


class _Quoted(ast.NodeTransformer):
    """Puts names that are values in quotes."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Return a call whose values are texts where they were names; what it calls keeps its name."""
        node.args = [self.visit(one) for one in node.args]
        node.keywords = [self.visit(one) for one in node.keywords]
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the text that a name is."""
        return ast.copy_location(ast.Constant(node.id), node)


def _literal(node: ast.expr, text: str, where: str, otherwise: str) -> object:
    try:
        return ast.literal_eval(node)
    except UNREADABLE:
        pass
    found = shown(ast.get_source_segment(text, node))
    expected = "a number, a text in quotes, True, False, None or a tuple of these"
    fix = f"write {node.id!r}, in quotes" if isinstance(node, ast.Name) else otherwise
    raise XaiError(where, found=found, expected=expected, fix=fix)
