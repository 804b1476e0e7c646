"""The modules, parameters and buffers of a model under their names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from ..common.errors import XaiError

__all__ = ["PRESENTED", "Inventory"]

PRESENTED = "_presented"
"""The name of the model in the module that presents it to explainers."""
_WRAPPERS = ("_orig_mod", PRESENTED)


class Inventory:
    """The modules, parameters and buffers of a model under their names, seen through ``torch.compile``.

    Attributes:
        modules: Path to module, every path of a shared module included.
        parameters: Name to parameter, every name of a tied parameter included.
        buffers: Name to buffer, likewise.
        canonical: Name to the first name of the same parameter.

    Raises:
        XaiError: If the model is no module, or its parameters hold no numbers yet.
    """

    def __init__(self, model: object) -> None:
        if not isinstance(model, nn.Module):
            raise XaiError(
                "xai_model",
                found=f"an object of type {type(model).__name__}, whose parameters cannot be found",
                expected="a torch.nn.Module",
                fix="return the module itself, or wrap the function in a module that registers its parameters",
            )
        self.modules = {plain_name(name): module for name, module in model.named_modules(remove_duplicate=False)}
        self.parameters = {plain_name(name): p for name, p in model.named_parameters(remove_duplicate=False)}
        self.buffers = {plain_name(name): b for name, b in model.named_buffers(remove_duplicate=False)}
        for name, tensor in (self.parameters | self.buffers).items():
            _require_numbers(name, tensor)
        first: dict[object, str] = {}
        self.canonical = {name: first.setdefault(_storage(p), name) for name, p in self.parameters.items()}

    def holder(self, parameter: str) -> str:
        """Return the path of the module that uses ``parameter`` as its own.

        It is the module that registers the parameter, except that parametrizations and lists of parameters stand for
        the module that holds them.
        """
        path = parent(parameter)
        parts = path.split(".")
        for depth, part in enumerate(parts):
            prefix = ".".join(parts[:depth])
            if part == "parametrizations" and is_parametrized(self.modules[prefix]):
                path = prefix
                break
        while path and isinstance(self.modules[path], nn.ParameterList | nn.ParameterDict):
            path = parent(path)
        return path

    def owner(self, parameter: str) -> str:
        """Return the holder of ``parameter``, or the attention module whose output projection the holder is."""
        path = self.holder(parameter)
        attention = path.endswith("out_proj") and isinstance(self.modules[parent(path)], nn.MultiheadAttention)
        return parent(path) if attention else path

    def script(self, path: str) -> str | None:
        """Return the path of the outermost ScriptModule around ``path``, or None."""
        parts = path.split(".") if path else []
        prefixes = (".".join(parts[:depth]) for depth in range(len(parts) + 1))
        return next((p for p in prefixes if isinstance(self.modules[p], torch.jit.ScriptModule)), None)


# ---------------------------------------------------------------------------------------------------------- names


def plain_name(name: str) -> str:
    """Return ``name`` without the wrappers of ``torch.compile`` and of what presents the model to explainers."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def parent(name: str) -> str:
    return name.rpartition(".")[0]


def _require_numbers(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        fix = "call the model once on a batch before giving it, so that its lazy modules know their shapes"
        raise XaiError("xai_model", found=f"{name!r} uninitialized", expected="a model with weights", fix=fix)
    if tensor.is_nested:
        fix = "register a dense tensor: torch.nested.to_padded_tensor(tensor, 0.0)"
        raise XaiError("xai_model", found=f"{name!r}, a nested tensor", expected="tensors with a shape", fix=fix)
    if tensor.is_meta:
        fix = "load the weights, or call model.to_empty(device=...) and initialize them"
        raise XaiError("xai_model", found=f"{name!r} on the meta device", expected="a model with weights", fix=fix)


def _storage(parameter: Tensor) -> object:
    """Return a key that is equal for parameters over the same memory, read in the same way."""
    if parameter.layout is not torch.strided or parameter.numel() == 0 or parameter.data_ptr() == 0:
        return id(parameter)
    return parameter.device, parameter.data_ptr(), parameter.dtype, parameter.shape, parameter.stride()
