"""Causal language models: of each prompt, the log-probability of what continues it.

A decoder is read as a classifier of the last token of a continuation. With the tokens ``c_1 ... c_K`` behind a prompt,
its score for the class ``v`` is ``log P(c_1 ... c_(K-1) v | prompt)``, so that the explained output, that of ``c_K``,
is the sum of the log-probabilities of all of them. For one token it is the log-softmax of the logits behind the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import XaiError
from .arrangement import Arrangement, arguments_of
from .block import Inputs
from .tensors import kind_of
from .tokens import Vocabulary, attended

__all__ = ["Decoder", "Prompts", "continuations", "generates"]

_POSITIONS = "position_ids"
_FIX = "give token ids in xai_targets, (N,) or (N, K) padded with -100; or leave it out: the model's own next token"


def generates(model: object) -> bool:
    """Whether a model says itself that it continues prompts, as those of Hugging Face's do."""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return False
    found = getattr(model, "can_generate", None)
    try:
        return callable(found) and found() is True
    except Exception:  # a method of that name may be something else
        return False


@dataclass(frozen=True)
class Prompts:
    """What a decoder is called with.

    Attributes:
        arguments: Those of the model, ``(b, T + K - 1)`` where continuations have K tokens or fewer.
        last: The place of the last token of each prompt, ``(b,)``.
        before: The tokens of each continuation before its last, ``(b, K - 1)``; -1 where there is none.
        more: Keywords that the model needs besides.
    """

    arguments: Inputs
    last: Tensor
    before: Tensor
    more: Mapping[str, object]

    def embedded(self, output: Tensor, prompts: Tensor) -> Tensor:
        """Return an embedding's output ``(b, T + K - 1, D)`` with these ``(b, T, D)`` where the prompts are."""
        if not self.before.shape[1]:
            return prompts
        inside = torch.arange(output.shape[1], device=output.device) <= self.last[:, None]
        return torch.where(inside[..., None], F.pad(prompts, (0, 0, 0, self.before.shape[1])), output)


@dataclass(frozen=True)
class Decoder:
    """How a causal language model is called and read.

    The tokens before the last of a continuation are one more argument, ``(b, 1, K - 1)``, behind those of the model;
    without it, continuations have one token.

    Attributes:
        arrangement: The inputs of the model.
        vocabulary: What is known of its token ids.
        names: The names of its arguments.
        size: How many token ids there are that it knows and returns logits of.
    """

    arrangement: Arrangement
    vocabulary: Vocabulary
    names: tuple[str, ...]
    size: int

    @classmethod
    def of(cls, model: object, arrangement: Arrangement, vocabulary: Vocabulary, outputs: object) -> Decoder:
        """Return how a model is read that returned ``outputs`` for a few inputs.

        Raises:
            XaiError: They are no logits for each token.
        """
        if not isinstance(outputs, Tensor) or outputs.ndim != 3 or not outputs.is_floating_point():
            raise _no_decoder(outputs)
        size = min(outputs.shape[-1], vocabulary.size or outputs.shape[-1])
        return cls(arrangement, vocabulary, tuple(arguments_of(model)[0]), size)

    def prompts(self, arguments: Sequence[Tensor]) -> Prompts:
        """Return what the model is called with: prompts, and behind each the tokens of its continuation but the last.

        Positions are counted from the first token of a prompt, as in generation, where it stands behind padding.
        """
        own, beyond = tuple(arguments[: self.arrangement.count]), arguments[self.arrangement.count :]
        ids, seen = own[0], self.seen(own)
        last = ids.shape[1] - 1 - seen.flip(1).int().argmax(1)
        before = beyond[0].flatten(1) if beyond else ids.new_empty(len(ids), 0)
        first = seen.int().argmax(1)
        more: dict[str, object] = {}
        if _POSITIONS in self.names and self._positions is None and bool(first.any()):
            along = torch.arange(ids.shape[1] + before.shape[1], device=ids.device)
            more[_POSITIONS] = (along - first[:, None]).clamp(min=0)
        if before.shape[1]:
            own = tuple(self._continued(number, one, ids, last, before) for number, one in enumerate(own))
        return Prompts(own, last, before, more)

    def seen(self, arguments: Sequence[Tensor]) -> Tensor:
        """Return where the tokens of prompts are ``(b, T)``, and not their padding."""
        own = tuple(arguments[: self.arrangement.count])
        return attended(own[0], self.arrangement.named(own), self.names, self.vocabulary.padding)

    @property
    def _positions(self) -> int | None:
        """The number of the argument that holds positions, where the user gives them."""
        order = [self.arrangement.argument(number) for number in range(self.arrangement.count)]
        place = self.names.index(_POSITIONS) if _POSITIONS in self.names else None
        return next((number for number, one in enumerate(order) if one in (_POSITIONS, place)), None)

    def _continued(self, number: int, tensor: Tensor, ids: Tensor, last: Tensor, before: Tensor) -> Tensor:
        """Return an argument with values for the tokens behind the prompts: the ids, or those of the last token."""
        if tensor.shape[:2] != ids.shape:
            return tensor
        known, steps = before >= 0, torch.arange(before.shape[1], device=ids.device)
        if number == 0:
            behind = before.masked_fill(~known, self.vocabulary.padding or 0)
        else:
            behind = tensor[torch.arange(len(ids), device=ids.device), last].unsqueeze(1)
            behind = behind.repeat_interleave(before.shape[1], dim=1)
            if number == self._positions:
                behind = behind + 1 + steps
            behind = behind.masked_fill(~known.reshape(*known.shape, *(1,) * (tensor.ndim - 2)), 0)
        wide = torch.cat([tensor, tensor.new_zeros(behind.shape)], dim=1)
        places = last[:, None] + 1 + steps
        return wide.index_put((torch.arange(len(ids), device=ids.device)[:, None], places), behind.to(wide.dtype))

    def scores(self, outputs: object, prompts: Prompts) -> Tensor:
        """Return the log-probabilities ``(b, V)`` of continuations by their last token.

        Args:
            outputs: Logits of the next token behind each token, ``(b, T + K - 1, V)``.
            prompts: What the model was called with.

        Raises:
            XaiError: They are no such logits.
        """
        shape = prompts.arguments[0].shape
        if not isinstance(outputs, Tensor) or outputs.ndim != 3 or outputs.shape[:2] != shape:
            raise _no_decoder(outputs)
        rows, before = torch.arange(len(outputs), device=outputs.device), prompts.before.to(outputs.device)
        places = prompts.last.to(outputs.device)[:, None] + torch.arange(before.shape[1] + 1, device=outputs.device)
        behind = outputs[rows[:, None], places]
        behind = F.log_softmax(behind if behind.dtype == torch.float64 else behind.float(), dim=-1)
        known = before >= 0
        spent = behind[:, :-1].gather(2, before.clamp(min=0)[..., None])[..., 0].masked_fill(~known, 0)
        return behind[rows, known.sum(1)] + spent.sum(1, keepdim=True)

    def lengths(self, arguments: Sequence[Tensor]) -> Tensor:
        """Return how many tokens the continuation of each input has, ``(b,)``."""
        beyond = arguments[self.arrangement.count :]
        ones = torch.ones(len(arguments[0]), dtype=torch.int64, device=arguments[0].device)
        return ones + (beyond[0] >= 0).flatten(1).sum(1) if beyond else ones


