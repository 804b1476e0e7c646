"""Edge maps: what an edge detector makes of the input, without a model (Adebayo et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import XaiError
from ..subject import Block

__all__ = ["Edges", "edge_maps"]


def edge_maps(images: Tensor) -> Tensor:
    """Return the Sobel gradient magnitude of images ``(b, C, H, W)``, summed over channels: ``(b, H, W)``."""
    wide = images if images.dtype == torch.float64 else images.float()
    across = wide.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([across, across.T])[:, None]
    count, channels, height, width = wide.shape
    padded = F.pad(wide, (1, 1, 1, 1), mode="replicate").reshape(count * channels, 1, height + 2, width + 2)
    magnitude = F.conv2d(padded, kernels).square().sum(1).sqrt()
    return magnitude.reshape(count, channels, height, width).sum(1)


@dataclass(frozen=True)
class Edges:
    """The Sobel edge map of each image."""

    name: ClassVar[str] = "edges"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps ``(b, H, W)``."""
        if len(block.inputs) != 1 or block.inputs[0].ndim != 4:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in block.inputs)
            raise XaiError(
                "baseline 'edges'",
                found=f"inputs of shape {shapes}",
                expected="one tensor of images (N, C, H, W)",
                fix="use the baseline 'random'",
            )
        return [edge_maps(block.inputs[0]).to(like.dtype)]
