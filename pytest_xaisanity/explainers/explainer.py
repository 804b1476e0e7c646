"""What every explainer is once it has been adapted, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..common.errors import XaiError
from ..model.smooth import Smooth
from ..subject.block import Inputs
from ..subject.layout import Axes, Layout

__all__ = ["Explainer", "Request"]


@dataclass(frozen=True)
class Request:
    """What an explainer is asked: to explain some inputs of a model together.

    Attributes:
        model: The model, a module or another callable from inputs to outputs.
        inputs: Its input tensors, each ``(b, ...)``.
        targets: Target of each input, ``(b,)`` or ``(b, k)``, or None for a model with a single output.
        indices: Place of each input in what the user gave, length b.
        count: How many inputs the user gave, or None for a stream.
        axes: Which axes of the inputs are places and which channels, where the user has said so.
    """

    model: Any
    inputs: Inputs
    targets: Tensor | None
    indices: tuple[int, ...]
    count: int | None = None
    axes: Axes = None

    @property
    def layout(self) -> Layout:
        """Where the inputs have places and channels."""
        return Layout.of(self.inputs, self.axes)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def part(self, rows: slice) -> Request:
        """Return the request for some of its rows."""
        inputs = tuple(tensor[rows] for tensor in self.inputs)
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, inputs=inputs, targets=targets, indices=self.indices[rows])


@dataclass(frozen=True, eq=False)
class Explainer:
    """Answers requests with attributions.

    Attributes:
        name: What the user calls it, in verdicts and reports.
        attribute: Called with a request, whose tensors it may change; returns whatever the user's object returns.
        key: Equal for explainers that are the same by content, so that their attributions are shared.
        source: What the user gave.
        lighter: Names of settings with which it takes less memory when they are lowered.
        smooth: How smooth the network is made that it explains, where that is not the model as given.
    """

    name: str
    attribute: Callable[[Request], object]
    key: tuple[Hashable, ...] = field(repr=False)
    source: object = field(repr=False, default=None)
    lighter: tuple[str, ...] = field(repr=False, default=())
    smooth: Smooth | None = field(repr=False, default=None)

    def error(self, found: str, expected: str, fix: str) -> XaiError:
        """Return an error about this explainer."""
        return XaiError(f"explainer {self.name}", found=found, expected=expected, fix=fix)
