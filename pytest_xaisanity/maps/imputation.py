"""Imputers: what takes the place of removed features.

An imputer maps inputs ``(b, C, *places)`` or ``(b, F)`` to a reference of the same shape; removed features take their
value from it. It is given the channels first, whatever the order of the axes in the model's inputs. Imputers are
frozen, so that equal settings are equal objects.

Two abilities go beyond this: a :class:`Learning` imputer is fitted to the data first, and what a :class:`Conditional`
one gives depends on which features are removed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import XaiError
from ..common.registry import Registry
from ..common.seeding import generator
from ..subject.layout import Layout

__all__ = ["IMPUTERS", "Blur", "Conditional", "Constant", "Imputer", "Learning", "Mean", "Noise", "gaussian_blur"]

IMPUTERS = Registry(
    "imputer",
    {
        "constant": ".maps.imputation:Constant",
        "mean": ".maps.imputation:Mean",
        "blur": ".maps.imputation:Blur",
        "noise": ".maps.imputation:Noise",
        "uniform": ".maps.uniform:Uniform",
        "noisy_linear": ".maps.noisy_linear:NoisyLinear",
        "mask_token": ".maps.token_imputation:MaskToken",
        "padding": ".maps.token_imputation:Padding",
        "zero_embedding": ".maps.token_imputation:ZeroEmbedding",
        "deletion": ".maps.token_imputation:Deletion",
        "marginal": ".maps.learned_imputation:Marginal",
        "conditional_mean": ".maps.learned_imputation:ConditionalMean",
    },
)


class Imputer(Protocol):
    """Anything that maps inputs, a seed and the inputs' places in the data to a reference."""

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the reference, of the shape and type of ``inputs``; ``indices`` has length b."""


class Learning(ABC):
    """An imputer that is fitted to the data before it is called."""

    @abstractmethod
    def fitted(self, data: Tensor, indices: Sequence[int]) -> Imputer:
        """Return the imputer that is called.

        Args:
            data: Inputs ``(n, C, *places)`` or ``(n, F)``, a sample of those that are explained.
            indices: Their places in the data, length n.
        """


class Conditional(ABC):
    """An imputer whose values depend on which features are removed; it is called where all of them are."""

    @abstractmethod
    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the reference where every feature is removed, of the shape and type of ``inputs``."""

    def drawn(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return what is drawn for each input, ``(b, ...)``, the same at every removal; nothing by default."""
        return inputs.new_empty(len(inputs), 0)

    @abstractmethod
    def given(self, inputs: Tensor, removed: Tensor, drawn: Tensor) -> Tensor:
        """Return the reference where some features are removed; where they are not, it is not looked at.

        Args:
            inputs: ``(k, C, *places)`` or ``(k, F)``; rows of the inputs, in any order and number.
            removed: Which of their values are removed, of the same shape.
            drawn: The rows of what was :meth:`drawn` for them.
        """


@dataclass(frozen=True)
class Constant:
    """The same value everywhere: black, mid-gray or padding, as the preprocessing has it."""

    value: float = 0.0

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the value, everywhere."""
        return torch.full_like(inputs, self.value)


@dataclass(frozen=True)
class Mean:
    """The mean of the original image, for each channel; of a row ``(b, F)``, the mean over the row.

    A single number ``(b,)`` is its own mean.
    """

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the means, everywhere."""
        rows, places = Layout.of((inputs,)).over_places(inputs)
        return rows.mean(places, keepdim=True).expand_as(rows).reshape(inputs.shape)


@dataclass(frozen=True)
class Blur:
    """A Gaussian-blurred copy of the image, mirrored at the border and cut off at four standard deviations.

    Args:
        sigma: Standard deviation in pixels; by default an eighth of the shorter side.
    """

    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None and not 0 < self.sigma < inf:
            raise XaiError(
                "imputer 'blur' sigma",
                found=repr(self.sigma),
                expected="a standard deviation in pixels, above 0",
                fix="change sigma=, or leave it out",
            )

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the blurred images; other inputs are an error."""
        if not Layout.of((inputs,)).is_image:
            raise XaiError(
                "imputer 'blur'",
                found=f"inputs of shape {tuple(inputs.shape)}",
                expected="images (N, C, H, W)",
                fix="use the imputer 'mean', 'constant' or 'noise'",
            )
        sigma = min(inputs.shape[2:]) / 8 if self.sigma is None else self.sigma
        wide = inputs if inputs.dtype == torch.float64 else inputs.float()
        return gaussian_blur(wide, sigma).to(inputs.dtype)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Return images ``(b, C, H, W)`` blurred with a standard deviation of ``sigma`` pixels, as :class:`Blur` says."""
    return _blurred(_blurred(images, sigma, 2), sigma, 3)


def _blurred(images: Tensor, sigma: float, axis: int) -> Tensor:
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    size = images.shape[axis]
    # Mirroring (d c b | a b c d | c b a) repeats with this period; indexing allows a radius larger than the image.
    period = max(1, 2 * size - 2)
    place = torch.arange(-radius, size + radius, device=images.device) % period
    padded = images.index_select(axis, torch.where(place < size, place, period - place))
    shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
    count, channels, height, width = padded.shape
    blurred = F.conv2d(padded.reshape(count * channels, 1, height, width), kernel.reshape(shape))
    return blurred.reshape(images.shape)


@dataclass(frozen=True)
class Noise:
    """Normal noise with the mean and standard deviation of the original image, for each channel.

    Drawn by (seed, input), so that it is the same at every step and for every order of removal.
    """

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the noise."""
        shape = inputs.shape[1:]
        generators = [generator(seed, "imputer", i) for i in indices]
        # In float32 whatever the default type: other types draw other numbers.
        drawn = torch.stack([torch.randn(shape, dtype=torch.float32, generator=g) for g in generators])
        rows, places = Layout.of((inputs,)).over_places(inputs)
        mean, std = rows.mean(places, keepdim=True), rows.std(places, keepdim=True, correction=0)
        return (drawn.to(inputs.device, inputs.dtype).reshape(rows.shape) * std + mean).reshape(inputs.shape)
