"""Measuring a metric on an explainer or a baseline, block by block."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..explainers.attributions import Attributions
from ..subject.block import Block
from ..subject.layout import empty_maps
from .base import MapSource, Metric
from .baselines.edges import Edges

__all__ = ["Scoring"]

_CONTROLLED = 16  # inputs that the control is shown on: it does not decide


@dataclass(frozen=True)
class Scoring:
    """Scores ``(b, draws)`` of the explainer, or of a baseline in its place, and curves ``(b, points)``.

    Args:
        metric: What scores.
        baseline: Maps to score in the explainer's place; None scores the explainer.
        control: Whether an edge map is scored too, on the first block of images, for comparison.
    """

    metric: Metric
    baseline: MapSource | None = None
    control: bool = False

    @property
    def key(self) -> Hashable:
        """Equal for scorings that measure the same; a baseline's scores do not depend on the explainer."""
        return ("scoring", self.metric.name, self.metric.key, self.baseline, self.control)

    @property
    def explains(self) -> bool:
        """Whether the scores depend on the explainer."""
        return self.baseline is None or getattr(self.baseline, "explains", False)

    def start(self, explained: Attributions, block: Block) -> _Scoring:
        """Begin on the first block."""
        return _Scoring(self, explained)


class _Scoring:
    def __init__(self, scoring: Scoring, explained: Attributions) -> None:
        self.scoring, self.explained = scoring, explained
        self.described: dict[str, Any] | None = None

    def measure(self, block: Block) -> dict[str, Tensor]:
        """Return ``scores`` ``(b, draws)`` and the named curves, averaged over draws."""
        metric, seed = self.scoring.metric, self.explained.seed
        subject, key = self.explained.subject, (metric.name, metric.key, seed, block.indices)
        prepared = subject.shared(key, lambda: metric.prepare(subject, block, seed))
        if self.scoring.baseline is None:
            candidates = [self.explained(block)]
        else:
            like = self.explained(block) if self.scoring.explains else empty_maps(block.inputs)
            candidates = self.scoring.baseline.maps(block, like, seed=seed)
        who = "explainer" if self.scoring.baseline is None else self.scoring.baseline.name
        scored = [metric.score(prepared, maps, draw=f"{who} {k}") for k, maps in enumerate(candidates)]
        result = {"scores": torch.stack([one.values for one in scored], dim=1)}
        for name in scored[0].curves:
            result[f"curve {name}"] = torch.stack([one.curves[name] for one in scored]).mean(0)
        if self.described is None:
            self.described = metric.describe(prepared) | self._control(block, candidates[0])
        return result

    def describe(self) -> dict[str, Any]:
        """Return what the metric says of itself, and the control."""
        return self.described or {}

    def _control(self, block: Block, like: Tensor) -> dict[str, Any]:
        if not self.scoring.control or len(block.inputs) != 1 or block.inputs[0].ndim != 4:
            return {}
        few = block.part(0, _CONTROLLED)
        maps = Edges().maps(few, like, seed=self.explained.seed)[0]
        prepared = self.scoring.metric.prepare(self.explained.subject, few, self.explained.seed)
        values = self.scoring.metric.score(prepared, maps, draw="edges").values
        return {"controls": {"edges": {"score": float(values.mean()), "n": len(few)}}}
