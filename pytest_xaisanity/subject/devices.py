"""Where the model is measured, and in which precision."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from ..common.errors import XaiError, said, shown

__all__ = ["chosen_device", "floating_dtype"]


def floating_dtype(model: object) -> torch.dtype | None:
    """Return the floating-point type of the model's weights, if they have one in common."""
    if not isinstance(model, nn.Module):
        return None
    tensors: list[Tensor] = [*model.parameters()] or [*model.buffers()]
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def chosen_device(device: str | torch.device, model: object) -> torch.device:
    """Return the device that a setting names, or the one that fits the model for ``"auto"``."""
    if str(device) == "auto":
        return _automatic_device(model)
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise XaiError(
            "--xai-device",
            found=f"{shown(str(device))}, which cannot be used here{said(error)}",
            expected="auto, cpu, cuda, cuda:<number> or mps, on a machine that has it",
            fix="choose --xai-device=auto or cpu",
        ) from error
    if chosen.type == "cuda" and chosen.index is None:
        return _cuda_device()
    return chosen


def _automatic_device(model: object) -> torch.device:
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    homes = {tensor.device for tensor in tensors}
    if len(homes) > 1 or (homes and next(iter(homes)).type != "cpu"):
        return next(iter(parameter.device for parameter in tensors))  # a model that has chosen its place stays there
    if not homes or _quantized(model):
        return torch.device("cpu")
    if torch.cuda.is_available():
        return _cuda_device()
    if torch.backends.mps.is_available() and all(tensor.dtype != torch.float64 for tensor in tensors):
        return torch.device("mps")
    return torch.device("cpu")


def _quantized(model: object) -> bool:
    """Whether a model has layers of packed integer weights, whose kernels are those of a processor."""
    parts = model.modules() if isinstance(model, nn.Module) else ()
    return any(".nn.quantized." in f"{type(part).__module__}." for part in parts)


def _cuda_device() -> torch.device:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return torch.device("cuda", int(worker) % torch.cuda.device_count() if worker.isdigit() else 0)
