"""Maps of which some places alone count: padding is nobody's business.

Sentences of one batch have different lengths. What is done to their maps is done to those of one length at a time,
with the places that count in a row, so that no function of maps needs to know of a mask, and numbers that are drawn for
a map are as many as its places: what comes out is the same however far a sentence was padded, and beside which others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "GRID",
    "counted_map",
    "counted_maps",
    "counted_scores",
    "from_grid",
    "lengths",
    "on_grid",
    "packed",
    "place_map",
    "resampled",
    "spread",
]

GRID = 64
"""Places of the grid on which maps of different lengths are averaged."""

Rows = Tensor  # places of inputs in a batch


def lengths(mask: Tensor) -> Iterator[tuple[Rows, int]]:
    """Yield the inputs of each number of counted places, and the number."""
    counts = mask.sum(1)
    for length in torch.unique(counts).tolist():
        yield (counts == length).nonzero()[:, 0], int(length)


def packed(maps: Tensor, mask: Tensor, rows: Rows, length: int) -> Tensor:
    """Return the counted places ``(r, length)`` of the maps ``(b, T)`` of some inputs, in a row."""
    return maps[rows][mask[rows]].reshape(len(rows), length)


def spread(dense: Tensor, mask: Tensor, rows: Rows, onto: Tensor) -> Tensor:
    """Put counted places ``(r, length)`` of some inputs back into maps ``(b, T)``, and return these."""
    some = onto[rows]
    some[mask[rows]] = dense.reshape(-1).to(onto)
    onto[rows] = some
    return onto


def counted_maps(mask: Tensor | None, work: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Return what ``work`` makes of maps ``(b, T)``, one length at a time: maps again, 0 where nothing counts.

    Without a mask it is done to all of them at once.
    """
    if mask is None:
        return work(*maps)
    result = torch.zeros_like(maps[0])
    for rows, length in lengths(mask):
        spread(work(*(packed(one, mask, rows, length) for one in maps)), mask, rows, result)
    return result


def counted_scores(mask: Tensor | None, work: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Return the scores ``(b, ...)`` that ``work`` gives to maps ``(b, T)``, one length at a time."""
    if mask is None:
        return work(*maps)
    result: Tensor | None = None
    for rows, length in lengths(mask):
        scores = work(*(packed(one, mask, rows, length) for one in maps))
        result = scores.new_zeros(len(mask), *scores.shape[1:]) if result is None else result
        result[rows] = scores
    assert result is not None
    return result


def resampled(rows: Tensor, length: int) -> Tensor:
    """Return maps ``(r, L)`` at another number of places, linearly between their own: the ends stay the ends."""
    if rows.shape[1] == length:
        return rows
    if rows.shape[1] == 1:
        return rows.expand(len(rows), length)
    return F.interpolate(rows[:, None], size=length, mode="linear", align_corners=True)[:, 0]


def counted_map(maps: Tensor, mask: Tensor | None, row: int) -> Tensor:
    """Return the map of one input: of a sentence the places ``(L,)`` that count."""
    return maps[row] if mask is None else maps[row][mask[row]]


def place_map(one: Tensor, mask: Tensor | None, row: int, onto: Tensor) -> None:
    """Put the map of any input in the place of one, stretched or squeezed where it has another number of places."""
    if mask is None:
        onto[row] = one
        return
    onto[row] = 0
    onto[row, mask[row]] = resampled(one[None], int(mask[row].sum()))[0]


def on_grid(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Return maps of sentences ``(b, T)`` on a grid of 64 places, and any others as they are."""
    return maps if mask is None else counted_scores(mask.to(maps.device), lambda dense: resampled(dense, GRID), maps)


def from_grid(rows: Tensor, mask: Tensor | None, like: Tensor) -> Tensor:
    """Return maps of the shape of ``like``: the reverse of :func:`on_grid`; what is NaN throughout stays so."""
    if mask is None:
        return rows
    result = torch.zeros_like(like)
    for chosen, length in lengths(mask):
        spread(resampled(rows[chosen], length), mask, chosen, result)
    return result.masked_fill(rows.isnan().all(1)[:, None], torch.nan)
