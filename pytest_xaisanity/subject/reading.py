"""Whether inputs look as if their axes were others than those they are read by."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import nn

from .block import Inputs
from .layout import Layout

__all__ = ["other_reading"]

_COLORS = 4  # channels of an image, at most
_SQUARE = 8  # sides of images without channels, at least


def other_reading(model: Any, inputs: Inputs, layout: Layout) -> str:
    """Return a warning where inputs without named axes look as if channels were last, or missing; or nothing.

    It goes by the first layer with weights, if that takes as many features as the last axis has, or the one behind the
    batch; otherwise by the shape: a short last axis behind longer ones is of channels, and images are square.

    Args:
        model: The model.
        inputs: Its input tensors.
        layout: How they are read.
    """
    width = _first_width(model) if len(inputs) == 1 else None
    for tensor, part in zip(inputs, layout.each, strict=True):
        if part.channels is None or not tensor.is_floating_point():
            continue
        axes = _likely_axes(part.channels, part.places, width)
        if axes:
            sizes, letters = ", ".join(map(str, ("N", *tensor.shape[1:]))), _letters(part)
            return (
                f"xai_inputs of shape ({sizes}) are read as ({', '.join(letters)}), but look like ({', '.join(axes)}): "
                f"set xai_axes (Bench(axes=)) to {axes!r} if they are, or to {letters!r} if not"
            )
    return ""


def _letters(layout: Layout) -> str:
    return "NC" + {1: "T", 2: "HW", 3: "DHW"}.get(len(layout.places), "")


def _likely_axes(channels: int, places: tuple[int, ...], width: int | None) -> str:
    """Return the axes that inputs ``(N, channels, *places)`` look as if they had, or nothing where these are right."""
    last = places[-1]
    width = None if width == channels * prod(places) else width  # of what is flattened
    if len(places) > 3 or (width == channels and width != last):
        return ""
    if width == last != channels:
        return {1: "NTF", 2: "NHWC", 3: "NDHWC"}[len(places)]
    if len(places) == 1:
        if channels == last >= _SQUARE:
            return "NHW"
        return "NTF" if channels > last else ""
    colors = last <= _COLORS < min(channels, *places[:-1])
    return {2: "NHWC", 3: "NDHWC"}[len(places)] if colors else ""


def _first_width(model: Any) -> int | None:
    """Return how many features the first layer with weights takes at each place, or None where that is not known."""
    for module in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return int(module.in_channels)
        if isinstance(module, nn.RNNBase):
            return int(module.input_size) if module.batch_first else None
        if isinstance(module, nn.MultiheadAttention):
            return int(module.embed_dim)
        if any(True for _ in module.parameters(recurse=False)):
            return None
    return None
