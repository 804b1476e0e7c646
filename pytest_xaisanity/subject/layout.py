"""Which axes of an input are places and which are channels: nothing else in the package reads them off a shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Kind", "Layout", "by_channel", "channel_axis"]

Kind = Literal["image", "volume", "series", "tokens", "table"]


@dataclass(frozen=True)
class Layout:
    """Where the places of inputs are, of which an attribution map has one value each, and where their channels.

    Inputs ``(N, C, *places)`` have channels; ``(N, F)`` and ``(N,)`` have none. Where a model takes several tensors,
    the places of all are joined in a row: ``(places in all,)``.

    Attributes:
        places: The shape of one map: ``(H, W)``, ``(F,)``.
        channels: How many values a place has; None where there is no axis of channels, or several tensors.
        kind: ``"image"`` (two axes of places), ``"volume"`` (three or more), ``"series"`` (one, beside channels),
            ``"tokens"`` (whole numbers in a row) or ``"table"``.
        parts: The layout of each tensor where there are several, and none otherwise.
    """

    places: tuple[int, ...]
    channels: int | None
    kind: Kind
    parts: tuple[Layout, ...] = ()

    @classmethod
    def of(cls, inputs: tuple[Tensor, ...]) -> Layout:
        """Return the layout of a batch of the model's input tensors."""
        parts = tuple(cls._of_one(tensor) for tensor in inputs)
        if len(parts) == 1:
            return parts[0]
        return cls((sum(prod(part.places) for part in parts),), None, "table", parts)

    @classmethod
    def _of_one(cls, tensor: Tensor) -> Layout:
        shape = tuple(tensor.shape[1:])
        if len(shape) > 1:
            kinds: dict[int, Kind] = {2: "series", 3: "image"}
            return cls(shape[1:], shape[0], kinds.get(len(shape), "volume"))
        floating = tensor.is_floating_point() or tensor.is_complex()
        return cls(shape or (1,), None, "table" if floating or not shape else "tokens")

    @property
    def each(self) -> tuple[Layout, ...]:
        """The layout of each tensor, also of a single one."""
        return self.parts or (self,)

    @property
    def is_image(self) -> bool:
        """Whether the inputs are one tensor of images ``(N, C, H, W)``."""
        return self.kind == "image"

    @property
    def in_plane(self) -> bool:
        """Whether a map has rows and columns."""
        return len(self.places) == 2

    @property
    def values(self) -> tuple[int, ...]:
        """The shape of one map with a value for each channel: ``(C, *places)``; those of several tensors in a row."""
        if self.parts:
            return (sum(prod(part.values) for part in self.parts),)
        return self.places if self.channels is None else (self.channels, *self.places)

    def empty(self, count: int, *, like: Tensor, per_channel: bool = False) -> Tensor:
        """Return an uninitialized batch of maps ``(count, *places)``, in double precision where ``like`` is.

        Args:
            count: How many maps.
            like: A tensor of the inputs.
            per_channel: Whether maps have a value for each channel, ``(count, C, *places)``.
        """
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        shape = self.values if per_channel else self.places
        return torch.empty(count, *shape, dtype=dtype, device=like.device)

    def expand(self, attributions: Tensor, count: int) -> Tensor | None:
        """Return attributions of one tensor with a value for each channel, or None where they do not fit.

        Where there is one value a place, each channel has an equal share of it.
        """
        if tuple(attributions.shape) == (count, *self.values):
            return attributions
        maps = self.reduce(attributions, count)
        if maps is None or self.channels is None:
            return maps
        return maps.unsqueeze(1).expand(count, *self.values) / self.channels

    def reduce(self, attributions: Tensor, count: int) -> Tensor | None:
        """Return attributions of one tensor as maps ``(count, *places)``, or None where they do not fit.

        Channels are summed, as completeness asks for; maps of images may be of lower resolution, and are then
        interpolated.
        """
        shape = tuple(attributions.shape)
        if not shape or shape[0] != count:
            return None
        if self.channels is None:
            fits = attributions.numel() == count * prod(self.places) and len(shape) <= 2
            return attributions.reshape(count, *self.places) if fits else None
        if shape[1:] in ((self.channels, *self.places), (1, *self.places)):
            return attributions.sum(1)
        if shape[1:] == self.places:
            return attributions
        return self._upsampled(attributions, count) if self.in_plane else None

    def _upsampled(self, attributions: Tensor, count: int) -> Tensor | None:
        """Return maps ``(count, h, w)`` or ``(count, 1, h, w)`` of lower resolution at the places of the inputs."""
        shape = tuple(attributions.shape)
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] != 1) or not attributions.numel():
            return None
        small = attributions.reshape(count, 1, *shape[-2:])
        if any(few > many for few, many in zip(shape[-2:], self.places, strict=True)):
            return None  # a transposed map, not one of low resolution
        return F.interpolate(small, size=self.places, mode="bilinear", align_corners=False)[:, 0]

    def accepted(self, count: int) -> list[tuple[int | str, ...]]:
        """Return the shapes that :meth:`reduce` takes, for error texts."""
        if self.channels is None:
            return [(count, *self.places)]
        full: list[tuple[int | str, ...]] = [(count, self.channels, *self.places), (count, 1, *self.places)]
        low: list[tuple[int | str, ...]] = [(count, 1, "h", "w"), (count, "h", "w")] if self.in_plane else []
        return list(dict.fromkeys([*full, (count, *self.places), *low]))

    def with_channels(self, maps: Tensor) -> Tensor:
        """Return maps ``(b, *places)`` with an axis for the channels, where the inputs of this one tensor have one."""
        return maps.unsqueeze(1) if self.channels is not None else maps

    def like_inputs(self, maps: Tensor, tensor: Tensor) -> Tensor:
        """Return maps ``(b, *places)`` in a shape that broadcasts against ``tensor``, whose layout this is."""
        return self.with_channels(maps) if self.channels is not None else maps.reshape(len(maps), *tensor.shape[1:])

    def split(self, joined: Tensor) -> list[Tensor]:
        """Return values at the places of all tensors, ``(b, places in all)``, as maps of each tensor."""
        sizes = [prod(part.places) for part in self.each]
        return [
            flat.reshape(len(joined), *part.places)
            for flat, part in zip(torch.split(joined, sizes, dim=1), self.each, strict=True)
        ]

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum over the channels of this one tensor, ``(b, *places)``."""
        return tensor.sum(1) if self.channels is not None else tensor.reshape(len(tensor), *self.places)

    def magnitude(self, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the root mean square over channels at each place, ``(b, *places)``."""
        parts = []
        for tensor, part in zip(inputs, self.each, strict=True):
            wide = tensor.to(dtype)
            places = wide.square().mean(1).sqrt() if part.channels is not None else wide.abs()
            parts.append(places.reshape(len(wide), -1))
        return torch.cat(parts, dim=1).reshape(-1, *self.places)

    def over_places(self, tensor: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return this one tensor with one axis of places or more, and these axes: what to average over per channel."""
        rows = tensor.reshape(len(tensor), -1) if self.channels is None else tensor
        first = 1 if self.channels is None else 2
        return rows, tuple(range(first, first + len(self.places)))

    def groups(self, side: int = 1) -> Tensor:
        """Return the group of each place of this one tensor, flattened: squares of ``side`` places from the top left.

        The last row and column of squares may be smaller. With ``side=1`` each place is a group.
        """
        if side == 1:
            return torch.arange(prod(self.places))
        height, width = self.places
        rows, columns = torch.arange(height) // side, torch.arange(width) // side
        return (rows[:, None] * -(-width // side) + columns).flatten()

    def group_means(self, maps: Tensor, side: int) -> Tensor:
        """Return the mean of maps ``(b, H, W)`` over each of :meth:`groups`, ``(b, groups)``."""
        # Pooling, unlike adding by index, sums in the same order on every run of an accelerator.
        return F.avg_pool2d(maps.unsqueeze(1), side, ceil_mode=True).flatten(1)


def channel_axis(shape: tuple[int, ...], axis: int | None) -> int | None:
    """Return the axis of the channels in a layer's output ``(N, ...)``; None where it has to be named.

    It is the first behind the batch, unless another one is named. Outputs with three axes may be ``(N, C, L)`` or
    tokens ``(N, T, D)``, which their shape does not tell.
    """
    if axis is None:
        return None if len(shape) == 3 else 1
    return axis


def by_channel(output: Tensor, axis: int) -> Tensor:
    """Return a layer's output as ``(b, C, positions)``; one without positions has a single one."""
    moved = output.movedim(axis, 1)
    return moved.reshape(len(output), moved.shape[1], -1)
