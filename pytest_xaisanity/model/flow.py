"""Which parameters flow into a tensor of a forward pass, function by function.

A gradient follows what can be differentiated alone. Here everything is followed, and what cannot be seen counts as if
all had flowed into it, so that a parameter that is not among those found cannot have reached the tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from .inventory import Inventory
from .tracing import Arguments, Function, Watch, tensors_in

__all__ = ["Flow"]


class Flow:
    """Follows the parameters of a model through one forward pass.

    What was made of a tensor in a way that is not seen (a compiled function, another thread, an array of NumPy) comes
    into the pass as a tensor that no function has returned: all parameters may be in it, unless it was there before
    the model was called. What a function makes of a tensor that is no tensor (a number, a shape), or what it writes
    into a tensor that it was given, may be in all that is computed from then on.

    Args:
        inventory: The model. Parameters that share memory are one.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._bits: dict[str, int] = {}
        self._of_memory: dict[object, int] = {}
        for name, parameter in inventory.parameters.items():
            new = 1 << len(self._of_memory)
            self._bits[name] = self._of_memory.setdefault(_memory(parameter) or id(parameter), new)
        self._all = (1 << len(self._of_memory)) - 1
        self._in: MutableMapping[Tensor, int] = WeakIdKeyDictionary()
        self._in.update({parameter: self._bits[name] for name, parameter in inventory.parameters.items()})
        self._in.update(dict.fromkeys(inventory.buffers.values(), 0))
        self._modules = {id(module) for module in inventory.modules.values()}
        self._begun = False
        self._anywhere = 0  # what may be in all that is computed from now on

    def watch(self) -> Watch:
        """Return a watch over the pass, for once."""
        return Watch(called=self._called, computed=self._computed)

    def into(self, tensor: Tensor) -> set[str]:
        """Return the names of all parameters that may have flowed into a tensor of the pass."""
        bits = self._bits_of(tensor) | self._anywhere if self._begun else self._all
        return {name for name, bit in self._bits.items() if bits & bit}

    def _called(self, module: nn.Module, arguments: Arguments) -> None:
        if not self._begun and id(module) in self._modules:
            self._begun = True
            for tensor in tensors_in(arguments):
                self._in.setdefault(tensor, 0)

    def _computed(self, function: Function, args: Arguments, kwargs: Mapping[str, Any]) -> Any:
        leaves = [*_leaves((args, kwargs))]
        given = [one for one in leaves if isinstance(one, Tensor)]
        bits = self._anywhere
        for tensor in given:
            bits |= self._bits_of(tensor)
        if any(callable(one) and not isinstance(one, type) for one in leaves):  # which may use anything
            bits = self._all
        before = [_version(tensor) for tensor in given]
        result = function(*args, **kwargs)
        results = [*tensors_in(result)]
        if not results or None in before or before != [_version(tensor) for tensor in given]:
            self._anywhere |= bits
        for tensor in results:
            self._in[tensor] = bits
        return result

    def _bits_of(self, tensor: Tensor) -> int:
        memory = _memory(tensor)
        aliased = 0 if memory is None else self._of_memory.get(memory, 0)
        unseen = self._all if self._begun or memory is None else 0
        return aliased | self._in.get(tensor, unseen)


def _leaves(value: object) -> Iterator[object]:
    """Yield what is in arguments of a function, however nested; the bounds of slices too."""
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, tuple | list):
        yield value
        return
    for one in value:
        yield from _leaves(one)


def _memory(tensor: Tensor) -> tuple[str, int] | None:
    """Return the place of a tensor's memory; None where it has none to be told."""
    try:
        place = tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse, fake, of another library
        return None
    return (str(tensor.device), place) if place else None


def _version(tensor: Tensor) -> int | None:
    """Return how often a tensor was written to; None where nothing counts it."""
    return None if tensor.is_inference() else tensor._version
