"""Drawing new weights on stand-ins.

They are copies of the modules on the CPU, on which a module's own ``reset_parameters`` may run without touching the
model, its version counters or the objects it holds, and with the same result on every device.
"""

from __future__ import annotations

import cmath
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ...common.errors import XaiError
from ...common.seeding import generator, isolated
from ..inventory import Inventory
from ..layers import Layer
from .distributions import Distribution, Own
from .parametrizations import Computed, computed_weights

__all__ = ["Draw", "Write", "all_finite", "not_finite"]

Write: TypeAlias = tuple[str, Tensor, Tensor]  # name, tensor of the model, new values


def not_finite(name: str, distribution: Distribution) -> XaiError:
    """Return the error for new weights that are not finite."""
    return XaiError(
        "xai_model",
        found=f"{name!r} with values that are not finite once re-initialized from {distribution}",
        expected="finite weights",
        fix="look for NaN or infinite weights in the model, and at the module's reset_parameters()",
    )


# -------------------------------------------------------------------------------------------------------- drawing

_FALLBACK = Own()
_AFFINE = {"weight": 1.0, "scale": 1.0, "gamma": 1.0, "g": 1.0, "bias": 0.0, "shift": 0.0, "beta": 0.0, "b": 0.0}
_ATOMS = (bool, int, float, str, type(None))  # most of what a module holds
_STATISTICS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0}


