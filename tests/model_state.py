"""All that must be as before when a model is given back."""

from __future__ import annotations

import random
import signal
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.overrides import _get_current_function_mode_stack

HOOKS = [name for name in vars(nn.Module()) if "hook" in name]


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return everything about a model, its tensors and torch's global state, as values that compare by ``==``."""
    state: dict[str, Any] = everywhere()
    for path, module in model.named_modules(remove_duplicate=False):
        attributes = {name: id(value) for name, value in vars(module).items() if name != "training"}
        state[f"module {path}"] = (id(module), type(module), module.training, attributes)
        state[f"hooks {path}"] = {name: items(vars(module).get(name)) for name in HOOKS}
        state[f"inside {path}"] = [items(vars(module)[name]) for name in ("_parameters", "_buffers", "_modules")]
        state[f"not saved {path}"] = set(module._non_persistent_buffers_set)
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                state[f"attribute {path}.{name}"] = tensor_of(value)
    for name, tensor in (*model.named_parameters(remove_duplicate=False), *model.named_buffers()):
        state[f"tensor {name}"] = tensor_of(tensor)
        state[f"gradient {name}"] = (tensor.requires_grad, None if tensor.grad is None else tensor_of(tensor.grad))
    return state


def everywhere() -> dict[str, Any]:
    """Return torch's global state, the generators, and what else is global."""
    names = [name for name in vars(torch_modules) if name.startswith("_global_")]
    numpy = np.random.get_state()
    return {
        "hooks for all": {name: items(getattr(torch_modules, name)) for name in names},
        "function modes": [id(mode) for mode in _get_current_function_mode_stack()],
        "gradient mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "generators": (random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes()),
        "handler": signal.getsignal(signal.SIGINT),
        "warnings": [*warnings.filters],
    }


def items(value: Any) -> Any:
    return [(key, id(item)) for key, item in value.items()] if isinstance(value, dict) else value


def tensor_of(tensor: torch.Tensor) -> tuple[Any, ...]:
    plain = tensor.detach()
    place = (id(tensor), tensor.data_ptr(), tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride())
    return (*place, plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
