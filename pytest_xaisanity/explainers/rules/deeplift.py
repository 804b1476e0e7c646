"""DeepLIFT (Shrikumar et al. 2017) with its rules Rescale and RevealCancel, and Sixt et al.'s ablation of it.

Gradients become multipliers: what a difference from the reference is worth for the difference of the output. The
reference activations come from a pass on the baseline just before, in which the same operations are met in the same
order.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakIdKeyDictionary

from ...common.errors import unknown_name
from .base import PER_CHANNEL, RuleExplainer, channels, check_numbers, held
from .interception import Method, Operation, modified

__all__ = ["DeepLift"]

_RULES = ("rescale", "revealcancel", "ablation")
_SAME = 1e-10  # differences below it have the plain gradient as their multiplier, as in Captum


@dataclass(frozen=True, repr=False)
class DeepLift(RuleExplainer):
    """DeepLIFT: the difference of the explained logit from its value at a baseline, shared out among the inputs.

    The attributions of an input sum to that difference with ``"rescale"`` and ``"revealcancel"``. A max-pooling
    splits its difference between the winners of the input and of the baseline, as in Captum.

    Args:
        rule: ``"rescale"``: an activation has one multiplier. ``"revealcancel"``: positive and negative contributions
            to an activation have multipliers of their own. ``"ablation"``: Rescale without the mixing of signs in
            layers with weights, so that positive differences are multiplied by the positive weights alone, and
            negative differences by the negative weights alone; not complete, and there to show what the mixing does
            (Sixt et al. 2020).
        baseline: The reference input: one number, or one for each channel.
    """

    rule: str = "rescale"
    baseline: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        if self.rule not in _RULES:
            raise unknown_name("DeepLift rule", self.rule, _RULES, kind="rule")
        check_numbers("DeepLift baseline", self.baseline, PER_CHANNEL)

    def _method(self) -> Method:
        return _Differences(self)

    def _attributions(self, inputs: Tensor, relevance: Tensor) -> Tensor:
        return (inputs - channels(self.baseline, inputs)) * relevance


class _Differences(Method):
    """Propagates multipliers.

    The positive and negative parts of the difference at an activation travel along edges of their own in the graph:
    the gradient at the layer's output is its total multiplier, and those at the parts say how theirs differ from it.
    """

    needs = "linear"

    def __init__(self, explainer: DeepLift) -> None:
        self.explainer = explainer
        self.label = repr(explainer)
        self.references: list[Tensor] = []
        self.place = 0
        self.recording = False
        self.parts = WeakIdKeyDictionary()  # tensor to its positive and negative part, in the graph

    def begin(self, model: nn.Module, inputs: tuple[Any, ...], watched: AbstractContextManager[Any]) -> None:
        self.references.clear()
        self.parts.clear()
        self.place, self.recording = 0, True
        floating = [isinstance(value, Tensor) and value.requires_grad for value in inputs]
        baselines = tuple(
            self._baseline(value) if is_data else value for value, is_data in zip(inputs, floating, strict=True)
        )
        try:
            with watched:
                model.forward(*baselines)
        finally:
            self.recording = False

    def _baseline(self, inputs: Tensor) -> Tensor:
        values = channels(self.explainer.baseline, inputs)
        return values.expand(1, *inputs.shape[1:]).clone().requires_grad_()

    def _reference(self, operation: Operation, inputs: Tensor) -> Tensor | None:
        """Return what ``operation`` got at the baseline, ``(1, ...)``, or None while that is being found out."""
        if self.recording:
            self.references.append(inputs.detach())
            return None
        self.place += 1
        if self.place > len(self.references) or self.references[self.place - 1].shape[1:] != inputs.shape[1:]:
            raise operation.refused(
                "another course of the forward pass than at the baseline",
                "the same operations whatever the input",
                "choose an explainer without a baseline",
            )
        return self.references[self.place - 1]

    def linear(self, operation: Operation, inputs: Tensor) -> Tensor:
        result: Tensor
        if self.explainer.rule == "rescale":
            result = operation(inputs)
            return result
        reference = self._reference(operation, inputs)
        if reference is None:
            result = operation(inputs)
            return result
        if self.explainer.rule == "ablation":
            return modified(operation, inputs, lambda op, x, gradient: _unmixed(op, x - reference, gradient))
        result, *parts = _Linear.apply(inputs, operation, reference)
        self.parts[result] = tuple(parts)
        return result

    def relu(self, operation: Operation, inputs: Tensor) -> Tensor:
        reference = self._reference(operation, inputs)
        if reference is None:
            result: Tensor = operation(inputs)
            return result
        if self.explainer.rule == "revealcancel":
            positive, negative = self._parts_of(inputs, reference)
            revealed: Tensor = _RevealCancel.apply(inputs, positive, negative, operation, reference)
            return revealed
        return modified(operation, inputs, lambda op, x, gradient: _rescaled(op, x, reference, gradient))

    activation = relu

    def maximum(self, operation: Operation, inputs: Tensor) -> Any:
        reference = self._reference(operation, inputs)
        if reference is None:
            return operation(inputs)
        if operation.name.endswith("with_indices") or operation.kwargs.get("return_indices"):
            raise operation.refused(
                "a max-pooling that returns its indices",
                "a max-pooling that returns its maxima alone",
                "turn return_indices off, or choose an explainer that needs no rules",
            )
        return modified(operation, inputs, lambda op, x, gradient: _pooled(op, x, reference, gradient))

    def normalization(self, operation: Operation, inputs: Tensor) -> Tensor:
        result: Tensor = operation(inputs)
        if inputs in self.parts:
            # Where a negative weight turns the sign of a part, the parts change places.
            slope = operation.backward(inputs[:1], torch.ones_like(inputs[:1]))
            positive, negative = self.parts[inputs]
            up, down = slope.clamp(min=0), slope.clamp(max=0)
            self.parts[result] = (up * positive + down * negative, up * negative + down * positive)
        return result

    def sum(self, operation: Operation, first: Tensor, second: Tensor) -> Tensor:
        result = first + second
        if self.explainer.rule == "revealcancel":
            references = [self._reference(operation, tensor) for tensor in (first, second)]
            if None not in references and first.shape == second.shape:
                pairs = [
                    self._parts_of(tensor, reference)
                    for tensor, reference in zip((first, second), references, strict=True)
                ]
                self.parts[result] = tuple(a + b for a, b in zip(*pairs, strict=True))
        return result

    def clone(self, original: Tensor, copy: Tensor) -> None:
        if original in self.parts:
            self.parts[copy] = self.parts[original]
        elif copy in self.parts:
            del self.parts[copy]

    def _parts_of(self, inputs: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the positive and the negative contributions to the difference, each of the shape of ``inputs``."""
        if inputs in self.parts:
            positive, negative = self.parts[inputs]
            return positive, negative
        assert reference is not None
        difference = inputs - reference
        return difference.clamp(min=0), difference.clamp(max=0)


