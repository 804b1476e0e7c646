"""Whether two verdicts are one, with all the numbers of their evidence."""

from __future__ import annotations

import itertools

import numpy as np


def numbers_of(verdict):
    """Return all numbers of a verdict and its evidence, in order."""

    def numbers(value):
        if isinstance(value, dict):
            return list(itertools.chain.from_iterable(numbers(one) for one in value.values()))
        if isinstance(value, (list, tuple, np.ndarray)):
            return list(itertools.chain.from_iterable(numbers(one) for one in value))
        return [float(value)] if isinstance(value, (int, float, np.number)) else []

    return numbers([verdict.estimate, verdict.interval, verdict.n, dict(verdict.evidence)])


def assert_alike(first, second):
    """Two verdicts, and all numbers of their evidence, are equal to 1e-6."""
    assert (first.passed, first.failed) == (second.passed, second.failed)
    expected, found = numbers_of(first), numbers_of(second)
    assert len(expected) > 20
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
