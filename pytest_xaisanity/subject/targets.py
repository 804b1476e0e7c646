"""The targets: which output of each input is explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.errors import XaiError
from .tensors import from_numpy, kind_of

__all__ = ["Sizes", "are_flags", "as_targets", "explained", "has_several", "is_multi_hot"]

Sizes = tuple[int, ...]
"""The shape of one input's output: ``(classes,)``, ``(1,)``, ``(classes, H, W)``."""


def as_targets(targets: object) -> Tensor | None:
    """Return targets as a tensor: whole numbers ``(N,)`` or ``(N, k)``, or flags ``(N, k)``; None for None.

    A matrix of booleans, or of floats that are all 0 or 1, can only be multi-hot and becomes flags. One of integers may
    also be positions, which only the model's outputs tell.

    Raises:
        XaiError: They are no targets.
    """
    if targets is None:
        return None
    tensor: Tensor | None = None
    cause: Exception | None = None
    try:
        values = targets.to_numpy() if hasattr(targets, "to_numpy") else targets  # of a table beside its inputs
        tensor = torch.as_tensor(from_numpy(values, "xai_targets")).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        cause = error
    if tensor is not None and are_flags(tensor):
        return tensor.bool()
    if tensor is None or tensor.is_floating_point() or tensor.is_complex() or tensor.ndim not in (1, 2):
        raise _no_targets(targets, tensor) from cause
    tensor = tensor.long()
    return tensor[:, 0] if tensor.ndim == 2 and tensor.shape[1] == 1 else tensor


def are_flags(targets: object) -> bool:
    """Whether these are flags ``(N, k)``, which can only be multi-hot: booleans, or floats that are all 0 or 1."""
    if not isinstance(targets, (Tensor, np.ndarray)) or targets.ndim != 2 or targets.shape[1] < 2:
        return False
    tensor = torch.as_tensor(from_numpy(targets, "xai_targets"))
    return tensor.dtype == torch.bool or (tensor.is_floating_point() and bool(((tensor == 0) | (tensor == 1)).all()))


def _no_targets(targets: object, tensor: Tensor | None) -> XaiError:
    fix = "pass labels.long(), or leave targets out of a regression: the output itself is explained"
    if tensor is not None and tensor.ndim == 0:
        fix = "repeat it for each input: torch.full((len(inputs),), target)"
    elif tensor is not None and tensor.ndim > 2:
        fix = "name one position of the output for each input, (class, row, column) of an image of classes"
    return XaiError(
        "xai_targets",
        found=f"an object of type {kind_of(targets)}"
        if tensor is None
        else f"a tensor of {tensor.dtype} and shape {tuple(tensor.shape)}",
        expected="integer class indices of shape (N,), or multi-hot labels (N, labels) of 0 and 1",
        fix=fix,
    )


def is_multi_hot(targets: Tensor | None, sizes: Sizes) -> bool:
    """Whether targets say of each output whether it is present, rather than which one is explained."""
    if targets is None or targets.ndim != 2 or len(sizes) != 1:
        return False
    if targets.dtype == torch.bool:
        return True
    return targets.shape[1] == sizes[0] and bool(((targets == 0) | (targets == 1)).all())


def has_several(targets: Tensor | None, sizes: Sizes) -> bool:
    """Whether targets are multi-hot, and not all one-hot, as the classes of a classification may be."""
    return is_multi_hot(targets, sizes) and targets is not None and bool((targets.sum(1) != 1).any())


def explained(targets: Tensor | None, outputs: Tensor | None, sizes: Sizes, *, task: str) -> Tensor | None:
    """Return which output of each input is explained: ``(b,)`` or ``(b, k)``; None for the only one.

    Args:
        targets: What :func:`as_targets` returned, of these inputs.
        outputs: The model's outputs ``(b, ...)``; needed without targets, where the highest is explained, and with
            multi-hot ones, where the highest of the labels that are present is.
        sizes: The shape of one output.
        task: What the outputs are: of labels, an input may have any number.

    Raises:
        XaiError: The targets do not fit the outputs.
    """
    if targets is None:
        assert outputs is not None
        _check_single_axis(outputs)
        return outputs.argmax(1) if outputs.shape[1] > 1 else None
    if is_multi_hot(targets, sizes):
        assert outputs is not None
        return _highest_present(targets.bool(), outputs, task)
    _check_fit(targets, sizes)
    return None if sizes == (1,) else targets