def _rescaled(operation: Operation, inputs: Tensor, reference: Tensor, gradient: Tensor) -> Tensor:
    difference = inputs - reference
    same = difference.abs() < held(_SAME, inputs)
    slope = (operation(inputs) - operation(reference)) / torch.where(same, 1.0, difference)
    return torch.where(same, operation.backward(inputs, gradient), gradient * slope)


def _pooled(operation: Operation, inputs: Tensor, reference: Tensor, gradient: Tensor) -> Tensor:
    """Contributions of the winners of the input and of the reference, over their differences."""
    references = reference.expand_as(inputs)
    output, output_reference = operation(inputs), operation(references)
    highest = torch.maximum(output, output_reference)
    contribution = operation.backward(inputs, gradient * (highest - output_reference))
    contribution = contribution + operation.backward(references, gradient * (output - highest))
    difference = inputs - references
    same = difference.abs() < held(_SAME, inputs)
    return torch.where(same, operation.backward(inputs, gradient), contribution / torch.where(same, 1.0, difference))


def _by_sign(difference: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return ``positive`` where the difference is above zero, ``negative`` where it is below, else their mean."""
    share = (difference.sign() + 1) / 2
    return share * positive + (1 - share) * negative


def _unmixed(operation: Operation, difference: Tensor, gradient: Tensor) -> Tensor:
    assert operation.weight is not None
    up, down = operation.weight.clamp(min=0), operation.weight.clamp(max=0)
    multipliers = (operation.transposed(weight, difference, gradient) for weight in (up, down))
    return _by_sign(difference, *multipliers)


class _Linear(torch.autograd.Function):
    """A layer with weights, and the positive and negative contributions to the difference of its output."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, operation: Operation, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.operation = operation
        difference = inputs - reference
        ctx.save_for_backward(difference)
        assert operation.weight is not None
        up, down = operation.weight.clamp(min=0), operation.weight.clamp(max=0)
        rise, fall = difference.clamp(min=0), difference.clamp(max=0)
        positive = operation.with_weights(up, rise) + operation.with_weights(down, fall)
        negative = operation.with_weights(down, rise) + operation.with_weights(up, fall)
        return operation(inputs), positive, negative

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, total: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, None, None]:
        (difference,) = ctx.saved_tensors
        operation: Operation = ctx.operation
        assert operation.weight is not None
        up, down = operation.weight.clamp(min=0), operation.weight.clamp(max=0)
        positive, negative = total + positive, total + negative

        def multipliers(with_up: Tensor, with_down: Tensor) -> Tensor:
            return operation.transposed(up, difference, with_up) + operation.transposed(down, difference, with_down)

        return _by_sign(difference, multipliers(positive, negative), multipliers(negative, positive)), None, None


class _RevealCancel(torch.autograd.Function):
    """An activation that weighs the positive and the negative contributions to its input apart."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, positive: Tensor, negative: Tensor, operation: Operation, reference: Tensor
    ) -> Tensor:
        ctx.operation, ctx.reference = operation, reference
        ctx.save_for_backward(inputs, positive, negative)
        result: Tensor = operation(inputs)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        inputs, positive, negative = ctx.saved_tensors
        act, reference = ctx.operation, ctx.reference
        nothing, both = act(reference), act(inputs)
        # What a part adds, averaged over being added first and last.
        with_positive, with_negative = act(reference + positive), act(reference + negative)
        rise = ((with_positive - nothing) + (both - with_negative)) / 2
        fall = ((with_negative - nothing) + (both - with_positive)) / 2
        total = _rescaled(act, inputs, reference, gradient)

        def beyond(change: Tensor, part: Tensor) -> Tensor:
            none = part.abs() < held(_SAME, inputs)
            return torch.where(none, 0.0, gradient * change / torch.where(none, 1.0, part) - total)

        return total, beyond(rise, positive), beyond(fall, negative), None, None
