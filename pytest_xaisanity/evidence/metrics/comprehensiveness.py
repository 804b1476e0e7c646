"""Comprehensiveness and sufficiency of the tokens that an explanation puts first (DeYoung et al. 2020, ERASER)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...common.checks import check_choice, check_fractions
from ...common.errors import XaiError, setting_error
from ...maps.imputation import IMPUTERS
from ...maps.token_imputation import TokenImputer
from ...statistics.evidence import Evidence, Part, Remark
from ...subject.block import Block
from ..base import Lab, MapMetric, Scored, Scores
from .pixel_flipping import RAW, Flipped
from .token_flipping import TokenFlipping, default_imputer, token_imputer

__all__ = ["Comprehensiveness", "NothingFalls", "Sufficiency"]

_SAME = 1e-6  # of the largest output: rounding
_FEW = 10  # one in so many inputs is worth a remark
_ROUNDING = 1e-9  # of a fraction of tokens: 0.1 of 30 are 3, not 4


@dataclass(frozen=True)
class _Rationale(MapMetric[TokenFlipping]):
    """What both have in common: the tokens that a map ranks highest are its rationale, at several lengths."""

    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    imputer: str | TokenImputer | None = None
    output: Literal["probability", "logit"] = "probability"
    curve_name: ClassVar[str]
    axis: ClassVar[str]
    keeps: ClassVar[bool]

    def __post_init__(self) -> None:
        fractions = check_fractions(self.name, "fractions", self.fractions, below_one=self.keeps)
        if fractions == (1.0,):
            raise setting_error(
                self.name, "fractions", "1", "one below 1 too: without all tokens all maps score the same"
            )
        object.__setattr__(self, "fractions", fractions)
        check_choice(self.name, "output", self.output, ("probability", "logit"))
        if isinstance(self.imputer, (str, type)):
            object.__setattr__(self, "imputer", IMPUTERS.build(self.imputer, {}, where=f"{self.name} imputer"))
        if self.imputer is not None and not isinstance(self.imputer, Hashable):
            raise setting_error(self.name, "imputer", f"a {type(self.imputer).__name__}", "an imputer of tokens")

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> dict[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first."""
        return {"fractions": ((0.01, 0.05, 0.1, 0.2, 0.5), (0.1, 0.2, 0.3), (0.2,))}

    @property
    def low(self) -> float:
        """The least possible score."""
        return -inf if self.output == "logit" else -1.0

    @property
    def high(self) -> float:
        """The greatest possible score."""
        return inf if self.output == "logit" else 1.0

    def prepare(self, lab: Lab, block: Block) -> TokenFlipping:
        """Return the outputs that every order of this block shares; inputs that are no tokens are refused."""
        if block.mask is None:
            raise XaiError(
                self.name,
                found=f"inputs with places {block.layout.places}, which are no tokens",
                expected="token ids (N, T), whole numbers",
                fix="claim pixel_flipping, deletion or road of other inputs",
            )
        subject = lab.subject
        if self.imputer is None:
            imputer = default_imputer(subject, owner=self.name)
        else:
            imputer = token_imputer(self.imputer, subject, default=(), owner=self.name)
        fractions = self.removed_fractions
        return TokenFlipping(
            imputer, fractions, self.output, subject, block, lab.seed, owner=self.name, counts=self.removals
        )

    @property
    @abstractmethod
    def removed_fractions(self) -> list[float]:
        """The removed fraction at each point of a curve, from 0 on."""

    @abstractmethod
    def removals(self, lengths: Tensor) -> Tensor:
        """Return how many tokens are removed at each point, ``(points, b)``, of sentences of these lengths ``(b,)``."""

    def _longest(self, lengths: Tensor) -> Tensor:
        """Return the number of tokens in the rationale of each length, at least one: ``(fractions, b)``."""
        fractions = torch.tensor(self.fractions, dtype=lengths.dtype)
        return (fractions[:, None] * lengths - _ROUNDING).ceil()

    def _fall(self, curve: Tensor) -> Tensor:
        """Return how far the output falls below that of the whole sentence, on average ``(b,)``."""
        return (curve[:, :1] - curve[:, 1:]).mean(1)

    def passes(self, block: Block) -> float:
        """Return one for each length of the rationale."""
        return float(len(self.fractions))

    def described(self, prepared: TokenFlipping, fractions: Sequence[float]) -> Flipped:
        """Return the axis of the curves, and what the outputs were taken for."""
        link = prepared.subject.link
        taken = str(link) if self.output == "probability" else "outputs as they are"
        return Flipped(tuple(fractions), prepared.shown, None, link.task, taken, axis=self.axis)

    def limits(self, described: Sequence[Part]) -> tuple[float, float]:
        """Return the range of the scores; values of a regression have none."""
        flipped = Evidence(*described).find(Flipped)
        return (-inf, inf) if flipped is not None and flipped.output == RAW else (self.low, self.high)


