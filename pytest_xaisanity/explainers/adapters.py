"""Adapters: an object of Captum's or zennit's, an explainer by rules or a function, as one kind of explainer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import XaiError, unknown_name
from ..subject.block import Inputs
from .composites import zennit_call, zennit_kind
from .explainer import Explainer
from .rules.base import RuleExplainer

__all__ = ["as_explainer"]


def as_explainer(
    source: Any, model: Any, *, name: str | None = None, where: str = "xai.explainer", **kwargs: Any
) -> Explainer:
    """Return ``source`` as an explainer of ``model``.

    Args:
        source: A Captum attribution class (built for the model; ``kwargs`` are shared out between its constructor and
            its ``attribute``), a Captum instance that is bound to the model (a ``NoiseTunnel`` included; ``kwargs`` go
            to ``attribute``), a zennit ``Attributor`` that is bound to the model or a ``Composite`` (which hold their
            own settings), one of our rule explainers or its class (``kwargs`` are its settings), or a callable
            ``(model, inputs, targets, **kwargs) -> attributions``.
        model: The subject's model.
        name: Name for verdicts; by default that of the class or function.
        kwargs: Settings, see ``source``.
        where: The fixture or marker ``source`` comes from, for error texts.

    Raises:
        XaiError: ``source`` is none of these, a keyword is unknown, or an instance explains another model.
    """
    if isinstance(source, Explainer) and not kwargs:
        return source
    if isinstance(source, type) and issubclass(source, RuleExplainer):
        source, kwargs = _built(source, kwargs, where), {}
    label = name or _name_of(source, kwargs)
    key = (label, *_key(source, kwargs))  # the name seeds what a sampling explainer draws
    if isinstance(source, type) and _is_attribution(source):
        return Explainer(label, _captum_class(source, model, kwargs, where), key, source)
    if _is_attribution(type(source)):
        _check_bound(source, model, where)
        inner = getattr(source, "attribution_method", None)
        _check_keywords(source.attribute, kwargs, f"{where} {label}", own=("self", "inputs", "target"), inner=inner)
        return Explainer(label, _captum_call(source, kwargs), key, source)
    if zennit_kind(source):
        _check_bound(source, model, where)
        _check_keywords(lambda: None, kwargs, f"{where} {label}", own=())
        return Explainer(label, zennit_call(source), key, source)
    if isinstance(source, type) or not callable(source):
        is_class = isinstance(source, type)
        raise XaiError(
            where,
            found=f"the class {source.__name__}" if is_class else f"a {type(source).__name__}",
            expected="a Captum attribution class or instance, a zennit attributor or composite, or a function (model, "
            "inputs, targets) -> attributions",
            fix=f"pass an object of it: {source.__name__}(...)"
            if is_class
            else "wrap it in a function with these three arguments",
        )
    _check_callable(source, kwargs, f"{where} {label}")
    return Explainer(label, _function(source, kwargs), key, source)


def _built(kind: type[RuleExplainer], kwargs: Mapping[str, Any], where: str) -> RuleExplainer:
    """Return the explainer by rules of class ``kind`` with the settings ``kwargs``."""
    where = f"{where} {kind.__name__}"
    _check_keywords(kind, kwargs, where, own=())
    try:
        inspect.signature(kind).bind(**kwargs)
    except TypeError as error:
        raise XaiError(
            where,
            found=f"settings that do not fit ({error})",
            expected=f"{kind.__name__}{inspect.signature(kind)}",
            fix="pass what is missing",
        ) from error
    return kind(**kwargs)


def _is_attribution(kind: type) -> bool:
    return any(base.__module__.startswith("captum.") and base.__name__ == "Attribution" for base in kind.__mro__)


def _name_of(source: Any, kwargs: Mapping[str, Any]) -> str:
    while isinstance(source, functools.partial):
        source, kwargs = source.func, {**source.keywords, **kwargs}
    plain = {k: v for k, v in kwargs.items() if isinstance(v, (bool, int, float, str))}
    settings = f"({', '.join(f'{k}={v}' for k, v in plain.items())})" if plain else ""
    inner = kwargs.get("attribution_method", getattr(source, "attribution_method", getattr(source, "composite", None)))
    return f"{_plain_name(source)}[{_plain_name(inner)}]{settings}" if inner else f"{_plain_name(source)}{settings}"


def _plain_name(source: Any) -> str:
    return getattr(source, "__name__", None) or type(source).__name__


def _key(source: Any, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """By value where values can be compared safely, by identity otherwise (the explainer keeps its source alive)."""
    parts = tuple(
        (k, v if isinstance(v, (bool, int, float, str, type(None))) else id(v)) for k, v in sorted(kwargs.items())
    )
    by_value = isinstance(source, (type, RuleExplainer))
    return (source if by_value else id(source), *parts)


def _captum_class(kind: Any, model: Any, kwargs: Mapping[str, Any], where: str) -> Callable[..., Any]:
    constructor = inspect.signature(kind).parameters
    first = next(iter(constructor), None)
    given = () if first == "attribution_method" else (first,)  # a NoiseTunnel takes another method, not the model
    own = ("self", "inputs", "target", *given)
    where = f"{where} {kind.__name__}"
    inner = kwargs.get("attribution_method")
    _check_keywords(kind.attribute, kwargs, where, own=own, also=constructor, inner=inner)
    _check_missing(kind, {*own, *kwargs}, where)
    building = {k: _resolve(k, v, model, where) for k, v in kwargs.items() if k in constructor}
    calling = {k: v for k, v in kwargs.items() if k not in constructor}
    try:
        instance = kind(*([model] if given else []), **building)
    except Exception as error:
        raise XaiError(
            where,
            found=f"{type(error).__name__} when it was built for the model: {error}",
            expected=f"settings and a model that {kind.__name__} accepts",
            fix="build it by hand with xai_model",
        ) from error
    return _captum_call(instance, calling)


def _check_missing(kind: Any, filled: set[str | None], where: str) -> None:
    """Raise when the constructor of ``kind`` or its ``attribute`` needs a setting that is not ``filled``."""
    parameters = [*inspect.signature(kind).parameters.values(), *inspect.signature(kind.attribute).parameters.values()]
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [p.name for p in parameters if p.default is p.empty and p.kind not in optional and p.name not in filled]
    if missing:
        raise XaiError(
            where,
            found=f"no {', '.join(missing)}",
            expected=f"the settings that {kind.__name__} cannot do without",
            fix=f"pass {missing[0]}=... beside the class" + (", a module or its name" if missing[0] == "layer" else ""),
        )


def _resolve(keyword: str, value: Any, model: Any, where: str) -> Any:
    """A layer given by its name is looked up; an attribution class given to a NoiseTunnel is built for the model."""
    if keyword == "attribution_method":
        if isinstance(value, type) and _is_attribution(value):
            return value(model)
        _check_bound(value, model, where)
    if keyword == "layer" and isinstance(value, str) and isinstance(model, nn.Module):
        modules = dict(model.named_modules())
        if value in modules:
            return modules[value]
        raise unknown_name(f"{where} layer", value, [name for name in modules if name], kind="layer")
    return value


def _captum_call(instance: Any, kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    parameters = inspect.signature(instance.attribute).parameters
    takes_target = "target" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def attribute(_model: Any, inputs: Inputs, targets: Tensor | None) -> Any:
        target = {"target": _captum_target(targets)} if takes_target else {}
        given = {k: _placed(v, inputs[0].device) for k, v in kwargs.items()}
        leaves = tuple(t.requires_grad_() if t.is_floating_point() else t for t in inputs)
        return instance.attribute(leaves if len(leaves) > 1 else leaves[0], **target, **given)

    return attribute


def _captum_target(targets: Tensor | None) -> Any:
    if targets is None or targets.ndim == 1:
        return targets
    return [tuple(row) for row in targets.tolist()]


def _function(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    def attribute(model: Any, inputs: Inputs, targets: Tensor | None) -> Any:
        return function(model, inputs if len(inputs) > 1 else inputs[0], targets, **kwargs)

    return attribute


def _placed(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_placed(part, device) for part in value)
    return value.to(device) if isinstance(value, Tensor) else value


def _check_keywords(
    function: Callable[..., Any],
    kwargs: Mapping[str, Any],
    where: str,
    *,
    own: Sequence[str | None],
    also: Iterable[str] = (),
    inner: Any = None,
) -> None:
    """Raise for a keyword that neither ``function`` nor ``also`` takes, or one of its ``own``, which we fill.

    Keywords that a function takes whatever their name are those of ``inner``, the attribution method it calls.
    """
    parameters = inspect.signature(function).parameters
    passed_on = inspect.signature(inner.attribute).parameters if hasattr(inner, "attribute") else {}
    open_ended = not passed_on and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = [name for name in (*also, *parameters, *passed_on) if name not in (*own, "kwargs")]
    for keyword in kwargs:
        if keyword in own:
            raise XaiError(
                where,
                found=f"{keyword}= among its settings",
                expected="no model, inputs or targets: these are the subject's",
                fix="override xai_targets" if keyword.startswith("target") else f"leave {keyword}= out",
            )
        if not known and not open_ended:
            raise XaiError(
                where,
                found=f"{keyword!r}",
                expected="no settings beside what holds its own, or takes none",
                fix=f"leave {keyword}= out, or set it where the explainer is made",
            )
        if keyword not in known and not open_ended:
            raise unknown_name(where, keyword, known, kind="keyword")


def _check_callable(function: Callable[..., Any], kwargs: Mapping[str, Any], where: str) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin without a signature; the call itself will tell
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    _check_keywords(function, kwargs, where, own=[p.name for p in positional[:3]])
    try:
        signature.bind(None, None, None, **kwargs)
    except TypeError as error:
        raise XaiError(
            where,
            found=f"a callable with the signature {signature} ({error})",
            expected="(model, inputs, targets, **settings) -> attributions",
            fix="wrap it in a function with these arguments",
        ) from error


def _check_bound(instance: Any, model: Any, where: str) -> None:
    """An instance that explains another module would not follow this one through an intervention."""
    inner = getattr(instance, "attribution_method", None)
    if inner is not None:
        _check_bound(inner, model, where)
        return
    forward = getattr(instance, "forward_func", None) or getattr(instance, "model", None)
    if not isinstance(forward, nn.Module) or not isinstance(model, nn.Module) or forward is model:
        return
    ours = {id(parameter) for parameter in model.parameters()}
    theirs = [id(parameter) for parameter in forward.parameters()]
    if theirs and not any(parameter in ours for parameter in theirs):
        raise XaiError(
            where,
            found=f"a {type(instance).__name__} instance that is bound to another model than xai_model",
            expected="an instance built with the very object that xai_model returns",
            fix=f"pass the class instead: xai.explainer({type(instance).__name__}, ...)",
        )
