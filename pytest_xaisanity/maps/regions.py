"""Regions: places that are removed together, as patches, by labels, by a segmentation of each input, or by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.digest import digest_of
from ..common.errors import XaiError, unknown_name
from ..subject.block import Block
from ..subject.layout import Layout
from .superpixels import Superpixels

__all__ = ["Groups", "Regions", "said_by"]


@contextmanager
def said_by(owner: str) -> Iterator[None]:
    """Put the name of the metric whose groups they are before what is said of them in an error."""
    try:
        yield
    except XaiError as error:
        where = f"{owner} {error.where}"
        raise XaiError(where, found=error.found, expected=error.expected, fix=error.fix) from error.__cause__


@dataclass(frozen=True, eq=False)
class Regions:
    """Which region each place of some inputs belongs to.

    Attributes:
        layout: Where the inputs have places.
        counts: How many regions each input has, ``(b,)``, or ``(1,)`` where all have the same.
        labels: The region of each place, from 0, ``(b, places in all)``, or ``(1, places in all)`` where it is the same
            in all inputs; None where each place is a region.
        own: Whether each input has regions of its own.
        side: Of patches, in places; 0 of other regions.
        names: What the regions are called, where features or groups of them have names.
    """

    layout: Layout
    counts: Tensor
    labels: Tensor | None = None
    own: bool = False
    side: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def patches(cls, layout: Layout, side: int, device: torch.device) -> Regions:
        """Return patches of ``side`` places along each axis; those of several tensors follow on one another."""
        if side == 1:
            return cls(layout, torch.tensor([prod(layout.places)], device=device))
        labels: list[Tensor] = []
        count = 0
        for part in layout.each:
            labels.append(part.groups(side) + count)
            count = int(labels[-1].max()) + 1
        return cls(layout, torch.tensor([count], device=device), torch.cat(labels)[None].to(device), side=side)

    @classmethod
    def labeled(cls, layout: Layout, labels: Tensor, *, own: bool) -> Regions:
        """Return the regions of any whole numbers ``(b, places in all)`` or ``(1, places in all)``."""
        ranked = [torch.unique(row, return_inverse=True)[1] for row in labels]
        counts = torch.stack([row.max() + 1 for row in ranked])
        return cls(layout, counts, torch.stack(ranked), own)

    @property
    def most(self) -> int:
        """The largest number of regions of an input."""
        return int(self.counts.max())

    def sizes(self, dtype: torch.dtype) -> Tensor:
        """Return how many places each region has, ``(b or 1, most)``; 0 of those that an input lacks."""
        if self.labels is None:
            return torch.ones(1, self.most, dtype=dtype, device=self.counts.device)
        empty = torch.zeros(len(self.labels), self.most, dtype=torch.int64, device=self.labels.device)
        return empty.scatter_add_(1, self.labels, torch.ones_like(self.labels)).to(dtype)

    def means(self, maps: Tensor) -> Tensor:
        """Return the mean of maps ``(b, *places)`` over each region, ``(b, most)``; of none it is minus infinity."""
        flat = maps.flatten(1)
        if self.labels is None:
            return flat
        if self.side and all(len(part.places) <= 3 for part in self.layout.each):
            parts = zip(self.layout.split(flat), self.layout.each, strict=True)
            return torch.cat([part.group_means(each, self.side) for each, part in parts], dim=1)
        sizes = self.sizes(torch.int64)
        # Segments of sorted places, unlike adding by index, are summed in the same order on every run of a device.
        placed = flat.gather(1, self.labels.argsort(dim=1, stable=True).expand_as(flat))
        lengths = sizes.expand(len(flat), -1).contiguous()
        return torch.segment_reduce(placed, "mean", lengths=lengths, axis=1).masked_fill(lengths == 0, -inf)

    def spread(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return a value of each region ``(k, most)`` at its places, ``(k, places in all)``, for some of the inputs."""
        if self.labels is None:
            return values
        if not self.own:
            return values[:, self.labels[0]]
        return values.gather(1, self.labels if rows is None else self.labels[rows])

    def evened(self, noise: Tensor) -> Tensor:
        """Return normal noise ``(b, *places)``, scaled so that means over regions are drawn alike, whatever their size.

        A mean over few places is farther from zero than one over many, and small regions would come first and last.
        """
        if self.labels is None:
            return noise
        weights = self.spread(self.sizes(noise.dtype).sqrt().expand(len(noise), -1))
        return noise * weights.reshape(noise.shape)


