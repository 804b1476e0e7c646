"""What is measured: the abstract classes of measurements, interventions, metrics and baselines.

Their docstrings are the guide for third parties. An ability that some of them have is an attribute or a method with a
default here, never something that is looked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..common.errors import XaiError
from ..explainers.attributions import Attributions
from ..model.training import Retraining
from ..statistics.evidence import Part
from ..subject.block import Block
from ..subject.subject import Subject

__all__ = [
    "BEGUN",
    "Array",
    "Baseline",
    "Beside",
    "Cell",
    "Compared",
    "Cost",
    "Intervention",
    "Lab",
    "MapMetric",
    "Measured",
    "Measurement",
    "Measuring",
    "Metric",
    "ModelSweep",
    "OwnMetric",
    "Procedure",
    "RetrainedMetric",
    "Rival",
    "Scored",
    "Scores",
    "Sweep",
    "Verb",
    "every_reading",
    "in_form",
    "other_than",
]

Array: TypeAlias = NDArray[Any]
_GROUPS = " groups"  # no name of a curve
Verb: TypeAlias = Literal["changes_under", "invariant_under"]
Cell: TypeAlias = tuple[int, int]
"""A seed of an intervention, and a position in its order."""


# ----------------------------------------------------------------------------------------------------- measurements


@dataclass(frozen=True)
class Lab:
    """What a measurement may use.

    Attributes:
        subject: What is explained.
        attributions: The explainer on the subject: called with a block, it returns maps.
        seed: Seeds everything that is drawn.
        training: Trains models of the subject's kind, where the user gave a function for it.
        recorded: What an earlier session recorded that is accepted: scores by the fingerprint of the input.
    """

    subject: Subject
    attributions: Attributions
    seed: int
    training: Retraining | None = None
    recorded: tuple[Mapping[str, float], ...] = ()


class Measured(ABC):
    """Arrays with one row an input, in the order in which the inputs were visited."""

    @abstractmethod
    def arrays(self) -> Mapping[str, Array]:
        """Return every array by name, each with one row an input."""

    @classmethod
    @abstractmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Return what has these arrays; the reverse of :meth:`arrays`."""

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, one part after the other."""
        each = [part.arrays() for part in parts]
        return cls.of_arrays({name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]})

    def head(self, count: int) -> Self:
        """Return the first rows."""
        return self.of_arrays({name: array[:count] for name, array in self.arrays().items()})

    def rows(self, chosen: Array) -> Self:
        """Return some of the rows: a mask ``(n,)``, or places."""
        return self.of_arrays({name: array[chosen] for name, array in self.arrays().items()})


@dataclass(frozen=True, eq=False)
class Scored(Measured):
    """Scores of inputs.

    Attributes:
        values: Scores ``(n, draws)``; NaN where they are not defined.
        curves: Curves ``(n, points)`` they come from, by name.
        groups: The group of each input, and that by input alone ``(n, 2)``, as
            :class:`~pytest_xaisanity.evidence.groups.Grouping` numbers them; None where each input is one of its own.
    """

    values: Array
    curves: Mapping[str, Array] = field(default_factory=dict)
    groups: Array | None = None

    @classmethod
    def of(
        cls, values: Tensor, curves: Mapping[str, Tensor] | None = None, groups: Sequence[tuple[int, int]] | None = None
    ) -> Scored:
        """Return scores and curves that stand in tensors."""
        named = {name: _array(curve) for name, curve in (curves or {}).items()}
        return cls(_array(values), named, _numbered(groups))

    def plain_curves(self) -> dict[str, Sequence[object]]:
        """Return the curves of all inputs as plain numbers, by name."""
        return {name: curve.astype(float).tolist() for name, curve in self.curves.items()}

    def arrays(self) -> Mapping[str, Array]:
        """Return the scores under the empty name, the curves, and the groups."""
        return {"": self.values, **self.curves, **({} if self.groups is None else {_GROUPS: self.groups})}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Return the reverse of :meth:`arrays`."""
        curves = {name: array for name, array in arrays.items() if name and name != _GROUPS}
        return cls(arrays[""], curves, arrays.get(_GROUPS))


