"""The task: what outputs are taken for, against a slow reading in float64."""

from math import exp

import pytest
import torch
from torch import nn

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.subject.subject import Subject
from pytest_xaisanity.subject.task import Link, link_of


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


Z = normal(16, 4)
FLAGS = torch.ones(16, 4).bool()

CASES = {
    "logits": (Z, "auto", False, "classification", "softmax"),
    "log-probabilities": (Z.log_softmax(1), "auto", False, "classification", "softmax"),
    "probabilities": (Z.softmax(1), "auto", False, "classification", "identity"),
    "half probabilities": (Z.softmax(1).bfloat16(), "auto", False, "classification", "identity"),
    "probabilities on the last axis": (normal(16, 5, 4).softmax(-1), "auto", False, "classification", "identity"),
    "probabilities of places": (normal(16, 4, 3, 3).softmax(1), "auto", False, "classification", "identity"),
    "logits of places": (normal(16, 4, 3, 3), "auto", False, "classification", "softmax"),
    "sigmoids": (Z.sigmoid(), "auto", False, "multilabel", "identity"),
    "logits with multi-hot targets": (Z, "auto", True, "multilabel", "sigmoid"),
    "sigmoids with multi-hot targets": (Z.sigmoid(), "auto", True, "multilabel", "identity"),
    "one value": (Z[:, :1], "auto", False, "regression", "identity"),
    "one probability": (Z[:, :1].sigmoid(), "auto", False, "classification", "identity"),
    "one value at each place": (normal(16, 1, 3, 3), "auto", False, "regression", "identity"),
    "one logit": (Z[:, :1], "classification", False, "classification", "sigmoid"),
    "one label": (Z[:, :1], "multilabel", False, "multilabel", "sigmoid"),
    "named classes": (Z, "classification", False, "classification", "softmax"),
    "named classes that are probabilities": (Z.softmax(1), "classification", False, "classification", "identity"),
    "named classes in [0, 1]": (Z.sigmoid(), "classification", False, "classification", "softmax"),
    "named labels": (Z, "multilabel", False, "multilabel", "sigmoid"),
    "named labels that are probabilities": (Z.sigmoid(), "multilabel", True, "multilabel", "identity"),
    "named labels that sum to one": (Z.softmax(1), "multilabel", False, "multilabel", "identity"),
    "values": (Z, "regression", False, "regression", "identity"),
    "values that sum to one": (Z.softmax(1), "regression", True, "regression", "identity"),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_taken_for_what_they_are(case):
    outputs, asked, several, task, function = CASES[case]
    link = link_of(asked, outputs, several=several)
    assert (link.task, link.function) == (task, function)
    assert link.gives_probabilities == (task != "regression")
    assert f"xai_task={asked}" in str(link)


@pytest.mark.parametrize("case", CASES)
def test_what_they_stand_for_follows_its_definition(case):
    outputs, asked, several, _, function = CASES[case]
    found = link_of(asked, outputs, several=several)(outputs.double())
    flat = outputs.double().movedim(1, -1).reshape(-1, outputs.shape[1])
    rows = found.movedim(1, -1).reshape(flat.shape)
    for row, values in zip(rows.tolist(), flat.tolist(), strict=True):
        if function == "softmax":
            slow = [exp(value) / sum(map(exp, values)) for value in values]
        else:
            slow = [1 / (1 + exp(-value)) if function == "sigmoid" else value for value in values]
        assert row == pytest.approx(slow, abs=1e-12)


def test_it_is_judged_by_the_same_inputs_whatever_the_targets_and_blocks():
    """The first sixteen that are visited, of inputs of which only their outputs lie in [0, 1]."""
    with (probe := Subject(nn.Identity().eval(), normal(64, 3))).lent():
        first = list(next(probe.blocks()).indices)
    x = 5 * normal(64, 3)
    x[first] = 0.4 + 0.6 * torch.rand(16, 3, generator=torch.Generator().manual_seed(0))

    def near(x):
        return torch.where(x.abs().amax(1, keepdim=True) > 30, 0.5, x)

    for early in (True, False):
        for targets in (None, torch.zeros(64).long()):
            subject = Subject(near, [x], targets)
            with subject.lent():
                list(subject.blocks(early=early))
            assert subject.link.task == "multilabel"


class Small(nn.Module):
    """Logits that happen to lie in [0, 1] on the inputs as they are."""

    def __init__(self, classes, function=None, most=2.0):
        super().__init__()
        self.classes, self.function, self.most = classes, function, most

    def forward(self, x):
        if x.max() > self.most:
            raise ValueError("these are no images")
        logits = 0.5 + x[:, : self.classes] / 10
        return logits if self.function is None else self.function(logits)


@pytest.mark.parametrize(
    ("function", "classes", "task"),
    [
        (None, 3, "classification"),
        (None, 1, "regression"),
        (torch.sigmoid, 3, "multilabel"),
        (torch.sigmoid, 1, "classification"),
        (lambda z: z.softmax(1), 3, "classification"),
    ],
)
def test_far_from_the_inputs_only_probabilities_stay_in_the_unit_interval(function, classes, task):
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16):
        subject = Subject(Small(classes, function, most=1e9).eval(), x.to(dtype))
        with subject.lent():
            list(subject.blocks())
        assert subject.link.task == task
        assert subject.link.function == ("softmax" if function is None and classes > 1 else "identity")


def test_a_model_that_takes_no_inputs_far_off_is_judged_by_those_it_takes():
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    subject = Subject(Small(3, torch.sigmoid).eval(), x)
    with subject.lent():
        list(subject.blocks())
    assert subject.link.task == "multilabel"


def test_a_model_that_keeps_something_of_its_inputs_is_shown_none_far_off():
    class Watching(Small):
        largest = 0.0

        def forward(self, x):
            self.largest += float(x.max())
            return super().forward(x)

    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    model = Watching(3, most=1e9).eval()
    subject = Subject(model, x)
    with subject.lent():
        list(subject.blocks())
        assert 0 < model.largest < 10


@pytest.mark.parametrize("task", ["regresion", "Auto", "", None, 3, ["auto"]])
def test_an_unknown_task_is_named(task):
    with pytest.raises(XaiError) as caught:
        Subject(nn.Identity(), normal(20, 3), task=task)
    assert caught.value.where == "xai_task"
    assert "auto, classification, multilabel, next_token, regression" in caught.value.expected
    if task == "regresion":
        assert "'regression'" in caught.value.fix


def test_probabilities_that_turn_out_to_be_none_are_named():
    link = link_of("auto", Z.sigmoid(), several=False)
    link.check(torch.tensor([0.0, 1.0, 1.0005]))
    for values in (torch.tensor([0.5, 1.2]), torch.tensor([-0.2, 0.5])):
        with pytest.raises(XaiError, match=r"xai_task: found probabilities of each label by itself \(taken so"):
            link.check(values)
    for taken in (Link("regression", "identity", "values"), Link("classification", "softmax", "logits")):
        taken.check(torch.tensor([7.0]))
