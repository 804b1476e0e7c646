"""What a verdict rests on: typed parts, each of which says itself what a machine and what a person reads of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

from ..report.figures import Figure

__all__ = ["Axis", "Evidence", "Part", "Remark", "Row", "Sample", "number"]

Row = tuple[str, str]  # a label and a text
P = TypeVar("P", bound="Part")


class Part(ABC):
    """A part of the evidence: a frozen dataclass of values that belong together."""

    @abstractmethod
    def plain(self) -> dict[str, object]:
        """Return the values under their names in reports: numbers, arrays, text, lists and mappings of these."""

    def rows(self) -> Iterator[Row]:
        """Yield what a person reads of it, where anything is for a person: a label and a text each."""
        yield from ()

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield what a report draws of it, where there is anything to draw: curves, tables, maps.

        It is asked only when a report is written.

        Args:
            beside: All of the evidence, which may say what the points of a curve are.
        """
        yield from ()


class Remark(Part):
    """A part that the reason of a verdict tells too, unless the claim has passed: ``str`` of it, in one clause.

    Attributes:
        always: Whether it is told of a claim that has passed as well.
    """

    always: ClassVar[bool] = False

    @abstractmethod
    def __str__(self) -> str:
        """Return the clause."""


class Axis(Part):
    """A part that says what the points of a metric's curves are.

    Attributes:
        joined: Whether they follow one another, so that a line may join them.
    """

    joined: ClassVar[bool] = True

    @property
    @abstractmethod
    def across(self) -> str:
        """What the points are: ``"removed fraction"``."""

    @property
    @abstractmethod
    def points(self) -> tuple[float, ...] | tuple[str, ...]:
        """Where each point lies, or what it is called."""

    @property
    @abstractmethod
    def up(self) -> str:
        """What the values of a curve are: ``"probability"``."""


class Evidence(Mapping[str, object]):
    """The parts of a verdict's evidence, which also read as one mapping of plain values.

    >>> verdict.evidence["layers"], verdict.evidence.find(Randomized).layers    # doctest: +SKIP
    """

    def __init__(self, *parts: Part) -> None:
        self.parts = parts

    def find(self, kind: type[P]) -> P | None:
        """Return the first part of a type, or None."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def get_part(self, kind: type[P]) -> P:
        """Return the first part of a type, which must be there."""
        part = self.find(kind)
        if part is None:
            raise KeyError(f"no {kind.__name__} among {', '.join(type(part).__name__ for part in self.parts)}")
        return part

    def rows(self) -> Iterator[Row]:
        """Yield what a person reads, part by part."""
        for part in self.parts:
            yield from part.rows()

    def figures(self) -> Iterator[Figure]:
        """Yield what a report draws, part by part."""
        for part in self.parts:
            yield from part.figures(self)

    def plain(self) -> dict[str, object]:
        """Return all values by name; of two parts that name the same, the later one counts."""
        return {name: value for part in self.parts for name, value in part.plain().items()}

    @cached_property
    def _plain(self) -> dict[str, object]:
        return self.plain()

    def __getitem__(self, name: str) -> object:
        return self._plain[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)

    def __repr__(self) -> str:
        return f"<evidence: {', '.join(type(part).__name__ for part in self.parts)}>"


@dataclass(frozen=True)
class Sample(Part):
    """What was measured.

    Attributes:
        indices: The place of each input in what the user gave, in the order in which they were visited.
        seed: The seed everything was drawn with.
        drawn_from: How many inputs there were, where only a random part of them could be visited; else None.
    """

    indices: tuple[int, ...]
    seed: int
    drawn_from: int | None = None

    def plain(self) -> dict[str, object]:
        """Return the indices and the seed, and how many inputs there were where they are a part."""
        part = {} if self.drawn_from is None else {"drawn_from": self.drawn_from}
        return {"indices": list(self.indices), "seed": self.seed, **part}

    def rows(self) -> Iterator[Row]:
        """Yield of how many inputs these were drawn, where they are a part."""
        if self.drawn_from is not None:
            yield "inputs", f"{len(self.indices):,} of the {self.drawn_from:,} of an iterator, drawn at random"


def number(value: float | None) -> str:
    """Return a number as people read it: three digits, or "unknown" where there is none."""
    return "unknown" if value is None or value != value else f"{value:.3g}"
