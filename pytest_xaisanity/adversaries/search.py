"""The adversary: a search for the uninformative map that scores best, and its measurement on other inputs.

The universal maps (see ``universal``) are scored on the first half of the inputs (32 at most) beside the explanation;
then Hypothesis draws maps, which are scored likewise. The best is then scored on all other inputs, where a claim is
decided. A map that Hypothesis finds and that wins on the first half already is shrunk to the simplest one that keeps at
least half of its gain there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import inf, isfinite, isnan
from typing import TypeAlias, TypeVar

import hypothesis.strategies as st
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, target
from torch import Tensor

from ..common.seeding import isolated, seed_of
from ..evidence.base import Beside, Cost, Lab, Measurement, Measuring, Scored
from ..evidence.baselines.uninformative import Uninformative
from ..evidence.foreign import prepared_by, scores_by
from ..evidence.groups import Grouping
from ..evidence.pictures import numbers
from ..evidence.scoring import AnyMapMetric
from ..maps.uninformative import UninformativeMap
from ..report.figures import Figure, Heat, Table
from ..statistics.evidence import Evidence, Part
from ..subject.block import Block
from .strategies import uninformative_maps
from .universal import Candidate, candidate_maps, longest, universal_maps

__all__ = ["SEARCHED", "Adversarial", "Adversary", "Found", "counterexample", "search"]

Picture: TypeAlias = list[float] | list[list[float]]
C = TypeVar("C", bound=Hashable)

SEARCHED = 32  # inputs
_PART = 8  # inputs after which a map that clearly loses is given up
_SHRINKING = 2  # times the budget, on top of it
_PICTURE = 64  # pixels a side, at most


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        map: A universal map that gains at least as much as any that was drawn, or the map with the largest gain or,
            where one wins, the simplest that keeps half of the winner's gain.
        gain: Its gain over the explanation.
        tried: How many different maps were scored.
        called: What a universal map is called, or nothing.
    """

    map: Candidate
    gain: float
    tried: int
    called: str = ""

    @property
    def name(self) -> str:
        """What it is called: a universal map by its words, another by the call that rebuilds it."""
        return self.called or repr(self.map)

    @property
    def told(self) -> str:
        """What it is called, with the call that rebuilds it where there is one: what can be checked by naming it."""
        return ", ".join(dict.fromkeys((self.name, repr(self.map))))


class _Wins(Exception):  # noqa: N818 - it is what the search hopes for
    """A map that gains enough."""


class _Broken(BaseException):
    """An error of the metric, which Hypothesis would take for a find and shrink."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def search(
    shape: tuple[int, ...], gain: Callable[[UninformativeMap], float], *, max_examples: int, search_seed: int
) -> Found:
    """Return the map with the largest gain or, where one does not lose, the simplest that keeps half of its gain.

    Args:
        shape: Places of one map.
        gain: How much better than the explanation a map scores; NaN counts as a loss.
        max_examples: How many maps to draw; shrinking may try as many again, twice.
        search_seed: Same seed, same search.
    """
    gains = _Gains(gain, (1 + _SHRINKING) * max_examples)
    with isolated(search_seed, "search"):
        try:
            strategy = uninformative_maps(shape)
            _run(strategy, gains, None, max_examples, search_seed)
            best = gains.best()
            if gains[best] >= 0:
                # The same seed draws the same maps again, whose gains are known, and ends at the first that will do.
                best = _run(strategy, gains, gains[best] / 2, max_examples, search_seed) or best
        except _Broken as broken:
            raise broken.error from None
    return Found(best, gains[best], len(gains))


def counterexample(
    strategy: st.SearchStrategy[C], fails: Callable[[C], bool], *, max_examples: int, search_seed: int
) -> C | None:
    """Return the simplest value of a strategy that fails, or None when none of those drawn does.

    Args:
        strategy: What to draw from; its values are frozen.
        fails: Whether a value fails; called once for each value.
        max_examples: How many values to draw.
        search_seed: Same seed, same search.
    """
    gains: _Gains[C] = _Gains(lambda value: float(fails(value)), (1 + _SHRINKING) * max_examples)
    with isolated(search_seed, "search"):
        try:
            return _run(strategy, gains, 1.0, max_examples, search_seed)
        except _Broken as broken:
            raise broken.error from None


class _Gains(dict[C, float]):
    """The gain of each candidate that was tried, by trying it; nothing is gained once the budget is spent."""

    def __init__(self, gain: Callable[[C], float], budget: int) -> None:
        super().__init__()
        self.gain, self.budget = gain, budget

    def __missing__(self, candidate: C) -> float:
        if len(self) >= self.budget:
            return -inf
        try:
            value = float(self.gain(candidate))
        except Exception as error:
            raise _Broken(error) from error
        self[candidate] = -inf if isnan(value) else value
        return self[candidate]

    def best(self) -> C:
        """Return the candidate with the largest gain, the first of equal ones."""
        return max(self, key=self.__getitem__)


def _run(
    strategy: st.SearchStrategy[C], gains: _Gains[C], enough: float | None, max_examples: int, search_seed: int
) -> C | None:
    """Draw candidates, and return the simplest one that gains enough, if one does."""
    winners: list[C] = []

    def attempt(candidate: C) -> None:
        value = gains[candidate]
        if isfinite(value):
            target(value)
        if enough is not None and value >= enough:
            winners.append(candidate)
            raise _Wins

    options = settings(
        max_examples=max_examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    # Inside a user's @given test, @given complains of being nested; in another thread it does not know.
    with ThreadPoolExecutor(1) as thread:
        test = thread.submit(lambda: given(strategy)(attempt)).result()
    try:
        seed(search_seed)(options(test))()
    except _Wins:
        return winners[-1]  # Hypothesis ends with the simplest
    return None


@dataclass(frozen=True)
class Adversarial(Measurement[Scored]):
    """Scores of the best uninformative map beside the explainer's, on inputs that the search did not see.

    Scores are ``(n, 2)``: explainer, map; NaN on the inputs that were searched.
    """

    metric: AnyMapMetric
    baseline: Uninformative

    @property
    def budget(self) -> int:
        """How many maps to try."""
        return self.baseline.max_examples or settings().max_examples

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""
        return ("adversarial", self.metric.name, self.metric.key, self.budget)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return an explanation, and the passes of the metric for it and for each map that is tried on half of them."""
        return Cost(explanations=1, passes=(1.5 + self.budget / 2) * self.metric.passes(block))

    def start(self, lab: Lab, block: Block) -> _Adversary:
        """Begin on the first block."""
        return _Adversary(self, lab)


