"""What backpropagates by rules of its own: our explainers, zennit's composites, and Captum's modified gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

from torch import nn

from ..common.errors import XaiError
from .explainer import Explainer
from .rules.interception import Method, Operation, intercepting

__all__ = ["BackwardRules", "backward_rules"]

_GRADIENTS = {"Saliency", "InputXGradient", "IntegratedGradients"}
_MODIFIED = {"GuidedBackprop", "Deconvolution"}


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


def backward_rules(source: Any, model: nn.Module) -> AbstractContextManager[object]:
    """Return the context of :meth:`BackwardRules.rules` for what users have.

    Args:
        source: One of our rule explainers, a zennit ``Composite`` or an attributor that holds one, Captum's
            ``GuidedBackprop`` or ``Deconvolution`` (class or instance), or a plain gradient (Captum's ``Saliency``,
            ``InputXGradient``, ``IntegratedGradients``, or a ``NoiseTunnel`` of one; zennit's gradients without a
            composite), which changes nothing.
        model: The model that is explained.

    Raises:
        XaiError: ``source`` is none of these; or, in the forward pass, an activation escapes the hooks of zennit or
            Captum, which see modules alone, or a module with weights is called twice, of which zennit's hooks
            remember but the last call.
    """
    if isinstance(source, Explainer):
        source = source.source
    if not isinstance(source, type) and isinstance(source, BackwardRules):
        return source.rules(model)
    inner = getattr(source, "attribution_method", None)
    if inner is not None:
        return backward_rules(inner, model)
    kind = source if isinstance(source, type) else type(source)
    origin = {base.__name__: base.__module__.partition(".")[0] for base in kind.__mro__}
    composite = source if origin.get("Composite") == "zennit" else getattr(source, "composite", None)
    bare = origin.get("Gradient") == "zennit" and composite is None
    if bare or _GRADIENTS & {name for name, package in origin.items() if package == "captum"}:
        return nullcontext()
    if _MODIFIED & {name for name, package in origin.items() if package == "captum"}:
        return _captum(kind, model)
    if origin.get("Composite") == "zennit" or (origin.get("Attributor") == "zennit" and composite is not None):
        return _zennit(composite, model)
    raise XaiError(
        "backward rules",
        found=f"{getattr(source, '__name__', kind.__name__)}, whose backward pass cannot be taken apart",
        expected="a rule explainer of pytest_xaisanity.explainers, a zennit composite or an attributor with one, or "
        f"Captum's {', '.join(sorted(_MODIFIED | _GRADIENTS))}",
        fix='for Captum\'s DeepLift use DeepLift("rescale"), for its LRP use LRP(...), of pytest_xaisanity.explainers'
        if kind.__name__ in {"DeepLift", "LRP"}
        else "choose one of these",
    )


@contextmanager
def _captum(kind: Any, model: nn.Module) -> Iterator[None]:
    instance = kind(model)
    with intercepting(model, _ModulesOnly("Captum's hooks", weights=False)):
        try:
            model.apply(instance._register_hooks)  # what its attribute() does around its own backward pass
            yield
        finally:
            instance._remove_hooks()


@contextmanager
def _zennit(composite: Any, model: nn.Module) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(composite.remove)
        stack.enter_context(composite.context(model))
        stack.enter_context(intercepting(model, _ModulesOnly("zennit's hooks", weights=True)))
        yield


class _ModulesOnly(Method):
    """Changes nothing, and raises where hooks of modules would not see what the model computes."""

    watches = True

    def __init__(self, label: str, *, weights: bool) -> None:
        self.label = label
        self.weights = weights
        self.seen: set[int] = set()

    def begin(self, model: nn.Module, inputs: tuple[Any, ...], watched: AbstractContextManager[Any]) -> None:
        self.seen.clear()

    def watch(self, operation: Operation) -> None:
        module = operation.caller
        if operation.kind == "relu" and next(module.children(), None) is not None:
            raise operation.refused(
                f"{operation.name}() called as a function, which {self.label} do not see",
                "activations that are modules",
                "use torch.nn.ReLU modules, or an explainer of pytest_xaisanity.explainers, which sees functions",
            )
        if operation.kind == "linear" and self.weights:
            if id(module) in self.seen:
                raise operation.refused(
                    f"a second call of the same module, of which {self.label} remember but the last",
                    "modules with weights that are called once",
                    "use an explainer of pytest_xaisanity.explainers, which sees each call",
                )
            self.seen.add(id(module))
