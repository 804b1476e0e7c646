"""Class activation maps of pytorch-grad-cam as explainers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ..explainer import Request
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
)

__all__ = ["CamAdapter"]

_PACKAGE = "pytorch_grad_cam"


class _Hooks(Protocol):
    """What keeps the activations and gradients of the layers."""

    activations: list[object]
    gradients: list[object]
    handles: Sized

    def release(self) -> None: ...


class _Cam(Protocol):
    """A CAM object."""

    model: object
    device: torch.device
    activations_and_grads: _Hooks

    def __call__(self, input_tensor: Tensor, targets: list[_Target], **settings: object) -> object: ...


class _Kind(Protocol):
    """A class of such objects, as far as it is looked into: called on an object, it calls the object."""

    __name__: str

    def __call__(self, *args: object, **settings: object) -> _Cam: ...


class CamAdapter(Adapter[_Cam | _Kind]):
    """CAM classes of pytorch-grad-cam, which are built for the model, and CAM objects that are bound to it.

    Maps are ``(N, H, W)``, of the explained output of each input. The settings beside a class are shared out between
    its constructor and its call; ``target_layers`` may be a module, the name of one, or a list of these. It is built
    for each call, and its hooks are taken off the model afterwards. The hooks of an object stay where they are and see
    every pass of the model; what they gather between two calls, which the next call would forget anyway, is dropped,
    and after a call the object is as it was before.
    """

    def accepts(self, source: object) -> bool:
        """Whether it is a class of the package or an object of one."""
        return bool(classes_of(source, _PACKAGE))

    def attribute(self, source: _Cam | _Kind, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the object, or one that is built of the class."""
        if "BaseCAM" not in classes_of(source, _PACKAGE):
            raise XaiError(
                where,
                found=f"a {name_of(source)}, which is no BaseCAM",
                expected="a CAM of one pass, such as GradCAM, as class or object",
                fix="wrap it in a function (model, inputs, targets) -> attributions",
            )
        if isinstance(source, type):
            return _of_class(cast(_Kind, source), source.__call__, model, settings, where)
        cam = cast(_Cam, source)
        check_model(cam, cam.model, model, where)
        check_keywords(cam, settings, where, own=("input_tensor", "targets"))
        _check_hooked(cam, where)
        return _OfObject(cam, settings, where)


def _of_class(kind: _Kind, call: Callable[..., object], model: object, settings: Settings, where: str) -> Attribute:
    constructor = inspect.signature(kind).parameters
    own = ("self", "input_tensor", "targets", next(iter(constructor), None))
    check_keywords(call, settings, where, own=own, also=constructor)
    check_missing((kind, call), {*own, *settings}, where)
    building = {k: _layers(v, model, where) if k == "target_layers" else v for k, v in settings.items()}
    calling = {k: building.pop(k) for k in settings if k not in constructor}

    def attribute(request: Request) -> object:
        with _kept(request.model):
            cam = kind(request.bound, **building)
            try:
                return _called(cam, request, calling)
            finally:
                cam.activations_and_grads.release()

    return attribute


class _OfObject:
    """Calls a CAM object, and leaves it as it was."""

    def __init__(self, cam: _Cam, settings: Settings, where: str) -> None:
        self.cam, self.settings, self.where = cam, settings, where
        self._remember()

    def __call__(self, request: Request) -> object:
        _check_hooked(self.cam, self.where)
        self._forget_what_passed()
        hooks = self.cam.activations_and_grads
        objects: tuple[object, ...] = (self.cam, hooks)
        states = [(one, dict(vars(one))) for one in objects]
        try:
            with _kept(request.model):
                self.cam.device = request.inputs[0].device
                return _called(self.cam, request, self.settings)
        finally:
            for one, state in states:
                vars(one).clear()
                vars(one).update(state)
            self._remember()

    def _remember(self) -> None:
        """Remember what the hooks have gathered."""
        hooks = self.cam.activations_and_grads
        self.activations, self.gradients, self.count = hooks.activations, hooks.gradients, len(hooks.activations)

    def _forget_what_passed(self) -> None:
        """Drop what the hooks have gathered since, unless the user has called the object, which begins a new list."""
        hooks = self.cam.activations_and_grads
        if hooks.activations is self.activations:
            del hooks.activations[self.count :]
            hooks.gradients = self.gradients


def _called(cam: _Cam, request: Request, settings: Settings) -> object:
    if len(request.inputs) > 1:
        raise XaiError(
            "xai.explainer",
            found=f"{len(request.inputs)} input tensors for pytorch-grad-cam's {type(cam).__name__}",
            expected="a single one, which is all it takes",
            fix="wrap it in a function (model, inputs, targets) that explains one of them",
        )
    inputs = request.inputs[0]
    leaf = inputs.requires_grad_() if inputs.is_floating_point() else inputs  # the weights may be frozen
    return cam(leaf, _targets(request), **settings)


@dataclass(frozen=True)
class _Target:
    """The explained output of one input: called with that input's outputs, as the library calls its own targets."""

    category: int | tuple[int, ...] | None

    def __call__(self, outputs: Tensor) -> Tensor:
        if self.category is None:
            return outputs.reshape(-1)[0]
        return outputs[self.category]


def _targets(request: Request) -> list[_Target]:
    if request.targets is None:
        return [_Target(None)] * len(request)
    rows = request.targets.tolist()
    return [_Target(tuple(row) if isinstance(row, list) else row) for row in rows]


def _layers(given: object, model: object, where: str) -> list[object]:
    layers = list(given) if isinstance(given, (list, tuple)) else [given]
    return [module_of(layer, model, f"{where} target_layers") for layer in layers]


def _check_hooked(cam: _Cam, where: str) -> None:
    if not cam.activations_and_grads.handles:
        raise XaiError(
            where,
            found=f"a {type(cam).__name__} whose hooks have been taken off the model (its with block has ended)",
            expected="one that sees its layers",
            fix=f"pass the class: xai.explainer({type(cam).__name__}, target_layers=...)",
        )


@contextmanager
def _kept(model: object) -> Iterator[None]:
    """Put back the modes and gradients of a model, which a CAM takes no care of."""
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None  # so that none is written into
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
