"""Backpropagation by an explainer's rule, from any layer to any layer below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

from torch import nn

from ..errors import XaiError

__all__ = ["BackwardRules", "backward_rules"]

_HOOKED = ("GuidedBackprop", "Deconvolution")
_PLAIN = ("Saliency", "InputXGradient", "IntegratedGradients")


@runtime_checkable
class BackwardRules(Protocol):
    """An explainer that changes what a backward pass does."""

    def rules(self, model: Any) -> AbstractContextManager[Any]:
        """Return a context in which gradients of ``model`` are relevance by the explainer's rule."""


def backward_rules(source: Any, model: Any) -> AbstractContextManager[Any]:
    """Return a context in which a forward and a backward pass of ``model`` backpropagate by the rule of ``source``.

    While it is open, ``torch.autograd.grad`` from the output of any module to that of any earlier one, with any
    ``grad_outputs``, passes relevance on.

    Args:
        source: An object with ``rules(model)``; a zennit composite, or an attributor that holds one; Captum's
            ``GuidedBackprop`` or ``Deconvolution``; or Captum's ``Saliency``, ``InputXGradient`` or
            ``IntegratedGradients``, which rest on the plain gradient.
        model: The model.

    Raises:
        XaiError: ``source`` is none of these.
    """
    kind = source if isinstance(source, type) else type(source)
    composite = getattr(source, "composite", source)
    if isinstance(source, BackwardRules) and not isinstance(source, type):
        return source.rules(model)
    if _is(type(composite), "zennit", "Composite"):
        context: AbstractContextManager[Any] = composite.context(model)
        return context
    if any(_is(kind, "captum", name) for name in _HOOKED):
        return _hooked(kind, model)
    if any(_is(kind, "captum", name) for name in _PLAIN):
        return nullcontext()
    raise XaiError(
        "explainer",
        found=f"{getattr(source, '__name__', kind.__name__)}, whose rule of backpropagation is not known",
        expected="an explainer with rules(model), a zennit composite, or Captum's " + ", ".join((*_HOOKED, *_PLAIN)),
        fix="give the explainer a method rules(model) that returns a context manager",
    )


def _is(kind: type, package: str, name: str) -> bool:
    return any(base.__name__ == name and base.__module__.partition(".")[0] == package for base in kind.__mro__)


@contextmanager
def _hooked(kind: type, model: nn.Module) -> Iterator[None]:
    explainer: Any = kind(model)
    try:
        model.apply(explainer._register_hooks)
        yield
    finally:
        explainer._remove_hooks()
