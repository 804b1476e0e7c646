"""Pixel flipping: how the output falls as the pixels an explanation ranks are removed.

Bach et al. 2015, Samek et al. 2017; the symmetric relevance gain is Blücher et al. 2024.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...common.checks import check_choice, check_whole
from ...common.errors import XaiError, setting_error
from ...common.seeding import generator
from ...maps.imputation import IMPUTERS, Conditional, Imputer, Learning, Mean
from ...maps.regions import Groups, Regions, said_by
from ...statistics.evidence import Axis, Evidence, Part, Remark, Row
from ...subject.block import Block, Inputs
from ...subject.layout import Layout
from ...subject.outputs import select
from ...subject.subject import Subject
from ...subject.task import Task
from ..base import Lab, MapMetric, Scored, Scores
from ..foreign import asked, checked_numbers
from .token_flipping import TokenFlipping, token_imputer

__all__ = ["CURVES", "Flipped", "PixelFlipping", "Saturated"]

_MANY = 10**6  # regions, where their number is not known
STILL = 0.01  # a probability that changes less along its curves hardly moves
RAW = "raw output"
Output: TypeAlias = Literal["probability", "logit", "accuracy"]
Reading: TypeAlias = Literal["contribution", "sensitivity", "either"]
_READINGS = ("contribution", "sensitivity", "either")
CURVES = {"morf": "most relevant first", "lerf": "least relevant first"}


@dataclass(frozen=True)
class PixelFlipping(MapMetric["_Flipping | TokenFlipping"]):
    """Area under the curve of the explained output over the removed fraction of pixels.

    A pixel is all the channels of a place. The curve starts at the untouched input and ends with every pixel removed;
    the area is taken by the trapezoid rule over the removed fraction in [0, 1].

    Args:
        steps: Number of removals, 1 or more; at most one for each pixel (or patch). Eight tell random orders as well
            as 32 do.
        imputer: What removed pixels become: ``"mean"`` of the original image, ``"constant"``, ``"blur"``, ``"noise"``,
            ``"marginal"`` (the values of another input), ``"conditional_mean"`` (the regression on the features that
            are kept), or an imputer object. Of tokens: ``"mask_token"``, ``"padding"``, ``"zero_embedding"`` or
            ``"deletion"``; the default is then the first of the mask token, the embedding and padding that the model is
            known to have.
        patch: Side of the regions that are removed together, in places: squares of images, spans of series, cubes of
            volumes. A region ranks by its mean attribution; the last along an axis may be smaller.
        groups: Other regions that are removed together, such as superpixels or one-hot features: whole numbers that
            label the places, of their shape ``(H, W)``, or with a row for each input ``(N, H, W)`` in the order of the
            data; a function ``inputs -> labels`` ``(b, H, W)``; ``"slic"`` or ``"felzenszwalb"``, or
            :class:`~pytest_xaisanity.maps.superpixels.Superpixels`, which scikit-image finds; or a mapping of names to
            features, ``{"color": [0, 1, 2]}``, of which the others are removed by themselves. Where each input has its
            own, their number may differ.
        order: ``"srg"``: area with the least relevant pixels first, minus area with the most relevant first (symmetric
            relevance gain; higher is better, 0 for random orders in expectation). ``"morf"``: area with the most
            relevant pixels first (lower is better). ``"lerf"``: area with the least relevant first (higher is better).
        output: ``"probability"`` of the explained output, as the model's task has it (``xai_task``, ``Bench(task=)``):
            in a classification the softmax of the outputs, for labels the sigmoid of each, and what are probabilities
            already as they are; in a regression the output itself. ``"logit"`` takes any outputs as they are.
        reading: What a map is taken for. ``"contribution"``: pixels rank by their values, as those of Integrated
            Gradients do, which say what a pixel adds. ``"sensitivity"``: by their values times the change that a
            removal makes, summed over channels, as a gradient asks for, which says what follows from a change but not
            how large it is. ``"either"``: whichever is better; ``beats`` then holds in one of the two, at an error that
            is split over them. By default contributions, and either where the baseline is the explainer's own map of
            other inputs, which is read in the same way.

    Scores: ``"srg"`` of probabilities lies in [-1, 1], a single area in [0, 1]; logits and values have no bound, and
    whether one is better is then decided on, not by how much. To bound them outside of these ranges, say ``"logit"``.

    Ties are broken at random, by (seed, input).

    Raises:
        XaiError: A setting is out of range, or does not fit the inputs.
    """

    steps: int = 8
    imputer: str | Imputer | Learning = "mean"
    patch: int = 1
    groups: Any = None
    order: Literal["srg", "morf", "lerf"] = "srg"
    output: Output = "probability"
    reading: Reading | None = None
    name: ClassVar[str] = "pixel_flipping"
    outputs: ClassVar[tuple[Output, ...]] = ("probability", "logit")
    token_defaults: ClassVar[tuple[type, ...]] = (Mean,)  # imputers in whose place tokens have the model's own

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_whole(self.name, "steps", self.steps))
        self._check_patch()
        self._check_regions()
        check_choice(self.name, "order", self.order, ("srg", "morf", "lerf"))
        check_choice(self.name, "output", self.output, self.outputs)
        if self.reading is not None:
            check_choice(self.name, "reading", self.reading, _READINGS)
        if isinstance(self.imputer, (str, type)):
            object.__setattr__(self, "imputer", IMPUTERS.build(self.imputer, {}, where=f"{self.name} imputer"))
        usable = callable(self.imputer) or isinstance(self.imputer, Learning)
        if not usable or not isinstance(self.imputer, Hashable):
            lacks = "cannot be hashed" if usable else "cannot be called"
            expected = "a name, or a hashable object called with (inputs, seed=, indices=)"
            raise self.error("imputer", f"a {type(self.imputer).__name__}, which {lacks}", expected)

    def _check_patch(self) -> None:
        object.__setattr__(self, "patch", check_whole(self.name, "patch", self.patch))

    def _check_regions(self) -> None:
        if self.groups is None:
            return
        if not isinstance(self.groups, Groups):
            with said_by(self.name):
                object.__setattr__(self, "groups", Groups(self.groups))
        if (self.patch or 1) > 1:
            found = f"patch={self.patch} beside groups="
            raise self.error("patch", found, "one of both, which say what is removed together")

    @classmethod
    def error(cls, setting: str, found: str, expected: str) -> XaiError:
        """Return the error for a setting that cannot be."""
        return setting_error(cls.name, setting, found, expected)

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> dict[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first, for maps of these places where they are known."""
        axes = 0 if places is None else len(places)
        side = min(places) if places is not None and axes in (2, 3) else 0
        return {
            "imputer": ("mean", "constant", "noise", *(("blur",) if axes == 2 else ())),
            "steps": (8, 16, 32),
            "patch": tuple(patch for patch in (1, 2, 4, 8) if patch == 1 or 2 * patch <= side),
            "order": ("srg", "morf", "lerf"),
        }

    @property
    def low(self) -> float:
        """The least possible score."""
        return -inf if self.output == "logit" else (-1.0 if self.order == "srg" else 0.0)

    @property
    def high(self) -> float:
        """The greatest possible score."""
        return inf if self.output == "logit" else 1.0

    @property
    def orders(self) -> tuple[Literal["morf", "lerf"], ...]:
        """The orders in which regions are removed."""
        return ("morf", "lerf") if self.order == "srg" else (self.order,)

    @property
    def higher_is_better(self) -> bool:
        """False for the area with the most relevant pixels first."""
        return self.order != "morf"

    @property
    def per_channel(self) -> bool:
        """Whether the change of each channel is looked at."""
        return self.reading in ("sensitivity", "either")

    def read_either_way(self) -> Self:
        """Return this metric, which takes the better reading where none is named."""
        return self if self.reading is not None else replace(self, reading="either")

    def alternatives(self) -> Sequence[Self]:
        """Return this metric in both readings where either will do."""
        if self.reading != "either":
            return (self,)
        return (replace(self, reading="contribution"), replace(self, reading="sensitivity"))

    @property
    def reading_name(self) -> str:
        """What it takes maps for."""
        return "sensitivities" if self.reading == "sensitivity" else "contributions"

    @property
    def multiplies(self) -> bool:
        """Whether maps are multiplied by the change that a removal makes."""
        return self.per_channel

    def prepare(self, lab: Lab, block: Block) -> _Flipping | TokenFlipping:
        """Return the outputs and references that every order of this block shares."""
        if block.mask is not None:
            if self.patch > 1 or self.groups is not None:
                setting = "groups" if self.groups is not None else "patch"
                expected = "patch=1 and no groups: one token is removed after another"
                raise self.error(setting, "regions of tokens", expected)
            imputer = token_imputer(self.imputer, lab.subject, default=self.token_defaults, owner=self.name)
            fractions = [step / self.steps for step in range(self.steps + 1)]
            return TokenFlipping(imputer, fractions, self.output, lab.subject, block, lab.seed, owner=self.name)
        return _Flipping(self, lab.subject, block, lab.seed)

    def score(self, prepared: _Flipping | TokenFlipping, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores ``(b,)`` of ``maps`` and the curves ``(b, steps + 1)`` they come from."""
        found = [self._of_places(prepared, one, draw) for one in prepared.readings(maps)]
        if len(found) == 1:
            return found[0]
        first, second = found
        better = first.values >= second.values if self.higher_is_better else first.values <= second.values
        curves = {key: torch.where(better[:, None], curve, second.curves[key]) for key, curve in first.curves.items()}
        return Scores(torch.where(better, first.values, second.values), curves)

    def _of_places(self, prepared: _Flipping | TokenFlipping, maps: Tensor, draw: str) -> Scores:
        """Return the scores of maps ``(b, *places)`` whose values rank the places."""
        ranks = prepared.ranks(maps, draw)
        curves = {}
        for order in self.orders:
            curves[CURVES[order]] = prepared.curve(ranks if order == "morf" else prepared.reversed(ranks))
        return Scores(self.value([*curves.values()], prepared.fractions), curves)

    def value(self, curves: Sequence[Tensor], fractions: Tensor) -> Tensor:
        """Return the scores ``(b,)`` of the curves ``(b, points)`` of :attr:`orders`.

        Args:
            curves: The explained output at each point.
            fractions: The removed fraction at each point, ``(points,)``, or ``(b, points)``.
        """
        areas = [torch.trapezoid(curve, fractions, dim=1) for curve in curves]
        return areas[1] - areas[0] if len(areas) == 2 else areas[0]

    def removals(self, counts: Tensor, *, own: bool) -> Tensor:
        """Return how many regions are removed at each point of a curve, from 0 on, ``(points, b)``.

        Args:
            counts: How many regions each input has, ``(b,)``, or ``(1,)`` where all have the same; in double precision.
            own: Whether each input has regions of its own.
        """
        steps = self.steps if own else min(self.steps, int(counts.max()))
        return (torch.arange(steps + 1, dtype=counts.dtype)[:, None] * counts / steps).round()

    def side(self, layout: Layout) -> int:
        """Return the side of the patches of inputs of a layout."""
        return self.patch

    def passes(self, block: Block) -> float:
        """Return the removals of each order, but for the ends, which all maps share."""
        own = self.groups is not None and self.groups.own is not False
        counts = torch.tensor([_MANY]) if own or block.mask is not None else _patches(self, block).counts.cpu()
        removed = self.removals(counts.double(), own=own)
        inner = len(removed) - 1 - int(bool((removed[-1] == counts).all()))
        return float(len(self.orders) * (2 if self.reading == "either" else 1) * inner)

    def evened(self, prepared: _Flipping | TokenFlipping, noise: Tensor) -> Tensor:
        """Return noise under which all regions come first alike, however large they are."""
        if isinstance(prepared, TokenFlipping):
            return noise
        return prepared.regions.evened(noise)

    def describe(self, prepared: _Flipping | TokenFlipping) -> tuple[Part, ...]:
        """Return the curves' axis, what was removed, and what the outputs were taken for."""
        output = prepared.shown
        link = prepared.subject.link
        taken = str(link) if self.output == "probability" else "outputs as they are"
        if isinstance(prepared, TokenFlipping):
            return (Flipped(tuple(prepared.fractions.tolist()), output, None, link.task, taken),)
        reading = self.reading or "contribution"
        regions, fractions = prepared.regions, prepared.fractions
        count = None if regions.own else regions.most
        fractions = fractions.mean(0) if regions.own else fractions
        flipped = Flipped(tuple(fractions.tolist()), output, count, link.task, taken, reading)
        return (flipped, Features(regions.names)) if regions.names else (flipped,)

    def leading(self, prepared: _Flipping | TokenFlipping, maps: Tensor) -> Sequence[str]:
        """Return the name of what each map puts first, where features have names."""
        if isinstance(prepared, TokenFlipping):
            return ()
        names, read = prepared.regions.names, prepared.readings(maps)[0]
        return [names[place] for place in prepared.regions.means(read).argmax(1).tolist()] if names else ()

    def limits(self, described: Sequence[Part]) -> tuple[float, float]:
        """Return the range of the scores; values of a regression have none."""
        flipped = Evidence(*described).find(Flipped)
        return (-inf, inf) if flipped is not None and flipped.output == RAW else (self.low, self.high)

    def remarks(self, scored: Scored, described: Sequence[Part]) -> tuple[Part, ...]:
        """Return that probabilities hardly move, where that is so for half of the inputs."""
        flipped = Evidence(*described).find(Flipped)
        if flipped is None or flipped.output != "probability" or not scored.curves:
            return ()
        curves = np.concatenate(list(scored.curves.values()), axis=1)
        still = int((np.ptp(curves, axis=1) < STILL).sum())
        return (Saturated(still, len(curves), flipped.task),) if 2 * still >= len(curves) else ()


@dataclass(frozen=True)
class Flipped(Axis):
    """What was removed, and what was looked at.

    Attributes:
        fractions: The removed fraction at each point of the curves; where each input has its own regions, the mean over
            inputs.
        output: ``"probability"``, ``"accuracy"`` or ``"raw output"``.
        regions: How many pixels, or regions, an input has; None where each has its own number.
        task: ``"classification"``, ``"multilabel"``, ``"regression"`` or ``"next_token"``, as the user named it, or as
            it was judged.
        taken: What the model's outputs were taken for, in words, and who said so.
        reading: What maps were taken for.
        axis: What the fractions are of.
    """

    fractions: tuple[float, ...]
    output: str
    regions: int | None
    task: Task
    taken: str
    reading: Reading = "contribution"
    axis: str = "removed fraction"

    @property
    def across(self) -> str:
        """What the points are."""
        return self.axis

    @property
    def points(self) -> tuple[float, ...]:
        """The removed fractions."""
        return self.fractions

    @property
    def up(self) -> str:
        """The output that is looked at."""
        return self.output

    def plain(self) -> dict[str, object]:
        """Return all of it, and the name of the axis."""
        return {
            "axis": self.axis,
            "fractions": list(self.fractions),
            "output": self.output,
            "regions": self.regions,
            "task": self.task,
            "outputs": self.taken,
            "reading": self.reading,
        }

    def rows(self) -> Iterator[Row]:
        """Yield what the outputs were taken for."""
        yield "outputs", self.taken
        if self.reading == "either":
            yield "maps", "each taken for contributions or for sensitivities, whichever scores better"
        elif self.reading == "sensitivity":
            yield "maps", "taken for sensitivities: their values times the change that a removal makes"


@dataclass(frozen=True)
class Features(Part):
    """The features of a table.

    Attributes:
        names: Those of what is removed together: of groups, or of single features.
    """

    names: tuple[str, ...]

    def plain(self) -> dict[str, object]:
        """Return the names."""
        return {"features": list(self.names)}


@dataclass(frozen=True)
class Saturated(Remark):
    """Inputs whose probability hardly moves, whatever is removed: orders of removal then hardly differ.

    Attributes:
        still: How many inputs have a probability that changes by less than 0.01 along all curves.
        inputs: Of how many.
        task: What the outputs were taken for.
    """

    still: int
    inputs: int
    task: Task

    def plain(self) -> dict[str, object]:
        """Return the count."""
        return {"saturated": {"inputs": self.still, "of": self.inputs, "moves_less_than": STILL}}

    def rows(self) -> Iterator[Row]:
        """Yield the clause."""
        yield "saturated", str(self)

    def __str__(self) -> str:
        other = (
            ""
            if self.task in ("multilabel", "next_token")
            else ", or xai_task='multilabel' or 'regression' if these are no classes"
        )
        return (
            f"the probability of {self.still} of {self.inputs} inputs moves by less than {STILL:g} whatever is "
            f"removed: try output='logit'{other}"
        )


class _Flipping:
    """The pixel flipping of one block: regions, removal counts, reference inputs and shared outputs."""

    def __init__(self, metric: PixelFlipping, subject: Subject, block: Block, seed: int) -> None:
        self.metric, self.subject, self.block, self.seed = metric, subject, block, seed
        self.inputs = _floating(metric.name, block.inputs)
        self.layouts = block.layout.each
        self.regions = _regions(metric, subject, block)
        self.counts = self.regions.counts[:, None]
        if int(self.counts.min()) < 2:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in self.inputs)
            raise XaiError(
                metric.name,
                found=f"inputs {shapes} with a single region",
                expected="two or more regions, which can be ranked",
                fix="use a smaller patch=, or other groups="
                if self.regions.labels is not None
                else "use another metric",
            )
        self.imputers = self._fitted()
        self.references = tuple(map(self._reference, self.imputers, self.inputs, self.layouts))
        self.drawn = tuple(map(self._drawn, self.imputers, self.inputs, self.layouts))
        counts = self.regions.counts.cpu().double()  # not all devices have such numbers
        removed = metric.removals(counts, own=self.regions.own)
        self.whole = bool((removed[-1] == counts).all())
        self.removed = removed.float().to(subject.device)  # (points, b), or for all inputs (points, 1)
        self.probability = metric.output == "probability" and subject.link.gives_probabilities
        outputs = subject.outputs(block.arguments) if block.outputs is None else block.outputs
        self.untouched = self._explained(outputs, None)
        self.emptied: Tensor | None = None  # where a curve does not end with every region removed
        if self.whole:
            self.emptied = self._explained(subject.outputs((*self.references, *block.context)), None)
        fractions = self.removed.to(self.untouched.dtype) / self.regions.counts
        self.fractions = fractions.T if self.regions.own else fractions[:, 0]

    def _fitted(self) -> tuple[Imputer | Conditional, ...]:
        """Return the imputer of each tensor; one that learns has learned from the data."""
        imputer = self.metric.imputer
        assert not isinstance(imputer, str)
        if not isinstance(imputer, Learning):
            return (imputer,) * len(self.inputs)

        def learn(inputs: Inputs, indices: tuple[int, ...]) -> tuple[Imputer, ...]:
            known = zip(inputs, self.layouts, strict=True)
            return tuple(imputer.fitted(layout.channels_first(tensor), indices) for tensor, layout in known)

        return self.subject.learned(("imputer", imputer), learn)

    @property
    def shown(self) -> str:
        """What the curves are of."""
        if self.metric.output == "accuracy":
            return "accuracy"
        return "probability" if self.probability else RAW

    def _drawn(self, imputer: Imputer | Conditional, tensor: Tensor, layout: Layout) -> Tensor | None:
        """Return what an imputer draws for each input, where it is asked anew at each removal."""
        if not isinstance(imputer, Conditional):
            return None
        with asked(f"{self.metric.name} imputer"):
            return imputer.drawn(layout.channels_first(tensor), seed=self.seed, indices=self.block.indices)

    def _reference(self, imputer: Imputer, tensor: Tensor, layout: Layout) -> Tensor:
        given = layout.channels_first(tensor)
        where = f"{self.metric.name} imputer"
        with asked(where):  # a copy of the inputs, which it may change in place
            reference = imputer(given.clone(), seed=self.seed, indices=self.block.indices)
        return layout.as_given(checked_numbers(where, "a reference", reference, tuple(given.shape), like=tensor))

    def readings(self, maps: Tensor) -> list[Tensor]:
        """Return maps in each reading, ``(b, *places)`` or all places in a row."""
        reading = self.metric.reading
        if reading not in ("sensitivity", "either"):
            return [maps]
        contributions = [self._summed(maps.flatten(1))] if reading == "either" else []
        pairs = zip(self.layouts, self.inputs, self.references, strict=True)
        changes = [layout.channels_first(new - old).flatten(1) for layout, new, old in pairs]
        return [*contributions, self._summed(maps.flatten(1) * torch.cat(changes, dim=1))]

    def _summed(self, values: Tensor) -> Tensor:
        """Return values of each channel in a row, those of one tensor after the other, summed over channels."""
        parts = torch.split(values, [prod(layout.values) for layout in self.layouts], dim=1)
        each = zip(parts, self.layouts, strict=True)
        summed = [part.reshape(len(part), layout.channels or 1, -1).sum(1) for part, layout in each]
        return torch.cat(summed, dim=1).reshape(len(values), *self.block.layout.places)

    def ranks(self, maps: Tensor, draw: str) -> Tensor:
        """Return each region's place in the order of removal, most relevant first: ``(b, regions)``."""
        scores, most = self.regions.means(maps), self.regions.most
        drawn = [self._shuffled(draw, place) for place in range(len(self.block))]
        shuffle = torch.stack(drawn).to(scores.device)
        # Sorting a shuffled copy stably leaves ties in shuffled order.
        order = torch.argsort(scores.gather(1, shuffle), dim=1, descending=True, stable=True)
        ranks = torch.empty(order.shape, dtype=torch.float32, device=order.device)
        places = torch.arange(most, dtype=ranks.dtype, device=order.device).expand_as(order)
        return ranks.scatter_(1, shuffle.gather(1, order), places)

    def reversed(self, ranks: Tensor) -> Tensor:
        """Return the ranks of the reverse order."""
        return self.counts - 1 - ranks

    def _shuffled(self, draw: str, place: int) -> Tensor:
        """Return the regions of an input in random order, which those that others have more of follow."""
        rng = generator(self.seed, "ties", draw, self.block.indices[place])
        if not self.regions.own:
            return torch.randperm(self.regions.most, generator=rng)
        count = int(self.counts[place])
        return torch.cat([torch.randperm(count, generator=rng), torch.arange(count, self.regions.most)])

    def curve(self, ranks: Tensor) -> Tensor:
        """Return the explained output after each removal: ``(b, steps + 1)``."""
        inner = self.removed[1 : -1 if self.whole else None].to(ranks.dtype)
        parts = [self.untouched[:, None]]
        if len(inner):
            parts.append(self._inner(ranks, inner))
        if self.emptied is not None:
            parts.append(self.emptied[:, None])
        curve = torch.cat(parts, dim=1)
        if not torch.isfinite(curve).all():
            found = "outputs of xai_model that are NaN or infinite once pixels are removed"
            raise self.metric.error("imputer", found, "finite outputs on imputed inputs")
        if self.probability:
            self.subject.link.check(curve)
            curve = curve.clamp(0, 1)  # of what rounding has put beyond
        return curve

    def _inner(self, ranks: Tensor, removed: Tensor) -> Tensor:
        """Return the explained outputs between the ends, ``(b, steps - 1)``; a pass may hold several steps."""
        size = len(ranks)

        def work(part: slice) -> Tensor:
            rows = _rows(part, size, ranks.device)
            pairs = torch.arange(part.start, part.stop, device=ranks.device)
            steps, each = pairs // size, pairs % size
            gone = (removed.expand(-1, size)[steps, each, None] - _taken(ranks, rows)).clamp_(0, 1)
            return self._explained(self.subject.answer(self._perturbed(rows, gone)), rows)

        with torch.inference_mode(False), torch.no_grad():
            values = self.subject.batches.run(size * len(removed), work)
        return values.reshape(len(removed), size).T

    def _perturbed(self, rows: Tensor | None, gone: Tensor) -> Inputs:
        """Return the arguments of ``rows`` with regions replaced where ``gone`` is 1; it is 0 elsewhere."""
        result = []
        parts = self.block.layout.split(self.regions.spread(gone, rows))
        for place, (layout, part) in enumerate(zip(self.layouts, parts, strict=True)):
            tensor = _taken(self.inputs[place], rows)
            weights = layout.like_inputs(part, tensor)
            reference = self._replacement(place, tensor, rows, weights)
            # Exact where the weight is 0 or 1, and several times as fast as torch.where on a CPU.
            result.append(torch.lerp(tensor, reference, weights.to(tensor.dtype)))
        return (*result, *(_taken(tensor, rows) for tensor in self.block.context))

    def _replacement(self, place: int, tensor: Tensor, rows: Tensor | None, weights: Tensor) -> Tensor:
        """Return what stands in the place of removed values of some rows of an input tensor."""
        imputer, layout = self.imputers[place], self.layouts[place]
        if not isinstance(imputer, Conditional):
            return _taken(self.references[place], rows)
        removed = layout.channels_first((weights > 0).expand_as(tensor))
        drawn = self.drawn[place]
        assert drawn is not None
        return layout.as_given(imputer.given(layout.channels_first(tensor), removed, _taken(drawn, rows)))

    def _explained(self, outputs: Tensor, rows: Tensor | None) -> Tensor:
        wide = outputs if outputs.dtype == torch.float64 else outputs.float()
        targets = None if self.block.targets is None else _taken(self.block.targets, rows)
        if self.metric.output == "accuracy":
            return self._hits(wide, targets)
        if self.probability:
            wide = self.subject.link(wide)
        return select(wide, targets)

    def _hits(self, outputs: Tensor, targets: Tensor | None) -> Tensor:
        """Return 1 where the target is the highest of the outputs ``(k, classes)``, and 0 elsewhere."""
        task = self.subject.link.task
        if targets is None or outputs.ndim != 2 or task != "classification":
            found = f"outputs of shape {tuple(outputs.shape)} in a {task} task"
            raise self.metric.error("output", found, "'probability' or 'logit', where outputs are no classes")
        return (outputs.argmax(1) == targets.flatten()).to(outputs.dtype)


