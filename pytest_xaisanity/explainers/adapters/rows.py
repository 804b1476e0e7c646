"""Settings with a row for each input: the rows follow their inputs, whichever of these are explained together."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from ...common.errors import XaiError
from ..explainer import Request
from .base import Settings

__all__ = ["PER_INPUT", "following", "following_where_told"]

PER_INPUT = ("baselines", "feature_mask", "additional_forward_args")
_ROWS = (Tensor, np.ndarray)


def following(settings: Settings, request: Request, where: str, *, shared: Collection[str] = ()) -> dict[str, object]:
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
                _rows(part, request, where, name)
                if isinstance(part, _ROWS) and part.ndim >= _first_axis(name, place, request)
                else part
                for place, part in enumerate(parts)
            ]
            chosen[name] = tuple(moved) if isinstance(settings[name], tuple) else moved[0]
    return without_padding(chosen, request)


def without_padding(settings: Mapping[str, object], request: Request) -> dict[str, object]:
    """Return the settings of inputs with the tokens that a request is left with, where padding was taken off."""
    chosen = dict(settings)
    if request.kept is None:
        return chosen
    kept, width = request.kept
    for name in PER_INPUT:
        if name in chosen:
            parts = [
                part[:, kept.to(part.device)]
                if isinstance(part, Tensor) and part.ndim > 1 and part.shape[1] == width
                else part
                for part in map(_tensor, _parts(chosen[name]))
            ]
            chosen[name] = tuple(parts) if isinstance(chosen[name], tuple) else parts[0]
    return chosen


def following_where_told(settings: Settings, request: Request, where: str) -> dict[str, object]:
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
        lengths = [
            len(part) if isinstance(part, _ROWS) and part.ndim >= _first_axis(name, place, request) else 0
            for place, part in enumerate(parts)
        ]
        fitting = [length for length in lengths if length > 1 and length == request.count]
        doubtful = [length for length in lengths if length > 1] if named and request.count is None else []
        if doubtful or (fitting and not named):
            raise _untold(f"{where} {name}", (doubtful or fitting)[0], request.count)
        if fitting:
            moved = [
                _rows(part, request, where, name) if isinstance(part, _ROWS) and length == request.count else part
                for part, length in zip(parts, lengths, strict=True)
            ]
            chosen[name] = tuple(moved) if isinstance(value, tuple) else moved[0]
    return without_padding(chosen, request)


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _first_axis(name: str, place: int, request: Request) -> int:
    """Return how many axes a setting must have for the first to be that of the inputs."""
    described = name in ("baselines", "feature_mask")
    return request.inputs[min(place, len(request.inputs) - 1)].ndim if described else 1


def _tensor(value: object) -> object:
    return torch.as_tensor(value) if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else value


def _rows(value: Tensor | np.ndarray, request: Request, where: str, name: str) -> object:
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


def _untold(where: str, rows: int, count: int | None) -> XaiError:
    many = "a stream whose length is not known" if count is None else f"as many inputs ({count})"
    return XaiError(
        where,
        found=f"{rows} rows beside {many}, so that it cannot be told whether row i belongs to input i",
        expected=f"rows of inputs in memory under one of the names {', '.join(PER_INPUT)}, or what is for all inputs",
        fix="rename the setting if it has a row for each input; bind it with functools.partial if it is for all",
    )
