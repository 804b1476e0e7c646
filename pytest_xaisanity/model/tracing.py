"""Watching a forward pass: which parameters and buffers meet the data, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["Watch", "tensors_in"]

# ------------------------------------------------------------------------------------------------------- watching

# What turns a tensor into a plain number or an array, and so hides where it goes from there.
_ESCAPES = frozenset({"item", "tolist", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__"})
# What reads only the shape, type or device of every tensor but the first.
_LIKE = frozenset({"type_as", "to", "expand_as", "view_as", "reshape_as"})


class Watch(TorchFunctionMode):
    """Notes when each named tensor is used, by name: parameters and buffers alike.

    Attributes:
        uses: Name to the times at which it, or a tensor computed from named tensors alone, met data.
        sightings: Name to the times at which it took part in any computation.
        calls: The id of a module to the times at which it was called.
    """

    def __init__(self, named: Mapping[int, str]) -> None:
        super().__init__()
        self.uses: dict[str, list[int]] = {}
        self.sightings: dict[str, list[int]] = {}
        self.calls: dict[int, list[int]] = {}
        self._named = named
        self._made_of: MutableMapping[Tensor, tuple[str, ...]] = WeakIdKeyDictionary()
        self._time = 0

    def tick(self, record: dict[Any, list[int]], key: object, width: int = 1) -> None:
        """Note that ``key`` happens now, and let ``width`` units of time pass."""
        record.setdefault(key, []).append(self._time)
        self._time += width

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call ``func`` and note which named tensors it used."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        data = False
        sources: dict[str, None] = {}
        for tensor in tensors_in(args[:1] if name in _LIKE else (args, kwargs)):
            made_of = self._origin(tensor)
            data = data or made_of is None
            sources |= dict.fromkeys(made_of or ())
        if sources:
            self._note(name, sources, list(tensors_in(result)), data=data)
        return result

    def _origin(self, tensor: Tensor) -> tuple[str, ...] | None:
        """Return the named tensors of which ``tensor`` is made, or None when it holds data."""
        name = self._named.get(id(tensor))
        return (name,) if name is not None else self._made_of.get(tensor)

    def _note(self, function: str, sources: Iterable[str], results: list[Tensor], *, data: bool) -> None:
        if not results and function not in _ESCAPES:
            return  # a question about shape, type or device
        for name in sources:
            self.tick(self.uses if data or not results else self.sightings, name)
        for result in results:
            if data:
                self._made_of.pop(result, None)
            else:
                self._made_of[result] = tuple(sources)


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in a value, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))
