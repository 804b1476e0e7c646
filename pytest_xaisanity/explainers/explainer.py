"""What every explainer is once it has been adapted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..subject.block import Inputs

__all__ = ["Explainer"]


@dataclass(frozen=True, eq=False)
class Explainer:
    """Maps (model, inputs, targets) to attributions.

    Attributes:
        name: What the user calls it, in verdicts and reports.
        attribute: Called with the model, the tuple of input tensors and the targets; returns whatever the user's
            object returns.
        key: Equal for explainers that are the same by content, so that their attributions are shared.
        source: What the user gave.
    """

    name: str
    attribute: Callable[[Any, Inputs, Tensor | None], Any]
    key: tuple[Any, ...] = field(repr=False)
    source: Any = field(repr=False, default=None)
