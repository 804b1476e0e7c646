"""Ensembles: explainers that put another one together from several of its maps, or square its maps.

SmoothGrad (Smilkov et al. 2017), SmoothGrad-Squared (Hooker et al. 2019), VarGrad (Adebayo et al. 2018), over any base.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..common.checks import check_number, check_whole

__all__ = ["Ensemble", "SmoothGrad", "SmoothGradSquared", "Squared", "VarGrad"]

_MOST = 10_000


@dataclass(frozen=True)
class Ensemble(ABC):
    """What makes one map of those of another explainer; whatever settings it is given are that explainer's.

    Attributes:
        source: What ``xai.explainer`` takes.
    """

    source: object
    word: ClassVar[str]

    @property
    def draws(self) -> int:
        """How many noisy copies of an input are explained; 0 where the input itself is."""
        return 0

    @property
    def label(self) -> str:
        """What verdicts call it, before the name of the explainer inside."""
        return self.word

    def noise(self, inputs: Tensor) -> Tensor:
        """Return what is added to inputs ``(b, ...)`` in one draw."""
        return torch.zeros_like(inputs)

    @abstractmethod
    def combined(self, mean: Tensor, squares: Tensor, variance: Tensor) -> Tensor:
        """Return the attributions, of what the draws have in common.

        Args:
            mean: The mean of the attributions.
            squares: The mean of their squares.
            variance: Their variance, over as many as there are.
        """


@dataclass(frozen=True)
class Squared(Ensemble):
    """The square of each attribution, value by value: what is left is its size, not its sign."""

    word: ClassVar[str] = "squared"

    def combined(self, mean: Tensor, squares: Tensor, variance: Tensor) -> Tensor:
        """Return the squares."""
        return squares


@dataclass(frozen=True)
class _Noisy(Ensemble):
    """An ensemble over noisy copies of an input, with the settings of :class:`SmoothGrad`."""

    samples: int = 15
    scale: float = 0.15
    least: ClassVar[int] = 1  # samples

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "samples", check_whole(name, "samples", self.samples, least=self.least, most=_MOST))
        object.__setattr__(self, "scale", check_number(f"{name} scale", self.scale, 1e-9))

    @property
    def draws(self) -> int:
        """The samples."""
        return self.samples

    @property
    def label(self) -> str:
        """The word, with the settings."""
        return f"{self.word}(samples={self.samples}, scale={self.scale:g})"

    def noise(self, inputs: Tensor) -> Tensor:
        """Return normal noise, of a standard deviation that is a share of each input's own range."""
        low, high = torch.aminmax(inputs.flatten(1), dim=1)
        width = ((high - low) * self.scale).reshape(-1, *[1] * (inputs.ndim - 1))
        return torch.randn_like(inputs) * width


@dataclass(frozen=True)
class SmoothGrad(_Noisy):
    """The mean of the attributions of noisy copies of an input, of any base explainer.

    Args:
        source: What ``xai.explainer`` takes; its settings go there, beside this object.
        samples: How many noisy copies, 1 to 10,000. Hooker et al. take 15.
        scale: The standard deviation of the noise, as a share of the range of each input's values, above 0.

    Raises:
        XaiError: A setting is out of range.
    """

    word: ClassVar[str] = "smoothgrad"

    def combined(self, mean: Tensor, squares: Tensor, variance: Tensor) -> Tensor:
        """Return the mean."""
        return mean


@dataclass(frozen=True)
class SmoothGradSquared(_Noisy):
    """The mean of the squared attributions of noisy copies of an input; see :class:`SmoothGrad`."""

    word: ClassVar[str] = "smoothgrad_squared"

    def combined(self, mean: Tensor, squares: Tensor, variance: Tensor) -> Tensor:
        """Return the mean of the squares."""
        return squares


@dataclass(frozen=True)
class VarGrad(_Noisy):
    """The variance of the attributions of two or more noisy copies of an input; see :class:`SmoothGrad`."""

    word: ClassVar[str] = "vargrad"
    least: ClassVar[int] = 2

    def combined(self, mean: Tensor, squares: Tensor, variance: Tensor) -> Tensor:
        """Return the variance: 0 for a linear model."""
        return variance
