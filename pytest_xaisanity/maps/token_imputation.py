"""Imputers of tokens: what becomes of a token that is removed from a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..common.checks import check_whole
from ..common.errors import XaiError

__all__ = ["Deletion", "MaskToken", "Padding", "TokenImputer", "ZeroEmbedding"]


@dataclass(frozen=True)
class TokenImputer:
    """What becomes of removed tokens; inputs that are no token ids are an error."""

    name: ClassVar[str]

    def __call__(self, inputs: Tensor, *, seed: int, indices: Sequence[int]) -> Tensor:
        """Raise, for there are no tokens."""
        raise XaiError(
            f"imputer {self.name!r}",
            found=f"inputs of shape {tuple(inputs.shape)} and {inputs.dtype}",
            expected="token ids (N, T), whole numbers",
            fix="use the imputer 'mean', 'constant' or 'noise'",
        )


@dataclass(frozen=True)
class MaskToken(TokenImputer):
    """Removed tokens become the mask token.

    Args:
        id: Its id; by default the ``mask_token_id`` of the model's configuration.
    """

    id: int | None = None
    name: ClassVar[str] = "mask_token"

    def __post_init__(self) -> None:
        _check_id(self)


@dataclass(frozen=True)
class Padding(TokenImputer):
    """Removed tokens become padding, which the attention mask hides where the model takes one.

    One token at least is never hidden.

    Args:
        id: Its id; by default the ``pad_token_id`` of the model's configuration, or ``padding_idx`` of the embedding.
    """

    id: int | None = None
    name: ClassVar[str] = "padding"

    def __post_init__(self) -> None:
        _check_id(self)


@dataclass(frozen=True)
class ZeroEmbedding(TokenImputer):
    """What the embedding makes of removed tokens becomes zero."""

    name: ClassVar[str] = "zero_embedding"


@dataclass(frozen=True)
class Deletion(TokenImputer):
    """Removed tokens are left out, and those behind them move up; what context goes with them moves along.

    Args:
        id: The id that fills the end of the sentence, as padding: see :class:`Padding`.
    """

    id: int | None = None
    name: ClassVar[str] = "deletion"

    def __post_init__(self) -> None:
        _check_id(self)


def _check_id(imputer: MaskToken | Padding | Deletion) -> None:
    """Make the id of a token a plain whole number.

    Raises:
        XaiError: It is none.
    """
    if imputer.id is not None:
        number = check_whole(type(imputer).__name__, "id", imputer.id, least=0, also="None")
        object.__setattr__(imputer, "id", number)
