"""Which of a model's input tensors are explained, which are context, and how the model is called with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Unpack, get_args, get_origin, is_typeddict

from torch import Tensor, nn

from ..common.errors import XaiError, unknown_name
from .block import Inputs
from .mappings import IDS

__all__ = ["Arrangement", "Explained", "arguments_of", "arrangement_of"]

Explained = str | int | Sequence[str | int] | None
"""Names or positions of the inputs that are explained; None for the default."""

_NEAR = 0.92  # how alike two names are where one is a slip for the other


@dataclass(frozen=True)
class Arrangement:
    """Which inputs are explained, and how the model is called.

    The *arguments* are all input tensors, those that are explained first.

    Attributes:
        count: How many input tensors the model takes.
        explained: The positions of those that are explained, in the order in which the explainer gets them.
        names: The names of the model's arguments, which are then passed by name; None where they have none.
        withheld: The names of inputs that the model does not take: they say which tokens count.
    """

    count: int
    explained: tuple[int, ...]
    names: tuple[str, ...] | None = None
    withheld: tuple[str, ...] = ()

    @property
    def context(self) -> tuple[int, ...]:
        """The positions of the others."""
        return tuple(place for place in range(self.count) if place not in self.explained)

    @property
    def is_plain(self) -> bool:
        """Whether the model is called with its arguments as they are."""
        return self.names is None and (*self.explained, *self.context) == tuple(range(self.count))

    def split(self, tensors: Inputs) -> tuple[Inputs, Inputs]:
        """Return the tensors that are explained, and the context."""
        return tuple(tensors[place] for place in self.explained), tuple(tensors[place] for place in self.context)

    def named(self, arguments: Sequence[Tensor]) -> dict[str | int, Tensor]:
        """Return arguments by name or position, in the order in which the model takes them."""
        order = (*self.explained, *self.context)
        placed = sorted(zip(order, arguments, strict=True), key=lambda pair: pair[0])
        return {self.label(place): tensor for place, tensor in placed}

    def label(self, place: int) -> str | int:
        """Return the name of the input at a position, or the position."""
        return place if self.names is None else self.names[place]

    def argument(self, number: int) -> str | int:
        """Return the name of an argument, or its position among the model's inputs."""
        return self.label((*self.explained, *self.context)[number])

    def call(
        self, model: Callable[..., object], arguments: Sequence[Any], more: Mapping[str, object] | None = None
    ) -> object:
        """Return what the model returns for arguments, and for further ones, without names, behind them.

        Raises:
            XaiError: There are fewer arguments than inputs, or further ones for a model that takes names.
        """
        beyond = tuple(arguments[self.count :])
        if len(arguments) < self.count or (beyond and self.names is not None):
            raise XaiError(
                "xai_model",
                found=f"{len(arguments)} tensors given to a model that takes {self.count}",
                expected="the explained inputs, followed by the context",
                fix="call the model that the explainer is given with the inputs that it is given; what the model needs "
                "besides belongs into xai_inputs",
            )
        named = self.named(arguments[: self.count])
        if self.names is None:
            return model(*named.values(), *beyond, **(more or {}))
        passed = {str(name): tensor for name, tensor in named.items() if name not in self.withheld}
        return model(**passed, **(more or {}))


def arrangement_of(
    tensors: Inputs,
    names: tuple[str, ...] | None,
    explain: Explained,
    model: object,
    *,
    tokens: bool,
    masks: Sequence[str] = (),
) -> Arrangement:
    """Return which of a batch's tensors are explained.

    Without ``explain`` these are the floating-point ones whose names do not end with "mask"; where ``tokens``, or
    without any such, the token ids: the input of that name, or the first of whole numbers.

    Args:
        tensors: The model's input tensors, in order.
        names: Their names, where they have some.
        explain: What the user says.
        model: The model, whose arguments have names.
        tokens: Whether the user has named an embedding.
        masks: Names of inputs that say which tokens count, and which the model need not take.

    Raises:
        XaiError: There is no such input, or the model takes no argument of a name.
    """
    withheld = _withheld(names, model, masks)
    if explain is None:
        chosen = _by_default(tensors, names, tokens=tokens)
    else:
        known = _known(names, model, len(tensors))
        chosen = tuple(_place(one, known, len(tensors)) for one in _each(explain))
    if len(set(chosen)) < len(chosen) or not chosen:
        raise XaiError(
            "xai_explain",
            found=repr(explain),
            expected="one or more inputs, each once",
            fix="name the inputs that are explained; the others are context",
        )
    return Arrangement(len(tensors), chosen, names, withheld)


