"""Cosine similarity convergence: whether a rule of backpropagation forgets what it starts from (Sixt et al. 2020).

A rule that multiplies relevance by non-negative matrices, layer by layer, makes all relevance parallel on the way
down. What arrives at the input then has one direction, whatever the class and whatever the layers above: only its
length, and perhaps its sign, still depends on them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ...common.checks import FEW, check_whole
from ...common.errors import XaiError, said, setting_error, shown, unknown_name
from ...common.seeding import generator
from ...explainers.attributions import Attributions
from ...explainers.backward import backward_rules
from ...maps.cosines import CosineHistogram, absolute_cosines, null_mean, null_median, row_medians
from ...model.cut import hookable
from ...model.inventory import Inventory
from ...model.tracing import Call, Watch
from ...report.figures import Chart, Figure, Line
from ...statistics.evidence import Evidence, Part, Row, number
from ...subject.batches import out_of_memory
from ...subject.block import Block, Inputs
from ...subject.explained_layers import explained_layers
from ...subject.layout import by_channel, channel_axis
from ..base import Cost, Lab, Measurement, Measuring, OwnMetric, Scored
from ..groups import Grouping

__all__ = ["AtLayer", "Convergence", "CosineSimilarityConvergence"]

_error = partial(setting_error, "cosine_similarity_convergence")

_PERCENT = [0, 1, 5, 10, 20, 50, 80, 95, 99, 100]
_BAND = 20, 80  # of these, what is drawn
_POSITIONS = 64  # of an output, looked at where it has more: what varies most are the draws, which all share
_INPUT = "(input)"


@dataclass(frozen=True)
class CosineSimilarityConvergence(OwnMetric):
    """Median |cos| of random relevance, drawn at one layer and sent down to another by the explainer's own rule.

    Each input is sent through the model once. Normal relevance in the shape of the start layer's output is drawn
    several times and backpropagated to every layer below. There each two of the draws are compared at each position
    (at 64 random ones where there are more), over channels. The score of an input is the median over positions and
    pairs at ``layer``: 1 where all relevance has become parallel; chance is what two random vectors of as many channels
    have, 0.09 for 64 and 0.5 for three, and is quoted beside it (no more channels than the numbers that are drawn:
    relevance from ten logits fills ten dimensions). Any chain of layers converges slowly, that of the plain
    gradient too, so that what matters is how fast: the evidence holds the distribution of |cos| at every layer from the
    start downwards, over all inputs.

    A bound to begin with is ``at_most=0.85``. Sixt et al. call 0.99 converged, in networks of 16 layers and more. In
    one of ten layers, rules that lose the class reached 0.9 or more, and sound ones stayed below 0.8
    (``examples/sixt2020``). Where the lowest layer has but a few channels, cosines are large for sound rules too: name
    a ``layer`` further up.

    A layer's output is taken where the next weights read it: behind the normalization, activation and pooling that
    follow the weights. Outputs with a single channel, where any two vectors are parallel, are left out; so are zero
    vectors, whose share is in the evidence. The input counts as the last layer where it has channels.

    Args:
        start: Path of the module at whose output relevance is drawn, as in ``named_modules()``. By default the topmost
            module with weights that reach the explained output, and more than one output of its own.
        layer: Path of the module that is scored. By default the lowest layer with more than one channel, the input
            excepted.
        draws: How often relevance is drawn for each input, 2 to 1,000.
        axis: The axis of the channels of outputs with three axes, which must be named where a layer has them: 1 for
            ``(N, C, L)``, -1 for tokens ``(N, T, D)``.

    Raises:
        XaiError: A setting is out of range or does not fit the model, or the explainer's rule is not known.
    """

    start: str | None = None
    layer: str | None = None
    draws: int = 5
    axis: int | None = None
    name: ClassVar[str] = "cosine_similarity_convergence"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    higher_is_better: ClassVar[bool] = False
    advice: ClassVar[str] = (
        "relevance becomes parallel on its way down, so that it tells neither classes nor later layers apart: use a "
        "rule that mixes both signs (gradients, LRP z, DeepLIFT Rescale)"
    )

    def __post_init__(self) -> None:
        for setting in ("start", "layer"):
            path = getattr(self, setting)
            if path is not None and not isinstance(path, str):
                raise _error(setting, f"a {type(path).__name__}", "the path of a module, as in named_modules()")
        object.__setattr__(self, "draws", check_whole(self.name, "draws", self.draws, least=2, most=FEW))
        if self.axis is not None and (not isinstance(self.axis, int) or self.axis not in (1, 2, -1, -2)):
            raise _error("axis", shown(self.axis), "1 or -1, the axis of the channels in outputs with three axes")

    def measurement(self) -> ConvergenceMeasurement:
        """Return what a claim has measured: the explainer's rule rather than its maps."""
        return ConvergenceMeasurement(self)


