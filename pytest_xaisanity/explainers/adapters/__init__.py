"""Adapters: an object of a library's, an explainer by rules or a function, as one kind of explainer.

One family a file, one entry here; they are tried in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...common.checks import check_name
from ...common.errors import XaiError, setting_error, shown
from ...common.registry import Registry
from ...maps.reduction import checked_reduction, with_reduction
from ..configured import Configured
from ..explainer import Explainer, Tokens
from .base import Adapter, name_of

__all__ = ["ADAPTERS", "Adapter", "adapter_of", "as_explainer"]

ADAPTERS = Registry(
    "adapter",
    {
        "ensembles": ".explainers.adapters.ensembles:EnsembleAdapter",
        "on_smoothed": ".explainers.adapters.on_smoothed:OnSmoothedAdapter",
        "captum_llm": ".explainers.adapters.captum_llm:CaptumLLMAdapter",
        "captum": ".explainers.adapters.captum:CaptumAdapter",
        "zennit": ".explainers.adapters.zennit:ZennitAdapter",
        "cam": ".explainers.adapters.cam:CamAdapter",
        "shap": ".explainers.adapters.shap:ShapAdapter",
        "rules": ".explainers.adapters.rules:RuleAdapter",
        "precomputed": ".explainers.adapters.precomputed:PrecomputedAdapter",
        "function": ".explainers.adapters.function:FunctionAdapter",
    },
)


def as_explainer(
    source: object,
    model: object,
    /,
    *,
    name: str | None = None,
    where: str = "xai.explainer",
    reduction: str | None = None,
    embedded: bool | None = None,
    **settings: object,
) -> Explainer:
    """Return ``source`` as an explainer of ``model``.

    Args:
        source: A Captum attribution class (built for the model; ``settings`` are shared out between its constructor
            and its ``attribute``), a Captum instance that is bound to the model (a ``NoiseTunnel`` included;
            ``settings`` go to ``attribute``), a zennit ``Attributor`` that is bound to the model or a ``Composite``
            (which hold their own settings), a CAM class of pytorch-grad-cam or an object of one that is bound to the
            model, one of our rule explainers or its class (``settings`` are its own), a callable ``(model, inputs,
            targets, **settings) -> attributions``, or what an adapter of another package accepts.
        model: The subject's model.
        name: Name for verdicts; by default that of the class or function.
        where: The fixture or marker ``source`` comes from, for error texts.
        reduction: What makes one value for each token of those of its dimensions: ``"sum"`` (the default), ``"mean"``,
            ``"l2"`` or ``"abs_sum"``; it stands in the name.
        embedded: Whether what the embedding makes of tokens is explained, or their ids; by default what the family of
            ``source`` needs, and of a function the ids, unless it asks for gradients.
        settings: See ``source``; and ``multiplier="with"|"without"``, whether attributions are multiplied by the
            inputs, of whatever can be had with and without (see :meth:`~.base.Adapter.with_multiplier`).

    Raises:
        XaiError: ``source`` is none of these, a keyword is unknown, or an instance explains another model.
    """
    check_name(where, name)
    if isinstance(source, Configured):
        own = {**source.settings, **settings}
        own |= {"reduction": reduction} if reduction is not None else {}
        own |= {"embedded": embedded} if embedded is not None else {}
        own |= {"name": name} if name is not None else {}
        return as_explainer(source.source, model, where=where, **own)  # type: ignore[arg-type]
    if isinstance(source, Explainer) and not settings and reduction is None and embedded is None:
        return source
    checked_reduction(reduction)
    if embedded is not None and not isinstance(embedded, bool):
        raise setting_error(where, "embedded", shown(embedded), "True, False or None")
    adapter = adapter_of(source)
    if adapter is None:
        raise _unknown(source, where)
    named = f"{where} {name_of(source)}"
    source, left = adapter.built(source, settings, where=named)
    label = with_reduction(name or adapter.name(source, left), reduction)
    if "multiplier" in left:
        source, left = _multiplied(adapter, source, dict(left), named)
    attribute = adapter.attribute(source, model, left, where=f"{where} {adapter.name(source, {})}")
    key = (label, embedded, *adapter.key(source, left))  # the name seeds what a sampling explainer draws
    tokens: Tokens = adapter.tokens(source, left)
    if embedded is not None:
        tokens = "embedded" if embedded else "ids"
    lighter, smooth = adapter.lighter(source, left), adapter.smooth(source)
    given = adapter.precomputed(source)
    return Explainer(label, attribute, key, source, lighter, smooth, tokens, reduction, given)


def _multiplied(
    adapter: Adapter[Any], source: object, settings: dict[str, object], where: str
) -> tuple[Any, Mapping[str, object]]:
    """Return the source and settings of the explainer with or without its multiplier."""
    multiplier = settings.pop("multiplier")
    if multiplier not in ("with", "without"):
        raise XaiError(
            f"{where} multiplier",
            found=repr(multiplier),
            expected="'with', for what inputs contribute, or 'without', for what a change of them would do",
            fix="change multiplier=, or leave it out",
        )
    return adapter.with_multiplier(source, settings, str(multiplier), where=where)


def adapter_of(source: object) -> Adapter[Any] | None:
    """Return the first adapter that accepts ``source``, or None."""
    last: list[Adapter[Any]] = []
    for name in ADAPTERS:
        adapter = ADAPTERS.build(name, {}, where="xai.explainer")
        if not isinstance(adapter, Adapter):
            raise XaiError(
                "xai.explainer",
                found=f"an adapter {name!r} that is a {type(adapter).__name__}",
                expected="a class that derives from pytest_xaisanity.explainers.Adapter",
                fix="repair or remove the package that registers it",
            )
        if adapter.fallback:
            last.append(adapter)
        elif adapter.accepts(source):
            return adapter
    return next((adapter for adapter in last if adapter.accepts(source)), None)


def _unknown(source: object, where: str) -> XaiError:
    expected = (
        "a Captum attribution class or instance, a zennit attributor or composite, a CAM of pytorch-grad-cam, or a "
        "function (model, inputs, targets) -> attributions"
    )
    if isinstance(source, type):
        fix = f"pass an object of it: {source.__name__}(...)"
        return XaiError(where, found=f"the class {source.__name__}", expected=expected, fix=fix)
    fix = "wrap it in a function with these three arguments"
    return XaiError(where, found=f"an object of type {type(source).__name__}", expected=expected, fix=fix)
