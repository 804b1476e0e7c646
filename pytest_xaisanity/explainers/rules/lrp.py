"""Layer-wise relevance propagation (Bach et al. 2015) and its relatives, with the rules of zennit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...common.errors import XaiError, unknown_name
from .base import RuleExplainer, channels, check_numbers, check_range, held
from .interception import Method, Operation, behind, modified, source_of

__all__ = ["LRP", "DeepTaylor", "ExcitationBackprop"]

_ALPHA_BETA = {"alpha1beta0": (1.0, 0.0), "alpha2beta1": (2.0, 1.0), "alpha5beta4": (5.0, 4.0)}
_RULES = ("z", "epsilon", "zplus", *_ALPHA_BETA, "gamma", "zbox", "wsquare")
_SMALL = 1e-6  # of the other rules, as in zennit
_TINY = 1e-12  # keeps LRP-z from dividing by zero, and changes no other quotient


@dataclass(frozen=True, repr=False)
class LRP(RuleExplainer):
    """Layer-wise relevance propagation: the explained logit's value, handed down layer by layer.

    Relevance passes activations unchanged, goes to the winner of a max-pooling, and is shared out among the summands
    of a sum or a mean by their values. Batch normalization is merged into the layer before it.

    Args:
        rule: How relevance is shared out among the inputs of a layer with weights: ``"z"``, ``"epsilon"``,
            ``"zplus"``, ``"alpha1beta0"``, ``"alpha2beta1"``, ``"alpha5beta4"``, ``"gamma"``, ``"zbox"`` or
            ``"wsquare"``; or ``"composite"``, which is ``"alpha1beta0"`` in convolutions and ``"epsilon"``, of 1e-10
            unless another is given, in dense layers (Sixt et al. 2020).
        dense: Another rule for dense layers: ``LRP("alpha2beta1", dense="epsilon", epsilon=1e-10)``.
        first: Another rule for the layers that see the inputs: ``"zbox"`` for inputs between ``low`` and ``high``,
            ``"wsquare"`` for inputs without bounds.
        epsilon: Stabilizer of ``"epsilon"``; None is 1e-6.
        gamma: How much ``"gamma"`` favors positive weights.
        low: Lowest value of the inputs, one number or one for each channel.
        high: Highest value of the inputs, likewise.
        bias: Whether biases take their share, which then reaches no input.

    Raises:
        XaiError: A name is unknown, ``"zbox"`` lacks its bounds, or zennit is not installed.
    """

    rule: str = "epsilon"
    dense: str | None = None
    first: str | None = None
    epsilon: float | None = None
    gamma: float = 0.25
    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        for setting, known in (("rule", (*_RULES, "composite")), ("dense", _RULES), ("first", _RULES)):
            name = getattr(self, setting)
            if name not in known and not (name is None and setting != "rule"):
                raise unknown_name(f"LRP {setting}", name, known, kind="rule")
        if "zbox" in (self.rule, self.dense, self.first) and (self.low is None or self.high is None):
            raise XaiError(
                "LRP", found="the rule 'zbox' without bounds", expected="low= and high=", fix="pass the inputs' range"
            )
        if self.low is not None and self.high is not None:
            check_range("LRP", self.low, self.high)
        if self.epsilon is not None:
            check_numbers("LRP epsilon", self.epsilon, "a number of at least 0", least=0.0)
        check_numbers("LRP gamma", self.gamma, "a number of at least 0", least=0.0)

    def _method(self) -> Method:
        return _Relevance(self, repr(self))

    def _start(self, explained: Tensor) -> Tensor:
        return explained.detach()

    def layer_rule(self, operation: Operation, inputs: Tensor) -> Any:
        """Return zennit's rule for a layer with weights."""
        composite = self.rule == "composite"
        name = "alpha1beta0" if composite else self.rule
        if operation.name == "linear" and (self.dense or composite):
            name = self.dense or "epsilon"
        if self.first and not any(before.kind == "linear" for before in behind(inputs)):
            name = self.first
        rules, small = zennit_rules(), held(_SMALL, inputs)
        zero = None if self.bias else ["bias"]
        if name in _ALPHA_BETA:
            return rules.AlphaBeta(*_ALPHA_BETA[name], stabilizer=small, zero_params=zero)
        if name == "zplus":
            return rules.ZPlus(stabilizer=small, zero_params=zero)
        if name == "gamma":
            return rules.Gamma(self.gamma, stabilizer=small, zero_params=zero)
        if name == "wsquare":
            return rules.WSquare(stabilizer=small, zero_params=["bias"])
        if name == "zbox":
            assert self.low is not None
            assert self.high is not None
            low, high = channels(self.low, inputs), channels(self.high, inputs)
            low, high = low.expand_as(inputs[:1]), high.expand_as(inputs[:1])
            return rules.ZBox(low, high, stabilizer=small, zero_params=zero)
        own = held(_TINY if name == "z" else 1e-10 if composite else _SMALL, inputs)
        return rules.Epsilon(own if name == "z" or self.epsilon is None else self.epsilon, zero_params=zero)


