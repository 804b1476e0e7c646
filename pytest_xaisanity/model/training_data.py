"""What models are trained on and tested on, as the user gives it, and what is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..common.errors import XaiError, XaiWarning, said
from ..common.seeding import generator

__all__ = ["Inputs", "TrainingData", "data_error", "each", "in_words", "several", "training_data"]

Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
_FORMS = "(inputs, targets), or (inputs, targets, test_inputs, test_targets)"
_HELD_OUT = 10  # one in ten of the training data, where no test data are given
_CLASSES = "class indices from 0 on, of two classes or more"
_SHOWN = 3  # classes that an error names


class TrainingData(NamedTuple):
    """What models are trained on, and what they are tested on.

    Attributes:
        inputs: A tensor ``(N, ...)``, or a tuple or a mapping of the model's input tensors, as the user gave it.
        targets: Class indices ``(N,)``.
        test_inputs: Inputs held out of training, likewise.
        test_targets: Their class indices, each of a class that training inputs have too.
    """

    inputs: Inputs
    targets: Tensor
    test_inputs: Inputs
    test_targets: Tensor


def training_data(given: object, seed: int) -> TrainingData:
    """Return the data that a user gave, or a function returns, in two halves that fit one another.

    Where no test data are given, a tenth is drawn by the seed and held out, but for classes that training would then
    have nothing of.

    Raises:
        XaiError: There are none, or they are no finite numbers with class indices, or the halves do not fit.
    """
    try:
        given = given() if callable(given) else given
    except Exception as error:
        found = f"{type(error).__name__} raised when the function was called{said(error)}"
        raise data_error(found, "call it by hand") from error
    if given is None:
        raise data_error("no training data", "return them from the fixture, or give them to Bench(training_data=)")
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 4):
        length = f" of length {len(given)}" if isinstance(given, (tuple, list)) else ""
        raise data_error(f"a {type(given).__name__}{length}", "gather a loader's batches into tensors")
    inputs, targets = _checked_half(given[0], given[1], "training")
    if len(given) == 2:
        return _held_out(inputs, targets, seed)
    data = TrainingData(inputs, targets, *_checked_half(given[2], given[3], "test"))
    _check_alike(data)
    _check_learnable(data)
    if _rows(data.test_inputs) <= _rows(data.inputs):
        warnings.warn(
            f"xai_training_data: each of the {len(data.test_targets)} test inputs is a training input too: what is "
            "measured is how well models remember; hold the test inputs out of training",
            XaiWarning,
            stacklevel=2,
        )
    return data


def data_error(found: str, fix: str, expected: str = _FORMS) -> XaiError:
    """Return the error for training data that cannot be."""
    return XaiError("xai_training_data", found=found, expected=expected, fix=fix)


def each(inputs: Inputs, work: Callable[[Tensor], Tensor]) -> Inputs:
    """Return what ``work`` makes of each input tensor, in the form in which they were given."""
    if isinstance(inputs, dict):
        return {name: work(part) for name, part in inputs.items()}
    return tuple(map(work, inputs)) if isinstance(inputs, tuple) else work(inputs)


def several(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors of inputs in any form."""
    return tuple(inputs.values()) if isinstance(inputs, dict) else inputs if isinstance(inputs, tuple) else (inputs,)


def in_words(inputs: Inputs) -> str:
    """Return of which shape and type inputs are.

    >>> in_words(torch.zeros(2, 3))
    '(2, 3) torch.float32'
    """
    parts = [f"{tuple(part.shape)} {part.dtype}" for part in several(inputs)]
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {part}" for name, part in zip(inputs, parts, strict=True))
    return " and ".join(parts)


def _rows(inputs: Inputs) -> set[bytes]:
    """Return digests of the inputs."""
    parts = [part.detach().cpu().reshape(len(part), -1).contiguous().view(torch.uint8) for part in several(inputs)]
    rows = zip(*(part.numpy() for part in parts), strict=True)
    return {blake2b(b"".join(part.tobytes() for part in row), digest_size=16).digest() for row in rows}


