"""The explainer's own map, changed: what an explanation whose detail matters beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ...common.errors import XaiError, unknown_name
from ...maps.changes import CHANGES
from ...subject.block import Block

__all__ = ["ChangedMap", "Explain", "Mutant", "Mutants", "Tensors", "all_of", "as_given"]

Tensors = Any  # a tensor, or a tuple of tensors
Explain = Callable[[Any, Tensors, Tensor | None], Tensors]
Mutant = Callable[[Explain, Any, Tensors, Tensor | None], Tensors]


def all_of(tensors: Tensors) -> tuple[Any, ...]:
    """Return a tensor, or a tuple of tensors, as a tuple."""
    return tuple(tensors) if isinstance(tensors, (tuple, list)) else (tensors,)


def as_given(tensors: Sequence[Tensor]) -> Tensors:
    """Return the only tensor, or the tuple of several."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


@dataclass(frozen=True)
class ChangedMap:
    """The explainer's own map, changed: a mutant, and a baseline that every explanation whose detail matters beats.

    Attributes:
        name: One of :data:`CHANGES`.
    """

    name: str
    explains: ClassVar[bool] = True
    margin: ClassVar[float] = 0.01

    def __call__(self, explain: Explain, model: Any, inputs: Tensors, targets: Tensor | None) -> Tensors:
        """Return the original's attributions, each map changed."""
        change, given = CHANGES[self.name], all_of(explain(model, inputs, targets))
        axes = [max(1, one.ndim - 2) for one in all_of(inputs)]
        return as_given([change(maps, places) for maps, places in zip(given, axes, strict=True)])

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps: ``like``, changed."""
        return [CHANGES[self.name](like, like.ndim - 1)]


@dataclass(frozen=True)
class Mutants:
    """The baseline ``"mutants"``: the explainer's own map, changed in several ways that each must be beaten.

    By default the map is made coarse. An explanation whose signs carry information also beats ``"absolute_value"``.

    Args:
        mutants: Names of changes, one or more.
    """

    mutants: Sequence[str] = ("low_rank", "rounded")
    name: ClassVar[str] = "mutants"

    def __post_init__(self) -> None:
        names = self.mutants
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            raise XaiError(
                "baseline 'mutants'",
                found=repr(names),
                expected="a tuple of one or more names",
                fix=f"choose among {', '.join(CHANGES)}",
            )
        for name in names:
            if name not in CHANGES:
                raise unknown_name("baseline 'mutants'", name, CHANGES, kind="change of a map")
        object.__setattr__(self, "mutants", tuple(names))

    def parts(self, shape: tuple[int, ...]) -> list[ChangedMap]:
        """Return the baselines, for maps with these places.

        Raises:
            XaiError: None of the changes can be made to such maps.
        """
        fit = [name for name in self.mutants if len(shape) > 1 or name != "low_rank"]
        if not fit:
            raise XaiError(
                "baseline 'mutants'",
                found=f"maps of shape {shape}",
                expected="maps with two axes for low_rank",
                fix='write mutants=("rounded",)',
            )
        return [ChangedMap(name) for name in fit]
