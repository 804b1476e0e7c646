"""A few inputs that are measured together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Block", "Inputs"]

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Block:
    """A few inputs that are measured together.

    Attributes:
        number: Position of the block, from 0.
        indices: Place of each input in what the user gave, length b.
        inputs: The model's input tensors, each ``(b, ...)``, on the subject's device.
        targets: Target of each input, ``(b,)`` or ``(b, k)``, or None for a model with a single output.
        last: Whether no block follows.
        outputs: The model's outputs ``(b, ...)`` where they have just been computed, or None.
    """

    number: int
    indices: tuple[int, ...]
    inputs: Inputs
    targets: Tensor | None
    last: bool = True
    outputs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, start: int, stop: int) -> Block:
        """Return the inputs from ``start`` to ``stop`` as a block.

        It comes without outputs: they would be there or not according to what was measured before, and those of a
        larger batch may differ in the last bit.
        """
        inputs = tuple(tensor[start:stop] for tensor in self.inputs)
        targets = None if self.targets is None else self.targets[start:stop]
        return Block(self.number, self.indices[start:stop], inputs, targets, last=self.last)