def _held_out(inputs: Inputs, targets: Tensor, seed: int) -> TrainingData:
    """Return the data with a tenth held out of training; a class of which nothing would be left stays in it."""
    if len(targets) < 2 * _HELD_OUT:
        raise data_error(f"{len(targets)} training inputs to hold a tenth out of", "give test data of their own")
    order = torch.randperm(len(targets), generator=generator(seed, "held out", len(targets)))
    test, rest = order.tensor_split([len(order) // _HELD_OUT])
    learned = torch.isin(targets[test].cpu(), targets[rest].cpu())
    test, rest = test[learned], torch.cat([rest, test[~learned]])
    if not len(test):
        raise data_error(f"{len(targets)} training inputs, each of a class of its own", "give several of each class")
    halves = [(each(inputs, lambda part, rows=rows: part[rows]), targets[rows]) for rows in (rest, test)]  # type: ignore[misc]
    return TrainingData(*halves[0], *halves[1])


def _checked_half(inputs: object, targets: object, which: str) -> tuple[Inputs, Tensor]:
    """Return inputs and targets as tensors that fit one another."""
    given = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
    several = list(given) if isinstance(given, (tuple, list)) else [given]
    for what, one in (("inputs", inputs), ("targets", targets)):
        if one is None:
            raise data_error(f"no {which} {what}, but None", f"return the {which} {what} too")
    try:
        parts = [torch.as_tensor(part) for part in several]
        labels = torch.as_tensor(targets)
        unfit = [given for given in (*parts, labels) if not _is_dense(given)]
    except (TypeError, ValueError, RuntimeError) as error:
        raise data_error(f"{which} data that are no tensors{said(error)}", "convert them to tensors") from error
    hidden = any(np.ma.is_masked(given) for given in (*several, targets))
    if unfit or hidden:
        found = "with masked values" if hidden else "that are sparse, nested, quantized or without values"
        fix = "array.filled(0.0)" if hidden else "tensor.to_dense(), tensor.dequantize()"
        raise data_error(f"{which} data {found}", f"give dense numbers: {fix}")
    _check_indices(labels, which)
    lengths = [len(part) if part.ndim else 0 for part in parts]
    if not lengths or any(length != len(labels) for length in lengths):
        listed = "; a list is taken for the tensors of several inputs" * isinstance(inputs, list)
        found = f"{len(labels)} {which} targets for {', '.join(map(str, sorted({*lengths}))) or 'no'} inputs{listed}"
        raise data_error(found, "give one target for each input, and each of the model's inputs in one tensor")
    labels = _checked_labels(labels.long(), which)
    for place, part in enumerate(parts):
        if which == "training" and len(part) > 1 and bool((part == part[0]).all()):
            raise data_error(f"{which} inputs {in_words(part)} that are all the same", "return inputs that differ")
        _check_finite(part, f"{which} inputs" + f" (the tensor {place} of them)" * (len(parts) > 1))
    if isinstance(inputs, Mapping):
        return dict(zip(inputs, parts, strict=True)), labels
    return tuple(parts) if isinstance(inputs, (tuple, list)) else parts[0], labels


def _check_indices(labels: Tensor, which: str) -> None:
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise data_error(
            f"{which} targets of {labels.dtype} and shape {tuple(labels.shape)}",
            "give class indices (N,), such as labels.long() or one_hot.argmax(1)",
        )


def _checked_labels(labels: Tensor, which: str) -> Tensor:
    """Return class indices ``(N,)`` of two classes or more."""
    if len(negative := (labels < 0).nonzero()):
        first = int(negative[0])
        found = f"the class {int(labels[first])} as the {which} target {first}, and {len(negative)} below 0 in all"
        raise data_error(found, "number the classes from 0 on, and leave out inputs without a label", _CLASSES)
    classes = sorted(set(labels.tolist()))
    if len(classes) < 2:
        found = f"{which} targets of the class {classes[0]} alone" if classes else f"no {which} targets"
        raise data_error(found, "give inputs of two classes or more to train and to test on", _CLASSES)
    return labels


def _check_finite(part: Tensor, what: str) -> None:
    if not (part.is_floating_point() or part.is_complex()):
        return
    rows = (~part.detach().isfinite()).reshape(len(part), -1).any(1).nonzero().flatten().tolist()
    if rows:
        place = (~part[rows[0]].detach().isfinite()).nonzero()[0].tolist()
        value = part[(rows[0], *place)].item()
        raise data_error(
            f"{value} in the {what}, first in input {rows[0]} at {tuple(place)}; {len(rows)} of {len(part)} inputs "
            "hold NaN or infinite values",
            "clean or impute them before they are returned, as for xai_inputs",
            "finite numbers",
        )


def _is_dense(tensor: Tensor) -> bool:
    """Whether a tensor holds a value at each place."""
    return tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta)


def _check_alike(data: TrainingData) -> None:
    """Check that test inputs are of the training inputs' form."""
    forms = []
    for inputs in (data.inputs, data.test_inputs):
        names = tuple(inputs) if isinstance(inputs, dict) else type(inputs).__name__
        parts = [(part.ndim, part.is_floating_point(), part.is_complex()) for part in several(inputs)]
        forms.append((names, parts))
    if forms[0] != forms[1]:
        raise data_error(
            f"training inputs {in_words(data.inputs)}, but test inputs {in_words(data.test_inputs)}",
            "prepare the test inputs as the training inputs are",
            "inputs of one form to train and to test on",
        )


def _check_learnable(data: TrainingData) -> None:
    """Check that training inputs have each class that test inputs have."""
    unseen = (~torch.isin(data.test_targets.cpu(), data.targets.cpu())).nonzero().flatten()
    if len(unseen):
        classes = sorted(set(data.test_targets[unseen].tolist()))
        named = ", ".join(map(str, classes[:_SHOWN])) + ", …" * (len(classes) > _SHOWN)
        raise data_error(
            f"{len(unseen)} of {len(data.test_targets)} test inputs, first the test input {int(unseen[0])}, of the "
            f"class{'es' * (len(classes) > 1)} {named}, of which there is no training input",
            "add training inputs of these classes, or leave these test inputs out; check that both halves number "
            "the classes alike",
            "classes that a model can learn: it is wrong on others, whatever is removed",
        )