@dataclass(frozen=True, eq=False)
class Compared(Measured):
    """Similarities of explanations, by the name of the similarity; NaN where a map is constant or not finite.

    Those of maps in other forms than the explainer's own have the form behind the name, see :func:`in_form`.

    Attributes:
        after: To the explanations after an intervention, ``(n, draws)``.
        own: To a second run on the same input, or to what the intervention has in its place, ``(n,)``.
        chance: To the explanation of another input, ``(n,)``.
        cells: The cell of each of ``after``, ``(n, draws, 2)``: its seed and its position.
        groups: The group of each input, and that by input alone ``(n, 2)``, as those of :class:`Scored`.
    """

    after: Mapping[str, Array]
    own: Mapping[str, Array]
    chance: Mapping[str, Array]
    cells: Array
    groups: Array | None = None

    @classmethod
    def of(
        cls,
        after: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        chance: Mapping[str, Tensor],
        cells: Array,
        groups: Sequence[tuple[int, int]] | None = None,
    ) -> Compared:
        """Return similarities that stand in tensors."""
        parts = [{name: _array(scores) for name, scores in part.items()} for part in (after, own, chance)]
        return cls(after=parts[0], own=parts[1], chance=parts[2], cells=cells, groups=_numbered(groups))

    def arrays(self) -> Mapping[str, Array]:
        """Return ``after <similarity>`` and so on, the cells and the groups."""
        parts = {"after": self.after, "own": self.own, "chance": self.chance}
        named = {f"{part} {name}": array for part, by_name in parts.items() for name, array in by_name.items()}
        return {**named, "cells": self.cells, **({} if self.groups is None else {_GROUPS: self.groups})}

    def of_form(self, form: str) -> Compared:
        """Return the similarities of maps in another form, under the names of the similarities alone."""
        after, own, chance = (
            {
                name.removesuffix(in_form("", form)): array
                for name, array in part.items()
                if name.endswith(in_form("", form))
            }
            for part in (self.after, self.own, self.chance)
        )
        return replace(self, after=after, own=own, chance=chance)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Return the reverse of :meth:`arrays`."""
        parts: dict[str, dict[str, Array]] = {"after": {}, "own": {}, "chance": {}}
        for key, array in arrays.items():
            part, _, name = key.partition(" ")
            if part in parts:
                parts[part][name] = array
        return cls(**parts, cells=arrays["cells"], groups=arrays.get(_GROUPS))


def in_form(similarity: str, form: str) -> str:
    """Return the name under which a similarity of maps in another form stands."""
    return f"{similarity} {form}" if form else similarity


def _numbered(groups: Sequence[tuple[int, int]] | None) -> Array | None:
    return None if groups is None else np.array(groups, np.int64)


def _array(scores: Tensor) -> Array:
    array: Array = scores.detach().cpu().numpy().copy()
    return array


S = TypeVar("S", bound=Measured, covariant=True)


BEGUN = 12  # passes in which the layers of a model are found, and what reaches its output, at most


class Beside(NamedTuple):
    """A map that is shown beside the explanation of an input.

    Attributes:
        row: The place of the input in its block.
        name: What the map is: ``"edges"``.
        map: The map, ``(*places)``.
    """

    row: int
    name: str
    map: Tensor


@dataclass(frozen=True)
class Cost:
    """What something costs for each input, and once.

    Attributes:
        explanations: How many explanations of an input.
        passes: How many passes of the model, forward or back, beside those.
        trainings: How many models are trained, for all inputs together.
        once: How many passes, likewise, for all inputs together: of what is checked or compared on a few of them.
    """

    explanations: float = 0.0
    passes: float = 0.0
    trainings: int = 0
    once: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Return what both cost."""
        return Cost(
            self.explanations + other.explanations,
            self.passes + other.passes,
            self.trainings + other.trainings,
            self.once + other.once,
        )

    def times(self, factor: float) -> Cost:
        """Return what it costs so many times, trained once."""
        return Cost(factor * self.explanations, factor * self.passes, self.trainings, self.once)


