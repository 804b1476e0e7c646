"""Captum's attribution classes and instances as explainers."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ...common.errors import XaiError, said
from ...common.undoing import Context, undone
from ..explainer import Request, Tokens
from ..rules.hooks import Hooked, seen_by_hooks
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
    no_multiplier,
    no_rules,
    shown,
)
from .captum_multiplier import multiplied
from .layers import as_map
from .rows import following

__all__ = ["CaptumAdapter"]

_GRADIENTS = {"Saliency", "InputXGradient", "IntegratedGradients"}
_GRADIENT = ("Saliency", "InputXGradient")
_MODIFIED = {"GuidedBackprop", "Deconvolution"}
# What the hooks of each family change: classes of torch.nn and of Captum.
_RELU = ("ReLU",)
_RESCALED = (
    "ReLU",
    "ELU",
    "LeakyReLU",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Softmax",
)
_RELEVANT = ("ReLU", "Tanh", "Linear", "Conv2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm2d", "Addition_Module")
_HOOKING = {
    "ModifiedReluGradientAttribution": _RELU,
    "GuidedGradCam": _RELU,
    "NeuronDeconvolution": _RELU,
    "NeuronGuidedBackprop": _RELU,
    "DeepLift": _RESCALED,
    "NeuronDeepLift": _RESCALED,
    "NeuronDeepLiftShap": _RESCALED,
    "LRP": _RELEVANT,
}
_AT_ONCE = "perturbations_per_eval"
_LIGHTER = (
    "internal_batch_size",
    "nt_samples_batch_size",
    _AT_ONCE,
    "n_steps",
    "n_samples",
    "nt_samples",
)


class _Method(Protocol):
    """An attribution object of Captum's."""

    attribute: Callable[..., object]


class _Kind(Protocol):
    """A class of such objects."""

    __name__: str
    attribute: Callable[..., object]

    def __call__(self, *args: object, **settings: object) -> _Method: ...


class _Hooked(Protocol):
    """One that hooks the model for its own backward pass."""

    def _register_hooks(self, module: nn.Module) -> None: ...

    def _remove_hooks(self) -> None: ...


