"""What a report draws of a verdict, as plain values: scales, curves, tables, and inputs with their maps.

Parts of the evidence yield these (:meth:`~pytest_xaisanity.statistics.evidence.Part.figures`), only when a report is
asked for. They hold no more than is drawn, so that they are small and travel between processes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

__all__ = [
    "LEVELS",
    "NOT_FINITE",
    "Chart",
    "Exhibit",
    "Fact",
    "Figure",
    "Figures",
    "Heat",
    "Line",
    "Mark",
    "Named",
    "Numbers",
    "Picture",
    "Scale",
    "Table",
]

LEVELS = 254  # steps of a scale; an even number, so that zero stands on a step of one that is symmetric
NOT_FINITE = 255
Values: TypeAlias = tuple[float | None, ...]


@dataclass(frozen=True)
class Numbers:
    """Numbers in 8 bits each.

    Attributes:
        shape: ``(n,)``, ``(H, W)``, or ``(H, W, 3)`` for colors.
        data: A byte for each number in base 64: its step from ``low`` to ``high``, 254 in all, or 255 where it is not
            finite.
        low: What the first step stands for.
        high: What the last step stands for.
    """

    shape: tuple[int, ...]
    data: str
    low: float
    high: float

    @classmethod
    def of_bytes(cls, shape: tuple[int, ...], steps: bytes, low: float, high: float) -> Numbers:
        """Return the numbers of these steps."""
        return cls(shape, base64.b64encode(steps).decode("ascii"), low, high)

    @property
    def steps(self) -> bytes:
        """The step of each number."""
        return base64.b64decode(self.data)

    @property
    def values(self) -> list[float | None]:
        """The numbers, as exact as their steps; None where they are not finite."""
        width = (self.high - self.low) / LEVELS
        return [None if step == NOT_FINITE else self.low + step * width for step in self.steps]

    @property
    def signed(self) -> bool:
        """Whether the scale has negative numbers."""
        return self.low < 0

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Numbers:
        """Return the reverse of ``asdict``."""
        return cls(**{**values, "shape": tuple(values["shape"])})


@dataclass(frozen=True)
class Mark:
    """A value on a scale that is no threshold, such as what a control has."""

    name: str
    value: float


@dataclass(frozen=True)
class Scale:
    """What estimate and interval are held against.

    Attributes:
        low: The least that the estimate can be, or where its scale begins; None where it has no end.
        high: Likewise the greatest.
        at_least: The claim passes above it, where it is given.
        at_most: The claim passes below it, likewise.
        margin: A smaller advantage over ``at_least`` counts as none.
        marks: Other values on the same scale.
    """

    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    margin: float = 0.0
    marks: tuple[Mark, ...] = ()

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Scale:
        """Return the reverse of ``asdict``."""
        return cls(**{**values, "marks": tuple(Mark(**mark) for mark in values["marks"])})


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Whose it is.
        values: One a point; None where there is none.
        low: The lower edge of a band around it, or nothing.
        high: Its upper edge.
        beside: Whether it is not the explainer's own, but a baseline's or a control's.
    """

    name: str
    values: Values
    low: Values = ()
    high: Values = ()
    beside: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over shared points.

    Attributes:
        title: What they show.
        across: What the points are.
        up: What the values are.
        points: Where each point lies, or what it is called.
        lines: The lines.
        levels: Values across all points, by name: a threshold, chance.
        joined: Whether neighboring points are joined; otherwise bands are whiskers.
        note: What is to be known of it, such as what the bands are.
        limits: Between which values it is drawn, at most.
    """

    title: str
    across: str
    up: str
    points: tuple[float, ...] | tuple[str, ...]
    lines: tuple[Line, ...]
    levels: tuple[Mark, ...] = ()
    joined: bool = True
    note: str = ""
    limits: tuple[float, float] | None = None

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Chart:
        """Return the reverse of ``asdict``."""
        lines = tuple(Line(**{key: _tupled(value) for key, value in line.items()}) for line in values["lines"])
        levels = tuple(Mark(**level) for level in values["levels"])
        limits = _tupled(values["limits"])
        return cls(**{**values, "points": tuple(values["points"]), "lines": lines, "levels": levels, "limits": limits})


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        title: What they show.
        head: The name of each column.
        rows: The cells of each row.
        targets: Whether the first column names targets.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    targets: bool = False

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Table:
        """Return the reverse of ``asdict``."""
        return cls(**{**values, "head": tuple(values["head"]), "rows": tuple(map(tuple, values["rows"]))})


@dataclass(frozen=True)
class Heat:
    """A map that is shown by itself.

    Attributes:
        title: What it is.
        values: Its numbers.
        note: What is to be known of it.
    """

    title: str
    values: Numbers
    note: str = ""

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Heat:
        """Return the reverse of ``asdict``."""
        return cls(**{**values, "values": Numbers.of_plain(values["values"])})


@dataclass(frozen=True)
class Named:
    """A map under the name of what it is: ``"explanation"``, ``"after conv2 (seed 3)"``."""

    name: str
    values: Numbers


@dataclass(frozen=True)
class Picture:
    """One tensor of an input, and maps of it.

    Attributes:
        kind: ``"image"``, ``"series"``, ``"tokens"`` or ``"table"``.
        given: What the input is, of an image or a series ``(channels, places)``; None of others.
        words: A word for each token, or the name of each feature.
        texts: The value of each feature.
        maps: The maps, at the same places.
        note: Which part of the input is shown, where it is a part.
    """

    kind: Literal["image", "series", "tokens", "table"]
    given: Numbers | None
    maps: tuple[Named, ...]
    words: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Picture:
        """Return the reverse of ``asdict``."""
        given = None if values["given"] is None else Numbers.of_plain(values["given"])
        maps = tuple(Named(one["name"], Numbers.of_plain(one["values"])) for one in values["maps"])
        words, texts = tuple(values["words"]), tuple(values["texts"])
        return cls(**{**values, "given": given, "maps": maps, "words": words, "texts": texts})


@dataclass(frozen=True)
class Exhibit:
    """An input that is shown.

    Attributes:
        index: Its place in what the user gave.
        target: What is explained of it, as text, or nothing.
        note: How it stands to the claim: its score, where it is one of the worst.
        pictures: One for each tensor.
    """

    index: int
    target: str
    note: str
    pictures: tuple[Picture, ...]

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Exhibit:
        """Return the reverse of ``asdict``."""
        return cls(**{**values, "pictures": tuple(map(Picture.of_plain, values["pictures"]))})


@dataclass(frozen=True)
class Fact:
    """What is to be known of the subject: a label and a text."""

    label: str
    text: str


Figure: TypeAlias = Scale | Chart | Table | Heat | Exhibit | Fact


@dataclass(frozen=True)
class Figures:
    """All that is drawn of one verdict."""

    scale: Scale | None = None
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    heats: tuple[Heat, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    facts: tuple[Fact, ...] = ()

    @classmethod
    def of(cls, figures: Iterable[Figure]) -> Figures:
        """Return them by kind; of several scales the last counts."""
        every = list(figures)
        return cls(
            scale=next((one for one in reversed(every) if isinstance(one, Scale)), None),
            charts=tuple(one for one in every if isinstance(one, Chart)),
            tables=tuple(one for one in every if isinstance(one, Table)),
            heats=tuple(one for one in every if isinstance(one, Heat)),
            exhibits=tuple(one for one in every if isinstance(one, Exhibit)),
            facts=tuple(one for one in every if isinstance(one, Fact)),
        )

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Figures:
        """Return the reverse of :meth:`plain`."""
        return cls(
            scale=None if values["scale"] is None else Scale.of_plain(values["scale"]),
            charts=tuple(map(Chart.of_plain, values["charts"])),
            tables=tuple(map(Table.of_plain, values["tables"])),
            heats=tuple(map(Heat.of_plain, values["heats"])),
            exhibits=tuple(map(Exhibit.of_plain, values["exhibits"])),
            facts=tuple(Fact(**fact) for fact in values["facts"]),
        )


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