@dataclass(frozen=True)
class ConvergenceMeasurement(Measurement[Scored]):
    """The measurement of :class:`CosineSimilarityConvergence` on one explainer."""

    metric: CosineSimilarityConvergence

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""
        return (self.metric.name, self.metric.key)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return a pass, and one back for each draw."""
        return Cost(passes=1.0 + self.metric.draws)

    def start(self, lab: Lab, block: Block) -> _Measuring:
        """Find the start layer and the layers below it, on one input of the block."""
        return _Measuring(self.metric, lab.attributions, block)


class AtLayer(NamedTuple):
    """The distribution of |cos| at one layer, over all inputs.

    Attributes:
        layer: Path of the module.
        channels: How many entries its vectors have.
        mean: Mean of |cos|; None where no two vectors are there to be compared.
        percentiles: By percent, likewise.
        null_median: Median of |cos| for random vectors.
        null_mean: Its mean for those.
        undefined: The share of pairs of which one vector is zero.
    """

    layer: str
    channels: int
    mean: float | None
    percentiles: Mapping[int, float] | None
    null_median: float
    null_mean: float
    undefined: float

    @property
    def median(self) -> float | None:
        """The median of |cos|."""
        return None if self.percentiles is None else self.percentiles[50]


@dataclass(frozen=True)
class Convergence(Part):
    """What was seen on the way down.

    Attributes:
        start: Path of the module at whose output relevance was drawn.
        layer: Path of the module whose medians are the scores.
        draws: How often relevance was drawn for each input.
        layers: The distribution at every layer from the start downwards.
    """

    start: str
    layer: str
    draws: int
    layers: tuple[AtLayer, ...]

    def plain(self) -> dict[str, object]:
        """Return all of it."""
        rows = []
        for at in self.layers:
            percentiles = None
            if at.percentiles is not None:
                percentiles = {str(percent): value for percent, value in at.percentiles.items()}
            rows.append({**at._asdict(), "percentiles": percentiles, "median": at.median})
        return {"start": self.start, "layer": self.layer, "draws": self.draws, "convergence": rows}

    def rows(self) -> Iterator[Row]:
        """Yield one row a layer."""
        for at in self.layers:
            null = number(at.null_median)
            yield "convergence", f"{at.layer}: median |cos| {number(at.median)} (random vectors {null})"

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield the medians from the start downwards, beside those of random vectors."""
        low, high = (
            tuple(None if at.percentiles is None else at.percentiles[percent] for at in self.layers)
            for percent in _BAND
        )
        medians = Line("relevance of two draws", tuple(at.median for at in self.layers), low, high)
        null = Line("random vectors", tuple(at.null_median for at in self.layers), beside=True)
        yield Chart(
            "Convergence from the start downwards",
            "layer",
            "median |cos| (1: parallel)",
            tuple(at.layer for at in self.layers),
            (medians, null),
            note=f"band: from the {_BAND[0]}th to the {_BAND[1]}th percentile of all pairs",
            limits=(0.0, 1.0),
        )


class _Output(NamedTuple):
    """The output of a call: its place in the graph, whatever is done to it in place later, and its shape."""

    edge: GradientEdge
    shape: tuple[int, ...]


