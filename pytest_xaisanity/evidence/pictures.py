"""Pictures of inputs and maps for a report: small, in 8 bits a number, and detached from the tensors they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ..report.figures import LEVELS, NOT_FINITE, Exhibit, Fact, Figure, Named, Numbers, Picture
from ..statistics.evidence import Evidence, Part
from ..subject.block import Block
from ..subject.layout import Layout

__all__ = ["Pictured", "numbers", "pictures"]

Maps = Sequence[tuple[str, Tensor]]

_SIDE = 48  # pixels of an image, at most
_POINTS = 96  # of a series
_CHANNELS = 3  # of a series
_TOKENS = 64
_FEATURES = 12
_OUTER = 0.99  # of the values of a map of pixels lie within its scale


@dataclass(frozen=True)
class Pictured(Part):
    """What a report shows of the inputs, the worst first.

    Attributes:
        exhibits: The inputs with their maps.
        facts: What was explained, and why nothing is shown where that is so.
    """

    exhibits: tuple[Exhibit, ...] = ()
    facts: tuple[Fact, ...] = ()

    def plain(self) -> dict[str, object]:
        """Return nothing: pictures are for people."""
        return {}

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield inputs and facts."""
        yield from self.exhibits
        yield from self.facts


def pictures(block: Block, row: int, maps: Maps, names: Sequence[str] = ()) -> tuple[Picture, ...]:
    """Return a picture of each tensor of an input.

    Args:
        block: The inputs.
        row: Which of them.
        maps: Maps of it ``(*places)`` by what they are; the first tells which part is shown of a long one.
        names: The names of the features, where they have some.
    """
    if not maps:
        return ()
    layouts = block.layout.each
    parts = [block.layout.split(one[None]) if block.layout.parts else [one[None]] for _, one in maps]
    shown, start = [], 0
    for place, (layout, tensor) in enumerate(zip(layouts, block.inputs, strict=True)):
        own = [(name, part[place][0].detach().float().cpu()) for (name, _), part in zip(maps, parts, strict=True)]
        named = names[start : start + prod(layout.places)]
        start += prod(layout.places)
        mask = None if block.mask is None else block.mask[row].cpu()
        given = layout.channels_first(tensor[row : row + 1])[0].detach().cpu()
        shown.append(_picture(layout, given, own, named, mask))
    return tuple(shown)


def numbers(values: Tensor, *, outer: float = 1.0) -> Numbers:
    """Return the numbers of a map, on a scale that is symmetric about 0, or begins there where nothing is below.

    Args:
        values: The map.
        outer: The share of the values that lies within the scale; others are drawn as its end.
    """
    sizes = values[torch.isfinite(values)].abs().flatten()
    bound = float(torch.quantile(sizes, outer, interpolation="higher")) if len(sizes) else 0.0
    bound = bound or (float(sizes.max()) if len(sizes) else 0.0) or 1.0
    return _stepped(values, -bound if bool((values < 0).any()) else 0.0, bound)


def _stepped(values: Tensor, low: float, high: float) -> Numbers:
    """Return numbers on a scale."""
    wide = values.detach().double().cpu()
    steps = ((wide - low) / (high - low) * LEVELS).round().clamp(0, LEVELS)
    steps = torch.where(torch.isfinite(wide), steps, NOT_FINITE).to(torch.uint8)
    return Numbers.of_bytes(tuple(values.shape), bytes(steps.flatten().tolist()), low, high)


def _picture(layout: Layout, given: Tensor, maps: Maps, names: Sequence[str], mask: Tensor | None) -> Picture:
    if layout.kind == "tokens":
        return _of_tokens(given, maps, mask)
    if layout.kind == "series":
        return _of_series(given, maps)
    if layout.kind == "table":
        return _of_table(given.flatten(), [(name, one.flatten()) for name, one in maps], names)
    note = ""
    if len(layout.places) > 2:
        given, maps, note = _slice(given, maps)
    return _of_image(given, maps, note)


