"""Seeing every operation of a forward pass, whether a module or a function does it, and replacing its gradient.

Module hooks do not see functional activations, and remember but one call of a module that is used twice. Here the
forward pass itself is watched, so that functions, reused modules and in-place activations are all alike: each call is
an operation of its own, with what it needs for its backward pass kept in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction, once_differentiable
from torch.nn import functional as F

from ...common.errors import XaiError
from ...common.undoing import Context, undone
from ...model.inventory import plain_name
from ...model.snapshot import RequiresGrad
from ...model.tracing import Recomputed, Watch

__all__ = ["Interception", "Method", "Operation", "behind", "intercepting", "modified", "source_of"]

_NAMES = {
    "linear": "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "relu": "relu",
    "activation": "leaky_relu hardtanh relu6 elu celu selu gelu silu mish sigmoid tanh softplus hardswish hardsigmoid "
    "logsigmoid softsign prelu softshrink tanhshrink",
    "maximum": "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
    "average": "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum",
    "normalization": "batch_norm",
    "sum": "add radd",
    "scale": "mul rmul div truediv true_divide sub subtract rsub neg",
    "structure": "flatten unflatten reshape view permute transpose movedim squeeze unsqueeze contiguous clone to float "
    "double cpu cuda cat concat concatenate stack split chunk unbind narrow select getitem expand repeat pad dropout "
    "dropout1d dropout2d dropout3d feature_dropout alpha_dropout feature_alpha_dropout interpolate upsample "
    "pixel_shuffle pixel_unshuffle roll flip identity type_as view_as reshape_as get",
}
KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_MODULES = {
    "linear": "Linear, Conv1d to 3d, ConvTranspose1d to 3d",
    "relu": "ReLU",
    "activation": "LeakyReLU, ELU, GELU, SiLU, Tanh, Sigmoid and other activations of single values",
    "maximum": "MaxPool, AdaptiveMaxPool",
    "average": "AvgPool, AdaptiveAvgPool, mean and sum",
    "normalization": "BatchNorm",
    "structure": "Flatten, Dropout, padding, concatenation, reshaping",
}
Backward = Callable[["Operation", Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Call:
    """A function with its arguments, as the forward pass calls it."""

    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def run(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    def argument(self, place: int, name: str) -> Any:
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)

    @cached_property
    def data(self) -> list[Tensor]:
        """The tensors among the arguments that depend on the model's inputs."""
        return _data((*self.args, *self.kwargs.values()))

    @cached_property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", self.function)).strip("_")

    @property
    def suffixed(self) -> bool:
        """Whether it is a function whose name says that it works in place."""
        name = str(getattr(self.function, "__name__", ""))
        return name.endswith("_") and not name.endswith("__")

    @property
    def in_place(self) -> bool:
        return self.suffixed or bool(self.kwargs.get("inplace"))

    @cached_property
    def kind(self) -> str | None:
        """What it is to a rule, or None if no rule knows it, or knows it with other arguments."""
        kind = KINDS.get(self.name)
        first = self.argument(0, "input")
        if kind == "structure":
            sampling = self.name.endswith("dropout") and self.argument(2, "training") and self.argument(1, "p")
            return None if sampling else kind
        if self.in_place and first is not self.data[0]:
            return None
        if kind in ("sum", "scale"):
            if "div" in self.name and first is not self.data[0]:  # a constant over data is not linear in it
                return None
            # A constant summand shifts values.
            return "scale" if len(self.data) == 1 else "sum" if kind == "sum" and len(self.data) == 2 else None
        if len(self.data) > 1 or first is not self.data[0]:  # weights that depend on the inputs are none
            return None
        if kind == "normalization" and (self.function is not F.batch_norm or self.kwargs.get("training")):
            return None
        return kind


