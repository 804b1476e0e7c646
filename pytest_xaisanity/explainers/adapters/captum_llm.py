"""Captum's attribution of prompts, ``LLMAttribution`` and ``LLMGradientAttribution``, as explainers of decoders."""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...common.errors import XaiError
from ...subject.decoder import Decoder
from ...subject.presented import Presentation
from ..explainer import Request, Tokens
from .base import (
    Adapter,
    Attribute,
    Settings,
    check_keywords,
    check_missing,
    check_model,
    classes_of,
    module_of,
    name_of,
    shown,
)

__all__ = ["CaptumLLMAdapter"]

_OWN = ("self", "inp", "inputs", "target", "gen_args", "additional_forward_args")
_BASELINE = "baselines"
_CACHED = "use_cached_outputs"


class CaptumLLMAdapter(Adapter[Any]):
    """Captum's LLMAttribution and LLMGradientAttribution: objects that are bound to the model, or their classes.

    Beside a class stand ``attr_method``, a method of Captum's or its class, and ``tokenizer``; the settings are shared
    out between the class, the method and their ``attribute``. Each prompt is explained by itself, without its padding
    and from its token ids. A map has what each of its tokens contributes to the explained continuation, of whose tokens
    the attributions are summed. ``baselines`` is the token id, or the token, that stands in place of one that is left
    out: by default the first that the model has of its mask token, padding and end of text, else 0. What the model made
    of the tokens before is not cached unless ``use_cached_outputs=True`` asks for it: with recent transformers, Captum
    0.9 then gives a model the whole text again behind its cache, and continuations of several tokens other scores.
    """

    def accepts(self, source: object) -> bool:
        """Whether it is one of the classes or an object of one."""
        return "BaseLLMAttribution" in classes_of(source, "captum")

    def attribute(self, source: Any, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return what explains prompts one by one."""
        if "RemoteLLMAttribution" in classes_of(source, "captum"):
            raise XaiError(
                where,
                found="RemoteLLMAttribution, which explains a model that is elsewhere",
                expected="a method that explains xai_model",
                fix="use LLMAttribution or LLMGradientAttribution",
            )
        if isinstance(source, type):
            source, settings = _built(source, model, settings, where)
        check_model(source, source.model, model, where)
        called = source.attr_method.attribute
        check_keywords(source.attribute, settings, where, own=_OWN, also=(_BASELINE,), inner=called)
        return partial(_attributed, source, settings, where)

    def name(self, source: Any, settings: Settings) -> str:
        """Return the name of the class, and that of the method that it calls."""
        inner = getattr(source, "attr_method", settings.get("attr_method"))
        return f"{name_of(source)}[{name_of(inner)}]{shown(settings)}" if inner else super().name(source, settings)

    def tokens(self, source: Any, settings: Settings) -> Tokens:
        """The ids."""
        return "ids"


def _built(kind: Any, model: object, settings: Settings, where: str) -> tuple[Any, Settings]:
    """Return an object of a class, built for the model, and the settings that are left to its calls."""
    constructor = inspect.signature(kind).parameters
    check_missing((kind,), settings, where)
    method = settings["attr_method"]
    left = {name: value for name, value in settings.items() if name not in constructor}
    if isinstance(method, type):
        first, *others = inspect.signature(method).parameters
        own = {name: left.pop(name) for name in others if name in left and name != _BASELINE}
        check_missing((method,), {first, *own}, where)
        layered = {name: module_of(value, model, f"{where} layer") for name, value in own.items() if name == "layer"}
        method = method(model, **{**own, **layered})
    try:
        given = {name: value for name, value in settings.items() if name in constructor and name != "attr_method"}
        return kind(method, **given), left
    except (AssertionError, TypeError, AttributeError) as error:
        raise XaiError(
            where,
            found=f"attr_method={name_of(method)}: {error}",
            expected="a method of Captum's that it supports, bound to xai_model",
            fix="use FeatureAblation, ShapleyValueSampling, ShapleyValues, Lime or KernelShap with LLMAttribution, and "
            "LayerIntegratedGradients, LayerGradientXActivation or LayerGradientShap with LLMGradientAttribution",
        ) from error


def _attributed(source: Any, settings: Settings, where: str, request: Request) -> Tensor:
    """Return the maps ``(b, T)`` of the prompts of a request."""
    from captum.attr import TextTokenInput

    presentation = request.presentation
    decoder = None if presentation is None else presentation.decoder
    if presentation is None or decoder is None or request.targets is None:
        raise XaiError(
            where,
            found="a model whose outputs are not those of a causal language model",
            expected="logits of the next token behind each token of a prompt",
            fix="set xai_task to 'next_token' (Bench(task=)) if it is one; for other models use the method inside",
        )
    instance = _fresh(source)
    cached = {_CACHED: False} if _CACHED in inspect.signature(source.attribute).parameters else {}
    calling = {**cached, **{name: value for name, value in settings.items() if name != _BASELINE}}
    baseline = _baseline(settings, presentation)
    ids = request.inputs[0]
    seen, tokens = decoder.seen((ids, *request.context)), _continued(decoder, request)
    maps = torch.zeros(ids.shape, device=ids.device)
    for row, kept in enumerate(seen):
        prompt = TextTokenInput("", _Known(ids[row, kept], source.tokenizer), baselines=baseline)
        result = instance.attribute(prompt, target=tokens[row], **calling)
        found = result.seq_attr.detach().to(ids.device)
        maps = maps.to(found.dtype)
        maps[row, kept] = found
    return maps


def _fresh(source: Any) -> Any:
    """Return an object like another one, of the device on which the model is now."""
    inner = copy.copy(source.attr_method)
    inner.forward_func = source.model
    more = {"attr_target": source.attr_target} if hasattr(source, "attr_target") else {}
    return type(source)(inner, source.tokenizer, **more)


def _continued(decoder: Decoder, request: Request) -> list[Tensor]:
    """Return the tokens of the continuation of each prompt."""
    assert request.targets is not None
    before = decoder.prompts((*request.inputs, *request.context)).before
    whole = torch.cat([before, request.targets[:, None]], dim=1)
    return [row[row >= 0] for row in whole]


def _baseline(settings: Settings, presentation: Presentation) -> int | str:
    given = settings.get(_BASELINE)
    if isinstance(given, (int, str)):
        return given
    known = presentation.vocabulary
    return next((one for one in (known.mask, known.padding, known.end) if one is not None), 0)


class _Known:
    """A tokenizer of one prompt, whose ids are known."""

    def __init__(self, ids: Tensor, tokenizer: Any) -> None:
        self.ids, self.tokenizer = ids, tokenizer

    def encode(self, text: str, **_: object) -> Tensor:
        """Return the ids ``(1, T)``."""
        return self.ids[None]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """Return a name for each token."""
        return [str(one) for one in ids]

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        """Return what the tokenizer makes of tokens."""
        found: list[int] = self.tokenizer.convert_tokens_to_ids(tokens)
        return found
