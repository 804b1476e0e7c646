"""Softplus in place of ReLU, log-sum-exp in place of the maximum (Kokhlikyan, Martin et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.errors import setting_error

__all__ = ["LSE", "Smooth", "sharpness", "smooths_of"]

_WHERE = "smoothed"

LSE: TypeAlias = Literal["sum", "mean"]
_Over: TypeAlias = Callable[[Tensor, Sequence[int]], Tensor]


@dataclass(frozen=True)
class Smooth:
    """How smooth a network is made.

    ReLU(z) becomes ln(1 + exp(beta z)) / beta, which is larger by ln 2 / beta at most. The maximum of n values becomes
    ln(sum_i exp(r z_i)) / r, which is larger by ln n / r at most and has the softmax of r z as its gradient; or, with
    the mean over i in place of the sum, smaller by ln n / r at most.

    Attributes:
        beta: Of softplus, above 0; infinity leaves ReLUs as they are.
        r: Of log-sum-exp, above 0; infinity leaves maxima as they are.
        lse: ``"sum"`` or ``"mean"``.
    """

    beta: float = 10.0
    r: float = 10.0
    lse: LSE = "sum"

    def __str__(self) -> str:
        return f"beta={self.beta:g}, r={self.r:g}{'' if self.lse == 'sum' else f', lse={self.lse}'}"

    def relu(self, values: Tensor) -> Tensor:
        """Return softplus of each value."""
        return F.softplus(values, self.beta)

    def leaky_relu(self, values: Tensor, negative_slope: float = 0.01) -> Tensor:
        """Return it of a ReLU with a slope below 0."""
        return negative_slope * values + (1 - negative_slope) * self.relu(values)

    def prelu(self, values: Tensor, weight: Tensor) -> Tensor:
        """Return it of a ReLU with a learned slope below 0, of each channel ``(C,)`` or of all."""
        slope = weight if values.ndim < 2 else weight.reshape(-1, *[1] * (values.ndim - 2))
        return slope * values + (1 - slope) * self.relu(values)

    def hardtanh(self, values: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
        """Return it of a clamp, the difference of two ReLUs."""
        return min_val + self.relu(values - min_val) - self.relu(values - max_val)

    def maximum(self, values: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """Return log-sum-exp over some axes, which are kept with a size of 1 or dropped."""

        def reduced(one: Tensor, over: _Over) -> Tensor:
            return over(one, axes)

        found = self._centered(values, reduced)
        dropped = {axis % values.ndim for axis in axes}
        return found if keep else found.reshape([n for axis, n in enumerate(values.shape) if axis not in dropped])

    def max_pool(
        self,
        values: Tensor,
        sizes: Sequence[int],
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Tensor:
        """Return log-sum-exp over the windows of a pooling; a padded place is in no window.

        Args:
            values: ``(..., *places)``.
            sizes: Of the output, along each axis of places, and so the others.
            kernel_size: Places in a window.
            stride: Steps from one window to the next.
            padding: Places before the first.
            dilation: Steps from one place in a window to the next.
        """

        def pooled(one: Tensor, over: _Over) -> Tensor:
            for axis, *window in zip(_last(len(sizes)), sizes, kernel_size, stride, padding, dilation, strict=True):
                one = over(_windows(one, axis, *window), [0]).squeeze(0)  # one axis after the other is exact
            return one

        return self._centered(values, pooled)

    def adaptive_max_pool(self, values: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return log-sum-exp over windows of any length, of which there are ``sizes`` along the last axes."""

        def pooled(one: Tensor, over: _Over) -> Tensor:
            for axis, count in zip(_last(len(sizes)), sizes, strict=True):
                length = one.shape[axis]
                ends = [(place * length // count, -(-(place + 1) * length // count)) for place in range(count)]
                one = torch.cat([over(one.narrow(axis, start, end - start), [axis]) for start, end in ends], axis)
            return one

        return self._centered(values, pooled)

    def _centered(self, values: Tensor, pooled: Callable[[Tensor, _Over], Tensor]) -> Tensor:
        """Return the sum form, or the mean form: less by what the sum form makes of zeros."""
        found = pooled(values, self._log_sum_exp)
        return found if self.lse == "sum" else found - pooled(torch.zeros_like(values), self._log_sum_exp)

    def _log_sum_exp(self, values: Tensor, axes: Sequence[int]) -> Tensor:
        """Return ln(sum exp(r z)) / r, whatever the size of r z; minus infinity, with no gradient, of that alone."""
        top = values.detach().amax(tuple(axes), keepdim=True)
        top = torch.where(torch.isfinite(top), top, 0.0)
        total = torch.exp(self.r * (values - top)).sum(tuple(axes), keepdim=True)
        empty = total == 0
        return torch.where(empty, -inf, top) + torch.where(empty, 1.0, total).log() / self.r


def sharpness(setting: str, value: object) -> float | tuple[float, ...]:
    """Return ``beta`` or ``r``: a number above 0, or several as a tuple.

    Raises:
        XaiError: It is none.
    """
    several = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    numbers = tuple(float(one) for one in several if isinstance(one, Real) and not isinstance(one, bool))
    if not several or len(numbers) < len(several) or not all(one > 0 for one in numbers):
        raise setting_error(_WHERE, setting, repr(value), "a number above 0, or a tuple of them; infinity changes none")
    return numbers if isinstance(value, Sequence) else numbers[0]


def smooths_of(beta: float | Sequence[float], r: float | Sequence[float], lse: object) -> tuple[Smooth, ...]:
    """Return the settings of a sweep: several of one go with the other's single one, or each with its own.

    Raises:
        XaiError: A setting cannot be, or there are not as many of both.
    """
    if not isinstance(lse, str) or lse not in ("sum", "mean"):
        raise setting_error(_WHERE, "lse", repr(lse), '"sum" or "mean"')
    form: LSE = "sum" if lse == "sum" else "mean"
    each = [(one,) if isinstance(one, (int, float)) else tuple(one) for one in (beta, r)]
    count = max(map(len, each))
    betas, rs = (one * count if len(one) == 1 else one for one in each)
    if len(betas) != len(rs):
        raise setting_error(
            _WHERE, "r", f"{len(each[1])} values beside {len(each[0])} of beta=", "as many of both, or one of either"
        )
    return tuple(Smooth(b, sharp, form) for b, sharp in zip(betas, rs, strict=True))


def _last(count: int) -> range:
    """Return the last axes."""
    return range(-count, 0)


def _windows(values: Tensor, axis: int, size: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """Return the places of each window along an axis, on a new first one; minus infinity beyond the borders."""
    span = stride * (size - 1) + 1  # from the first place of the first window to that of the last
    beyond = span + dilation * (kernel - 1) - padding - values.shape[axis]
    sides = [0, 0] * (-axis - 1) + [padding, max(0, beyond)]
    padded = F.pad(values, sides, value=-inf)
    front = padded.movedim(axis, 0)
    places = [front[at : at + span : stride] for at in range(0, kernel * dilation, dilation)]
    return torch.stack(places).movedim(1, axis)
