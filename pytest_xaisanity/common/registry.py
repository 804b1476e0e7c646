"""Names for things: the built-in ones, and those that other packages add by entry point."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import XaiError, said, unknown_name

__all__ = ["Registry"]


class Registry:
    """A lazy mapping from names to classes or functions.

    Args:
        kind: What is registered, in one word, for error texts: ``"metric"``.
        entries: Name to ``"module:attribute"``, the module relative to this package.

    Other packages add theirs under the entry-point group ``pytest_xaisanity.<kind>``; a built-in name wins.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    @cached_property
    def _foreign(self) -> dict[str, Any]:
        return {point.name: point for point in entry_points(group=f"pytest_xaisanity.{self.kind}")}

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from (name for name in self._foreign if name not in self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._foreign

    def __getitem__(self, name: str) -> Any:
        """Return what a name stands for that has been checked before."""
        return self.get(name, where=self.kind)

    def get(self, name: str, *, where: str) -> Any:
        """Return what ``name`` stands for; ``where`` is the argument that held the name, for the error text."""
        if name in self._entries:
            module, attribute = self._entries[name].split(":")
            return getattr(importlib.import_module(module, "pytest_xaisanity"), attribute)
        if name in self._foreign:
            return self._load(name, where)
        raise unknown_name(where, name, self, kind=self.kind)

    def _load(self, name: str, where: str) -> Any:
        point = self._foreign[name]
        rivals = {p.value: _from(p) for p in entry_points(group=point.group) if p.name == name}
        if len(rivals) > 1:
            raise XaiError(
                where,
                found=f"{name!r}, which several packages register: {', '.join(sorted(rivals.values()))}",
                expected=f"one {self.kind} of this name",
                fix="remove one of the packages, or pass the object itself instead of its name",
            )
        try:
            return point.load()
        except Exception as error:
            raise XaiError(
                where,
                found=f"{name!r}, which another package registers but which cannot be loaded{said(error)}",
                expected=f"a {self.kind} at {point.value}",
                fix=f"repair or remove the package behind the entry point {point.group}: {name}",
            ) from error

    def build(self, spec: Any, settings: Mapping[str, Any], *, where: str, also: Iterable[str] = ()) -> Any:
        """Return ``spec`` itself when it is an object, else the class it is or names, called with ``settings``.

        Unknown settings are an error that names the nearest known one; ``also`` are keywords that would have been
        known before they got here.
        """
        if not isinstance(spec, (str, type)):
            if settings:
                names = ", ".join(sorted(settings))
                raise XaiError(
                    where,
                    found=f"the {self.kind} as an object together with its settings {names}",
                    expected="a name with settings, or an object that holds its own",
                    fix=f"pass {names} to {type(spec).__name__}(...) instead",
                )
            return spec
        factory = spec if isinstance(spec, type) else self.get(spec, where=where)
        try:
            signature = inspect.signature(factory)
        except ValueError:  # of a builtin class, which is none of ours
            raise unknown_name(where, spec, self, kind=self.kind) from None
        known = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        name = repr(spec if isinstance(spec, str) else spec.__name__)
        label = where if where.endswith(f"={name}") else f"{where} {name}"
        for setting in settings:
            if setting not in known and len(known) == len(signature.parameters):
                raise unknown_name(label, setting, [*known, *also], kind="setting")
        try:
            signature.bind(**settings)
        except TypeError as error:
            raise XaiError(
                label, found=f"settings that do not fit ({error})", expected=str(signature), fix="pass what is missing"
            ) from error
        return factory(**settings)


def _from(point: EntryPoint) -> str:
    """Return where an entry point leads, and the package that it came with."""
    return point.value if point.dist is None else f"{point.value} (of {point.dist.name})"
