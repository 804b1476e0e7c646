"""The tensors that users give: arrays become tensors, and those whose values cannot be read row by row are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.errors import XaiError

__all__ = ["from_numpy", "kind_of", "readable"]


def kind_of(value: object) -> str:
    """Return the name of a value's type."""
    return type(value).__name__


def from_numpy(value: object, where: str = "xai_inputs") -> Any:
    """Return an array, or a tuple with arrays, as tensors; anything else as it is.

    Raises:
        XaiError: An array holds no numbers that torch knows, or masked ones; a tensor is not :func:`readable`.
    """
    if isinstance(value, tuple):
        return tuple(from_numpy(part, where) for part in value)
    if isinstance(value, Tensor):
        return readable(value, where)
    if not isinstance(value, np.ndarray):
        return value
    array = _unmasked(value, where)
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        numbers = "convert it with astype('float32'), or labels with astype('int64')"
        raise XaiError(
            where,
            found=f"an array of {array.dtype}",
            expected="numbers that torch knows",
            fix=numbers if array.dtype.kind in "fO" else "encode what it holds as numbers: labels as 0, 1, ...",
        ) from error


def _unmasked(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return the values of an array in which nothing is masked."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    hidden = int(np.ma.getmaskarray(array).sum())
    if hidden:
        raise XaiError(
            where,
            found=f"a masked array with {hidden} masked value{'s' if hidden > 1 else ''}",
            expected="an array in which every value counts",
            fix="fill what is masked: array.filled(0.0)",
        )
    return np.asarray(array.data)


def readable(tensor: Tensor, where: str) -> Tensor:
    """Return a tensor whose rows can be read; pending conjugations and negations are done.

    Raises:
        XaiError: It is nested, meta, quantized, sparse or has floating-point numbers of 8 bits.
    """
    unfit = _unfit(tensor)
    if unfit is not None:
        found, fix = unfit
        raise XaiError(where, found=found, expected="dense tensors, with a value at each place", fix=fix)
    return tensor.resolve_conj().resolve_neg() if tensor.is_conj() or tensor.is_neg() else tensor


def _unfit(tensor: Tensor) -> tuple[str, str] | None:
    """Return what is wrong with a tensor, and what to do about it, or None."""
    if tensor.is_nested:
        return "a nested tensor", "pad its rows to one length: torch.nested.to_padded_tensor(tensor, 0.0)"
    if tensor.is_meta:
        return "a meta tensor, which has a shape and no values", "make it on a device that holds values: device='cpu'"
    if tensor.is_quantized:
        return f"a quantized tensor of {tensor.dtype}", "give its values: tensor.dequantize()"
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return f"a tensor of {tensor.dtype}, in which nothing can be computed", "convert it: tensor.float()"
    if tensor.layout is not torch.strided:
        return f"a sparse tensor of layout {tensor.layout}", "fill it up: tensor.to_dense()"
    return None
