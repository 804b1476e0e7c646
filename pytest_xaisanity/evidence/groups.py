"""Groups of inputs that say the same: (nearly) equal inputs, and inputs to which an explainer gives (nearly) one map.

A fixed map is one observation, however many inputs it is shown on. Groups are found as inputs come, so that those of
the first inputs do not depend on the later ones. Of each of the first 256 groups the first member is kept, as a
sketch of 128 numbers, so that memory stays flat in the number of inputs.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from scipy import sparse
from torch import Tensor

from ..common.seeding import generator
from ..maps.counted import counted_maps, counted_scores, lengths, packed
from ..maps.norms import norms
from ..subject.block import Block

__all__ = ["Grouping"]

SAME_INPUT = 0.01  # Euclidean distance, relative to the norm
SAME_MAP = 0.05  # of maps of norm one: a cosine above 0.9987
_SKETCHES, _WIDTH = 4, 32
_PLACES = 16  # of maps that are compared up to what is the same everywhere
_ROUNDED = 1e-9  # of the squares of two norms: by how much the square of a distance may be off, as it is first found
_KEPT = 256  # groups that later inputs may join


class Grouping:
    """Numbers inputs by group, block by block.

    An input joins the first group whose first member is nearly equal to it, or has nearly the same map up to a positive
    factor and what is the same everywhere, which ranks nothing. Of maps of under 16 places, which are easily alike
    without it, that must be the same too. Constant maps are told apart by the input alone: they have no order of
    their own.
    """

    def __init__(self) -> None:
        self._count = 0
        self._joined: list[int] = []
        self._inputs, self._maps = _Leaders(SAME_INPUT), _Leaders(SAME_MAP)

    def of(self, block: Block, maps: Tensor | None = None) -> list[tuple[int, int]]:
        """Return the group of each input of a block, of which these are the maps ``(b, ...)``, and by input alone.

        Without maps both are the same.
        """
        inputs = torch.cat([_sketched(_leading(_comparable(tensor), block.mask)) for tensor in block.inputs], dim=1)
        twins = self._inputs.compared(inputs)
        if maps is None:
            return [self._group(row, twins, None) for row in range(len(block))]
        flat = maps.detach().flatten(1).cpu().double()
        mask = None if block.mask is None else block.mask.cpu()
        varied = counted_scores(mask, lambda one: one.amax(1) > one.amin(1), flat) & torch.isfinite(flat).all(1)
        centered = counted_maps(mask, lambda one: one - one.mean(1, keepdim=True), flat)
        compared = (centered,) if flat.shape[1] >= _PLACES else (flat, centered)
        shown = torch.cat([_directions(_leading(one, block.mask)) for one in compared], dim=1)
        alike = self._maps.compared(shown)
        return [self._group(row, twins, alike if varied[row] else None) for row in range(len(block))]

    def _group(self, row: int, twins: _Compared, alike: _Compared | None) -> tuple[int, int]:
        twin = twins.near(row)
        joined = None if alike is None else alike.near(row)
        own = self._count if twin is None else twin
        # Of a group by input or map, the number is that of its first member by input alone.
        group = min((self._joined[twin] if twin is not None else own), (own if joined is None else joined))
        if twin is None:
            twins.lead(row, own)
            self._joined.append(group)
            self._count += 1
        if alike is not None and joined is None:
            alike.lead(row, group)
        return group, own


class _Leaders:
    """Vectors that are not near one another, each with a group."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.vectors = torch.empty(0, 0, dtype=torch.float32)
        self.groups: list[int] = []

    def compared(self, rows: Tensor) -> _Compared:
        """Return vectors ``(b, width)`` set against all that are kept, and against one another."""
        return _Compared(self, rows.float())

    def add(self, vector: Tensor, group: int) -> None:
        """Keep one more, where there is room."""
        count = len(self.groups)
        if count == _KEPT:
            return
        if count == len(self.vectors):  # grows by doubling
            wider = torch.empty(max(64, 2 * count), len(vector), dtype=torch.float32)
            wider[:count] = self.vectors[:count] if count else 0
            self.vectors = wider
        self.vectors[count] = vector
        self.groups.append(group)