class _Place(NamedTuple):
    """Where relevance is looked at: the call that returns it, its axis of channels, and their number."""

    call: Call
    axis: int
    channels: int


class _Plan(NamedTuple):
    """Where relevance is drawn and where it is looked at.

    Attributes:
        modules: The modules to watch, by path.
        start: Where relevance is drawn.
        drawn: How many numbers are drawn there for each input.
        places: Where it is looked at, by name and from the top down; the start is the first.
        scored: The name of the place whose medians are the scores.
    """

    modules: Mapping[str, nn.Module]
    start: Call
    drawn: int
    places: Mapping[str, _Place]
    scored: str


class _Measuring(Measuring[Scored]):
    def __init__(self, metric: CosineSimilarityConvergence, attributions: Attributions, block: Block) -> None:
        self.metric, self.attributions = metric, attributions
        with _naming(attributions):
            self.plan = _plan(metric, attributions, block)
        self.distributions = {name: CosineHistogram() for name in self.plan.places}
        self.grouping = Grouping()

    def measure(self, block: Block) -> Scored:
        """Return the scores ``(b, 1)``; NaN where at most one vector of an input is not zero at the layer."""
        batches = self.attributions.subject.batches
        scores = batches.run(len(block), lambda part: self._scores(block.part(part.start, part.stop)))
        return Scored.of(scores[:, None], groups=self.grouping.of(block))

    def describe(self) -> tuple[Part, ...]:
        """Return the start, the layer that is scored, and what was seen at every layer of all inputs so far."""
        seen = tuple(self._at(name, place.channels) for name, place in self.plan.places.items())
        return (Convergence(self.plan.start.path, self.plan.scored, self.metric.draws, seen),)

    def _at(self, name: str, channels: int) -> AtLayer:
        seen, dimensions = self.distributions[name], min(channels, self.plan.drawn)
        percentiles = dict(zip(_PERCENT, seen.percentiles(_PERCENT), strict=True)) if seen.count else None
        return AtLayer(
            layer=name,
            channels=channels,
            mean=seen.mean if percentiles else None,
            percentiles=percentiles,
            null_median=null_median(dimensions),
            null_mean=null_mean(dimensions),
            undefined=seen.undefined / (seen.count + seen.undefined),
        )

    def _scores(self, block: Block) -> Tensor:
        with _naming(self.attributions):
            relevance = self._relevance(block)
        cosines = {name: absolute_cosines(vectors).flatten(1) for name, vectors in relevance.items()}
        for name, values in cosines.items():  # last of all, so that a part that is done again counts once
            self.distributions[name].add(values)
        return row_medians(cosines[self.plan.scored])

    def _relevance(self, block: Block) -> dict[str, Tensor]:
        """Return the relevance of each draw at every place, ``(b, positions, draws, channels)``, from one sweep."""
        attributions, plan, count = self.attributions, self.plan, self.metric.draws
        model = attributions.subject.presented
        with backward_rules(attributions.explainer.source, model), torch.inference_mode(False), torch.enable_grad():
            (start,), outputs = _forward(model, block.arguments, plan.modules, plan.start)
            shape, seed = start.shape[1:], attributions.seed
            rngs = [generator(seed, "relevance", index) for index in block.indices]
            drawn = [torch.randn(count, *shape, generator=rng, dtype=torch.float32) for rng in rngs]
            draws = torch.stack(drawn, dim=1).to(start)
            edges = [outputs[place.call].edge for place in plan.places.values() if place.call != plan.start]
            kept: dict[str, Tensor] = {}
            for k, draw in enumerate(draws):
                swept = (draw, *torch.autograd.grad(start, edges, draw, retain_graph=k + 1 < count))
                for (name, place), relevance in zip(plan.places.items(), swept, strict=True):
                    rows = _by_position(relevance, place, seed)
                    if k == 0:
                        kept[name] = rows.new_empty(*rows.shape[:2], count, rows.shape[2])
                    kept[name][:, :, k] = rows
        return kept


