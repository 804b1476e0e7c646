"""Pixels that are weighted means of their neighbors: the linear system of noisy linear imputation, solved in batches.

Each unknown pixel is the mean of its eight neighbors, with weights 1/6 along the edges and 1/12 at the corners, divided
by the sum of those that lie in the image; neighbors that are unknown too are solved for jointly.

Pixels of one parity of row and column never touch one another. So there are four colors, each of which is updated at
once (Gauss-Seidel), with overrelaxation (SOR), whose factor is found for each image from how fast it converges (Hageman
and Young 1981). It converges for every factor below 2, as the system is symmetric and positive definite once its rows
are multiplied by these sums.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["harmonic_fill"]

_EVERY = 4  # sweeps between two looks at what moved
_VALUES = {"cpu": 2**17, "other": 2**24}  # of images that are solved together: on a CPU they stay in its cache
_STEPS = 6  # from one estimate of the slowest mode to the next
_REFINED = 6  # estimates
_SLOWEST = 0.9999


def harmonic_fill(images: Tensor, unknown: Tensor) -> Tensor:
    """Return images ``(k, C, H, W)`` whose unknown pixels are the weighted means of their neighbors.

    Errors are of the size of 1e-6 of the range of an image's values in single precision, 1e-12 in double. An image of
    unknown pixels alone determines nothing, and comes back as it is.

    Args:
        images: In single or double precision.
        unknown: Which pixels are filled, ``(k, H, W)``; the same in all channels.
    """
    unknown = unknown & ~unknown.flatten(1).all(1)[:, None, None]
    most = _VALUES["cpu" if images.device.type == "cpu" else "other"] // images[0].numel()
    parts = zip(torch.split(images, max(1, most)), torch.split(unknown, max(1, most)), strict=True)
    return torch.cat([_Relaxation(*part).solved() for part in parts])


class _Relaxation:
    """Some images as four arrays, one for each parity of row and column, and their solution.

    An array has all its rows in one line, with a zero behind each row, a row of zeros behind each channel, and some
    before and behind the whole: neighbors beyond the border are then zeros at a fixed distance.
    """

    def __init__(self, images: Tensor, unknown: Tensor) -> None:
        self.images, self.unknown = images, unknown
        count, channels, height, width = images.shape
        self.row = (width + 1) // 2 + 1
        self.shape = (count, channels, (height + 1) // 2 + 1, self.row)
        self.size = count * channels * self.shape[2] * self.row
        self.lines = [images.new_zeros(self.size + 2 * (self.row + 1)) for _ in range(4)]
        self.edges, self.sums = images.new_empty(self.size), images.new_empty(self.size)
        self.free = self._split(unknown[:, None].to(images.dtype))
        self.degrees = _degrees(images)
        self.gains = [free * inverse for free, inverse in zip(self.free, self._split(1 / self.degrees), strict=True)]
        known = (~unknown)[:, None].to(images.dtype)
        mean = (images * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
        start = torch.where(unknown[:, None], mean, images)
        self.scale = (start - mean).abs().amax((1, 2, 3)).clamp_min(torch.finfo(images.dtype).tiny)
        for color, part in enumerate(self._split(start)):
            self._line(color).copy_(part.flatten())

    def solved(self) -> Tensor:
        """Return the images with the solution."""
        single = self.images.dtype == torch.float32
        tolerance, still = (2e-6, 2e-6) if single else (1e-12, 4e-15)
        mode = _SlowestMode(self.unknown, self.degrees)
        for look in range(sum(self.images.shape[2:])):  # several times as many as were ever needed
            if look < _REFINED:
                factor = 2 / (1 + (1 - mode.refined().square()).sqrt())
                keeps, gains = self._relaxed(factor)
                rate = (factor - 1).clamp_min(0.5)
            moved = self._moved(keeps, gains)
            left = moved * torch.where(moved > still * self.scale, rate / (1 - rate), 0)
            if bool((left <= tolerance * self.scale).all()):
                break
        return self._joined()

    def _relaxed(self, factor: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return what remains of a value, and what of the sum over its neighbors is added to it."""
        each = factor[:, None, None, None]
        return [1 - each * free for free in self.free], [each * gain for gain in self.gains]

    def _moved(self, keeps: list[Tensor], gains: list[Tensor]) -> Tensor:
        """Sweep a few times, and return how far the farthest pixel of each image moved in the last one, ``(k,)``."""
        for _ in range(_EVERY - 1):
            self._sweep(keeps, gains)
        before = [self._line(color).clone() for color in range(4)]
        self._sweep(keeps, gains)
        steps = [self._line(color) - old for color, old in enumerate(before)]
        return torch.stack([step.reshape(len(self.images), -1).abs().amax(1) for step in steps]).amax(0)

    def _sweep(self, keeps: list[Tensor], gains: list[Tensor]) -> None:
        """Update one color after the other."""
        for color in range(4):
            along, down, across = color ^ 1, color ^ 2, color ^ 3
            beside, below = 1 if color & 1 else -1, self.row if color & 2 else -self.row
            edges = torch.add(self._line(along), self._line(along, beside), out=self.edges)
            edges.add_(self._line(down)).add_(self._line(down, below))
            sums = torch.add(self._line(across), self._line(across, beside), out=self.sums)
            sums.add_(self._line(across, below)).add_(self._line(across, below + beside)).add_(edges, alpha=2)
            self._line(color).view(self.shape).mul_(keeps[color]).addcmul_(gains[color], sums.view(self.shape))

    def _line(self, color: int, offset: int = 0) -> Tensor:
        start = self.row + 1 + offset
        return self.lines[color][start : start + self.size]

    def _split(self, images: Tensor) -> list[Tensor]:
        """Return the pixels ``(k, C, H, W)`` of each color, with zeros behind their rows and columns."""
        parts = []
        for color in range(4):
            some = images[..., color >> 1 :: 2, color & 1 :: 2]
            parts.append(images.new_zeros(*images.shape[:2], *self.shape[2:]))
            parts[-1][..., : some.shape[-2], : some.shape[-1]] = some
        return parts

    def _joined(self) -> Tensor:
        result = torch.empty_like(self.images, memory_format=torch.contiguous_format)
        for color in range(4):
            some = result[..., color >> 1 :: 2, color & 1 :: 2]
            some.copy_(self._line(color).view(self.shape)[..., : some.shape[-2], : some.shape[-1]])
        return result


