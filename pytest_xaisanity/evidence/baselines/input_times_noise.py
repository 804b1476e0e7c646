"""The input times noise: what a multiplication by the input makes of no explanation at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from ...subject.block import Block
from ...maps.uninformative import UninformativeMap

__all__ = ["InputTimesNoise"]


@dataclass(frozen=True)
class InputTimesNoise:
    """The input times normal noise: the null of methods that multiply by the input."""

    name: ClassVar[str] = "input_times_noise"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps of the shape of ``like``."""
        noise = UninformativeMap("gaussian", "both", match="input")
        return [noise.drawn(block, like, seed=seed, call="input times noise")]
