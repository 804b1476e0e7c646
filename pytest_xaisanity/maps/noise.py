"""Noise of each family, and the magnitude of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..common.seeding import generator
from ..subject.block import Inputs
from ..subject.layout import Layout
from .imputation import gaussian_blur

__all__ = ["NOISE", "magnitude", "noise_maps"]

Draw = Callable[[tuple[int, ...], int, torch.Generator], Tensor]


def magnitude(layout: Layout, inputs: Inputs, like: Tensor) -> Tensor:
    """Return the root mean square over channels of inputs of this layout, in the shape of the maps ``like``."""
    if layout.kind == "tokens":
        return torch.ones_like(like)  # a token's number says nothing of its size
    magnitudes = layout.magnitude(inputs, like.dtype)
    return magnitudes if magnitudes.shape == like.shape else magnitudes[:, None].expand_as(like)


# Every family has a root mean square of 1; float32 whatever the default type, as other types draw other numbers.


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float32)


def _even(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, dtype=torch.float32)


def _sign(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=rng).float() * 2 - 1


def _uniform(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    return (_even(shape, rng) * 2 - 1) * 3**0.5


def _gaussian(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    return _normal(shape, rng)


def _laplace(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    heavy = torch.empty(shape, dtype=torch.float32).exponential_(generator=rng)
    return heavy * _sign(shape, size, rng) / 2**0.5


def _spikes(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    return _normal(shape, rng) * (_even(shape, rng) * size**2 < 1) * size


def _blocky(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    blocks = _normal(tuple(-(-length // size) for length in shape), rng)
    for axis, length in enumerate(shape):
        blocks = blocks.repeat_interleave(size, axis).narrow(axis, 0, length)
    return blocks


def _blurred_noise(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    planes = _normal(shape, rng).reshape(1, -1, *(shape[-2:] if len(shape) > 1 else (1, shape[-1])))
    planes = gaussian_blur(planes, float(size))
    return (planes / planes.square().mean().sqrt()).reshape(shape)


def _checkerboard(shape: tuple[int, ...], size: int, rng: torch.Generator) -> Tensor:
    phases = torch.randint(0, 2 * size, (len(shape),), generator=rng).tolist()
    squares = torch.zeros(shape, dtype=torch.int64)
    for axis, (length, phase) in enumerate(zip(shape, phases, strict=True)):
        along = (torch.arange(length) + phase) // size
        squares += along.reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return (squares % 2 * 2 - 1).float()


NOISE: dict[str, Draw] = {
    "sign": _sign,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "laplace": _laplace,
    "spikes": _spikes,
    "blocky": _blocky,
    "blurred": _blurred_noise,
    "checkerboard": _checkerboard,
}


def noise_maps(like: Tensor, *, seed: int, indices: Sequence[int], draw: str, mask: Tensor | None = None) -> Tensor:
    """Return standard normal maps of the shape of ``like`` ``(b, *places)``, drawn by (seed, draw, input).

    With a mask ``(b, places)`` as many numbers are drawn for a map as places count, which are not 0; or as many for
    each of these as it has dimensions.
    """
    if mask is not None:
        maps = torch.zeros(like.shape, dtype=torch.float32)
        for row, (index, counted) in enumerate(zip(indices, mask.cpu(), strict=True)):
            rng = generator(seed, "noise", draw, index)
            maps[row, counted] = torch.randn(int(counted.sum()), *like.shape[2:], dtype=torch.float32, generator=rng)
        return maps.to(like.device, like.dtype)
    shape, dtype = like.shape[1:], torch.float32  # whatever the default type: other types draw other numbers
    drawn = [torch.randn(shape, dtype=dtype, generator=generator(seed, "noise", draw, i)) for i in indices]
    return torch.stack(drawn).to(like.device, like.dtype)
