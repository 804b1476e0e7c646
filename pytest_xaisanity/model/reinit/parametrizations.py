"""Weights that a module computes from other parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["Computed", "computed_weights", "old_style_hooks"]

# --------------------------------------------------------------------------------------------- reparametrizations

# From any start, enough power iterations for a spectral norm that is right to a few percent.
_POWER_ITERATIONS = 30


@dataclass(frozen=True)
class Computed:
    """A weight that a module computes from other parameters.

    Attributes:
        module: The module.
        name: The name of the weight, an attribute of the module.
        hook: The hook that computes it (``torch.nn.utils.weight_norm``, ``spectral_norm``), or None
            (``torch.nn.utils.parametrize``).
    """

    module: nn.Module
    name: str
    hook: WeightNorm | SpectralNorm | None = None

    def sources(self) -> dict[str, nn.Parameter]:
        """Return the parameters from which the weight is computed."""
        return {name: p for name, p in self.module.named_parameters(remove_duplicate=False) if self._is_part(name)}

    def state(self) -> dict[str, Tensor]:
        """Return the parameters and buffers from which the weight is computed."""
        buffers = {name: b for name, b in self.module.named_buffers(remove_duplicate=False) if self._is_part(name)}
        return {**self.sources(), **buffers}

    def _is_part(self, name: str) -> bool:
        if self.hook is None:
            return name.startswith(f"parametrizations.{self.name}.")
        return name in {f"{self.name}_{part}" for part in ("g", "v", "orig", "u")}

    def value(self) -> Tensor:
        """Return the weight."""
        if isinstance(self.hook, SpectralNorm):
            return self.hook.compute_weight(self.module, do_power_iteration=False).detach()
        weight: Tensor = self.hook.compute_weight(self.module) if self.hook else getattr(self.module, self.name)
        return weight.detach().clone()

    def assign(self, value: Tensor) -> None:
        """Set the sources so that the weight becomes ``value``, or what its constraint makes of it.

        Only for stand-ins: storage and buffers may be replaced.
        """
        sources = self.sources()
        if isinstance(self.hook, WeightNorm):
            sources[f"{self.name}_g"].data = torch.norm_except_dim(value, 2, self.hook.dim)
            sources[f"{self.name}_v"].data = value.clone()
        elif self.hook is not None:
            sources[f"{self.name}_orig"].data = value.clone()
        else:
            setattr(self.module, self.name, value)
        self.settle()

    def settle(self) -> None:
        """Let spectral norm find the singular vectors of new sources; with stale ones the weight would explode."""
        if isinstance(self.hook, SpectralNorm):
            for _ in range(_POWER_ITERATIONS):
                self.hook.compute_weight(self.module, do_power_iteration=True)
        elif self.hook is None:
            parts = self.module.get_submodule(f"parametrizations.{self.name}").children()
            iterated = [part for part in parts if "n_power_iterations" in vars(part)]
            for part in iterated:
                part.training = True
            for _ in range(_POWER_ITERATIONS * bool(iterated)):
                getattr(self.module, self.name)
            for part in iterated:
                part.training = False


def old_style_hooks(module: nn.Module) -> list[WeightNorm | SpectralNorm]:
    """Return the hooks by which a module computes weights before each call."""
    if isinstance(module, torch.jit.ScriptModule):
        return []
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, WeightNorm | SpectralNorm)]


def computed_weights(module: nn.Module) -> list[Computed]:
    """Return the weights that a module computes from other parameters."""
    new_style = module.get_submodule("parametrizations").named_children() if is_parametrized(module) else ()
    old_style = old_style_hooks(module)
    return [Computed(module, name) for name, _ in new_style] + [Computed(module, h.name, h) for h in old_style]
