"""Tensors in files: ``.npy``, ``.safetensors``, ``.pt`` and ``.pth``. Nothing that a file holds is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.endings import TENSORS
from ..common.errors import XaiError, said

__all__ = ["read_file", "tensor_of_file"]


def tensor_of_file(file: Path, *, where: str) -> Tensor:
    """Return the one tensor or array that a file holds.

    Args:
        file: The file.
        where: The option or argument that named it, for errors.

    Raises:
        XaiError: There is no such file, it cannot be read, or it holds none or several.
    """
    found = read_file(file, where=where)
    values = [*found.values()] if isinstance(found, dict) else [found]
    if len(values) != 1 or not isinstance(values[0], Tensor):
        held = f"{len(values)} entries" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise XaiError(
            where,
            found=f"{held} in {file.name!r}",
            expected="one tensor or array",
            fix="write it alone: numpy.save(file, array), or safetensors.torch.save_file({'maps': tensor}, file)",
        )
    return values[0]


def read_file(file: Path, *, where: str) -> Any:
    """Return what a file holds: a tensor, or a mapping of names to tensors, such as the weights of a network.

    Raises:
        XaiError: There is no such file, or it cannot be read.
    """
    if not file.is_file() or file.suffix not in TENSORS:
        raise XaiError(
            where,
            found=f"{str(file)!r}" + ("" if file.is_file() else ", which is no file"),
            expected=f"a file that ends in {', '.join(TENSORS)}",
            fix="check the path" if not file.is_file() else "save it in one of these formats",
        )
    try:
        return _read(file)
    except Exception as error:  # whatever the format's library raises at a broken file
        raise XaiError(
            where,
            found=f"{str(file)!r}, which cannot be read ({type(error).__name__}{said(error)})",
            expected="tensors or arrays of numbers, without pickled objects",
            fix="save it again: numpy.save, torch.save of a tensor or a state_dict, or safetensors.torch.save_file",
        ) from error


def _read(file: Path) -> Any:
    if file.suffix == ".npy":
        return torch.as_tensor(np.load(file, allow_pickle=False))
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)
