"""A model that is written in another way and computes the same: what implementation invariance is tried with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..explainers.attributions import Attributions
from ..statistics.evidence import Part
from ..subject.block import Block
from ..subject.subject import Subject
from .base import Procedure

__all__ = ["Rewritten", "check_same_function", "module_of"]

_ROUNDED = 1e4  # times the machine's precision, relative to the largest output: what rounding makes of many layers
_MOST = 0.1  # of the largest output: another function in any precision


def module_of(subject: Subject, owner: str) -> nn.Module:
    """Return the subject's model; raise where its modules cannot be seen."""
    if isinstance(subject.model, nn.Module):
        return subject.model
    raise XaiError(
        owner,
        found=f"a model that is a {type(subject.model).__name__}",
        expected="a torch.nn.Module, whose layers can be written in another way",
        fix="wrap it in one that holds its layers, or claim invariant_under('batch_order')",
    )


def check_same_function(owner: str, before: Tensor, after: Tensor, *, expected: str, fix: str) -> float:
    """Return how far outputs moved, relative to the largest; raise when that is more than rounding.

    Args:
        owner: The intervention, for the error.
        before: Outputs of the model as given.
        after: Those of the model that should be the same function.
        expected: What it asks of the model, for the error.
        fix: What else to do.
    """
    scale = float(before.abs().max().clamp_min(torch.finfo(before.dtype).tiny))
    moved = float((after - before).abs().max()) / scale
    if not moved <= min(_ROUNDED * torch.finfo(before.dtype).eps, _MOST):
        found = f"outputs that moved by {moved:.2g} of the largest, on a model that should compute the same"
        raise XaiError(owner, found=found, expected=expected, fix=fix)
    return moved


class Rewritten(Procedure):
    """Explains a model that is written in another way, with the random numbers of the first run.

    Args:
        attributions: The explainer on the subject.
        entered: Returns a context in which the model is the other one.
        given: What is explained in the place of a block.
        stage: What was done, in words.
        parts: What the intervention says of itself.
    """

    def __init__(
        self,
        attributions: Attributions,
        entered: Callable[[], AbstractContextManager[None]],
        *,
        stage: str,
        parts: tuple[Part, ...],
        given: Callable[[Block], Block] = lambda block: block,
    ) -> None:
        self.attributions, self.entered, self.given = attributions, entered, given
        self.stage, self.parts = stage, parts

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of the other model."""
        with self.entered():
            yield self.attributions.drawn_alike(self.given(block), stage=self.stage)

    def again(self, block: Block) -> Iterable[Tensor]:
        """Return the maps of a second run with the same random numbers."""
        return [self.attributions.drawn_alike(block, stage="the model as given")]

    def describe(self) -> tuple[Part, ...]:
        """Return what was done."""
        return self.parts
