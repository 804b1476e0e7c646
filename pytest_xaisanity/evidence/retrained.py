"""Models trained on altered inputs and tested on inputs altered alike: trials, which are independent of one another."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.digest import digest_of
from ..common.errors import XaiError, said
from ..common.kept import Kept
from ..common.once import Failed, Once, arrived, one_thread, travelling
from ..common.seeding import isolated
from ..maps.removal import Bits, unpacked
from ..model.training import Retraining
from ..subject.layout import Layout
from ..subject.outputs import HALF, Output, checked_output, columns, scores_of

__all__ = ["Material", "Predicted", "Trial", "predictions"]

Predicted = NDArray[np.int64]
_PART = 512  # inputs that a trained model is tested on together
_PREDICTIONS = "predictions"


@dataclass(frozen=True, eq=False)
class Material:
    """What all trials of a claim share.

    Attributes:
        training: Training inputs ``(N, ...)``.
        targets: Their classes ``(N,)``.
        test: Test inputs ``(M, ...)``.
        layout: Where they have places and channels.
        units: The shape of what is removed or kept as one: the places, or the values ``(C, *places)``.
        fill: What stands where a value is removed; broadcasts against one input.
        shown: What stands at the other places where the mask alone is shown; likewise.
        functions: How to train, and where the scores are in what the model returns; bytes where they travel.
    """

    training: NDArray[Any]
    targets: NDArray[np.int64]
    test: NDArray[Any]
    layout: Layout
    units: tuple[int, ...]
    fill: NDArray[Any]
    shown: NDArray[Any]
    functions: tuple[Callable[..., object], Output] | bytes

    def __sizeof__(self) -> int:
        """Return the size of the arrays, by which clusters tell what is better sent once."""
        return self.training.nbytes + self.test.nbytes + self.targets.nbytes

    def altered(self, inputs: NDArray[Any], removed: Bits, *, alone: bool) -> Tensor:
        """Return inputs with the fill where bits say so; with ``alone`` all others are the same too."""
        count = int(np.prod(self.units))
        gone = unpacked(removed, count).reshape(len(inputs), *self.units)
        given = torch.from_numpy(np.array(inputs))
        if self.layout.channels is not None:
            per_value = len(self.units) == len(self.layout.places) + 1
            gone = self.layout.as_given(gone) if per_value else gone.unsqueeze(self.layout.axis)
        else:
            gone = gone.reshape(given.shape)
        other = torch.from_numpy(np.array(self.shown)).expand_as(given) if alone else given
        return torch.where(gone, torch.from_numpy(np.array(self.fill)), other)


@dataclass(frozen=True, eq=False)
class Trial:
    """A model to train and to test.

    Attributes:
        words: What it is trained on, for errors.
        training: What is removed of the training inputs, packed bits ``(N, ...)``.
        test: What is removed of the test inputs, packed bits ``(M, ...)``.
        seed: What the training is seeded with.
        alone: Whether inputs show no more than what is removed.
    """

    words: str
    training: Bits
    test: Bits
    seed: int
    alone: bool = False


@dataclass
class _Trials:
    """Trials of which some are known already."""

    retraining: Retraining
    material: Material
    kept: Kept
    found: dict[str, Predicted] = field(default_factory=dict)

    def read(self, key: str, *, warn: bool = False) -> bool:
        """Whether the result of a trial is known, or on disk."""
        known: Mapping[str, Any] = self.retraining.measured
        if key in known:
            self.found[key] = known[key]
        elif (arrays := self.kept.read(key, warn=warn)) is not None:
            if not _fits(arrays, len(self.material.test)):
                if warn:
                    self.kept.spurn(key, "it holds something else than predictions for the test inputs")
                return False
            self.found[key] = arrays[_PREDICTIONS].astype(np.int64)
        return key in self.found

    def keep(self, key: str, result: Predicted) -> None:
        self.retraining.measured[key] = self.found[key] = result
        self.kept.write(key, {_PREDICTIONS: result})


def predictions(retraining: Retraining, material: Material, trials: Sequence[Trial]) -> list[Predicted]:
    """Return the class that each trained model predicts for each of the altered test inputs, ``(M,)`` a trial.

    Whatever is known from this session or from disk is not trained again, nor what another process is training. Trials
    are independent, and run through ``retraining.jobs``; each is kept as soon as it ends.

    Raises:
        XaiError: The training function raised, diverged, or returned no classifier; workers died in a row.
    """
    keys = _keys(retraining, material, trials)
    known = _Trials(retraining, material, Kept(retraining.folder, "what retrained models predict"))
    pairs = zip(keys, trials, strict=True)
    missing = {key: trial for key, trial in pairs if not known.read(key, warn=True)}  # equal trials are one
    if missing:
        what = "models are trained in this process alone, for xai_train"
        jobs, functions = travelling(retraining.jobs, material.functions, what)
        once = Once(jobs, known.kept, predicted, replace(material, functions=functions), known.read, known.keep)
        with retraining.bar(len(trials), len(trials) - len(missing)) as ended, closing(once.done(missing)) as done:
            for _ in done:
                ended(1)
    return [known.found[key] for key in keys]


def _keys(retraining: Retraining, material: Material, trials: Sequence[Trial]) -> list[str]:
    """Return a digest of all that each trial's result depends on."""
    functions = material.functions
    output = None if isinstance(functions, bytes) else functions[1]
    shared = digest_of("trial", retraining.function_key, output, material.training, material.targets, material.test)
    fills = digest_of(material.fill, material.shown, material.units, material.layout.axis)
    return [digest_of(shared, fills, one.training, one.test, one.seed, one.alone) for one in trials]


