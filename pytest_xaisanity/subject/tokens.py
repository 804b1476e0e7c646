"""Tokens: the embedding whose output is explained, and which places of a sentence count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import XaiError, said, unknown_name
from ..model.inventory import plain_name
from .tensors import kind_of

__all__ = ["Mask", "Vocabulary", "attended", "counted", "embedding_of", "vocabulary_of"]

Mask = str | Tensor | np.ndarray | Callable[..., object] | None
"""The name of an input, a function of the inputs, or a tensor ``(N, T)`` that is not zero where a place counts."""

_ATTENTION = ("attention_mask", "mask")
SPECIAL = "special_tokens_mask"
"""An entry of a tokenizer's that is not zero where a token is a special one; no model takes it."""
_SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")


@dataclass(frozen=True)
class Vocabulary:
    """What is known of a model's token ids.

    Attributes:
        padding: The id of padding, or None.
        mask: The id of the mask token, or None.
        special: The ids of special tokens, padding included.
        size: How many ids there are, or None.
        end: The id that ends texts, or None.
    """

    padding: int | None = None
    mask: int | None = None
    special: tuple[int, ...] = ()
    size: int | None = None
    end: int | None = None


def embedding_of(model: object, given: object) -> nn.Module | None:
    """Return the module whose output is explained.

    Args:
        model: The user's model.
        given: A module of it, or the name of one; None for what a model of Hugging Face's says, False for none.

    Raises:
        XaiError: The model has no such module.
    """
    if given is False or (given is None and not isinstance(model, nn.Module)):
        return None
    if given is None:
        return _own_embedding(model)
    if not isinstance(model, nn.Module):
        raise XaiError(
            "xai_embedding",
            found=f"an embedding for a model of type {kind_of(model)}, whose modules cannot be seen",
            expected="a torch.nn.Module as xai_model",
            fix="wrap the function in a torch.nn.Module that holds the embedding, or leave xai_embedding out",
        )
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if isinstance(given, str):
        names: dict[str, nn.Module] = {plain_name(name): module for name, module in modules.items() if name}
        if plain_name(given) not in names:
            raise unknown_name("xai_embedding", given, names, kind="module")
        return names[plain_name(given)]
    if isinstance(given, nn.Module) and any(given is module for module in modules.values()):
        return given
    raise XaiError(
        "xai_embedding",
        found=f"a {kind_of(given)}" + " that is no part of xai_model" * isinstance(given, nn.Module),
        expected="the module of the model that embeds tokens, or its name as in named_modules()",
        fix="return its name from xai_embedding",
    )


def _own_embedding(model: object) -> nn.Module | None:
    """Return what a model of Hugging Face's says embeds its inputs: that of its encoder, where it has its weights."""
    module = _said_by(model, "get_input_embeddings")
    own = _said_by(_said_by(model, "get_encoder"), "get_input_embeddings")
    if isinstance(own, nn.Embedding) and isinstance(module, nn.Embedding) and own.weight is module.weight:
        module = own  # the other one holds weights that encoder and decoder share, and is not called
    return module if isinstance(module, nn.Module) and isinstance(model, nn.Module) else None


def _said_by(model: object, method: str) -> object:
    """Return what a method of a model returns that some of Hugging Face's have; None where there is nothing."""
    found = getattr(model, method, None)
    try:
        return found() if callable(found) else None
    except Exception:  # some classes of the library have the method and nothing to return
        return None


def vocabulary_of(model: object, embedding: nn.Module | None) -> Vocabulary:
    """Return what the model's configuration and its embedding say of token ids."""
    config = getattr(model, "config", None)
    known = {name: getattr(config, name, None) for name in (*_SPECIAL_IDS, "mask_token_id")}
    ids = {name: one for name, one in known.items() if type(one) is int and one >= 0}
    padding = ids.get("pad_token_id")
    if isinstance(embedding, nn.Embedding) and padding is None:
        padding = embedding.padding_idx
    special = dict.fromkeys(one for name, one in ids.items() if name in _SPECIAL_IDS)
    if padding is not None:
        special[padding] = None
    size = embedding.num_embeddings if isinstance(embedding, nn.Embedding) else None
    return Vocabulary(padding, ids.get("mask_token_id"), tuple(special), size, ids.get("eos_token_id"))


