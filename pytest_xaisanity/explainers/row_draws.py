"""Random numbers of inputs that are explained together, each drawn from a state of the generators of its own.

What is drawn for ``k`` copies of each of ``b`` inputs has ``k · b`` rows, those of one input next to one another, as
Captum's ``NoiseTunnel`` and ``GradientShap`` lay them out. Each input's share is drawn from the state that the global
generators would have if it were explained alone, so that its numbers are those that it would have got alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.seeding import State, global_state, isolated, restore_state
from ..common.undoing import Context, undone
from ..model.tracing import Watch

__all__ = ["RowDraws", "Shared"]

_LIKE = frozenset({"randn_like", "rand_like", "normal", "bernoulli"})  # as many as a tensor among the arguments has
_SIZED = frozenset({"randn", "rand"})  # as many as they are told
_IN_PLACE = frozenset({"normal_", "uniform_", "bernoulli_"})
_OTHERS = frozenset({"randperm", "randint", "multinomial"})  # one for all
_NUMPY = {"uniform": 2, "normal": 2, "choice": 1}  # place of the size among the arguments


class Shared(BaseException):
    """Something is drawn that cannot be shared out among the inputs; no ``except Exception`` keeps it to itself."""


class RowDraws:
    """Draws for several inputs together.

    Args:
        seeds: What the global generators are seeded by for each input.

    Attributes:
        copies: The most rows that were drawn for one input at once.
    """

    def __init__(self, seeds: Sequence[Sequence[int | str]]) -> None:
        self.copies = 1
        self._states: list[State] = []
        for parts in seeds:
            with isolated(*parts):
                self._states.append(global_state())
        self._watch = Watch(computed=self._computed)
        self._numpy = {name: getattr(np.random, name) for name in _NUMPY}

    def block(self) -> Context:
        """Return a context in which draws are made so. What moves the global generators in it was not drawn so.

        Torch's functions raise :class:`Shared` where they cannot draw so.
        """
        return undone(self._end, self._begin)

    def _begin(self) -> None:
        for name, place in _NUMPY.items():
            setattr(np.random, name, self._by_row(self._numpy[name], place))
        self._watch.begin()

    def _end(self) -> None:
        self._watch.end()
        for name, function in self._numpy.items():
            setattr(np.random, name, function)

    def _share(self, rows: int) -> int | None:
        """Return how many of so many rows each input has, or None where they cannot be shared out."""
        count = len(self._states)
        if not rows or rows % count:
            return None
        self.copies = max(self.copies, rows // count)
        return rows // count

    def _each(self, draw: Callable[[int], Any]) -> list[Any]:
        """Return what ``draw`` returns for each input, in its state; the global generators stay where they are."""
        before, drawn = global_state(), []
        for place, state in enumerate(self._states):
            restore_state(state)
            drawn.append(draw(place))
            self._states[place] = global_state()
        restore_state(before)
        return drawn

    def _computed(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        name = getattr(function, "__name__", "")
        if name in _OTHERS and kwargs.get("generator") is None:
            raise Shared(name)
        if name in _SIZED:
            return self._sized(function, args, kwargs)
        if name not in _LIKE | _IN_PLACE or kwargs.get("generator") is not None:
            return function(*args, **kwargs)
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim), None)
        share = None if given is None else self._share(len(given))
        if given is None or share is None:
            raise Shared(name)

        def part(value: Any, place: int) -> Any:
            sliced = isinstance(value, Tensor) and value.ndim and len(value) == len(given)
            return value[place * share : (place + 1) * share] if sliced else value

        def draw(place: int) -> Any:
            return function(*(part(v, place) for v in args), **{k: part(v, place) for k, v in kwargs.items()})

        drawn = self._each(draw)
        return given if name in _IN_PLACE else torch.cat(drawn)

    def _sized(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        size = tuple(kwargs.get("size", args[0] if len(args) == 1 and not isinstance(args[0], int) else args))
        if kwargs.get("generator") is not None:
            return function(*args, **kwargs)
        share = self._share(int(size[0])) if size else None
        if share is None:
            raise Shared(function.__name__)
        rest = {key: value for key, value in kwargs.items() if key != "size"}
        return torch.cat(self._each(lambda _: function((share, *size[1:]), **rest)))

    def _by_row(self, function: Callable[..., Any], place: int) -> Callable[..., Any]:
        def drawn(*args: Any, **kwargs: Any) -> Any:
            size = kwargs.get("size", args[place] if len(args) > place else None)
            shape = (size,) if isinstance(size, int) else tuple(size or ())
            share = self._share(int(shape[0])) if shape else None
            if share is None:
                return function(*args, **kwargs)
            names = kwargs | {"size": (share, *shape[1:])}
            return np.concatenate(self._each(lambda _: function(*args[:place], *args[place + 1 :], **names)))

        return drawn
