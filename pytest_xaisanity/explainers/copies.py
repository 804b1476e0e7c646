"""How many copies of an input an explainer has the model compute with at once, such as the steps of a path."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..common.undoing import Context
from ..model.tracing import Watch

__all__ = ["Copies", "rows_together"]

_VALUES = 3 * 224 * 224  # of an input of the usual size, of which a micro-batch has room for as many as it may hold


class Copies:
    """Counts the rows that the model is called with while inputs are explained.

    Attributes:
        rows: The most in one call.
        values: How many values a row has.
    """

    def __init__(self) -> None:
        self.rows, self.values = 0, 1
        self._depth = 0
        self._watch = Watch(called=self._called, left=self._left)

    def block(self) -> Context:
        """Return a context in which calls are counted."""
        return self._watch.block()

    def of_each(self, inputs: int) -> int:
        """Return how many copies of each of so many inputs there were."""
        return max(1, -(-self.rows // inputs))

    def _called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._depth += 1
        tensors = [one for one in arguments if isinstance(one, Tensor) and one.ndim]
        if self._depth == 1 and tensors and len(tensors[0]) > self.rows:
            self.rows, self.values = len(tensors[0]), tensors[0][0].numel()

    def _left(self, module: nn.Module) -> None:
        self._depth -= 1


def rows_together(size: int, values: int) -> int:
    """Return how many rows a pass may have whose micro-batches hold ``size`` inputs: more where a row is small.

    >>> rows_together(64, 3 * 224 * 224), rows_together(64, 28 * 28)
    (64, 12288)
    """
    return size * max(1, _VALUES // max(1, values))
