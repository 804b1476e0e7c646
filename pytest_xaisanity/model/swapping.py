"""Modules of other make for a while: put in the place of a model's own, and taken out whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from ..common.undoing import undone

__all__ = ["Affine", "affine", "holds_columns", "swapped"]

Affine = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def affine(module: nn.Module) -> Affine | None:
    """Return a dense layer or a convolution whose weights are plain parameters; None for any other module."""
    if type(module) in _AFFINE and isinstance(module._parameters.get("weight"), nn.Parameter):
        assert isinstance(module, _AFFINE)
        return module
    return None


def holds_columns(module: nn.Module) -> bool:
    """Whether its weights are ``(in, out)``: those of GPT-2's dense layers, ``Conv1D`` of transformers."""
    kind = type(module)
    return (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D")


@contextmanager
def swapped(
    model: nn.Module, others: Mapping[nn.Module, nn.Module], biases: Mapping[nn.Module, nn.Parameter] | None = None
) -> Iterator[None]:
    """Put other modules, and other biases, in the places of a model's own inside the block.

    Each module is replaced wherever the model holds it but inside its own replacement; the dictionaries of the model's
    modules hold what they held, in the same order, when the block ends.

    Args:
        model: The model; it is not replaced itself.
        others: What stands in the place of a module of it.
        biases: The bias of a module of it, which may have none.
    """
    places = [
        (module._modules, name, child)
        for module in model.modules()
        for name, child in module._modules.items()
        if child is not None and child in others
    ]
    given = [(module, module._parameters["bias"]) for module in biases or {}]

    def restore() -> None:
        for children, name, child in places:
            children[name] = child
        for module, bias in given:
            module._parameters["bias"] = bias

    def begin() -> None:
        for children, name, child in places:
            children[name] = others[child]
        for module, bias in (biases or {}).items():
            module._parameters["bias"] = bias

    with undone(restore, begin):
        yield
