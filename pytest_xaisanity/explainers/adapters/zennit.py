"""zennit's attributors and composites as explainers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ...subject.outputs import select
from ..explainer import Request
from ..rules.hooks import seen_by_hooks
from .base import Adapter, Attribute, Settings, check_keywords, check_model, classes_of, name_of, no_rules

__all__ = ["ZennitAdapter"]


class ZennitAdapter(Adapter):
    """Attributors that are bound to the model, and composites; both hold their own settings.

    Relevance is 1 at the explained output and 0 at the others, whatever ``attr_output`` the attributor has of its own.
    """

    def accepts(self, source: Any) -> bool:
        """Whether it is an attributor or a composite of zennit's."""
        return not isinstance(source, type) and bool(classes_of(source, "zennit") & {"Attributor", "Composite"})

    def attribute(self, source: Any, model: Any, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the attributor, or the gradient with the composite."""
        if not _is_composite(source):
            check_model(source, source.model, model, where)
        check_keywords(lambda: None, settings, where, own=())

        def attribute(request: Request) -> Tensor:
            from zennit.attribution import Gradient

            inputs = _only(request, source)

            def start(outputs: Tensor) -> Tensor:
                leaf = outputs.detach().requires_grad_()
                columns = leaf[:, None] if leaf.ndim == 1 else leaf
                return torch.autograd.grad(select(columns, request.targets).sum(), leaf)[0]

            attributor = Gradient(request.model, source) if _is_composite(source) else source
            composite = attributor.composite
            # Where activations escape zennit's hooks this raises; the attributor registers no composite a second time.
            with nullcontext() if composite is None else _hooked(composite, attributor.model):
                attributions: Tensor = attributor(inputs, start)[1]
            return attributions.detach()

        return attribute

    def name(self, source: Any, settings: Settings) -> str:
        """Return the name of the class, and of the composite that an attributor holds."""
        if _is_composite(source) or source.composite is None:
            return name_of(source)
        return f"{name_of(source)}[{name_of(source.composite)}]"

    def rules(self, source: Any, model: nn.Module) -> AbstractContextManager[object]:
        """Return the context of the composite; a gradient without one changes nothing."""
        composite = source if _is_composite(source) else source.composite
        if composite is not None:
            return _hooked(composite, model)
        if "Gradient" in classes_of(source, "zennit"):
            return nullcontext()
        raise no_rules(source)


def _is_composite(source: object) -> bool:
    return "Composite" in classes_of(source, "zennit")


def _only(request: Request, source: object) -> Tensor:
    if len(request.inputs) > 1:
        raise XaiError(
            "xai.explainer",
            found=f"{len(request.inputs)} input tensors for zennit's {name_of(source)}",
            expected="a single one, which is all it takes",
            fix="use a rule of pytest_xaisanity.explainers",
        )
    return request.inputs[0]


@contextmanager
def _hooked(composite: Any, model: nn.Module) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(composite.remove)
        stack.enter_context(composite.context(model))
        stack.enter_context(seen_by_hooks(model, "zennit's hooks", weights=True))
        yield
