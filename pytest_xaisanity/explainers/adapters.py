"""Adapters: a Captum class, a Captum instance or a plain function, as one kind of explainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import XaiError, unknown_name
from ..subject import Inputs

__all__ = ["Explainer", "as_explainer"]


@dataclass(frozen=True, eq=False)
class Explainer:
    """Maps (model, inputs, targets) to attributions.

    Attributes:
        name: What the user calls it, in verdicts and reports.
        attribute: Called with the model, the tuple of input tensors and the targets; returns whatever the user's
            object returns.
        key: Equal for explainers that are the same by content, so that their attributions are shared.
        source: What the user gave.
    """

    name: str
    attribute: Callable[[Any, Inputs, Tensor | None], Any]
    key: tuple[Any, ...] = field(repr=False)
    source: Any = field(repr=False, default=None)


def as_explainer(
    source: Any, model: Any, *, name: str | None = None, where: str = "xai.explainer", **kwargs: Any
) -> Explainer:
    """Return ``source`` as an explainer of ``model``.

    Args:
        source: A Captum attribution class (built for the model; ``kwargs`` are shared out between its constructor and
            its ``attribute``), a Captum instance that is bound to the model (a ``NoiseTunnel`` included; ``kwargs`` go
            to ``attribute``), or a callable ``(model, inputs, targets, **kwargs) -> attributions``.
        model: The subject's model.
        name: Name for verdicts; by default that of the class or function.
        kwargs: Settings, see ``source``.
        where: The fixture or marker ``source`` comes from, for error texts.

    Raises:
        XaiError: ``source`` is none of these, a keyword is unknown, or an instance explains another model.
    """
    if isinstance(source, Explainer):
        return source
    label = name or _name_of(source, kwargs)
    if isinstance(source, type) and _is_attribution(source):
        return Explainer(label, _captum_class(source, model, kwargs, where), _key(source, kwargs), source)
    if _is_attribution(type(source)):
        _check_bound(source, model, where)
        _check_keywords(source.attribute, kwargs, f"{where} {label}")
        return Explainer(label, _captum_call(source, kwargs), _key(source, kwargs), source)
    if isinstance(source, type) or not callable(source):
        found = f"the class {source.__name__}" if isinstance(source, type) else f"a {type(source).__name__}"
        raise XaiError(
            where,
            found=found,
            expected="a Captum attribution class or instance, or a function (model, inputs, targets) -> attributions",
            fix="wrap it in a function with these three arguments",
        )
    _check_callable(source, kwargs, f"{where} {label}")
    return Explainer(label, _function(source, kwargs), _key(source, kwargs), source)


def _is_attribution(kind: type) -> bool:
    return any(base.__module__.startswith("captum.") and base.__name__ == "Attribution" for base in kind.__mro__)


def _name_of(source: Any, kwargs: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in kwargs.items() if isinstance(v, (bool, int, float, str))}
    settings = f"({', '.join(f'{k}={v}' for k, v in plain.items())})" if plain else ""
    base = getattr(source, "__name__", None) or type(source).__name__
    inner = getattr(source, "attribution_method", None)
    return f"{base}[{type(inner).__name__}]{settings}" if inner is not None else f"{base}{settings}"


def _key(source: Any, kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """By value where values can be compared safely, by identity otherwise (the explainer keeps its source alive)."""
    parts = tuple(
        (k, v if isinstance(v, (bool, int, float, str, type(None))) else id(v)) for k, v in sorted(kwargs.items())
    )
    return (source if isinstance(source, type) else id(source), *parts)


def _captum_class(kind: type, model: Any, kwargs: Mapping[str, Any], where: str) -> Callable[..., Any]:
    constructor = inspect.signature(kind).parameters
    forward = next(iter(constructor), None)
    call = inspect.signature(kind.attribute).parameters  # type: ignore[attr-defined]
    known = [*[p for p in constructor if p != forward], *[p for p in call if p not in ("self", "inputs", "target")]]
    for keyword in kwargs:
        if keyword not in known and not any(p.kind is p.VAR_KEYWORD for p in call.values()):
            raise unknown_name(f"{where} {kind.__name__}", keyword, known, kind="keyword")
    building = {k: _resolve(v, model, where) for k, v in kwargs.items() if k in constructor}
    calling = {k: v for k, v in kwargs.items() if k not in constructor}
    missing = [
        p.name
        for p in constructor.values()
        if p.default is p.empty and p.name != forward and p.name not in building and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    if missing:
        raise XaiError(
            f"{where} {kind.__name__}",
            found=f"no {', '.join(missing)}",
            expected=f"{kind.__name__}({', '.join(constructor)})",
            fix=f"pass {missing[0]}=... beside the class (a layer may be given by its name)",
        )
    if forward in ("attribution_method",):
        building[forward] = building.pop(forward)
        instance = kind(**building)
    else:
        instance = kind(model, **building)
    return _captum_call(instance, calling)


def _resolve(value: Any, model: Any, where: str) -> Any:
    """A layer given by its name is looked up; an attribution class given to a NoiseTunnel is built for the model."""
    if isinstance(value, type) and _is_attribution(value):
        return value(model)
    if isinstance(value, str) and isinstance(model, nn.Module):
        modules = dict(model.named_modules())
        if value in modules:
            return modules[value]
        raise unknown_name(where, value, [name for name in modules if name], kind="layer")
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
    return value.to(device) if isinstance(value, Tensor) else value


def _check_keywords(function: Callable[..., Any], kwargs: Mapping[str, Any], where: str) -> None:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for keyword in kwargs:
        if keyword not in parameters:
            raise unknown_name(where, keyword, [p for p in parameters if p != "inputs"], kind="keyword")


def _check_callable(function: Callable[..., Any], kwargs: Mapping[str, Any], where: str) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin without a signature; the call itself will tell
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
