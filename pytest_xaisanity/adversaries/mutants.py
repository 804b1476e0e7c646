"""Mutants: deliberately broken copies of an explainer, to test the tests.

A mutant is called with the original's explanations before the arguments of an explainer, as
``mutant(explain, model, inputs, targets)``, and returns what an explainer may return. ``explain`` takes the other three
and returns the original's attributions as a tensor. Where the model takes several inputs, ``inputs`` and attributions
are tuples. A class among the mutants is built anew for each explainer, and may keep state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..common.registry import Registry
from ..explainers.explainer import Explainer, Request
from ..maps.changes import CHANGES, Inapplicable
from ..maps.edges import edge_maps
from ..maps.reduction import reduced
from ..maps.uninformative import UninformativeMap
from ..model.layers import Layer
from ..model.reach import find_reaching_layers
from ..model.reinit.randomizer import Randomizer
from ..model.rewriting import rewritten
from ..subject.layout import Axes, Layout
from ..subject.outputs import columns
from .uninformative import Seeding, UninformativeExplainer

__all__ = ["MUTANTS", "Inapplicable", "mutated"]


Tensors = Any  # a tensor, or a tuple of tensors


@dataclass(frozen=True, eq=False)
class Explain:
    """The original, called ``explain(model, inputs, targets)``: it returns its attributions as tensors.

    Attributes:
        original: The explainer.
        request: What was asked of the mutant.
        bound: The model that the mutant is given, which has the context of the inputs.
    """

    original: Explainer
    request: Request
    bound: object = None

    def __call__(self, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        """Return the original's attributions."""
        request, given, count = self.request, all_of(inputs), len(self.request.inputs)
        asked = replace(request, model=request.model if model is self.bound else model, targets=targets)
        asked = replace(asked, inputs=given[:count], context=given[count:] or request.context)
        return as_given(_explained(self.original, asked))

    @property
    def axes(self) -> Axes:
        """Which axes of the inputs are places and which channels, where the user has said so."""
        return self.request.axes


Mutant = Callable[[Explain, Any, Tensors, Tensor | None], Tensors]


def all_of(tensors: Tensors) -> tuple[Any, ...]:
    """Return a tensor, or a tuple of tensors, as a tuple."""
    return tuple(tensors) if isinstance(tensors, (tuple, list)) else (tensors,)


def as_given(tensors: Sequence[Tensor]) -> Tensors:
    """Return the only tensor, or the tuple of several."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def mutated(explainer: Explainer, name: str, mutant: Mutant) -> Explainer:
    """Return the explainer as the mutant has it.

    It keeps its name, which seeds what a sampling explainer draws.
    """

    def attribute(request: Request) -> Tensors:
        explain, bound = Explain(explainer, request), request.bound
        context = request.context if isinstance(mutant, AnotherInput) else ()
        given = as_given((*request.inputs, *context))
        return mutant(replace(explain, bound=bound), bound, given, request.targets)

    key = (*explainer.key, "mutant", name, id(mutant))
    return replace(explainer, attribute=attribute, key=key, tokens="ids", reduction=None)


def _explained(explainer: Explainer, request: Request) -> list[Tensor]:
    """Return the original's attributions; of tokens one for each, whatever it was given in their place."""
    presentation = request.presentation
    embeds = presentation is not None and presentation.embedding is not None
    if not embeds or explainer.tokens == "ids" or request.layout.kind != "tokens":
        found = [_tensor(one) for one in all_of(explainer.attribute(request))]
    elif explainer.tokens == "embedded":
        found = [_tensor(one) for one in all_of(explainer.attribute(request.embed()))]
    else:
        try:
            found = [_tensor(one) for one in all_of(explainer.attribute(request))]
        except RuntimeError:  # it asks for gradients of whole numbers
            found = [_tensor(one) for one in all_of(explainer.attribute(request.embed()))]
    of_tokens = request.layout.kind == "tokens"
    return [reduced(one, explainer.reduction) if of_tokens and one.ndim == 3 else one for one in found]


def _tensor(result: Any) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(result)) if isinstance(result, np.ndarray) else result
    values: Tensor = tensor.detach()
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _single(inputs: Tensors) -> Tensor:
    if isinstance(inputs, tuple):
        raise Inapplicable("the model takes several inputs")
    tensor: Tensor = inputs
    return tensor


# --------------------------------------------------------------------------------------- what is explained is another


