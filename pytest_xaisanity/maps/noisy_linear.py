"""Noisy linear imputation: removed pixels are interpolated, so that their outline tells no more than it must (ROAD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..common.checks import check_number
from ..common.errors import XaiError
from ..common.seeding import generator
from ..subject.layout import Layout
from .harmonic import harmonic_fill
from .imputation import Conditional

__all__ = ["NoisyLinear"]


@dataclass(frozen=True)
class NoisyLinear(Conditional):
    """Each removed pixel becomes the weighted mean of its eight neighbors, and a little noise (Rong et al. 2022).

    Weights are 1/6 along the edges and 1/12 at the corners, divided by their sum where neighbors lie beyond the border;
    neighbors that are removed too are solved for jointly, for each channel. The noise is normal, drawn by (seed, input)
    and the same at every removal; pixels that are kept have none. Where every pixel is removed, the system determines
    nothing, and the mean of the original image stands in its place, for each channel.

    Images alone, ``(N, C, H, W)``. Solved on the device of the inputs, to 1e-5 of the range of an image's values in
    single precision, see :func:`~pytest_xaisanity.maps.harmonic.harmonic_fill`.

    Args:
        noise: Standard deviation of the noise, 0 or more, in the units of the inputs.

    Raises:
        XaiError: ``noise`` is out of range.
    """

    noise: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", check_number("imputer 'noisy_linear' noise", self.noise, 0.0))

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the mean of each channel, and the noise; inputs that are no images are an error."""
        _check(inputs)
        means = inputs.mean((2, 3), keepdim=True)
        return means + self.drawn(inputs, seed=seed, indices=indices)

    def drawn(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the noise, of the shape of the inputs."""
        shape = inputs.shape[1:]
        # In float32 whatever the default type: other types draw other numbers.
        rows = [torch.randn(shape, dtype=torch.float32, generator=generator(seed, "imputer", i)) for i in indices]
        return (self.noise * torch.stack(rows)).to(inputs.device, inputs.dtype)

    def given(self, inputs: Tensor, removed: Tensor, drawn: Tensor) -> Tensor:
        """Return the interpolated pixels, and the noise."""
        _check(inputs)
        pixels = removed[:, 0]
        wide = inputs if inputs.dtype == torch.float64 else inputs.float()
        filled = harmonic_fill(wide, pixels)
        everything = pixels.flatten(1).all(1)
        if everything.any():
            filled[everything] = wide[everything].mean((2, 3), keepdim=True).expand_as(filled[everything])
        return filled.to(inputs.dtype).add_(drawn)


def _check(inputs: Tensor) -> None:
    if Layout.of((inputs,)).is_image and prod(inputs.shape[2:]) > 1:
        return
    raise XaiError(
        "imputer 'noisy_linear'",
        found=f"inputs of shape {tuple(inputs.shape)}",
        expected="images (N, C, H, W) of two pixels or more, whose neighbors can be interpolated",
        fix="use the imputer 'mean', 'constant' or 'noise', or 'conditional_mean' for tables",
    )
