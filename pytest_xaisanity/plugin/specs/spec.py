"""Reading a SPEC: where something is found, its name there, and what it is called with."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ...common.errors import XaiError, nearest, shown
from ...common.literals import UNREADABLE, Arguments, arguments

__all__ = ["Spec", "read_spec"]

_IN_A_FUNCTION = "write a function without arguments that makes it, and name that"


class Spec(NamedTuple):
    """A SPEC as it is written.

    Attributes:
        text: The whole of it.
        home: What stands before the colon: a library (``"torchvision"``), a module or a Python file; empty for a path.
        name: What stands behind it, or the path.
        given: What it is called with; None where it has no parentheses.
    """

    text: str
    home: str
    name: str
    given: Arguments | None

    @property
    def args(self) -> tuple[object, ...]:
        """Its arguments."""
        return () if self.given is None else self.given.args

    @property
    def settings(self) -> Mapping[str, object]:
        """Its keywords."""
        return {} if self.given is None else self.given.settings


def read_spec(
    text: str, *, where: str, folder: Path, libraries: Collection[str], paths: bool, expected: str, hint: str = ""
) -> Spec:
    """Return what a text says: ``home:name``, with arguments in parentheses or not, or a path.

    Args:
        text: The text.
        where: The option that held it, for errors.
        folder: What paths are relative to.
        libraries: The homes behind which a name may hold colons, slashes and dots: ``"hf:./folder"``.
        paths: Whether a path alone is a SPEC of this option.
        expected: What is, for errors.
        hint: What to do about a text without a colon, where more is known.

    Raises:
        XaiError: It is none; an argument is no literal.

    >>> read_spec(
    ...     "nets:make(3, wide=True)", where="--xai-model", folder=Path(), libraries=(), paths=False, expected=""
    ... )[1:3]
    ('nets', 'make')
    """
    text = text.strip()
    if paths and text and _is_path(text, folder):
        return Spec(text, "", text, None)
    head, paren, _ = text.partition("(")
    given = _given(text, len(head), where) if paren else None
    library = head.partition(":")[0]
    home, colon, name = head.partition(":") if library in libraries else head.rpartition(":")
    if paths and not colon and (_is_path(head, folder) or "/" in head):
        return Spec(text, "", head, given)
    sound = library in libraries or all(part.isidentifier() for part in name.split("."))
    if paths and not colon and text:
        near = nearest(head, [one.name for one in folder.iterdir()])
        raise XaiError(
            where,
            found=f"{text!r}, which is no file and no folder here",
            expected=expected,
            fix=f"use {' or '.join(map(repr, near))}, the nearest here" if near else "check the path",
        )
    if not colon or not home or not name or not sound:
        fix = hint or "put a colon between the module and the name in it, as in captum.attr:Saliency"
        raise XaiError(where, found=repr(text), expected=expected, fix=fix)
    return Spec(text, home, name, given)


def _is_path(text: str, folder: Path) -> bool:
    try:
        return (folder / text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # no name of a file can be like this
        return False


def _given(text: str, start: int, where: str) -> Arguments:
    try:
        call = ast.parse(f"_{text[start:]}", mode="eval").body
    except UNREADABLE:
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise XaiError(
            where,
            found=shown(text),
            expected="one pair of parentheses behind the name, with literals in them",
            fix="write it as a call, in quotes for the shell: 'package.module:make(3, width=2)'",
        )
    return arguments(call, f"_{text[start:]}", where=where, otherwise=_IN_A_FUNCTION)
