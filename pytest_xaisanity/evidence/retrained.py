"""Models trained on altered inputs and tested on inputs altered alike: trials, which are independent of one another."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pickle import PicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.digest import digest_of
from ..common.errors import XaiError, said
from ..common.jobs import shipped
from ..common.kept import Kept
from ..common.once import Failed, Once, arrived, one_thread, travelling
from ..common.seeding import isolated
from ..maps.removal import Bits, unpacked
from ..model.training import Piece, Retraining, state_of, train_model
from ..model.training_data import in_words
from ..subject.layout import Layout
from ..subject.outputs import HALF, Output, checked_output, columns, scores_of

__all__ = ["Material", "Predicted", "Trial", "predictions"]

_PART = 512  # inputs that a trained model is tested on together


class Predicted(NamedTuple):
    """What a trained model predicts.

    Attributes:
        classes: Of each test input, int64 ``(M,)``.
        digests: Two words, of the inputs that the model was trained on and of its weights ``(2,)``; that of weights is
            empty where the model has none.
    """

    classes: NDArray[np.int64]
    digests: NDArray[np.str_]


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
        functions: How to train, where the scores are in what the model returns, and ``xai_model``, None where it is not
            known; bytes where they travel.
    """

    training: NDArray[Any]
    targets: NDArray[np.int64]
    test: NDArray[Any]
    layout: Layout
    units: tuple[int, ...]
    fill: NDArray[Any]
    shown: NDArray[Any]
    functions: tuple[Callable[..., object], Output, object] | bytes

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
            self.found[key] = Predicted(arrays["classes"].astype(np.int64), arrays["digests"].astype(np.str_))
        return key in self.found

    def keep(self, key: str, result: Predicted) -> None:
        self.retraining.measured[key] = self.found[key] = result
        self.kept.write(key, result._asdict())


def predictions(retraining: Retraining, material: Material, trials: Sequence[Trial]) -> list[Predicted]:
    """Return what each trained model predicts for the altered test inputs.

    Whatever is known from this session or from disk is not trained again, nor what another process is training. Trials
    are independent, and run through ``retraining.jobs``; each is kept as soon as it ends.

    Raises:
        XaiError: The training function raised, diverged, returned no classifier or no model of its own, or returned
            the same weights whatever it was given; workers died in a row.
    """
    keys = _keys(retraining, material, trials)
    known = _Trials(retraining, material, Kept(retraining.folder, "what retrained models predict"))
    pairs = zip(keys, trials, strict=True)
    missing = {key: trial for key, trial in pairs if not known.read(key, warn=True)}  # equal trials are one
    if missing:
        what = "models are trained in this process alone, for xai_train"
        jobs, functions = travelling(retraining.jobs, _sendable(retraining, material.functions), what)
        once = Once(jobs, known.kept, predicted, replace(material, functions=functions), known.read, known.keep)
        with retraining.bar(len(trials), len(trials) - len(missing)) as ended, closing(once.done(missing)) as done:
            for _ in done:
                ended(1)
    found = [known.found[key] for key in keys]
    _check_trained(found)
    return found


def _sendable(
    retraining: Retraining, functions: tuple[Callable[..., object], Output, object] | bytes
) -> tuple[Callable[..., object], Output, object] | bytes:
    """Return what travels, without a model that cannot: it is there for a check alone."""
    if retraining.jobs.spread and not isinstance(functions, bytes):
        try:
            shipped(functions[2])
        except PicklingError:
            return (*functions[:2], None)
    return functions


def _check_trained(found: Sequence[Predicted]) -> None:
    """Check that models of other inputs have other weights."""
    inputs, weights = ({str(one.digests[place]) for one in found} for place in (0, 1))
    if len(inputs) > 1 and len(weights) == 1 and weights != {""}:
        raise XaiError(
            "xai_train",
            found=f"the same weights, bit for bit, from {len(found)} trainings on {len(inputs)} sets of altered inputs",
            expected="models that are trained on the inputs they are given",
            fix="train a new model on inputs and targets in xai_train and return that, rather than a trained one",
        )


