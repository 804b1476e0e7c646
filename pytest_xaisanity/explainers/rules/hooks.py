"""What hooks of modules see of a forward pass, for the rules of other libraries, which rely on them.

A function does what a module does, and no hook of modules sees it: the rule is then left out in silence, and the map is
the plain gradient there. So each operation is looked at as it runs, and refused by name where its module would have
been hooked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from ...common.errors import XaiError
from .interception import Interception, Method, Operation

__all__ = ["Hooked", "seen_by_hooks"]

_CLASSES = (
    "ReLU Hardtanh ReLU6 ELU CELU SELU GELU SiLU Mish Sigmoid Tanh Softplus Hardswish Hardsigmoid LogSigmoid Softsign "
    "Softshrink Hardshrink Tanhshrink PReLU RReLU Softmax"
)
_ACTIVATIONS = {kind.lower(): kind for kind in _CLASSES.split()}
_ACTIVATIONS |= {"leaky_relu": "LeakyReLU", "log_sigmoid": "LogSigmoid", "log_softmax": "LogSoftmax"}
_POOLINGS = {
    f"{adaptive}{kind}_pool{n}d{suffix}": f"{'Adaptive' * bool(adaptive)}{kind.title()}Pool{n}d"
    for adaptive in ("", "adaptive_")
    for kind in ("avg", "max")
    for n in (1, 2, 3)
    for suffix in ("", "_with_indices")
}
_WEIGHTED = {"linear": "Linear", "multi_head_attention_forward": "Linear", "bilinear": "Bilinear"}
_WEIGHTED |= {f"conv{n}d": f"Conv{n}d" for n in (1, 2, 3)}
_WEIGHTED |= {f"conv_transpose{n}d": f"ConvTranspose{n}d" for n in (1, 2, 3)}
_WEIGHTED |= dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "Linear")
_PRODUCTS = frozenset({"matmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "tensordot"})
# What may be written for a ReLU: it is told by what comes out.
_GATES = frozenset({"clamp", "clamp_min", "clip", "threshold", "maximum", "max", "fmax", "where", "mul", "masked_fill"})
_SUMS = frozenset({"add", "radd", "iadd"})
_REMEMBERING = ("linear", "average")  # kinds of operations whose relevance depends on what came in


@dataclass(frozen=True)
class Hooked:
    """What the hooks of a library change.

    Attributes:
        label: Whose hooks they are, for error texts.
        changes: Whether they change a module, called with its path and the module itself.
        once: Whether a module must be called but once, since its hook remembers the last call alone.
        needed: What they need to meet in a pass, or else change nothing, in words; or nothing.
        more: Modules of the library's own by the name of the function that they stand for: ``{"sum": Sum}``.
    """

    label: str
    changes: Callable[[str, nn.Module], bool]
    once: bool = False
    needed: str = ""
    more: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)

    def twin(self, operation: Operation, operands: int) -> nn.Module | None:
        """Return the module that does what an operation on so many tensors does, or None where there is none."""
        name = operation.name.partition(".")[0]  # an operator of an exported model has its overload in its name
        if name in _SUMS and operands > 1:
            make = self.more.get("sum")
            return None if make is None else make()
        if name in _PRODUCTS and operands == 1:
            name = "linear"
        if name == "mean" and operation.kind == "average":
            name = "adaptive_avg_pool2d"
        kind = _ACTIVATIONS.get(name) or _POOLINGS.get(name) or _WEIGHTED.get(name)
        return _built("BatchNorm2d" if name == "batch_norm" else kind) if kind or name == "batch_norm" else None


def seen_by_hooks(model: nn.Module, hooked: Hooked) -> Interception:
    """Return what lets a forward pass of ``model`` raise where hooks of modules would not see it all.

    Raises:
        XaiError: In the forward pass, when what the hooks would change is called as a function, or as a module that is
            made in the forward pass, or is an autograd function of its own; when a module is called a second time; or
            when there is nothing that they would change.
    """
    return Interception(model, _ModulesOnly(hooked))


class _ModulesOnly(Method):
    """Changes nothing, and raises where hooks of modules would not see what the model computes."""

    watches = True

    def __init__(self, hooked: Hooked) -> None:
        self.hooked, self.label = hooked, hooked.label
        self.called: set[int] = set()
        self.modules: set[int] = set()
        self.any = False

    def begin(self, model: nn.Module, inputs: tuple[Any, ...], watched: AbstractContextManager[Any]) -> None:
        self.called.clear()
        self.modules = {id(module) for module in model.modules()}
        self.any = False

    def watch(self, operation: Operation, data: list[Tensor], run: Callable[[], Any]) -> Any:
        """Return what ``run`` returns, unless the hooks miss it."""
        self._check_own_function(operation, data)
        caller = operation.caller
        if self.hooked.changes(operation.path, caller):
            if id(caller) not in self.modules:
                raise self._missed(operation, f"a {type(caller).__name__} made in the forward pass", caller)
            self._check_once(operation)
            self.any = True
            return run()
        twin = self.hooked.twin(operation, len(data))
        if twin is not None and self.hooked.changes("", twin):
            raise self._missed(operation, f"{operation.name}() called as a function", twin)
        if operation.name.partition(".")[0] not in _GATES or not self.hooked.changes("", relu := _built("ReLU")):
            return run()
        before = data[0].detach().clone()  # it may be overwritten
        result = run()
        if _is_relu(before, result):
            raise self._missed(operation, f"{operation.name}() called as a function for a ReLU", relu)
        return result

    def finish(self, model: nn.Module, operation: Operation | None, data: list[Tensor]) -> None:
        """Raise where the output comes from what no hook sees, or the hooks have met nothing."""
        if operation is not None:
            self._check_own_function(operation, data)
        if self.hooked.needed and not self.any:
            raise XaiError(
                f"xai_model {type(model).__name__}",
                found=f"no {self.hooked.needed} in the forward pass, so that {self.label} change nothing: the map is "
                "the plain gradient",
                expected=f"a model with {self.hooked.needed}",
                fix="choose an explainer that fits the architecture (Saliency, IntegratedGradients)",
            )

    def _check_once(self, operation: Operation) -> None:
        if operation.kind not in _REMEMBERING or not self.hooked.once:
            return
        if id(operation.caller) in self.called:
            raise operation.refused(
                f"a second call of the same module, of which {self.label} remember but the last",
                "modules that are called once",
                "use an explainer of pytest_xaisanity.explainers, which sees each call",
            )
        self.called.add(id(operation.caller))

    def _check_own_function(self, operation: Operation, data: list[Tensor]) -> None:
        for tensor in data:
            node = tensor.grad_fn
            if isinstance(node, BackwardCFunction) and not _of_a_library(node):
                raise operation.refused(
                    f"the result of {node.name().removesuffix('Backward')}, an autograd function of its own, which "
                    f"{self.label} do not see",
                    "operations that are modules of torch.nn",
                    "write the autograd function as a module of torch.nn, or choose an explainer that needs no rules "
                    "(Saliency, IntegratedGradients)",
                )

    def _missed(self, operation: Operation, found: str, module: nn.Module) -> XaiError:
        kind = type(module)
        package = "torch.nn" if kind.__module__.startswith("torch.nn") else kind.__module__
        return operation.refused(
            f"{found}, which {self.label} do not see",
            "activations, layers and sums that are modules of the model",
            f"make a {package}.{kind.__name__} in __init__ and call it here, or use an explainer of "
            "pytest_xaisanity.explainers, which sees functions",
        )


@cache
def _built(kind: str) -> nn.Module:
    """Return a module of a class of ``torch.nn``, without numbers, as an example of its class."""
    made: Callable[..., nn.Module] = getattr(nn, kind)
    if "Pool" in kind:
        return made(1)
    if kind == "Bilinear":
        return made(1, 1, 1, device="meta")
    if kind.startswith(("Linear", "Conv")):
        return made(*[1] * (2 if kind == "Linear" else 3), device="meta")
    return made(1, device="meta") if kind == "BatchNorm2d" else made(-1) if "oftmax" in kind else made()


def _is_relu(before: Tensor, result: object) -> bool:
    """Whether a result is what a ReLU makes of a tensor with negative values."""
    if not isinstance(result, Tensor) or result.shape != before.shape or not bool((before < 0).any()):
        return False
    return torch.equal(result.detach(), before.clamp(min=0))


def _of_a_library(node: BackwardCFunction) -> bool:
    """Whether an autograd function is one of torch's, or of the hooks of a library."""
    own: type = type(node)._forward_cls  # type: ignore[attr-defined]
    return own.__module__.partition(".")[0] in ("torch", "zennit", "captum", "pytest_xaisanity")
