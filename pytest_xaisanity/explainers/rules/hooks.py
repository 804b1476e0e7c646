"""What hooks of modules see of a forward pass, for the rules of other libraries, which rely on them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from .interception import Interception, Method, Operation

__all__ = ["seen_by_hooks"]


def seen_by_hooks(model: nn.Module, label: str, *, weights: bool) -> Interception:
    """Return what lets a forward pass of ``model`` raise where hooks of modules would not see it all.

    Args:
        model: The model.
        label: Whose hooks they are, for error texts.
        weights: Whether a module with weights must be called but once, since its hook remembers the last call alone.

    Raises:
        XaiError: In the forward pass, when an activation is called as a function, or a module a second time.
    """
    return Interception(model, _ModulesOnly(label, weights=weights))


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
