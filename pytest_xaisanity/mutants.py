"""Mutants: deliberately broken copies of an explainer, to test the tests.

A mutant is called with the original's explanations before the arguments of an explainer, as
``mutant(explain, model, inputs, targets)``, and returns what an explainer may return. ``explain`` takes the other three
and returns the original's attributions as a tensor. Where the model takes several inputs, ``inputs`` and attributions
are tuples. A class among the mutants is built anew for each explainer, and may keep state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .baselines.edges import edge_maps
from .baselines.uninformative import Seeding, UninformativeExplainer, UninformativeMap
from .errors import XaiError, unknown_name
from .explainers import Explainer
from .interventions.layers import Layer, find_layers
from .interventions.reinitialisation import Randomizer, rewritten
from .registry import Registry
from .seeding import generator
from .subject import Block, Inputs

__all__ = ["CHANGES", "MUTANTS", "ChangedMap", "Inapplicable", "Mutant", "mutated"]

Tensors = Any  # a tensor, or a tuple of tensors
Explain = Callable[[Any, Tensors, Tensor | None], Tensors]
Mutant = Callable[[Explain, Any, Tensors, Tensor | None], Tensors]

_LEVELS = 1  # that a rounded map has on either side of zero


class Inapplicable(Exception):  # noqa: N818 - nothing went wrong
    """There is no such mutant of this explainer, for the reason given."""


def mutated(explainer: Explainer, name: str, mutant: Mutant) -> Explainer:
    """Return the explainer as the mutant has it.

    It keeps its name, which seeds what a sampling explainer draws.
    """

    def explain(model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        return _as_given([_tensor(one) for one in _all(explainer.attribute(model, _all(inputs), targets))])

    def attribute(model: Any, inputs: Inputs, targets: Tensor | None) -> Tensors:
        return mutant(explain, model, _as_given(inputs), targets)

    return Explainer(explainer.name, attribute, (*explainer.key, "mutant", name, id(mutant)), explainer.source)


def _all(tensors: Tensors) -> tuple[Any, ...]:
    return tuple(tensors) if isinstance(tensors, (tuple, list)) else (tensors,)


def _as_given(tensors: Sequence[Tensor]) -> Tensors:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _tensor(result: Any) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(result)) if isinstance(result, np.ndarray) else result
    values: Tensor = tensor.detach()
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _single(inputs: Tensors) -> Tensor:
    if isinstance(inputs, tuple):
        raise Inapplicable("the model takes several inputs")
    tensor: Tensor = inputs
    return tensor


# ---------------------------------------------------------------------------------------------- changes of a map alone


def _opposite(maps: Tensor, places: int) -> Tensor:
    return -maps


def _unsigned(maps: Tensor, places: int) -> Tensor:
    return maps.abs()


def _shuffled(maps: Tensor, places: int) -> Tensor:
    flat = maps.flatten(-places)
    order = torch.randperm(flat.shape[-1], generator=generator("mutant", "shuffled", flat.shape[-1]))
    return flat[..., order.to(flat.device)].reshape(maps.shape)


def _shifted(maps: Tensor, places: int) -> Tensor:
    axes = tuple(range(-places, 0))
    return maps.roll(tuple(max(1, maps.shape[axis] // 4) for axis in axes), axes)


def _flipped(maps: Tensor, places: int) -> Tensor:
    return maps.flip(-1)


def _low_rank(maps: Tensor, places: int) -> Tensor:
    if places < 2:
        raise Inapplicable("its maps have one axis")
    left, sizes, right = torch.linalg.svd(maps.nan_to_num(0, 0, 0), full_matrices=False)
    first: Tensor = left[..., :1] * sizes[..., None, :1] @ right[..., :1, :]
    return first


def _rounded(maps: Tensor, places: int) -> Tensor:
    largest = maps.flatten(1).abs().amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    return (maps / largest.clamp_min(torch.finfo(maps.dtype).tiny) * _LEVELS).round()


CHANGES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "flipped_sign": _opposite,
    "absolute_value": _unsigned,
    "shuffled": _shuffled,
    "shifted": _shifted,
    "flipped": _flipped,
    "low_rank": _low_rank,
    "rounded": _rounded,
}


@dataclass(frozen=True)
class ChangedMap:
    """The explainer's own map, changed: a mutant, and a baseline that every explanation whose detail matters beats.

    Attributes:
        name: One of :data:`CHANGES`.
    """

    name: str
    explains: ClassVar[bool] = True
    margin: ClassVar[float] = 0.01

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        """Return the original's attributions, each map changed."""
        change, given = CHANGES[self.name], _all(explain(model, inputs, targets))
        axes = [max(1, one.ndim - 2) for one in _all(inputs)]
        return _as_given([change(maps, places) for maps, places in zip(given, axes, strict=True)])

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps: ``like``, changed."""
        return [CHANGES[self.name](like, like.ndim - 1)]


@dataclass(frozen=True)
class Mutants:
    """The baseline ``"mutants"``: the explainer's own map, changed in several ways that each must be beaten.

    By default the map is made coarse. An explanation whose signs carry information also beats ``"absolute_value"``.

    Args:
        mutants: Names of changes, one or more.
    """

    mutants: Sequence[str] = ("low_rank", "rounded")
    name: ClassVar[str] = "mutants"

    def __post_init__(self) -> None:
        names = self.mutants
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            raise XaiError(
                "baseline 'mutants'", found=repr(names), expected="a tuple of one or more names",
                fix=f"choose among {', '.join(CHANGES)}",
            )  # fmt: skip
        for name in names:
            if name not in CHANGES:
                raise unknown_name("baseline 'mutants'", name, CHANGES, kind="change of a map")
        object.__setattr__(self, "mutants", tuple(names))

    def parts(self, shape: tuple[int, ...]) -> list[ChangedMap]:
        """Return the baselines, for maps with these places.

        Raises:
            XaiError: None of the changes can be made to such maps.
        """
        fit = [name for name in self.mutants if len(shape) > 1 or name != "low_rank"]
        if not fit:
            raise XaiError(
                "baseline 'mutants'", found=f"maps of shape {shape}", expected="maps with two axes for low_rank",
                fix='write mutants=("rounded",)',
            )  # fmt: skip
        return [ChangedMap(name) for name in fit]


# --------------------------------------------------------------------------------------- what is explained is another


def wrong_class(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Explain the class after the one that is asked for."""
    if targets is None:
        raise Inapplicable("the model has a single output")
    with torch.no_grad():
        classes = model(*(one[:1].detach().clone() for one in _all(inputs))).shape[-1]
    if classes < 2:
        raise Inapplicable("the model has a single output")
    other = targets.clone()
    last = other if other.ndim == 1 else other[:, -1]
    last.add_(1).remainder_(classes)
    return explain(model, inputs, other)