def _by_position(relevance: Tensor, place: _Place, seed: int) -> Tensor:
    """Return relevance as ``(b, positions, channels)``, at random positions where there are very many."""
    rows = by_channel(relevance, place.axis)
    if rows.shape[2] > _POSITIONS:
        order = torch.randperm(rows.shape[2], generator=generator(seed, "positions", place.call.path))
        rows = rows[:, :, order[:_POSITIONS].sort().values.to(rows.device)]
    return rows.transpose(1, 2)


@contextmanager
def _naming(attributions: Attributions) -> Iterator[None]:
    """Turn what is raised when a rule is swept into one error that names the explainer."""
    try:
        yield
    except Exception as error:
        if isinstance(error, XaiError) or out_of_memory(error):
            raise
        raise XaiError(
            f"explainer {attributions.explainer.name}",
            found=f"{type(error).__name__} when relevance was sent down by its rule{said(error)}",
            expected="a rule that backpropagates any relevance from one layer to those below, and does so repeatedly",
            fix="try start= further down, or take the functions out of the model that the rule does not know",
        ) from error


# ------------------------------------------------------------------------------------------------ the forward pass


def _forward(
    model: Any, inputs: Inputs, modules: Mapping[str, nn.Module], start: Call | None
) -> tuple[list[Tensor], dict[Call, _Output]]:
    """Return the output of the call ``start``, and the outputs of all calls of ``modules``, in the order of their ends.

    The input comes first where there is but one. What follows the start may alter a copy of its output in place.
    """
    outputs: dict[Call, _Output] = {}
    started: list[Tensor] = []
    leaves = [tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor.clone() for tensor in inputs]
    given = [tensor.clone() for tensor in leaves]  # a leaf could not be altered in place

    def begin(module: nn.Module, _: object) -> None:
        if module is model:  # a rule may have run it on a baseline just before
            watch.forget()
            started.clear()
            outputs.clear()
            if len(given) == 1 and given[0].requires_grad:
                outputs[Call(_INPUT)] = _Output(get_gradient_edge(given[0]), tuple(given[0].shape))

    def note(call: Call, output: object) -> Tensor | None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return None
        outputs[call] = _Output(get_gradient_edge(output), tuple(output.shape))
        if call != start:
            return None
        started.append(output)
        return output.clone()

    watch = Watch(called=begin, modules=modules, output=note)
    watch.during(lambda: model(*given))
    return started, outputs


# ------------------------------------------------------------------------------------------------------- the plan


def _plan(metric: CosineSimilarityConvergence, attributions: Attributions, block: Block) -> _Plan:
    """Return where to draw and to look, from forward passes and one backward pass of a few inputs of a block."""
    subject, source = attributions.subject, attributions.explainer.source
    model, probe = subject.model, subject.probe(block)
    inventory = Inventory(model)
    modules = hookable(inventory)
    for setting, path in (("start", metric.start), ("layer", metric.layer)):
        if path is not None and path not in modules and (setting, path) != ("layer", _INPUT):
            raise unknown_name(f"{metric.name} {setting}", path, modules, kind="module")
    weighted = {layer.name for layer in explained_layers(subject, block)}
    called = attributions.subject.presented
    with backward_rules(source, called), torch.inference_mode(False), torch.enable_grad():
        _, outputs = _forward(called, probe, modules, None)
        start = _start(metric, outputs, weighted)
        (begun,), outputs = _forward(called, probe, modules, start)
        below = [call for call in outputs if call != start]
        edges = [outputs[call].edge for call in below]
        found = torch.autograd.grad(begun, edges, torch.ones_like(begun), allow_unused=True)
    reached = {call: outputs[call] for call, gradient in zip(below, found, strict=True) if gradient is not None}
    asked = None if metric.layer is None else _only(metric.layer, "layer", reached)
    calls = [call for call in _layers_below(start, asked, reached, weighted, modules, len(probe[0])) if call != asked]
    order = [call for call in reached if call in calls or call == asked]
    places = {start.path: _Place(start, *_channels(metric, start, tuple(begun.shape)))}
    for call in reversed(order):
        axis, channels = _channels(metric, call, reached[call].shape)
        if channels > 1:
            places[_name_of(call, outputs)] = _Place(call, axis, channels)
        elif call == asked:
            found_there = f"{call.path!r} with a single channel, where any two vectors are parallel"
            raise _error("layer", found_there, "a layer of two or more channels")
    scored = metric.layer or _lowest(places, start)
    watched = {place.call.path: modules[place.call.path] for place in places.values() if place.call.path != _INPUT}
    return _Plan(watched, start, prod(begun.shape[1:]), places, scored)