@dataclass(frozen=True)
class Adversary(Part):
    """What the search found.

    Attributes:
        found: The map, its gain over the explanation, and how many were tried.
        searched: On how many inputs.
        picture: The map of one input, an image of 64 pixels a side at most.
        picture_of: The place of that input in what the user gave.
        universal: What each universal map gains over the explanation there, by what it is called.
    """

    found: Found
    searched: int
    picture: Picture
    picture_of: int
    universal: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """Return all of it; the map as the call that rebuilds it, or a mean map by its words."""
        found = {
            "name": self.found.name,
            "call": repr(self.found.map),
            "gain": self.found.gain,
            "tried": self.found.tried,
        }
        shown = {"searched": self.searched, "picture": self.picture, "picture_of": self.picture_of}
        return {"adversary": {**found, "universal": dict(self.universal), **shown}}

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield the map, and what the universal maps gain."""
        rows = torch.tensor(self.picture)
        picture = rows[None] if rows.ndim == 1 else rows
        gain = f"{self.found.gain:.3g} over the explanation on {self.searched} inputs, {self.found.tried} maps tried"
        note = f"{self.found.told}: gain {gain}; as it is on input {self.picture_of}"
        if picture.ndim == 2 and picture.numel():
            yield Heat("The map that was found", numbers(picture), note)
        tried = tuple((name, f"{gain:.3g}") for name, gain in self.universal.items())
        if tried:
            yield Table("Universal maps that are always tried", ("map", "mean gain over the explanation"), tried)


@dataclass(frozen=True)
class _Searched:
    """A few inputs to search on: their maps, what the metric prepared, and the explanation's scores."""

    block: Block
    maps: Tensor
    prepared: object
    own: Tensor


