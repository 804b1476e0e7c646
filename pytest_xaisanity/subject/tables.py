"""Tables: inputs ``(N, F)`` whose features have names, also data frames, and what is missing in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.errors import XaiError

__all__ = ["check_features", "columns_of", "from_frame", "not_finite"]

_SHOWN = 5  # columns that an error names


def columns_of(inputs: object) -> tuple[str, ...]:
    """Return the names of a data frame's columns, or nothing for anything else."""
    return tuple(map(str, inputs.columns)) if _is_frame(inputs) else ()  # type: ignore[attr-defined]


def from_frame(inputs: Any) -> Any:
    """Return a data frame of numbers as a tensor ``(N, F)``; anything else as it is.

    Whatever has ``columns`` and ``to_numpy`` is taken for one, so that no library is imported for it.

    Raises:
        XaiError: A column holds no numbers.
    """
    if not _is_frame(inputs):
        return inputs
    repeated = sorted({str(name) for name in inputs.columns if [*inputs.columns].count(name) > 1})
    if repeated:
        raise XaiError(
            "xai_inputs",
            found=f"a data frame with several columns of the name {repeated[0]!r}",
            expected="columns of different names",
            fix="rename them, or give the values alone: frame.to_numpy()",
        )
    found = [_numbers(inputs[name]) for name in inputs.columns]
    text = [repr(str(name)) for name, column in zip(inputs.columns, found, strict=True) if column is None]
    if text or not found:
        raise XaiError(
            "xai_inputs",
            found=f"a data frame with {_few(text, 'column')} of no numbers"
            if text
            else "a data frame without a column",
            expected="columns of numbers",
            fix="encode categories as one-hot columns, as pandas.get_dummies(frame, dtype=float) does, and move them "
            "together with groups=",
        )
    stacked = np.stack([column for column in found if column is not None], axis=1)
    return torch.from_numpy(stacked.astype(np.float32 if _fits(stacked) else np.float64))


def _is_frame(value: object) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and not isinstance(value, (Tensor, np.ndarray))


def _numbers(column: Any) -> NDArray[np.float64] | None:
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    try:  # numbers of a type that has a value for what is missing
        numbers = column.to_numpy(dtype="float64", na_value=np.nan) if array.dtype.kind == "O" else None
    except (AttributeError, TypeError, ValueError):
        return None
    return None if numbers is None or any(isinstance(one, str) for one in array) else np.asarray(numbers)


def _fits(values: NDArray[np.float64]) -> bool:
    """Whether single precision holds the values."""
    known = values[np.isfinite(values)]
    return bool((np.abs(known) <= np.finfo(np.float32).max).all())


def check_features(features: object, given: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the features: those that were named, or the columns of the inputs.

    Raises:
        XaiError: They are no names, or some are the same.
    """
    if features is None:
        return tuple(given)
    listed = [] if isinstance(features, str) or not hasattr(features, "__iter__") else [*features]
    if not listed or not all(isinstance(one, str) for one in listed) or len(set(listed)) < len(listed):
        raise XaiError(
            "xai_features",
            found=repr(features) if len(repr(features)) < 100 else f"a {type(features).__name__} of {len(listed)}",
            expected="a list of different names, one for each column of the inputs",
            fix="set xai_features (Bench(features=)) to the names of the columns, in order",
        )
    return tuple(listed)


def not_finite(values: Tensor, features: Sequence[str]) -> XaiError:
    """Return the error for inputs with values that are NaN or infinite; those of a table are told by column."""
    broken = ~torch.isfinite(values)
    count = int(broken.sum())
    if values.ndim != 2:
        return XaiError(
            "xai_inputs",
            found=f"{count} values that are NaN or infinite",
            expected="finite inputs",
            fix="clean or impute the inputs before they are explained",
        )
    missing = broken.sum(0).tolist()
    named = features if len(features) == len(missing) else tuple(map(str, range(len(missing))))
    told = [
        f"{name!r} ({times})" if features else f"{name} ({times})"
        for name, times in zip(named, missing, strict=True)
        if times
    ]
    return XaiError(
        "xai_inputs",
        found=f"{count} values that are NaN or infinite, in {_few(told, 'column')}",
        expected="finite inputs, without missing values",
        fix="impute these columns before they are explained, as in training, or drop the rows",
    )


def _few(names: Sequence[str], noun: str) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names[:_SHOWN])}{more}"
