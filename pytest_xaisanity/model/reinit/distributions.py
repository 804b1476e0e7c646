"""What new weights are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...common.errors import XaiError
from ...common.registry import Registry

__all__ = ["REINITS", "Distribution", "Own", "Permutation", "TruncatedNormal", "as_distribution"]

REINITS = Registry(
    "reinit",
    {
        "own": ".model.reinit.distributions:Own",
        "truncated_normal": ".model.reinit.distributions:TruncatedNormal",
        "permutation": ".model.reinit.distributions:Permutation",
    },
)


@dataclass(frozen=True)
class Distribution:
    """What new weights are drawn from. Subclasses define :meth:`new_values`.

    Attributes:
        own_reset: Whether a module's own reset method comes first, and ``new_values`` only for what it leaves unset.
        resets_norms: Whether scale and shift of normalization modules become 1 and 0; else they get new values too.
            Running statistics are reset whatever the distribution.
    """

    own_reset: ClassVar[bool] = False
    resets_norms: ClassVar[bool] = True

    def new_values(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Return new values, shape (n,), for the entries ``values``, shape (n,), of one parameter.

        ``values`` is on the CPU, in single or double precision, real or complex.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Own(Distribution):
    """Each module's own ``reset_parameters`` (or ``_reset_parameters``), as when the model was built.

    What no such method sets (class tokens, position embeddings, custom modules) is drawn from a normal distribution
    with the mean and standard deviation of the parameter's own entries; where these are all equal, with the standard
    deviation max(|mean|, 0.02).
    """

    own_reset: ClassVar[bool] = True

    def new_values(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Draw from a normal distribution with the mean and standard deviation of the finite ``values``."""
        if values.is_complex():
            return torch.complex(self.new_values(values.real, rng), self.new_values(values.imag, rng))
        finite = values[values.isfinite()]
        mean = finite.mean().item() if len(finite) else 0.0
        std = finite.std(correction=0).item() if len(finite) and finite.min() < finite.max() else 0.0
        std = std or max(abs(mean), 0.02)
        return torch.empty(values.shape, dtype=values.dtype, device="cpu").normal_(mean, std, generator=rng)


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """A normal distribution with mean 0, cut off at two standard deviations (Adebayo et al. 2018).

    Args:
        std: The standard deviation before the cut.

    Raises:
        XaiError: If ``std`` is not a positive number.
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        if not isinstance(self.std, int | float) or not 0 < self.std < math.inf:
            raise XaiError(
                "truncated_normal std", found=repr(self.std), expected="a positive number", fix="change std="
            )

    def new_values(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Draw real and imaginary parts independently of ``values``."""
        if values.is_complex():
            return torch.complex(self.new_values(values.real, rng), self.new_values(values.imag, rng))
        drawn = torch.empty(values.shape, dtype=values.dtype, device="cpu").normal_(generator=rng)
        far = (drawn.abs() > 2).nonzero()[:, 0]
        while len(far):  # the definition, and several times faster than the inverse of the error function
            drawn[far] = torch.empty(len(far), dtype=values.dtype, device="cpu").normal_(generator=rng)
            far = far[drawn[far].abs() > 2]
        return drawn.mul_(self.std)


@dataclass(frozen=True)
class Permutation(Distribution):
    """The entries of each parameter in another order: the marginal distribution stays exactly as it was.

    A layer in which no order makes a difference (all entries of each parameter equal) is drawn as by :class:`Own`.
    """

    resets_norms: ClassVar[bool] = False

    def new_values(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Permute ``values``; not by the identity, unless they are all equal."""
        if len(values) < 2 or bool((values == values[0]).all()):
            return values.clone()
        while True:
            permuted = values.index_select(0, torch.randperm(len(values), generator=rng, device="cpu"))
            if not torch.equal(permuted, values):
                return permuted


def as_distribution(value: object, *, where: str) -> Distribution:
    """Return the distribution that ``value`` is or names; ``where`` is the setting that holds it, for error texts."""
    distribution = REINITS.get(value, where=where)() if isinstance(value, str) else value
    if not isinstance(distribution, Distribution):
        raise XaiError(
            where,
            found=f"a {type(value).__name__}",
            expected="the name of a distribution, or a Distribution",
            fix="change reinit=",
        )
    return distribution
