"""The score of each input that is held against what was recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from ..evidence.base import Array, Metric
from ..maps.similarity import Similarity
from ..statistics.evidence import Part
from ..statistics.regression import Scale
from .base import closer_to, plain
from .identity import told

__all__ = ["Quality"]


@dataclass(frozen=True)
class Quality(Part):
    """The score of each input that tells whether an explainer has got worse: its own, whatever it is compared with.

    Attributes:
        of: What scores, with its settings.
        scale: What it scores on; of the estimate where there are no scores.
        scores: Of each input, in the order of the sample; None where there is none. Nothing where what inputs share,
            such as a training, decides: then the estimate is compared.
        twins: The group of each input, of (nearly) equal ones, which count once; None where each is one of its own.
    """

    of: str
    scale: Scale
    scores: Sequence[float | None] = ()
    twins: Sequence[int] | None = None

    @classmethod
    def on(cls, metric: Metric, values: Array, limits: tuple[float, float], groups: Array | None) -> Quality:
        """Return the scores ``(n,)`` of a metric, between its limits."""
        return cls(told(metric), Scale(*limits, metric.higher_is_better), plain(values), _twins(groups))

    @classmethod
    def within(cls, metric: Metric, beyond: Array, limits: tuple[float, float], groups: Array | None) -> Quality:
        """Return how far scores between limits are beyond two bounds, ``(n,)``."""
        width = limits[1] - limits[0]
        return cls(f"{told(metric)} beyond its bounds", Scale(-width, width, False), plain(beyond), _twins(groups))

    @classmethod
    def of_similarity(cls, s: Similarity, after: Array, groups: Array | None, *, alike: bool) -> Quality:
        """Return the similarities before and after an intervention ``(n, draws)``, averaged over draws.

        Args:
            s: The similarity.
            after: What it found.
            groups: The groups of inputs.
            alike: Whether explanations ought to stay alike.
        """
        higher = closer_to(s, below=False) == "above"
        values = np.asarray(after, float).mean(1)
        return cls(s.name, Scale(s.low, s.high, higher == alike), plain(values), _twins(groups))

    @classmethod
    def of_moves(cls, moved: Array, groups: Array | None) -> Quality:
        """Return how far maps moved, relative to their own size ``(n,)``; further than that is as bad."""
        return cls("distance", Scale(0.0, 1.0, False), plain(np.minimum(moved, 1.0)), _twins(groups))

    @classmethod
    def of_estimate(cls, metric: Metric, *, higher_is_better: bool) -> Quality:
        """Return nothing but which direction of the estimate is better."""
        return cls(told(metric), Scale(-inf, inf, higher_is_better))

    def plain(self) -> dict[str, object]:
        """Return nothing: the scores stand in the evidence already."""
        return {}


def _twins(groups: Array | None) -> list[int] | None:
    return None if groups is None else [int(group) for group in groups[:, 1]]
