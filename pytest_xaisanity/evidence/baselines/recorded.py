"""The explainer's own recorded past: the scores that an earlier session wrote to a baseline file."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ...subject.block import Block
from ..base import Baseline, Cost, Lab, Measurement, Measuring, Scored

__all__ = ["Recorded", "RecordedScores"]


@dataclass(frozen=True)
class Recorded(Baseline):
    """The explainer's own recorded past, input by input: only what has improved beats it.

    Its scores are those of ``--xai-baseline``, and their mean where several recordings are accepted. Inputs that were
    not measured then are left out.
    """

    name: ClassVar[str] = "recorded"
    margin: ClassVar[float] = 0.01
    reach: ClassVar[float] = 0.25
    why_none: ClassVar[str] = "no recorded score"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Raise: scores were recorded, and no maps."""
        raise TypeError("measure its scores instead")

    def scores(self, own: Measurement[Scored]) -> RecordedScores:
        """Return what the explainer scored then, in place of a measurement of what it scores now."""
        return RecordedScores(own)


@dataclass(frozen=True)
class RecordedScores(Measurement[Scored]):
    """Recorded scores ``(n, recordings)``; NaN for inputs that were not measured then.

    Attributes:
        own: What measures the same of the explainer now.
    """

    own: Measurement[Scored]

    @property
    def key(self) -> Hashable:
        """Equal for records of the same measurement."""
        return ("recorded", self.own.key)

    @property
    def about(self) -> Literal["record"]:  # type: ignore[override]
        """An earlier session."""
        return "record"

    def start(self, lab: Lab, block: Block) -> _Looking:
        """Begin on the first block."""
        return _Looking(lab)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return nothing."""
        return Cost()


class _Looking(Measuring[Scored]):
    def __init__(self, lab: Lab) -> None:
        self.recorded = lab.recorded

    def measure(self, block: Block) -> Scored:
        """Return what was recorded of the inputs of a block."""
        rows = [[scores.get(one, np.nan) for scores in self.recorded] for one in block.fingerprints]
        return Scored(np.array(rows, np.float64))
