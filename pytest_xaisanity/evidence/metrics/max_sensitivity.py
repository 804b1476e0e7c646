"""Max-sensitivity: how far a map moves when the input moves a little (Yeh et al. 2019)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, prod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...common.checks import FEW, check_choice, check_number, check_whole
from ...common.errors import setting_error
from ...common.seeding import generator
from ...explainers.explainer import Request
from ...maps.norms import norms
from ...statistics.evidence import Axis, Evidence, Part, Remark, Row
from ...subject.block import Block, Inputs
from ..base import Cost, Lab, Measurement, Measuring, OwnMetric, Scored
from ..groups import Grouping
from ..spread import check_floating, embedded_spread, spreads

__all__ = ["Ball", "InputIndependent", "MaxSensitivity"]

_DRAWN = 2**18  # numbers that one generator draws of an input, at most, where one sample has no more
_TRIED = 16  # inputs of a block that are put into the place of others
_SAME = 0.01  # of the norm: maps that differ by less are the same map
_OF_THE_FIRST_RUN = (0, repr(()))  # what tells its draws apart: random numbers are then common to all explanations


@dataclass(frozen=True)
class MaxSensitivity(OwnMetric):
    """The furthest that a map moves, in its Euclidean norm, over samples of a small ball around the input.

    The ball is that of the maximum norm: each value moves by ``radius`` units at most, uniformly. An explainer that
    draws random numbers draws the same for each of them, so that its own noise is not counted. By default it is
    relative: divided by the norm of the map of the input itself. Lower is better, and 0 is a map that does not move.
    Samples only bound it from below.

    Args:
        radius: Above 0 and at most 1,000, in units of ``unit``.
        samples: How many points of the ball, 1 to 1,000.
        unit: ``"spread"``: the standard deviation of each channel over the input's places, of a feature of a table over
            the data, of tokens the root mean square of what the embedding makes of the sentence. ``"absolute"``: 1.
        relative: Whether the distance is divided by the norm of the map; NaN where that is 0.

    Attributions are compared as they are, with a value for each channel; of tokens one value each. An explainer whose
    map does not depend on the input at all has no sensitivity: its scores are NaN, and count against either decision.

    Raises:
        XaiError: A setting is out of range; inputs are neither floating-point numbers nor tokens that the explainer
            explains by their embedding.
    """

    radius: float = 0.02
    samples: int = 10
    unit: Literal["spread", "absolute"] = "spread"
    relative: bool = True
    name: ClassVar[str] = "max_sensitivity"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = inf
    higher_is_better: ClassVar[bool] = False
    undefined: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "maps that move with inputs that look alike: average them over noise (NoiseTunnel), or smooth the model"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", check_number(f"{self.name} radius", self.radius, 0.0, 1000.0))
        if not self.radius:
            raise setting_error(self.name, "radius", "0", "a number above 0")
        object.__setattr__(self, "samples", check_whole(self.name, "samples", self.samples, most=FEW))
        check_choice(self.name, "unit", self.unit, ("spread", "absolute"))
        if not isinstance(self.relative, bool):
            raise setting_error(self.name, "relative", repr(self.relative), "True or False")

    @property
    def called(self) -> str:
        """The name with its form: ``"relative max_sensitivity"``."""
        return f"{'relative' if self.relative else 'absolute'} {self.name}"

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> Mapping[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first."""
        return {"radius": (0.02, 0.01, 0.05), "samples": (10, 20)}

    def measurement(self) -> Measurement[Scored]:
        """Return the measurement."""
        return SensitivityMeasurement(self)

    def remarks(self, scored: Scored, described: Sequence[Part]) -> tuple[Remark, ...]:
        """Return that the maps do not depend on the input, where that is so."""
        found = Evidence(*described).find(Ball)
        return (InputIndependent(found.independent),) if found is not None and found.independent else ()


