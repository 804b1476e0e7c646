"""Training models of the subject's kind again, with the user's own function, and keeping them on disk by content."""

from __future__ import annotations

import inspect
import json
import os
import stat
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ..common.digest import digest_of, passing_digest_of
from ..common.errors import XaiError, said, shown
from ..common.jobs import Jobs
from ..common.kept import Array, Kept
from ..common.once import Failed, Once, arrived, one_thread, travelling
from ..common.seeding import isolated
from .training_data import Inputs, TrainingData, each, in_words, several, training_data

__all__ = ["TRAIN_EXAMPLE", "Job", "Piece", "Retraining", "Weights", "state_of", "train_model"]

Weights: TypeAlias = dict[str, Tensor]
_SIGNATURE = "a function (inputs, targets, seed) -> model"
_BAR: dict[str, Any] = {"desc": "xai_train", "unit": "model", "disable": None}


TRAIN_EXAMPLE = """\
    @pytest.fixture(scope="session")
    def xai_train():
        def train(inputs, targets, seed):
            torch.manual_seed(seed)
            model = Net()  # as xai_model is, but with weights that have seen nothing
            optimizer = torch.optim.Adam(model.parameters())
            for rows in torch.randint(len(inputs), (1000, 64)):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
            return model
        return train"""
"""A fixture that trains, for errors."""


class Job(NamedTuple):
    """A model to train.

    Attributes:
        words: What it is trained on, for error texts.
        inputs: Training inputs.
        targets: Their targets ``(N,)``.
        seed: What the training is seeded with, 0 to 2³¹ − 1.
    """

    words: str
    inputs: Inputs
    targets: Tensor
    seed: int


