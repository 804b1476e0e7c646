"""Metrics of torchmetrics, of maps against masks: ``bounded(BinaryAUROC(), masks=masks, at_least=0.7)``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from .of_others import MetricOfOthers, Rows

__all__ = ["TorchMetric"]


@dataclass(frozen=True, eq=False)
class TorchMetric(MetricOfOthers):
    """A metric of torchmetrics: the map is what is predicted, the mask of the input what is true.

    It is updated with one map and its mask, both ``(1, 1, *places)`` for images and ``(1, *places)`` otherwise,
    computed and forgotten. Its range is that which the metric says its plots have.
    """

    @classmethod
    def accepts(cls, source: object) -> bool:
        """Whether an object is a metric of torchmetrics."""
        return any(
            base.__module__.partition(".")[0] == "torchmetrics" and base.__name__ == "Metric"
            for base in type(source).__mro__
        )

    @classmethod
    def adapted(cls, source: object, settings: Iterable[tuple[str, object]], *, where: str) -> MetricOfOthers:
        """Return the metric of an object, which needs masks.

        Raises:
            XaiError: There are none, or the metric does not say which direction is better.
        """
        made = super().adapted(source, settings, where=where)
        if made.masks is None:
            raise made.error(
                "no masks",
                "masks= beside it: what a map should show of each input, (N, *places)",
                f"pass masks=: bounded({type(source).__name__}(), masks=masks, ...) or beats(..., on=..., masks=masks)",
            )
        if made.source.higher_is_better is None:
            raise made.error(
                f"a {type(source).__name__} that does not say which direction is better",
                "a metric with higher_is_better",
                "set it to True or False in the object: metric.higher_is_better = True",
            )
        return made

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of its class, behind that of the library."""
        return f"torchmetrics.{type(self.source).__name__}"

    @property
    def low(self) -> float:
        """The lower bound of its plots, or minus infinity."""
        return self._bound("plot_lower_bound", -inf)

    @property
    def high(self) -> float:
        """The upper bound of its plots, or infinity."""
        return self._bound("plot_upper_bound", inf)

    def _bound(self, attribute: str, otherwise: float) -> float:
        bound = getattr(self.source, attribute)
        return otherwise if bound is None else float(bound)

    @property
    def higher_is_better(self) -> bool:
        """What the metric says."""
        return bool(self.source.higher_is_better)

    def _of_row(self, prepared: Rows, row: int, one: Tensor, draw: str) -> float:
        assert prepared.masks is not None
        mask = prepared.masks[row]
        axes = (1, 1) if prepared.block.layout.channels is not None else (1,)
        metric = self.source.clone().to(one.device)
        metric.reset()
        truth = mask.to(one.device, torch.long if mask.dtype == torch.bool else mask.dtype)
        metric.update(one.reshape(*axes, *one.shape), truth.reshape(*axes, *one.shape))
        found = metric.compute()
        if not isinstance(found, Tensor) or found.numel() != 1:
            raise self.error(
                f"a {type(found).__name__} from compute()", "a single number", "ask the metric for a mean: average=..."
            )
        return float(found)
