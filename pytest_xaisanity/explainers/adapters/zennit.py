"""zennit's attributors and composites as explainers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ...common.undoing import Context, undone
from ...subject.outputs import columns, select
from ..explainer import Request, Tokens
from ..rules.hooks import Hooked, seen_by_hooks
from .base import Adapter, Attribute, Settings, check_keywords, check_model, classes_of, name_of, no_rules

__all__ = ["ZennitAdapter"]


class _Composite(Protocol):
    """A composite of rules."""

    module_map: Callable[[dict[object, object], str, nn.Module], object]

    def register(self, module: nn.Module) -> None: ...

    def remove(self) -> None: ...


class _Attributor(Protocol):
    """An attributor, bound to a model."""

    model: nn.Module
    composite: _Composite | None

    def __call__(self, inputs: Tensor, start: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]: ...


class ZennitAdapter(Adapter[object]):
    """Attributors of zennit that are bound to the model, and composites; both hold their own settings.

    Relevance is 1 at the explained output and 0 at the others, whatever ``attr_output`` the attributor has of its own.
    """

    def accepts(self, source: object) -> bool:
        """Whether it is an attributor or a composite of zennit's."""
        return not isinstance(source, type) and bool(classes_of(source, "zennit") & {"Attributor", "Composite"})

    def attribute(self, source: object, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the attributor, or the gradient with the composite."""
        bound = _attributor(source)
        if bound is not None:
            check_model(source, bound.model, model, where)
        check_keywords(lambda: None, settings, where, own=())

        def attribute(request: Request) -> Tensor:
            from zennit.attribution import Gradient

            inputs = _only(request, source)

            def start(outputs: Tensor) -> Tensor:
                leaf = outputs.detach().requires_grad_()
                return torch.autograd.grad(select(columns(leaf), request.targets).sum(), leaf)[0]

            attributor: _Attributor = Gradient(request.bound, source) if bound is None else bound
            composite = attributor.composite
            # Where activations escape zennit's hooks this raises; the attributor registers no composite a second time.
            with nullcontext() if composite is None else _hooked(composite, attributor.model):
                return attributor(inputs, start)[1].detach()

        return attribute

    def name(self, source: object, settings: Settings) -> str:
        """Return the name of the class, and of the composite that an attributor holds."""
        inner = _composite(source)
        return name_of(source) if inner is None or inner is source else f"{name_of(source)}[{name_of(inner)}]"

    def tokens(self, source: object, settings: Settings) -> Tokens:
        """A gradient needs what the embedding makes of them."""
        return "embedded"

    def rules(self, source: object, model: nn.Module) -> AbstractContextManager[object]:
        """Return the context of the composite; a gradient without one changes nothing."""
        composite = _composite(source)
        if composite is not None:
            return _hooked(composite, model)
        if "Gradient" in classes_of(source, "zennit"):
            return nullcontext()
        raise no_rules(source)


def _attributor(source: object) -> _Attributor | None:
    """Return an attributor itself, and None for a composite."""
    return None if "Composite" in classes_of(source, "zennit") else cast(_Attributor, source)


def _composite(source: object) -> _Composite | None:
    """Return a composite itself, or the one that an attributor holds, if any."""
    bound = _attributor(source)
    return cast(_Composite, source) if bound is None else bound.composite


def _only(request: Request, source: object) -> Tensor:
    if len(request.inputs) > 1:
        raise XaiError(
            "xai.explainer",
            found=f"{len(request.inputs)} input tensors for zennit's {name_of(source)}",
            expected="a single one, which is all it takes",
            fix="use a rule of pytest_xaisanity.explainers",
        )
    return request.inputs[0]


def _hooked(composite: _Composite, model: nn.Module) -> Context:
    from zennit.layer import Sum

    def changes(path: str, module: nn.Module) -> bool:
        return composite.module_map({}, path, module) is not None

    needed = "modules that its composite maps to a rule"
    seen = seen_by_hooks(model, Hooked("zennit's hooks", changes, once=True, needed=needed, more={"sum": Sum}))
    found = [(module, dict(module._parameters), {*vars(module)}) for module in model.modules()]

    def begin() -> None:
        composite.register(model)
        seen.begin()

    def end() -> None:
        seen.end()
        composite.remove()
        # zennit 1.0 leaves parameters of the same memory in their places, and merged weights as attributes beside them.
        for module, parameters, names in found:
            module._parameters.update(parameters)
            for name in vars(module).keys() - names:
                del vars(module)[name]

    return undone(end, begin)
