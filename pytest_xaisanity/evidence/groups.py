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
from ..subject.block import Block

__all__ = ["Grouping"]

SAME_INPUT = 0.01  # Euclidean distance, relative to the norm
SAME_MAP = 0.05  # of maps of norm one: a cosine above 0.9987
_SKETCHES, _WIDTH = 4, 32
_PLACES = 16  # of maps that are compared up to what is the same everywhere
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
        if maps is None:
            return [self._group(row, None) for row in inputs]
        flat = maps.detach().flatten(1).cpu().double()
        mask = None if block.mask is None else block.mask.cpu()
        varied = counted_scores(mask, lambda one: one.amax(1) > one.amin(1), flat) & torch.isfinite(flat).all(1)
        centered = counted_maps(mask, lambda one: one - one.mean(1, keepdim=True), flat)
        compared = (centered,) if flat.shape[1] >= _PLACES else (flat, centered)
        shown = torch.cat([_directions(_leading(one, block.mask)) for one in compared], dim=1)
        return [self._group(inputs[row], shown[row] if varied[row] else None) for row in range(len(block))]

    def _group(self, inputs: Tensor, shown: Tensor | None) -> tuple[int, int]:
        twin = self._inputs.near(inputs)
        alike = None if shown is None else self._maps.near(shown)
        own = self._count if twin is None else twin
        # Of a group by input or map, the number is that of its first member by input alone.
        group = min((self._joined[twin] if twin is not None else own), (own if alike is None else alike))
        if twin is None:
            self._inputs.add(inputs, own)
            self._joined.append(group)
            self._count += 1
        if shown is not None and alike is None:
            self._maps.add(shown, group)
        return group, own


class _Leaders:
    """Vectors that are not near one another, each with a group."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._vectors = torch.empty(0, 0)
        self._groups: list[int] = []

    def near(self, vector: Tensor) -> int | None:
        """Return the group of the first that is near, or None."""
        if not self._groups:
            return None
        known = self._vectors[: len(self._groups)]
        vector = vector.float()
        near = torch.linalg.vector_norm(known - vector, dim=1) <= self.tolerance * torch.linalg.vector_norm(vector)
        return self._groups[int(near.nonzero()[0])] if near.any() else None

    def add(self, vector: Tensor, group: int) -> None:
        """Keep one more, where there is room."""
        count = len(self._groups)
        if count == _KEPT:
            return
        if count == len(self._vectors):  # grows by doubling
            wider = torch.empty(max(64, 2 * count), len(vector))
            wider[:count] = self._vectors[:count] if count else 0
            self._vectors = wider
        self._vectors[count] = vector
        self._groups.append(group)


def _directions(maps: Tensor) -> Tensor:
    """Return sketches of maps ``(b, places)`` of norm one."""
    norms: Tensor = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    return _sketched(maps / norms.clamp_min(torch.finfo(maps.dtype).tiny))


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
