"""Lending the user's model to a measurement, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..common.seeding import isolated

__all__ = ["evaluating", "lent"]

_COPIED_BYTES = 2**31


_FULL = "_is_full_backward_hook"
_HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs", "_always_called")))


@contextmanager
def lent(model: Any, device: torch.device, seed: int) -> Iterator[None]:
    """Run the model in evaluation mode on a device, and give it back as it was.

    Modes, hooks, buffers, ``requires_grad``, gradients and device are restored however the block ends, and so are the
    global random number generators. Inside the block gradients can be taken, whatever the caller's own mode.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if not isinstance(model, nn.Module):
            stack.enter_context(isolated(seed, "guarded"))
            yield
            return
        stack.callback(_restore_modules, [(m, m.training, _hooks_of(m)) for m in model.modules()])
        stack.enter_context(_weights_kept(model))
        stack.callback(_restore_parameters, [(p, p.requires_grad, p.grad, _copy(p.grad)) for p in model.parameters()])
        stack.callback(_restore_buffers, _buffers_of(model))
        homes = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
        if len(homes) == 1 and (home := homes.pop()) != device:
            stack.callback(_move, model, home)
            _move(model, device)
        stack.enter_context(isolated(seed, "guarded"))  # now that the device is in use
        evaluating(model)
        yield


@contextmanager
def _weights_kept(model: nn.Module) -> Iterator[None]:
    """Put back weights that something other than an intervention changed, and say so: the scores are worth nothing."""
    saved = [(name, parameter, parameter.detach().clone()) for name, parameter in _copied(model)]
    changed: list[str] = []
    try:
        yield
    finally:
        for name, parameter, values in saved:
            alike = parameter.dtype == values.dtype and parameter.shape == values.shape
            if alike and _same(parameter, values):
                continue
            changed.append(name)
            if alike:
                parameter.data.copy_(values)
            else:
                parameter.data = values.clone()
    if changed:
        raise XaiError(
            "xai_model",
            found=f"weights that the explainer or the model itself changed ({', '.join(changed[:3])})",
            expected="an explainer that leaves the weights alone; they have been restored",
            fix="let the explainer work on a copy of the model (copy.deepcopy)",
        )


def _copied(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that a copy is kept of: none of very large models, whose copy might not fit."""
    parameters = [(name, p) for name, p in model.named_parameters() if p.layout == torch.strided]
    size = sum(p.numel() * p.element_size() for _, p in parameters)
    return parameters if size <= _COPIED_BYTES else []


def evaluating(model: Any) -> None:
    """Put every submodule into evaluation mode, without calling what a model makes of ``eval()``."""
    for module in model.modules() if isinstance(model, nn.Module) else ():
        if module.training:
            module.training = False


def _move(model: nn.Module, device: torch.device) -> None:
    try:
        model.to(device)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise XaiError(
            "--xai-device",
            found=f"a model that cannot be moved to {device} ({error})",
            expected="a device the model can reach",
            fix="choose --xai-device=cpu",
        ) from error


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _hooks_of(module: nn.Module) -> dict[str, Any]:
    """Return copies of a module's hooks, and whether its backward hooks are full ones."""
    hooks = {name: module.__dict__[name].copy() for name in _HOOKS if module.__dict__.get(name) is not None}
    return hooks | {_FULL: module.__dict__.get(_FULL)}


def _restore_modules(saved: list[tuple[nn.Module, bool, dict[str, Any]]]) -> None:
    for module, training, hooks in saved:
        module.training = training
        module.__dict__[_FULL] = hooks.pop(_FULL)
        for name, before in hooks.items():
            now = module.__dict__[name]
            if now != before or list(now) != list(before):
                now.clear()
                now.update(before)


def _restore_parameters(saved: list[tuple[nn.Parameter, bool, Tensor | None, Tensor | None]]) -> None:
    for parameter, requires_grad, grad, values in saved:
        if parameter.requires_grad != requires_grad:
            parameter.requires_grad_(requires_grad)
        parameter.grad = grad
        if grad is not None and values is not None and not _same(grad, values):
            grad.data.copy_(values)


def _buffers_of(model: nn.Module) -> list[tuple[nn.Module, str, Tensor, Tensor]]:
    return [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]


def _restore_buffers(saved: list[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
    for module, name, buffer, values in saved:
        if isinstance(module._buffers, dict) and module._buffers.get(name) is not buffer:  # a ScriptModule has no dict
            module._buffers[name] = buffer  # moving a module to a device puts new tensors in the place of its buffers
        if not _same(buffer, values):
            buffer.data.copy_(values)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and torch.equal(a, b)