class AnotherInput:
    """Explains, for each input, the one before it."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Tensor, ...], Tensor | None] | None = None

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        rows = [one.detach() for one in _all(inputs)]
        last, target = self._last or (tuple(one[-1:] for one in rows), None if targets is None else targets[-1:])
        self._last = tuple(one[-1:].clone() for one in rows), None if targets is None else targets[-1:].clone()
        before = _as_given([torch.cat([row, one[:-1]]) for row, one in zip(last, rows, strict=True)])
        return explain(model, before, None if targets is None or target is None else torch.cat([target, targets[:-1]]))


class PreviousCall:
    """Returns what the call before should have returned."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, ...] | None = None

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        now = _all(explain(model, inputs, targets))
        last, self._last = self._last or now, now
        return _as_given(
            [one[torch.arange(len(new), device=one.device) % len(one)] for one, new in zip(last, now, strict=True)]
        )


def one_channel(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return the attributions of the first channel alone."""
    maps = _all(explain(model, inputs, targets))
    has = [one.shape == given.shape and one.ndim > 2 for one, given in zip(maps, _all(inputs), strict=True)]
    return _as_given([one[:, :1] if channels else one for one, channels in zip(maps, has, strict=True)])


# ------------------------------------------------------------------------------------------- the model is another


class Untrained:
    """Explains the model with weights drawn anew, always the same."""

    def __init__(self) -> None:
        self._layers: tuple[Layer, ...] = ()

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        if not isinstance(model, nn.Module):
            raise Inapplicable("the model is a function, whose weights are not known")
        if not self._layers:
            probe = [one[:1].detach().clone() for one in _all(inputs)]
            try:
                self._layers = tuple(find_layers(model, lambda: model(*probe)))
            except XaiError as error:
                raise Inapplicable("the model has no layer to draw anew") from error
        with Randomizer(model, self._layers, "own", seed=0) as randomizer:
            for layer in self._layers:
                randomizer.randomize(layer)
            return explain(model, inputs, targets)


class Stale:
    """Explains the model with the weights that it had at the first call."""

    def __init__(self) -> None:
        self._first: list[Tensor] = []

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        if not isinstance(model, nn.Module):
            raise Inapplicable("the model is a function, whose weights are not known")
        tensors = [*model.parameters(), *model.buffers()]
        self._first = self._first or [tensor.detach().clone() for tensor in tensors]
        with rewritten(model, tensors, self._first):
            return explain(model, inputs, targets)


# ------------------------------------------------------------------------------------------ nothing of it is left


def edges(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return an edge map of the image."""
    images = _single(inputs)
    if images.ndim != 4:
        raise Inapplicable("its inputs are no images")
    return edge_maps(images.detach())


def input_itself(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return the input."""
    return _as_given(
        [one.detach().float() if not one.is_floating_point() else one.detach().clone() for one in _all(inputs)]
    )


def constant(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return one everywhere, once for all channels."""
    return _as_given(
        [torch.ones_like(one[:, :1] if one.ndim > 2 else one, dtype=torch.float32) for one in _all(inputs)]
    )


def _noise(seeding: Seeding) -> Mutant:
    noise = UninformativeExplainer(UninformativeMap("gaussian", "both"), seeding)

    def drawn(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        return noise(model, _single(inputs), targets)

    return drawn


fresh_noise, input_noise, output_noise = _noise("fresh"), _noise("input"), _noise("output")

flipped_sign, absolute_value, shuffled, shifted, flipped, low_rank, rounded = map(ChangedMap, CHANGES)

MUTANTS = Registry(
    "mutant",
    {
        "wrong_class": ".mutants:wrong_class",
        "flipped_sign": ".mutants:flipped_sign",
        "absolute_value": ".mutants:absolute_value",
        "shuffled": ".mutants:shuffled",
        "shifted": ".mutants:shifted",
        "flipped": ".mutants:flipped",
        "low_rank": ".mutants:low_rank",
        "rounded": ".mutants:rounded",
        "one_channel": ".mutants:one_channel",
        "another_input": ".mutants:AnotherInput",
        "previous_call": ".mutants:PreviousCall",
        "untrained": ".mutants:Untrained",
        "stale": ".mutants:Stale",
        "edges": ".mutants:edges",
        "input": ".mutants:input_itself",
        "constant": ".mutants:constant",
        "fresh_noise": ".mutants:fresh_noise",
        "input_noise": ".mutants:input_noise",
        "output_noise": ".mutants:output_noise",
    },
)
