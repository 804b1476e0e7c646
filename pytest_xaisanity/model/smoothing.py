"""Smoothing a network: its forward passes are watched, and computed with softplus and log-sum-exp for a while.

Modules, functions, methods and calls in place are all alike there. The network keeps its modules, weights and hooks,
so that whatever is bound to it follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..common.undoing import Context
from .smooth import Smooth
from .tracing import Recomputed, Watch, tensors_in

__all__ = ["Smoothing"]


class Smoothing:
    """Smooths the forward passes of a model, inside :meth:`block` and nowhere else.

    ReLUs, and what is made of ReLUs (ReLU6, hard tanh, leaky and parametric ReLUs, clamps and thresholds at 0), become
    what softplus makes of them; max-pooling, adaptive or not, and maxima over named axes become log-sum-exp. Indices
    that a pooling returns stay those of the maximum. Half precision is computed in single precision. A copy of the
    model, as an explainer may make one, counts as the model.

    Args:
        model: The model.
        smooth: How smooth it is made.

    Attributes:
        met: How often each function was replaced in the last block, by name.
        missed: Whether the model's weights were used there outside of a call of the model and its modules.

    Raises:
        XaiError: The model is no module, or one whose operations cannot be seen.
    """

    def __init__(self, model: object, smooth: Smooth) -> None:
        if not isinstance(model, nn.Module) or any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
            raise _not_seen(model)
        self.smooth = smooth
        self.met: Counter[str] = Counter()
        self.missed = False
        self._model = model
        self._modules = {id(module) for module in model.modules()}
        self._weights = {id(parameter) for parameter in model.parameters()}
        self._running: list[nn.Module] = []

    def block(self) -> Context:
        """Return a context in which forward passes of the model are smoothed."""
        self.met.clear()
        self.missed = False
        self._running.clear()
        return Watch(called=self._enter, left=self._leave, computed=self._compute).block()

    def check(self, where: str) -> None:
        """Raise where the model was not called in the last block, and yet its weights were used.

        Args:
            where: The explainer that ran in it, for the error.
        """
        if self.missed and not self.met:
            raise XaiError(
                where,
                found="passes in which nothing was smoothed, for they are no calls of the model",
                expected="calls of the model that the explainer is given",
                fix="call model(inputs) rather than model.forward(inputs)",
            )

    def _enter(self, module: nn.Module, _: object) -> None:
        if self._running or id(module) in self._modules or isinstance(module, Recomputed) or self._is_copy(module):
            self._running.append(module)

    def _is_copy(self, module: nn.Module) -> bool:
        return type(module) is type(self._model) and _structure(module) == _structure(self._model)

    def _leave(self, module: nn.Module) -> None:
        if any(one is module for one in self._running):
            while self._running.pop() is not module:  # those that something has cut off are not told to leave
                pass

    def _compute(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if not self._running:
            self.missed = self.missed or any(id(tensor) in self._weights for tensor in tensors_in(tuple(args)))
            return function(*args, **kwargs)
        call = _Call(function, args, kwargs)
        replaced = call.smoothed(self.smooth)
        if replaced is None:
            return function(*args, **kwargs)
        self.met[call.name] += 1
        return replaced


def _structure(model: nn.Module) -> list[tuple[str, type]]:
    return [(path, type(module)) for path, module in model.named_modules()]


def _not_seen(model: object) -> XaiError:
    scripted = isinstance(model, nn.Module)
    return XaiError(
        "xai_model",
        found="a ScriptModule, whose ReLUs and max-pooling cannot be reached"
        if scripted
        else f"a {type(model).__name__}, inside which smoothing cannot tell the model from the explainer",
        expected="a torch.nn.Module whose operations can be seen",
        fix="give the model from before torch.jit" if scripted else "wrap the function in a torch.nn.Module",
    )


# --------------------------------------------------------------------------------------------------------------- calls

_Smoothed = Callable[..., Tensor | None]
_GATES: Mapping[str, _Smoothed] = {
    "relu": Smooth.relu,
    "relu6": lambda smooth, values: smooth.hardtanh(values, 0.0, 6.0),
    "hardtanh": Smooth.hardtanh,
    "leaky_relu": Smooth.leaky_relu,
    "prelu": Smooth.prelu,
    "threshold": lambda smooth, values, *bounds: _of_relu(smooth, values, *bounds),
    "clamp": lambda smooth, values, *bounds, **named: _of_clamp(smooth, values, *bounds, **named),
    "clip": lambda smooth, values, *bounds, **named: _of_clamp(smooth, values, *bounds, **named),
    "clamp_min": lambda smooth, values, *bounds, **named: _of_clamp(smooth, values, *bounds, **named),
}
_POOLS = {f"{kind}max_pool{axes}d": axes for kind in ("", "adaptive_") for axes in (1, 2, 3)}
_MAXIMA = ("amax", "max")


def _of_relu(smooth: Smooth, values: Tensor, *bounds: object) -> Tensor | None:
    """Return softplus where all bounds are the number 0: any other is no ReLU."""
    return smooth.relu(values) if all(isinstance(one, (int, float)) and one == 0 for one in bounds) else None


def _of_clamp(smooth: Smooth, values: Tensor, *bounds: object, **named: object) -> Tensor | None:
    given = {**dict(zip(("min", "max"), bounds, strict=False)), **named}
    return _of_relu(smooth, values, given.get("min")) if given.get("max") is None else None


class _Call:
    """A call of a function in a forward pass.

    Attributes:
        name: The name of what it computes, whether in place or not.
    """

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        name = str(getattr(function, "__name__", "")).partition(".")[0]  # "relu.default" in an exported model
        self.name = name.strip("_").removesuffix("_with_indices")
        self.in_place = (name.endswith("_") and not name.endswith("__")) or bool(kwargs.get("inplace"))

    def smoothed(self, smooth: Smooth) -> Any:
        """Return what is computed in its place, or None where it stays."""
        values = self.args[0] if self.args else self.kwargs.get("input")
        if not isinstance(values, Tensor) or not values.is_floating_point() or "out" in self.kwargs:
            return None
        if self.name in _GATES and smooth.beta < inf:
            return self._gate(smooth, values)
        if self.name in _POOLS and smooth.r < inf:
            return self._pool(smooth, values)
        return self._maximum(smooth, values) if self.name in _MAXIMA and smooth.r < inf else None

    def _gate(self, smooth: Smooth, values: Tensor) -> Tensor | None:
        wide = _wide(values.clone() if self.in_place else values)  # which its backward pass needs
        kwargs = {name: value for name, value in self.kwargs.items() if name not in ("input", "inplace")}
        found = _GATES[self.name](smooth, wide, *self.args[1:], **kwargs)
        if found is None:
            return None
        return values.copy_(found) if self.in_place else found.to(values.dtype)

    def _pool(self, smooth: Smooth, values: Tensor) -> Any:
        with torch.no_grad():
            maxima = self.function(*self.args, **self.kwargs)
        several = isinstance(maxima, tuple)
        axes = _POOLS[self.name]
        sizes = (maxima[0] if several else maxima).shape[-axes:]
        if self.name.startswith("adaptive"):
            found = smooth.adaptive_max_pool(_wide(values), sizes)
        else:
            given = self._options("kernel_size", "stride", "padding", "dilation")
            kernel = _each(given["kernel_size"], axes)
            stride = kernel if given.get("stride") in (None, (), []) else _each(given["stride"], axes)
            padding, dilation = _each(given.get("padding", 0), axes), _each(given.get("dilation", 1), axes)
            found = smooth.max_pool(_wide(values), sizes, kernel, stride, padding, dilation)
        found = found.to(values.dtype)
        return (found, *maxima[1:]) if several else found

    def _maximum(self, smooth: Smooth, values: Tensor) -> Any:
        given = self._options("dim", "keepdim")
        dim = given.get("dim", given.get("axis"))
        axes = (dim,) if isinstance(dim, int) else dim
        if not isinstance(axes, (tuple, list)) or not axes:  # over everything, or of two tensors
            return None
        found = smooth.maximum(_wide(values), axes, keep=bool(given.get("keepdim"))).to(values.dtype)
        if self.name == "amax":
            return found
        with torch.no_grad():
            maxima = self.function(*self.args, **self.kwargs)
        return type(maxima)((found, maxima.indices))

    def _options(self, *names: str) -> dict[str, Any]:
        """Return the first arguments behind the values, under these names, and those given by name."""
        return {**dict(zip(names, self.args[1:], strict=False)), **self.kwargs}


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Return a setting of a pooling for each axis."""
    several = (value,) if isinstance(value, int) else tuple(value)
    return several * axes if len(several) == 1 else several
