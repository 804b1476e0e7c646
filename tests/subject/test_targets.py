"""Targets: indices, positions and multi-hot labels, and lists of inputs and targets."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.subject import window
from pytest_xaisanity.subject.subject import Subject
from pytest_xaisanity.subject.targets import explained

N = 40


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X = normal(N, 5)


def labels(count=4):
    """Return random labels ``(N, count)``, at least one for each input and several for some."""
    flags = torch.rand(N, count, generator=torch.Generator().manual_seed(1)) < 0.4
    flags[torch.arange(N), torch.arange(N) % count] = True
    return flags


def linear(classes=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, classes)).eval()


def read(subject):
    """Return inputs and targets in the order in which they were given."""
    with subject.lent():
        blocks = list(subject.blocks())
    order = torch.tensor([index for block in blocks for index in block.indices]).argsort()
    assert blocks[0].targets is not None
    return torch.cat([b.inputs[0] for b in blocks])[order], torch.cat([b.targets for b in blocks])[order]


def raised(model, inputs, targets=None, **settings):
    with pytest.raises(XaiError) as caught:
        read(Subject(model, inputs, targets, **settings))
    return caught.value


def slow_highest(outputs, flags):
    """Return the index of the highest output among those that are flagged, by a loop in float64."""
    rows = zip(outputs.double().tolist(), flags.tolist(), strict=True)
    return [max((value, -k) for k, value in enumerate(row) if present[k])[1] * -1 for row, present in rows]


class TestMultiHot:
    @pytest.mark.parametrize(
        "make",
        [
            lambda flags: flags,
            lambda flags: flags.long(),
            lambda flags: flags.int(),
            lambda flags: flags.float(),
            lambda flags: flags.double().numpy(),
            lambda flags: flags.numpy(),
            lambda flags: flags.long().tolist(),
        ],
    )
    def test_explains_the_highest_label_that_is_present(self, make):
        model, flags = linear(), labels()
        expected = slow_highest(model(X).detach(), flags)
        assert expected != model(X).argmax(1).tolist()
        subject = Subject(model, X, make(flags))
        assert read(subject)[1].tolist() == expected
        assert subject.link.task == "multilabel"

    def test_comes_with_the_batches_of_a_loader(self):
        model, flags = linear(), labels()
        expected = slow_highest(model(X).detach(), flags)
        for given in (flags, flags.float(), flags.long()):
            loader = DataLoader(TensorDataset(X, given), batch_size=9)
            assert read(Subject(model, loader))[1].tolist() == expected
            assert read(Subject(model, list(X.split(7)), given))[1].tolist() == expected

    def test_is_a_class_where_each_input_has_one_label(self):
        given = torch.arange(N) % 4
        subject = Subject(linear(), X, torch.eye(4)[given])
        assert read(subject)[1].tolist() == given.tolist()
        assert subject.link.task == "classification"

    def test_is_not_what_a_matrix_means_where_outputs_have_more_axes(self):
        model = nn.Sequential(nn.Linear(5, 4), nn.Unflatten(1, (2, 2))).eval()
        positions = labels(2).long()
        assert torch.equal(read(Subject(model, X, positions))[1], positions)
        error = raised(model, X, positions.bool())
        assert "2 positions for each input: whole targets" in error.expected

    @pytest.mark.parametrize("task", ["auto", "multilabel"])
    def test_needs_a_label_for_each_input(self, task):
        flags = labels()
        flags[3] = False
        error = raised(linear(), X, flags, task=task)
        assert (error.where, error.found) == ("xai_targets", "no label for 1 of 16 inputs")
        read(Subject(linear(), X[flags.any(1)], flags[flags.any(1)], task=task))  # as the error advises

    def test_is_refused_in_a_classification(self):
        error = raised(linear(), X, labels(), task="classification")
        assert "labels of one input" in error.found
        read(Subject(linear(), X, labels(), task="multilabel"))  # as the error advises

    @pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int64])
    @pytest.mark.parametrize("streamed", [False, True])
    def test_is_found_wherever_it_stands(self, dtype, streamed):
        """Only one row of several labels, the last: the outputs are those of labels from the first block on."""
        flags = torch.eye(4).to(dtype)[torch.arange(N) % 4]
        flags[-1] = 1
        batches = [[x, t] for x, t in zip(X.split(8), flags.split(8), strict=True)]
        subject = Subject(linear(), batches) if streamed else Subject(linear(), X, flags)
        with subject.lent():
            next(subject.blocks())
        assert subject.link.task == "multilabel"
        assert read(subject)[1][-1] == linear()(X[-1:]).argmax()

    def test_is_refused_in_a_stream_of_a_classification(self):
        flags = torch.eye(4).bool()[torch.arange(N) % 4]
        flags[30] = True
        stream = [[x, t] for x, t in zip(X.split(8), flags.split(8), strict=True)]
        assert "xai_task to 'multilabel'" in raised(linear(), stream, task="classification").fix
        read(Subject(linear(), stream, task="multilabel"))  # as the error advises


class TestListOfInputsAndTargets:
    given = torch.arange(N) % 3

    @pytest.mark.parametrize(
        "make",
        [
            lambda x, t: [x, t],
            lambda x, t: [x.numpy(), t.numpy()],
            lambda x, t: [(x,), t],
            lambda x, t: [x, t[:, None]],
            lambda x, t: [x, t.int()],
            lambda x, t: next(iter(DataLoader(TensorDataset(x, t), batch_size=N))),
            lambda x, t: [x[:, 0], t],
            lambda x, t: [x, torch.eye(3)[t]],
        ],
    )
    def test_is_read_as_such(self, make):
        class Model(nn.Module):
            def forward(self, x):
                return x.reshape(len(x), -1)[:, :1] * torch.tensor([1.0, -1.0, 0.5])

        inputs, targets = read(Subject(Model(), make(X, self.given)))
        assert torch.equal(inputs, X[:, 0] if inputs.ndim == 1 else X)
        assert torch.equal(targets, self.given)

    def test_gives_way_to_targets_given_apart(self):
        assert read(Subject(linear(), [X, self.given], torch.ones(N).long()))[1].eq(1).all()

    def test_may_have_several_inputs(self):
        class Two(nn.Module):
            def forward(self, a, b):
                return torch.stack([a.sum(1), b.sum(1)], 1)

        for batch in ([X, normal(N, 4), self.given % 2], [[X, normal(N, 4)], self.given % 2]):
            assert torch.equal(read(Subject(Two(), batch))[1], self.given % 2)

    @pytest.mark.parametrize(
        "inputs",
        [
            [X, normal(N)],
            [X, normal(N, 2)],
            [X, given[:-1]],
            [X, X[:, :3]],
            [X, np.zeros((N, 1))],
            [[X, given], [X]],
        ],
    )
    def test_is_refused_where_the_last_can_be_no_targets(self, inputs):
        with pytest.raises(XaiError) as caught:
            Subject(linear(), inputs)
        assert caught.value.where == "xai_inputs"
        assert "a list of batches that do not fit one another ((40, 5)" in caught.value.found

    @pytest.mark.parametrize("inputs", [[X, X[:7]], [X.numpy(), X], [[X, given], [X, given]], [(X,), (X,)]])
    def test_is_a_stream_where_they_fit_one_another(self, inputs):
        assert len(read(Subject(linear(), inputs))[0]) == sum(
            len(b[0] if isinstance(b, list | tuple) else b) for b in inputs
        )


class TestLabelsAmongTheInputs:
    @pytest.mark.parametrize(
        "batch", [(X, given := torch.arange(N) % 3), (X, labels()), (X, labels().float()), [(X, given)]]
    )
    def test_are_told_where_to_go(self, batch):
        assert "[inputs, targets]" in raised(linear(), batch).fix

    def test_of_a_regression_are_told_to_stay_away(self):
        for values in (normal(N), normal(N, 4)):
            loader = DataLoader(TensorDataset(X, values), batch_size=8)
            assert "[batch[0] for batch in loader]" in raised(linear(), loader).fix
            read(Subject(linear(), [batch[0] for batch in loader]))


class TestReadAgain:
    class Changing:
        """A stream that gives another number of batches at each reading."""

        def __init__(self, *counts):
            self.counts = iter(counts)

        def __iter__(self):
            return iter(X.repeat(4, 1).split(8)[: next(self.counts)])

    @pytest.mark.parametrize(
        ("counts", "found"),
        [
            ((10, 9), "gave 80 inputs, and ended after 72"),
            ((10, 3), "gave 80 inputs, and ended after 24"),
            ((10, 0), "gave 80 inputs, and ended after 0"),
            ((9, 20), "gave 72 inputs, and 80 or more"),
        ],
    )
    @pytest.mark.parametrize("apart", [False, True])
    def test_a_stream_of_another_length_is_named(self, counts, found, apart, monkeypatch):
        """It is read again where it is longer than what is held."""
        monkeypatch.setattr(window, "HELD_INPUTS", 64)
        targets = torch.zeros(8 * counts[0]).long() if apart else None
        error = raised(linear(), self.Changing(*counts), targets)
        assert (error.where, found in error.found) == ("xai_inputs", True)

    def test_a_stream_that_is_held_is_read_once(self):
        subject = Subject(linear(), self.Changing(10, 3))
        assert torch.equal(read(subject)[0], read(subject)[0])

    def test_a_stream_that_was_left_before_its_end_may_go_on(self):
        subject = Subject(linear(), self.Changing(10, 10))
        with subject.lent():
            next(subject.blocks())
        assert len(read(subject)[0]) == 80


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_several_labels_of_one_input_are_refused_in_the_words_of_the_task(task):
    with pytest.raises(XaiError, match=f"2 labels of one input, in a {task}, where one output of each is explained"):
        explained(torch.tensor([[1, 1, 0]]).bool(), torch.randn(1, 3), (3,), task=task)