class Operation(Recomputed):
    """One call in a forward pass, as a module of its own: called with another input, it computes the same.

    Attributes:
        name: Name of the function that was called.
        kind: What it is to a rule: ``linear``, ``relu``, ``activation``, ``maximum``, ``average``, ``normalization``,
            ``sum``, ``scale`` or ``structure``.
        caller: The innermost module that was running.
        path: Its path in the model.
        weight: The weight of a linear operation, or None.
        bias: Its bias, or None.
        weight_name: The weight's name in the model, if it is a parameter.
    """

    caller: nn.Module
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, call: _Call, kind: str, caller: nn.Module, path: str) -> None:
        super().__init__()
        self.__dict__["caller"] = caller  # not registered: it is no part of this one
        self.name, self.kind, self.path = call.name, kind, path
        # A call in place is computed out of place.
        self.function = (
            getattr(torch, self.name, None) or getattr(F, self.name, call.function) if call.suffixed else call.function
        )
        self.weight = self.bias = None
        self.weight_name: str | None = None
        self.uses = 0
        self.merged = False
        args, kwargs = list(call.args), {key: value for key, value in call.kwargs.items() if key != "inplace"}
        if kind == "linear":
            kwargs |= dict(zip(("input", "weight", "bias"), args, strict=False))
            args = args[3:]
            for key in ("weight", "bias"):
                value = kwargs.pop(key, None)
                setattr(self, key, None if value is None else nn.Parameter(value.detach(), requires_grad=False))
        data = call.data[0]
        self.place = next((key for key, value in [*enumerate(args), *kwargs.items()] if value is data), None)
        # The graph keeps the data where its backward pass needs it, and this keeps none.
        self.args = tuple(None if value is data else value for value in args)
        self.kwargs = {key: None if value is data else value for key, value in kwargs.items()}

    def forward(self, inputs: Tensor) -> Any:
        """Return what the call returns for ``inputs``."""
        if self.kind == "linear":
            return self._product(inputs, self.weight, self.bias)
        args: dict[Any, Any] = dict(enumerate(self.args)) | {self.place: inputs}
        kwargs = self.kwargs | {key: args.pop(key) for key in [self.place] if isinstance(key, str)}
        return self.function(*args.values(), **kwargs)

    def _product(self, inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        kwargs = {key: value for key, value in self.kwargs.items() if key != "input"}
        result: Tensor = self.function(inputs, weight, bias, *self.args, **kwargs)
        return result

    def with_weights(self, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return the output for ``inputs`` with another weight and no bias."""
        return self._product(inputs, weight, None)

    def backward(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        """Return the plain gradient at ``inputs``."""
        return _gradient(self, inputs, gradient)

    def transposed(self, weight: Tensor, inputs: Tensor, gradient: Tensor) -> Tensor:
        """Return the plain gradient at ``inputs`` with another weight."""
        return _gradient(lambda values: self.with_weights(weight, values), inputs, gradient)

    def of_stack(self, operands: Tensor) -> Operation:
        """Return this sum as an operation on its operands, stacked on a new first axis."""
        return Operation(_Call(torch.sum, (operands, 0), {}), self.kind, self.caller, self.path)

    @property
    def where(self) -> str:
        """The module that was running, for error texts."""
        return f"{self.path or 'the model'} ({type(self.caller).__name__})"

    def refused(self, found: str, expected: str, fix: str) -> XaiError:
        """Return the error for an operation that a rule cannot take."""
        return XaiError(f"xai_model {self.where}", found=found, expected=expected, fix=fix)


class Method:
    """How the kinds of operations are computed while a rule is in force; by default with their plain gradient.

    Attributes:
        label: What is said of it in error texts.
        needs: The kind of operation without which the rule would change nothing, or None.
        watches: Whether operations are only shown to :meth:`watch` and :meth:`finish`, and unknown ones let through.
    """

    label = "the rule"
    needs: str | None = None
    watches = False

    def begin(self, model: nn.Module, inputs: tuple[Any, ...], watched: AbstractContextManager[Any]) -> None:
        """Prepare for a forward pass of ``model`` on ``inputs``; what runs inside ``watched`` comes to this method."""

    def watch(self, operation: Operation, data: list[Tensor], run: Callable[[], Any]) -> Any:
        """See an operation on ``data`` that runs as it is, and return what ``run`` returns."""
        return run()

    def finish(self, model: nn.Module, operation: Operation | None, data: list[Tensor]) -> None:
        """See what a watched pass of ``model`` returns: ``operation`` is done to ``data``, if anything is."""

    def linear(self, operation: Operation, inputs: Tensor) -> Tensor:
        """Return the output of a product with weights."""
        result: Tensor = operation(inputs)
        return result

    def relu(self, operation: Operation, inputs: Tensor) -> Tensor:
        """Return the output of a ReLU."""
        result: Tensor = operation(inputs)
        return result

    def activation(self, operation: Operation, inputs: Tensor) -> Tensor:
        """Return the output of another activation of single values."""
        result: Tensor = operation(inputs)
        return result

    def maximum(self, operation: Operation, inputs: Tensor) -> Any:
        """Return the output of a max-pooling."""
        return operation(inputs)

    def average(self, operation: Operation, inputs: Tensor) -> Tensor:
        """Return the output of a mean or of an average pooling."""
        result: Tensor = operation(inputs)
        return result

    def normalization(self, operation: Operation, inputs: Tensor) -> Tensor:
        """Return the output of a batch normalization in evaluation mode."""
        result: Tensor = operation(inputs)
        return result

    def scale(self, operation: Operation, inputs: Tensor) -> Tensor:
        """Return ``inputs`` multiplied or shifted by constants."""
        result: Tensor = operation(inputs)
        return result

    def sum(self, operation: Operation, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum of two tensors that both depend on the model's inputs."""
        return first + second

    def clone(self, original: Tensor, copy: Tensor) -> None:
        """See that ``copy`` has the values of ``original`` from now on."""


class _Modified(torch.autograd.Function):
    """An operation whose gradient is replaced."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, operation: Operation, backward: Backward) -> Tensor:
        ctx.operation, ctx.rule = operation, backward
        ctx.save_for_backward(inputs)
        result: Tensor = operation(inputs)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = ctx.saved_tensors
        return ctx.rule(ctx.operation, inputs, relevance), None, None


def modified(operation: Operation, inputs: Tensor, backward: Backward) -> Tensor:
    """Return the output of ``operation``; ``backward(operation, inputs, relevance)`` is what its gradient will be."""
    result: Tensor = _Modified.apply(inputs, operation, backward)
    return result


def _gradient(function: Callable[[Tensor], Tensor], inputs: Tensor, gradient: Tensor) -> Tensor:
    """Return the product of ``gradient`` with the Jacobian of ``function`` at ``inputs``."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, gradient)[0]


def source_of(tensor: Tensor) -> Operation | None:
    """Return the operation whose output ``tensor`` is, if its gradient was replaced; clones count as the original."""
    node = tensor.grad_fn
    while node is not None and node.name() == "CloneBackward0":
        node = node.next_functions[0][0]
    found = getattr(node, "operation", None)
    return found if isinstance(found, Operation) else None


def behind(tensor: Tensor) -> Iterator[Operation]:
    """Yield the operations with a replaced gradient on which ``tensor`` depends, the nearest first."""
    nodes, seen = [tensor.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found = getattr(node, "operation", None)
        if isinstance(found, Operation):
            yield found
        nodes += [before for before, _ in node.next_functions]


def intercepting(model: nn.Module, method: Method) -> Context:
    """Return a context in which forward passes of ``model`` are computed by ``method``."""
    interception = Interception(model, method)
    return undone(interception.end, interception.begin)


class Interception:
    """Hands each operation of a forward pass of the model to the method, from :meth:`begin` to :meth:`end`.

    The model's parameters ask for no gradients meanwhile, so that what asks for one depends on the inputs.

    Raises:
        XaiError: The model is no module, or a ScriptModule.
    """

    def __init__(self, model: nn.Module, method: Method) -> None:
        if not isinstance(model, nn.Module) or any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
            raise _not_seen(model)
        self.model: nn.Module = getattr(model, "_orig_mod", model)  # what torch.compile wraps
        self.method = method
        self.paths: dict[int, str] = {}
        self.weights: dict[int, str] = {}
        self.running: list[nn.Module] = []
        self.met: set[str] = set()
        self.begun = False  # otherwise operations are let through
        self._frozen: list[RequiresGrad] = []
        self._watch = Watch(called=self.enter, returned=self.check, left=self.leave, computed=self.compute)

    def begin(self) -> None:
        """Watch every forward pass from now on."""
        self.paths = {id(module): plain_name(path) for path, module in self.model.named_modules()}
        self.weights = {id(parameter): name for name, parameter in self.model.named_parameters()}
        self._frozen.append(RequiresGrad(self.model.parameters()))
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self._watch.begin()

    def end(self) -> None:
        """Leave the model as it was; may be repeated, also after it was cut off."""
        self._watch.end()
        for parameters in self._frozen:
            parameters.restore()

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Note that ``module`` runs; for the model itself, start watching."""
        if not self.running:
            if module is not self.model or not torch.is_grad_enabled():
                return None
            tensors = [value for value in inputs if isinstance(value, Tensor)]
            if not any(tensor.requires_grad for tensor in tensors):
                inputs = tuple(_leaf(value) for value in inputs)
            self.running.append(module)
            self.met.clear()
            try:
                self.method.begin(module, inputs, self._watched())
            except BaseException:
                self.running.clear()
                raise
            self.begun = True
            return inputs
        self.running.append(module)
        return None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self.begun = True
        try:
            yield
        finally:
            self.begun = False

    def check(self, module: nn.Module, output: object) -> None:
        """Raise when the model has run and the rule has met nothing to change, or its output has escaped it."""
        if len(self.running) != 1 or module is not self.model:
            return
        needed, data = self.method.needs, _data((output,))
        returned = self._operation(_Call(torch.clone, tuple(data), {}), "structure") if data else None
        if self.method.watches:
            self.method.finish(module, returned, data)
        elif returned is not None:
            self._use(returned, data)
        if needed is not None and needed not in self.met:
            raise XaiError(
                f"xai_model {type(module).__name__}",
                found=f"no {_MODULES[needed]} in the forward pass, so that {self.method.label} changes nothing",
                expected=f"a model with {_MODULES[needed]}",
                fix="choose an explainer that fits the architecture",
            )

    def leave(self, module: nn.Module) -> None:
        """Note that ``module`` has run, or has raised; for the model itself, stop watching."""
        if self.running and self.running[-1] is module:
            self.running.pop()
            self.begun = self.begun and bool(self.running)

    def compute(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the result of ``function``, with another gradient where the method replaces it."""
        if not self.begun:
            return function(*args, **kwargs)
        call = _Call(function, args, kwargs)
        if not call.data or not torch.is_grad_enabled():
            return call.run()
        kind = call.kind
        if self.method.watches:
            return self.method.watch(self._operation(call, kind or "unknown"), call.data, call.run)
        if kind == "structure" or call.name not in KINDS:
            result = call.run()
            if call.name != "setitem" and not _data((result,)):  # a question about a tensor, as for its shape
                return result
            if kind == "structure":
                return self._passed(call, result)
        if kind is None:
            raise self._operation(call, "unknown").refused(
                f"{call.name}(), an operation that {self.method.label} does not know",
                f"only {'; '.join(_MODULES.values())}; sums of two layers; products with constants",
                "choose an explainer that needs no rules (Saliency, IntegratedGradients), leave a final softmax out, "
                "or write the operation with known ones",
            )
        return self._computed(call, kind)

    def _passed(self, call: _Call, result: Any) -> Any:
        """Return the result of an operation that moves values and keeps them."""
        if call.name == "clone":  # which stands for the original
            self.method.clone(call.data[0], result)
        else:
            self._use(self._operation(call, "structure"), call.data)
        return result

    def _computed(self, call: _Call, kind: str) -> Any:
        """Return what the method makes of an operation."""
        operation = self._operation(call, kind)
        self._use(operation, call.data)
        self.met.add(kind)
        if kind == "sum":
            first, second = call.args[0], call.argument(1, "other")
            alpha = call.kwargs.get("alpha", 1)
            result = self.method.sum(operation, first, second if alpha == 1 else alpha * second)
        else:
            data = call.data[0]
            if call.in_place:  # what it overwrites would be missing in its backward pass
                data = data.clone()
                self.method.clone(call.data[0], data)
            result = getattr(self.method, kind)(operation, data)
        if not call.in_place:
            return result
        overwritten = call.data[0].copy_(result)
        self.method.clone(result, overwritten)
        return overwritten

    def _operation(self, call: _Call, kind: str) -> Operation:
        module = self.running[-1]
        operation = Operation(call, kind, module, self.paths.get(id(module), ""))
        if kind == "linear":
            operation.weight_name = self.weights.get(id(call.argument(1, "weight")))
        return operation

    def _use(self, operation: Operation, data: list[Tensor]) -> None:
        """Count the uses of each operation's output, and refuse what has escaped."""
        for tensor in data:
            source = source_of(tensor)
            if source is None:
                if isinstance(tensor.grad_fn, BackwardCFunction):
                    raise operation.refused(
                        f"the result of {tensor.grad_fn.name().removesuffix('Backward')}, an autograd function of its "
                        "own",
                        f"operations that {self.method.label} knows",
                        "write the autograd function with torch operations",
                    )
                continue
            source.uses += 1
            if source.merged:
                raise operation.refused(
                    f"the output of {source.where} used beside its batch normalization",
                    "layers whose only use is the batch normalization that is merged into them",
                    "choose an explainer that needs no rules",
                )


def _not_seen(model: object) -> XaiError:
    scripted = isinstance(model, nn.Module)
    return XaiError(
        "xai_model",
        found="a ScriptModule, inside which rules cannot reach" if scripted else f"a {type(model).__name__}",
        expected="a torch.nn.Module whose operations can be seen, for rules that replace the gradient",
        fix="give the model from before torch.jit" if scripted else "wrap the function in a torch.nn.Module",
    )


def _leaf(value: Any) -> Any:
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().requires_grad_() if floating else value


def _data(values: Any) -> list[Tensor]:
    """Return the tensors in ``values``, nested or not, that depend on the inputs."""
    found = []
    for value in values:
        if isinstance(value, (tuple, list)):
            found += _data(value)
        elif isinstance(value, Tensor) and value.requires_grad:
            found.append(value)
    return found