@dataclass(frozen=True)
class SensitivityMeasurement(Measurement[Scored]):
    """The measurement of :class:`MaxSensitivity`."""

    metric: MaxSensitivity

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""
        return (self.metric.name, self.metric.key)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return an explanation of the input, one of each point, and one with another input in its place."""
        check_floating(self.metric.name, block)
        return Cost(explanations=2 + self.metric.samples)

    def start(self, lab: Lab, block: Block) -> _Moving:
        """Check that inputs can be moved."""
        check_floating(self.metric.name, block)
        return _Moving(self.metric, lab)


class _Moving(Measuring[Scored]):
    def __init__(self, metric: MaxSensitivity, lab: Lab) -> None:
        self.metric, self.subject, self.seed = metric, lab.subject, lab.seed
        self.attributions = lab.attributions.per_channel()
        self.grouping = Grouping()
        self.varies = False  # whether maps are known to depend on the input
        self.independent = 0  # of how many inputs they were not known to

    def measure(self, block: Block) -> Scored:
        """Return the scores ``(b, 1)`` and, as a curve, how far each sample moves the map."""
        maps = self.attributions(block)
        given = maps.flatten(1)
        moved = self._of_tokens(block, given) if block.mask is not None else self._of_values(block, given)
        sizes = norms(given)[:, None]
        distances = moved / torch.where(sizes > 0, sizes, torch.nan) if self.metric.relative else moved
        scores = distances.amax(1, keepdim=True)
        self.varies = self.varies or bool((moved > _SAME * sizes).any())  # then no other explanation is asked for
        if not self._depends(block, given):
            self.independent += len(block)
            scores = torch.full_like(scores, torch.nan)
        return Scored.of(scores, {"distance": distances}, self.grouping.of(block, maps))

    def describe(self) -> tuple[Part, ...]:
        """Return the ball, and of how many inputs maps are not known to depend on the input."""
        metric = self.metric
        return (Ball(metric.radius, metric.unit, metric.samples, metric.relative, self.independent),)

    # --------------------------------------------------------------------------------------------------------- values

    def _of_values(self, block: Block, given: Tensor) -> Tensor:
        """Return how far each sample moves the map of each input, ``(b, samples)``."""
        units = [self.metric.radius * unit for unit in self._units(block)]
        asked = self.attributions.request(block, block.targets)
        width = max(1, self.subject.batches.size // len(block))
        found = []
        for numbers in self._numbers(block, [prod(tensor.shape[1:]) for tensor in block.inputs]):
            for some in torch.split(numbers, width, dim=1):
                count = some.shape[1]
                parts = torch.split(some, [prod(tensor.shape[1:]) for tensor in block.inputs], dim=2)
                inputs = tuple(map(_moved, block.inputs, parts, units))
                maps = self.attributions.answered(_wide(asked, inputs, count), "moved inputs", _same_draws)
                apart = maps.reshape(len(block), count, -1) - given[:, None]
                found.append(norms(apart, dim=2))
        return torch.cat(found, dim=1)

    def _units(self, block: Block) -> list[Tensor]:
        if self.metric.unit == "spread":
            return spreads(self.subject, block)
        return [tensor.new_ones((1,) * tensor.ndim) for tensor in block.inputs]

    def _numbers(self, block: Block, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Yield uniform numbers in [-1, 1], ``(b, count, values)`` for a few samples at a time."""
        values, samples = sum(sizes), self.metric.samples
        most = max(1, min(samples, _DRAWN // values))
        for first in range(0, samples, most):
            numbers = torch.empty(len(block), min(most, samples - first), values, dtype=torch.float32)
            for row, index in enumerate(block.indices):
                numbers[row].uniform_(-1, 1, generator=generator(self.seed, self.metric.name, first, index))
            yield numbers.to(block.inputs[0].device)

    # --------------------------------------------------------------------------------------------------------- tokens

    def _of_tokens(self, block: Block, given: Tensor) -> Tensor:
        """Return how far each sample moves the map of each input, whose embedded tokens move where they count."""
        assert block.mask is not None
        asked = self.attributions.request(block, block.targets)
        found = []
        for sample in range(self.metric.samples):
            moved = self.attributions.of_moved(partial(self._move, block, sample))
            maps = moved.answered(asked, "moved tokens", _same_draws).masked_fill(~block.mask, 0.0)
            found.append(norms(maps.flatten(1) - given))
        return torch.stack(found, dim=1)

    def _move(self, block: Block, sample: int, request: Request) -> Tensor:
        """Return what is added to the embedded tokens of a request, the same whatever padding it was given."""
        assert block.mask is not None
        embedded = request.inputs[0]
        places = [block.indices.index(index) for index in request.indices]
        mask = block.mask[places]
        if request.kept is not None:
            mask = mask[:, request.kept[0]]
        moves = torch.zeros(embedded.shape, dtype=torch.float32)
        for row, (index, counted) in enumerate(zip(request.indices, mask.cpu(), strict=True)):
            drawn = torch.empty(int(counted.sum()), embedded.shape[2], dtype=torch.float32)
            drawn.uniform_(-1, 1, generator=generator(self.seed, self.metric.name, sample, index))
            moves[row, counted] = drawn
        unit = embedded_spread(embedded.detach(), mask) if self.metric.unit == "spread" else 1.0
        return self.metric.radius * unit * moves.to(embedded)

    # --------------------------------------------------------------------------------------------- a constant explainer

    def _depends(self, block: Block, given: Tensor) -> bool:
        """Whether some input has had another map than the next one would have had in its place.

        The next one is given the target and the random numbers of the input, so that maps of the target alone, and
        those that are nothing but noise, are told too.
        """
        if self.varies or len(block) < 2:
            return True
        block, given = block.part(0, _TRIED), given[:_TRIED]
        asked = self.attributions.request(block, block.targets)
        others = [*range(1, len(block)), 0]
        swapped = replace(
            asked,
            inputs=tuple(tensor[others] for tensor in asked.inputs),
            context=tuple(tensor[others] for tensor in asked.context),
            sentences=None if asked.sentences is None else asked.sentences[others],
        )
        maps = self.attributions.answered(swapped, "the next input in the place of each", _same_draws).flatten(1)
        counted = torch.ones_like(given) if block.mask is None else (block.mask & block.mask[others]).to(given)
        apart = norms((maps - given) * counted)
        self.varies = bool((apart > _SAME * norms(given * counted)).any())
        return self.varies


def _same_draws(place: int) -> tuple[int | str, ...]:
    return _OF_THE_FIRST_RUN


def _moved(tensor: Tensor, numbers: Tensor, unit: Tensor) -> Tensor:
    """Return each input under each of its samples, ``(b * count, ...)``, those of one input in a row."""
    shaped = numbers.reshape(*numbers.shape[:2], *tensor.shape[1:]).to(tensor.dtype)
    return torch.addcmul(tensor[:, None], shaped, unit.to(tensor.dtype)[:, None]).flatten(0, 1)


def _wide(request: Request, inputs: Inputs, count: int) -> Request:
    """Return a request for ``count`` moved copies of each input: what goes with an input goes with its copies."""
    return replace(
        request,
        inputs=inputs,
        context=tuple(tensor.repeat_interleave(count, 0) for tensor in request.context),
        targets=None if request.targets is None else request.targets.repeat_interleave(count, 0),
        indices=tuple(index for index in request.indices for _ in range(count)),
    )


@dataclass(frozen=True)
class Ball(Axis):
    """The ball in which inputs were moved.

    Attributes:
        radius: In units of ``unit``.
        unit: ``"spread"`` or ``"absolute"``.
        samples: How many points of it each input was moved to.
        relative: Whether distances are divided by the norm of the map.
        independent: Of how many inputs maps are not known to depend on the input.
    """

    radius: float
    unit: str
    samples: int
    relative: bool
    independent: int = 0
    joined: ClassVar[bool] = False

    @property
    def across(self) -> str:
        """The points of the ball to which an input was moved."""
        return "sample"

    @property
    def points(self) -> tuple[float, ...]:
        """Their numbers."""
        return tuple(map(float, range(1, self.samples + 1)))

    @property
    def up(self) -> str:
        """How far the map moved."""
        return "share of the map's norm" if self.relative else "distance of maps"

    def plain(self) -> dict[str, object]:
        """Return all of it, and the name of the axis."""
        return {
            "axis": "sample",
            "radius": self.radius,
            "unit": self.unit,
            "samples": self.samples,
            "relative": self.relative,
        }

    def rows(self) -> Iterator[Row]:
        """Yield the ball."""
        unit = " of the spread" if self.unit == "spread" else ""
        yield "moved", f"to {self.samples} points each, by {self.radius:g}{unit} at most"


@dataclass(frozen=True)
class InputIndependent(Remark):
    """An explainer whose map does not depend on the input, so that it never moves.

    Attributes:
        count: Of how many inputs that is so.
    """

    count: int
    always: ClassVar[bool] = True

    def plain(self) -> dict[str, object]:
        """Return the number."""
        return {"independent_of_input": self.count}

    def rows(self) -> Iterator[Row]:
        """Yield the clause."""
        yield "constant", str(self)

    def __str__(self) -> str:
        return (
            f"the explainer is constant: the maps of {self.count} inputs stay as they are when another input takes "
            "their place, so that it has no sensitivity to measure"
        )
