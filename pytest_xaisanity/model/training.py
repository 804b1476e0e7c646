"""Training models of the subject's kind again, with the user's own function, and keeping them on disk by content."""

from __future__ import annotations

import inspect
import json
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..common.digest import digest_of
from ..common.errors import XaiError, XaiWarning, said, shown
from ..common.jobs import Jobs
from ..common.seeding import generator, isolated

__all__ = ["TRAIN_EXAMPLE", "Job", "Retraining", "TrainingData", "Weights", "state_of"]

Weights: TypeAlias = dict[str, Tensor]
Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Array: TypeAlias = NDArray[np.generic]
_SIGNATURE = "a function (inputs, targets, seed) -> model"
_FORMS = "(inputs, targets), or (inputs, targets, test_inputs, test_targets)"
_BAR: dict[str, Any] = {"desc": "xai_train", "unit": "model", "disable": None}
_HELD_OUT = 10  # one in ten of the training data, where no test data are given


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


class TrainingData(NamedTuple):
    """What models are trained on, and what they are tested on.

    Attributes:
        inputs: A tensor ``(N, ...)``, or a tuple or a mapping of the model's input tensors, as the user gave it.
        targets: Class indices ``(N,)``.
        test_inputs: Inputs held out of training, likewise.
        test_targets: Their class indices.
    """

    inputs: Inputs
    targets: Tensor
    test_inputs: Inputs
    test_targets: Tensor


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
        jobs: How many processes train models for claims that train many, see :class:`~.common.jobs.Jobs`.

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
        self._folder = None if cache_dir is None else _checked_folder(cache_dir)
        self._progress = progress
        self._trained: dict[str, Weights] = {}
        self.measured: dict[str, Any] = {}

    @cached_property
    def data(self) -> TrainingData:
        """The training and test data.

        Raises:
            XaiError: There are none, or they do not fit one another.
        """
        try:
            given = self._given() if callable(self._given) else self._given
        except Exception as error:
            found = f"{type(error).__name__} raised when the function was called{said(error)}"
            raise _data_error(found, "call it by hand") from error
        if given is None:
            raise _data_error("no training data", "return them from the fixture, or give them to Bench(training_data=)")
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 4):
            length = f" of length {len(given)}" if isinstance(given, (tuple, list)) else ""
            raise _data_error(f"a {type(given).__name__}{length}", "gather a loader's batches into tensors")
        inputs, targets = _checked_half(given[0], given[1], "training")
        if len(given) == 4:
            return TrainingData(inputs, targets, *_checked_half(given[2], given[3], "test"))
        if len(targets) < 2 * _HELD_OUT:
            raise _data_error(f"{len(targets)} training inputs to hold a tenth out of", "give test data of their own")
        order = torch.randperm(len(targets), generator=generator(self._seed, "held out", len(targets)))
        test, rest = order.tensor_split([len(order) // _HELD_OUT])
        return TrainingData(_rows(inputs, rest), targets[rest], _rows(inputs, test), targets[test])

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
        return self._folder

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
        need the same model, one trains it and the others wait.

        Raises:
            XaiError: The function raised, or what it returned is no model with weights that fit ``model``.
        """
        keys = [self.key(model, job) for job in jobs]
        for key in keys:
            if key not in self._trained and (kept := self._read(key, model)) is not None:
                self._trained[key] = kept
        missing = [(key, job) for key, job in zip(keys, jobs, strict=True) if key not in self._trained]
        for key, job in self._shown(missing):
            with self._alone(key):
                self._trained[key] = self._read(key, model, warn=False) or self._made(key, model, job)
        return [self._trained[key] for key in keys]

    def _shown(self, missing: list[tuple[str, Job]]) -> Iterator[tuple[str, Job]]:
        if not missing:
            return
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

        yield from tqdm(missing, file=self._progress, **_BAR)

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

    def _made(self, key: str, model: nn.Module, job: Job) -> Weights:
        weights = _checked_weights(self._run(job), model, job)
        self._write(key, weights)
        return weights

    def _run(self, job: Job) -> object:
        assert callable(self._train)
        inputs = _each(job.inputs, Tensor.clone)
        try:
            with isolated("train", job.seed), torch.inference_mode(False), torch.enable_grad():
                return self._train(inputs, job.targets.clone(), job.seed)
        except Exception as error:
            raise XaiError(
                "xai_train",
                found=f"{type(error).__name__} raised when training on {job.words}{said(error)}",
                expected="a trained model",
                fix="call xai_train(inputs, targets, seed) by hand",
            ) from error

    # ------------------------------------------------------------------------------------------------------- on disk

    def _file(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{key}.npz"

    def _read(self, key: str, model: nn.Module, *, warn: bool = True) -> Weights | None:
        file = self._file(key)
        if file is None or not file.exists():
            return None
        try:
            # Opened here, because NumPy leaves a file open that is no archive.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                weights = dict(_unpacked(archive))
            if not _fit(weights, model):
                raise ValueError("other weights than those of xai_model")
        except Exception as error:  # whatever a damaged archive makes its readers raise
            if warn:
                warnings.warn(
                    f"the cached model {file} is ignored and trained again: it cannot be read "
                    f"({type(error).__name__}{said(error)})",
                    XaiWarning,
                    stacklevel=2,
                )
            return None
        return weights

    def _write(self, key: str, weights: Weights) -> None:
        """Keep weights under their key; another process sees the whole file or none."""
        file = self._file(key)
        if file is None:
            return
        part = file.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as stream:
                arrays: dict[str, Any] = _packed(weights)
                np.savez(stream, **arrays)
            part.replace(file)
        except OSError as error:
            _warn_not_kept(error)
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Let one process at a time train this model."""
        file = self._file(key)
        if file is None:
            yield
            return
        from filelock import FileLock  # comes with torch; the system releases it when its holder dies

        lock = FileLock(file.with_suffix(".lock"))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            _warn_not_kept(error)
            self._folder = None
        try:
            yield
        finally:
            lock.release()


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


def _warn_not_kept(error: OSError) -> None:
    text = f"trained models cannot be kept on disk, and the next session will train again ({error})"
    warnings.warn(text, XaiWarning, stacklevel=2)


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
        content = torch.from_numpy(archive[f"tensor {place}"])
        tensor.view(-1).view(torch.uint8).copy_(content)  # type: ignore[no-untyped-call, unused-ignore]
        yield name, tensor


# --------------------------------------------------------------------------------------------------------- bad input


def _data_error(found: str, fix: str) -> XaiError:
    return XaiError("xai_training_data", found=found, expected=_FORMS, fix=fix)


def _checked_half(inputs: object, targets: object, which: str) -> tuple[Inputs, Tensor]:
    """Return inputs and targets as tensors that fit one another."""
    try:
        given = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
        parts = [torch.as_tensor(part) for part in (given if isinstance(given, (tuple, list)) else [given])]
        labels = torch.as_tensor(targets)
        unfit = [given for given in (*parts, labels) if not _is_dense(given)]
    except (TypeError, ValueError, RuntimeError) as error:
        raise _data_error(f"{which} data that are no tensors{said(error)}", "convert them to tensors") from error
    hidden = any(
        np.ma.is_masked(given) for given in (*(inputs if isinstance(inputs, (tuple, list)) else [inputs]), targets)
    )
    if unfit or hidden:
        found = "with masked values" if hidden else "that are sparse, nested, quantized or without values"
        fix = "array.filled(0.0)" if hidden else "tensor.to_dense(), tensor.dequantize()"
        raise _data_error(f"{which} data {found}", f"give dense numbers: {fix}")
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise _data_error(
            f"{which} targets of {labels.dtype} and shape {tuple(labels.shape)}",
            "give class indices (N,), such as labels.long() or one_hot.argmax(1)",
        )
    lengths = [len(part) if part.ndim else 0 for part in parts]
    if not lengths or any(length != len(labels) for length in lengths):
        raise _data_error(
            f"{len(labels)} {which} targets for {', '.join(map(str, sorted({*lengths}))) or 'no'} inputs",
            "give one target for each input",
        )
    classes = sorted(set(labels.tolist()))
    if len(classes) < 2 or classes[0] < 0:
        raise _data_error(
            f"{which} targets of the class{'es' * (len(classes) != 1)} {', '.join(map(str, classes[:3]))}",
            "give class indices from 0 on, of two classes or more",
        )
    if isinstance(inputs, Mapping):
        return dict(zip(inputs, parts, strict=True)), labels.long()
    return tuple(parts) if isinstance(inputs, (tuple, list)) else parts[0], labels.long()


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor holds a value at each place."""
    return tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta)


def _rows(inputs: Inputs, rows: Tensor) -> Inputs:
    return _each(inputs, lambda part: part[rows])


def _each(inputs: Inputs, work: Callable[[Tensor], Tensor]) -> Inputs:
    """Return what ``work`` makes of each input tensor, in the form in which they were given."""
    if isinstance(inputs, dict):
        return {name: work(part) for name, part in inputs.items()}
    return tuple(map(work, inputs)) if isinstance(inputs, tuple) else work(inputs)


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


def _checked_weights(trained: object, model: nn.Module, job: Job) -> Weights:
    """Return a copy of what was trained, if it fits ``model``."""
    if not isinstance(trained, nn.Module):
        kind = "None" if trained is None else f"a {type(trained).__name__}"
        raise _train_error(f"{kind} returned", "the trained torch.nn.Module", "return the model")
    own = {id(parameter) for parameter in model.parameters()}
    if any(id(parameter) in own for parameter in trained.parameters()):
        raise _train_error(
            "xai_model itself, or a model that shares its weights, returned",
            "a model of its own",
            "build a new model in xai_train, or train a copy.deepcopy",
        )
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
            f"weights that are NaN or infinite after training on {job.words} ({', '.join(broken[:3])})",
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
