"""What the explainers by rules share: how they are called, compared and written."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from math import inf, isfinite
from numbers import Real
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ...common.undoing import Context
from ...subject.outputs import columns, select
from .interception import Method, intercepting

__all__ = [
    "PER_CHANNEL",
    "BackwardRules",
    "RuleExplainer",
    "Tensors",
    "channels",
    "check_numbers",
    "check_range",
    "held",
]

Tensors = Tensor | tuple[Tensor, ...]
PER_CHANNEL = "a number, or a tuple of one for each channel"


@runtime_checkable
class BackwardRules(Protocol):
    """An explainer that replaces the backward pass."""

    def rules(self, model: nn.Module) -> AbstractContextManager[object]:
        """Return a context in which gradients through ``model`` are what the rule propagates instead.

        While it is open, call the model and take ``torch.autograd.grad`` from the output of any of its modules to
        that of any earlier one, with any ``grad_outputs``, which stand for the relevance of that output. A module
        that works in place changes what the module before it has returned, so a forward hook that keeps an output
        should put a clone in its place: ``return output.clone()``. The model is left as it was.
        """


@dataclass(frozen=True, repr=False, eq=False)
class RuleExplainer:
    """Explains a model by replacing its gradient: called with ``(model, inputs, targets)``, it returns attributions.

    An explainer is a value: it holds its settings alone, compares by them, and its ``repr`` is the call that rebuilds
    it. One explainer serves any number of models, and leaves each as it was.
    """

    def rules(self, model: nn.Module) -> Context:
        """Return a context in which the gradients of ``model`` are replaced by the rule.

        Raises:
            XaiError: In the forward pass, when the model holds an operation that the rule does not know, or none that
                the rule would change.
        """
        return intercepting(model, self._method())

    def __call__(self, model: nn.Module, inputs: Tensors, targets: Tensor | None) -> Tensors:
        """Return the attributions of ``inputs``, in their shape.

        Args:
            model: The model; its outputs are logits ``(N, classes)``, ``(N, 1)`` or ``(N,)``.
            inputs: The input tensor ``(N, ...)``, or a tuple of them.
            targets: Class indices ``(N,)``, or None for a single output.
        """
        several = isinstance(inputs, tuple)
        leaves = tuple(_leaf(*one) for one in enumerate(inputs if isinstance(inputs, tuple) else (inputs,)))

        @torch.enable_grad()
        def propagated() -> tuple[Tensor, ...]:
            outputs = model(*leaves)
            explained = select(columns(outputs), targets)
            return torch.autograd.grad(explained, leaves, self._start(explained))

        relevance = self.rules(model)(propagated)()
        result = tuple(self._attributions(leaf.detach(), one) for leaf, one in zip(leaves, relevance, strict=True))
        return result if several else result[0]

    def _method(self) -> Method:
        """Return a fresh method for one context."""
        raise NotImplementedError

    def _start(self, explained: Tensor) -> Tensor:
        """Return the relevance ``(N,)`` of the explained outputs ``(N,)``."""
        return torch.ones_like(explained)

    def _attributions(self, inputs: Tensor, relevance: Tensor) -> Tensor:
        """Return what is attributed to ``inputs``, to which the rule has brought ``relevance``."""
        return relevance

    @property
    def __name__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        """The call that rebuilds it, without the settings that are left as they are."""
        settings = []
        for position, field in enumerate(fields(self)):
            value = getattr(self, field.name)
            if value != field.default:
                label = "" if position == 0 and isinstance(value, str) else f"{field.name}="
                settings.append(f"{label}{value!r}")
        return f"{type(self).__name__}({', '.join(settings)})"


def check_numbers(where: str, value: object, expected: str, *, least: float = -inf) -> None:
    """Raise unless ``value`` is a finite number, or a tuple of them, of at least ``least``."""
    for one in value if isinstance(value, tuple) and value else (value,):
        if not isinstance(one, Real) or isinstance(one, bool) or not isfinite(one) or float(one) < least:
            raise XaiError(where, found=repr(value), expected=expected, fix=f"change {where.rpartition(' ')[2]}=")


def check_range(where: str, low: object, high: object) -> None:
    """Raise unless ``low`` and ``high`` are numbers, or one for each channel, with ``low`` below ``high``."""
    for setting, value in (("low", low), ("high", high)):
        check_numbers(f"{where} {setting}", value, PER_CHANNEL)
    lows, highs = (np.array(value, ndmin=1) for value in (low, high))
    if not (lows.shape == highs.shape or 1 in (*lows.shape, *highs.shape)) or not (lows < highs).all():
        found = f"low={low!r} and high={high!r}"
        raise XaiError(where, found=found, expected="each low below its high", fix="pass the inputs' range")


def held(constant: float, like: Tensor) -> float:
    """Return a constant that keeps a quotient from exploding, or the smallest normal number of a type that has none.

    In float16 1e-12 is zero, and a relevance over 1e-6 is infinite.
    """
    return max(constant, torch.finfo(like.dtype).tiny)


def channels(value: float | tuple[float, ...], inputs: Tensor) -> Tensor:
    """Return ``value``, one number or one for each channel, as a tensor that is broadcast to ``inputs``."""
    tensor = torch.as_tensor(value, dtype=inputs.dtype, device=inputs.device)
    if tensor.ndim and (inputs.ndim < 2 or len(tensor) != inputs.shape[1]):
        raise XaiError(
            "explainer",
            found=f"{len(tensor)} values for inputs of shape {tuple(inputs.shape)}",
            expected="one number, or one for each channel",
            fix="pass as many numbers as the inputs have channels",
        )
    return tensor.reshape(1, -1, *[1] * (inputs.ndim - 2)) if tensor.ndim else tensor


def _leaf(place: int, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise XaiError(
            "xai_inputs",
            found=f"input tensor {place} of {tensor.dtype}",
            expected="floating-point inputs, through which a rule can propagate",
            fix="explain what the embedding returns, as the input of the rest of the model",
        )
    return tensor.detach().requires_grad_()
