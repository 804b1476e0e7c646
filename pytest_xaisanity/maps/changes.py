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
    """Turn each map over: what speaks for the output speaks against it."""
    return -maps


def _unsigned(maps: Tensor, places: int) -> Tensor:
    """Take the absolute values, without the signs."""
    return maps.abs()


def _shuffled(maps: Tensor, places: int) -> Tensor:
    """Put the values of each map into another order, the same for all."""
    flat = maps.flatten(-places)
    order = torch.randperm(flat.shape[-1], generator=generator("mutant", "shuffled", flat.shape[-1]))
    return flat[..., order.to(flat.device)].reshape(maps.shape)


def _shifted(maps: Tensor, places: int) -> Tensor:
    """Move each map by a quarter of its sides."""
    axes = tuple(range(-places, 0))
    return maps.roll(tuple(max(1, maps.shape[axis] // 4) for axis in axes), axes)


def _flipped(maps: Tensor, places: int) -> Tensor:
    """Mirror each map along its last axis."""
    return maps.flip(-1)


def _low_rank(maps: Tensor, places: int) -> Tensor:
    """Keep of each map one product of a row and a column."""
    if places < 2:
        raise Inapplicable("its maps have one axis")
    left, sizes, right = torch.linalg.svd(maps.nan_to_num(0, 0, 0), full_matrices=False)
    first: Tensor = left[..., :1] * sizes[..., None, :1] @ right[..., :1, :]
    return first


def _rounded(maps: Tensor, places: int) -> Tensor:
    """Round each map to -1, 0 and 1 times its largest value."""
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
