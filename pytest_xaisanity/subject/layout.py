"""Which axes of an input are places and which are channels."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .block import Inputs

__all__ = ["empty_maps", "pixels"]


def pixels(tensor: Tensor) -> tuple[int, ...]:
    """Return the places of an input tensor: all its axes but the batch and, from rank 3 on, the channels."""
    return tuple(tensor.shape[2:]) if tensor.ndim > 2 else tuple(tensor.shape[1:]) or (1,)


def empty_maps(inputs: Inputs) -> Tensor:
    """Return an uninitialized batch of maps of the shape that attributions of ``inputs`` have."""
    dtype = torch.float64 if inputs[0].dtype == torch.float64 else torch.float32
    places = [pixels(tensor) for tensor in inputs]
    shape = places[0] if len(places) == 1 else (sum(prod(place) for place in places),)
    return torch.empty(len(inputs[0]), *shape, dtype=dtype, device=inputs[0].device)


def accepted_shapes(tensor: Tensor) -> list[tuple[int | str, ...]]:
    count, places = len(tensor), pixels(tensor)
    if tensor.ndim <= 2:
        return [(count, *places)]
    shapes: list[tuple[int | str, ...]] = [(count, tensor.shape[1], *places), (count, 1, *places), (count, *places)]
    low = [(count, 1, "h", "w"), (count, "h", "w")] if len(places) == 2 else []
    return list(dict.fromkeys([*shapes, *low]))


def reduced(values: Tensor, tensor: Tensor) -> Tensor | None:
    count, places = len(tensor), pixels(tensor)
    if values.ndim == 0 or len(values) != count:
        return None
    if tensor.ndim <= 2:
        return values.reshape(count, *places) if values.numel() == tensor.numel() and values.ndim <= 2 else None
    if values.shape == tensor.shape or values.shape[1:] == (1, *places):
        return values.sum(1)
    if values.shape[1:] == places:
        return values
    if len(places) == 2 and (values.ndim == 3 or (values.ndim == 4 and values.shape[1] == 1)) and values.numel():
        small = values.reshape(count, 1, *values.shape[-2:])
        if any(few > many for few, many in zip(small.shape[2:], places, strict=True)):
            return None  # a transposed map, not one of low resolution
        return F.interpolate(small, size=places, mode="bilinear", align_corners=False)[:, 0]
    return None
