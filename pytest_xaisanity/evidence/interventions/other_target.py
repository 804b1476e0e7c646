"""Another class: the explanation of a class must not do for the other classes too (Sixt et al. 2020)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...common.checks import FEW, check_whole
from ...common.errors import XaiError
from ...common.seeding import generator
from ...statistics.evidence import Part
from ...subject.block import Block
from ..base import Cell, Intervention, Lab, Sweep
from ..randomized import SEEDS

__all__ = ["OtherTarget"]


@dataclass(frozen=True)
class OtherTarget(Intervention):
    """Explain another class, drawn uniformly from the others by (seed, input): the random logit test.

    Without a named similarity the maps are compared whatever their sign, because a rule that has lost the class keeps a
    scalar of it, which may turn the map over. With two classes the same happens to a sound explanation, which may well
    be the negative of that of the other class; the signed rank correlation decides then.

    Maps that are multiplied by the input keep its shape for every class: on digits, bright strokes on black, 40 % of
    what is above chance. The default ``retention=0.5`` tells them from rules that have lost the class, which keep 70 %
    and more, given some two hundred inputs.

    Args:
        seeds: How many classes are drawn, each anew, for each input, 1 to 1,000.

    Targets with several positions ``(N, k)`` get another one along the first axis of the outputs, that of the classes.
    Continuations of several tokens get another token in the place of each.

    Raises:
        XaiError: ``seeds`` is out of range, or the model has no other class.
    """

    seeds: int = SEEDS
    name: ClassVar[str] = "other_target"
    advice: ClassVar[str] = (
        "the explanation hardly depends on the class: use a method that mixes relevance of both signs "
        "(gradients, LRP z, DeepLIFT Rescale)"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", check_whole(self.name, "seeds", self.seeds, most=FEW))

    def start(self, lab: Lab, block: Block) -> _Retargeting:
        """Count the classes on a few inputs of the block."""
        classes = lab.subject.outputs(lab.subject.probe(block)).shape[1]
        if block.targets is None or classes < 2:
            raise XaiError(
                "other_target",
                found="a model with a single output",
                expected="a model of two or more classes, so that another one can be explained",
                fix="claim changes_under('cascading_randomization') instead, or explain a classifier's logits",
            )
        return _Retargeting(self.seeds, lab, classes)


class _Retargeting(Sweep):
    def __init__(self, seeds: int, lab: Lab, classes: int) -> None:
        self.attributions, self.seed, self.classes = lab.attributions, lab.seed, classes
        self.shape = (seeds, 1)

    def readings(self, image: bool) -> tuple[str, ...]:
        """With more than two classes, return what is blind to the sign."""
        return super().readings(image) if self.classes > 2 else ("spearman",)

    def sampled(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the maps that are wanted, those of each drawn class."""
        every = self._targets(block)
        for (seed, position), rows in wanted.items():
            stage, state = f"another class (seed {seed})", ("other_target", seed)
            other = self._continued(block, seed)
            maps = self.attributions.of_some(other, rows, stage=stage, state=state, targets=every[seed])
            yield (seed, position), maps

    def _targets(self, block: Block) -> list[Tensor]:
        """Return targets like the block's for each seed."""
        assert block.targets is not None
        seed, count = self.seed, (self.shape[0],)
        # A step of 1 to classes - 1 reaches every class but the one that is there, all equally often.
        steps = torch.stack(
            [torch.randint(1, self.classes, count, generator=generator(seed, "class", i)) for i in block.indices], dim=1
        ).to(block.targets.device)
        columns = block.targets.reshape(len(block), -1)
        first = (columns[:, 0] + steps) % self.classes
        return [torch.column_stack([one, columns[:, 1:]]).reshape(block.targets.shape) for one in first]

    def _continued(self, block: Block, seed: int) -> Block:
        """Return the block, with other tokens before the last of each continuation too where they are explained."""
        if not block.continued:
            return block
        before = block.context[-1]
        drawn = [
            torch.randint(1, self.classes, before.shape[1:], generator=generator(self.seed, "token", seed, i))
            for i in block.indices
        ]
        other = (before + torch.stack(drawn).to(before.device)) % self.classes
        return replace(block, context=(*block.context[:-1], torch.where(before < 0, before, other)))

    def describe(self) -> tuple[Part, ...]:
        """Return the number of classes, and how many were drawn for each input."""
        return (Classes(self.classes, self.shape[0]),)


@dataclass(frozen=True)
class Classes(Part):
    """How many classes there are, and how many others were explained for each input."""

    classes: int
    drawn: int

    def plain(self) -> dict[str, object]:
        """Return both numbers."""
        return {"classes": self.classes, "drawn": self.drawn}
