"""Other weights for a while: written into the model, and taken back whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..common.undoing import undone
from .reinit.parametrizations import old_style_hooks
from .snapshot import Kept

__all__ = ["Rewriting", "rewritten"]


class Rewriting:
    """Writes values into tensors and attributes of modules, in place, and takes them back.

    Storage, objects, version counters, gradients and modes are never touched, so that whatever is bound to the model
    follows. Only what is written to is kept, once, on its own device.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}
        self._written: set[int] = set()
        self._attributes: dict[tuple[int, str], tuple[nn.Module, str, object]] = {}

    def original(self, tensor: Tensor) -> Tensor:
        """Return the values, not to be written to, that a tensor had before anything was written."""
        return self._kept[id(tensor)].values if id(tensor) in self._kept else tensor.detach()

    def keep(self, tensor: Tensor) -> None:
        """Keep what a tensor holds, if nothing is kept of it yet."""
        if id(tensor) not in self._kept:
            self._kept[id(tensor)] = Kept(tensor)

    def write(self, tensor: Tensor, values: Tensor) -> None:
        """Let a tensor hold ``values``, of its shape."""
        self.keep(tensor)
        self._written.add(id(tensor))
        tensor.data.copy_(values)

    def assign(self, module: nn.Module, name: str, value: object) -> None:
        """Let a module's attribute be ``value``."""
        attributes = vars(module)
        self._attributes.setdefault((id(module), name), (module, name, attributes[name]))
        attributes[name] = value

    def restore(self) -> None:
        """Take back what was written. What was kept stays kept; more may be written afterwards."""
        # The last kept comes first: right even for tensors that overlap in memory.
        for key in reversed(self._kept):
            if key in self._written:
                self._kept[key].put_back()
        for module, name, value in self._attributes.values():
            vars(module)[name] = value
        torch.clear_autocast_cache()
        self._written.clear()

    @property
    def kept(self) -> int:
        """Of how many tensors the values are kept."""
        return len(self._kept)


@contextmanager
def rewritten(model: nn.Module, tensors: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Write ``values`` into tensors of the model inside the block; it is as before, bit for bit, when the block ends.

    Args:
        model: The model.
        tensors: Parameters and buffers of it.
        values: What they hold inside the block, of the same shapes.
    """
    rewriting = Rewriting()
    with undone(rewriting.restore):
        for module in model.modules():
            for hook in old_style_hooks(module):  # what it computes before each call stands in a plain attribute
                rewriting.assign(module, hook.name, vars(module)[hook.name])
        for tensor in tensors:  # all before any is written: they may overlap
            rewriting.keep(tensor)
        for tensor, value in zip(tensors, values, strict=True):
            rewriting.write(tensor, value)
        torch.clear_autocast_cache()
        yield
