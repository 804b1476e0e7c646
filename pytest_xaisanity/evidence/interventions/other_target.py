"""Another class: the explanation of a class must not do for the other classes too (Sixt et al. 2020)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...common.errors import XaiError
from ...common.seeding import generator
from ...explainers.attributions import Attributions
from ...subject.block import Block
from ..base import every_reading, sign_blind

__all__ = ["OtherTarget"]


@dataclass(frozen=True)
class OtherTarget:
    """Explain another class, drawn uniformly from the others by (seed, input): the random logit test.

    Without a named similarity the maps are compared whatever their sign (``sign_flip_ssim`` for images, else
    ``abs_pearson``), because a rule that has lost the class keeps a scalar of it, which may turn the map over. With two
    classes the same happens to a sound explanation, which may well be the negative of that of the other class; signed
    and absolute ranks and SSIM are then compared as for other interventions, and where they disagree the claim must
    name the similarity that matters.

    Maps that are multiplied by the input keep its shape for every class: on digits, bright strokes on black, 40 % of
    what is above chance. The default ``retention=0.5`` tells them from rules that have lost the class, which keep 70 %
    and more, given some two hundred inputs.

    Args:
        seeds: How many classes are drawn, each anew, for each input, 1 or more.

    Targets with several positions ``(N, k)`` get another one along the first axis of the outputs, that of the classes.

    Raises:
        XaiError: ``seeds`` is out of range, or the model has no other class.
    """

    seeds: int = 5
    name: ClassVar[str] = "other_target"
    relations: ClassVar[tuple[str, ...]] = ("changes_under",)

    def __post_init__(self) -> None:
        if type(self.seeds) is not int or self.seeds < 1:
            raise XaiError(
                "other_target seeds",
                found=repr(self.seeds),
                expected="a whole number of at least 1",
                fix="change seeds=",
            )

    @property
    def key(self) -> OtherTarget:
        """Equal for equal settings."""
        return self

    def start(self, explained: Attributions, block: Block) -> _Retargeting:
        """Count the classes on one input of the block."""
        classes = explained.subject.outputs(tuple(tensor[:1] for tensor in block.inputs)).shape[1]
        if block.targets is None or classes < 2:
            raise XaiError(
                "other_target",
                found="a model with a single output",
                expected="a model of two or more classes, so that another one can be explained",
                fix="claim changes_under('cascading_randomization') instead, or explain a classifier's logits",
            )
        return _Retargeting(self.seeds, explained, classes)


class _Retargeting:
    def __init__(self, seeds: int, explained: Attributions, classes: int) -> None:
        self.explained, self.classes = explained, classes
        self.shape = (seeds, 1)
        self.similarities = sign_blind if classes > 2 else every_reading

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of each drawn class."""
        for seed, targets in enumerate(self._targets(block)):
            stage = f"another class (seed {seed})"
            yield self.explained(block, stage=stage, state=("other_target", seed), targets=targets)

    def _targets(self, block: Block) -> list[Tensor]:
        """Return targets like the block's for each seed."""
        assert block.targets is not None
        seed, count = self.explained.seed, (self.shape[0],)
        # A step of 1 to classes - 1 reaches every class but the one that is there, all equally often.
        steps = torch.stack(
            [torch.randint(1, self.classes, count, generator=generator(seed, "class", i)) for i in block.indices], dim=1
        ).to(block.targets.device)
        columns = block.targets.reshape(len(block), -1)
        first = (columns[:, 0] + steps) % self.classes
        return [torch.column_stack([one, columns[:, 1:]]).reshape(block.targets.shape) for one in first]

    def describe(self) -> dict[str, Any]:
        """Return the number of classes, and how many were drawn for each input."""
        return {"classes": self.classes, "drawn": self.shape[0]}
