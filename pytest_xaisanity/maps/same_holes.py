"""The linear system of noisy linear imputation for many images that lack the same pixels: factorized once for all.

Maps that are the same for all inputs, such as a blob in the center, remove the same pixels of each image. The unknown
pixels are numbered row by row, so that none has a neighbor beyond the next block of as many as lie between two
neighbors. The Cholesky factorization of such a matrix, block by block, and the solution for all channels of all images
are products of small dense matrices. All numbers are twelfths, in double precision.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

__all__ = ["fill_alike"]

_CHANNELS = 24  # of images that lack the same pixels; of fewer each image is as quick by itself
_VALUES = 2**21  # of images that are solved together
_BLOCKS = 2**23  # values of all blocks, at most
_LEAST = 48  # unknown pixels of a block
_DOWN, _ACROSS = np.array((0, 0, 1, -1, 1, -1, 1, -1)), np.array((1, -1, 0, 0, -1, 1, 1, -1))
_WEIGHTS = np.repeat((2.0, 1.0), 4)


def fill_alike(images: Tensor, unknown: Tensor, degrees: Tensor) -> Tensor:
    """Fill the images of which enough others lack the same pixels, in place, and return which were filled ``(k,)``.

    Args:
        images: ``(k, C, H, W)``, contiguous, on the CPU.
        unknown: Which pixels are filled, ``(k, H, W)``, not all of an image.
        degrees: The sum of the weights of each pixel's neighbors, in twelfths, ``(H, W)``.
    """
    filled = torch.zeros(len(images), dtype=torch.bool)
    for places in _alike(unknown, -(-_CHANNELS // images.shape[1])):
        shared = _Shared(unknown[places[0]].numpy(), degrees.numpy())
        if shared.fits:
            some = images if len(places) == len(images) else images[places]
            shared.fill(some.view(-1, shared.size).numpy())
            if some is not images:
                images[places] = some
            filled[places] = True
    return filled


def _alike(unknown: Tensor, least: int) -> list[list[int]]:
    """Return the places of images that lack the same pixels, where so many do."""
    if len(unknown) < least:
        return []
    found: dict[bytes, list[int]] = {}
    for place, row in enumerate(np.packbits(unknown.flatten(1).numpy(), axis=1)):
        found.setdefault(row.tobytes(), []).append(place)
    return [places for places in found.values() if len(places) >= least and unknown[places[0]].any()]


class _Shared:
    """The system of the unknown pixels ``(H, W)`` of any image."""

    def __init__(self, unknown: NDArray[np.bool_], degrees: NDArray[np.floating]) -> None:
        self.size, width = unknown.size, unknown.shape[1]
        self.places = np.flatnonzero(unknown)
        rows, columns = self.places[:, None] // width + _DOWN, self.places[:, None] % width + _ACROSS
        inside = (rows >= 0) & (rows < unknown.shape[0]) & (columns >= 0) & (columns < width)
        beside = np.where(inside, rows * width + columns, self.places[:, None])
        lacking = inside & unknown.reshape(-1)[beside]
        numbers = np.cumsum(unknown.reshape(-1)) - 1
        own, self.neighbors = np.nonzero(lacking)[0], numbers[beside[lacking]]
        self.own, self.weights = own, np.broadcast_to(_WEIGHTS, lacking.shape)[lacking]
        self.diagonal = degrees.reshape(-1)[self.places]
        self.block = max(_LEAST, int(np.abs(self.neighbors - own).max(initial=0)))
        self.count = -(-len(self.places) // self.block)
        self.known, self.around = self._around(beside, inside & ~lacking)

    @property
    def fits(self) -> bool:
        """Whether its blocks take no more memory than they may."""
        return 2 * self.count * self.block**2 <= _BLOCKS

    def fill(self, values: NDArray[np.floating]) -> None:
        """Fill the values of channels ``(p, H · W)``, in place."""
        lower, below = self._factors()
        around = self.around.astype(values.dtype)
        for start in range(0, len(values), max(1, _VALUES // self.size)):
            part = values[start : start + max(1, _VALUES // self.size)]
            # One known value of each channel counts as 0, so that values far from 0 are as exact.
            zero = part[:, self.known[:1]]
            known = np.take(part, self.known, axis=1) - zero
            sides = np.zeros((self.count * self.block, len(part)))
            sides[: len(self.places)] = around @ np.ascontiguousarray(known.T)
            _solve(lower, below, torch.from_numpy(sides).view(self.count, self.block, -1))
            part[:, self.places] = (sides[: len(self.places)] + zero[:, 0]).T

    def _around(self, beside: NDArray[np.int64], known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], csr_array]:
        """Return the places of known neighbors, and their weights for each unknown pixel."""
        places, columns = np.unique(beside[known], return_inverse=True)
        weights = np.broadcast_to(_WEIGHTS, known.shape)[known]
        ends = np.append(0, np.cumsum(known.sum(1)))
        return places, csr_array((weights, columns, ends), shape=(len(known), len(places)))

    def _factors(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the inverses of the factor's blocks on the diagonal, and the blocks below them."""
        diagonal, below = (np.zeros((self.count, self.block, self.block)) for _ in range(2))
        every = np.arange(self.count * self.block)
        diagonal.reshape(-1)[every * self.block + every % self.block] = np.append(
            self.diagonal, np.ones(len(every) - len(self.places))
        )
        block, row = np.divmod(self.own, self.block)
        other, column = np.divmod(self.neighbors, self.block)
        diagonal[block[block == other], row[block == other], column[block == other]] = -self.weights[block == other]
        later = block > other
        below[other[later], row[later], column[later]] = -self.weights[later]
        return _factorized(torch.from_numpy(diagonal), torch.from_numpy(below))


def _factorized(diagonal: Tensor, below: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inverses of the lower triangles of a Cholesky factorization, and what lies below each."""
    inverses: list[Tensor] = []
    coupled: list[Tensor] = []
    identity = torch.eye(diagonal.shape[1], dtype=diagonal.dtype)
    for place, block in enumerate(diagonal):
        if place:
            block = block - coupled[-1] @ coupled[-1].T
        inverses.append(torch.linalg.solve_triangular(torch.linalg.cholesky(block), identity, upper=False))
        coupled.append(below[place] @ inverses[-1].T)
    return inverses, coupled


def _solve(inverses: list[Tensor], below: list[Tensor], sides: Tensor) -> None:
    """Solve for right-hand sides ``(blocks, unknown pixels of each, p)``, in place."""
    for place, inverse in enumerate(inverses):
        if place:
            sides[place].addmm_(below[place - 1], sides[place - 1], alpha=-1)
        sides[place] = inverse @ sides[place]
    for place in reversed(range(len(inverses))):
        if place + 1 < len(inverses):
            sides[place].addmm_(below[place].T, sides[place + 1], alpha=-1)
        sides[place] = inverses[place].T @ sides[place]