def _slice(given: Tensor, maps: Maps) -> tuple[Tensor, Maps, str]:
    """Return the plane ``(C, H, W)`` of a volume to which the first map gives most."""
    planes = [(name, one.reshape(-1, *one.shape[-2:])) for name, one in maps]
    chosen = int(planes[0][1].abs().sum((1, 2)).argmax())
    plane = given.reshape(len(given), -1, *given.shape[-2:])[:, chosen]
    note = f"plane {chosen + 1} of {len(planes[0][1])}, to which the explanation gives most"
    return plane, [(name, one[chosen]) for name, one in planes], note


def _of_image(given: Tensor, maps: Maps, note: str) -> Picture:
    """Return the picture of an image ``(C, H, W)``."""
    colors = given.float()
    if len(colors) not in (1, 3):
        note = f"{note}; mean of {len(colors)} channels".removeprefix("; ")
        colors = colors.mean(0, keepdim=True)
    shown = _pooled(colors)
    low, high = float(shown.min()), float(shown.max())
    pixels = shown.permute(1, 2, 0) if len(shown) == 3 else shown[0]
    seen = _stepped(pixels, low, high if high > low else low + 1)
    return Picture("image", seen, _named([(name, _pooled(one[None])[0]) for name, one in maps], _OUTER), note=note)


def _pooled(planes: Tensor) -> Tensor:
    """Return planes ``(C, H, W)`` of 48 pixels a side at most."""
    height, width = planes.shape[-2:]
    factor = _SIDE / max(height, width)
    if factor >= 1:
        return planes
    return F.adaptive_avg_pool2d(planes, (max(1, round(height * factor)), max(1, round(width * factor))))


def _of_series(given: Tensor, maps: Maps) -> Picture:
    """Return the picture of a series ``(C, L)``."""
    rows = given.float()
    note = f"{_CHANNELS} of {len(rows)} channels" if len(rows) > _CHANNELS else ""
    shown = _thinned(rows[:_CHANNELS])
    low, high = float(shown.min()), float(shown.max())
    seen = _stepped(shown, low, high if high > low else low + 1)
    return Picture("series", seen, _named([(name, _thinned(one[None])) for name, one in maps]), note=note)


def _thinned(rows: Tensor) -> Tensor:
    return rows if rows.shape[-1] <= _POINTS else F.adaptive_avg_pool1d(rows, _POINTS)


def _of_tokens(ids: Tensor, maps: Maps, mask: Tensor | None) -> Picture:
    """Return the picture of a sentence: its tokens that count, or the 64 of them in a row that weigh most."""
    places = torch.arange(len(ids)) if mask is None else mask.nonzero().flatten()
    note = ""
    if len(places) > _TOKENS:
        weights = torch.nan_to_num(maps[0][1][places]).abs().double()
        sums = weights.unfold(0, _TOKENS, 1).sum(1)
        start = int(sums.argmax())
        note = f"tokens {start + 1} to {start + _TOKENS} of {len(places)}, to which the explanation gives most"
        places = places[start : start + _TOKENS]
    words = tuple(str(one) for one in ids[places].tolist())
    return Picture("tokens", None, _named([(name, one[places]) for name, one in maps]), words=words, note=note)


def _of_table(given: Tensor, maps: Maps, names: Sequence[str]) -> Picture:
    """Return the picture of a row of a table: its features, or the twelve to which the explanation gives most."""
    order = torch.nan_to_num(maps[0][1]).abs().argsort(descending=True, stable=True)[:_FEATURES]
    note = "" if len(given) <= _FEATURES else f"the {_FEATURES} features of {len(given)} with most attribution"
    words = tuple(names[place] if names else f"feature {place}" for place in order.tolist())
    texts = tuple(f"{value:.4g}" for value in given[order].double().tolist())
    chosen = [(name, one[order]) for name, one in maps]
    return Picture("table", None, _named(chosen), words=words, texts=texts, note=note)


def _named(maps: Maps, outer: float = 1.0) -> tuple[Named, ...]:
    """Return maps with their numbers."""
    return tuple(Named(name, numbers(one, outer=outer)) for name, one in maps)