@dataclass(frozen=True, repr=False)
class DeepTaylor(RuleExplainer):
    """Deep Taylor decomposition (Montavon et al. 2017): LRP with z+ in the hidden layers, and zB at the inputs.

    Args:
        low: Lowest value of the inputs, one number or one for each channel.
        high: Highest value of the inputs, likewise.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]

    def __post_init__(self) -> None:
        check_range("DeepTaylor", self.low, self.high)

    def _method(self) -> Method:
        return _Relevance(LRP("zplus", first="zbox", low=self.low, high=self.high), repr(self))

    def _start(self, explained: Tensor) -> Tensor:
        return explained.detach()


@dataclass(frozen=True, repr=False)
class ExcitationBackprop(RuleExplainer):
    """Excitation Backprop (Zhang et al. 2016): z+ without biases, from a relevance of 1 at the explained logit.

    The attribution of an input is the chance that a walk from the logit down the positive weights ends there.
    """

    def _method(self) -> Method:
        return _Relevance(LRP("zplus", bias=False), repr(self))


class _Relevance(Method):
    """Propagates relevance, with a rule of zennit's for each layer with weights."""

    needs = "linear"

    def __init__(self, explainer: LRP, label: str) -> None:
        self.rule = explainer.layer_rule
        self.label = label
        self.least = _TINY if explainer.rule == "z" else _SMALL

    def linear(self, operation: Operation, inputs: Tensor) -> Tensor:
        return modified(operation, inputs, _by(self.rule(operation, inputs)))

    def relu(self, operation: Operation, inputs: Tensor) -> Tensor:
        return modified(operation, inputs, _pass)

    activation = relu

    def average(self, operation: Operation, inputs: Tensor) -> Tensor:
        return modified(operation, inputs, self.share(inputs))

    def share(self, inputs: Tensor) -> Callable[[Operation, Tensor, Tensor], Tensor]:
        """Return the backward pass that shares relevance out in proportion to ``inputs``."""
        return _by(zennit_rules().Norm(stabilizer=held(self.least, inputs)))

    def normalization(self, operation: Operation, inputs: Tensor) -> Tensor:
        _merge(operation, source_of(inputs))
        return modified(operation, inputs, _pass)

    def scale(self, operation: Operation, inputs: Tensor) -> Tensor:
        return modified(operation, inputs, _pass_unless_zero)

    def sum(self, operation: Operation, first: Tensor, second: Tensor) -> Tensor:
        operands = torch.stack(torch.broadcast_tensors(first, second))  # type: ignore[no-untyped-call]
        total = operation.of_stack(operands)
        return modified(total, operands, self.share(operands))


def _by(rule: Any) -> Callable[[Operation, Tensor, Tensor], Tensor]:
    """Return the backward pass by a rule of zennit's."""

    def backward(operation: Operation, inputs: Tensor, relevance: Tensor) -> Tensor:
        hook = rule.copy()
        hook.stored_tensors |= {"input": (inputs,), "kwargs": {}}  # the latter is read from zennit 1.0 on
        result: Tensor = hook.backward(operation, (inputs,), (relevance,))[0]
        return result

    return backward


def _pass(operation: Operation, inputs: Tensor, relevance: Tensor) -> Tensor:
    return relevance


def _pass_unless_zero(operation: Operation, inputs: Tensor, relevance: Tensor) -> Tensor:
    if relevance.shape != inputs.shape:
        raise operation.refused(
            f"{operation.name}() that repeats its input ({tuple(inputs.shape)} to {tuple(relevance.shape)})",
            "constants that are broadcast to the layer",
            "expand the layer first",
        )
    return relevance * (operation.backward(inputs, torch.ones_like(relevance)) != 0)


def _merge(operation: Operation, layer: Operation | None) -> None:
    """Let the layer before a batch normalization count with the weights that the two have together.

    The normalization itself then passes relevance on.
    """
    follows = layer is not None and layer.kind == "linear" and layer.uses == 1 and "transpose" not in layer.name
    if not follows or layer is None:
        raise operation.refused(
            "batch normalization that cannot be merged",
            "a Linear or convolution before it, whose output goes nowhere else",
            "choose an explainer that needs no merging: GuidedBackprop(), DeepLift(), IntegratedGradients",
        )
    arguments = inspect.signature(F.batch_norm).bind(*operation.args, **operation.kwargs)
    arguments.apply_defaults()
    mean, variance, weight, bias, eps = (
        arguments.arguments[name] for name in ("running_mean", "running_var", "weight", "bias", "eps")
    )
    assert layer.weight is not None
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale + (0 if layer.bias is None else layer.bias * scale)
    layer.weight = nn.Parameter(layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1)), requires_grad=False)
    layer.bias = nn.Parameter(shift, requires_grad=False)
    layer.merged = True


def zennit_rules() -> Any:
    """Return zennit's rules.

    Raises:
        XaiError: zennit is not installed.
    """
    try:
        import zennit.rules
    except ImportError as error:
        raise XaiError(
            "LRP",
            found="no zennit, whose rules it uses",
            expected="the extra [rules]",
            fix="pip install pytest-xaisanity[rules]",
        ) from error
    return zennit.rules
