"""Changes of a map alone: what an explanation whose signs, places or detail matter must lose by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.seeding import generator

__all__ = ["CHANGES", "Inapplicable"]

_LEVELS = 1  # that a rounded map has on either side of zero


class Inapplicable(Exception):  # noqa: N818 - nothing went wrong
    """There is no such change of these maps, or no such mutant of this explainer, for the reason given."""


def _opposite(maps: Tensor, places: int) -> Tensor:
    return -maps


def _unsigned(maps: Tensor, places: int) -> Tensor:
    return maps.abs()


def _shuffled(maps: Tensor, places: int) -> Tensor:
    flat = maps.flatten(-places)
    order = torch.randperm(flat.shape[-1], generator=generator("mutant", "shuffled", flat.shape[-1]))
    return flat[..., order.to(flat.device)].reshape(maps.shape)


def _shifted(maps: Tensor, places: int) -> Tensor:
    axes = tuple(range(-places, 0))
    return maps.roll(tuple(max(1, maps.shape[axis] // 4) for axis in axes), axes)


def _flipped(maps: Tensor, places: int) -> Tensor:
    return maps.flip(-1)


def _low_rank(maps: Tensor, places: int) -> Tensor:
    if places < 2:
        raise Inapplicable("its maps have one axis")
    left, sizes, right = torch.linalg.svd(maps.nan_to_num(0, 0, 0), full_matrices=False)
    first: Tensor = left[..., :1] * sizes[..., None, :1] @ right[..., :1, :]
    return first


def _rounded(maps: Tensor, places: int) -> Tensor:
    largest = maps.flatten(1).abs().amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    return (maps / largest.clamp_min(torch.finfo(maps.dtype).tiny) * _LEVELS).round()


CHANGES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "flipped_sign": _opposite,
    "absolute_value": _unsigned,
    "shuffled": _shuffled,
    "shifted": _shifted,
    "flipped": _flipped,
    "low_rank": _low_rank,
    "rounded": _rounded,
}
