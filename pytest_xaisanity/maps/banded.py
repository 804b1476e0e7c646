"""The linear system of noisy linear imputation, solved directly: the unknown pixels of an image as a banded matrix.

Numbered row by row, an unknown pixel and its neighbors are about as far apart as a row has unknown pixels. That is the
band of a matrix whose Cholesky factorization, by LAPACK, serves all channels. Matrices of many images are built
together. They are of double precision: in single precision the entries of a factor fade into subnormal numbers, with
which processors take several times as long.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dpbsv
from torch import Tensor

__all__ = ["direct_fill"]

_VALUES = 2**17  # of images whose matrices are built together
_WIDEST = 64  # OpenBLAS shares wider bands among its threads: on busy cores that took a hundred times as long
_WEIGHTS = (-2.0, -2.0, -1.0, -1.0)  # of the neighbors to the right, below, and below to the left and right


def direct_fill(images: Tensor, unknown: Tensor, degrees: Tensor) -> Tensor:
    """Make unknown pixels the weighted means of their neighbors, in place, and return of which images that is left.

    What is left are images whose band is so wide that steps of conjugate gradients are quicker: ``(k,)``.

    Args:
        images: ``(k, C, H, W)``, contiguous, on the CPU.
        unknown: Which pixels are filled, ``(k, H, W)``, not all of an image.
        degrees: The sum of the weights of each pixel's neighbors, in twelfths, ``(H, W)``.
    """
    direct = quick(unknown, images.shape[1])
    if direct.all():
        most = max(1, _VALUES // images[0].numel())
        parts = zip(torch.split(images, most), torch.split(unknown, most), strict=True)
        direct = torch.cat([_Systems(part, holes, degrees).solve() for part, holes in parts])
    elif direct.any():
        chosen, some = direct.clone(), images[direct]
        direct[chosen] = ~direct_fill(some, unknown[direct], degrees)
        images[chosen] = some
    return ~direct & unknown.flatten(1).any(1)


def quick(unknown: Tensor, channels: int) -> Tensor:
    """Return of which images with unknown pixels the direct solution is quicker than steps, as was measured ``(k,)``.

    The band is about as wide as a row has unknown pixels. Large holes take many steps: pixels whose neighbors are
    unknown too tell of them.
    """
    _, height, width = unknown.shape
    count = unknown.flatten(1).sum(1).double()
    beside = (unknown[..., 1:] & unknown[..., :-1]).flatten(1).sum(1) / count.clamp_min(1)
    band = 1.3 * count / height + 3
    nanoseconds = 25_000 + count * (120 + 0.3 * band * (band + 4 * channels))
    return (count > 0) & (nanoseconds < channels * height * width * (80 + 250 * beside**2))


class _Systems:
    """The systems of some images, contiguous and each with unknown pixels.

    Behind each row of pixels lies one that is known and zero, and behind each image a row of them: what is beside a
    pixel is at a fixed distance. All numbers are twelfths.
    """

    def __init__(self, images: Tensor, unknown: Tensor, degrees: Tensor) -> None:
        self.images, self.unknown = images, unknown
        count, height, width = unknown.shape
        self.row, self.plane = width + 1, (height + 1) * (width + 1)
        padded = np.zeros(count * self.plane + self.row + 2, dtype=bool)
        inside = padded[: count * self.plane].reshape(count, height + 1, self.row)
        inside[:, :height, :width] = unknown.numpy()
        places = np.flatnonzero(padded)
        self.counts = inside.sum((1, 2))
        self.starts = np.cumsum(self.counts) - self.counts
        self.of_image = np.repeat(np.arange(count), self.counts)
        self.within = places - self.of_image * self.plane
        self.rows, self.columns = np.divmod(self.within, self.row)
        self.diagonal = degrees.numpy()[self.rows, self.columns]
        known = torch.from_numpy(np.argmin(inside[:, :height, :width].reshape(count, -1), axis=1))
        # The first known value of each channel counts as 0, so that values far from 0 are as exact: (k, C).
        self.zero = images.flatten(2)[torch.arange(count), :, known]
        numbers = np.empty(len(padded), dtype=np.int64)
        own = numbers[places] = np.arange(len(places))
        steps = (1, self.row, self.row - 1, self.row + 1)
        # How much later each later neighbor comes; 0, which is the diagonal, for one that is known.
        self.later = [np.where(padded[places + step], numbers[places + step] - own, 0) for step in steps]
        self.widths = np.maximum.reduceat(np.maximum.reduce(self.later), self.starts)

    def solve(self) -> Tensor:
        """Fill the images, in place, and return which bands were narrow enough for it ``(k,)``."""
        _, channels, height, width = self.images.shape
        sides = self._sides()
        wide = self.widths[self.of_image] + 1
        rows = (np.arange(len(wide)) - self.starts[self.of_image]) * wide
        entries = [rows + later for later in self.later]
        for start, count, width_of_band in zip(self.starts, self.counts, self.widths, strict=True):
            if width_of_band > _WIDEST:
                continue
            own = slice(start, start + count)
            band = np.zeros((count, width_of_band + 1))
            flat = band.reshape(-1)
            for weight, entry in zip(_WEIGHTS, entries, strict=True):
                flat[entry[own]] = weight
            flat[rows[own]] = self.diagonal[own]
            _, found, wrong = dpbsv(band.T, sides[:, own].T, lower=1, overwrite_ab=1)
            assert not wrong  # the matrix is positive definite
            sides[:, own] = found.T
        places = (self.of_image * channels * height + self.rows) * width + self.columns
        places = places + height * width * np.arange(channels)[:, None]
        self.images.numpy().reshape(-1)[places] = sides + self.zero.numpy().T.astype(np.float64)[:, self.of_image]
        return torch.from_numpy(self.widths <= _WIDEST)

    def _sides(self) -> NDArray[np.float64]:
        """Return the right-hand sides, the weighted sums over known neighbors: ``(C, unknown pixels)``."""
        count, channels, height, width = self.images.shape
        size, row = count * channels * self.plane, self.row
        around = self.images.new_zeros(size + 2 * (row + 1))
        inside = around[row + 1 : row + 1 + size].view(count, channels, height + 1, row)[..., :height, :width]
        torch.sub(self.images, self.zero[:, :, None, None], out=inside).masked_fill_(self.unknown[:, None], 0)
        down = around[: size + 2] + around[2 * row : 2 * row + size + 2]
        down.add_(around[row : row + size + 2], alpha=2)
        sums = (down[:-2] + down[2:]).add_(down[1:-1], alpha=2).numpy()  # 4 times the pixel itself is 0
        places = self.of_image * channels * self.plane + self.within
        return sums[places + self.plane * np.arange(channels)[:, None]].astype(np.float64)
