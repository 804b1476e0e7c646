"""A few inputs that are measured together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..common.digest import digest_of
from .layout import Layout

__all__ = ["Block", "Inputs"]

Inputs = tuple[Tensor, ...]
_FINGERPRINT = 10  # hexadecimal digits: among 65,536 inputs two are the same with a probability of 0.2 %


@dataclass(frozen=True)
class Block:
    """A few inputs that are measured together.

    Attributes:
        number: Position of the block, from 0.
        indices: Place of each input in what the user gave, length b.
        inputs: The input tensors that are explained, each ``(b, ...)``, on the subject's device.
        targets: Target of each input, ``(b,)`` or ``(b, k)``, or None for a model with a single output.
        layout: Where the inputs have places and channels.
        context: What the model needs beside the inputs and nobody explains, each ``(b, ...)``.
        mask: Which places count, ``(b, T)``, where inputs are tokens; None where all do.
        sentences: Which places are no padding, ``(b, T)``, likewise.
        last: Whether no block follows.
        outputs: The model's outputs ``(b, ...)`` where they have just been computed, or None.
        continued: Whether continuations of several tokens are explained, whose last are the targets; the others are
            what comes last in the context, ``(b, 1, K - 1)``, -1 where there is none.
    """

    number: int
    indices: tuple[int, ...]
    inputs: Inputs
    targets: Tensor | None
    layout: Layout
    context: Inputs = ()
    mask: Tensor | None = None
    sentences: Tensor | None = None
    last: bool = True
    outputs: Tensor | None = None
    continued: bool = False

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def arguments(self) -> Inputs:
        """What the subject's model is called with: the inputs, and then the context."""
        return (*self.inputs, *self.context)

    @property
    def target_keys(self) -> tuple[tuple[int, ...], ...]:
        """The target of each input as whole numbers: the same for inputs of the same target; () where there is one."""
        if self.targets is None:
            return ((),) * len(self)
        targets = self.targets.reshape(len(self), -1)
        if self.continued:
            targets = torch.cat([self.context[-1].flatten(1), targets], dim=1)
        return tuple(tuple(row) for row in targets.tolist())

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """A digest of each input, of its context and of its target, equal in every process."""
        rows = zip(self.target_keys, *self.arguments, strict=True)
        return tuple(digest_of(target, *tensors)[:_FINGERPRINT] for target, *tensors in rows)

    def part(self, start: int, stop: int) -> Block:
        """Return the inputs from ``start`` to ``stop`` as a block.

        It comes without outputs: they would be there or not according to what was measured before, and those of a
        larger batch may differ in the last bit.
        """
        return self._rows(slice(start, stop), self.indices[start:stop])

    def rows(self, places: Sequence[int]) -> Block:
        """Return the inputs at these places, in order, as a block without outputs too; for all of them, this one."""
        if len(places) == len(self):
            return self
        return self._rows(list(places), tuple(self.indices[place] for place in places))

    def _rows(self, rows: slice | list[int], indices: tuple[int, ...]) -> Block:
        return replace(
            self,
            indices=indices,
            inputs=tuple(tensor[rows] for tensor in self.inputs),
            targets=None if self.targets is None else self.targets[rows],
            context=tuple(tensor[rows] for tensor in self.context),
            mask=None if self.mask is None else self.mask[rows],
            sentences=None if self.sentences is None else self.sentences[rows],
            outputs=None,
        )

    def empty_maps(self, *, per_channel: bool = False) -> Tensor:
        """Return a batch of maps ``(b, *places)``, all 0, or with a value for each channel."""
        return self.layout.empty(len(self), like=self.inputs[0], per_channel=per_channel)
