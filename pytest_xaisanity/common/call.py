"""Frozen values that tell how they are made."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


__all__ = ["Call"]


class Call:
    """A frozen value whose ``repr`` is the shortest call that rebuilds it."""

    def __repr__(self) -> str:
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}  # type: ignore[arg-type]
        given = [f"{name}={value!r}" for name, (value, default) in values.items() if value != default]
        return f"{type(self).__name__}({', '.join(given)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the same in the reports of Hypothesis, which spells out every field of a dataclass."""
        printer.text(repr(self))
