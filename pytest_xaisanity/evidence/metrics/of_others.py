"""Metrics of other libraries: an object of theirs as a metric of given maps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...common.errors import XaiError, shown, unknown_name
from ...subject.block import Block
from ...subject.tensors import from_numpy
from ..base import Lab, MapMetric, Scores

__all__ = ["MetricOfOthers", "Rows"]


@dataclass(frozen=True)
class Rows:
    """What all scores of a block share.

    Attributes:
        lab: Where it is measured.
        block: The inputs.
        masks: The masks of these inputs ``(b, *places)``, or None.
    """

    lab: Lab
    block: Block
    masks: Tensor | None


@dataclass(frozen=True, eq=False)
class MetricOfOthers(MapMetric[Rows]):
    """An object of another library's, which scores one map after the other.

    Write one class for each library in a file of ``evidence/metrics``, and register it among ``METRICS_OF_OTHERS``.

    Args:
        source: The object.
        masks: For what asks where the evidence is: a mask of each input, ``(N, *places)`` or ``(N, 1, *places)``, a
            tensor or an array, in the order of ``xai_inputs``.
    """

    source: Any
    masks: object = None
    ranks: ClassVar[bool] = False
    undefined: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def accepts(cls, source: object) -> bool:
        """Whether an object is one of the library's; told without importing it."""

    @classmethod
    def adapted(cls, source: object, settings: Iterable[tuple[str, object]], *, where: str) -> MetricOfOthers:
        """Return the metric of an object, with the settings that stand beside it.

        Raises:
            XaiError: A setting is none.
        """
        known = dict(settings)
        for name in known:
            if name != "masks":
                raise unknown_name(f"{where} {type(source).__name__}", name, ["masks"], kind="setting")
        return cls(source, **known)

    def prepare(self, lab: Lab, block: Block) -> Rows:
        """Return the block with the masks of its inputs."""
        return Rows(lab, block, None if self.masks is None else self._masks_of(lab, block))

    def score(self, prepared: Rows, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores of ``maps`` ``(b, *places)``, each by itself."""
        found = [self._of_row(prepared, row, maps[row], draw) for row in range(len(maps))]
        return Scores(torch.tensor(found, dtype=maps.dtype, device=maps.device))

    @abstractmethod
    def _of_row(self, prepared: Rows, row: int, one: Tensor, draw: str) -> float:
        """Return the score of the map ``(*places)`` of the input at a row of the block."""

    def _masks_of(self, lab: Lab, block: Block) -> Tensor:
        given = from_numpy(self.masks, f"{self.name} masks")
        places = tuple(block.empty_maps().shape[1:])
        if isinstance(given, Tensor) and tuple(given.shape[1:]) == (1, *places):
            given = given[:, 0]
        count = lab.subject.count
        fits = isinstance(given, Tensor) and tuple(given.shape[1:]) == places
        if not fits or len(given) != (len(given) if count is None else count) or max(block.indices) >= len(given):
            found = f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else shown(given)
            raise XaiError(
                f"{self.name} masks",
                found=found,
                expected=f"a mask for each input, ({'N' if count is None else count}, {', '.join(map(str, places))})",
                fix="give masks= in the order of xai_inputs",
            )
        rows: Tensor = given[list(block.indices)]
        return rows

    def error(self, found: str, expected: str, fix: str) -> XaiError:
        """Return an error about this metric."""
        return XaiError(f"metric {self.name!r}", found=found, expected=expected, fix=fix)