class _SlowestMode:
    """How much of its slowest mode Jacobi's iteration leaves, for each image: a Rayleigh quotient, from below."""

    def __init__(self, unknown: Tensor, degrees: Tensor) -> None:
        self.degrees = degrees[:, 0]
        self.mode = unknown.to(degrees.dtype)
        self.weights = self.mode / self.degrees
        self.rate = degrees.new_zeros(len(unknown))

    def refined(self) -> Tensor:
        """Return it after a few more steps, ``(k,)``."""
        last = self.mode
        for _ in range(_STEPS):
            last, self.mode = self.mode, _over_neighbors(self.mode) * self.weights
        weighted = last * self.degrees
        size = (weighted * last).sum((1, 2)).clamp_min(torch.finfo(last.dtype).tiny)
        found = (weighted * self.mode).sum((1, 2)) / size
        self.rate = torch.maximum(self.rate, found.clamp_max(_SLOWEST))
        return self.rate


def _over_neighbors(images: Tensor) -> Tensor:
    """Return the weighted sum over the eight neighbors of each pixel ``(k, H, W)``, in twelfths."""
    padded = F.pad(images, (1, 1, 1, 1))
    rows = (padded[:, :-2] + padded[:, 2:]).add_(padded[:, 1:-1], alpha=2)
    return (rows[:, :, :-2] + rows[:, :, 2:]).add_(rows[:, :, 1:-1], alpha=2).sub_(images, alpha=4)


def _degrees(images: Tensor) -> Tensor:
    """Return the sum of the weights of each pixel's neighbors in the image, in twelfths, ``(1, 1, H, W)``."""
    rows, columns = (images.new_full((size,), 4) for size in images.shape[2:])
    for ends in (rows, columns):
        ends[0] -= 1
        ends[-1] -= 1
    return (rows[:, None] * columns - 4)[None, None]