def _keys(retraining: Retraining, material: Material, trials: Sequence[Trial]) -> list[str]:
    """Return a digest of all that each trial's result depends on."""
    functions = material.functions
    output = None if isinstance(functions, bytes) else functions[1]
    shared = digest_of(
        "trial with digests", retraining.function_key, output, material.training, material.targets, material.test
    )
    fills = digest_of(material.fill, material.shown, material.units, material.layout.axis)
    return [digest_of(shared, fills, one.training, one.test, one.seed, one.alone) for one in trials]


def predicted(material: Material, trial: Trial) -> Predicted | Failed:
    """Train and test one model, on one thread: so the result is the same wherever it is done."""
    try:
        train, output, own = arrived(material.functions)
        with one_thread():
            return _predicted(partial(train_model, train, own=own), output, material, trial)
    except XaiError as error:
        return Failed(error, traceback.format_exc() if isinstance(material.functions, bytes) else "")


def _predicted(
    train: Callable[[Tensor, Piece], nn.Module], output: Output, material: Material, trial: Trial
) -> Predicted:
    """Train and test a model; once more where xai_train returns an object that it has returned before."""
    piece = Piece(trial.words, torch.from_numpy(np.array(material.targets)), trial.seed)
    test = material.altered(material.test, trial.test, alone=trial.alone)

    def once() -> tuple[nn.Module, Predicted]:
        inputs = material.altered(material.training, trial.training, alone=trial.alone)
        given = digest_of(inputs)
        with isolated("train", trial.seed), torch.inference_mode(False):
            with torch.enable_grad():
                model = train(inputs, piece)
            weights = state_of(model)
            digests = np.array([given, digest_of(weights) if weights else ""])
            return model, Predicted(_tested(model, test, output, int(piece.targets.max()), trial.words), digests)

    model, found = once()
    if _is_latest(model) and once()[1].digests[1] != found.digests[1]:
        raise XaiError(
            "xai_train",
            found=f"the model object of an earlier training, which has other weights each time it is trained on "
            f"{trial.words} with one seed",
            expected="a new model, whose weights have seen nothing",
            fix="build the model inside the function that xai_train returns, and seed it with seed",
        )
    return found


_LATEST: dict[str, weakref.ref[nn.Module]] = {}


def _is_latest(model: nn.Module) -> bool:
    """Whether the training before, in this process, has returned the same object."""
    before, _LATEST["model"] = _LATEST.get("model"), weakref.ref(model)
    return before is not None and before() is model


def _tested(model: nn.Module, test: Tensor, output: Output, highest: int, words: str) -> NDArray[np.int64]:
    """Return the classes that a trained model predicts for test inputs ``(M,)``."""
    model.eval()
    first = next((tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()), test)
    found = []
    with torch.no_grad():
        for part in torch.split(test, _PART):
            given = part.to(first.device, first.dtype if first.dtype in (*HALF, torch.float32, torch.float64) else None)
            scores = columns(checked_output(scores_of(_called(model, given, words), output), len(part)))
            _check_scores(scores, highest, words)
            found.append(scores.argmax(1).cpu())
    return np.asarray(torch.cat(found).numpy(), np.int64)


def _called(model: nn.Module, given: Tensor, words: str) -> object:
    try:
        return model(given)
    except Exception as error:
        raise XaiError(
            "xai_train",
            found=f"{type(error).__name__} raised by the model trained on {words}, when called with test inputs "
            f"{in_words(given)}{said(error)}",
            expected="a model that takes such inputs as it was trained on",
            fix="call the model that xai_train returns by hand on test inputs",
        ) from error


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
    classes, digests = arrays.get("classes"), arrays.get("digests")
    if classes is None or digests is None or digests.dtype.kind != "U" or digests.shape != (2,):
        return False
    return classes.dtype.kind == "i" and classes.shape == (count,)
