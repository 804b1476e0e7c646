"""The gradient and the deep explainer of shap, whose values are those of the output that is explained."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ..explainer import Request, Tokens
from .base import Adapter, Attribute, Settings, check_keywords, check_model, classes_of, name_of

__all__ = ["ShapAdapter"]

_KINDS = ("GradientExplainer", "DeepExplainer")
_RANKED = ("ranked_outputs", "output_rank_order", "return_variances")  # which output is explained is the subject's
_BUILT = {"GradientExplainer": ("data", "batch_size", "local_smoothing"), "DeepExplainer": ("data",)}


class ShapAdapter(Adapter[Any]):
    """``shap.GradientExplainer`` and ``shap.DeepExplainer``: the class, or an object that is bound to the model.

    ``data=``, the background that attributions are differences to, is a tensor or an array ``(K, ...)``, or a list with
    one for each input of the model; without it, an input of zeros. The other settings are those of the constructor and
    of ``shap_values``. Inputs are explained one by one, and of each the one output that is asked for, so that the cost
    does not depend on the number of classes.
    """

    def accepts(self, source: object) -> bool:
        """Whether it is one of the two, or an object of it."""
        return _kind(source) is not None

    def attribute(self, source: Any, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that explains row by row."""
        kind: Any = source if isinstance(source, type) else type(source)
        built = dict(settings) if isinstance(source, type) else {**_of_object(source, model, where), **settings}
        own = _BUILT[_kind(source) or ""]
        called = inspect.signature(kind.shap_values)
        check_keywords(
            kind.shap_values, settings, where, own=("self", "X", *_RANKED), also=own if isinstance(source, type) else ()
        )
        making = {name: value for name, value in built.items() if name in own}
        calling = {name: value for name, value in built.items() if name not in own}
        quiet = {"return_variances": False} if "return_variances" in called.parameters else {}

        def attribute(request: Request) -> object:
            rows = [
                _explained(kind, request.part(slice(row, row + 1)), making, {**calling, **quiet}, where)
                for row in range(len(request))
            ]
            joined = [torch.cat(parts) for parts in zip(*rows, strict=True)]
            return joined if len(joined) > 1 else joined[0]

        return attribute

    def lighter(self, source: Any, settings: Settings) -> tuple[str, ...]:
        """Return what says how many samples are taken, and how many at once."""
        return ("batch_size", "nsamples") if _kind(source) == "GradientExplainer" else ()

    def tokens(self, source: Any, settings: Settings) -> Tokens:
        """Both take gradients of the input."""
        return "embedded"


def _kind(source: object) -> str | None:
    return next((kind for kind in _KINDS if kind in classes_of(source, "shap")), None)


def _of_object(source: Any, model: object, where: str) -> dict[str, object]:
    """Return the settings of an object, which is built again for each output that is explained."""
    inner = source.explainer
    if inner.interim:
        raise XaiError(
            where,
            found=f"a {name_of(source)} of a layer inside the model",
            expected="one of the model, whose values are those of its inputs",
            fix="build it with the model alone, in place of (model, layer)",
        )
    check_model(source, inner.model, model, where)
    names = [name for name in _BUILT[_kind(source) or ""] if name != "data"]
    return {"data": [*inner.data], **{name: vars(inner)[name] for name in names}}


class _Output(nn.Module):
    """The output that is explained, ``(b, 1)``, of a model that is held, so that its modules can be hooked."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.model = request.model
        self.called = [request.bound]  # in a list, so that it is not registered a second time
        self.target = None if request.targets is None else request.targets[0].reshape(-1).tolist()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return it."""
        outputs: Tensor = self.called[0](*inputs)
        return outputs.reshape(len(outputs), 1) if self.target is None else outputs[:, *self.target].reshape(-1, 1)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Leave the gradients of the user's parameters as they are: only those of inputs are asked for."""

    def eval(self) -> _Output:
        """Leave the modes as they are: the model is in evaluation mode."""
        return self


def _explained(kind: Any, request: Request, making: Settings, calling: Settings, where: str) -> Sequence[Tensor]:
    inputs = [tensor.detach() for tensor in request.inputs]
    data = _background(making.get("data"), inputs, where)
    several = len(inputs) > 1
    output = _Output(request)
    with _cleaned(output):
        made = kind(output, data if several else data[0], **{name: v for name, v in making.items() if name != "data"})
        found = made.shap_values(inputs if several else inputs[0], **calling)
    values = found if isinstance(found, list) else [found]
    return [_without_outputs(value, tensor) for value, tensor in zip(values, inputs, strict=True)]


def _background(given: object, inputs: Sequence[Tensor], where: str) -> list[Tensor]:
    """Return a background for each input."""
    if given is None:
        return [torch.zeros_like(tensor) for tensor in inputs]
    parts = [torch.as_tensor(part) for part in (given if isinstance(given, (list, tuple)) else [given])]
    if len(parts) != len(inputs) or any(a.shape[1:] != b.shape[1:] for a, b in zip(parts, inputs, strict=False)):
        raise XaiError(
            f"{where} data",
            found=" and ".join(str(tuple(part.shape)) for part in parts),
            expected=" and ".join(f"(K, {', '.join(map(str, one.shape[1:]))})" for one in inputs),
            fix="give a background of inputs like those of xai_inputs, a tensor for each input of the model",
        )
    return [part.to(one.device, one.dtype) for part, one in zip(parts, inputs, strict=True)]


def _without_outputs(value: object, tensor: Tensor) -> Tensor:
    """Return values of one output ``(1, ..., 1)`` in the shape of the input, with or without an axis of outputs."""
    return torch.as_tensor(np.asarray(value)).to(tensor.device, tensor.dtype).reshape(tensor.shape)


@contextmanager
def _cleaned(output: nn.Module) -> Iterator[None]:
    """Take away what the deep explainer leaves in modules inside of others: the tensors that its hooks kept."""
    before = {id(module): {*module._parameters} for module in output.modules()}
    try:
        yield
    finally:
        for module in output.modules():
            for name in {*module._parameters} - before.get(id(module), {*module._parameters}):
                del module._parameters[name]
