"""Digests of functions: equal in every process, and other when anything they refer to is."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xaisanity.common.digest import digest_of

MODULE = """
    import math
    import torch
    from torch.nn import functional as F
    from helpers import Net, rate

    STEPS = 10
    NAMES = {"a", "b", "c", "d"}

    def loss(x):
        return F.relu(x).sum() * rate()

    def make():
        start = torch.arange(3)
        def train(inputs, targets, seed, *, scale=2.0):
            model = Net()
            return [loss(start) * math.pi for _ in range(STEPS) if NAMES], model, seed
        return train

    train = make()
"""
HELPERS = """
    import torch

    def rate():
        return 0.1

    def width():
        return 4

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(width(), 2)
"""
PRINT = (
    "from training_of_mine import train; from pytest_xaisanity.common.digest import digest_of; print(digest_of(train))"
)


def digest(pytester, monkeypatch, *changes: tuple[str, str]) -> str:
    """Return the digest of ``train`` with words of its modules replaced."""
    module, helpers = MODULE, HELPERS
    for old, new in changes:
        assert old in module + helpers
        module, helpers = module.replace(old, new), helpers.replace(old, new)
    pytester.makepyfile(training_of_mine=module, helpers=helpers)
    monkeypatch.syspath_prepend(pytester.path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("training_of_mine", "helpers"):
        sys.modules.pop(name, None)
    return digest_of(importlib.import_module("training_of_mine").train)


def elsewhere(pytester, salt: str) -> str:
    """Return the digest of ``train`` in a process of its own."""
    path = os.pathsep.join([str(pytester.path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": salt, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.slow
def test_the_digest_is_the_same_in_every_process_and_follows_what_a_function_refers_to(pytester, monkeypatch):
    first = digest(pytester, monkeypatch)
    assert {elsewhere(pytester, salt) for salt in "12"} == {first}
    changes = {
        "its own source": ("math.pi", "math.e"),
        "a default": ("scale=2.0", "scale=3.0"),
        "a global": ("STEPS = 10", "STEPS = 11"),
        "a helper of a helper": ("return 0.1", "return 0.2"),
        "what a class calls": ("return 4", "return 5"),
        "the closure": ("torch.arange(3)", "torch.arange(4)"),
        "a class": ("torch.nn.Linear(width(), 2)", "torch.nn.Linear(width(), 3)"),
    }
    others = {what: digest(pytester, monkeypatch, change) for what, change in changes.items()}
    assert first not in others.values()
    assert len(set(others.values())) == len(others)


class Plain:
    def __init__(self, value):
        self.value = value


def same(x):
    return x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(4), torch.zeros(2, 2)),
        (torch.zeros(4), torch.zeros(4, dtype=torch.float64)),
        (torch.tensor([1.0]), torch.tensor([2.0], dtype=torch.float32)),
        (np.zeros(3), np.ones(3)),
        (["ab"], ["a", "b"]),
        ([[1], 2], [[1, 2]]),
        ({"a": 1}, {"a": 2}),
        (functools.partial(same, 1), functools.partial(same, 2)),
        (Plain(1), Plain(2)),
        (Plain(1).__init__, Plain(2).__init__),
        (nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (lambda x: x, lambda x: -x),
        (torch.float32, torch.float64),
        (1, True),
    ],
)
def test_other_content_has_another_digest(one, other):
    assert digest_of(one) != digest_of(other)


def test_equal_content_has_an_equal_digest():
    assert digest_of(torch.arange(6).reshape(2, 3).T) == digest_of(torch.tensor([[0, 3], [1, 4], [2, 5]]))
    assert digest_of(Plain(object())) == digest_of(Plain(object()))
    assert digest_of({1, 2, 3}) == digest_of({3, 2, 1})
    assert digest_of(torch.eye(3).to_sparse()) == digest_of(torch.eye(3))
    assert digest_of(torch.view_as_complex(torch.ones(2, 2)).conj()) == digest_of(torch.full((2,), 1 - 1j))


def test_circles_end():
    circle: list = []
    circle.append(circle)
    ring = Plain(None)
    ring.value = ring
    assert len(digest_of(circle, ring)) == 32


def odd(values):
    """Return tensors of every kind with these values."""
    quantized = torch.quantize_per_tensor(values, 0.5, 0, torch.qint8)
    channels = torch.quantize_per_channel(values, torch.tensor([0.5, 0.25]), torch.zeros(2).long(), 0, torch.qint8)
    yield from (values.to_sparse(), values.to_sparse_csr(), values.to_mkldnn(), quantized, channels)
    yield from (torch.complex(values, values).conj(), torch.complex(values, values).conj().imag)
    yield from (torch.nested.nested_tensor([values, values[:1]]), values.to(torch.float8_e4m3fn), values.bfloat16())


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_every_kind_have_a_digest_that_follows_their_values():
    one, same, other = (odd(torch.tensor([[1.0, 0.0], [2.0, change]])) for change in (3.0, 3.0, 4.0))
    for a, b, c in zip(one, same, other, strict=True):
        assert digest_of(a) == digest_of(b), a
        assert digest_of(a) != digest_of(c), a


def test_tensors_without_numbers_have_a_digest_of_their_type_and_shape():
    assert digest_of(torch.empty(2, device="meta")) == digest_of(torch.empty(2, device="meta"))
    assert digest_of(torch.empty(2, device="meta")) != digest_of(torch.empty(3, device="meta"))
    assert len(digest_of(nn.LazyLinear(2).weight)) == 32
    assert digest_of(torch.empty(0)) != digest_of(torch.empty(0, 3))


def test_a_sparse_tensor_too_large_to_be_dense_has_a_digest_that_follows_its_values():
    place = torch.tensor([[10**6], [10**6]])
    one, same, other = (torch.sparse_coo_tensor(place, [value], (10**7, 10**7)) for value in (1.0, 1.0, 2.0))
    assert digest_of(one) == digest_of(same)
    assert digest_of(one) != digest_of(other)
