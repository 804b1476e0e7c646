"""Label randomization: models trained anew, on permuted labels and on the true ones (Adebayo et al. 2018)."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...common.checks import check_whole, is_number
from ...common.errors import XaiError, XaiWarning, setting_error, shown
from ...common.seeding import generator, seed_of
from ...model.rewriting import rewritten
from ...model.training import Job, Retraining, Weights, state_of
from ...model.training_data import TrainingData
from ...statistics.evidence import Part, Row, number
from ...subject.block import Block
from ...subject.subject import Subject
from ..accepted import check_accepted, check_known_classes
from ..base import Cell, Cost, Intervention, Lab, Sweep

__all__ = ["Accuracies", "LabelRandomization", "Trained"]

_SPREADS = 3.0  # standard deviations within which an accuracy counts as chance


@dataclass(frozen=True)
class LabelRandomization(Intervention):
    """Train the model anew on permuted labels, and, as control, on the true labels with another seed.

    The explanations of both are compared with those of ``xai_model``. What another seed changes is no doing of the
    labels, so that the claim is about what permuted labels leave of the similarity that another training seed leaves.
    The class explained stays that of ``xai_model``.

    There is no verdict, but an error with the figures, unless the control is better than chance on held-out inputs,
    and the model trained on permuted labels has learned these and is at chance on held-out inputs: within three
    standard deviations of the accuracy that its predictions would have if they had nothing to do with the labels,
    counting both the test inputs and the training inputs as a sample.

    Args:
        accuracy: The training accuracy that the permuted labels must be learned with, in (0, 1].
        seeds: How many permutations, each with a control, 1 to 100; one training says nothing about another.

    Needs ``xai_train`` and ``xai_training_data``, or ``train=`` and ``training_data=`` of the bench. The trained
    weights are loaded into ``xai_model`` in turns, so that everything bound to it follows, and it is restored bit for
    bit.
    """

    accuracy: float = 0.95
    seeds: int = 3
    name: ClassVar[str] = "label_randomization"
    randomizes: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "the explanation hardly depends on the labels that were learned: use a method that does "
        "(gradients, GradCAM), or name another similarity="
    )
    retrains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", check_whole(self.name, "seeds", self.seeds, most=100))
        if not is_number(self.accuracy) or not 0 < self.accuracy <= 1:
            raise setting_error(self.name, "accuracy", shown(self.accuracy), "a number above 0 and at most 1")
        object.__setattr__(self, "accuracy", float(self.accuracy))

    def start(self, lab: Lab, block: Block) -> _Retrained:
        """Train the models, or fetch them, and look at what they have learned."""
        subject = lab.subject
        if not isinstance(subject.model, nn.Module):
            raise XaiError(
                self.name,
                found=f"a {type(subject.model).__name__} as xai_model",
                expected="a torch.nn.Module, into which trained weights can be loaded",
                fix="return the module itself",
            )
        if lab.training is None:
            raise XaiError(
                self.name,
                found="no training function and no training data",
                expected="both",
                fix="write the fixtures xai_train and xai_training_data, or give train= and training_data= to Bench",
            )
        data = lab.training.data
        for which, inputs in (("training", data.inputs), ("test", data.test_inputs)):
            check_known_classes(data, check_accepted(subject, inputs, which, own=subject))
        return _Retrained(self, lab, subject.model, lab.training)

    def cells(self) -> tuple[int, int]:
        """Return the permutations."""
        return self.seeds, 1

    def cost(self, explained: float) -> Cost:
        """Return the explanations of the model, of every control and of a model of permuted labels, and trainings."""
        return Cost(explanations=1 + self.seeds + explained, trainings=2 * self.seeds)


@dataclass(frozen=True)
class Accuracies:
    """What a trained model gets right.

    Attributes:
        training: Share of the training inputs, with the labels it was trained on.
        test: Share of the test inputs, with their true labels.
        chance: What that share would be if its predictions and the true labels had nothing to do with each other.
        spread: The standard deviation of the share in that case.
    """

    training: float
    test: float
    chance: float
    spread: float

    def __str__(self) -> str:
        limits = f"{self.chance:.3f} ± {_SPREADS * self.spread:.3f}"
        return f"training accuracy {self.training:.3f}, test accuracy {self.test:.3f}, where chance is {limits}"

    @property
    def surplus(self) -> float:
        """How far the test accuracy is above chance, beyond three standard deviations; negative for none."""
        return self.test - self.chance - _SPREADS * self.spread

    @property
    def at_chance(self) -> bool:
        """Whether the test accuracy is no further from chance than three standard deviations."""
        return abs(self.test - self.chance) <= _SPREADS * self.spread


@dataclass(frozen=True)
class Trained(Part):
    """What trained models get right.

    Attributes:
        ceiling: What the similarity to an explanation of another model is measured against, in words.
        accuracies: Those of each model, by the labels that they were trained on.
        seeds: The seeds of the trainings.
        sizes: How many inputs the models were trained and tested on.
    """

    ceiling: str
    accuracies: Mapping[str, tuple[Accuracies, ...]]
    seeds: tuple[int, ...]
    sizes: Mapping[str, int]

    def plain(self) -> dict[str, object]:
        """Return all of it."""
        return {
            "ceiling": self.ceiling,
            "accuracies": {labels: [vars(found) for found in models] for labels, models in self.accuracies.items()},
            "training_seeds": list(self.seeds),
            "sizes": dict(self.sizes),
            "target": "fixed",
            "seeds": len(self.seeds),
        }

    def rows(self) -> Iterator[Row]:
        """Yield the accuracies of each kind of labels."""
        for labels, models in self.accuracies.items():
            shown = (
                f"training accuracy {number(model.training)}, test accuracy {number(model.test)} "
                f"(chance {number(model.chance)})"
                for model in models
            )
            yield "trained", f"on {labels}: {'; '.join(shown)}"


class _Retrained(Sweep):
    """Two trained models for each seed, whose weights are loaded into the subject's model in turns."""

    ceiling = "another training seed"

    def __init__(self, settings: LabelRandomization, lab: Lab, model: nn.Module, retraining: Retraining) -> None:
        self.settings, self.attributions, self.model = settings, lab.attributions, model
        self.shape = (settings.seeds, 1)
        data = retraining.data
        jobs = [job for seed in range(settings.seeds) for job in _jobs(data, lab.seed, seed)]
        self._states = [retraining.key(model, job) for job in jobs]
        self._weights = retraining.weights(model, jobs)
        self._seeds = [job.seed for job in jobs[::2]]
        self._sizes = {"training": len(data.targets), "test": len(data.test_targets)}
        self._check_seeded()
        for state, job, weights in zip(self._states, jobs, self._weights, strict=True):
            if state not in retraining.measured:
                retraining.measured[state] = self._accuracies(data, job, weights)
        found: list[Accuracies] = [retraining.measured[state] for state in self._states]
        self._controls, self._permuted = found[::2], found[1::2]
        for control, permuted in zip(self._controls, self._permuted, strict=True):
            self._check_learned(control, permuted)

    def again(self, block: Block) -> Generator[Tensor]:
        """Yield the maps of each model trained on the true labels with another seed."""
        for place in range(0, len(self._weights), 2):
            yield self._maps(block, range(len(block)), place, "the model trained again on the true labels")

    def sampled(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the maps of the models trained on permuted labels that are wanted."""
        for cell, rows in wanted.items():
            yield cell, self._maps(block, rows, 2 * cell[0] + 1, "the model trained on permuted labels")

    def describe(self) -> tuple[Part, ...]:
        """Return what the models have learned, and on what."""
        accuracies = {"true labels": tuple(self._controls), "permuted labels": tuple(self._permuted)}
        return (Trained(self.ceiling, accuracies, tuple(self._seeds), self._sizes),)

    def _maps(self, block: Block, rows: Sequence[int], place: int, stage: str) -> Tensor:
        state = (self.settings.name, self._states[place])
        if self.attributions.cached(state, block.rows(rows)):
            return self.attributions.of_some(block, rows, stage=stage, state=state)
        with _loaded(self.model, self._weights[place]):
            return self.attributions.of_some(block, rows, stage=stage, state=state)

    def _accuracies(self, data: TrainingData, job: Job, weights: Weights) -> Accuracies:
        subject = self.attributions.subject
        with _loaded(self.model, weights):
            fitted, classes = _predictions(subject, data.inputs)
            predicted, _ = _predictions(subject, data.test_inputs)
        truth = data.test_targets.cpu()
        shares = [torch.bincount(labels, minlength=classes) / len(labels) for labels in (predicted, truth)]
        chance = float(shares[0] @ shares[1])
        return Accuracies(
            training=float((fitted == job.targets.cpu()).double().mean()),
            test=float((predicted == truth).double().mean()),
            chance=chance,
            # Permuted labels agree with the true ones by chance too: in training, and from there in its neighborhood.
            spread=sqrt(max(0.0, chance * (1 - chance)) * (1 / len(truth) + 1 / len(fitted))),
        )

    def _check_seeded(self) -> None:
        given = {name: tensor.detach().cpu() for name, tensor in state_of(self.model).items()}
        first, *others = self._weights[::2]
        same = "the weights of xai_model itself, bit for bit," if _equal(first, given) else ""
        if not same and others and all(_equal(first, other) for other in others):
            same = f"the same weights, bit for bit, {len(others) + 1} times"
        if same:
            warnings.warn(
                f"xai_train returned {same} on the true labels with another seed: unless nothing is drawn in it, let "
                "it seed the initialization and the batches with seed",
                XaiWarning,
                stacklevel=2,
            )

    def _check_learned(self, control: Accuracies, permuted: Accuracies) -> None:
        if control.test > control.chance >= 1 - _SPREADS * control.spread:
            raise XaiError(
                "xai_training_data",
                found=f"{self._sizes['test']} test inputs, too few to tell any accuracy from chance ({control})",
                expected="more inputs to test on",
                fix="give test inputs and their targets, or more training inputs, of which a tenth is held out",
            )
        if control.surplus <= 0:
            raise XaiError(
                "xai_train",
                found=f"a model that has not learned the true labels ({control})",
                expected="a test accuracy above chance",
                fix="call xai_train by hand and look at its loss: more steps, another learning rate, targets that "
                "belong to the inputs",
            )
        figures = f"on permuted labels: {permuted} (on the true labels: {control})"
        if permuted.training < self.settings.accuracy:
            raise XaiError(
                self.settings.name,
                found=f"a model that has not learned what it was trained on, {figures}",
                expected=f"a training accuracy of {self.settings.accuracy:g}, without which there is no verdict",
                fix="train longer in xai_train, on fewer inputs, with a larger model, or without regularization; or "
                "lower accuracy=",
            )
        if not permuted.at_chance:
            raise XaiError(
                self.settings.name,
                found=f"a model that knows of the true labels, {figures}",
                expected="a test accuracy at chance, without which there is no verdict",
                fix="let xai_train learn from the targets it is given, from weights that have seen no others",
            )


def _jobs(data: TrainingData, seed: int, place: int) -> tuple[Job, Job]:
    """Return the control and the model of permuted labels: trained alike, but for the labels."""
    training_seed = seed_of(seed, "train", place) % 2**31
    order = torch.randperm(len(data.targets), generator=generator(seed, "labels", place))
    permuted = data.targets[order.to(data.targets.device)]
    return (
        Job("the true labels", data.inputs, data.targets, training_seed),
        Job("permuted labels", data.inputs, permuted, training_seed),
    )


def _predictions(subject: Subject, inputs: Any) -> tuple[Tensor, int]:
    """Return the class predicted for each input, ``(N,)`` on the CPU, and how many classes there are."""
    tensors = subject.arguments(inputs)
    classes = 0

    def work(part: slice) -> Tensor:
        nonlocal classes
        rows = (tensor[part] for tensor in tensors)
        placed = tuple(t.to(subject.device, subject.dtype if t.is_floating_point() else None) for t in rows)
        outputs = subject.outputs(placed)
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise XaiError(
                "label_randomization",
                found=f"outputs of shape {tuple(outputs.shape)} for {len(outputs)} inputs",
                expected="scores of two classes or more, (N, classes)",
                fix="test a classifier with an output for each class",
            )
        classes = outputs.shape[1]
        return outputs.argmax(1).cpu()

    return subject.batches.run(len(tensors[0]), work), classes


def _equal(weights: Weights, others: Weights) -> bool:
    return all(torch.equal(weights[name], other) for name, other in others.items())


def _loaded(model: nn.Module, weights: Weights) -> AbstractContextManager[None]:
    tensors = state_of(model)
    return rewritten(model, list(tensors.values()), [weights[name] for name in tensors])
