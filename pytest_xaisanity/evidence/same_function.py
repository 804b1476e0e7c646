"""A model that is written in another way and computes the same: what implementation invariance is tried with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..explainers.attributions import Attributions
from ..maps.norms import relative_distances
from ..statistics.evidence import Part
from ..subject.block import Block
from ..subject.subject import Subject
from .base import Procedure

__all__ = ["Rewritten", "RoundingAlone", "check_same_function", "module_of"]

_ROUNDED = 1e4  # times the machine's precision, relative to the largest output: what rounding makes of many layers
_MOST = 0.1  # of the largest output: another function in any precision
_MOVED = 1e-3  # of a map's size, from which on it is asked what rounding alone does
_DRAWS = 8
_EXCUSED = 2.0  # times what rounding alone was seen to do


@dataclass(frozen=True)
class RoundingAlone(Part):
    """How far the maps of some inputs moved under noise of the size of the rounding, on the model as given.

    A network with kinks, such as ReLUs, has another gradient where rounding turns one over.

    Attributes:
        moves: The largest of some draws, relative to the size of the map, by index of the input. Inputs whose maps
            hardly moved were not asked, nor any behind one that rounding does not explain.
    """

    moves: Mapping[int, float]

    def excuses(self, index: int, moved: float) -> bool:
        """Whether rounding alone moves the map of an input about as far."""
        return moved <= _EXCUSED * self.moves.get(index, 0.0)

    def plain(self) -> dict[str, object]:
        """Return the moves."""
        moves = {str(index): moved for index, moved in self.moves.items()}
        return {"moved_by_rounding_alone": moves} if moves else {}


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
        rounded: Returns a block with noise of the size of the rounding, for a number of the draw; None where it is not
            known how large that is.
    """

    def __init__(
        self,
        attributions: Attributions,
        entered: Callable[[], AbstractContextManager[None]],
        *,
        stage: str,
        parts: tuple[Part, ...],
        given: Callable[[Block], Block] = lambda block: block,
        rounded: Callable[[Block, int], Block] | None = None,
    ) -> None:
        self.attributions, self.entered, self.given = attributions, entered, given
        self.stage, self.parts, self.rounded = stage, parts, rounded
        self.moves: dict[int, float] = {}

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of the other model."""
        with self.entered():
            maps = self.attributions.drawn_alike(self.given(block), stage=self.stage)
        if self.rounded is not None:
            self._excuse(block, maps, self.rounded)
        yield maps

    def _excuse(self, block: Block, maps: Tensor, rounded: Callable[[Block, int], Block]) -> None:
        """Note how far rounding alone moves the maps that moved, the furthest first, as long as it explains them."""
        before = self.attributions(block)
        moved = relative_distances(before.flatten(1), maps.flatten(1))
        for row in moved.argsort(descending=True).tolist():
            if not moved[row] > _MOVED:
                return
            few, index = block.rows([row]), block.indices[row]
            try:
                draws = [
                    self.attributions.drawn_alike(rounded(few, draw), stage="inputs with noise")
                    for draw in range(_DRAWS)
                ]
            except XaiError:  # of batches of one size alone
                return
            own = before[row : row + 1].flatten(1)
            self.moves[index] = max(float(relative_distances(own, one.flatten(1))) for one in draws)
            if not RoundingAlone(self.moves).excuses(index, float(moved[row])):
                return

    def again(self, block: Block) -> Iterable[Tensor]:
        """Return the maps of a second run with the same random numbers."""
        return [self.attributions.drawn_alike(block, stage="the model as given")]

    def describe(self) -> tuple[Part, ...]:
        """Return what was done, and what rounding did."""
        return (*self.parts, RoundingAlone(dict(self.moves)))