class _Adversary(Measuring[Scored]):
    def __init__(self, adversarial: Adversarial, lab: Lab) -> None:
        self.metric, self.budget, self.lab = adversarial.metric, adversarial.budget, lab
        self.explain = lab.attributions.per_channel() if self.metric.per_channel else lab.attributions
        self.parts: list[_Searched] = []
        self.described: tuple[Part, ...] = ()
        self.searched = 0
        self.found: Found | None = None
        self.picture: tuple[Picture, int] = ([], 0)
        self.universal: dict[str, float] = {}
        self.grouping = Grouping()

    def measure(self, block: Block) -> Scored:
        """Return the scores of one block."""
        maps, missing = self.explain(block), self._missing(block)
        for start in range(0, min(missing, len(block)), _PART):
            part = block.part(start, min(start + _PART, missing))
            self.parts.append(self._prepared(part, maps[start : start + len(part)]))
        self.searched += min(missing, len(block))
        if self.found is None and self.parts and (missing <= len(block) or block.last):
            self._search()
        scores = torch.full((len(block), 2), torch.nan, dtype=torch.float32)
        if self.found is not None and missing < len(block):
            rest = self._prepared(block.part(missing, len(block)), maps[missing:])
            scores[missing:, 0] = rest.own.float().cpu()
            scores[missing:, 1] = self._score(rest, self.found.map).float().cpu()
        return Scored.of(scores, groups=self.grouping.of(block, maps))

    def describe(self) -> tuple[Part, ...]:
        """Return what the metric says of itself; the map that was found, its picture and what the search cost."""
        if self.found is None:
            return self.described
        return (Adversary(self.found, self.searched, *self.picture, self.universal), *self.described)

    def beside(self, block: Block, rows: Sequence[int]) -> Iterator[Beside]:
        """Yield the map that was found, of some inputs."""
        if self.found is None:
            return
        maps = self._maps(block.rows(rows), self.found.map)
        summed = maps.sum(1) if maps.ndim > len(block.layout.places) + 1 else maps
        for row, one in zip(rows, summed, strict=True):
            yield Beside(row, self.found.called or "the map that was found", one)

    def rest(self) -> None:
        """Keep what was found; before that, all that is kept is needed."""

    def _missing(self, block: Block) -> int:
        """Return how many of the block's inputs are still to be searched: half of all in the end, or 32."""
        if self.found is not None:
            return 0
        subject, seen = self.lab.subject, self.searched + len(block)
        total = len(subject) if not subject.streamed else seen if block.last else 2 * SEARCHED
        return max(0, min(SEARCHED, total // 2) - self.searched)

    def _prepared(self, block: Block, maps: Tensor) -> _Searched:
        prepared = prepared_by(self.metric, self.lab, block)
        self.described = self.described or self.metric.describe(prepared)
        return _Searched(block, maps, prepared, scores_by(self.metric, prepared, maps, "explainer 0").values)

    def _maps(self, block: Block, candidate: Candidate) -> Tensor:
        return candidate_maps(candidate, block, self._like(block), seed=self.lab.seed)

    def _like(self, block: Block) -> Tensor:
        return block.empty_maps(per_channel=self.metric.per_channel)

    def _score(self, part: _Searched, candidate: Candidate) -> Tensor:
        # As a claim against the very map would score it: what was found can be checked by naming it.
        maps = self._maps(part.block, candidate)
        return scores_by(self.metric, part.prepared, maps, f"{Uninformative.name} 0").values

    def _search(self) -> None:
        sign, floor = 1.0 if self.metric.higher_is_better else -1.0, -inf

        def gain(candidate: Candidate) -> float:
            nonlocal floor
            values = torch.empty(0, dtype=torch.float64)
            for part in self.parts:
                gains = sign * (self._score(part, candidate) - part.own)
                values = torch.cat([values, gains.double().cpu()])
                if len(values) < self.searched and _clearly_below(values, floor):
                    break  # it is neither the best nor has it half of the best one's gain
            else:
                floor = max(floor, min(float(values.mean()), float(values.mean()) / 2))
            return float(values.mean())

        first = self.parts[0].block.part(0, 1)
        search_seed = seed_of(self.lab.seed, "search", self.lab.attributions.explainer.name)
        shape = longest([part.block for part in self.parts], [self._like(first)])
        tried = universal_maps([part.block for part in self.parts], [part.maps for part in self.parts])
        self.universal = {name: gain(candidate) for name, candidate in tried.items()}
        found = search(shape, gain, max_examples=self.budget, search_seed=search_seed)
        best = max(self.universal, key=self.universal.__getitem__)
        if self.universal[best] >= found.gain:
            found = Found(tried[best], self.universal[best], found.tried, best)
        self.found = replace(found, tried=found.tried + len(tried))
        picture = self._maps(first, self.found.map)
        shown = picture[0] if first.mask is None else picture[0][first.mask[0]]
        self.picture = _picture(shown), first.indices[0]
        self.parts = []


def _clearly_below(values: Tensor, floor: float) -> bool:
    """Whether the mean is more than two standard errors below the floor."""
    return float(values.mean() + 2 * values.std(correction=0) / len(values) ** 0.5) < floor


def _picture(image: Tensor) -> Picture:
    """Return a map as plain numbers, an image of 64 pixels a side at most."""
    plain = image.float().cpu()
    sides = tuple(plain.shape)
    if len(sides) == 2 and max(sides) > _PICTURE:
        height, width = (min(side, _PICTURE) for side in plain.shape)
        plain = F.adaptive_avg_pool2d(plain[None], (height, width))[0]
    if len(sides) != 2:
        values: list[float] = plain.tolist()
        return values
    rows: list[list[float]] = plain.tolist()
    return [[round(value, 4) for value in row] for row in rows]
