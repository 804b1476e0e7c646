"""Perturbations of a block of inputs, what the output does under them, and what maps predict of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...common.errors import XaiError
from ...common.seeding import generator
from ...subject.block import Block, Inputs
from ...subject.outputs import select
from ..base import Lab
from ..spread import check_floating, embedded_spread, spreads

__all__ = ["Kind", "Perturbation", "Perturbing"]

Kind: TypeAlias = Literal["gaussian", "square", "binary"]
_DRAWN = 2**18  # numbers that one generator draws of an input, at most, where one sample has no more
_TOGETHER = 2**18  # numbers that are made into perturbed inputs together, where those of one pass are no more
_KEPT = 2**24  # numbers of a block that are kept for other maps, at most


@dataclass(frozen=True)
class Perturbation:
    """What perturbs an input.

    Attributes:
        kind: How the numbers are drawn.
        size: Standard deviation of noise, side of the square, or probability of removal.
        samples: How many for each input.
        by_value: Whether maps are told ``I``: noise in each value, or what is removed of each channel. Otherwise they
            are told how much of each place is gone.
        baseline: What removed values become.
        spread: Whether noise in values is in units of their spread.
    """

    kind: Kind
    size: float
    samples: int
    by_value: bool
    baseline: float
    spread: bool


class Perturbing:
    """The perturbations of one block: numbers of each input, samples times places or values, drawn by itself.

    What the output does under them is kept for all maps of the block; they themselves are kept where they are few, and
    otherwise drawn again.

    Args:
        lab: The subject and the seed.
        block: The inputs.
        owner: The metric, for errors, and for what is drawn.
        how: What perturbs them.

    Attributes:
        before: The outputs of the inputs as they are, ``(b,)``.
    """

    def __init__(self, lab: Lab, block: Block, owner: str, how: Perturbation) -> None:
        check_floating(owner, block)
        self.subject, self.block, self.seed, self.owner, self.how = lab.subject, block, lab.seed, owner, how
        self.layouts = block.layout.each
        self.additive = how.by_value and how.kind == "gaussian"
        self.embedded = self._embedding() if block.mask is not None else None
        self.scales = self._scales() if self.additive else []
        by_value = self.additive and self.embedded is None
        self.sizes = [prod(one.values if by_value else one.places) for one in self.layouts]
        outputs = self.subject.outputs(block.arguments) if block.outputs is None else block.outputs
        self.before = self._explained(outputs, block.targets)
        self._changes: Tensor | None = None
        self._keeps = len(block) * how.samples * sum(self.sizes) <= _KEPT
        self._kept: dict[tuple[int, int, int], Tensor] = {}

    @property
    def shifts_tokens(self) -> bool:
        """Whether all dimensions of an embedded token are moved by the same number."""
        return self.additive and self.embedded is not None

    # ------------------------------------------------------------------------------------------------------ measuring

    def measured(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what ``maps`` predict of the changes, and the changes ``f(x) - f(x - I)``: ``(b, samples)`` each."""
        weights = self._weights(maps)
        parts = [self._some(weights, first, count) for first, count in self._chunks()]
        if self._changes is None:
            after = torch.cat([part[:, 1] for part in parts], dim=1)
            if not torch.isfinite(after).all():
                raise XaiError(
                    self.owner,
                    found="outputs of xai_model that are NaN or infinite on perturbed inputs",
                    expected="finite outputs",
                    fix="choose a smaller sigma=, or another perturbation= or baseline=",
                )
            self._changes = self.before[:, None] - after
        return torch.cat([part[:, 0] for part in parts], dim=1), self._changes

    def _chunks(self) -> list[tuple[int, int]]:
        """Return the first and the number of samples that one generator draws."""
        most = max(1, min(self.how.samples, _DRAWN // sum(self.sizes)))
        return [(first, min(most, self.how.samples - first)) for first in range(0, self.how.samples, most)]

    def _some(self, weights: Tensor, first: int, count: int) -> Tensor:
        """Return the predictions and, unless they are known, the outputs under some samples: ``(b, 1 or 2, count)``."""
        at_once = self._at_once(count)
        drawn = at_once * max(1, _TOGETHER // (at_once * count * sum(self.sizes)))

        def work(part: slice) -> Tensor:
            numbers = self._numbers(part, first, count)
            found = [torch.bmm(numbers, weights[part, :, None])[:, :, 0]]
            if self._changes is None:
                found.append(self._outputs(part, numbers).reshape(-1, count).to(found[0].dtype))
            return torch.stack(found, dim=1)

        with torch.inference_mode(False), torch.no_grad():
            return self.subject.batches.of(drawn).run(len(self.block), work)

    def _at_once(self, count: int) -> int:
        """Return of how many inputs ``count`` perturbations each are one pass."""
        return max(1, self.subject.batches.size // count)

    def _outputs(self, part: slice, numbers: Tensor) -> Tensor:
        """Return the explained output of each perturbed input, those of one input in a row."""
        count = numbers.shape[1]
        rows = torch.arange(part.start, part.stop, device=numbers.device).repeat_interleave(count)
        perturbed = [tensor.flatten(0, 1) for tensor in self._perturbed(part, numbers)]
        targets = None if self.block.targets is None else self.block.targets[rows]

        def work(few: slice) -> Tensor:
            given = tuple(tensor[few] for tensor in perturbed)
            context = tuple(tensor[rows[few]] for tensor in self.block.context)
            return self._explained(self._answer(given, context, rows[few]), None if targets is None else targets[few])

        def of_inputs(some: slice) -> Tensor:
            first = some.start * count
            return self.subject.batches.run(
                some.stop * count - first, lambda few: work(slice(first + few.start, first + few.stop))
            )

        return self.subject.batches.of(self._at_once(count)).run(len(numbers), of_inputs)

    def _explained(self, outputs: Tensor, targets: Tensor | None) -> Tensor:
        return select(outputs if outputs.dtype == torch.float64 else outputs.float(), targets)

    # ----------------------------------------------------------------------------------------------------- perturbing

    def _numbers(self, part: slice, first: int, count: int) -> Tensor:
        """Return the numbers of some inputs, ``(p, count, places or values)``, each input's by its own generator."""
        key = (first, part.start, part.stop)
        if key in self._kept:
            return self._kept[key]
        indices = self.block.indices[part]
        drawn = torch.empty(len(indices), count, sum(self.sizes), dtype=torch.float32)
        for row, index in enumerate(indices):
            self._draw(drawn[row], generator(self.seed, self.owner, self.how.kind, first, index))
        numbers = drawn.to(self.before.device, self.before.dtype)
        if self.block.mask is not None:
            numbers *= self.block.mask[part, None]
        if self._keeps:
            self._kept[key] = numbers
        return numbers

    def _draw(self, numbers: Tensor, rng: torch.Generator) -> None:
        """Draw ``(count, places or values)``: normal numbers, or 1 where a place is removed and 0 where it stays."""
        if self.how.kind == "gaussian":
            numbers.normal_(generator=rng)
        elif self.how.kind == "binary":
            torch.lt(numbers.uniform_(generator=rng), self.how.size, out=numbers)
        else:
            numbers.copy_(self._squares(len(numbers), rng))

    def _squares(self, count: int, rng: torch.Generator) -> Tensor:
        places, side = self.layouts[0].places, int(self.how.size)
        inside = torch.ones(count, *places, dtype=torch.bool)
        for axis, length in enumerate(places):
            corner = torch.randint(0, length - side + 1, (count, 1), generator=rng)
            along = torch.arange(length)
            hit = (along >= corner) & (along < corner + side)
            inside &= hit.reshape(count, *[-1 if other == axis else 1 for other in range(len(places))])
        return inside.flatten(1)

    def _perturbed(self, part: slice, numbers: Tensor) -> list[Tensor]:
        """Return some inputs, or their embedded tokens, each under ``count`` perturbations: ``(p, count, ...)``."""
        if self.embedded is not None:
            return [self._moved(self.embedded[part], numbers[..., None], 0, part)]
        moved, shape = [], numbers.shape[:2]
        for place, each in enumerate(torch.split(numbers, self.sizes, dim=2)):
            layout, tensor = self.layouts[place], self.block.inputs[place][part]
            flat = each.flatten(0, 1)
            if self.additive:
                given = layout.as_given(flat.reshape(-1, *layout.values)).reshape(-1, *tensor.shape[1:])
            else:
                given = layout.like_inputs(flat.reshape(-1, *layout.places), tensor)
            moved.append(self._moved(tensor, given.reshape(*shape, *given.shape[1:]), place, part))
        return moved

    def _moved(self, tensor: Tensor, numbers: Tensor, place: int, part: slice) -> Tensor:
        """Return rows of a tensor less noise, or with so much of them replaced by the baseline."""
        tensor, numbers = tensor[:, None], numbers.to(tensor.dtype)
        if not self.additive:
            factor = self.how.size if self.how.kind == "gaussian" else 1.0
            return torch.addcmul(tensor, numbers, tensor - self.how.baseline, value=-factor)
        scale = self.scales[place].to(tensor.dtype)
        scale = scale if len(scale) == 1 else scale[part]
        return torch.addcmul(tensor, numbers, scale[:, None], value=-self.how.size)

    def _answer(self, given: Inputs, context: Inputs, rows: Tensor) -> Tensor:
        if self.embedded is None:
            return self.subject.answer((*given, *context))
        return self.subject.answer((self.block.inputs[0][rows], *context), given[0])

    # -------------------------------------------------------------------------------------------------------- weights

    def _weights(self, maps: Tensor) -> Tensor:
        """Return what the numbers are multiplied by to predict a change: ``(b, places or values)``."""
        flat = maps.flatten(1).to(self.before.dtype)
        factor = self.how.size if self.how.kind == "gaussian" else 1.0
        if not self.how.by_value:
            return factor * flat
        if self.embedded is not None:
            return factor * flat * self.scales[0][:, :, 0].to(flat)
        parts = torch.split(flat, [prod(layout.values) for layout in self.layouts], dim=1)
        found = []
        for place, (layout, part) in enumerate(zip(self.layouts, parts, strict=True)):
            tensor = self.block.inputs[place]
            if self.additive:
                scale = layout.channels_first(self.scales[place].expand_as(tensor))
                found.append(factor * part * scale.reshape(len(tensor), -1).to(part))
            else:
                removed = layout.channels_first(tensor - self.how.baseline).reshape(len(tensor), -1).to(part)
                found.append((part * removed).reshape(len(part), layout.channels or 1, -1).sum(1))
        return torch.cat(found, dim=1)

    def _scales(self) -> list[Tensor]:
        """Return what a unit of noise is, as it broadcasts against each tensor, or against the embedded tokens."""
        if self.embedded is None:
            if self.how.spread:
                return spreads(self.subject, self.block)
            return [tensor.new_ones((1,) * tensor.ndim) for tensor in self.block.inputs]
        if not self.how.spread:
            return [self.embedded.new_ones(1, 1, 1)]
        assert self.block.mask is not None
        return [embedded_spread(self.embedded, self.block.mask)]

    def _embedding(self) -> Tensor:
        """Return what the embedding makes of the tokens of the block, ``(b, T, D)``."""
        presentation = self.subject.presentation
        if presentation.embedding is None:
            raise XaiError(
                self.owner,
                found="token ids, whose numbers cannot be perturbed, and no embedding",
                expected="the module whose output is perturbed in their place",
                fix="name it in xai_embedding, or Bench(embedding=...)",
            )
        return presentation.embedded(self.block.arguments)