def _changed(name: str) -> Mutant:
    """Return the mutant that changes each map of the original."""

    def changed(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        layouts = Layout.of(all_of(inputs), explain.axes).each
        given = all_of(explain(model, inputs, targets))
        return as_given([_with_change(name, maps, layout) for maps, layout in zip(given, layouts, strict=True)])

    changed.__doc__ = CHANGES[name].__doc__
    return changed


def _with_change(name: str, maps: Tensor, layout: Layout) -> Tensor:
    first = layout.channels_first(maps)
    changed = CHANGES[name](first, len(layout.places))
    return changed if first is maps else layout.as_given(changed)


def wrong_class(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Explain the class after the one that is asked for."""
    if targets is None:
        raise Inapplicable("the model has a single output")
    with torch.no_grad():
        classes = model(*(one.detach().clone() for one in all_of(inputs))).shape[-1]
    if classes < 2:
        raise Inapplicable("the model has a single output")
    other = targets.clone()
    last = other if other.ndim == 1 else other[:, -1]
    last.add_(1).remainder_(classes)
    return explain(model, inputs, other)


class AnotherInput:
    """Explains, for each input, the one before it; what context there is comes with it."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Tensor, ...], Tensor | None] | None = None

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        rows = [one.detach() for one in all_of(inputs)]
        last, target = self._last or (tuple(one[-1:] for one in rows), None if targets is None else targets[-1:])
        self._last = tuple(one[-1:].clone() for one in rows), None if targets is None else targets[-1:].clone()
        before = as_given([torch.cat([row, one[:-1]]) for row, one in zip(last, rows, strict=True)])
        return explain(model, before, None if targets is None or target is None else torch.cat([target, targets[:-1]]))


class PreviousCall:
    """Returns what the call before should have returned."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, ...] | None = None

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        now = all_of(explain(model, inputs, targets))
        last, self._last = self._last or now, now
        return as_given(
            [one[torch.arange(len(new), device=one.device) % len(one)] for one, new in zip(last, now, strict=True)]
        )


def one_channel(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return the attributions of the first channel alone."""
    maps = all_of(explain(model, inputs, targets))
    given = all_of(inputs)
    layouts = Layout.of(given, explain.axes).each
    has = [
        one.shape == tensor.shape and layout.channels is not None
        for one, tensor, layout in zip(maps, given, layouts, strict=True)
    ]
    return as_given(
        [
            one.narrow(layout.axis, 0, 1) if channels else one
            for one, layout, channels in zip(maps, layouts, has, strict=True)
        ]
    )


# ------------------------------------------------------------------------------------------- the model is another


class Untrained:
    """Explains the model with new weights, always the same."""

    def __init__(self) -> None:
        self._layers: tuple[Layer, ...] = ()

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        if not isinstance(model, nn.Module):
            raise Inapplicable("the model is a function, whose weights are not known")
        if not self._layers:
            try:
                self._layers = _reaching_layers(model, all_of(inputs))
            except XaiError as error:
                raise Inapplicable("the model has no layer to re-initialize") from error
        with Randomizer(model, self._layers, "own", seed=0) as randomizer:
            for layer in self._layers:
                randomizer.randomize(layer)
            return explain(model, inputs, targets)


def _reaching_layers(model: nn.Module, inputs: Sequence[Tensor]) -> tuple[Layer, ...]:
    """Return the layers that reach any of the outputs: other inputs may have other targets."""
    few = [one.detach()[:2] for one in inputs]

    def outputs() -> Tensor:
        result: Tensor = columns(model(*(one.clone() for one in few)))
        return result

    def run() -> None:
        with torch.no_grad():
            outputs()

    return tuple(find_reaching_layers(model, run, outputs))


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
    layout = Layout.of((images,), explain.axes)
    if not layout.is_image:
        raise Inapplicable("its inputs are no images")
    return edge_maps(layout.channels_first(images.detach()))


def input_itself(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return the input."""
    return as_given(
        [one.detach().float() if not one.is_floating_point() else one.detach().clone() for one in all_of(inputs)]
    )


def constant(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
    """Return one everywhere, once for all channels."""
    given = all_of(inputs)
    return as_given(
        [
            torch.ones_like(one if layout.channels is None else one.narrow(layout.axis, 0, 1), dtype=torch.float32)
            for one, layout in zip(given, Layout.of(given, explain.axes).each, strict=True)
        ]
    )


_SEEDED = {
    "fresh": "another one each time",
    "input": "the same for the same input",
    "output": "the same for the same output of the model",
}


def _noise(seeding: Seeding) -> Mutant:
    def drawn(explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        single = _single(inputs)
        axes = explain.axes if isinstance(explain.axes, str) else None
        return UninformativeExplainer(UninformativeMap("gaussian", "both"), seeding, axes)(model, single, targets)

    drawn.__doc__ = f"Return noise: {_SEEDED[seeding]}."
    return drawn


fresh_noise, input_noise, output_noise = _noise("fresh"), _noise("input"), _noise("output")

flipped_sign, absolute_value, shuffled, shifted, flipped, low_rank, rounded = map(_changed, CHANGES)

MUTANTS = Registry(
    "mutant",
    {
        "wrong_class": ".adversaries.mutants:wrong_class",
        "flipped_sign": ".adversaries.mutants:flipped_sign",
        "absolute_value": ".adversaries.mutants:absolute_value",
        "shuffled": ".adversaries.mutants:shuffled",
        "shifted": ".adversaries.mutants:shifted",
        "flipped": ".adversaries.mutants:flipped",
        "low_rank": ".adversaries.mutants:low_rank",
        "rounded": ".adversaries.mutants:rounded",
        "one_channel": ".adversaries.mutants:one_channel",
        "another_input": ".adversaries.mutants:AnotherInput",
        "previous_call": ".adversaries.mutants:PreviousCall",
        "untrained": ".adversaries.mutants:Untrained",
        "stale": ".adversaries.mutants:Stale",
        "edges": ".adversaries.mutants:edges",
        "input": ".adversaries.mutants:input_itself",
        "constant": ".adversaries.mutants:constant",
        "fresh_noise": ".adversaries.mutants:fresh_noise",
        "input_noise": ".adversaries.mutants:input_noise",
        "output_noise": ".adversaries.mutants:output_noise",
    },
)
