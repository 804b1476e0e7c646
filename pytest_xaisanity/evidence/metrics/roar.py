"""ROAR and KAR: what is lost when what an explainer ranks first is removed, or all else, and models are retrained.

Hooker, Erhan, Kindermans and Kim, A Benchmark for Interpretability Methods in Deep Neural Networks (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...common.checks import FEW, check_choice, check_whole, is_number
from ...common.errors import XaiError, setting_error, shown
from ...common.seeding import seed_of
from ...explainers.attributions import Attributions
from ...maps.removal import Bits, drawn, packed, ranks
from ...model.training import TRAIN_EXAMPLE, Retraining
from ...model.training_data import Inputs, TrainingData, data_error, in_words
from ...statistics.evidence import Part
from ...statistics.trainings import training_error
from ...subject.block import Block
from ...subject.layout import Layout
from ...subject.outputs import Output
from ..accepted import check_accepted, check_known_classes
from ..base import Baseline, Cost, Lab, Measurement, Measuring, RetrainedMetric, Scored
from ..baselines.random import Random
from ..foreign import begun_by, checked_maps
from ..groups import Grouping
from ..retrained import Material, Trial, predictions
from ..shards import explanations
from .roar_evidence import HardlyLearned, LeakDominated, Retrainings, SameRuns

__all__ = ["KAR", "ROAR"]

Unit = Literal["pixel", "value"]
Control = Literal["exact", "bernoulli"]


@dataclass(frozen=True)
class _Retrained(RetrainedMetric):
    """What both metrics have in common: see :class:`ROAR`."""

    fractions: tuple[float, ...] = (0.3, 0.5, 0.7)
    runs: int = 3
    unit: Unit = "pixel"
    control: Control = "exact"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    keeps: ClassVar[bool]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", _checked_fractions(self.name, self.fractions))
        object.__setattr__(self, "runs", check_whole(self.name, "runs", self.runs, least=2, most=FEW))
        check_choice(self.name, "unit", self.unit, ("pixel", "value"))
        check_choice(self.name, "control", self.control, ("exact", "bernoulli"))

    def measurement(self, baseline: Baseline | None = None) -> Retrains:
        """Return what a claim has measured: models retrained by the maps of an explainer, or of a baseline."""
        if isinstance(baseline, Random):
            baseline = replace(baseline, draws=self.runs)  # an order of its own for each run
        return Retrains(self, baseline)

    def shared_error(self, described: Sequence[Part], rival: Sequence[Part], confidence: float) -> float | None:
        """Return what the luck of the trainings may add, of which only so many were run."""
        own, other = (next((p for p in parts if isinstance(p, Retrainings)), None) for parts in (described, rival))
        assert own is not None
        accuracies = np.array(own.accuracies)
        return training_error(accuracies if other is None else accuracies - np.array(other.accuracies), confidence)

    def removed(self, fraction: float, count: int) -> int:
        """Return how many of ``count`` values of an input the fraction is.

        Raises:
            XaiError: It is none of them, or all, although it is neither 0 nor 1.
        """
        some = round(fraction * count)
        if some in (0, count) and 0 < fraction < 1:
            what = "pixels" if self.unit == "pixel" else "values"
            raise XaiError(
                f"{self.name} fractions",
                found=f"{fraction:g} of {count} {what}, which is {'none' if some == 0 else 'all'} of them",
                expected="a share that is at least one of them, and not all",
                fix=_fractions_of(count),
            )
        return some

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> Mapping[str, Sequence[object]]:
        """Return nothing: each setting would train models anew."""
        return {}


@dataclass(frozen=True)
class ROAR(_Retrained):
    """Remove and retrain: test accuracy of models trained without what a map ranks first. Lower is better.

    The training and the test inputs are explained, for the class that the model predicts; of each the share that its
    map ranks highest, with its sign, is replaced by the mean of the training inputs, per channel (per feature of a
    table). For each fraction and run a model is trained from random weights on such inputs and the true labels. An
    input's score is the share of these models that are right on it, altered alike, in [0, 1].

    Beside them a model is trained, for each fraction, on the mask alone: it sees what was removed, as the mean, and
    one standard deviation above at all other places. What it gets right the *mask* tells, not the pixels that are
    left (Rong et al. 2022). Cells whose accuracy is less than 0.05 above it, where it is better than chance, are
    leak-dominated: what they measure is the leak.

    Differs from the paper in its defaults: whole pixels (``unit="value"`` for its code's ranking of channel values),
    a random control that removes an exact count (``control="bernoulli"`` for the paper's), a new order in each run.
    The paper's grid is ``fractions=(0, 0.1, 0.3, 0.5, 0.7, 0.9), runs=5``.

    Args:
        fractions: Shares of the pixels, in [0, 1]; the score is the mean over them.
        runs: How many models for each fraction, 2 or more: claims are about trainings at large.
        unit: ``"pixel"``: ranked by the map summed over channels, removed in all; ``"value"``: each channel's value.
        control: How the baseline ``"random"`` removes: an ``"exact"`` count, or each value by itself (``"bernoulli"``).

    Raises:
        XaiError: A setting is out of range.
    """

    name: ClassVar[str] = "roar"
    higher_is_better: ClassVar[bool] = False
    keeps: ClassVar[bool] = False
    advice: ClassVar[str] = (
        "models learn as well without what the map ranks first: what is left tells as much, or the mask itself does; "
        "compare the accuracy of the mask alone"
    )


@dataclass(frozen=True)
class KAR(_Retrained):
    """Keep and retrain: test accuracy of models trained with nothing but what a map ranks first. Higher is better.

    As :class:`ROAR`, but that the share which a map ranks highest is kept and all else is replaced.

    Args:
        fractions: Shares of the pixels that are kept, in [0, 1]; the score is the mean over them.
        runs: See :class:`ROAR`.
        unit: See :class:`ROAR`.
        control: See :class:`ROAR`.

    Raises:
        XaiError: A setting is out of range.
    """

    name: ClassVar[str] = "kar"
    higher_is_better: ClassVar[bool] = True
    keeps: ClassVar[bool] = True
    advice: ClassVar[str] = "models learn less from what the map ranks first: it misses what the classes differ in"


@dataclass(frozen=True)
class Retrains(Measurement[Scored]):
    """The measurement of :class:`ROAR` and :class:`KAR`: its inputs are the test inputs of ``xai_training_data``."""

    metric: _Retrained
    baseline: Baseline | None = None
    retrains: ClassVar[bool] = True  # type: ignore[misc]
    at_once: ClassVar[bool] = True  # type: ignore[misc]

    @property
    def key(self) -> Hashable:
        """Equal for measurements of the same."""
        return ("retrains", self.metric.name, self.metric.key, self.baseline)

    @property
    def about(self) -> Literal["explainer", "baseline"]:  # type: ignore[override]
        """The explainer, unless a baseline is measured that owes it nothing."""
        return "explainer" if self.baseline is None or self.baseline.from_explainer else "baseline"

    def lab(self, lab: Lab) -> Lab:
        """Return the laboratory of the test inputs."""
        data = _data(self.metric, lab)
        return _on(lab, data.test_inputs, "test", data)

    def cost(self, lab: Lab, block: Block) -> Cost:
        """Return the explanations of a test input and its share of the training inputs, and the trainings."""
        data = _data(self.metric, lab)
        share = 1 + len(data.targets) / len(data.test_targets)
        cells = len(self.metric.fractions) * self.metric.runs
        leaks = sum(0 < fraction < 1 for fraction in self.metric.fractions)
        trainings = cells + leaks + (self.baseline is None)  # and one on the inputs as they are
        if self.baseline is None:
            return Cost(explanations=share, trainings=trainings)
        return self.baseline.cost().times(share) + Cost(trainings=trainings)

    def start(self, lab: Lab, block: Block) -> _Measuring:
        """Explain all inputs, train and test the models, or fetch what is known of them."""
        return _Measuring(self, lab, _data(self.metric, lab))


class _Measuring(Measuring[Scored]):
    """What was right of the models' answers, by test input."""

    def __init__(self, measurement: Retrains, lab: Lab, data: TrainingData) -> None:
        metric = self.metric = measurement.metric
        self.grouping = Grouping()
        assert lab.training is not None
        whose = lab.attributions.explainer.name if measurement.baseline is None else measurement.baseline.name
        rankings = _Rankings(metric, measurement.baseline, lab, data)
        functions = (lab.training.function, lab.subject.output, lab.subject.model)
        material = _material(metric, data, functions, rankings.layout)
        trials = _Trials(metric, lab.seed, whose, prod(material.units))
        listed = trials.listed(rankings)
        self.maps = None if measurement.baseline is not None else rankings.shown(material.units)
        found = predictions(lab.training, material, [one for _, one in listed])
        truth = data.test_targets.cpu().numpy()
        right = {cell: guess.classes == truth for (cell, _), guess in zip(listed, found, strict=True)}
        cells = [[_Cell(fraction, run) for run in range(metric.runs)] for fraction in metric.fractions]
        self.right = np.array([[right[cell] for cell in runs] for runs in cells])  # (fractions, runs, M)
        digests = {cell: one.digests.tolist() for (cell, _), one in zip(listed, found, strict=True)}
        self.same = SameRuns.of(*([[digests[cell][place] for cell in runs] for runs in cells] for place in (0, 1)))
        leaks = [right.get(_Cell(fraction, 0, alone=True)) for fraction in metric.fractions]
        self.found = Retrainings(
            whose=whose,
            metric=metric.name,
            fractions=metric.fractions,
            accuracies=tuple(tuple(row) for row in self.right.mean(2).tolist()),
            leaks=tuple(None if one is None else float(one.mean()) for one in leaks),
            intact=float(right[_Cell(None, 0)].mean()),
            chance=float(np.bincount(truth).max() / len(truth)),
            unit=metric.unit,
            sizes={"training": len(data.targets), "test": len(truth)},
        )
        self.learned = HardlyLearned.of(self.found)

    def measure(self, block: Block) -> Scored:
        """Return the share of models that are right on each input ``(b, 1)``, and by fraction ``(b, fractions)``."""
        right = torch.from_numpy(self.right[:, :, list(block.indices)]).double()
        curves = {"accuracy": right.mean(1).T}
        groups = None if self.maps is None else self.grouping.of(block, self.maps[list(block.indices)])
        return Scored.of(right.mean((0, 1))[:, None], curves, groups)

    def describe(self) -> tuple[Part, ...]:
        """Return what each model got right, and what speaks against it."""
        return (self.found, *filter(None, (LeakDominated.of(self.found), self.learned, self.same)))


class _Cell(NamedTuple):
    """A fraction, None for the inputs as they are, and a run; ``alone`` shows the mask alone."""

    fraction: float | None
    run: int
    alone: bool = False


@dataclass(frozen=True)
class _Trials:
    """Makes the trials of all cells."""

    metric: _Retrained
    seed: int
    whose: str
    count: int

    def listed(self, rankings: _Rankings) -> list[tuple[_Cell, Trial]]:
        """Return each cell with its trial: those of the inputs as they are, of the mask alone, and of each run."""
        metric = self.metric
        found = [(_Cell(None, 0), self._trial(_Cell(None, 0), rankings.none))]
        for fraction in metric.fractions:
            some = metric.removed(fraction, self.count)
            masks = [rankings.removed(fraction, some, run) for run in range(metric.runs)]
            cells = [_Cell(fraction, run) for run in range(metric.runs)]
            found += [(cell, self._trial(cell, mask)) for cell, mask in zip(cells, masks, strict=True)]
            if 0 < fraction < 1:  # elsewhere all masks are the same, and tell nothing
                cell = _Cell(fraction, 0, alone=True)
                found.append((cell, self._trial(cell, masks[0])))
        return found

    def _trial(self, cell: _Cell, masks: tuple[Bits, Bits]) -> Trial:
        # Whatever the explainer: what differs between two of them is then the less luck.
        seed = seed_of(self.seed, "retrain", repr(cell.fraction), cell.run, int(cell.alone)) % 2**31
        return Trial(self._words(cell), *masks, seed, cell.alone)

    def _words(self, cell: _Cell) -> str:
        if cell.fraction is None:
            return "the inputs as they are"
        done = f"{cell.fraction:.0%} {'kept' if self.metric.keeps else 'removed'} by {self.whose}"
        return f"the mask alone, {done}" if cell.alone else f"inputs with {done}, run {cell.run}"


class _Rankings:
    """What is removed of all training and test inputs, by the maps of an explainer or a baseline."""

    def __init__(self, metric: _Retrained, baseline: Baseline | None, lab: Lab, data: TrainingData) -> None:
        self.metric, self.seed = metric, lab.seed
        self.bernoulli = baseline is not None and baseline.random and metric.control == "bernoulli"
        labs = {"training": _on(lab, data.inputs, "training", data), "test": lab}
        self._sizes = {"training": len(data.targets), "test": len(data.test_targets)}
        self._maps: dict[str, list[Tensor]] = {}
        for which, one in labs.items():
            maps, self.layout = _maps(metric, baseline, one, which, empty=self.bernoulli)
            self._maps[which] = maps
        self.count = prod(_units(metric, self.layout))

    @property
    def none(self) -> tuple[Bits, Bits]:
        """Nothing at all."""
        training, test = (packed(torch.zeros(size, self.count, dtype=torch.bool)) for size in self._sizes.values())
        return training, test

    def shown(self, units: tuple[int, ...]) -> Tensor:
        """Return the first maps of the test inputs ``(M, *places)``, summed over channels."""
        maps = self._maps["test"][0].reshape(-1, *units)
        return maps.sum(1) if len(units) > len(self.layout.places) else maps

    def removed(self, fraction: float, some: int, run: int) -> tuple[Bits, Bits]:
        """Return what is removed in a run, of the training and the test inputs, as packed bits."""
        training, test = (self._of(which, fraction, some, run) for which in ("training", "test"))
        return training, test

    def _of(self, which: str, fraction: float, some: int, run: int) -> Bits:
        places = range(self._sizes[which])
        if self.bernoulli:
            first = drawn(fraction, self.count, places, self.seed, "roar", which, run, repr(fraction))
        else:
            maps = self._maps[which]
            first = ranks(maps[run % len(maps)], places, self.seed, "roar", which, run) < some
        return packed(~first if self.metric.keeps else first)


def _maps(
    metric: _Retrained, baseline: Baseline | None, lab: Lab, which: str, *, empty: bool
) -> tuple[list[Tensor], Layout]:
    """Return the maps of all inputs of a laboratory, batches of ``(count, values)`` in the order of the data."""
    with closing(lab.subject.blocks(early=False)) as blocks:
        layout = _checked_layout(metric, next(blocks))
    for fraction in metric.fractions:  # before anything is explained
        metric.removed(fraction, prod(_units(metric, layout)))
    if empty:
        return [], layout
    own = None
    if baseline is None or baseline.from_explainer:
        assert lab.training is not None
        explain = lab.attributions if metric.unit == "pixel" else lab.attributions.per_channel()
        own = explanations(explain, lab.training, which)
    if baseline is None:
        assert own is not None
        return [own.flatten(1)], layout
    return _of_baseline(metric, baseline, lab, own), layout


def _of_baseline(metric: _Retrained, baseline: Baseline, lab: Lab, own: Tensor | None) -> list[Tensor]:
    """Return the maps of a baseline, which may be made from the explainer's own ``(count, ...)``."""
    rival, where = begun_by(baseline, lab), f"baseline {baseline.name!r}"
    found: list[Tensor] = []
    for block in lab.subject.blocks(early=False):
        if own is None:
            like = block.empty_maps(per_channel=metric.unit == "value")
        else:
            like = own[list(block.indices)].to(block.inputs[0].device)
        made = [checked_maps(where, one, like, channels=True, whole=True) for one in rival(block, like)]
        made = [one if one.shape == like.shape else one[:, None].expand_as(like) for one in made]
        size = len(lab.subject)
        found = found or [one.new_full((size, one[0].numel()), torch.nan, device="cpu") for one in made]
        for kept, one in zip(found, made, strict=True):
            kept[list(block.indices)] = one.flatten(1).cpu()
    for kept in found:
        _check_whole(metric, baseline, kept)
    return found


def _check_whole(metric: _Retrained, baseline: Baseline, maps: Tensor) -> None:
    missing = int(maps.isnan().any(1).sum())
    if missing:
        raise XaiError(
            f"beats {baseline.name} on {metric.name}",
            found=f"{missing} of {len(maps)} inputs with {baseline.why_none}",
            expected="a map of the baseline for each training and test input",
            fix="name another baseline",
        )


# --------------------------------------------------------------------------------------------------------- the data


def _data(metric: _Retrained, lab: Lab) -> TrainingData:
    """Return the training and test data; raise what is missing."""
    training: Retraining | None = lab.training
    if training is None or training.missing:
        raise XaiError(
            metric.name,
            found="no training function and no training data" if training is None else training.missing,
            expected="both, to train models on altered inputs",
            fix="write the fixtures xai_train and xai_training_data, which returns (inputs, targets, test_inputs, "
            f"test_targets), or give train= and training_data= to Bench:\n{TRAIN_EXAMPLE}",
        )
    assert training.function_key
    data = training.data
    own = None if lab.subject.streamed else lab.subject.in_memory[0]
    for which, inputs in (("training", data.inputs), ("test", data.test_inputs)):
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2:
            raise _no_fractions(metric, inputs, which)
        if own is not None and own.ndim != inputs.ndim:
            raise data_error(
                f"{which} inputs {in_words(inputs)}, but xai_inputs {in_words(own)}",
                "return them with the same axes",
                "inputs of the same form as xai_inputs",
            )
    assert isinstance(data.inputs, Tensor)
    assert isinstance(data.test_inputs, Tensor)
    if data.inputs.shape[1:] != data.test_inputs.shape[1:]:
        raise data_error(
            f"training inputs {in_words(data.inputs)}, but test inputs {in_words(data.test_inputs)}",
            "bring them to one size",
            f"inputs of one shape for {metric.name}",
        )
    return data


def _no_fractions(metric: _Retrained, inputs: Inputs, which: str) -> XaiError:
    """Return the error for inputs of which no value can be replaced by a mean."""
    kind = "" if isinstance(inputs, Tensor) else f" in a {type(inputs).__name__}"
    fix = "claim pixel_flipping of tokens and of several inputs"
    if isinstance(inputs, Tensor) and inputs.ndim < 2:
        fix = "return a table (N, features), or images (N, channels, *places)"
    elif isinstance(inputs, Tensor):
        fix += "; return images as xai_model takes them, such as images.float() / 255"
    return data_error(
        f"{which} inputs{kind}, {in_words(inputs)}, for {metric.name}, which replaces values by their mean",
        fix,
        "one tensor of fractions, (N, features) or (N, channels, *places)",
    )


def _on(lab: Lab, inputs: Inputs, which: str, data: TrainingData) -> Lab:
    """Return a laboratory of the same model and explainer on other inputs."""
    subject = lab.subject.on(inputs)
    own = lab.subject

    def checked() -> bool:
        check_known_classes(data, check_accepted(subject, inputs, which, own=own))
        return True

    own.once(("takes training data", which), checked)
    # What is drawn for an input depends on its place, which a training and a test input may have in common.
    seed = lab.seed if which == "test" else seed_of(lab.seed, which)
    attributions = Attributions(subject, lab.attributions.explainer, seed)
    attributions.remember(f"{lab.attributions.fingerprint} {which}")
    return replace(lab, subject=subject, attributions=attributions, seed=seed)


def _checked_layout(metric: _Retrained, block: Block) -> Layout:
    if len(block.inputs) != 1 or block.context or block.layout.kind == "tokens":
        raise XaiError(
            metric.name,
            found="several inputs, context or tokens",
            expected="one tensor of numbers, whose values have a mean that can replace them",
            fix="claim pixel_flipping instead",
        )
    return block.layout


def _units(metric: _Retrained, layout: Layout) -> tuple[int, ...]:
    return layout.places if metric.unit == "pixel" else layout.values


def _material(
    metric: _Retrained, data: TrainingData, functions: tuple[Callable[..., object], Output, object], layout: Layout
) -> Material:
    """Return what all trials share; means and deviations are those of the training inputs."""
    assert isinstance(data.inputs, Tensor)
    assert isinstance(data.test_inputs, Tensor)
    inputs = data.inputs.detach().cpu()
    axes = [0, *(axis for axis in range(1, inputs.ndim) if layout.kind != "table" and axis != layout.axis)]
    if layout.channels is None and layout.kind != "table":
        axes = list(range(inputs.ndim))
    deviation, mean = torch.std_mean(inputs.double(), dim=axes, correction=0, keepdim=True)
    fill, shown_ = (one[0].to(inputs.dtype).numpy() for one in (mean, mean + deviation))
    return Material(
        training=inputs.numpy(),
        targets=data.targets.cpu().numpy(),
        test=data.test_inputs.detach().cpu().numpy(),
        layout=layout,
        units=_units(metric, layout),
        fill=fill,
        shown=shown_,
        functions=functions,
    )


def _fractions_of(count: int) -> str:
    """Return which fractions remove some of so many values, and not all of them, as an advice."""
    if count < 2:
        return 'claim it of inputs with several pixels, or with unit="value" of several channels'
    digits = next(digits for digits in range(2, 18) if round(float(f"{1 - 1 / count:.{digits}g}") * count) < count)
    return f"use fractions from {1 / count:.2g} to {1 - 1 / count:.{digits}g}; 0 and 1 stand for none and all"


def _checked_fractions(name: str, given: object) -> tuple[float, ...]:
    several = given.tolist() if isinstance(given, (np.ndarray, Tensor)) else given
    several = list(several) if isinstance(several, (tuple, list)) else [several]
    numbers = [abs(float(one)) for one in several if is_number(one) and 0 <= one <= 1]
    if not several or len(numbers) < len(several):
        percent = ", not percent" if any(is_number(one) and 1 < one <= 100 for one in several) else ""
        expected = f"numbers from 0 to 1, the shares of the pixels{percent}"
        raise setting_error(name, "fractions", shown(given), expected)
    return tuple(dict.fromkeys(numbers))
