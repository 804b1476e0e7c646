"""Scale preservation: what new weights leave of the scale of the channels below them (Binder et al. 2022).

A channel with large activations goes on to contribute much to the output when the layers above it are randomized,
because no randomization of those layers touches the activations. An explanation that is true to the randomized model
must then resemble the one of the trained model, and a randomization test must not count that against it. This metric
measures how much of the order of the channels is left; it scores the model, not an explainer.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from ...common.checks import FEW, check_choice, check_whole
from ...common.errors import XaiError, setting_error, shown
from ...common.seeding import generator, seed_of
from ...maps.similarity import spearman
from ...model.cut import Cut, find_cut
from ...model.reinit.distributions import Distribution, as_distribution
from ...model.reinit.randomizer import Randomizer
from ...model.tracing import Call, Watch
from ...report.figures import Figure, Table
from ...statistics.evidence import Evidence, Part, number
from ...subject.block import Block
from ...subject.explained_layers import explained_layers
from ...subject.layout import by_channel, channel_axis
from ...subject.outputs import columns, select
from ...subject.subject import Subject
from ..base import BEGUN, Cost, Lab, Measurement, Measuring, OwnMetric, Scored
from ..groups import Grouping
from ..randomized import Randomized

__all__ = ["ScalePreservation", "Scales", "Top", "order_probability"]

_error = partial(setting_error, "scale_preservation")

_TOP = (5, 10)  # percent of the channels
_PAIRS = 1000  # pairs of channels an input's order is looked at on, where there are more


@dataclass(frozen=True)
class ScalePreservation(OwnMetric):
    """Rank correlation of the channels' contributions before and after the layers above them are randomized.

    The contribution of a channel to the explained output is the magnitude of activation × gradient, reduced over the
    channel's places. The score of an input is Spearman's correlation over channels, averaged over ``seeds``
    randomizations: 1 where the order of the channels is all that it was, about 0 where nothing is left of it.

    The evidence holds three reports: the correlation; how many of the channels with the largest contributions (5 and
    10 %) are still among the largest, beside the share that chance would leave there; and how many pairs of channels
    contribute in the order of their activations once the weights are re-initialized, beside what
    :func:`order_probability` predicts.

    Args:
        layer: Path of the module whose output channels are scored, as in ``named_modules()``. By default the last
            module below the topmost weights whose output has places (an image's rows and columns), or else the last one
            below them. The prediction of the third report holds for what a dense layer reads (the output of an
            activation or a pooling, not what goes into it); under a convolution, which shares its weights, it is a
            guide.
        seeds: How many independent randomizations, 1 to 1,000.
        axis: The axis of the channels in the module's output; None for 1, which must be named for outputs with three
            axes: 1 for ``(N, C, L)``, -1 for tokens ``(N, T, D)``.
        reduction: Of a channel's places: ``"sum"``, the net contribution ``|Σ a g|``, or ``"norm"``, the root of
            ``Σ (a g)²``, in which places of opposite sign do not cancel.
        reinit: The distribution new weights are drawn from: a name or an object.

    Raises:
        XaiError: A setting is out of range, or does not fit the model.
    """

    layer: str | None = None
    seeds: int = 5
    axis: int | None = None
    reduction: Literal["sum", "norm"] = "sum"
    reinit: str | Distribution = "own"
    name: ClassVar[str] = "scale_preservation"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.layer is not None and not isinstance(self.layer, str):
            raise _error("layer", f"a {type(self.layer).__name__}", "the path of a module, as in named_modules()")
        object.__setattr__(self, "seeds", check_whole(self.name, "seeds", self.seeds, most=FEW))
        if self.axis is not None and (type(self.axis) is not int or self.axis == 0):
            raise _error("axis", shown(self.axis), "the axis of the channels, which is not that of the batch")
        check_choice(self.name, "reduction", self.reduction, ("sum", "norm"))
        object.__setattr__(self, "reinit", as_distribution(self.reinit, where=f"{self.name} reinit"))

    def measurement(self) -> ScaleMeasurement:
        """Return what a claim has measured: this metric needs no attribution maps."""
        return ScaleMeasurement(self)


@dataclass(frozen=True)
class ScaleMeasurement(Measurement[Scored]):
    """The measurement of :class:`ScalePreservation`, shared by all explainers of a model."""

    metric: ScalePreservation
    about = "model"

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""
        return ("scale_preservation", self.metric.key)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return a pass with its gradient as given, and one for each randomized model."""
        return Cost(passes=2.0 * (1 + self.metric.seeds), once=BEGUN)

    def start(self, lab: Lab, block: Block) -> _Measuring:
        """Find the module and the layers above it, on one input of the block."""
        return _Measuring(self.metric, lab, _place(self.metric, lab.subject, block))


class Top(NamedTuple):
    """How many of the channels with the largest contributions are still among the largest.

    Attributes:
        share: Which channels: the top so many percent.
        kept: The share of them that is.
        chance: The share that chance would leave.
        channels: How many they are.
    """

    share: int
    kept: float | None
    chance: float
    channels: int


@dataclass(frozen=True)
class Scales(Part):
    """The three reports of :class:`ScalePreservation`, over all inputs.

    Attributes:
        layer: Path of the module whose channels are scored.
        channels: How many channels it has.
        reduction: Of a channel's places.
        spearman: Mean rank correlation of the contributions before and after.
        undefined: How many correlations are not defined.
        top: What is left of the largest channels.
        predicted: The share of pairs of channels that should contribute in the order of their activations.
        observed: The share that does.
    """

    layer: str
    channels: int
    reduction: str
    spearman: float | None
    undefined: int
    top: tuple[Top, ...]
    predicted: float | None
    observed: float | None

    def plain(self) -> dict[str, object]:
        """Return all of it."""
        return {
            "layer": self.layer,
            "channels": self.channels,
            "reduction": self.reduction,
            "spearman": self.spearman,
            "undefined": self.undefined,
            "top": {
                f"{top.share} %": {"kept": top.kept, "chance": top.chance, "channels": top.channels} for top in self.top
            },
            "order": {"predicted": self.predicted, "observed": self.observed},
        }

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield what is left of the largest channels."""
        head = ("largest channels", "how many", "share kept", "share by chance")
        rows = ((f"top {top.share} %", str(top.channels), number(top.kept), number(top.chance)) for top in self.top)
        yield Table(f"Channels of {self.layer} before and after", head, tuple(rows))


def order_probability(ratio: Any, above: Any, below: Any = None) -> NDArray[np.float64]:
    """Return the probability that the larger of two activations contributes more under weights drawn at random.

    Independent normal weights carry activations ``a > b`` to M units; the norm of what the units get is larger from
    the first with probability ``P(F_{M,M} > (b/a)²)``. With one unit it is ``(2/pi) arctan(a/b)``.

    Args:
        ratio: ``a / b``, positive; infinite where the second activation is 0.
        above: M, the degrees of freedom of the first activation.
        below: Those of the second; by default the same.
    """
    below = above if below is None else below
    with np.errstate(divide="ignore"):
        bound = np.asarray(ratio, dtype=float) ** -2.0
    return np.asarray(special.fdtrc(above, below, bound), dtype=np.float64)


class _Place(NamedTuple):
    """Where the channels are: a module with the layers above it, and its axis of channels."""

    cut: Cut
    axis: int


class _Channels(NamedTuple):
    """What is known of the channels of some inputs.

    Attributes:
        before: Contributions on the model as given, ``(b, C)``.
        after: Contributions on the randomized models, ``(b, seeds, C)``.
        size: Norm of the activations over places, ``(b, C)``.
        freedom: Degrees of freedom of the contribution under random weights, ``(b, C)``.
    """

    before: Tensor
    after: Tensor
    size: Tensor
    freedom: Tensor


class _Measuring(Measuring[Scored]):
    def __init__(self, metric: ScalePreservation, lab: Lab, place: _Place) -> None:
        self.metric, self.lab, self.place = metric, lab, place
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.channels = 0
        self.undefined = 0
        self.grouping = Grouping()

    def measure(self, block: Block) -> Scored:
        """Return the scores ``(b, 1)``; NaN where the contributions of all channels are equal."""
        reports = self.reports(block)
        self.undefined += int(reports["by_seed"].isnan().sum())
        for name, values in reports.items():
            known = values[~values.isnan()]
            self.sums[name] = self.sums.get(name, 0.0) + float(known.sum())
            self.counts[name] = self.counts.get(name, 0) + known.numel()
        return Scored.of(reports["scores"], groups=self.grouping.of(block))

    def reports(self, block: Block) -> dict[str, Tensor]:
        """Return the scores and what the three reports are the means of, one row an input."""
        channels = self._channels(block)
        self.channels = channels.before.shape[1]
        correlations = _correlations(channels)
        result = {"scores": correlations.nanmean(1, keepdim=True), "by_seed": correlations}
        for share in _TOP:
            result[f"top {share} %"] = _kept(channels, _count(share, self.channels))
        result["order predicted"], result["order observed"] = self._orders(channels, block)
        return result

    def describe(self) -> tuple[Part, ...]:
        """Return the module, the layers that were randomized, and the three reports over the inputs so far."""
        top = tuple(
            Top(share, self._mean(f"top {share} %"), count / self.channels, count)
            for share, count in ((share, _count(share, self.channels)) for share in _TOP)
        )
        cut, metric = self.place.cut, self.metric
        layers = tuple(layer.name for layer in cut.layers)
        return (
            Randomized.of(layers, cut.found, reinit=metric.reinit, seeds=metric.seeds),
            Scales(
                layer=cut.path,
                channels=self.channels,
                reduction=metric.reduction,
                spearman=self._mean("by_seed"),
                undefined=self.undefined,
                top=top,
                predicted=self._mean("order predicted"),
                observed=self._mean("order observed"),
            ),
        )

    def _mean(self, name: str) -> float | None:
        return self.sums[name] / self.counts[name] if self.counts.get(name) else None

    def _channels(self, block: Block) -> _Channels:
        batches = self.lab.subject.batches
        # Every state of a micro-batch in one pass of work, so that the activations compared come from equal batches.
        table = batches.run(len(block), lambda part: self._table(block, part))
        return _Channels(table[:, 0], table[:, 3:], table[:, 1], table[:, 2])

    def _table(self, block: Block, part: slice) -> Tensor:
        """Return the rows of :class:`_Channels` for some inputs of a block, ``(p, 3 + seeds, C)``."""
        metric, model = self.metric, self.lab.subject.model
        given, before = self._contributions(block, part, "the model as given")
        size, freedom = _sizes(given, metric.reduction)
        rows = [before, size, freedom]
        assert not isinstance(metric.reinit, str)
        with Randomizer(model, self.place.cut.layers, metric.reinit) as randomizer:
            for seed in range(metric.seeds):
                for layer in self.place.cut.layers:
                    randomizer.randomize(layer, seed=seed_of(self.lab.seed, metric.name, seed))
                stage = f"the model with the layers above {self.place.cut.path} randomized (seed {seed})"
                activations, after = self._contributions(block, part, stage)
                if not torch.equal(given, activations):
                    raise _not_below(self.place)
                rows.append(after)
        return torch.stack(rows, dim=1)

    def _contributions(self, block: Block, part: slice, stage: str) -> tuple[Tensor, Tensor]:
        """Return the activations, ``(p, C, places)``, and the contribution of each channel, ``(p, C)``."""
        inputs = tuple(tensor[part].clone() for tensor in block.arguments)
        targets = None if block.targets is None else block.targets[part]
        with torch.inference_mode(False), torch.enable_grad(), _cut(self.place) as seen:
            outputs = self.lab.subject.presented(*inputs)
            outputs = columns(outputs)
            explained = select(outputs if outputs.dtype == torch.float64 else outputs.float(), targets).sum()
            if len(seen) != 1:
                found = f"{self.place.cut.path!r}, called {len(seen)} times in a forward pass"
                raise _error("layer", found, "a module that is called once, and is not compiled away")
            gradient = None
            if explained.requires_grad:
                (gradient,) = torch.autograd.grad(explained, seen, allow_unused=True)
        if gradient is None:
            found = f"{self.place.cut.path!r}, on which the explained output does not depend differentiably"
            raise _error("layer", found, "a module on the way to the output")
        activations = _by_channel(seen[0].detach(), self.place.axis)
        terms = activations * _by_channel(gradient, self.place.axis)
        scores = terms.sum(2).abs() if self.metric.reduction == "sum" else torch.linalg.vector_norm(terms, dim=2)
        if not torch.isfinite(scores).all():
            raise _error("layer", f"contributions that are NaN or infinite on {stage}", "finite activations")
        return activations, scores

    def _orders(self, channels: _Channels, block: Block) -> tuple[Tensor, Tensor]:
        """Return, per input, the share of pairs that keep the order of their activations: predicted, observed."""
        pairs = _pairs(channels.size.shape[1], self.lab.seed, block.indices).to(channels.size.device)
        first, second = (channels.size.gather(1, pairs[..., k]) for k in (0, 1))
        swap = first < second
        pairs = torch.where(swap[..., None], pairs.flip(2), pairs)
        large, small = torch.maximum(first, second), torch.minimum(first, second)
        alive = (small > 0).double()  # a channel that is off keeps its place whatever the weights
        freedom = [channels.freedom.gather(1, pairs[..., k]).cpu().numpy() for k in (0, 1)]
        probability = order_probability(
            (large / small.clamp_min(torch.finfo(small.dtype).tiny)).cpu().numpy(), *freedom
        )
        predicted = torch.from_numpy(probability).to(alive.device)
        every = (len(pairs), channels.after.shape[1], pairs.shape[1])
        above, below = (channels.after.gather(2, pairs[:, None, :, k].expand(every)) for k in (0, 1))
        kept = ((above > below).double() + (above == below).double() / 2).mean(1)
        total = alive.sum(1)  # NaN below where no pair is alive
        return (predicted * alive).sum(1) / total, (kept * alive).sum(1) / total


# ------------------------------------------------------------------------------------------------------- the reports


def _correlations(channels: _Channels) -> Tensor:
    """Return Spearman's correlation over channels for each input and seed, ``(b, seeds)``."""
    return torch.stack([spearman(channels.before, after) for after in channels.after.unbind(1)], dim=1).double()


def _count(share: int, channels: int) -> int:
    """Return how many channels the top ``share`` percent are, at least one."""
    return max(1, round(share * channels / 100))


def _kept(channels: _Channels, count: int) -> Tensor:
    """Return the share of the ``count`` largest channels that stay among them, averaged over seeds: ``(b,)``."""
    before, after = _membership(channels.before, count)[:, None], _membership(channels.after, count)
    return (before * after).sum(2).mean(1) / count


def _membership(scores: Tensor, count: int) -> Tensor:
    """Return how far each entry of the last axis is among the ``count`` largest; ties at the border share its seats."""
    border = scores.topk(count, dim=-1).values[..., -1:]
    above, level = (scores > border).double(), (scores == border).double()
    return above + level * (count - above.sum(-1, keepdim=True)) / level.sum(-1, keepdim=True)


def _sizes(activations: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """Return the norm of each channel's activations, and the degrees of freedom under random weights.

    Weights of their own at every place make the net contribution one normal variable, and the squared norm of the
    contributions a weighted sum of squares, whose degrees of freedom are Satterthwaite's.
    """
    size = torch.linalg.vector_norm(activations, dim=2)
    if reduction == "sum":
        return size, torch.ones_like(size)
    shares = (activations / size.clamp_min(torch.finfo(size.dtype).tiny)[..., None]).square()
    return size, 1 / shares.square().sum(2).clamp_min(1 / activations.shape[2])


def _pairs(channels: int, seed: int, indices: tuple[int, ...]) -> Tensor:
    """Return pairs of channels for each input, ``(b, pairs, 2)``: all of them, or as many drawn by (seed, input)."""
    if channels * (channels - 1) // 2 <= _PAIRS:
        return torch.combinations(torch.arange(channels)).expand(len(indices), -1, -1)
    drawn = []
    for index in indices:
        rng = generator(seed, "pairs of channels", index)
        first = torch.randint(channels, (_PAIRS,), generator=rng)
        step = torch.randint(1, channels, (_PAIRS,), generator=rng)
        drawn.append(torch.stack([first, (first + step) % channels], dim=1))
    return torch.stack(drawn)


# --------------------------------------------------------------------------------------------------------- the place


def _by_channel(tensor: Tensor, axis: int) -> Tensor:
    """Return ``tensor`` as ``(b, C, places)``, in single precision at least."""
    return by_channel(tensor if tensor.dtype == torch.float64 else tensor.float(), axis)


@contextmanager
def _cut(place: _Place) -> Generator[list[Tensor]]:
    """Cut the graph at the module's output, which is put into the list, so that gradients end there."""
    seen: list[Tensor] = []

    def cut(call: Call, output: Tensor) -> Tensor:
        seen.append(output.detach().clone().requires_grad_())
        return seen[0].clone()  # what follows may alter it in place

    with Watch(modules={place.cut.path: place.cut.module}, output=cut).block():
        yield seen


def _place(metric: ScalePreservation, subject: Subject, block: Block) -> _Place:
    """Return where the metric looks in this model."""
    probe = subject.probe(block)
    found = explained_layers(subject, block)
    where = "scale_preservation layer"
    cut = find_cut(subject.model, lambda: subject.outputs(probe), metric.layer, where=where, found=found)
    return _Place(cut, _checked_axis(metric, cut, len(probe[0])))


def _checked_axis(metric: ScalePreservation, cut: Cut, count: int) -> int:
    """Return the axis of the channels in the output of the module for ``count`` inputs."""
    path, shape = cut.path, cut.shape
    shown = f"outputs {('N', *shape[1:])} of {path!r}".replace("'N'", "N")
    if len(shape) < 2 or shape[0] != count:
        raise _error("layer", shown if shape else f"{path!r}, which returns no tensor", "outputs (N, C, ...)")
    axis = channel_axis(shape, metric.axis)
    if axis is None:
        raise _error("axis", f"{shown}, whose channels may be on either axis", "axis=1 or axis=-1")
    if not -len(shape) < axis < len(shape):
        raise _error("axis", f"{axis} for {shown}", "one of its axes, without the first")
    if shape[axis] < 2:
        raise _error("layer", f"{shown}, a single channel", "two or more channels, which can be ranked")
    return axis


def _not_below(place: _Place) -> XaiError:
    return XaiError(
        "scale_preservation layer",
        found=f"activations of {place.cut.path!r} that changed when the layers above it were randomized",
        expected="a module that no randomized layer reaches",
        fix="name another module with layer=",
    )
