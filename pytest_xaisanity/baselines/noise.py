"""The pixels of uninformative maps: noise of each family, its weights and the magnitude of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import XaiError
from ..imputation import gaussian_blur
from ..seeding import generator
from ..subject import Inputs

if TYPE_CHECKING:
    from .uninformative import UninformativeMap

__all__ = ["NOISE", "magnitude", "render"]

Draw = Callable[[tuple[int, ...], int, torch.Generator], Tensor]


def render(
    value: UninformativeMap,
    shape: tuple[int, ...],
    *,
    seed: int,
    indices: Sequence[int],
    call: str,
    magnitudes: Tensor | None,
) -> Tensor:
    """Return the maps ``(b, *shape)``. See :meth:`UninformativeMap.render`."""
    if value.match == "input" and (magnitudes is None or magnitudes.shape != (len(indices), *shape)):
        found = "no magnitudes" if magnitudes is None else f"magnitudes of shape {tuple(magnitudes.shape)}"
        raise XaiError(
            "UninformativeMap match='input'", found=found, expected=f"shape {(len(indices), *shape)}",
            fix="pass the magnitude of each input at each place as magnitudes=",
        )  # fmt: skip
    draw = NOISE[value.family]
    maps = torch.stack([draw(shape, value.size, generator(seed, "uninformative", call, i)) for i in indices])
    if value.sign != "both":
        maps = maps.abs() if value.sign == "positive" else -maps.abs()
    maps = maps * (_weights(value, shape) * value.amplitude)
    return maps.to(magnitudes) * magnitudes if value.match == "input" and magnitudes is not None else maps


def magnitude(inputs: Inputs, like: Tensor) -> Tensor:
    """Return the root mean square over channels of inputs, in the shape of the maps ``like``."""
    parts = []
    for tensor in inputs:
        wide = tensor.to(like.dtype)
        places = wide.square().mean(1).sqrt() if wide.ndim > 2 else wide.abs()
        parts.append(places.reshape(len(wide), -1))
    return torch.cat(parts, dim=1).reshape(like.shape)


def _weights(value: UninformativeMap, shape: tuple[int, ...]) -> Tensor:
    weights = torch.full(shape, float(value.background), dtype=torch.float32)
    plane = weights if len(shape) > 1 else weights[None]
    for box in value.boxes:
        plane[..., box.top : box.top + box.height, box.left : box.left + box.width] += 1
    return weights


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
