"""PatternAttribution (Kindermans et al. 2018): weights times the patterns of their units, estimated from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ...common.undoing import undoing
from ...model.lending import evaluating
from ...model.snapshot import Modes
from .base import RuleExplainer
from .interception import Method, Operation, intercepting, modified

__all__ = ["PatternAttribution", "estimate_patterns"]


@dataclass(frozen=True, repr=False, eq=False)
class PatternAttribution(RuleExplainer):
    """PatternAttribution: the explained logit's value, sent back through each unit's weights times its pattern.

    A unit's pattern is the direction in which its inputs change with its signal. ReLUs and max-poolings have their
    plain gradients.

    Args:
        patterns: Name of each weight, as in ``named_parameters()``, to the pattern, of the weight's shape: what
            :func:`estimate_patterns` returns.
    """

    patterns: Mapping[str, Tensor] = field(default_factory=dict)

    def _method(self) -> Method:
        return _Patterns(self.patterns)

    def _start(self, explained: Tensor) -> Tensor:
        return explained.detach()

    def __repr__(self) -> str:
        return f"PatternAttribution(<patterns of {len(self.patterns)} layers>)"


class _PatternMethod(Method):
    label = "PatternAttribution"
    needs = "linear"

    def normalization(self, operation: Operation, inputs: Tensor) -> Tensor:
        raise operation.refused(
            "batch normalization, which stands between a unit and its pattern",
            "layers whose outputs go to their ReLU",
            "merge it into the layer before it (torch.nn.utils.fusion.fuse_conv_bn_eval)",
        )


class _Patterns(_PatternMethod):
    def __init__(self, patterns: Mapping[str, Tensor]) -> None:
        self.patterns = patterns

    def linear(self, operation: Operation, inputs: Tensor) -> Tensor:
        weight, pattern = operation.weight, self.patterns.get(operation.weight_name or "")
        if weight is None or pattern is None or pattern.shape != weight.shape:
            found = "no pattern" if pattern is None else f"a pattern of shape {tuple(pattern.shape)}"
            raise operation.refused(
                f"{found} for the weight {operation.weight_name or 'that is no parameter'}",
                "a pattern of the shape of each weight",
                "estimate them with estimate_patterns(model, inputs)",
            )
        signal = weight * pattern.to(weight)
        return modified(operation, inputs, lambda op, x, relevance: op.transposed(signal, x, relevance))


def estimate_patterns(model: nn.Module, inputs: Tensor | Iterable[Any], *, batch_size: int = 64) -> dict[str, Tensor]:
    """Return the pattern of each weight, by its name: what the inputs of a unit have in common with its output.

    With the two-component estimator, of the inputs ``x`` for which the unit ``y = w x`` is active:
    ``a = (E[x y] - E[x] E[y]) / (w E[x y] - w E[x] E[y])``. For the last layer, which no ReLU follows, of all inputs.
    Units that are never active, or never change, have a pattern of zeros. In convolutions ``x`` are the patches.

    Args:
        model: The model, which is measured in evaluation mode and left as it was.
        inputs: Inputs ``(N, ...)``, or an iterable of batches: tensors, or lists that begin with one.
        batch_size: Inputs in one pass, where ``inputs`` is a tensor.

    Raises:
        XaiError: There are no inputs, or the model holds what the method does not know.
    """
    batches = torch.split(inputs, batch_size) if isinstance(inputs, Tensor) else inputs
    method = _Estimate()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))

    @torch.enable_grad()
    def estimate() -> None:
        evaluating(model)
        for batch in batches:
            model((batch if isinstance(batch, Tensor) else batch[0]).detach().to(device).requires_grad_())

    undoing(Modes(model).restore, intercepting(model, method)(estimate))
    if not method.moments:
        raise XaiError(
            "estimate_patterns",
            found="no inputs",
            expected="inputs of the kind the model was trained on",
            fix="pass the training inputs",
        )
    return {name: moments.pattern(last=name == method.last) for name, moments in method.moments.items()}


class _Estimate(_PatternMethod):
    def __init__(self) -> None:
        self.moments: dict[str, _Moments] = {}
        self.last: str | None = None

    def linear(self, operation: Operation, inputs: Tensor) -> Tensor:
        name = operation.weight_name
        if name is None or "transpose" in operation.name:
            raise operation.refused(
                "a weight that is no parameter" if name is None else f"{operation.name}()",
                "Linear and Conv1d to 3d with plain parameters",
                "remove the parametrization" if name is None else "choose another explainer",
            )
        assert operation.weight is not None
        self.last = name
        self.moments.setdefault(name, _Moments(operation.weight)).add(operation, inputs.detach())
        result: Tensor = operation(inputs)
        return result


class _Moments:
    """Running sums over the inputs of a layer: of all of them, and of those for which each unit is active."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        self.sums: list[list[Tensor]] = []

    def add(self, operation: Operation, inputs: Tensor) -> None:
        """Add a batch of inputs."""
        weight = self.weight.clone().requires_grad_()
        with torch.enable_grad():
            signal = operation.with_weights(weight, inputs)
        # Units of a convolution lie on axis 1, those of a dense layer on the last.
        units = -1 if operation.name == "linear" else 1
        axes = [axis for axis in range(signal.ndim) if axis != units % signal.ndim]
        output = signal.detach()
        active = operation(inputs) > 0

        def weighted(values: Tensor) -> Tensor:
            """Sum over all patches of the patch times ``values``: what a weight's gradient is."""
            return torch.autograd.grad(signal, weight, values, retain_graph=True)[0].double()

        sums = []
        for chosen in (active, torch.ones_like(active)):
            share = chosen.to(output)
            totals = (share.double().sum(axes), (share * output).double().sum(axes))
            sums.append([*totals, weighted(share), weighted(share * output)])
        if self.sums:
            sums = [
                [a + b for a, b in zip(one, other, strict=True)] for one, other in zip(self.sums, sums, strict=True)
            ]
        self.sums = sums

    def pattern(self, *, last: bool) -> Tensor:
        """Return the pattern, of the weight's shape."""
        count, output, inputs, product = self.sums[last]
        shape = (-1, *[1] * (inputs.ndim - 1))
        count = count.clamp(min=1).reshape(shape)
        covariance = product / count - inputs / count * (output.reshape(shape) / count)
        variance = (self.weight * covariance).flatten(1).sum(1).reshape(shape)
        usable = variance > 1e-12
        return torch.where(usable, covariance / torch.where(usable, variance, 1.0), 0.0).to(self.weight)
