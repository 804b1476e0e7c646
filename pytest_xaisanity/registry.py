"""Names for things: the built-in ones, and those that other packages add by entry point."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from .errors import XaiError, unknown_name

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

    def get(self, name: str, *, where: str) -> Any:
        """Return what ``name`` stands for; ``where`` is the argument that held the name, for the error text."""
        if name in self._entries:
            module, attribute = self._entries[name].split(":")
            return getattr(importlib.import_module(module, "pytest_xaisanity"), attribute)
        if name in self._foreign:
            return self._foreign[name].load()
        raise unknown_name(where, name, self, kind=self.kind)

    def build(self, spec: Any, settings: Mapping[str, Any], *, where: str, also: Iterable[str] = ()) -> Any:
        """Return ``spec`` itself when it is an object, else the named class called with ``settings``.

        Unknown settings are an error that names the nearest known one; ``also`` are keywords that would have been
        known before they got here.
        """
        if not isinstance(spec, str):
            if settings:
                names = ", ".join(sorted(settings))
                raise XaiError(
                    where,
                    found=f"the {self.kind} as an object together with its settings {names}",
                    expected="a name with settings, or an object that holds its own",
                    fix=f"pass {names} to {type(spec).__name__}(...) instead",
                )
            return spec
        factory = self.get(spec, where=where)
        known = inspect.signature(factory).parameters
        for setting in settings:
            if setting not in known:
                raise unknown_name(f"{where} {spec!r}", setting, [*known, *also], kind="setting")
        return factory(**settings)
