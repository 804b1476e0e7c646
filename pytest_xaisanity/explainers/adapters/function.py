"""Functions, and other callables that are called like one, as explainers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

from torch import nn

from ...common.errors import XaiError
from ..explainer import Request
from ..rules.base import BackwardRules
from .base import Adapter, Attribute, Settings, check_keywords, no_multiplier, no_rules
from .rows import following_where_told

__all__ = ["FunctionAdapter", "check_callable"]


class FunctionAdapter(Adapter[Callable[..., object]]):
    """Callables ``(model, inputs, targets, **settings) -> attributions``.

    ``inputs`` is a tensor, or a tuple of them for a model with several; ``model`` takes these alone, and has what else
    it needs. Tensors and arrays among the settings that have
    a row for each input follow their inputs under the names of Captum's settings, and are refused under others (see
    :func:`~.rows.following_where_told`).
    """

    fallback: ClassVar[bool] = True

    def accepts(self, source: object) -> bool:
        """Whether it can be called: classes are not, which would be built."""
        return callable(source) and not isinstance(source, type)

    def attribute(self, source: Callable[..., object], model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the callable."""
        check_callable(source, settings, where)

        def attribute(request: Request) -> object:
            inputs = request.inputs if len(request.inputs) > 1 else request.inputs[0]
            rows = following_where_told(settings, request, where)
            return source(request.bound, inputs, request.targets, **rows)

        return attribute

    def with_multiplier(
        self, source: Callable[..., object], settings: Settings, multiplier: str, *, where: str
    ) -> tuple[Callable[..., object], Settings]:
        """Return a function that has such a keyword of its own, which it is given."""
        try:
            known = "multiplier" in inspect.signature(source).parameters
        except (TypeError, ValueError):
            known = False
        if not known:
            raise no_multiplier(source, where)
        return source, {**settings, "multiplier": multiplier}

    def name(self, source: Callable[..., object], settings: Settings) -> str:
        """Return the name, that of what a ``partial`` calls included."""
        if isinstance(source, functools.partial):
            return self.name(source.func, {**source.keywords, **settings})
        return super().name(source, settings)

    def rules(self, source: Callable[..., object], model: nn.Module) -> AbstractContextManager[object]:
        """Return the rules of a callable that has some."""
        if isinstance(source, BackwardRules):
            return source.rules(model)
        raise no_rules(source)


def check_callable(function: Callable[..., object], settings: Settings, where: str) -> None:
    """Raise unless ``function`` can be called with a model, inputs and targets, and these settings."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin without a signature; the call itself will tell
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    check_keywords(function, settings, where, own=[p.name for p in positional[:3]])
    try:
        signature.bind(None, None, None, **settings)
    except TypeError as error:
        raise XaiError(
            where,
            found=f"a callable with the signature {signature} ({error})",
            expected="(model, inputs, targets, **settings) -> attributions",
            fix="wrap it in a function with these arguments",
        ) from None