def _by_default(tensors: Inputs, names: tuple[str, ...] | None, *, tokens: bool) -> tuple[int, ...]:
    masks = {place for place, name in enumerate(names or ()) if name.endswith("mask")}
    floating = [place for place, one in enumerate(tensors) if one.is_floating_point() or one.is_complex()]
    floating = [place for place in floating if place not in masks]
    if floating and not tokens:
        return tuple(floating)
    if names is None and not tokens and len(tensors) == 1:
        return (0,)
    ids = [place for name in IDS for place, known in enumerate(names or ()) if known == name]
    rows = [place for place, one in enumerate(tensors) if one.ndim == 2 and place not in masks | set(floating)]
    return tuple((ids or rows or [place for place in range(len(tensors)) if place not in masks] or [0])[:1])


def _each(explain: Explained) -> tuple[str | int, ...]:
    if isinstance(explain, (str, int)):
        return (explain,)
    return tuple(explain) if isinstance(explain, Sequence) else (explain,)  # type: ignore[return-value]


def _known(names: tuple[str, ...] | None, model: object, count: int) -> tuple[str, ...]:
    """Return the names of inputs, or of the arguments that take those without names."""
    if names is not None:
        return names
    return tuple(arguments_of(model)[0])[:count]


def _place(one: object, known: Sequence[str], count: int) -> int:
    """Return the position of an input that the user has named."""
    if isinstance(one, str):
        if one not in known:
            raise unknown_name("xai_explain", one, known, kind="input") if known else _no_such_input(one, count)
        return known.index(one)
    if type(one) is not int or not -count <= one < count:
        raise _no_such_input(one, count)
    return one % count


def _no_such_input(one: object, count: int) -> XaiError:
    return XaiError(
        "xai_explain",
        found=repr(one),
        expected=f"names of inputs, or positions from 0 to {count - 1}",
        fix="name the inputs that are explained; the others are context",
    )


def _withheld(names: tuple[str, ...] | None, model: object, masks: Sequence[str]) -> tuple[str, ...]:
    """Return the masks that the model takes no argument for; raise where that is so of another input."""
    known, open_ended = arguments_of(model)
    for name in names or ():
        if known and name not in (*known, *masks) and (not open_ended or _slip(name, known)):
            raise unknown_name("xai_inputs", name, known, kind="argument of the model")
    return tuple(name for name in names or () if name in masks and name not in known)


def _slip(name: str, known: Iterable[str]) -> bool:
    """Whether a name is but a slip for one of these, of a model that takes any and would ignore it."""
    return bool(get_close_matches(name, known, n=1, cutoff=_NEAR))


def arguments_of(model: object) -> tuple[list[str], bool]:
    """Return the names of a model's arguments, and whether it takes others too, or its arguments are not known.

    Others whose names are told by a ``TypedDict``, as models of Hugging Face's do, are known.
    """
    called = model.forward if isinstance(model, nn.Module) else model
    try:
        parameters = inspect.signature(called).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return [], True
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    others = [one.annotation for one in parameters if one.kind is one.VAR_KEYWORD]
    told = [kind for one in others if get_origin(one) is Unpack for kind in get_args(one) if is_typeddict(kind)]
    keys = [key for kind in told for key in sorted(kind.__required_keys__ | kind.__optional_keys__)]
    return [*named, *keys], bool(others) and not told
