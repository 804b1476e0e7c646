"""Controls: what maps that do not come from the model score beside the explainer's, on a few inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..statistics.evidence import Part, Row, number

__all__ = ["CONTROLLED", "Alike", "Control", "Controls", "Resemblance", "Score"]

CONTROLLED = 16  # inputs that controls are shown on: they do not decide


class Control(ABC):
    """One control.

    Attributes:
        name: What it is: ``"fresh noise"``.
    """

    name: str

    @abstractmethod
    def plain(self) -> dict[str, object]:
        """Return its values by name."""

    @abstractmethod
    def text(self) -> str:
        """Return them as a person reads them."""


C = TypeVar("C", bound=Control)


@dataclass(frozen=True)
class Score(Control):
    """What the maps score on a metric, on average over ``n`` inputs."""

    name: str
    score: float
    n: int

    def plain(self) -> dict[str, object]:
        """Return the score and the number of inputs."""
        return {"score": self.score, "n": self.n}

    def text(self) -> str:
        """Return both."""
        return f"{number(self.score)} (first {self.n} inputs)"


@dataclass(frozen=True)
class Alike(Control):
    """How alike two draws of the maps are, by similarity: on the same input, and on another one."""

    name: str
    after: Mapping[str, float | None]
    chance: Mapping[str, float | None]

    def plain(self) -> dict[str, object]:
        """Return both for each similarity."""
        return {name: {"after": self.after[name], "chance": self.chance[name]} for name in self.after}

    def text(self) -> str:
        """Return both for each similarity."""
        return ", ".join(
            f"{name} {number(self.after[name])} (unrelated inputs {number(self.chance[name])})" for name in self.after
        )


@dataclass(frozen=True)
class Resemblance(Control):
    """How alike explanations and the edges of the same images are, by similarity.

    Attributes:
        name: ``"edge resemblance"``.
        before: Of the explanations before the intervention.
        after: Of those after it, by position.
        null: Of noise.
    """

    name: str
    before: Mapping[str, float | None]
    after: Mapping[str, Sequence[float | None]]
    null: Mapping[str, float | None]

    def plain(self) -> dict[str, object]:
        """Return the three for each similarity."""
        return {
            name: {"before": self.before[name], "after": list(self.after[name]), "null": self.null[name]}
            for name in self.after
        }

    def text(self) -> str:
        """Return the three for each similarity."""
        return ", ".join(self._one(name) for name in self.after)

    def _one(self, name: str) -> str:
        known = [one for one in self.after[name] if one is not None]
        ends = dict.fromkeys((number(min(known)), number(max(known)))) if known else ("unknown",)
        noise = number(self.null[name])
        return f"{name} {number(self.before[name])} before, {' to '.join(ends)} after (noise {noise})"


@dataclass(frozen=True)
class Controls(Part):
    """The controls of a measurement."""

    controls: tuple[Control, ...] = ()

    def find_control(self, kind: type[C], name: str) -> C | None:
        """Return the control of a type and a name, or None."""
        return next((one for one in self.controls if isinstance(one, kind) and one.name == name), None)

    def get_control(self, kind: type[C], name: str | None = None) -> C:
        """Return the first control of a type, and of that name where one is given; it must be there."""
        for control in self.controls:
            if isinstance(control, kind) and name in (None, control.name):
                return control
        raise KeyError(f"no {name or kind.__name__} among {', '.join(control.name for control in self.controls)}")

    def plain(self) -> dict[str, object]:
        """Return each control under its name."""
        return {"controls": {control.name: control.plain() for control in self.controls}}

    def rows(self) -> Iterator[Row]:
        """Yield one row a control."""
        for control in self.controls:
            yield "control", f"{control.name}: {control.text()}"