@dataclass(frozen=True)
class Draw:
    """The new numbers of one layer for one seed.

    Attributes:
        original: Maps a tensor of the model to the values it had when nothing was randomized.
    """

    inventory: Inventory
    layer: Layer
    distribution: Distribution
    seed: int
    original: Callable[[Tensor], Tensor]

    def writes(self) -> list[Write]:
        """Return all that the layer alters."""
        with isolated(self.seed, "reinit", self.layer.name), torch.no_grad(), _on_the_cpu():
            new = self._weights(self.distribution, own_reset=self.distribution.own_reset)
            if not self._changes(new):
                new = self._weights(_FALLBACK, own_reset=False)
            for path in self.layer.norms:
                new |= self._norm(path)
        tensors = self.inventory.parameters | self.inventory.buffers
        return [(name, tensors[name], value) for name, value in new.items()]

    def _changes(self, new: Mapping[str, Tensor]) -> bool:
        return any(not torch.equal(self._seen(self.inventory.parameters[n]), new[n]) for n in self.layer.parameters)

    def _weights(self, distribution: Distribution, *, own_reset: bool) -> dict[str, Tensor]:
        """Return the new parameters, and the buffers that go with them, by name."""
        new: dict[str, Tensor] = {}
        paths = dict.fromkeys(self.inventory.holder(name) for name in self.layer.parameters)
        for path in sorted(paths, key=lambda path: -len(path.split(".")) if path else 0):  # the innermost first
            new |= self._held(path, distribution, own_reset=own_reset)
        for path in dict.fromkeys(self.inventory.holder(name) for name in self.layer.tied):
            if path not in paths and computed_weights(self.inventory.modules[path]):
                new |= self._followed(path, new)
        return new

    def _followed(self, path: str, new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers of a module that computes a weight from a parameter tied to one of ``new``."""
        values = {id(self.inventory.parameters[n]): new[c] for n, c in self.inventory.canonical.items() if c in new}
        module = self.inventory.modules[path]
        twin = _stand_in(module, lambda t: values[id(t)].clone() if id(t) in values else self._copied(t))
        for weight in computed_weights(twin):
            weight.settle()
        buffers = {_join(path, local): buffer for local, buffer in twin.named_buffers(remove_duplicate=False)}
        return {name: buffer for name, buffer in buffers.items() if name in self.inventory.buffers}

    def _held(self, path: str, distribution: Distribution, *, own_reset: bool) -> dict[str, Tensor]:
        """Return the new values of the parameters that the module at ``path`` uses as its own."""
        module = self.inventory.modules[path]
        computed = computed_weights(_stand_in(module, self._copied)) if computed_weights(module) else []
        reset = self._own_reset(module, {weight.name: weight.value() for weight in computed}) if own_reset else {}
        sources = {_join(path, local) for weight in computed for local in weight.sources()}
        new: dict[str, Tensor] = {}
        for name in self.layer.parameters:
            known = reset.get(name.removeprefix(f"{path}.")) if _is_below(path, name) else None
            if self.inventory.holder(name) == path and name not in sources:
                new[name] = self._fill(name, self._seen(self.inventory.parameters[name]), known, distribution)
            elif known is not None and name not in sources and not bool(known.isnan().any()):
                new[name] = known  # attention resets the bias of its output projection too
        for weight in computed:
            if any(_join(path, local) in self.layer.parameters for local in weight.sources()):
                new |= self._recomputed(path, weight, reset.get(weight.name), distribution)
        return new

    def _recomputed(
        self, path: str, weight: Computed, reset: Tensor | None, distribution: Distribution
    ) -> dict[str, Tensor]:
        """Return the parameters and buffers from which the module computes a new ``weight``."""
        before = weight.value()
        olds = {local: source.detach().clone() for local, source in weight.sources().items()}
        inner = {local for local in olds if local.startswith("parametrizations.") and ".original" not in local}
        self._renew(path, weight, {local: olds[local] for local in inner}, distribution)
        try:
            weight.assign(self._fill(_join(path, weight.name), before, reset, distribution))
            after = weight.value()
            assigned = not torch.equal(after, before) and bool(after.isfinite().all())
        except Exception as error:  # a parametrization may refuse a value for reasons of its own
            _raise_out_of_memory(error)
            assigned = False
        if not assigned:
            self._renew(path, weight, {local: old for local, old in olds.items() if local not in inner}, distribution)
        weight.settle()
        mine = self.inventory.buffers.keys() | set(self.layer.parameters)
        state = {_join(path, local): tensor.detach() for local, tensor in weight.state().items()}
        return {name: tensor for name, tensor in state.items() if name in mine}

    def _renew(self, path: str, weight: Computed, olds: Mapping[str, Tensor], distribution: Distribution) -> None:
        """Give sources of ``weight`` new values in place of the old ones, from the distribution alone."""
        sources = weight.sources()
        for local, old in olds.items():
            if old.is_floating_point() or old.is_complex():
                sources[local].data = self._fill(_join(path, local), old, None, distribution)

    def _fill(self, name: str, old: Tensor, reset: Tensor | None, distribution: Distribution) -> Tensor:
        """Return ``reset``, in the dtype of ``old``, with new values for the entries that it leaves NaN."""
        if reset is not None and reset.shape == old.shape and all_finite(reset):
            return reset.to(old.dtype)
        if reset is None or reset.shape != old.shape:
            unset, new = torch.ones(old.shape, dtype=torch.bool), old.clone()
        else:
            unset = reset.isnan()
            new = torch.where(unset, old, reset.to(old.dtype))
        padding = self._padding(name)
        if padding is not None:
            unset[padding] = False
        if bool(unset.any()):
            rng = generator(self.seed, "reinit", self.layer.name, name)
            whole = bool(unset.all())
            entries = (old.clone().flatten() if whole else old[unset]).to(_precision(old.dtype))
            drawn = distribution.new_values(entries, rng)
            if old.is_floating_point():
                limits = torch.finfo(old.dtype)
                drawn = drawn.clamp(limits.min, limits.max)
            if whole:
                return drawn.to(old.dtype).reshape(old.shape)
            new[unset] = drawn.to(old.dtype)
        return new

    def _padding(self, name: str) -> int | None:
        """Return the row of an embedding that stands for padding, which no distribution changes."""
        path, _, local = name.rpartition(".")
        module = self.inventory.modules.get(path)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and local == "weight":
            return module.padding_idx
        return None

    def _own_reset(self, module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the module's own reset method sets, by local name; NaN is what it does not set.

        Every parameter of the stand-in is NaN when the method is called. If it raises, what it set before counts.
        ``weights`` are those that the module computes from other parameters.
        """
        # Looked up on the class: a method stored on the instance would be bound to the model itself.
        kind = type_before_parametrizations(module)
        reset = getattr(kind, "reset_parameters", None) or getattr(kind, "_reset_parameters", None)
        if reset is None or isinstance(module, torch.jit.ScriptModule):
            return {}
        twin = _stand_in(module, self._poisoned)
        _make_plain(twin, kind, weights)
        try:
            reset(twin)
        except Exception as error:  # a user's method, on a stand-in: what it left unset gets new values
            _raise_out_of_memory(error)
        return {name: p.detach().cpu() for name, p in twin.named_parameters(remove_duplicate=False)}

    def _norm(self, path: str) -> dict[str, Tensor]:
        """Return the new parameters and buffers of a normalization module."""
        module = self.inventory.modules[path]
        reset = self._own_reset(module, {}) if self.distribution.resets_norms else {}
        new: dict[str, Tensor] = {}
        for local, parameter in module.named_parameters():
            name = _join(path, local)
            if name in self.layer.norm_parameters:
                new[name] = self._affine(name, parameter, reset.get(local))
        for local, buffer in module.named_buffers(recurse=False):
            if local in _STATISTICS:
                new[_join(path, local)] = torch.full(buffer.shape, _STATISTICS[local], dtype=buffer.dtype)
            elif local in _AFFINE and buffer.is_floating_point():  # frozen batch normalization
                new[_join(path, local)] = self._affine(_join(path, local), buffer, None)
        return new

    def _affine(self, name: str, tensor: Tensor, reset: Tensor | None) -> Tensor:
        """Return the new scale or shift of a normalization module."""
        constant = _AFFINE.get(name.rpartition(".")[2])
        if self.distribution.resets_norms and (reset is None or bool(reset.isnan().any())) and constant is not None:
            reset = torch.full(tensor.shape, constant)
        return self._fill(name, self._seen(tensor), reset, self.distribution)

    def _seen(self, tensor: Tensor) -> Tensor:
        """Return, on the CPU and to be read only, what ``tensor`` was when nothing was randomized."""
        return self.original(tensor).detach().cpu()

    def _copied(self, tensor: Tensor) -> Tensor:
        """Return a copy, on the CPU, of what ``tensor`` was when nothing was randomized."""
        return self.original(tensor).detach().to("cpu", copy=True)

    def _poisoned(self, tensor: Tensor) -> Tensor:
        """Return NaN in place of a parameter, and a copy of any other tensor."""
        if isinstance(tensor, nn.Parameter) and (tensor.is_floating_point() or tensor.is_complex()):
            return torch.full(tensor.shape, math.nan, dtype=tensor.dtype)
        return self._copied(tensor)


def _on_the_cpu() -> AbstractContextManager[object]:
    """Return a context in which new tensors are on the CPU; where they are anyway, one that costs nothing."""
    on_cpu = torch.get_default_device().type == "cpu"
    context: AbstractContextManager[object] = nullcontext() if on_cpu else torch.device("cpu")
    return context


def all_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite. A sum tells many times as fast, unless it overflows."""
    return cmath.isfinite(values.sum().item()) or bool(values.isfinite().all())


def _precision(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which numbers for a parameter of ``dtype`` are drawn."""
    if dtype.is_complex:
        return torch.complex128 if dtype is torch.complex128 else torch.complex64
    return torch.float64 if dtype is torch.float64 else torch.float32


def _join(path: str, local: str) -> str:
    return f"{path}.{local}" if path else local


def _is_below(path: str, name: str) -> bool:
    return not path or name.startswith(f"{path}.")


def _raise_out_of_memory(error: Exception) -> None:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        raise error


# ------------------------------------------------------------------------------------------------------ stand-ins


def _stand_in(module: nn.Module, tensor_of: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a copy of ``module`` and what it holds, with ``tensor_of(tensor)`` in place of each tensor.

    Unlike ``copy.deepcopy``, it shares what is neither module, tensor nor plain container, so that modules which hold
    locks, files or other things that cannot be copied are no trouble.
    """
    memo: dict[int, object] = {}

    def copied(value: object) -> object:
        if type(value) in _ATOMS:
            return value
        if id(value) in memo:
            return memo[id(value)]
        made: object
        if isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
            twin = memo[id(value)] = object.__new__(type(value))
            twin.__dict__.update({name: copied(item) for name, item in vars(value).items()})
            twin.__dict__["training"] = False  # spectral norm would move on at each look in training mode
            return twin
        if isinstance(value, Tensor):
            new = tensor_of(value)
            made = nn.Parameter(new, requires_grad=False) if isinstance(value, nn.Parameter) else new
        elif isinstance(value, dict) and type(value) in (dict, OrderedDict):
            made = type(value)((key, copied(item)) for key, item in value.items())
        elif isinstance(value, list | tuple) and type(value) in (list, tuple):
            made = type(value)(copied(item) for item in value)
        else:
            return value
        memo[id(value)] = made
        return made

    twin = copied(module)
    assert isinstance(twin, nn.Module)
    return twin


def _make_plain(twin: nn.Module, kind: type, weights: Mapping[str, Tensor]) -> None:
    """Turn ``weights``, which a stand-in computes, into parameters of NaN, so that a reset method can set them."""
    if not weights:
        return
    twin.__class__ = kind
    twin._modules.pop("parametrizations", None)
    for name, value in weights.items():
        vars(twin).pop(name, None)
        twin.register_parameter(name, nn.Parameter(torch.full_like(value, math.nan), requires_grad=False))
