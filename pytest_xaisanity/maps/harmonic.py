"""Pixels that are weighted means of their neighbors: the linear system of noisy linear imputation, solved in batches.

Each unknown pixel is the mean of its eight neighbors, with weights 1/6 along the edges and 1/12 at the corners, divided
by the sum of those that lie in the image; neighbors that are unknown too are solved for jointly. Multiplied by these
sums, the system is symmetric and positive definite. On a CPU a Cholesky factorization of it serves all channels of an
image (:mod:`.banded`), and all images that lack the same pixels (:mod:`.same_holes`). On accelerators, and where that
would take longer, conjugate gradients solve it, each channel of each image by itself, all of them in the same steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .banded import direct_fill
from .same_holes import fill_alike

__all__ = ["harmonic_fill"]

_EVERY = 2  # steps between two looks at the residuals
_STEPS = 20_000  # many more than were ever needed
_VALUES = {"cpu": 2**16, "other": 2**24}  # of images that are solved together: on a CPU they stay in its cache


def harmonic_fill(images: Tensor, unknown: Tensor) -> Tensor:
    """Return images ``(k, C, H, W)`` whose unknown pixels are the weighted means of their neighbors.

    In single precision, values are right to 1e-5 of the range of an image. Where steps are taken, residuals fall to
    3e-6 of what they are where the mean of the known pixels stands everywhere, in double precision to 1e-13. An image
    of unknown pixels alone determines nothing, and comes back as it is.

    Args:
        images: In single or double precision.
        unknown: Which pixels are filled, ``(k, H, W)``; the same in all channels.
    """
    unknown = unknown & ~unknown.flatten(1).all(1)[:, None, None]
    if images.device.type != "cpu":
        return _stepwise(images, unknown)
    filled, degrees = images.clone(memory_format=torch.contiguous_format), _degrees(images)
    alike = fill_alike(filled, unknown, degrees)
    if alike.all():
        return filled
    unknown = unknown & ~alike[:, None, None]
    left = direct_fill(filled, unknown, degrees)
    if left.any():
        filled[left] = _stepwise(images[left], unknown[left])
    return filled


def _stepwise(images: Tensor, unknown: Tensor) -> Tensor:
    """Return filled images, solved by conjugate gradients."""
    most = max(1, _VALUES["cpu" if images.device.type == "cpu" else "other"] // images[0].numel())
    parts = zip(torch.split(images, most), torch.split(unknown, most), strict=True)
    filled = torch.cat([_System(*part).solved() for part in parts])
    return torch.where(unknown[:, None], filled, images)


class _System:
    """The system of some images, whose channels ``(r, H, W)`` lie in one line each, all in a row.

    Behind each row of pixels is a zero and behind each channel a row of them, so that what lies beyond the border is
    zero at a fixed distance, and neighbors are added up in long strides. All numbers are twelfths.
    """

    def __init__(self, images: Tensor, unknown: Tensor) -> None:
        count, channels, height, width = self.shape = images.shape
        self.row = width + 1
        self.lines = (count * channels, (height + 1) * self.row)
        self.size = self.lines[0] * self.lines[1]
        self.around = images.new_zeros(self.size + 2 * (self.row + 1))
        self.direction = self.around[self.row + 1 : self.row + 1 + self.size]
        self.down, self.sums = images.new_empty(self.size + 2), images.new_empty(self.size)
        known = ~unknown[:, None]
        values = torch.where(known, images, 0)
        self.means = (values / known.sum((2, 3), keepdim=True)).sum((2, 3), keepdim=True)
        centered = torch.where(known, images - self.means, 0)
        # Squares of what is added up are numbers of single precision, whatever the values.
        largest = centered.abs().amax((2, 3), keepdim=True)
        self.unit = torch.where(largest > 0, largest, 1)
        self.free = self._in_line(unknown[:, None].expand(images.shape).to(images.dtype))
        self.diagonal = self.free * self._in_line((_degrees(images) + 4).expand(images.shape))
        self.centered = self._in_line(centered / self.unit)

    def solved(self) -> Tensor:
        """Return the solution ``(k, C, H, W)``; what it says of known pixels means nothing."""
        direction = self.direction
        direction.copy_(self.centered)
        residual = self.free * self._boxed()
        direction.copy_(residual)
        solution, applied = torch.zeros_like(residual), torch.empty_like(residual)
        size = self._square(residual)
        limit = (1e-11 if residual.dtype == torch.float32 else 1e-26) * size
        for step in range(1, _STEPS):
            torch.mul(self.diagonal, direction, out=applied).addcmul_(self.free, self._boxed(), value=-1)
            length = _ratio(size, self._dot(direction, applied))
            self._rows(solution).addcmul_(self._rows(direction), length)
            self._rows(residual).addcmul_(self._rows(applied), length, value=-1)
            last, size = size, self._square(residual)
            if step % _EVERY == 0 and bool((size <= limit).all()):
                break
            torch.addcmul(self._rows(residual), self._rows(direction), _ratio(size, last), out=self._rows(direction))
        count, channels, height, width = self.shape
        inside = solution.view(count, channels, height + 1, self.row)[..., :height, :width]
        return torch.addcmul(self.means, inside, self.unit)

    def _boxed(self) -> Tensor:
        """Return the weighted sum over the neighbors of each pixel of the direction, and four times itself."""
        row, size, around, down = self.row, self.size, self.around, self.down
        torch.add(around[: size + 2], around[2 * row : 2 * row + size + 2], out=down)
        down.add_(around[row : row + size + 2], alpha=2)
        return torch.add(down[:-2], down[2:], out=self.sums).add_(down[1:-1], alpha=2)

    def _in_line(self, images: Tensor) -> Tensor:
        count, channels, height, width = self.shape
        padded = images.new_zeros(count, channels, height + 1, self.row)
        padded[..., :height, :width] = images
        return padded.flatten()

    def _rows(self, line: Tensor) -> Tensor:
        return line.view(self.lines)

    def _square(self, line: Tensor) -> Tensor:
        """Return the squares of the channels' lengths, ``(r, 1)``."""
        length: Tensor = torch.linalg.vector_norm(self._rows(line), dim=1, keepdim=True)
        return length.square()

    def _dot(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the products of the channels, ``(r, 1)``."""
        products: Tensor = torch.linalg.vecdot(self._rows(one), self._rows(other))
        return products[:, None]


def _ratio(one: Tensor, other: Tensor) -> Tensor:
    """Return the ratio; that of zeros, where nothing is left to solve, is 0."""
    return one / other.clamp_min(torch.finfo(other.dtype).tiny)


def _degrees(images: Tensor) -> Tensor:
    """Return the sum of the weights of each pixel's neighbors in the image, ``(H, W)``."""
    rows, columns = (images.new_full((size,), 4) for size in images.shape[2:])
    for ends in (rows, columns):
        ends[0] -= 1
        ends[-1] -= 1
    return rows[:, None] * columns - 4