def _highest_present(present: Tensor, outputs: Tensor, task: str) -> Tensor:
    if present.shape[1] != outputs.shape[1]:
        raise XaiError(
            "xai_targets",
            found=f"multi-hot targets of {present.shape[1]} labels for outputs of shape {_batch_shape(outputs)}",
            expected=f"a flag for each of the {outputs.shape[1]} outputs",
            fix="check that labels and the model's outputs use the same numbering",
        )
    counts = present.sum(1)
    if task != "multilabel" and (counts > 1).any():
        raise XaiError(
            "xai_targets",
            found=f"{int(counts.max())} labels of one input, in a {task}, where one output of each is explained",
            expected="the index of one output for each input: targets of shape (N,)",
            fix="set xai_task to 'multilabel' (Bench(task='multilabel')) if an input may have several labels",
        )
    if (counts == 0).any():
        raise XaiError(
            "xai_targets",
            found=f"no label for {int((counts == 0).sum())} of {len(present)} inputs",
            expected="one label or more for each input, the highest of which is explained",
            fix="leave these inputs out, or leave xai_targets out to explain the highest output of each input",
        )
    return outputs.masked_fill(~present.to(outputs.device), -torch.inf).argmax(1)


def _check_single_axis(outputs: Tensor) -> None:
    if outputs.ndim != 2:
        raise XaiError(
            "xai_targets",
            found=f"no targets for outputs of shape {tuple(outputs.shape)}",
            expected="targets of shape (N, k) for a model with more than one output axis",
            fix="override the xai_targets fixture, or wrap the model so that it returns (N, classes); if it is a "
            "causal language model, set xai_task (Bench(task=)) to 'next_token'",
        )


def _check_fit(targets: Tensor, sizes: Sizes) -> None:
    depth = 1 if targets.ndim == 1 else targets.shape[1]
    if depth != len(sizes) or targets.dtype == torch.bool:
        raise XaiError(
            "xai_targets",
            found=f"targets of shape {tuple(targets.shape)} for outputs of shape {_shape(sizes)}",
            expected="one class index for each input: targets of shape (N,); or labels of 0 and 1, multi-hot: "
            f"{_shape(sizes)}"
            if len(sizes) == 1
            else f"{len(sizes)} positions for each input: whole targets of shape (N, {len(sizes)})",
            fix="give whole positions, or set xai_task (Bench(task=)) to 'next_token' for a causal language model"
            if len(sizes) > 1
            else "give class indices or multi-hot labels",
        )
    if sizes == (1,) and targets.any():
        raise XaiError(
            "xai_targets",
            found="class labels for a model with a single output",
            expected="no targets: the only output is explained",
            fix="leave xai_targets out, and stream inputs without their labels",
        )
    rows, ends = targets.cpu().reshape(len(targets), depth), torch.tensor(sizes)
    wrong = ((rows < 0) | (rows >= ends)).any(1)
    if wrong.any():
        raise XaiError(
            "xai_targets",
            found=f"target {_unlisted(rows[wrong][0])} for outputs of shape {_shape(sizes)}",
            expected=f"class indices from 0 to {sizes[0] - 1}"
            if depth == 1
            else f"positions below {sizes} that are not negative",
            fix="check that labels and the model's outputs use the same numbering",
        )


def _batch_shape(outputs: Tensor) -> str:
    return _shape(tuple(outputs.shape[1:]))


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(['N', *map(str, sizes)])})"


def _unlisted(row: Tensor) -> Any:
    return row.item() if row.numel() == 1 else tuple(row.tolist())
