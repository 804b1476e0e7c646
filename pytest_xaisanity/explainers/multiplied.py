"""Attributions with and without their multiplier: one is the other times what inputs differ by from a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..maps.forms import Multiplier
from .explainer import Request

__all__ = ["Multiplied"]


@dataclass(frozen=True)
class Multiplied:
    """Answers requests with attributions of which both kinds are known from one explanation.

    Global attributions are local ones times ``x - x0`` (Kokhlikyan et al. 2021), which no model decides on; so that
    local ones are asked for, whichever of both are the explainer's own.

    Attributes:
        own: Whether the explainer's own attributions are multiplied, ``"with"``, or not, ``"without"``.
        local: Answers a request with one tensor for each input tensor, not multiplied.
        factors: Returns what they would be multiplied by, likewise, in the shape of the inputs.
    """

    own: Multiplier
    local: Callable[[Request], object]
    factors: Callable[[Request], tuple[Tensor, ...]]

    def __call__(self, request: Request) -> object:
        """Return the explainer's own attributions."""
        return self.both(request)[0]

    def both(self, request: Request) -> tuple[object, object]:
        """Return the explainer's own attributions, and those of the other kind."""
        with torch.no_grad():
            factors = self.factors(request)
        local = self.local(request)
        parts: Sequence[Tensor] = local if isinstance(local, (tuple, list)) else (local,)
        times = tuple(factor * part.detach() for factor, part in zip(factors, parts, strict=True))
        whole = times if isinstance(local, (tuple, list)) else times[0]
        return (whole, local) if self.own == "with" else (local, whole)
