"""What every explainer is once it has been adapted, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..common.errors import XaiError
from ..model.smooth import Smooth
from ..subject.block import Inputs
from ..subject.layout import Axes, Layout
from ..subject.presented import Presentation
from .company import Apart, Company, Passes

__all__ = ["Explainer", "Request", "Tokens"]

Tokens = Literal["embedded", "ids", "either"]


@dataclass(frozen=True)
class Request:
    """What an explainer is asked: to explain some inputs of a model together.

    Attributes:
        model: The model, a module or another callable from inputs to outputs.
        inputs: The input tensors that are explained, each ``(b, ...)``.
        targets: Target of each input, ``(b,)`` or ``(b, k)``, or None for a model with a single output.
        indices: Place of each input in what the user gave, length b.
        count: How many inputs the user gave, or None for a stream.
        axes: Which axes of the inputs are places and which channels, where the user has said so.
        context: What the model is called with behind the inputs, each ``(b, ...)``: what nobody explains.
        presentation: How the user's model is called, where ``model`` is not the model itself.
        embedded: Whether the input is what the embedding makes of tokens, ``(b, T, D)``, whose ids come first in the
            context.
        sentences: Where tokens are no padding ``(b, T)``; None where there is none, or inputs are no tokens.
        kept: The places of the tokens that are left, where padding was taken off, and how many there were; or None.
        company: What lets each of them be explained on its own, their passes of the model made together; or None.
        room: How many rows an explainer should compute with at once for one input, where it lets us choose.
    """

    model: Any
    inputs: Inputs
    targets: Tensor | None
    indices: tuple[int, ...]
    count: int | None = None
    axes: Axes = None
    context: Inputs = ()
    presentation: Presentation | None = None
    embedded: bool = False
    sentences: Tensor | None = None
    kept: tuple[Tensor, int] | None = None
    company: Company | None = None
    room: int = 1

    @property
    def continued(self) -> int:
        """How many tokens of a continuation a causal language model is given behind those that are explained."""
        decoder = None if self.presentation is None else self.presentation.decoder
        beyond = () if decoder is None else self.context[decoder.arrangement.count - len(self.inputs) :]
        return beyond[0].shape[-1] if beyond and not self.embedded else 0

    @property
    def layout(self) -> Layout:
        """Where the inputs have places and channels."""
        return Layout.of(self.inputs, self.axes)

    @property
    def bound(self) -> Any:
        """The model as a callable from inputs alone: one that takes context has that of these inputs."""
        if self.presentation is None or not self.context:
            return self.model
        if isinstance(self.model, Passes):
            return self.model.bound(self.context)
        return self.presentation.bound(self.context, len(self), embedded=self.embedded)

    def embed(self) -> Request:
        """Return the request to explain what the embedding makes of the tokens."""
        assert self.presentation is not None
        arguments = (*self.inputs, *self.context)
        embedded = self.presentation.embedded(arguments)
        model = self.presentation.on_embedded()
        return replace(self, model=model, inputs=(embedded,), context=arguments, embedded=True, axes="NTF")

    def __len__(self) -> int:
        return len(self.inputs[0])

    def part(self, rows: slice) -> Request:
        """Return the request for some of its rows."""
        return self._rows(rows, self.indices[rows])

    def rows(self, places: Tensor) -> Request:
        """Return the request for the rows at these places, in order."""
        return self._rows(places, tuple(self.indices[place] for place in places.tolist()))

    def _rows(self, rows: slice | Tensor, indices: tuple[int, ...]) -> Request:
        inputs = tuple(tensor[rows] for tensor in self.inputs)
        targets = None if self.targets is None else self.targets[rows]
        context = tuple(tensor[rows] for tensor in self.context)
        sentences = None if self.sentences is None else self.sentences[rows]
        return replace(self, inputs=inputs, context=context, targets=targets, indices=indices, sentences=sentences)

    def without_padding(self) -> Iterator[tuple[Tensor, Request]]:
        """Yield the rows whose sentences lie alike, and the request for them, of which padding is taken off."""
        assert self.sentences is not None
        patterns, which = torch.unique(self.sentences, dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows, width = (which == number).nonzero()[:, 0], len(pattern)
            kept, some = pattern.nonzero()[:, 0], self.rows(rows)
            inputs, context = (
                tuple(one[:, kept] if one.ndim == 2 and one.shape[1] == width else one for one in tensors)
                for tensors in (some.inputs, some.context)
            )
            yield rows, replace(some, inputs=inputs, context=context, sentences=None, kept=(kept, width))


@dataclass(frozen=True, eq=False)
class Explainer:
    """Answers requests with attributions.

    Attributes:
        name: What the user calls it, in verdicts and reports.
        attribute: Called with a request, whose tensors it may change; returns whatever the user's object returns.
        key: Equal for explainers that are the same by content, so that their attributions are shared.
        source: What the user gave.
        lighter: Names of settings with which it takes less memory when they are lowered.
        tokens: What it explains of tokens: what the embedding makes of them, their ids, or either: the ids, unless it
            asks for gradients.
        reduction: What makes one value for each token of those of its dimensions, as the user has named it, or None.
        smooth: How smooth the network is made that it explains, where that is not the model as given.
        precomputed: Whether its attributions are given, so that it can explain nothing again.
    """

    name: str
    attribute: Callable[[Request], object]
    key: tuple[Hashable, ...] = field(repr=False)
    source: object = field(repr=False, default=None)
    lighter: tuple[str, ...] = field(repr=False, default=())
    smooth: Smooth | None = field(repr=False, default=None)
    tokens: Tokens = field(repr=False, default="either")
    reduction: str | None = field(repr=False, default=None)
    precomputed: bool = field(repr=False, default=False)

    def attributions(self, request: Request) -> object:
        """Return what the user's object returns for a request: for each of its inputs on its own, in company.

        Raises:
            Apart: They cannot be explained in company.
        """
        company = request.company
        if company is None:
            return self.attribute(request)
        rows = [request.part(slice(row, row + 1)) for row in range(len(request))]

        def work(row: Request, model: Passes) -> object:
            return self.attribute(replace(row, model=model, company=None, room=company.room))

        return _joined(company.results(request.model, [partial(work, row) for row in rows]))

    def error(self, found: str, expected: str, fix: str) -> XaiError:
        """Return an error about this explainer."""
        return XaiError(f"explainer {self.name}", found=found, expected=expected, fix=fix)


def _joined(results: Sequence[object]) -> Tensor | tuple[Tensor, ...]:
    """Return attributions of several inputs, made of those of each."""
    parts = [result if isinstance(result, (tuple, list)) else (result,) for result in results]
    if len({len(part) for part in parts}) != 1 or not all(map(_is_row, chain(*parts))):
        raise Apart("something else than one row of attributions is returned for one input")
    joined = tuple(torch.cat([torch.as_tensor(one) for one in same]) for same in zip(*parts, strict=True))
    return joined if isinstance(results[0], (tuple, list)) else joined[0]


def _is_row(attributions: object) -> bool:
    return isinstance(attributions, (Tensor, np.ndarray)) and attributions.ndim > 0 and len(attributions) == 1