class Retraining:
    """Trains models with the user's function, each once.

    Args:
        train: A function ``(inputs, targets, seed) -> model``. The model has the architecture of ``xai_model``, and
            may be on any device.
        data: ``(inputs, targets)``, a tenth of which is held out of training to test on, or ``(inputs, targets,
            test_inputs, test_targets)``; or a function without arguments that returns it, called on first use.
        seed: Seeds which inputs are held out.
        cache_dir: A folder to keep trained weights in, as NumPy archives without pickle, named by a digest of all
            that training depends on: the function and what it refers to, the data, the seed, the shapes of the weights
            and the version of torch. None keeps them in memory alone.
        progress: A stream for a progress bar; standard error by default. Nothing is shown unless it is a terminal.
        jobs: How many processes train models, and explain what they are trained on, see :class:`~.common.jobs.Jobs`.

    Attributes:
        jobs: What spreads trainings.
        measured: What interventions have measured of trained models, for as long as ``xai_model`` stays as it is.
    """

    def __init__(
        self,
        train: object,
        data: object,
        *,
        seed: int = 0,
        cache_dir: str | os.PathLike[str] | None = None,
        progress: TextIO | None = None,
        jobs: int | None = None,
    ) -> None:
        self._train, self._given, self._seed = train, data, seed
        self.jobs = Jobs(jobs)
        self._kept = Kept(None if cache_dir is None else _checked_folder(cache_dir), "trained models")
        self._progress = progress
        self._trained: dict[str, Weights] = {}
        self.measured: dict[str, Any] = {}

    @cached_property
    def data(self) -> TrainingData:
        """The training and test data.

        Raises:
            XaiError: There are none, or they do not fit one another.
        """
        return training_data(self._given, self._seed)

    @property
    def data_fingerprint(self) -> str:
        """A digest of the training and test data, equal in every process."""
        return digest_of(*self.data)

    @property
    def function(self) -> Callable[[Inputs, Tensor, int], object]:
        """The training function.

        Raises:
            XaiError: It is none, or takes other arguments.
        """
        assert self.function_key
        train: Callable[[Inputs, Tensor, int], object] = self._train  # type: ignore[assignment]  # the key checked it
        return train

    @property
    def missing(self) -> str:
        """What the user has not given of what training needs, in words; nothing where all is there."""
        parts = {"training function": self._train, "training data": self._given}
        return " and ".join(f"no {name}" for name, given in parts.items() if given is None)

    @property
    def folder(self) -> Path | None:
        """The folder in which what was trained is kept, or None."""
        return self._kept.folder

    @cached_property
    def function_key(self) -> str:
        """A digest of the training function and of all it refers to."""
        if not callable(self._train) or isinstance(self._train, nn.Module):
            found = "no function" if self._train is None else f"a {type(self._train).__name__}"
            raise XaiError(
                "xai_train",
                found=f"{found} to train models with",
                expected=_SIGNATURE,
                fix=f"return the function itself from the fixture, or give it to Bench(train=):\n{TRAIN_EXAMPLE}",
            )
        _check_signature(self._train)
        return digest_of(self._train, torch.__version__)

    def key(self, model: nn.Module, job: Job) -> str:
        """Return a digest of all that a job's weights depend on."""
        shapes = [(name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in state_of(model).items()]
        return digest_of(self.function_key, shapes, job.inputs, job.targets, job.seed)

    def weights(self, model: nn.Module, jobs: Sequence[Job]) -> list[Weights]:
        """Return the trained weights of each job, on the CPU, under the names that ``model`` has for them.

        Whichever is known from earlier, in this session or on disk, is not trained again; of several processes that
        need the same model, one trains it and the others wait. All jobs train on the same inputs.

        Raises:
            XaiError: The function raised, or what it returned is no model with weights that fit ``model``.
        """
        keys = [self.key(model, job) for job in jobs]
        pieces = {key: Piece(job.words, job.targets, job.seed) for key, job in zip(keys, jobs, strict=True)}
        missing = {key: piece for key, piece in pieces.items() if not self._known(key, model, warn=True)}
        if missing:
            what = "models are trained in this process alone, for xai_train or xai_model"
            spread, functions = travelling(self.jobs, (self._train, model), what)
            once = Once(
                jobs=spread,
                kept=self._kept,
                work=trained,
                shared=Training(functions, jobs[0].inputs),
                known=partial(self._known, model=model),
                keep=self._keep,
            )
            with self.bar(len(missing), 0) as ended, closing(once.done(missing)) as done:
                for _ in done:
                    ended(1)
        return [self._trained[key] for key in keys]

    def _known(self, key: str, model: nn.Module, *, warn: bool = False) -> bool:
        """Whether weights are there, in this process or on disk."""
        if key not in self._trained and (arrays := self._kept.read(key, warn=warn)) is not None:
            try:
                weights = dict(_unpacked(arrays))
                if not _fit(weights, model):
                    raise ValueError("other weights than those of xai_model")
                self._trained[key] = weights
            except Exception as error:  # whatever another header makes its readers raise
                if warn:
                    self._kept.spurn(key, f"it cannot be read ({type(error).__name__}{said(error)})")
        return key in self._trained

    def _keep(self, key: str, arrays: dict[str, Array]) -> None:
        self._trained[key] = dict(_unpacked(arrays))
        self._kept.write(key, arrays)

    @contextmanager
    def bar(self, count: int, done: int, **words: str) -> Iterator[Callable[[int], object]]:
        """Show a bar of so many trainings, some of which are done; yield what is told how many others have ended.

        Args:
            count: How many.
            done: How many of them are done.
            words: ``desc`` and ``unit``, where they are no trainings.
        """
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

        with tqdm(total=count, initial=done, file=self._progress, **{**_BAR, **words}) as bar:
            yield bar.update


class Piece(NamedTuple):
    """What is its own of a model to train: see :class:`Job`."""

    words: str
    targets: Tensor
    seed: int


@dataclass(frozen=True, eq=False)
class Training:
    """What the trainings of several models share.

    Attributes:
        functions: The user's function, and the model that its models are to be like; as bytes where they travel.
        inputs: The training inputs.
    """

    functions: tuple[object, nn.Module] | bytes
    inputs: Inputs

    def __sizeof__(self) -> int:
        """Return the size of the inputs, by which clusters tell what is better sent once."""
        return sum(part.nbytes for part in several(self.inputs))


def trained(shared: Training, piece: Piece) -> dict[str, Array] | Failed:
    """Train one model, on one thread, and return its weights, packed: the same wherever it is done."""
    try:
        train, model = arrived(shared.functions)
        inputs = each(shared.inputs, Tensor.clone)
        with one_thread(), isolated("train", piece.seed), torch.inference_mode(False), torch.enable_grad():
            made = train_model(train, inputs, piece, own=model)
        return _packed(_checked_weights(made, model, piece.words))
    except XaiError as error:
        return Failed(error, traceback.format_exc() if isinstance(shared.functions, bytes) else "")


def train_model(
    train: Callable[[Inputs, Tensor, int], object], inputs: Inputs, piece: Piece, *, own: object
) -> nn.Module:
    """Return what the user's function trains, a model of its own.

    Args:
        train: The function.
        inputs: Training inputs, which it may change.
        piece: What else it is given, and in words what it is trained on.
        own: ``xai_model``; None where it is not known here.

    Raises:
        XaiError: The function raised, changed ``xai_model``, or returned no module or one that shares its weights.
    """
    before = _digest_of_state(own)
    given = in_words(inputs)
    try:
        made = train(inputs, piece.targets.clone(), piece.seed)
    except (Exception, SystemExit) as error:
        raise _train_error(
            f"{type(error).__name__} raised when training on {piece.words}, inputs {given}{said(error)}",
            "a trained model",
            "call xai_train(inputs, targets, seed) by hand with what xai_training_data returns",
        ) from error
    if not isinstance(made, nn.Module):
        kind = "None" if made is None else f"a {type(made).__name__}"
        raise _train_error(f"{kind} returned", "the trained torch.nn.Module", "return the model")
    fix = "build a new model in xai_train, with weights that have seen nothing, or re-initialize a copy.deepcopy"
    tensors = {id(tensor) for tensor in own.parameters()} if isinstance(own, nn.Module) else set()
    if made is own or any(id(tensor) in tensors for tensor in made.parameters()):
        raise _train_error("xai_model itself, or a model that shares its weights, returned", "a model of its own", fix)
    if _digest_of_state(own) != before:
        raise _train_error(f"xai_model changed by training on {piece.words}", "xai_model as it was", fix)
    return made


def _digest_of_state(model: object) -> str:
    return passing_digest_of(state_of(model)) if isinstance(model, nn.Module) else ""


def _checked_folder(given: object) -> Path:
    """Return the path of a folder that is there or can be made.

    Raises:
        XaiError: It is no path, or that of something else.
    """
    expected = "the path of a folder, which is made where there is none"
    try:
        folder = Path(given)  # type: ignore[arg-type]  # what is no path raises
        taken = not stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        return folder
    except (TypeError, ValueError, OSError) as error:
        raise XaiError(
            "cache_dir", found=f"{shown(given)}{said(error)}", expected=expected, fix="pass a path"
        ) from error
    if taken:
        raise XaiError("cache_dir", found=f"the file {folder}", expected=expected, fix="name another path")
    return folder


def state_of(model: nn.Module) -> Weights:
    """Return the tensors of a model's ``state_dict``, the very ones that the model computes with."""
    return {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


def _packed(weights: Weights) -> dict[str, Array]:
    """Return arrays of bytes, and a header that says what they are: NumPy does not know all of torch's types."""
    header = [[name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in weights.items()]
    contents = {
        f"tensor {place}": tensor.contiguous().reshape(-1).view(torch.uint8).numpy()  # type: ignore[no-untyped-call, unused-ignore]
        for place, tensor in enumerate(weights.values())
    }
    return {"header": np.array(json.dumps(header)), **contents}


def _unpacked(archive: Mapping[str, Array]) -> Iterator[tuple[str, Tensor]]:
    for place, (name, dtype, shape) in enumerate(json.loads(str(archive["header"]))):
        tensor = torch.empty(shape, dtype=getattr(torch, dtype))
        content = torch.from_numpy(np.array(archive[f"tensor {place}"]))  # of a cluster it may not be writable
        tensor.view(-1).view(torch.uint8).copy_(content)  # type: ignore[no-untyped-call, unused-ignore]
        yield name, tensor


# --------------------------------------------------------------------------------------------------------- bad input


def _check_signature(train: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):
        return  # the call itself will tell
    try:
        signature.bind(None, None, 0)
    except TypeError as error:
        raise XaiError(
            "xai_train",
            found=f"a function with the signature {signature} ({error})",
            expected=_SIGNATURE,
            fix="return a function of these three arguments from the fixture, rather than a trained model",
        ) from error


def _checked_weights(trained: nn.Module, model: nn.Module, words: str) -> Weights:
    """Return a copy of what was trained, if it fits ``model``."""
    weights = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state_of(trained).items()}
    if not _fit(weights, model):
        raise _train_error(
            f"another architecture returned ({_difference(weights, state_of(model))})",
            "the weights of xai_model, by name and shape: they are loaded into it, so that what is bound to it follows",
            "build the same model as the fixture xai_model does, without a wrapper",
        )
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise _train_error(
            f"weights that are NaN or infinite after training on {words} ({', '.join(broken[:3])})",
            "a training that converges",
            "lower the learning rate",
        )
    return weights


def _train_error(found: str, expected: str, fix: str) -> XaiError:
    return XaiError("xai_train", found=found, expected=expected, fix=fix)


def _fit(weights: Weights, model: nn.Module) -> bool:
    return {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in state_of(model).items()
    }


def _difference(theirs: Weights, ours: Weights) -> str:
    for name in ours:
        if name not in theirs:
            return f"it has no {name!r}"
        if theirs[name].shape != ours[name].shape:
            return f"its {name!r} has the shape {tuple(theirs[name].shape)}, not {tuple(ours[name].shape)}"
    return f"xai_model has no {next(name for name in theirs if name not in ours)!r}"