@dataclass(frozen=True)
class Comprehensiveness(_Rationale):
    """How far the explained output falls without the tokens that a map ranks highest; higher is better.

    ``f(x) - f(x without the top k)``, averaged over several fractions ``k`` of each sentence's tokens that count.

    Args:
        fractions: The fractions, above 0 and at most 1, which is not the only one; at each at least one token is
            removed.
        imputer: What becomes of removed tokens: ``"mask_token"``, ``"padding"``, ``"zero_embedding"`` or
            ``"deletion"`` (left out, as in the paper); by default the first of the mask token, the embedding and
            padding that the model is known to have.
        output: ``"probability"`` of the explained output, or ``"logit"``: see :class:`~pytest_xaisanity.PixelFlipping`.

    Scores of probabilities lie in [-1, 1]. Ties are broken at random, by (seed, input).

    Raises:
        XaiError: A setting is out of range, or inputs are no tokens.
    """

    name: ClassVar[str] = "comprehensiveness"
    higher_is_better: ClassVar[bool] = True
    curve_name: ClassVar[str] = "most relevant removed"
    keeps: ClassVar[bool] = False
    axis: ClassVar[str] = "removed fraction"

    @property
    def removed_fractions(self) -> list[float]:
        """None, and then each fraction."""
        return [0.0, *self.fractions]

    def removals(self, lengths: Tensor) -> Tensor:
        """Return none, and then each length of the rationale."""
        return torch.cat([torch.zeros_like(lengths)[None], self._longest(lengths)])

    def score(self, prepared: TokenFlipping, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores ``(b,)`` of ``maps`` ``(b, T)``, and the outputs without each rationale."""
        curve = prepared.curve(prepared.ranks(maps, draw))
        return Scores(self._fall(curve), {self.curve_name: curve})

    def describe(self, prepared: TokenFlipping) -> tuple[Part, ...]:
        """Return the axis of the curves, and what the outputs were taken for."""
        return (self.described(prepared, self.removed_fractions),)


@dataclass(frozen=True)
class Sufficiency(_Rationale):
    """How far the explained output falls when only the tokens that a map ranks highest are kept; lower is better.

    ``f(x) - f(the top k alone)``, averaged over several fractions ``k`` of each sentence's tokens that count.

    Args:
        fractions: The fractions, above 0 and below 1; at each at least one token is kept.
        imputer: What becomes of the other tokens: see :class:`Comprehensiveness`.
        output: ``"probability"`` of the explained output, or ``"logit"``: see :class:`~pytest_xaisanity.PixelFlipping`.

    Scores of probabilities lie in [-1, 1]. Ties are broken at random, by (seed, input).

    Raises:
        XaiError: A setting is out of range, or inputs are no tokens.
    """

    name: ClassVar[str] = "sufficiency"
    higher_is_better: ClassVar[bool] = False
    curve_name: ClassVar[str] = "only the most relevant kept"
    keeps: ClassVar[bool] = True
    axis: ClassVar[str] = "kept fraction"

    @property
    def removed_fractions(self) -> list[float]:
        """None, and then what is left beside each fraction."""
        return [0.0, *(1 - fraction for fraction in self.fractions)]

    def removals(self, lengths: Tensor) -> Tensor:
        """Return none, and then all but each length of the rationale."""
        return torch.cat([torch.zeros_like(lengths)[None], lengths - self._longest(lengths)])

    def score(self, prepared: TokenFlipping, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores ``(b,)`` of ``maps`` ``(b, T)``, and the outputs for each rationale and for all tokens."""
        curve = prepared.curve(prepared.reversed(prepared.ranks(maps, draw)))
        return Scores(self._fall(curve), {self.curve_name: torch.cat([curve[:, 1:], curve[:, :1]], dim=1)})

    def describe(self, prepared: TokenFlipping) -> tuple[Part, ...]:
        """Return the axis of the curves, and what the outputs were taken for."""
        return (self.described(prepared, [*self.fractions, 1.0]),)

    def remarks(self, scored: Scored, described: Sequence[Part]) -> tuple[Part, ...]:
        """Return that nothing falls, whatever the map, where that is so for a tenth of the inputs."""
        curve = np.asarray(scored.curves.get(self.curve_name, np.empty((0, 1))), float)
        same = int((np.ptp(curve, axis=1) <= _SAME * np.abs(curve).max(1)).sum()) if len(curve) else 0
        return (NothingFalls(same, len(curve)),) if same and _FEW * same >= len(curve) else ()


@dataclass(frozen=True)
class NothingFalls(Remark):
    """Inputs of which the output stays, however few tokens are kept: a single one that counts, or a constant output.

    Attributes:
        inputs: How many.
        of: Of how many.
    """

    inputs: int
    of: int
    always: ClassVar[bool] = True

    def plain(self) -> dict[str, object]:
        """Return the counts."""
        return {"nothing_falls": {"inputs": self.inputs, "of": self.of}}

    def __str__(self) -> str:
        return (
            f"the output of {self.inputs} of {self.of} inputs stays however few tokens are kept, as of a single token "
            "that counts: they speak for any map"
        )
