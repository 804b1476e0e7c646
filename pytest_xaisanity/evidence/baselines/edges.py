"""Edge maps: what an edge detector makes of the input, without a model (Adebayo et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...common.errors import XaiError
from ...maps.edges import edge_maps
from ...subject.block import Block
from ..base import Baseline

__all__ = ["Edges"]


@dataclass(frozen=True)
class Edges(Baseline):
    """The Sobel edge map of each image."""

    name: ClassVar[str] = "edges"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps ``(b, H, W)``."""
        if not block.layout.is_image:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in block.inputs)
            raise XaiError(
                "baseline 'edges'",
                found=f"inputs of shape {shapes}",
                expected="one tensor of images (N, C, H, W), or (N, H, W, C) with xai_axes='channels_last'",
                fix="use the baseline 'random'",
            )
        return [edge_maps(block.layout.channels_first(block.inputs[0])).to(like.dtype)]
