"""Efficient MPRT: how much more complex an explanation becomes once the model is randomized (Hedström et al. 2024).

An explanation that follows what the model has learned loses its order when the weights are re-initialized, and the
entropy of its histogram rises. One comparison with the fully randomized model takes the place of one for each layer.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import closing
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ...common.checks import FEW, check_whole
from ...explainers.attributions import Attributions
from ...maps.counted import counted_scores
from ...model.reinit.distributions import Distribution, as_distribution
from ...statistics.evidence import Axis, Part
from ...subject.block import Block
from ..base import BEGUN, Cost, Lab, Measurement, Measuring, OwnMetric, Scored
from ..groups import Grouping
from ..interventions.weight_randomization import CascadingRandomization, Randomizing

__all__ = ["EfficientMPRT", "Entropies", "histogram_entropy"]


_MOST_BINS = 10_000  # more than maps have places to fill them with


@dataclass(frozen=True)
class EfficientMPRT(OwnMetric):
    """Relative rise of the entropy of a map, once all layers are randomized: ``(after - before) / before``.

    The entropy is that of :func:`histogram_entropy`; the score of an input is the mean over ``seeds`` randomizations.
    It is at least -1, about 0 for maps that do not depend on the model, and higher is better. It has no upper bound,
    so that a claim is about the median. Where the map before is constant, or one after is not finite, the score is
    NaN; a claim counts such inputs against either decision.

    A map that ignores the model has exactly 0, so that a claim worth making has a bound above it, such as
    ``at_least=0.02``. The score compares two complexities and not two maps: it cannot tell what has changed. The
    randomized models are the last ones of ``cascading_randomization`` with the same ``seeds`` and ``reinit``, whose
    maps are not computed twice.

    Args:
        bins: Number of bins, 2 to 10,000.
        seeds: How many independent randomizations, 1 to 1,000.
        reinit: The distribution new weights are drawn from: a name or an object.

    Raises:
        XaiError: A setting is out of range.
    """

    bins: int = 100
    seeds: int = 5
    reinit: str | Distribution = "own"
    name: ClassVar[str] = "efficient_mprt"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = inf
    higher_is_better: ClassVar[bool] = True
    undefined: ClassVar[bool] = True
    randomizes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", check_whole(self.name, "bins", self.bins, least=2, most=_MOST_BINS))
        object.__setattr__(self, "seeds", check_whole(self.name, "seeds", self.seeds, most=FEW))
        object.__setattr__(self, "reinit", as_distribution(self.reinit, where=f"{self.name} reinit"))

    def measurement(self) -> EntropyMeasurement:
        """Return what a claim has measured: the maps of the model as given, and of the randomized ones."""
        return EntropyMeasurement(self)


@dataclass(frozen=True)
class EntropyMeasurement(Measurement[Scored]):
    """The measurement of :class:`EfficientMPRT`."""

    metric: EfficientMPRT

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""
        return (self.metric.name, self.metric.key)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return an explanation as given, and one of each randomized model."""
        return Cost(explanations=1 + self.metric.seeds, once=BEGUN)

    def start(self, lab: Lab, block: Block) -> _Measuring:
        """Find the layers of the model, on one input of the block."""
        randomization = CascadingRandomization(seeds=self.metric.seeds, reinit=self.metric.reinit)
        return _Measuring(self.metric, lab.attributions, randomization.start(lab, block))


class _Measuring(Measuring[Scored]):
    def __init__(self, metric: EfficientMPRT, attributions: Attributions, randomizing: Randomizing) -> None:
        self.metric, self.attributions, self.randomizing = metric, attributions, randomizing
        self.grouping = Grouping()

    def measure(self, block: Block) -> Scored:
        """Return ``scores`` ``(b, 1)`` and, as a curve, the entropies as given and of each randomized model."""
        maps = self.attributions(block)
        given = self._entropy(maps, block)
        seeds, positions = self.randomizing.shape
        every = list(range(len(block)))
        wanted = {(seed, positions - 1): every for seed in range(seeds)}
        with closing(self.randomizing.sampled(block, wanted)) as randomized:
            found = {seed: self._entropy(maps, block) for (seed, _), maps in randomized}
        curve = torch.stack([given, *(found[seed] for seed in range(seeds))], dim=1)
        before, after = curve[:, :1], curve[:, 1:]
        rise = ((after - before) / before).mean(1, keepdim=True)  # exactly 0 where nothing changed
        scores = torch.where(before > 0, rise, torch.nan)
        return Scored.of(scores, {"entropy": curve}, self.grouping.of(block, maps))

    def _entropy(self, maps: Tensor, block: Block) -> Tensor:
        return counted_scores(block.mask, lambda counted: histogram_entropy(counted, self.metric.bins), maps)

    def describe(self) -> tuple[Part, ...]:
        """Return the points of the curve, the bins, and what was randomized."""
        models = ("as given", *(f"randomized, seed {seed}" for seed in range(self.metric.seeds)))
        return (Entropies(models, self.metric.bins), *self.randomizing.describe())

    def rest(self) -> None:
        """Let go of the weights that were drawn."""
        self.randomizing.rest()


@dataclass(frozen=True)
class Entropies(Axis):
    """What the points of the entropy curve are.

    Attributes:
        models: The model at each point, in words.
        bins: Number of bins of the histograms.
    """

    models: tuple[str, ...]
    bins: int

    @property
    def across(self) -> str:
        """The model that is explained."""
        return "model"

    @property
    def points(self) -> tuple[str, ...]:
        """The models, in words."""
        return self.models

    @property
    def up(self) -> str:
        """The entropy of the histogram."""
        return f"entropy of the map (nats, {self.bins} bins)"

    def plain(self) -> dict[str, object]:
        """Return both, and the name of the axis."""
        return {"axis": "model", "models": list(self.models), "bins": self.bins}


def histogram_entropy(maps: Tensor, bins: int) -> Tensor:
    """Return the Shannon entropy, in nats, of the histogram of each map: ``(b,)``.

    The bins are of equal width and span the range of the map, so that scaling or shifting it changes nothing: from 0
    for a constant map to ln ``bins``, less where the map has few places. NaN where a map is not finite.

    Args:
        maps: Attribution maps ``(b, *places)``.
        bins: Number of bins.
    """
    flat = maps.flatten(1)
    count, places = flat.shape
    low, high = torch.aminmax(flat, dim=1, keepdim=True)
    width = high - low
    # Constant maps and those that are not finite have no bins, and fall into whichever: their entropy is known below.
    bin_of = (flat - low).div_(width).mul_(bins).int().clamp_(0, bins - 1)
    bin_of += bins * torch.arange(count, dtype=torch.int32, device=flat.device)[:, None]
    counts = torch.bincount(bin_of.flatten(), minlength=count * bins).reshape(count, bins)
    entropy = torch.special.entr(counts.to(flat.dtype) / places).sum(1)
    entropy = torch.where(width[:, 0] == 0, 0.0, entropy)
    return torch.where(width[:, 0].isfinite(), entropy, torch.nan)