class Measuring(ABC, Generic[S]):
    """A measurement begun on a subject: takes blocks one after the other."""

    @abstractmethod
    def measure(self, block: Block) -> S:
        """Return what was measured of a block, one row an input."""

    def describe(self) -> tuple[Part, ...]:
        """Return what belongs into the evidence beside the scores, of all blocks so far."""
        return ()

    def explained(self, lab: Lab) -> Attributions:
        """Return what makes the explanations that a report shows of its inputs: by default the lab's own."""
        return lab.attributions

    def beside(self, block: Block, rows: Sequence[int]) -> Iterator[Beside]:
        """Yield maps that a report shows beside the explanations of some inputs; by default there are none.

        What is measured later must not depend on it.

        Args:
            block: A block that has been measured.
            rows: The places of the inputs in it.
        """
        yield from ()

    def rest(self) -> None:
        """Let go of what is only kept for the next block; :meth:`measure` may be called again."""


class Measurement(ABC, Generic[S]):
    """What a claim has measured.

    Attributes:
        about: What the scores depend on, beside the subject: ``"explainer"``; ``"baseline"`` or ``"model"`` for scores
            that all explainers share; ``"record"`` for those of an earlier session.
        retrains: Whether models are trained for it.
        at_once: Whether all inputs are measured together, so that an early look saves nothing.
    """

    about: Literal["explainer", "baseline", "model", "record"] = "explainer"
    retrains: bool = False
    at_once: bool = False

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Equal for measurements of the same."""

    def lab(self, lab: Lab) -> Lab:
        """Return the laboratory whose subject's inputs are measured: by default the one given."""
        return lab

    @abstractmethod
    def start(self, lab: Lab, block: Block) -> Measuring[S]:
        """Begin on the first block."""

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return what an input costs, known from a first block that is not measured; by default one explanation.

        What the targets, the checks of the model and the trial of an explainer cost is counted by itself.
        """
        return Cost(explanations=1)


# ---------------------------------------------------------------------------------------------------- interventions


class Intervention(ABC):
    """Something done to the model, the labels or the inputs, with its settings: a frozen dataclass.

    Write one class in a file of ``evidence/interventions``, with a :class:`Procedure`, and register its name.

    Attributes:
        name: Its name in the registry.
        verbs: The verbs it goes with: ``"changes_under"``, ``"invariant_under"``.
        retrains: Whether models are trained for it.
        randomizes: Whether it draws new weights or labels: what noise that is seeded by the output passes.
        advice: What to try when a claim under it fails, or nothing for what the verb says.
    """

    name: ClassVar[str]
    verbs: ClassVar[tuple[Verb, ...]] = ("changes_under",)
    retrains: ClassVar[bool] = False
    randomizes: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    @property
    def key(self) -> Hashable:
        """Equal for equal settings."""
        return self

    @abstractmethod
    def start(self, lab: Lab, block: Block) -> Procedure:
        """Begin on a subject and explainer, with the first block."""

    @property
    def copies(self) -> int:
        """How many explanations of an input a map is the mean over."""
        return 1

    def cells(self) -> tuple[int, int]:
        """Return how many seeds and positions its procedure will have, where models are trained when it begins."""
        return 1, 1

    def cost(self, explained: float) -> Cost:
        """Return what an input costs that is explained under so many cells: that, itself, and a second run."""
        return Cost(explanations=2 + explained)


class Procedure(ABC):
    """An intervention begun on a subject and explainer.

    Maps after the intervention come from ``attributions(block, stage=..., state=...)``: ``stage`` says for errors, in
    words, what was done, and ``state`` is a key of it, since maps are kept under it. Without a ``state`` they are those
    of the model as given. Yield them as they come: maps that are known in several forms, by other reductions or with
    and without a multiplier, are ``(b, forms, *places)``.

    Attributes:
        attributions: What makes the maps before the intervention as those after it are made: usually those of the lab.
        shape: ``(seeds, positions)``: how many maps it yields for each input; one, unless it says otherwise.
        fresh: Whether any number is a seed, and each pair of inputs gets one of its own; ``shape`` then has one seed.
        layered: Whether positions are an order of layers, of which the upper third counts for itself; otherwise they
            are settings, of which each pair of inputs is explained under one.
        ceiling: In words, the reason for which :meth:`again` yields other maps than a second run of the explainer;
            nothing where it does not.
    """

    attributions: Attributions
    shape: tuple[int, int] = (1, 1)
    fresh: bool = False
    layered: bool = True
    ceiling: str = ""

    @abstractmethod
    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps ``(b, *places)`` after the intervention, all positions of the first seed first.

        The intervention is undone when the generator ends or is closed.
        """

    def sampled(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield some cells with the maps of some inputs under them, in any order.

        This takes them from :meth:`maps`, which explains every input under every cell; to explain no more than what is
        wanted, override it.

        Args:
            block: The inputs.
            wanted: The cells that are wanted, and for each the places of inputs in the block, in order.
        """
        before = self.attributions(block)
        with closing(self.maps(block)) as every:
            for place, maps in enumerate(other_than(before, every)):
                cell = divmod(place, self.shape[1])
                if cell in wanted:
                    yield cell, maps[list(wanted[cell])]

    def sample_copies(self) -> None:  # noqa: B027 - most have none
        """Explain a sample of the copies that a map is the mean over, from here on.

        What :meth:`again` yields must then have as much in common with the maps before as those after it would have,
        had nothing changed.
        """

    def again(self, block: Block) -> Iterable[Tensor]:
        """Return maps that are as like those before as can be asked of any: by default those of a second run."""
        return [self.attributions(block, run=1)]

    def readings(self, image: bool) -> tuple[str, ...]:
        """Return the names of the similarities that decide where a claim names none; several must agree.

        By default it is blind to the sign of a map: one that is only turned over has not changed.
        """
        return ("sign_flip_spearman",)

    def describe(self) -> tuple[Part, ...]:
        """Return what belongs into the evidence: what was done, and what could not be."""
        return ()

    def rest(self) -> None:  # noqa: B027 - most keep nothing
        """Let go of what is only kept for the next block."""


class Sweep(Procedure):
    """A procedure that explains no more than what is wanted: a subclass writes :meth:`sampled`."""

    @abstractmethod
    def sampled(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the cells that are wanted, in their order or with those first whose maps are kept already.

        The intervention is undone when the generator ends or is closed.
        """

    def maps(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of all inputs under every cell."""
        seeds, positions = self.shape
        cells = [(seed, position) for seed in range(seeds) for position in range(positions)]
        every = list(range(len(block)))
        found: dict[Cell, Tensor] = {}
        with closing(self.sampled(block, dict.fromkeys(cells, every))) as some:
            for cell, maps in some:
                found[cell] = maps
                while cells and cells[0] in found:
                    yield found.pop(cells.pop(0))


class ModelSweep(Sweep):
    """A sweep that changes the model, though not for maps that are kept already."""

    @abstractmethod
    def swept(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the cells that are wanted, in their order, with the maps of the inputs that are wanted of each.

        The intervention is undone when the generator ends or is closed.
        """

    @abstractmethod
    def explained(self, block: Block, rows: Sequence[int], cell: Cell) -> Tensor:
        """Return the maps of some inputs of a block under a cell, in which the model is, or which are kept."""

    @abstractmethod
    def kept(self, block: Block, rows: Sequence[int], cell: Cell) -> bool:
        """Whether these maps are kept already."""

    def sampled(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the cells that are wanted: those first whose maps are kept already, then the others in their order."""
        todo = {cell: wanted[cell] for cell in sorted(wanted)}
        for cell in [cell for cell, rows in todo.items() if self.kept(block, rows, cell)]:
            yield cell, self.explained(block, todo.pop(cell), cell)
        if todo:
            with closing(self.swept(block, todo)) as some:
                yield from some
        if block.last:
            self.rest()


def other_than(before: Tensor, changed: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the maps after an intervention, which are never those that are kept of the model as given.

    Raises:
        XaiError: They are.
    """
    for maps in changed:
        if maps is before:
            raise XaiError(
                "intervention",
                found="the kept maps of the model as given, yielded as those after it",
                expected="maps that are asked for, and kept, under a key of what was done",
                fix="pass state=(name, *settings) to attributions(block, ...)",
            )
        yield maps


def every_reading(image: bool) -> tuple[str, ...]:
    """Return the similarities of the papers, which are measured beside those that decide."""
    return ("spearman", "abs_spearman", *(["ssim"] if image else []))


# ----------------------------------------------------------------------------------------------------------- metrics


class Metric(ABC):
    """What scores an explanation, or an explainer's model, with its settings: a frozen dataclass.

    Write a :class:`MapMetric` for what scores given maps, and an :class:`OwnMetric` for what measures something else,
    in a file of ``evidence/metrics``, and register its name.

    Attributes:
        name: Its name in the registry.
        low: The least possible score, or minus infinity.
        high: The greatest possible score, or infinity.
        higher_is_better: Which direction is better.
        undefined: Whether scores may be NaN, where a map is constant or not finite; a claim counts these against
            either decision.
        randomizes: Whether it draws new weights, and says no more of an explainer than a randomization does.
        advice: What to try when a claim about it fails, or nothing for what the verb says.
    """

    name: ClassVar[str]
    undefined: ClassVar[bool] = False
    randomizes: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    @property
    def key(self) -> Hashable:
        """Equal for equal settings."""
        return self

    @property
    @abstractmethod
    def low(self) -> float:
        """The least possible score, or minus infinity."""

    @property
    @abstractmethod
    def high(self) -> float:
        """The greatest possible score, or infinity."""

    @property
    @abstractmethod
    def higher_is_better(self) -> bool:
        """Which direction is better."""

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> Mapping[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first, for maps of these places where they are known."""
        return {}

    @property
    def called(self) -> str:
        """What its scores are called in a verdict: by default its name."""
        return self.name

    def limits(self, described: Sequence[Part]) -> tuple[float, float]:
        """Return the least and the greatest possible score on a subject, given what was described of it.

        By default ``low`` and ``high``. Infinite ones are decided on whether a score is better, not on how much.
        """
        return self.low, self.high

    def shared_error(self, described: Sequence[Part], rival: Sequence[Part], confidence: float) -> float | None:
        """Return how far a mean over inputs may be off, to one side, for what all inputs share; None if it is nothing.

        Args:
            described: What the measurement of the explainer said of itself.
            rival: What that of a baseline said, whose scores are subtracted; empty where there is none.
            confidence: One minus the probability that it is further off.
        """
        return None

    def remarks(self, scored: Scored, described: Sequence[Part]) -> tuple[Part, ...]:
        """Return what a reader of the verdict should know of an explainer's scores, such as that they hardly differ.

        A :class:`~pytest_xaisanity.statistics.evidence.Remark` stands in the reason too, any other part in the evidence
        alone.
        """
        return ()


class OwnMetric(Metric):
    """A metric that says itself what a claim has measured: more than one explanation, or none."""

    @abstractmethod
    def measurement(self) -> Measurement[Scored]:
        """Return what a claim has measured; its scores are ``(n, 1)``."""


class RetrainedMetric(OwnMetric):
    """A metric of models that are trained anew on altered inputs, which the maps of an explainer or a baseline tell."""

    @abstractmethod
    def measurement(self, baseline: Baseline | None = None) -> Measurement[Scored]:
        """Return what a claim has measured of the explainer, or of a baseline in its place."""


@dataclass(frozen=True)
class Scores:
    """Scores of a block of inputs.

    Attributes:
        values: One score an input, ``(b,)``.
        curves: Named curves, one row an input, ``(b, points)``.
    """

    values: Tensor
    curves: Mapping[str, Tensor] = field(default_factory=dict)


T = TypeVar("T")


class MapMetric(Metric, Generic[T]):
    """A metric of given maps, block by block; ``T`` is what all scores of a block share.

    Attributes:
        ranks: Whether the scores depend on the order of the places alone. Where they do not, a baseline's map is given
            the Euclidean norm of the explainer's before it is scored.
        per_channel: Whether it takes a value for each channel, maps ``(b, C, *places)``, not one for each place.
        shares_passes: Whether its passes are the same for all maps of a block, and done once.
    """

    ranks: ClassVar[bool] = True
    shares_passes: ClassVar[bool] = False

    @property
    def per_channel(self) -> bool:
        """By default no; a class attribute says it as well."""
        return False

    def read_either_way(self) -> Self:
        """Return the metric that takes a map for whichever it may be, where it allows more than one reading.

        It is what claims against the explainer's own maps of other inputs measure; by default the metric itself.
        """
        return self

    def alternatives(self) -> Sequence[Self]:
        """Return the metrics of which a claim needs the better one; by default this one alone."""
        return (self,)

    @property
    def reading_name(self) -> str:
        """What it takes maps for, in the plural; only metrics with several readings say."""
        return "maps"

    @property
    def multiplies(self) -> bool:
        """Whether maps are multiplied by something of the input, so that their values matter beside their order."""
        return False

    @abstractmethod
    def prepare(self, lab: Lab, block: Block) -> T:
        """Return what all scores of one block share, such as the outputs on the untouched inputs."""

    @abstractmethod
    def score(self, prepared: T, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores of ``maps`` ``(b, *places)``; ``draw`` tells apart what is drawn for different maps."""

    def evened(self, prepared: T, noise: Tensor) -> Tensor:
        """Return normal noise ``(b, *places)`` as a random order for this metric; as it is by default."""
        return noise

    def leading(self, prepared: T, maps: Tensor) -> Sequence[str]:
        """Return the name of what each map puts first, where places have names; by default they have none."""
        return ()

    def passes(self, block: Block) -> float:
        """Return how many passes of the model it takes to score a map of one input, or all; none by default."""
        return 0.0

    def describe(self, prepared: T) -> tuple[Part, ...]:
        """Return what belongs into the evidence: axes of curves, what was removed, what the outputs are."""
        return ()


# --------------------------------------------------------------------------------------------------------- baselines


class Rival(ABC):
    """What makes the maps of a baseline, block by block, and has something to say of them."""

    @abstractmethod
    def __call__(self, block: Block, like: Tensor) -> list[Tensor]:
        """Return one or more batches of maps, see :meth:`Baseline.maps`."""

    @abstractmethod
    def describe(self) -> tuple[Part, ...]:
        """Return what belongs into the evidence, of all blocks so far."""


class Baseline(ABC):
    """What an explanation must beat, as maps: a frozen dataclass.

    Write one class in a file of ``evidence/baselines``, and register its name. Other explainers are baselines as they
    are, and need no class.

    Attributes:
        from_explainer: Whether its maps are made from the explainer's own.
        random: Whether its maps are random orders: the share of them that is beaten decides.
        of_others: Whether its maps are the explainer's own of other inputs, so that equal maps gain nothing and are
            told apart by their inputs alone; otherwise inputs with (nearly) the same map count once.
        why_none: In words, why an input may have no map of it.
        several: Whether it stands for several baselines, its :meth:`parts`, which must each be beaten.
        margin: A smaller mean gain counts as none, as a share of the metric's range from its middle.
        reach: Gains are clipped to plus and minus this, likewise.
    """

    from_explainer: ClassVar[bool] = False
    random: ClassVar[bool] = False
    several: ClassVar[bool] = False
    of_others: ClassVar[bool] = False
    why_none: ClassVar[str] = "no map of the baseline"
    margin: ClassVar[float] = 0.05
    reach: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in the registry."""

    @abstractmethod
    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one or more batches of maps of the shape of ``like``, or of one without its channels ``(b, *places)``.

        Args:
            block: The inputs.
            like: The explainer's own maps where ``from_explainer``; otherwise maps that are all 0.
            seed: Seeds what is drawn.
        """

    def begin(self, lab: Lab) -> Callable[[Block, Tensor], list[Tensor]]:
        """Return a function of a block and ``like``, called with one block after the other, to :meth:`maps`.

        What a baseline has to keep from one block to the next, such as maps of other inputs, that function keeps. A
        map that is all NaN says that the input has none: it is left out of the comparison, and counted. A
        :class:`Rival` also says something for the evidence.
        """
        return partial(self.maps, seed=lab.seed)

    def cost(self) -> Cost:
        """Return what the maps of an input cost beside an explanation of the explainer's own; nothing by default."""
        return Cost()

    @property
    def count(self) -> int:
        """How many maps it has for each input."""
        return 1

    def of_same_values(self) -> Baseline:
        """Return the baseline for metrics that multiply maps by something of the input: by default this one."""
        return self

    def parts(self, places: tuple[int, ...]) -> Sequence[Baseline]:
        """Return the baselines that must each be beaten: by default this one alone."""
        return (self,)