def attended(ids: Tensor, named: dict[str | int, Tensor], argument_names: Sequence[str], padding: int | None) -> Tensor:
    """Return where sentences are, and not their padding ``(b, T)``: by the attention mask, or by the id of padding.

    Args:
        ids: The token ids ``(b, T)``.
        named: All inputs, by name or position.
        argument_names: Names of the model's arguments, for inputs without names.
        padding: The id of padding, where it is known.
    """
    mask = attention_of(named, argument_names)
    if mask is not None and named[mask].shape == ids.shape:
        return named[mask] != 0
    return torch.ones_like(ids, dtype=torch.bool) if padding is None else ids != padding


def attention_of(named: dict[str | int, Tensor], argument_names: Sequence[str]) -> str | int | None:
    """Return the name or position of the attention mask among the inputs, or None."""
    for name in _ATTENTION:
        if name in named:
            return name
        place = argument_names.index(name) if name in argument_names else None
        if place is not None and place in named:
            return place
    return None


def counted(
    given: Mask,
    ids: Tensor,
    named: dict[str | int, Tensor],
    sentences: Tensor,
    vocabulary: Vocabulary,
    indices: Sequence[int],
) -> Tensor:
    """Return which places count ``(b, T)``: those of sentences that the mask names, or that hold no special token.

    Args:
        given: What the user gave.
        ids: The token ids ``(b, T)``.
        named: All inputs, by name or position.
        sentences: Where there is no padding ``(b, T)``.
        vocabulary: The special tokens.
        indices: The place of each input in what the user gave.

    Raises:
        XaiError: The mask has another shape, or an input has no place that counts.
    """
    if given is None:
        special = torch.isin(ids, torch.tensor(vocabulary.special, device=ids.device, dtype=ids.dtype))
        special = named[SPECIAL] != 0 if SPECIAL in named else special
        mask = ~special
    else:
        mask = _given(given, ids, named, indices)
    counts = mask & sentences
    empty = ~counts.any(1)
    if empty.any():
        raise XaiError(
            "xai_mask",
            found=f"{int(empty.sum())} of {len(ids)} inputs without a place that counts (input "
            f"{indices[int(empty.nonzero()[0])]})",
            expected="one token or more in each input that is explained",
            fix="leave empty sentences out, or return a mask from xai_mask that is not zero where a token counts",
        )
    return counts


def _given(given: Any, ids: Tensor, named: dict[str | int, Tensor], indices: Sequence[int]) -> Tensor:
    if isinstance(given, str):
        if given not in named:
            raise unknown_name("xai_mask", given, [str(name) for name in named], kind="input")
        mask: object = named[given]
    elif callable(given) and not isinstance(given, Tensor):
        mask = _answer(given, named)
    else:
        rows = torch.as_tensor(given)
        if rows.ndim != 2 or len(rows) <= max(indices):
            raise _misshapen(rows, ids, "a row for each input of xai_inputs, in the same order")
        mask = rows[list(indices)]
    mask = torch.as_tensor(mask, device=ids.device) if isinstance(mask, (Tensor, np.ndarray, list)) else mask
    if not isinstance(mask, Tensor) or mask.shape != ids.shape:
        raise _misshapen(mask, ids, "a value for each token")
    return mask != 0


def _answer(given: Callable[..., object], named: dict[str | int, Tensor]) -> object:
    """Return what a function says of inputs: of a mapping, where they have names."""
    by_name = all(isinstance(name, str) for name in named)
    tensors = {name: tensor.clone() for name, tensor in named.items()}
    try:
        return given(tensors) if by_name else given(*tensors.values())
    except Exception as error:
        raise XaiError(
            "xai_mask",
            found=f"{type(error).__name__} raised by the function{said(error)}",
            expected="a function of "
            + (f"the mapping of {', '.join(map(str, named))}" if by_name else f"{len(named)} tensors")
            + " that returns a mask (N, T)",
            fix="call it by hand on one batch of xai_inputs",
        ) from error


def _misshapen(mask: object, ids: Tensor, expected: str) -> XaiError:
    found = f"a mask of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else f"a {kind_of(mask)} as mask"
    return XaiError(
        "xai_mask",
        found=f"{found} for token ids of shape {tuple(ids.shape)}",
        expected=f"a mask (N, T) with {expected}",
        fix="return the name of an input, a function of the inputs, or a tensor like the token ids",
    )


def check_ids(ids: Tensor, vocabulary: Vocabulary) -> None:
    """Raise where token ids lie outside of the vocabulary.

    Raises:
        XaiError: They do.
    """
    if vocabulary.size is None or not ids.numel():
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocabulary.size:
        raise XaiError(
            "xai_inputs",
            found=f"the token id {low if low < 0 else high}",
            expected=f"ids from 0 to {vocabulary.size - 1}, those of the model's embedding",
            fix="use the tokenizer that the model was trained with, or name another embedding in xai_embedding",
        )
