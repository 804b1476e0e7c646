"""What every metric offers to the verbs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..subject import Block, Subject

__all__ = ["Metric", "Scores"]


@dataclass(frozen=True)
class Scores:
    """Scores of a block of inputs.

    Attributes:
        values: One score an input, ``(b,)``.
        curves: Named curves, one row an input, ``(b, points)``.
    """

    values: Tensor
    curves: Mapping[str, Tensor] = field(default_factory=dict)


class Metric(Protocol):
    """A metric scores attribution maps, block by block.

    Attributes:
        name: Its name in the registry.

    A metric with a method ``measurement()`` says itself what a claim has measured, and needs no ``prepare`` and
    ``score``. With an attribute ``undefined = True`` its scores may be NaN, where a map is constant or not finite;
    a claim counts these against either decision.
    """

    name: str

    @property
    def key(self) -> Hashable:
        """Equal for equal settings."""

    @property
    def low(self) -> float:
        """The least possible score, or minus infinity."""

    @property
    def high(self) -> float:
        """The greatest possible score, or infinity."""

    @property
    def higher_is_better(self) -> bool:
        """Which direction is better."""

    def prepare(self, subject: Subject, block: Block, seed: int) -> Any:
        """Return what all scores of one block share, such as the outputs on the untouched inputs."""

    def score(self, prepared: Any, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores of ``maps`` ``(b, *places)``; ``draw`` tells apart what is drawn for different maps."""

    def describe(self, prepared: Any) -> dict[str, Any]:
        """Return plain values for the evidence: axes of curves, what was removed, what the outputs are."""
