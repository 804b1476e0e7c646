"""Attributions of a layer, as maps of the inputs: channels are summed, and what has no places is refused."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...common.errors import XaiError
from ..explainer import Request

__all__ = ["as_map"]


def as_map(result: object, request: Request, where: str) -> Any:
    """Return what a layer's units are attributed, as a map of the model's single input.

    Args:
        result: A tensor of the shape of the layer's output: ``(b, C, *places)``, whose channels are summed; ``(b,
            *places, C)`` where those of the inputs are last too and their places are the same; or ``(b, T, E)`` of a
            layer of tokens, which stays as it is where the inputs are tokens ``(b, T)``.
        request: What was asked.
        where: For errors.

    Raises:
        XaiError: The layer returns several tensors, or tokens where the inputs have rows and columns.
    """
    if isinstance(result, (tuple, list)):
        if len(result) != 1:
            raise _error(where, f"a layer that returns {len(result)} tensors", "a layer that returns one tensor")
        result = result[0]
    if not isinstance(result, Tensor) or len(request.inputs) > 1:
        return result
    inputs = request.inputs[0]
    if result.ndim == 3 and inputs.ndim == 2 and result.shape[1] == inputs.shape[1]:
        return result  # which is reduced as the user says
    layout = request.layout
    if layout.axis > 1 and result.shape[1:-1] == layout.places:
        return result.sum(-1)
    if result.ndim == 3 and inputs.ndim > 3:
        shape = ("N", *result.shape[1:])
        raise _error(
            where,
            f"attributions {shape} of a layer of tokens, whose last axis is one of channels, not of places".replace(
                "'N'", "N"
            ),
            "a layer whose output has rows and columns, (N, C, h, w)",
        )
    return result.sum(1, keepdim=True) if result.ndim > 2 and result.ndim == inputs.ndim else result


def _error(where: str, found: str, expected: str) -> XaiError:
    return XaiError(
        f"{where} layer",
        found=found,
        expected=expected,
        fix="name such a layer with layer= (a convolution, the projection of patches), or reshape its attributions in "
        "a function (model, inputs, targets) of your own",
    )
