"""Streams: in which order their inputs are visited, what is held of them, and what is read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.subject import inputs as inputs_module
from pytest_xaisanity.subject import window
from pytest_xaisanity.subject.inputs import Memory, Stream, block_sizes

N = 200
X = torch.arange(2.0 * N).reshape(N, 2)


class Counted:
    """Batches of which it is known how many were read."""

    def __init__(self, size=7, rows=X):
        self.batches, self.read = rows.split(size), 0

    def __iter__(self):
        for batch in self.batches:
            self.read += 1
            yield batch


@pytest.fixture
def held_64(monkeypatch):
    monkeypatch.setattr(window, "HELD_INPUTS", 64)


def blocks_of(source, *, early=True):
    return list(source.blocks(block_sizes(early)))


def indices_of(blocks):
    return [index for indices, _, _ in blocks for index in indices]


@pytest.mark.parametrize("early", [False, True])
def test_every_input_is_visited_once_and_is_the_one_of_its_index(held_64, early):
    blocks = blocks_of(Stream(Counted(), None, 0), early=early)
    assert sorted(indices_of(blocks)) == list(range(N))
    assert all(torch.equal(rows, X[list(indices)]) for indices, (rows,), _ in blocks)
    assert [len(indices) for indices, _, _ in blocks] == ([16, 16, 32] if early else [64]) + [64, 64, 8]


@pytest.mark.parametrize("once", [False, True])
def test_the_order_depends_on_the_seed_and_not_on_the_batches(held_64, once):
    def visited(size, seed):
        batches = Counted(size)
        return indices_of(blocks_of(Stream(iter(batches) if once else batches, None, seed)))

    assert visited(1, 0) == visited(7, 0) == visited(200, 0) != visited(7, 1)


def test_what_is_held_is_visited_as_a_tensor_is():
    stream, memory = Stream(Counted(), torch.arange(N), 3), Memory(X, torch.arange(N), 3)
    for (indices, (rows,), targets), (others, (expected,), known) in zip(
        blocks_of(stream), blocks_of(memory), strict=True
    ):
        assert indices == others
        assert torch.equal(rows, expected)
        assert torch.equal(targets, known)


def test_the_first_inputs_are_a_uniform_sample_of_the_whole(held_64):
    """Of each fifth of a stream as many come first as of each other, over many seeds."""
    counts = np.zeros(5)
    for seed in range(150):
        indices, _, _ = next(Stream([X], None, seed).blocks(block_sizes(True)))
        counts += np.bincount(np.array(indices) // 40, minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_stream_sorted_by_class_begins_with_all_of_its_classes():
    labels = torch.arange(10).repeat_interleave(500)
    stream = Stream([[x, t] for x, t in zip(torch.zeros(5000, 1).split(50), labels.split(50), strict=True)], None, 0)
    _, _, targets = next(stream.blocks(iter([64])))
    assert set(targets.tolist()) == set(range(10))


def test_one_window_is_held_and_the_stream_is_read_once_for_each(held_64):
    batches = Counted()
    stream = Stream(batches, None, 0)
    for (indices, _, _), visited in zip(stream.blocks(block_sizes(False)), (64, 128, 192, 200), strict=True):
        assert len(indices) in (64, 8)
        assert batches.read == -(-visited // 64) * len(batches.batches)
    next(stream.blocks(block_sizes(False)))
    assert batches.read == 5 * len(batches.batches)


def test_two_that_go_on_in_turns_share_what_is_held(held_64):
    batches = Counted()
    stream = Stream(batches, None, 0)
    for first, second in zip(*(stream.blocks(block_sizes(True)) for _ in range(2)), strict=True):
        assert first[0] == second[0]
    assert batches.read == 4 * len(batches.batches)


@pytest.mark.parametrize(("row", "room"), [(1, 1024), (2**16, 1024), (2**17, 512), (2**18 - 1000, 256), (2**23, 64)])
def test_wide_rows_are_held_in_whole_blocks_of_at_most_256_mib(row, room):
    held = window.Window(-1.0)
    held.add(0, np.zeros(1), [torch.zeros(1, row)])
    assert held._room == room


def test_of_what_can_be_read_only_once_a_sample_is_held(held_64):
    stream = Stream((batch for batch in X.split(7)), None, 0)
    visited = indices_of(blocks_of(stream))
    assert len(set(visited)) == 64
    assert max(visited) > 150
    assert stream.drawn_from == N
    assert indices_of(blocks_of(stream)) == visited
    assert Stream(iter(X.split(7)), None, 0).drawn_from is None


def test_one_that_fits_is_no_sample():
    stream = Stream(iter(X.split(7)), None, 0)
    assert sorted(indices_of(blocks_of(stream))) == list(range(N))
    assert stream.drawn_from is None


@pytest.mark.parametrize(
    "endless",
    [lambda: iter(lambda: X, None), lambda: (torch.zeros(1000, 2) for _ in itertools.count())],
)
def test_an_endless_one_is_named_and_may_be_cut_as_the_error_says(endless, monkeypatch):
    monkeypatch.setattr(inputs_module, "MOST", 10_000)
    with pytest.raises(XaiError, match="goes on after 10,000 inputs") as caught:
        blocks_of(Stream(endless(), None, 0))
    assert "itertools.islice(batches, 100)" in caught.value.fix
    assert blocks_of(Stream(itertools.islice(endless(), 5), None, 0))


def test_an_endless_one_that_can_be_read_again_is_named():
    class Endless:
        def __iter__(self):
            return itertools.repeat(torch.zeros(1024, 1))

    with pytest.raises(XaiError, match="goes on after 65,536 inputs"):
        blocks_of(Stream(Endless(), None, 0))


def test_an_iterator_that_raised_raises_again():
    def broken():
        yield X[:10]
        raise OSError("no such file")

    stream = Stream(broken(), None, 0)
    for _ in range(2):
        with pytest.raises(XaiError, match=r"OSError .*no such file"):
            blocks_of(stream)


def test_a_batch_that_is_used_again_by_its_source_is_copied():
    buffer = torch.zeros(10, 2)

    class Reused:
        def __iter__(self):
            for batch in X.split(10):
                yield buffer.copy_(batch)

    for indices, (rows,), _ in blocks_of(Stream(Reused(), None, 0)):
        assert torch.equal(rows, X[list(indices)])


@pytest.mark.parametrize("second", [X.double()[:5], X.long()[:5], X[:5, :1]])
def test_batches_must_fit_one_another(second):
    with pytest.raises(XaiError, match="do not fit one another"):
        blocks_of(Stream((batch for batch in (X, second)), None, 0))


@pytest.mark.parametrize("target", [torch.tensor(0), np.int64(0), 0])
def test_single_inputs_with_a_target_are_no_batches(target):
    """As a DataLoader with ``batch_size=None`` gives them."""
    with pytest.raises(XaiError, match=r"xai_inputs: found .*no batch axis.*give the DataLoader a batch_size"):
        blocks_of(Stream(([row, target] for row in X), None, 0))


def test_random_transforms_of_the_global_generators_are_drawn_alike_at_each_reading(held_64):
    class Noisy:
        def __iter__(self):
            for batch in X.split(9):
                yield batch + torch.rand_like(batch)

    first, second = (blocks_of(Stream(Noisy(), None, 0)) for _ in range(2))
    assert all(torch.equal(a[1][0], b[1][0]) for a, b in zip(first, second, strict=True))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    blocks_of(Stream(Noisy(), None, 0))
    assert torch.equal(state, torch.get_rng_state())