def predicted(material: Material, trial: Trial) -> Predicted | Failed:
    """Train and test one model, on one thread: so the result is the same wherever it is done."""
    try:
        train, output = arrived(material.functions)
        inputs = material.altered(material.training, trial.training, alone=trial.alone)
        test = material.altered(material.test, trial.test, alone=trial.alone)
        targets = torch.from_numpy(np.array(material.targets))
        highest = int(targets.max())
        with one_thread(), isolated("train", trial.seed), torch.inference_mode(False):
            with torch.enable_grad():
                model = train(inputs, targets, trial.seed)
            return _tested(model, test, output, highest, trial.words)
    except XaiError as error:
        return Failed(error)
    except Exception as error:
        found = f"{type(error).__name__} raised when training on {trial.words}{said(error)}"
        fix = "call xai_train(inputs, targets, seed) by hand"
        return Failed(XaiError("xai_train", found=found, expected="a trained model", fix=fix), traceback.format_exc())


def _tested(model: object, test: Tensor, output: Output, highest: int, words: str) -> Predicted:
    """Return what a trained model predicts for test inputs."""
    if not isinstance(model, nn.Module):
        kind = "None" if model is None else f"a {type(model).__name__}"
        fix = "return the model"
        raise XaiError("xai_train", found=f"{kind} returned", expected="the trained torch.nn.Module", fix=fix)
    model.eval()
    first = next((tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()), test)
    found = []
    with torch.no_grad():
        for part in torch.split(test, _PART):
            given = part.to(first.device, first.dtype if first.dtype in (*HALF, torch.float32, torch.float64) else None)
            scores = columns(checked_output(scores_of(model(given), output), len(part)))
            _check_scores(scores, highest, words)
            found.append(scores.argmax(1).cpu())
    return np.asarray(torch.cat(found).numpy(), np.int64)


def _check_scores(scores: Tensor, highest: int, words: str) -> None:
    if scores.ndim != 2 or scores.shape[1] <= highest or scores.shape[1] < 2:
        raise XaiError(
            "xai_train",
            found=f"a model with outputs of shape {tuple(scores.shape)} for targets up to {highest}",
            expected="a score for each class, (N, classes)",
            fix="retrain a classifier whose outputs and targets use the same numbering",
        )
    if not torch.isfinite(scores).all():
        raise XaiError(
            "xai_train",
            found=f"outputs that are NaN or infinite of the model trained on {words}",
            expected="a training that converges, also on inputs of which much is replaced by the mean",
            fix="lower the learning rate or clip the gradients in xai_train, and call it by hand on such inputs",
        )


def _fits(arrays: Mapping[str, NDArray[Any]], count: int) -> bool:
    found = arrays.get(_PREDICTIONS)
    return found is not None and found.dtype.kind == "i" and found.shape == (count,)
