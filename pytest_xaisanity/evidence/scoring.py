"""Measuring a metric of given maps on an explainer or a baseline, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..maps.norms import norms
from ..statistics.evidence import Part, Row
from ..subject.block import Block
from .base import Baseline, Beside, Cost, Lab, MapMetric, Measurement, Measuring, Rival, Scored, Scores
from .baselines.edges import Edges
from .controls import CONTROLLED, Controls, Score
from .foreign import asked, begun_by, checked_maps, prepared_by, scores_by
from .groups import Grouping
from .smoothing import own_network

__all__ = ["Scoring"]

_LEADING = 5  # features that are named

AnyMapMetric = MapMetric[Any]  # what it prepares is its own affair


@dataclass(frozen=True)
class Scoring(Measurement[Scored]):
    """Scores ``(n, draws)`` of the explainer, or of a baseline in its place, and curves ``(n, points)``.

    Inputs of which a baseline has no map score NaN. The explainer's scores come with the group of each input.

    Args:
        metric: What scores.
        baseline: Maps to score in the explainer's place; None scores the explainer.
        control: Whether an edge map is scored too, on the first block of images, for comparison.
    """

    metric: AnyMapMetric
    baseline: Baseline | None = None
    control: bool = False

    @property
    def key(self) -> Hashable:
        """Equal for scorings that measure the same; a baseline's scores do not depend on the explainer."""
        return ("scoring", self.metric.name, self.metric.key, self.baseline, self.control)

    @property
    def about(self) -> Literal["explainer", "baseline"]:  # type: ignore[override]
        """The explainer, unless a baseline is scored that owes it nothing, not even the size of its maps."""
        own = self.baseline is None or self.baseline.from_explainer or not self.metric.ranks
        return "explainer" if own else "baseline"

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return the passes of the metric for each map, and an explanation, which serves what is made from it too."""
        prepared_by(self.metric, lab, block)  # so that what it would refuse is refused
        passes = self.metric.passes(block)
        if self.baseline is None:
            shared, few = self.metric.shares_passes, len(block.part(0, CONTROLLED))
            controlled = few if self.control and block.layout.is_image and not shared else 0
            # Those of the untouched input, where no prediction of what is explained is one, and of the emptied one.
            beside = (0 if lab.subject.predicts else 1) + (0 if shared else 1)
            return Cost(explanations=1, passes=beside + passes, once=controlled * (passes + 2))
        maps = 0 if self.metric.shares_passes else self.baseline.count
        return self.baseline.cost() + Cost(passes=maps * passes)

    def start(self, lab: Lab, block: Block) -> _Scoring:
        """Begin on the first block."""
        return _Scoring(self, lab)


@dataclass(frozen=True)
class Leading(Part):
    """What the explainer's maps put first.

    Attributes:
        counts: The number of inputs whose map puts it first, by the name of a feature, the most frequent first.
    """

    counts: Mapping[str, int]

    def plain(self) -> dict[str, object]:
        """Return the counts."""
        return {"leading": dict(self.counts)}

    def rows(self) -> Iterator[Row]:
        """Yield the most frequent."""
        yield "put first", ", ".join(f"{name} ({count} inputs)" for name, count in [*self.counts.items()][:_LEADING])


class _Scoring(Measuring[Scored]):
    def __init__(self, scoring: Scoring, lab: Lab) -> None:
        self.metric, self.baseline, self.lab = scoring.metric, scoring.baseline, lab
        self.control = scoring.control
        self.explain = lab.attributions.per_channel() if scoring.metric.per_channel else lab.attributions
        self.described: tuple[Part, ...] = ()
        self.grouping = Grouping()
        self.leading: Counter[str] = Counter()
        self.network = own_network(lab.attributions) if scoring.baseline is None else None
        self.rival = None if self.baseline is None else begun_by(self.baseline, lab)
        self.draws = 0

    def measure(self, block: Block) -> Scored:
        """Return the scores ``(b, draws)`` and the named curves, averaged over draws."""
        metric, seed = self.metric, self.lab.seed
        key = (metric.name, metric.key, seed, block.indices)
        prepared = self.lab.subject.shared(key, lambda: prepared_by(metric, self.lab, block))
        candidates = self._candidates(block)
        if self.baseline is not None and self.baseline.random:
            candidates = [metric.evened(prepared, maps) for maps in candidates]
        if self.network is not None:
            self.network.observe(block)
        own = self.baseline is None or self.baseline.of_others  # ties are broken alike, so that equal maps score alike
        who = "explainer" if own or self.baseline is None else self.baseline.name
        scored = [self._score(prepared, maps, f"{who} {k}") for k, maps in enumerate(candidates)]
        if self.baseline is None:
            self.leading.update(metric.leading(prepared, candidates[0]))
        if not self.described:
            self.described = (*metric.describe(prepared), *self._controls(block, prepared, candidates[0]))
        shapes = [{name: curve.shape for name, curve in one.curves.items()} for one in scored]
        if any(shape != shapes[0] for shape in shapes):
            raise XaiError(
                f"metric {metric.name!r}",
                found="other curves for other maps of the same inputs",
                expected="curves of the same names and lengths",
                fix="return the same curves at each call of score",
            )
        curves = {name: torch.stack([one.curves[name] for one in scored]).mean(0) for name in scored[0].curves}
        groups = self.grouping.of(block, candidates[0]) if self.baseline is None else None
        return Scored.of(torch.stack([one.values for one in scored], dim=1), curves, groups)

    def describe(self) -> tuple[Part, ...]:
        """Return what the metric says of itself, the control, what leads, and what the baseline says."""
        leading = (Leading(dict(self.leading.most_common())),) if self.leading else ()
        own = () if self.network is None else (self.network.agreement(),)
        rival = self.rival.describe() if isinstance(self.rival, Rival) else ()
        return (*self.described, *leading, *own, *rival)

    def beside(self, block: Block, rows: Sequence[int]) -> Iterator[Beside]:
        """Yield the maps of the baseline, unless they are random, or depend on what came before these inputs."""
        baseline = self.baseline
        if baseline is None or baseline.random or baseline.from_explainer:
            return
        few = block.rows(rows)
        like = few.empty_maps()
        with asked(f"baseline {baseline.name!r}", *few.inputs):
            maps = checked_maps(f"baseline {baseline.name!r}", baseline.maps(few, like, seed=self.lab.seed)[0], like)
        for row, one in zip(rows, maps, strict=True):
            yield Beside(row, baseline.name, one)

    def _score(self, prepared: object, maps: Tensor, draw: str) -> Scores:
        """Return the scores of maps; NaN for those that are all NaN, which score as if they were zero meanwhile."""
        missing = maps.flatten(1).isnan().all(1)
        if not missing.any():
            return scores_by(self.metric, prepared, maps, draw)
        rows = missing.reshape(-1, *[1] * (maps.ndim - 1))
        found = scores_by(self.metric, prepared, maps.masked_fill(rows, 0.0), draw)
        gone = {name: curve.masked_fill(missing[:, None], torch.nan) for name, curve in found.curves.items()}
        return Scores(found.values.masked_fill(missing, torch.nan), gone)

    def _candidates(self, block: Block) -> list[Tensor]:
        """Return the batches of maps to score."""
        metric = self.metric
        if self.baseline is None or self.rival is None:
            return [self.explain(block)]
        needs_own = self.baseline.from_explainer or not metric.ranks
        own = self.explain(block) if needs_own else None
        like = block.empty_maps(per_channel=metric.per_channel) if own is None else own
        made = [_shaped(maps, like) for maps in self._made(block, like, own)]
        return made if own is None or metric.ranks else [_of_norm(maps, own) for maps in made]

    def _made(self, block: Block, like: Tensor, own: Tensor | None) -> list[Tensor]:
        """Return the maps of the baseline."""
        assert self.baseline is not None
        assert self.rival is not None
        where = f"baseline {self.baseline.name!r}"
        with asked(where, *block.inputs, *([] if own is None else [own])):
            made = [*self.rival(block, like)]
        if not made or len(made) != (self.draws or len(made)):
            raise XaiError(
                where,
                found=f"{len(made)} batches of maps" + (f" after {self.draws} for other inputs" if self.draws else ""),
                expected="one batch of maps or more, as many for all inputs",
                fix="return a list of them",
            )
        self.draws = len(made)
        return [checked_maps(where, maps, like, channels=self.metric.per_channel, whole=True) for maps in made]

    def _controls(self, block: Block, prepared: object, like: Tensor) -> tuple[Controls, ...]:
        if not self.control or not block.layout.is_image:
            return ()
        if not self.metric.shares_passes:
            block, like = block.part(0, CONTROLLED), like[:CONTROLLED]
            prepared = prepared_by(self.metric, self.lab, block)
        maps = _shaped(Edges().maps(block, like, seed=self.lab.seed)[0], like)
        maps = maps if self.metric.ranks else _of_norm(maps, like)
        values = scores_by(self.metric, prepared, maps, "edges").values[:CONTROLLED]
        return (Controls((Score("edges", float(values.mean()), len(values)),)),)


def _shaped(maps: Tensor, like: Tensor) -> Tensor:
    """Return maps with the channels that ``like`` has, where they have none: the same value in each."""
    return maps if maps.shape == like.shape else maps[:, None].expand_as(like)


def _of_norm(maps: Tensor, own: Tensor) -> Tensor:
    """Return maps, each with the Euclidean norm of the explainer's own map of the same input."""
    wanted, found = (norms(one.flatten(1)) for one in (own, maps))
    factor = wanted / found.clamp_min(torch.finfo(found.dtype).tiny)
    scaled: Tensor = (maps.flatten(1) * factor[:, None]).reshape(own.shape)
    return scaled