class _Compared:
    """The vectors of one block, all compared at once: which leaders each is near to, those among themselves too."""

    def __init__(self, leaders: _Leaders, rows: Tensor) -> None:
        self._leaders, self._rows = leaders, rows
        self._known = len(leaders.groups)
        self._near: list[list[int]] = [[] for _ in rows]  # first the leaders, then the rows of the block
        known = leaders.vectors[: self._known].reshape(self._known, rows.shape[1])
        others = torch.cat([known, rows])
        limits = leaders.tolerance * norms(rows)
        # Products are quick and rounded: they leave what may be near, and that is looked at by itself.
        wide, many = rows.double(), others.double()
        squares = wide.square().sum(1, keepdim=True) + many.square().sum(1)
        may = squares - 2 * wide @ many.T <= limits.double().square()[:, None] + _ROUNDED * squares
        first, second = may.nonzero().unbind(1)
        near = norms(others[second] - rows[first]) <= limits[first]
        for row, other in zip(first[near].tolist(), second[near].tolist(), strict=True):
            self._near[row].append(other)
        self._led: dict[int, int] = {}  # the rows that have become leaders since, and their groups

    def near(self, row: int) -> int | None:
        """Return the group of the first leader that is near to a row, or None."""
        for other in self._near[row]:
            if other < self._known:
                return self._leaders.groups[other]
            if other - self._known in self._led:
                return self._led[other - self._known]
        return None

    def lead(self, row: int, group: int) -> None:
        """Make a row a leader, where there is room for one."""
        if len(self._leaders.groups) < _KEPT:
            self._led[row] = group
        self._leaders.add(self._rows[row], group)


def _directions(maps: Tensor) -> Tensor:
    """Return sketches of maps ``(b, places)`` of norm one."""
    return _sketched(maps / norms(maps)[:, None].clamp_min(torch.finfo(maps.dtype).tiny))


def _comparable(inputs: Tensor) -> Tensor:
    """Return inputs as rows of numbers: as they are, or for codes such as tokens others, far from each other."""
    rows = inputs.detach().reshape(len(inputs), -1).cpu()
    return rows if inputs.is_floating_point() else torch.frac(torch.sin(rows.double() * 12.9898) * 43758.5453)


def _leading(rows: Tensor, mask: Tensor | None) -> Tensor:
    """Return what counts of rows ``(b, T)`` at their beginning, and zeros up to a number of places that all share."""
    if mask is None:
        return rows
    longest = int(mask.sum(1).max())
    wide = rows.new_zeros(len(rows), max(_SKETCHES * _WIDTH, 1 << (longest - 1).bit_length()))
    for chosen, length in lengths(mask.cpu()):
        wide[chosen, :length] = packed(rows, mask.cpu(), chosen, length)
    return wide


def _sketched(rows: Tensor) -> Tensor:
    """Return rows of 128 numbers with about the same distances, or the rows themselves where they are no longer.

    Each of four count sketches adds up the values of a row in 32 places, drawn with a sign for each value (Charikar,
    Chen and Farach-Colton 2002).
    """
    width = rows.shape[1]
    if width <= _SKETCHES * _WIDTH:
        return rows
    return torch.from_numpy(_sketches(width) @ rows.float().numpy().T).T.div(_SKETCHES**0.5)


@lru_cache(maxsize=8)
def _sketches(width: int) -> sparse.csr_matrix:
    """Return all sketches as one matrix ``(128, width)``."""
    rng = generator("sketch", width)
    places = torch.randint(0, _WIDTH, (_SKETCHES, width), generator=rng) + _WIDTH * torch.arange(_SKETCHES)[:, None]
    signs = (torch.randint(0, 2, (_SKETCHES, width), generator=rng) * 2 - 1).float()
    columns = torch.arange(width).expand(_SKETCHES, width)
    entries = signs.flatten().numpy(), (places.flatten().numpy(), columns.flatten().numpy())
    return sparse.csr_matrix(entries, shape=(_SKETCHES * _WIDTH, width))
