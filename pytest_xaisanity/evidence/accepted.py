"""Whether the model takes the training data: seen on a few inputs, before anything is explained or trained."""

from __future__ import annotations

from ..common.errors import XaiError
from ..model.training_data import Inputs, TrainingData, data_error, in_words
from ..subject.subject import Subject

__all__ = ["check_accepted", "check_known_classes"]

_FEW = 2


def check_accepted(subject: Subject, inputs: Inputs, which: str, *, own: Subject) -> int | None:
    """Call the model, which is lent, with a few of the training data; return how many classes it tells apart.

    Args:
        subject: A subject of the model, by which it is called.
        inputs: All inputs of a half, as the user gave them.
        which: The half, ``"training"`` or ``"test"``.
        own: The subject of ``xai_inputs``.

    Returns:
        The number of its outputs; None where these are no classes, or a single score.

    Raises:
        XaiError: The model raises, or returns no outputs.
    """
    try:
        few = (part[:_FEW] for part in subject.arguments(inputs))
        placed = (part.to(subject.device, subject.dtype if part.is_floating_point() else None) for part in few)
        outputs = subject.outputs(tuple(placed))
    except XaiError as error:
        given = "" if own.streamed else f", {in_words(own.in_memory)}"
        raise data_error(
            f"{which} inputs {in_words(inputs)}, with which {error.where} gives {error.found}",
            f"prepare the {which} inputs as xai_inputs are{given}",
            "inputs that xai_model takes",
        ) from error.__cause__
    return outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else None


def check_known_classes(data: TrainingData, classes: int | None) -> None:
    """Check that a model has an output for each class of the data.

    Raises:
        XaiError: It has not.
    """
    for which, targets in (("training", data.targets), ("test", data.test_targets)):
        if classes is not None and int(targets.max()) >= classes:
            first = int((targets >= classes).nonzero()[0])
            raise data_error(
                f"class {int(targets[first])} as the {which} target {first}, for a model with {classes} outputs",
                "check that labels and the model's outputs use the same numbering",
                f"class indices from 0 to {classes - 1}",
            )