def continuations(targets: Tensor, decoder: Decoder, indices: Sequence[int]) -> tuple[Tensor | None, Tensor]:
    """Return the tokens before the last of each continuation, ``(b, 1, K - 1)``, and the last ones ``(b,)``.

    Args:
        targets: Token ids ``(b,)``, or ``(b, K)`` padded on either side with negative numbers, or with the id of
            padding where that does not end texts as well.
        decoder: The model.
        indices: The place of each input in what the user gave.

    Raises:
        XaiError: A continuation is empty, has holes, or holds what is no token id.
    """
    if targets.dtype == torch.bool:
        raise _wrong("flags of 0 and 1", "token ids")
    several = targets.reshape(len(targets), -1)
    kept = torch.ones_like(several, dtype=torch.bool)
    if targets.ndim > 1:
        kept = several >= 0
        if decoder.vocabulary.padding not in (None, decoder.vocabulary.end):
            kept &= several != decoder.vocabulary.padding
    _check(several, kept, decoder, indices)
    order = torch.argsort((~kept).to(torch.uint8), dim=1, stable=True)
    tokens, counts = several.gather(1, order), kept.sum(1)
    last = tokens.gather(1, counts[:, None] - 1)[:, 0]
    if tokens.shape[1] == 1:
        return None, last
    steps = torch.arange(tokens.shape[1] - 1, device=tokens.device)
    return tokens[:, :-1].masked_fill(steps >= counts[:, None] - 1, -1)[:, None], last


def _check(tokens: Tensor, kept: Tensor, decoder: Decoder, indices: Sequence[int]) -> None:
    """Raise for a continuation that is empty, has holes, or holds what is no token id."""
    outside = kept & ((tokens < 0) | (tokens >= decoder.size))
    inside = kept.cumsum(1).bool() & kept.flip(1).cumsum(1).flip(1).bool()
    wrong = {
        "a continuation without a token": ~kept.any(1),
        "a continuation with padding between its tokens": (inside & ~kept).any(1),
        f"the token id {int(tokens[outside][0]) if outside.any() else ''}": outside.any(1),
    }
    for found, rows in wrong.items():
        if rows.any():
            where = f" (input {indices[int(rows.nonzero()[0])]})"
            raise _wrong(found + where, f"one token or more for each input, of ids from 0 to {decoder.size - 1}")


def _wrong(found: str, expected: str) -> XaiError:
    return XaiError("xai_targets", found=f"{found}, for a causal language model", expected=expected, fix=_FIX)


def _no_decoder(outputs: object) -> XaiError:
    shape = f"outputs of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {kind_of(outputs)}"
    return XaiError(
        "xai_model",
        found=f"{shape} of a causal language model",
        expected="logits of the next token behind each token, (N, T, vocabulary)",
        fix="say where they are in xai_output; or set xai_task (Bench(task=)) to 'classification' if the outputs are "
        "scores of each input, (N, classes)",
    )
