"""Which axes of an input are places and which are channels: nothing else in the package reads them off a shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import XaiError

__all__ = ["Axes", "Kind", "Layout", "by_channel", "channel_axis", "checked_axes"]

Kind = Literal["image", "volume", "series", "tokens", "table"]
Axes = str | tuple[str | None, ...] | None

FIRST, LAST = "channels_first", "channels_last"
_PLACES = "TLDHW"
_KINDS: dict[int, Kind] = {1: "series", 2: "image"}


@dataclass(frozen=True)
class Layout:
    """Where the places of inputs are, of which an attribution map has one value each, and where their channels.

    Inputs ``(N, C, *places)`` have channels; ``(N, F)`` and ``(N,)`` have none. Where a model takes several tensors,
    the places of all are joined in a row: ``(places in all,)``. Other readings are told by axes (:func:`checked_axes`).

    Attributes:
        places: The shape of one map: ``(H, W)``, ``(F,)``.
        channels: How many values a place has; None where there is no axis of channels, or several tensors.
        kind: ``"image"`` (two axes of places), ``"volume"`` (three or more), ``"series"`` (one, beside channels),
            ``"tokens"`` (whole numbers in a row) or ``"table"``.
        parts: The layout of each tensor where there are several, and none otherwise.
        axis: The axis of the channels in the inputs, where there is one: 1 in ``(N, C, H, W)``, 3 in ``(N, H, W, C)``.
    """

    places: tuple[int, ...]
    channels: int | None
    kind: Kind
    parts: tuple[Layout, ...] = ()
    axis: int = 1

    @classmethod
    def of(cls, inputs: tuple[Tensor, ...], axes: Axes = None) -> Layout:
        """Return the layout of a batch of the model's input tensors.

        Args:
            inputs: The tensors.
            axes: What their axes are, see :func:`checked_axes`; by default the first behind the batch are channels.

        Raises:
            XaiError: The axes do not fit the tensors.
        """
        named = (axes,) * len(inputs) if axes is None or isinstance(axes, str) else axes
        if len(named) != len(inputs):
            raise _axes_error(f"axes of {len(named)} inputs, {axes!r}, where the model takes {len(inputs)}")
        parts = tuple(cls._of_one(tensor, one) for tensor, one in zip(inputs, named, strict=True))
        if len(parts) == 1:
            return parts[0]
        return cls((sum(prod(part.places) for part in parts),), None, "table", parts)

    @classmethod
    def _of_one(cls, tensor: Tensor, axes: str | None) -> Layout:
        if axes not in (None, FIRST, LAST):
            return cls._named(tensor, axes)
        shape = tuple(tensor.shape[1:])
        if len(shape) > 1:
            axis = len(shape) if axes == LAST else 1
            places = shape[: axis - 1] + shape[axis:]
            return cls(places, shape[axis - 1], _KINDS.get(len(places), "volume"), axis=axis)
        return cls(shape or (1,), None, "tokens" if shape and _is_whole(tensor) else "table")

    @classmethod
    def _named(cls, tensor: Tensor, axes: str) -> Layout:
        """Return the layout where each axis has a letter."""
        if len(axes) != tensor.ndim:
            raise _axes_error(
                f"{axes!r} for inputs of shape {tuple(tensor.shape)}", f"a letter for each axis, {_FORMS}"
            )
        channels = _channel_letter(axes)
        places = tuple(size for size, letter in zip(tensor.shape, axes, strict=True) if letter not in ("N", channels))
        kind: Kind = _KINDS.get(len(places), "volume")
        if channels is None and len(places) < 2:
            kind = "tokens" if places and _is_whole(tensor) else "series" if "F" not in axes and places else "table"
        if channels is None:
            return cls(places or (1,), None, kind)
        axis = axes.index(channels)
        return cls(places, tensor.shape[axis], kind, axis=axis)

    @property
    def each(self) -> tuple[Layout, ...]:
        """The layout of each tensor, also of a single one."""
        return self.parts or (self,)

    @property
    def is_image(self) -> bool:
        """Whether the inputs are one tensor of images, ``(N, C, H, W)`` once their channels come first."""
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
        """Return a batch of maps ``(count, *places)``, all 0, in double precision where ``like`` is.

        Args:
            count: How many maps.
            like: A tensor of the inputs.
            per_channel: Whether maps have a value for each channel, ``(count, C, *places)``.
        """
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        shape = self.values if per_channel else self.places
        return torch.zeros(count, *shape, dtype=dtype, device=like.device)

    def expand(self, attributions: Tensor, count: int) -> Tensor | None:
        """Return attributions of one tensor with a value for each channel, or None where they do not fit.

        Where there is one value a place, each channel has an equal share of it.
        """
        if self.channels is not None and tuple(attributions.shape) == (count, *self._given(self.channels)):
            return attributions.movedim(self.axis, 1)
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
        if self.channels is None and len(self.places) == 1:
            fits = attributions.numel() == count * prod(self.places) and len(shape) <= 2
            return attributions.reshape(count, *self.places) if fits else None
        if self.channels is not None and shape[1:] in (self._given(self.channels), self._given(1)):
            return attributions.sum(self.axis)
        if shape[1:] == self.places:
            return attributions
        if shape[1:] == (1, *self.places):
            return attributions[:, 0]
        return self._upsampled(attributions, count) if self.in_plane else None

    def _given(self, channels: int) -> tuple[int, ...]:
        """Return the shape of one input that has so many channels, in the order of its axes."""
        return (*self.places[: self.axis - 1], channels, *self.places[self.axis - 1 :])

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
        if self.channels is None and len(self.places) == 1:
            return [(count, *self.places)]
        full: list[tuple[int | str, ...]] = []
        if self.channels is not None:
            full = [(count, *self._given(self.channels)), (count, *self._given(1))]
        low: list[tuple[int | str, ...]] = [(count, 1, "h", "w"), (count, "h", "w")] if self.in_plane else []
        return list(dict.fromkeys([*full, (count, *self.places), *low]))

    def like_inputs(self, maps: Tensor, tensor: Tensor) -> Tensor:
        """Return maps ``(b, *places)`` in a shape that broadcasts against ``tensor``, whose layout this is."""
        if self.channels is not None:
            return maps.unsqueeze(self.axis)
        return maps.reshape(len(maps), *tensor.shape[1:])

    def channels_first(self, values: Tensor) -> Tensor:
        """Return values in the shape of this one tensor of inputs as ``(b, C, *places)``, or as they are in a table.

        Where places have no channels, there is one. Values at other places are returned as they are.
        """
        if self.channels is not None:
            full = values.ndim == len(self.places) + 2 and self._given(values.shape[self.axis]) == values.shape[1:]
            return values.movedim(self.axis, 1) if full else values
        rows = self.kind in ("table", "tokens") or values.ndim != len(self.places) + 1
        return values if rows else values.unsqueeze(1)

    def as_given(self, values: Tensor) -> Tensor:
        """Return what :meth:`channels_first` made of inputs in the order of their own axes."""
        if self.channels is not None:
            return values.movedim(1, self.axis) if values.ndim == len(self.places) + 2 else values
        return values[:, 0] if values.ndim == len(self.places) + 2 else values

    def split(self, joined: Tensor) -> list[Tensor]:
        """Return values at the places of all tensors, ``(b, places in all)``, as maps of each tensor."""
        sizes = [prod(part.places) for part in self.each]
        return [
            flat.reshape(len(joined), *part.places)
            for flat, part in zip(torch.split(joined, sizes, dim=1), self.each, strict=True)
        ]

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum over the channels of this one tensor, ``(b, *places)``."""
        return tensor.sum(self.axis) if self.channels is not None else tensor.reshape(len(tensor), *self.places)

    def magnitude(self, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        """Return the root mean square over channels at each place, ``(b, *places)``."""
        parts = []
        for tensor, part in zip(inputs, self.each, strict=True):
            wide = tensor.to(dtype)
            places = wide.square().mean(part.axis).sqrt() if part.channels is not None else wide.abs()
            parts.append(places.reshape(len(wide), -1))
        return torch.cat(parts, dim=1).reshape(-1, *self.places)

    def over_places(self, tensor: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return this one tensor with one axis of places or more, and these axes: what to average over per channel."""
        if self.channels is None:
            return tensor.reshape(len(tensor), *self.places), tuple(range(1, 1 + len(self.places)))
        return tensor, tuple(axis for axis in range(1, 2 + len(self.places)) if axis != self.axis)

    def groups(self, side: int = 1) -> Tensor:
        """Return the group of each place of this one tensor, flattened: cubes of ``side`` places from the first on.

        They are spans of series, squares of images and cubes of volumes; the last along an axis may be smaller. With
        ``side=1`` each place is a group.
        """
        groups = torch.zeros(1, dtype=torch.int64)
        for length in self.places:
            along = torch.arange(length) // side
            groups = (groups[:, None] * -(-length // side) + along).flatten()
        return groups

    def group_means(self, maps: Tensor, side: int) -> Tensor:
        """Return the mean of maps ``(b, *places)`` of one to three axes over :meth:`groups`, ``(b, groups)``."""
        # Pooling, unlike adding by index, sums in the same order on every run of an accelerator.
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(self.places) - 1]
        return pool(maps.unsqueeze(1), side, ceil_mode=True).flatten(1)


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


_FORMS = "such as 'NTF', 'NHWC', 'NHW' or 'NF'"


def checked_axes(axes: object) -> Axes:
    """Return what says which axes of the inputs are places and which channels.

    Args:
        axes: ``"channels_first"`` or ``"channels_last"``, of tensors with three axes or more; or a letter for each
            axis: ``N`` first, for the batch, ``C`` for channels, ``T`` or ``L`` for a series, ``D``, ``H`` and ``W``
            for depth, height and width. ``F`` stands for features: they are the channels of a series ``"NTF"``, and
            the places of a table ``"NF"``. ``"NHW"`` has no channels. A tuple has one of these, or None, for each
            input of the model. None reads inputs of three axes or more as ``(N, C, *places)``.

    Raises:
        XaiError: They cannot be read so.
    """
    if axes is None:
        return None
    if isinstance(axes, str):
        return _checked_letters(axes)
    if not isinstance(axes, Sequence) or not axes or not all(one is None or isinstance(one, str) for one in axes):
        raise _axes_error(f"{axes!r}, of type {type(axes).__name__}")
    return tuple(None if one is None else _checked_letters(one) for one in axes)


def _checked_letters(axes: str) -> str:
    if axes in (FIRST, LAST):
        return axes
    letters = axes.upper()
    channels = _channel_letter(letters)
    unknown = [letter for letter in letters[1:] if letter not in (*_PLACES, "F", channels)]
    if not letters.startswith("N") or unknown or len(set(letters)) < len(letters):
        raise _axes_error(repr(axes))
    return letters


def _channel_letter(letters: str) -> str | None:
    """Return the letter of the axis of channels, or None."""
    if "C" in letters:
        return "C" if len(letters) > 2 else None
    return "F" if "F" in letters and len(letters) > 2 else None


def _axes_error(found: str, expected: str = "") -> XaiError:
    return XaiError(
        "xai_axes",
        found=found,
        expected=expected
        or f"'{FIRST}', '{LAST}', a letter for each axis, {_FORMS}, or a tuple with one of these for each input",
        fix="set xai_axes (Bench(axes=)): N is the batch and comes first, C channels, F features, T, D, H and W places",
    )


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())