@dataclass(frozen=True, repr=False)
class Groups:
    """What a user says is removed together.

    Args:
        given: Labels of the places' shape, or with a row for each input; a function ``inputs -> labels``; superpixels,
            or the name of a method that finds them, ``"slic"`` or ``"felzenszwalb"``; or a mapping of names to
            features, of which those that no name has are regions by themselves.

    Raises:
        XaiError: They are none of these.
    """

    given: Any = field(compare=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        given = self.given
        if isinstance(given, str):
            object.__setattr__(self, "given", Superpixels(given))
        elif isinstance(given, Superpixels):
            pass
        elif isinstance(given, (Tensor, np.ndarray, list)):
            object.__setattr__(self, "given", _whole(given))
        elif isinstance(given, Mapping):
            object.__setattr__(self, "given", {name: _members(name, one) for name, one in given.items()})
        elif not callable(given):
            raise _error(f"a {type(given).__name__}")
        by_content = repr(self.given) if isinstance(self.given, Superpixels) else self.given
        object.__setattr__(self, "digest", digest_of(by_content))

    def __repr__(self) -> str:
        if isinstance(self.given, Tensor):
            return f"labels {tuple(self.given.shape)}"
        if isinstance(self.given, Superpixels):
            return repr(self.given)
        return f"{list(self.given)}" if isinstance(self.given, dict) else getattr(self.given, "__name__", "a function")

    @property
    def own(self) -> bool | None:
        """Whether each input has its own regions; None of labels, whose shape tells."""
        return None if isinstance(self.given, Tensor) else not isinstance(self.given, dict)

    def regions(self, block: Block, count: int | None, features: Sequence[str] = ()) -> Regions:
        """Return the regions of a block.

        Args:
            block: The inputs.
            count: How many inputs there are in all, or None for a stream.
            features: The names of the features, where there are some.

        Raises:
            XaiError: The labels do not fit the inputs; a name is unknown.
        """
        layout, device = block.layout, block.inputs[0].device
        names: tuple[str, ...] = ()
        if isinstance(self.given, dict):
            (labels, names), own = _named(self.given, layout.places, features), False
        elif isinstance(self.given, Tensor):
            own = self.given.shape[1:] == layout.places
            labels = self._of_rows(self.given, block, count) if own else self.given
        else:
            labels = self.given.of(block) if isinstance(self.given, Superpixels) else _called(self.given, block)
            own = True
        if labels.shape[int(own and labels.shape != layout.places) :] != layout.places:
            raise _error(f"labels of shape {tuple(labels.shape)} for inputs with places {layout.places}")
        rows = labels.reshape(-1, prod(layout.places)).to(device)
        if own and len(rows) != len(block):
            if len(rows) != 1:
                raise _error(f"labels for {len(rows)} inputs where the function was given {len(block)}")
            rows = rows.expand(len(block), -1)
        return replace(Regions.labeled(layout, rows, own=own), names=names)

    def _of_rows(self, labels: Tensor, block: Block, count: int | None) -> Tensor:
        """Return the rows of a block's inputs: they are in the order of the data."""
        if (count is not None and len(labels) != count) or max(block.indices) >= len(labels):
            of = f"{count} inputs" if count is not None else f"a stream of more than {len(labels)}"
            raise _error(f"labels for {len(labels)} inputs where there are {of}")
        return labels[torch.tensor(block.indices, device=labels.device)]


def _called(function: Callable[..., object], block: Block) -> Tensor:
    """Return what a user's function makes of a block."""
    inputs = tuple(tensor.clone() for tensor in block.inputs)
    try:
        found = function(inputs if len(inputs) > 1 else inputs[0])
    except Exception as error:
        raise _error(f"{type(error).__name__} raised by the function: {error}") from error
    if not isinstance(found, (Tensor, np.ndarray, list)):
        raise _error(f"a {type(found).__name__} returned by the function")
    return _whole(found)


def _whole(labels: object) -> Tensor:
    try:
        tensor = torch.as_tensor(np.asarray(labels) if isinstance(labels, list) else labels).detach()
    except (TypeError, ValueError) as error:
        raise _error(f"a {type(labels).__name__} that is no array of labels") from error
    if tensor.is_floating_point() or tensor.is_complex():
        raise _error(f"labels of {tensor.dtype}")
    return tensor.long()


def _members(name: object, given: object) -> tuple[int | str, ...]:
    members = (given,) if isinstance(given, (int, str)) else given
    if isinstance(members, (Tensor, np.ndarray)):
        members = members.tolist()
    if not isinstance(members, (Sequence, range, set, frozenset)) or not members:
        raise _error(f"the group {name!r} of {given!r}")
    listed = sorted(members, key=str) if isinstance(members, (set, frozenset)) else list(members)
    if not all(isinstance(one, str) or type(one) is int for one in listed):
        raise _error(f"the group {name!r} of {given!r}")
    return tuple(listed)


def _named(
    groups: Mapping[object, Sequence[int | str]], shape: tuple[int, ...], features: Sequence[str]
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the labels of named groups, and the name of each; features of no group are labeled by themselves."""
    count = prod(shape)
    labels = torch.arange(count)
    names = list(features) or [str(place) for place in range(count)]
    taken: dict[int, object] = {}
    for name, members in groups.items():
        places = [_place(one, count, features) for one in members]
        for place in places:
            if taken.setdefault(place, name) is not name:
                raise _error(f"feature {place} in the groups {taken[place]!r} and {name!r}")
        labels[places] = min(places)
        names[min(places)] = str(name)
    return labels.reshape(shape), tuple(names[place] for place in sorted(set(labels.tolist())))


def _place(feature: int | str, count: int, features: Sequence[str]) -> int:
    if isinstance(feature, str):
        if feature not in features:
            raise unknown_name("groups", feature, features, kind="feature (xai_features)")
        return list(features).index(feature)
    if not -count <= feature < count:
        raise _error(f"feature {feature} of inputs with {count} places")
    return feature % count


def _error(found: str) -> XaiError:
    return XaiError(
        "groups",
        found=found,
        expected="whole numbers with the places' shape, or with a row for each input in the order of the data; a "
        "function inputs -> labels; 'slic' or 'felzenszwalb'; or a mapping of names to features",
        fix="change groups=: (H, W) or (N, H, W) for images, (T,) for series, {'color': [0, 1, 2]} for tables",
    )
