"""Drawing new weights, in place and reversibly.

New weights are drawn on stand-ins: copies of the modules on the CPU, on which a module's own ``reset_parameters`` may
run without touching the model, its version counters or the objects it holds, and with the same result on every
device. Only the finished numbers are written into the model's own tensors, which are backed up first.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeAlias

import torch
from torch import Tensor, nn

from ...common.errors import XaiError
from ...common.undoing import until_done
from ..inventory import Inventory
from ..layers import Layer
from ..rewriting import Rewriting
from .distributions import REINITS, Distribution
from .drawing import Draw, Write, all_finite, not_finite
from .parametrizations import Computed, old_style_hooks

__all__ = ["Kept", "Randomizer"]

Kept: TypeAlias = dict[tuple[int, str], dict[str, Tensor]]  # by seed and layer, the new values by name


class Randomizer:
    """Randomizes layers of a model in place; the model is as before, bit for bit, when the block ends.

    Storage, ``Parameter`` objects, version counters, gradients, ``requires_grad``, modes, hooks and the global random
    generators are never touched, so that closures and explainers bound to the model follow. Only what is altered is
    backed up, once, on its own device.

    The new weights of a layer depend on the seed, the layer's name and the original weights alone, not on what was
    randomized before, nor on the device.

    Args:
        model: The model to randomize.
        layers: Its layers, all or some, from :func:`~pytest_xaisanity.model.layers.find_layers`.
        distribution: What new weights are drawn from, or its name.
        seed: What :meth:`randomize` uses by default.
        kept: Where drawn weights are kept for the next randomizer of the same weights with the same distribution;
            None keeps
            none.

    Raises:
        XaiError: If the distribution is unknown, or a layer is not one of the model's.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[Layer],
        distribution: Distribution | str = "own",
        seed: int = 0,
        *,
        kept: Kept | None = None,
    ) -> None:
        self.distribution: Distribution = REINITS.build(distribution, {}, where="reinit")
        self.seed = seed
        self._kept = kept
        self._inventory = Inventory(model)
        self._rewriting = Rewriting()
        for layer in layers:
            self._require_known(layer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()
        self._rewriting = Rewriting()

    def randomize(self, layer: Layer, seed: int | None = None) -> None:
        """Give ``layer`` new weights, and reset the normalization that goes with it.

        Args:
            layer: The layer; the others stay as they are.
            seed: The seed of this randomization; the randomizer's own by default.

        Raises:
            XaiError: If the layer is not one of the model's, or its new weights would not be finite.
        """
        self._require_known(layer)
        writes = self._writes(layer, self.seed if seed is None else seed)
        for _, tensor, _ in writes:
            self._rewriting.keep(tensor)
        for _, tensor, value in writes:
            self._rewriting.write(tensor, value)
        self._refresh(layer)
        torch.clear_autocast_cache()

    def _writes(self, layer: Layer, seed: int) -> list[Write]:
        kept = None if self._kept is None else self._kept.get((seed, layer.name))
        if kept is not None:
            tensors = self._inventory.parameters | self._inventory.buffers
            return [(name, tensors[name], value) for name, value in kept.items()]
        writes = Draw(self._inventory, layer, self.distribution, seed, self._rewriting.original).writes()
        for name, _, value in writes:
            if value.is_floating_point() and not all_finite(value):
                raise not_finite(name, self.distribution)
        if self._kept is not None:
            self._kept[seed, layer.name] = {name: value for name, _, value in writes}
        return writes

    def restore(self) -> None:
        """Put every original weight back; more layers may be randomized afterwards.

        A ``KeyboardInterrupt`` that arrives meanwhile is raised when everything is back.
        """
        until_done(self._rewriting.restore)

    def _refresh(self, layer: Layer) -> None:
        """Recompute the weights that old-style reparametrizations keep as plain attributes."""
        for path in dict.fromkeys(self._inventory.holder(name) for name in (*layer.parameters, *layer.tied)):
            module = self._inventory.modules[path]
            for hook in old_style_hooks(module):
                with torch.no_grad():
                    self._rewriting.assign(module, hook.name, Computed(module, hook.name, hook).value())

    def _require_known(self, layer: Layer) -> None:
        known = self._inventory.parameters.keys() >= {*layer.parameters, *layer.norm_parameters}
        if not known or not self._inventory.modules.keys() >= set(layer.norms):
            raise XaiError(
                "layers",
                found=f"layer {layer.name!r}, whose parameters the model does not have",
                expected="a layer that find_layers(...) returned for this model",
                fix="call find_layers(...) again on the model that is to be randomized",
            )
