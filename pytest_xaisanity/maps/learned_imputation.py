"""Imputers that are fitted to the data: values of other inputs, and the mean given the features that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..common.seeding import generator
from .imputation import Conditional, Learning

__all__ = ["ConditionalMean", "FittedMean", "Marginal", "OtherInputs"]

_SINGULAR = 1e-10  # eigenvalues below this share of the largest count as zero
_ENTRIES = 2**23  # of matrices that are solved together
_MOST = 512  # values of an input that are regressed on one another


@dataclass(frozen=True)
class Marginal(Learning):
    """The values of another input, drawn from the data by (seed, input): one for all features of an input.

    What is removed is then distributed as in the data, whatever is kept (Covert et al. 2020).
    """

    def fitted(self, data: Tensor, indices: Sequence[int]) -> OtherInputs:
        """Return the imputer with its data.

        Raises:
            XaiError: There is one input alone.
        """
        if len(data) < 2:
            raise XaiError(
                "imputer 'marginal'",
                found="a single input",
                expected="two inputs or more, of which others can be drawn",
                fix="give more inputs, or use the imputer 'mean' or 'constant'",
            )
        return OtherInputs(data, tuple(indices))


@dataclass(frozen=True, eq=False)
class OtherInputs:
    """Values of other inputs.

    Attributes:
        data: The inputs to draw from, ``(n, ...)``.
        indices: Their places in the data.
    """

    data: Tensor
    indices: tuple[int, ...]

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return another input for each."""
        places = {index: place for place, index in enumerate(self.indices)}
        chosen = []
        for index in indices:
            own, count = places.get(index), len(self.data)
            drawn = int(torch.randint(count - (own is not None), (), generator=generator(seed, "imputer", index)))
            chosen.append(drawn + (own is not None and drawn >= own))
        return self.data[torch.tensor(chosen, device=self.data.device)].to(inputs)


@dataclass(frozen=True)
class ConditionalMean(Learning):
    """The linear regression of the removed features on those that are kept: their mean given these, if data are normal.

    The regression is that of least squares on the inputs, in double precision; where features are collinear, the one of
    least norm in units of their standard deviations. At most 512 values an input.
    """

    def fitted(self, data: Tensor, indices: Sequence[int]) -> FittedMean:
        """Return the imputer with means, deviations and correlations.

        Raises:
            XaiError: Inputs have too many values.
        """
        rows = data.reshape(len(data), -1).double()
        if rows.shape[1] > _MOST:
            raise XaiError(
                "imputer 'conditional_mean'",
                found=f"inputs with {rows.shape[1]} values",
                expected=f"tables with at most {_MOST} features, which are regressed on one another",
                fix="use the imputer 'mean', 'marginal' or 'blur'",
            )
        mean = rows.mean(0)
        centered = rows - mean
        scale = centered.square().mean(0).sqrt()
        scale = torch.where(scale > 0, scale, 1.0)
        units = centered / scale
        correlation = units.T @ units / len(units)
        spectrum = torch.linalg.eigvalsh(correlation)
        # Those of the features that are kept lie between the least and the greatest of all.
        return FittedMean(mean, scale, correlation, regular=bool(spectrum[0] > _SINGULAR * spectrum[-1]))


@dataclass(frozen=True, eq=False)
class FittedMean(Conditional):
    """Means given other features.

    Attributes:
        mean: The mean of each value, ``(values,)``.
        scale: Its standard deviation, or 1 where it is constant.
        correlation: The correlations, ``(values, values)``.
        regular: Whether no value is a combination of others.
    """

    mean: Tensor
    scale: Tensor
    correlation: Tensor
    regular: bool

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Return the means of the data."""
        return self.mean.to(inputs.dtype).expand(len(inputs), -1).reshape(inputs.shape)

    def given(self, inputs: Tensor, removed: Tensor, drawn: Tensor) -> Tensor:
        """Return the means of the removed values given those that are kept."""
        kept = (~removed).reshape(len(removed), -1).double()
        units = (inputs.reshape(len(inputs), -1).double() - self.mean) / self.scale * kept
        most = max(1, _ENTRIES // self.correlation.numel())
        parts = zip(torch.split(kept, most), torch.split(units, most), strict=True)
        weights = torch.cat([self._weights(*part) for part in parts])
        values: Tensor = self.mean + self.scale * (weights @ self.correlation)
        return values.to(inputs.dtype).reshape(inputs.shape)

    def _weights(self, kept: Tensor, units: Tensor) -> Tensor:
        """Return what the correlations with the kept values are weighted by, ``(k, values)``."""
        among = self.correlation * kept[:, :, None] * kept[:, None, :]
        if self.regular:
            solved: Tensor = torch.linalg.solve(among + torch.diag_embed(1 - kept), units)
            return solved
        # The rows and columns of what is removed are zero, and so are they in the pseudoinverse.
        inverse: Tensor = torch.linalg.pinv(among, hermitian=True, rtol=_SINGULAR)
        return (inverse @ units[:, :, None])[:, :, 0]