def _rows(part: slice, size: int, device: torch.device) -> Tensor | None:
    """Return which inputs a slice of (step, input) pairs holds, or None for each input once."""
    if part.start % size == 0 and part.stop - part.start == size:
        return None
    return torch.arange(part.start, part.stop, device=device) % size


def _taken(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor[rows]


def _floating(name: str, inputs: Inputs) -> Inputs:
    if all(tensor.is_floating_point() for tensor in inputs):
        return inputs
    raise XaiError(
        name,
        found=f"inputs of {', '.join(str(tensor.dtype) for tensor in inputs)}",
        expected="floating-point inputs, whose pixels can be replaced by other values",
        fix="wrap the model so that it takes real and imaginary parts as channels"
        if any(tensor.is_complex() for tensor in inputs)
        else "explain a model that takes embedded tokens, as (N, channels, tokens)",
    )


def _regions(metric: PixelFlipping, subject: Subject, block: Block) -> Regions:
    """Return what is removed together in a block."""
    if metric.groups is not None:
        groups: Groups = metric.groups
        with said_by(metric.name):
            return groups.regions(block, subject.count, subject.features)
    patches = _patches(metric, block)
    return patches if patches.side else replace(patches, names=subject.features)


def _patches(metric: PixelFlipping, block: Block) -> Regions:
    side = metric.side(block.layout)
    if side > 1 and any(layout.kind == "table" for layout in block.layout.each):
        found = f"patch={side} for inputs with places {block.layout.places}"
        raise metric.error("patch", found, "patch=1 for tables, or groups=")
    return Regions.patches(block.layout, side, block.inputs[0].device)
