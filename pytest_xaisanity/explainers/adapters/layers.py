"""Attributions of a layer, as maps of the inputs: channels are summed, and what has no places is refused."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...common.errors import XaiError
from ..explainer import Request

__all__ = ["as_map"]

_CHANNELS_FIRST = (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d)


def as_map(result: object, request: Request, where: str, layer: object = None) -> Any:
    """Return what a layer's units are attributed, as a map of the model's single input.

    Args:
        result: A tensor of the shape of the layer's output: ``(b, C, *places)``, whose channels are summed; ``(b,
            *places, C)`` where those of the inputs are last too and their places are the same; or, where the inputs
            are tokens ``(b, T)``, ``(b, T, E)`` or ``(b, E, T)``.
        request: What was asked.
        where: For errors.
        layer: The layer, where it is known.

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
    layout = request.layout
    if result.ndim == 3 and inputs.ndim == 2:
        if request.continued and result.shape[1] == inputs.shape[1] + request.continued:
            result = result[:, : inputs.shape[1]]  # without the tokens of the continuation
        return _of_tokens(result, inputs.shape[1], channels_first=isinstance(layer, _CHANNELS_FIRST))
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


def _of_tokens(result: Tensor, count: int, *, channels_first: bool) -> Tensor:
    """Return ``(b, E, T)`` or ``(b, T, E)`` with tokens before their dimensions, which are reduced as the user says.

    Fewer tokens are not interpolated, for where they lie depends on the padding.
    """
    if result.shape[2] != count or (result.shape[1] == count and not channels_first):
        return result
    return result[:, 0] if result.shape[1] == 1 else result.transpose(1, 2)


def _error(where: str, found: str, expected: str) -> XaiError:
    return XaiError(
        f"{where} layer",
        found=found,
        expected=expected,
        fix="name such a layer with layer= (a convolution, the projection of patches), or reshape its attributions in "
        "a function (model, inputs, targets) of your own",
    )
