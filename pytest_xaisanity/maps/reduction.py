"""Reductions: one value for each token, of a value for each dimension of its embedding.

They decide verdicts: the sum cancels what dimensions of both signs say, and the norm does not. What a method multiplies
by is then seen, or not (Kokhlikyan et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.errors import unknown_name
from .norms import norms

__all__ = ["DEFAULT", "REDUCTIONS", "SUMS", "checked_reduction", "reduced", "with_reduction"]

DEFAULT = "sum"
"""As completeness asks for."""

SUMS = ("sum", "mean")
"""Those in which dimensions may cancel."""

_ROUNDING = 64  # units in the last place, of the sum of absolute values: a sum that is smaller is of rounding alone


def _total(values: Tensor) -> Tensor:
    """Return sums over the last axis; 0 where the values cancel, as those of a gradient below a LayerNorm do."""
    total = values.sum(-1)
    if not total.is_floating_point():
        return total
    most = values.abs().sum(-1)
    return total.masked_fill(total.abs() <= _ROUNDING * torch.finfo(total.dtype).eps * most, 0.0)


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": _total,
    "mean": lambda values: _total(values) / values.shape[-1],
    "l2": lambda values: norms(values, dim=-1),
    "abs_sum": lambda values: values.abs().sum(-1),
}


def checked_reduction(name: str | None) -> str | None:
    """Return the name of a reduction, or None for none.

    Raises:
        XaiError: There is no such reduction.
    """
    if name is not None and name not in REDUCTIONS:
        raise unknown_name("reduction", name, REDUCTIONS, kind="reduction")
    return name


def with_reduction(name: str, reduction: str | None) -> str:
    """Return the name of an explainer with that of its reduction.

    >>> with_reduction("IntegratedGradients(n_steps=32)", "l2")
    'IntegratedGradients(n_steps=32, reduction=l2)'
    """
    if reduction is None:
        return name
    return f"{name[:-1]}, reduction={reduction})" if name.endswith(")") else f"{name}(reduction={reduction})"


def reduced(values: Tensor, name: str | None) -> Tensor:
    """Return attributions ``(b, T, D)`` as maps ``(b, T)``, by the default where no name is given."""
    return REDUCTIONS[name or DEFAULT](values)