class CaptumAdapter(Adapter[_Method | _Kind]):
    """Attribution classes of Captum, which are built for the model, and instances that are bound to it.

    The settings beside a class are shared out between its constructor and its ``attribute``; those beside an instance
    go to ``attribute``. A layer may be given by its name, and the method inside a ``NoiseTunnel`` by its class, which
    has its share of the settings.
    What a layer's units are attributed is a map of the inputs, its channels summed (see :func:`~.layers.as_map`).
    Settings with a row for each input (see :func:`~.rows.following`) follow their inputs.
    """

    def accepts(self, source: object) -> bool:
        """Whether it is an attribution class of Captum's or an object of one."""
        return "Attribution" in classes_of(source, "captum")

    def attribute(self, source: _Method | _Kind, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the instance, with and without its multiplier where both are known."""
        own = self._made(source, model, settings, where)  # with all checks
        both = multiplied(source, settings, where, lambda local, left: self._made(local, model, left, where))
        return both or own

    def _made(self, source: _Method | _Kind, model: object, settings: Settings, where: str) -> Attribute:
        if isinstance(source, type):
            return _of_class(cast(_Kind, source), model, settings, where)
        _check_bound(source, model, where)
        inner = _inner(source)
        called = None if inner is None else inner.attribute
        check_keywords(source.attribute, settings, where, own=("self", "inputs", "target"), inner=called)
        return _of_instance(source, settings, model, where)

    def name(self, source: _Method | _Kind, settings: Settings) -> str:
        """Return the name of the class, and of the method that a ``NoiseTunnel`` calls."""
        inner = settings.get("attribution_method", _inner(source))
        return f"{name_of(source)}[{name_of(inner)}]{shown(settings)}" if inner else super().name(source, settings)

    def with_multiplier(
        self, source: _Method | _Kind, settings: Settings, multiplier: str, *, where: str
    ) -> tuple[_Method | _Kind, Settings]:
        """Return a class with ``multiply_by_inputs``, or of the two gradients the one that is meant."""
        multiplies = multiplier == "with"
        if not isinstance(source, type):
            return _multiplying(source, multiplies, where), settings
        if source.__name__ in _GRADIENT:
            return _gradient(cast(_Kind, source), settings, multiplies)
        if "multiply_by_inputs" not in inspect.signature(source).parameters:
            inner = "give the method inside as an object: IntegratedGradients(model, multiply_by_inputs=False)"
            raise no_multiplier(source, where, **({"fix": inner} if "attribution_method" in settings else {}))
        if "multiply_by_inputs" in settings:
            raise XaiError(
                f"{where} multiplier",
                found=f"multiplier={multiplier!r} beside multiply_by_inputs=",
                expected="one of both, which say the same",
                fix="leave multiply_by_inputs= out",
            )
        return source, {**settings, "multiply_by_inputs": multiplies}

    def lighter(self, source: _Method | _Kind, settings: Settings) -> tuple[str, ...]:
        """Return those of its settings that say how much is computed at once, or how often."""
        known = _keywords(source, _method(settings) or _inner(source))
        return tuple(name for name in _LIGHTER if name in known)

    def tokens(self, source: _Method | _Kind, settings: Settings) -> Tokens:
        """Methods that take gradients of the input need what the embedding makes of them; the others take the ids."""
        kinds = classes_of(_method(settings) or _inner(source) or source, "captum")
        return "embedded" if "GradientAttribution" in kinds and "LayerAttribution" not in kinds else "ids"

    def rules(self, source: _Method | _Kind, model: nn.Module) -> AbstractContextManager[object]:
        """Return the context of the modified gradients; a plain gradient changes nothing."""
        inner = _inner(source)
        if inner is not None:
            return self.rules(inner, model)
        kinds = classes_of(source, "captum")
        if kinds & _GRADIENTS:
            return nullcontext()
        if kinds & _MODIFIED:
            return _hooked(
                cast(Callable[[nn.Module], _Hooked], source if isinstance(source, type) else type(source)), model
            )
        ours = {"DeepLift": 'DeepLift("rescale")', "LRP": "LRP(...)"}.get(name_of(source))
        if ours is None:
            raise no_rules(source)
        raise no_rules(source, fix=f"use {ours} of pytest_xaisanity.explainers in its place")


def _gradient(kind: _Kind, settings: Settings, multiplies: bool) -> tuple[_Kind, Settings]:
    """Return the gradient, with its signs unless ``abs=`` asks for its size, or that times the input."""
    from captum.attr import InputXGradient, Saliency

    if multiplies:
        return cast(_Kind, InputXGradient), settings
    return cast(_Kind, Saliency), settings if kind is Saliency else {"abs": False, **settings}


def _multiplying(instance: _Method, multiplies: bool, where: str) -> _Method:
    """Return an instance that is as it should be; it cannot be changed."""
    own = {"Saliency": False, "InputXGradient": True}.get(type(instance).__name__)
    known = getattr(instance, "multiplies_by_inputs", None) if own is None else own
    if known is None or _inner(instance) is not None:
        raise no_multiplier(instance, where)
    if known is not multiplies:
        fix = f"pass the class instead: xai.explainer({name_of(instance)}, multiplier=...)"
        raise no_multiplier(instance, where, fix=fix)
    return instance


def _inner(source: object) -> _Method | None:
    """Return the method that a ``NoiseTunnel`` calls, or None."""
    inner: _Method | None = getattr(source, "attribution_method", None)
    return inner


def _method(settings: Settings) -> _Method | None:
    """Return the method that a ``NoiseTunnel`` is told to call, an object or a class, or None."""
    given = settings.get("attribution_method")
    return cast(_Method, given) if "Attribution" in classes_of(given, "captum") else None


def _keywords(method: _Method | _Kind, inner: _Method | _Kind | None) -> set[str]:
    """Return the names of what ``attribute`` takes, that of the method inside a ``NoiseTunnel`` included."""
    methods = (method,) if inner is None else (method, inner)
    return {name for one in methods for name in inspect.signature(one.attribute).parameters}


def _check_bound(instance: object, model: object, where: str) -> None:
    inner = _inner(instance)
    if inner is not None:
        _check_bound(inner, model, where)
        return
    check_model(instance, _model_of(instance), model, where)


def _model_of(instance: object) -> object:
    """Return what an instance calls as its model."""
    called = getattr(instance, "forward_func", None)
    return getattr(instance, "model", None) if called is None else called


def _of_class(kind: _Kind, model: object, settings: Settings, where: str) -> Attribute:
    if not callable(getattr(kind, "attribute", None)):
        raise XaiError(
            where,
            found=f"the class {kind.__name__}, which other methods derive from",
            expected="a method of Captum's, which has attribute(...)",
            fix="choose one: Saliency, IntegratedGradients, Occlusion",
        )
    method = _method(settings)
    if isinstance(method, type):  # which is built with those settings that it takes
        method, settings = _built_inner(cast(_Kind, method), model, settings, where)
    constructor = inspect.signature(kind).parameters
    first = next(iter(constructor), None)
    given = () if first == "attribution_method" else (first,)  # a NoiseTunnel takes another method, not the model
    own = ("self", "inputs", "target", *given)
    called = None if method is None else method.attribute
    check_keywords(kind.attribute, settings, where, own=own, also=constructor, inner=called)
    check_missing((kind, kind.attribute), {*own, *settings}, where)
    building = {k: _resolve(k, v, model, where) for k, v in settings.items() if k in constructor}
    calling = {k: v for k, v in settings.items() if k not in constructor}
    return _of_instance(_built(kind, [model] if given else [], building, where), calling, model, where)


def _built_inner(kind: _Kind, model: object, settings: Settings, where: str) -> tuple[_Method, Settings]:
    """Return the method inside a ``NoiseTunnel``, built with its part of the settings, and the settings with it."""
    first, *others = inspect.signature(kind).parameters
    own = {name: settings[name] for name in others if name in settings}
    check_missing((kind,), {first, *own}, where)
    method = _built(kind, [model], {k: _resolve(k, v, model, where) for k, v in own.items()}, where)
    return method, {**{k: v for k, v in settings.items() if k not in own}, "attribution_method": method}


def _built(kind: _Kind, first: list[object], settings: Settings, where: str) -> _Method:
    try:
        return kind(*first, **settings)
    except Exception as error:
        raise XaiError(
            where,
            found=f"{type(error).__name__} when it was built for the model{said(error)}",
            expected=f"settings and a model that {kind.__name__} accepts",
            fix="build it by hand with xai_model",
        ) from error


def _resolve(keyword: str, value: object, model: object, where: str) -> object:
    """Return a setting as it is, when it fits the model; a layer given by its name is looked up."""
    if keyword == "attribution_method":
        _check_bound(value, model, where)
    if keyword == "layer" and isinstance(value, (str, nn.Module)):
        return module_of(value, model, f"{where} layer")
    return value


def _of_instance(given: _Method, settings: Settings, model: object, where: str) -> Attribute:
    parameters = inspect.signature(given.attribute).parameters
    takes_target = "target" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    layered = "LayerAttribution" in classes_of(_inner(given) or given, "captum")
    layer = getattr(_inner(given) or given, "layer", None)
    shared = ("baselines",) if _draws_baselines(given, settings) else ()
    # Of several perturbations at once Captum repeats further arguments too, whether or not these have a row an input.
    chooses = (
        _AT_ONCE in _keywords(given, _inner(given)) - settings.keys() and "additional_forward_args" not in settings
    )

    def attribute(request: Request) -> object:
        target = {"target": _target(request.targets)} if takes_target else {}
        rows = following(settings, request, where, shared=shared)
        placed = {k: _placed(v, request.inputs[0].device) for k, v in rows.items()}
        if chooses and request.room > 1:
            placed[_AT_ONCE] = request.room
        if request.context:
            placed["additional_forward_args"] = (*request.context, *_parts(placed.get("additional_forward_args")))
        instance = given if request.model is model else _rebound(given, model, request.model)
        leaves = tuple(t.requires_grad_() if t.is_floating_point() else t for t in request.inputs)
        with _tried_together(instance, request), _watched(instance):
            result = instance.attribute(leaves if len(leaves) > 1 else leaves[0], **target, **placed)
        return as_map(result, request, where, layer) if layered else result

    return attribute


def _parts(value: object) -> tuple[object, ...]:
    """Return further arguments as a tuple, empty where there are none."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _rebound(instance: _Method, model: object, other: object) -> _Method:
    """Return a copy of a method, and of those that it calls, which has another model in its place."""
    twin = copy.copy(instance)
    for name, value in vars(instance).items():
        if value is model:
            vars(twin)[name] = other
        elif value is not instance and "Attribution" in classes_of(value, "captum"):
            vars(twin)[name] = _rebound(cast(_Method, value), model, other)
    return twin


def _draws_baselines(instance: object, settings: Settings) -> bool:
    """Whether the baselines are a distribution that is drawn from, rather than one for each input."""
    shap = any(name.endswith(("GradientShap", "DeepLiftShap")) for name in classes_of(instance, "captum"))
    return shap or bool(settings.get("draw_baseline_from_distrib"))


def _target(targets: Tensor | None) -> Tensor | list[tuple[int, ...]] | None:
    if targets is None or targets.ndim == 1:
        return targets
    return [tuple(row) for row in targets.tolist()]


def _placed(value: object, device: torch.device) -> object:
    if isinstance(value, tuple):
        return tuple(_placed(part, device) for part in value)
    return value.to(device) if isinstance(value, Tensor) else value


@contextmanager
def _tried_together(instance: object, request: Request) -> Iterator[None]:
    """Keep Captum from advising against what is tried once, before it is found that inputs are explained one by one."""
    if len(request) == 1 or "LimeBase" not in classes_of(instance, "captum"):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are providing multiple inputs for Lime", UserWarning)
        yield


def _watched(instance: object) -> AbstractContextManager[object]:
    """Return a context in which a pass of the model raises where the hooks of a method would not see it all."""
    inner = _inner(instance)
    if inner is not None:
        return _watched(inner)
    model = _model_of(instance)
    hooked = _changes(instance)
    if hooked is None or not isinstance(model, nn.Module):
        return nullcontext()
    seen = seen_by_hooks(model, hooked)
    return undone(seen.end, seen.begin)


def _changes(source: object) -> Hooked | None:
    """Return what the hooks of a method change, or None for a method without hooks of its own."""
    names = next((_HOOKING[kind] for kind in sorted(classes_of(source, "captum")) if kind in _HOOKING), None)
    if names is None:
        return None

    def changes(_: str, module: nn.Module) -> bool:
        bases = type(module).__mro__ if names is _RELU else (type(module),)  # the others ask for the very class
        return any(base.__name__ in names for base in bases)

    from captum.attr._utils.custom_modules import Addition_Module

    return Hooked(
        "Captum's hooks",
        changes,
        needed="torch.nn.ReLU" if names is _RELU else "",
        more={"sum": Addition_Module} if names is _RELEVANT else {},
    )


def _hooked(kind: Callable[[nn.Module], _Hooked], model: nn.Module) -> Context:
    instance = kind(model)
    hooked = _changes(instance)
    assert hooked is not None
    seen = seen_by_hooks(model, hooked)

    def begin() -> None:
        seen.begin()
        model.apply(instance._register_hooks)  # what its attribute() does around its own backward pass

    def end() -> None:
        instance._remove_hooks()
        seen.end()

    return undone(end, begin)
