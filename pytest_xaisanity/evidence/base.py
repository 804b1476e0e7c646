"""What interventions, metrics and baselines offer to the claims."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..explainers.attributions import Attributions
from ..subject.block import Block
from ..subject.subject import Subject

__all__ = ["Intervention", "MapSource", "Metric", "Procedure", "Scores", "every_reading", "sign_blind"]


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


class MapSource(Protocol):
    """A baseline that makes maps; one whose ``explains`` is true makes them from the explainer's own."""

    name: str

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one or more batches of maps of the shape of ``like``: the explainer's maps where it explains."""


class Procedure(Protocol):
    """An intervention on one subject and explainer, begun on its first block.

    It may also have a method ``control(block)``, which yields maps to compare with in place of a second run of the
    explainer, where an explanation changes for a reason that is not the point. Its description then has ``ceiling``:
    that reason in words.

    Attributes:
        shape: ``(seeds, positions)``: how many maps it yields for each input.

    A session whose maps are not made as ``explained`` makes them (those of noisy copies, averaged) has an attribute of
    that name, which makes the maps before the intervention alike. It may also have ``similarities(image)``: the names
    of those that decide where the claim names none, for maps that are images or are not.
    """

    shape: tuple[int, int]

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps ``(b, *places)`` after the intervention, all positions of the first seed first.

        The intervention is undone when the generator ends or is closed.
        """

    def describe(self) -> dict[str, Any]:
        """Return plain values for the evidence."""


class Intervention(Protocol):
    """A change to the model or the inputs, with its settings.

    Attributes:
        name: Its name in the registry.
        relations: The verbs it goes with: ``"changes_under"``, ``"invariant_under"``.
    """

    name: str
    relations: tuple[str, ...]

    @property
    def key(self) -> Hashable:
        """Equal for equal settings."""

    def start(self, explained: Attributions, block: Block) -> Procedure:
        """Return the session that makes this intervention."""


def every_reading(image: bool) -> tuple[str, ...]:
    """Return the similarities that decide together where nothing is known of the change."""
    return ("spearman", "abs_spearman", *(["ssim"] if image else []))


def sign_blind(image: bool) -> tuple[str, ...]:
    """Return the similarity for maps that differ by a scalar of either sign when nothing has changed."""
    return ("sign_flip_ssim",) if image else ("abs_pearson",)
