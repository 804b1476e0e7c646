"""Settings with a row for each input: the rows follow their inputs, whichever of these are explained together."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...common.errors import XaiError
from ..explainer import Request
from .base import Settings

__all__ = ["PER_INPUT", "following", "following_where_told"]

PER_INPUT = ("baselines", "feature_mask", "additional_forward_args")


def following(settings: Settings, request: Request, where: str, *, shared: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings of Captum's ``attribute`` with the rows that belong to the inputs of a request.

    ``baselines`` and ``feature_mask`` with as many axes as their input, and tensors with any axis among the
    ``additional_forward_args``, have a row for each input that the user gave, in the same order, or a single one for
    all (Captum asks for the same). Arrays become tensors. What has fewer axes, or is no tensor, is left as it is.

    Args:
        settings: What the user gave.
        request: Whose inputs are explained.
        where: For errors.
        shared: Names of settings whose rows are not those of inputs, such as a distribution of baselines.

    Raises:
        XaiError: There are more or fewer rows than inputs.
    """
    chosen = dict(settings)
    for name in PER_INPUT:
        if name in settings and name not in shared:
            parts = [_tensor(part) for part in _parts(settings[name])]
            moved = [
                part if _axes(part) < _first_axis(name, place, request) else _rows(part, request, where, name)
                for place, part in enumerate(parts)
            ]
            chosen[name] = tuple(moved) if isinstance(settings[name], tuple) else moved[0]
    return chosen


def following_where_told(settings: Settings, request: Request, where: str) -> dict[str, Any]:
    """Return the settings of a function with the rows that belong to the inputs of a request.

    Its settings may mean anything, so tensors and arrays have rows of inputs only where there are as many as inputs,
    under one of the names of Captum's settings; under another name, or where a stream does not tell how many inputs
    there are, that is an error rather than a guess.

    Raises:
        XaiError: It cannot be told whether the rows are those of inputs.
    """
    chosen = dict(settings)
    for name, value in settings.items():
        named, parts = name in PER_INPUT, _parts(value)
        long = [_axes(p) >= (_first_axis(name, k, request) if named else 1) and len(p) > 1 for k, p in enumerate(parts)]
        fits = [one and len(part) == request.count for one, part in zip(long, parts, strict=True)]
        doubtful = any(long) and request.count is None if named else any(fits)
        if doubtful:
            raise _untold(f"{where} {name}", parts[(fits if any(fits) else long).index(True)], request)
        if any(fits):
            moved = [_rows(p, request, where, name) if one else p for p, one in zip(parts, fits, strict=True)]
            chosen[name] = tuple(moved) if isinstance(value, tuple) else moved[0]
    return chosen


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _axes(value: Any) -> int:
    """Return how many axes a value has that could have rows: none, if it is no tensor and no array."""
    return value.ndim if isinstance(value, (Tensor, np.ndarray)) else 0


def _first_axis(name: str, place: int, request: Request) -> int:
    """Return how many axes a setting must have for the first to be that of the inputs."""
    return 1 if name == "additional_forward_args" else request.inputs[min(place, len(request.inputs) - 1)].ndim


def _tensor(value: Any) -> Any:
    return torch.as_tensor(value) if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else value


def _rows(value: Any, request: Request, where: str, name: str) -> Any:
    """Return the rows of a request's inputs, or the single row that is for all of them."""
    given = len(value)
    if given == 1:
        return value
    known = len(request) == len(request.indices)
    most = max(request.indices, default=0) + 1 if request.count is None else request.count
    if not known or given < most or (request.count is not None and given != most):
        inputs = f"a stream of {most} inputs or more" if request.count is None else f"{most} inputs"
        raise XaiError(
            f"{where} {name}",
            found=f"{given} rows for {inputs}" if known else f"{given} rows, and inputs whose places are not known",
            expected="one row for each input of xai_inputs, in the same order, or a single one for all",
            fix=f"give {name}= a row for each input, or a first axis of 1"
            + (", or let the model hold what is no input" if name == "additional_forward_args" else ""),
        )
    chosen = list(request.indices)
    return value[torch.tensor(chosen, device=value.device)] if isinstance(value, Tensor) else value[chosen]


def _untold(where: str, value: Any, request: Request) -> XaiError:
    many = "a stream whose length is not known" if request.count is None else f"as many inputs ({request.count})"
    return XaiError(
        where,
        found=f"{len(value)} rows beside {many}, so that it cannot be told whether row i belongs to input i",
        expected=f"rows of inputs in memory under one of the names {', '.join(PER_INPUT)}, or what is for all inputs",
        fix="rename the setting if it has a row for each input; bind it with functools.partial if it is for all",
    )
