"""The task of a model: whether what it returns are classes, labels or values, and what makes probabilities of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ..common.errors import XaiError, unknown_name
from .outputs import HALF

__all__ = ["TASKS", "Function", "Link", "Task", "checked_task", "lie_in_unit", "link_of", "next_token"]

Task = Literal["classification", "multilabel", "regression", "next_token"]
Function = Literal["softmax", "sigmoid", "exp", "identity"]
TASKS = ("auto", "classification", "multilabel", "regression", "next_token")


def checked_task(task: object) -> str:
    """Return the name of a task, or ``"auto"``.

    Raises:
        XaiError: There is no such task.
    """
    if not isinstance(task, str) or task not in TASKS:
        raise unknown_name("xai_task", task, TASKS, kind="task")
    return task


@dataclass(frozen=True)
class Link:
    """What makes a probability of a model's outputs, as the inverse of a link function does; or leaves them as values.

    Attributes:
        task: What the outputs are to the task.
        function: ``"softmax"`` over the classes; ``"sigmoid"`` of each output by itself; ``"exp"`` of
            log-probabilities; ``"identity"`` where outputs are probabilities already, or values.
        outputs: What the outputs were taken for, in words.
        given: Whether the user named the task.
    """

    task: Task
    function: Function
    outputs: str
    given: bool = False

    @property
    def gives_probabilities(self) -> bool:
        """Whether the result lies in [0, 1]."""
        return self.task != "regression"

    def __call__(self, outputs: Tensor) -> Tensor:
        """Return the probabilities or values that outputs ``(b, ...)`` stand for, in the same shape."""
        if self.function == "softmax":
            return F.softmax(outputs, dim=1)
        if self.function == "exp":
            return outputs.exp()
        return outputs.sigmoid() if self.function == "sigmoid" else outputs

    def __str__(self) -> str:
        how = "" if self.function == "identity" else f", made probabilities by {self.function}"
        whose = f"xai_task={self.task}" if self.given else f"taken so by xai_task=auto: {self.task}"
        return f"{self.outputs}{how} ({whose})"

    def check(self, values: Tensor) -> None:
        """Raise when what were taken for probabilities turn out to be none.

        Args:
            values: What outputs stand for, on other inputs than those that they were judged by.

        Raises:
            XaiError: A probability lies outside [0, 1].
        """
        if self.function != "identity" or not self.gives_probabilities or not values.numel():
            return
        if not lie_in_unit(values):
            raise XaiError(
                "xai_task",
                found=f"{self}, but from {float(values.min()):.3g} to {float(values.max()):.3g} on other inputs",
                expected="probabilities, in [0, 1] for any input",
                fix="set xai_task (Bench(task=)) to what the outputs are: 'regression' if they are values, "
                "'classification' if they are logits of classes; or take them as they are, with output='logit'",
            )


def link_of(task: str, outputs: Tensor, *, several: bool) -> Link:
    """Return what makes probabilities of a model's outputs.

    Args:
        task: The task, or ``"auto"`` to judge by the outputs: rows that sum to 1 over the classes are probabilities;
            values in [0, 1] that do not are probabilities of each label by itself; a single output of any other size is
            a value; others are logits, of labels where targets are multi-hot and of classes where they are not.
        outputs: Some outputs ``(b, classes, ...)``.
        several: Whether the targets are multi-hot.
    """
    within = lie_in_unit(outputs)
    single = outputs.shape[1] == 1
    if task == "regression":
        return Link("regression", "identity", "values", given=True)
    if task == "multilabel":
        return _labels(within, given=True)
    if task == "classification":
        return _one_class(within, given=True) if single else _classes(outputs, within, given=True)
    if single:
        return _one_class(True) if within else Link("regression", "identity", "the value of a single output")
    if several:
        return _labels(within)
    if within and not _sum_to_one(outputs):
        return _labels(True)
    return _classes(outputs, within)


def next_token(*, several: bool, given: bool) -> Link:
    """Return what makes probabilities of the log-probabilities of continuations of one token, or of ``several``.

    Those of several are averaged over their tokens first, whose geometric mean then is the probability: it stays in
    [0, 1], and does not vanish as the product does.
    """
    what = "log-probabilities of continuations, averaged over their tokens" if several else ""
    return Link("next_token", "exp", what or "log-probabilities of the next token", given)


def lie_in_unit(outputs: Tensor) -> bool:
    """Whether all outputs lie in [0, 1], but for rounding."""
    low, high = outputs.aminmax()
    return bool(low >= -_tolerance(outputs)) and bool(high <= 1 + _tolerance(outputs))


def _labels(within: bool, *, given: bool = False) -> Link:
    if within:
        return Link("multilabel", "identity", "probabilities of each label by itself", given)
    return Link("multilabel", "sigmoid", "logits of each label by itself", given)


def _one_class(within: bool, *, given: bool = False) -> Link:
    if within:
        return Link("classification", "identity", "the probability of a single class", given)
    return Link("classification", "sigmoid", "the logit of a single class", given)


def _classes(outputs: Tensor, within: bool, *, given: bool = False) -> Link:
    if within and _sum_to_one(outputs):
        return Link("classification", "identity", "probabilities of the classes", given)
    return Link("classification", "softmax", "logits of the classes", given)


def _sum_to_one(outputs: Tensor) -> bool:
    """Whether outputs sum to 1 over the classes: the first axis behind the batch, or the last."""
    wide = outputs.double()
    return any(bool((wide.sum(axis) - 1).abs().max() < _tolerance(outputs)) for axis in (1, -1))


def _tolerance(outputs: Tensor) -> float:
    return 2e-2 if outputs.dtype in HALF else 1e-3