def _start(metric: CosineSimilarityConvergence, outputs: Mapping[Call, _Output], weighted: set[str]) -> Call:
    """Return the call at whose output relevance is drawn."""
    if metric.start is None:
        fit = [call for call in outputs if call.path in weighted and prod(outputs[call].shape[1:]) > 1]
        if not fit:
            found = "no module inside the model with weights that returns more than one number"
            raise _error("start", found, "a module to start from")
        return fit[-1]
    start = _only(metric.start, "start", outputs)
    if prod(outputs[start].shape[1:]) == 1:
        found = f"{start.path!r} with a single output, so that all relevance is parallel"
        raise _error("start", found, "a module with two or more outputs")
    return start


def _only(path: str, setting: str, outputs: Mapping[Call, _Output]) -> Call:
    """Return the only call of the module at ``path``."""
    calls = [call for call in outputs if call.path == path]
    if len(calls) == 1:
        return calls[0]
    if calls:
        raise _error(setting, f"{path!r}, called {len(calls)} times in a forward pass", "a module that is called once")
    where = "below the start" if setting == "layer" else "on the way from the inputs"
    raise _error(setting, f"{path!r}, which returns no tensor {where}", f"a module {where} that returns one tensor")


def _layers_below(
    start: Call,
    asked: Call | None,
    reached: Mapping[Call, _Output],
    weighted: set[str],
    modules: Mapping[str, nn.Module],
    count: int,
) -> list[Call]:
    """Return the last output of each layer: behind what follows its weights, and before the next ones.

    A module that returns what another one has returned, as a container does, and one that flattens, is not another one.
    """
    distinct: dict[GradientEdge, Call] = {}
    for call, (edge, shape) in reached.items():
        image = call.path == _INPUT or not isinstance(modules[call.path], nn.Flatten)
        if image and len(shape) > 1 and shape[0] == count and (call == asked or edge not in distinct):
            distinct[edge] = call
    lasts: list[Call] = []
    current: Call | None = None
    for call in (*distinct.values(), start):
        if call.path in weighted or call.path == _INPUT:
            lasts += [current] if current else []
            current = call
        elif current not in (None, Call(_INPUT)):
            current = call
    return lasts


def _channels(metric: CosineSimilarityConvergence, call: Call, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the axis and the number of the channels of an output."""
    axis = channel_axis(shape, metric.axis if len(shape) == 3 else None)
    if axis is None:
        found = f"outputs (N, {shape[1]}, {shape[2]}) of {call.path!r}, whose channels may be on either axis"
        raise _error("axis", found, "axis=1 or axis=-1")
    return axis, shape[axis]


def _name_of(call: Call, outputs: Mapping[Call, _Output]) -> str:
    again = call.number or Call(call.path, 1) in outputs
    return f"{call.path} (call {call.number + 1})" if again else call.path


def _lowest(places: Mapping[str, _Place], start: Call) -> str:
    """Return the lowest layer, or the input where there is no layer."""
    below = [name for name, place in places.items() if place.call != start]
    layers = [name for name in below if name != _INPUT]
    if not below:
        found = f"nothing below {start.path!r} with two or more channels"
        raise _error("start", found, "a start with layers below it")
    return layers[-1] if layers else _INPUT
