"""Euclidean norms against float64, where single precision has no squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_xaisanity.maps.norms import norms
from pytest_xaisanity.maps.reduction import reduced


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30])
def test_norms_are_those_of_double_precision(size):
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * size
    rows[2] = 0
    np.testing.assert_allclose(norms(rows), np.linalg.norm(rows.double().numpy(), axis=1), rtol=1e-4)
    np.testing.assert_allclose(norms(rows, dim=0), np.linalg.norm(rows.double().numpy(), axis=0), rtol=1e-4)


def test_the_norm_of_a_small_embedding_is_no_zero():
    values = 1e-30 * torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    np.testing.assert_allclose(reduced(values, "l2"), [[5e-30, 1e-30]], rtol=1e-5)


def test_what_is_not_finite_has_no_finite_norm():
    rows = torch.tensor([[1.0, torch.nan], [torch.inf, 1.0], [3.0, 4.0]])
    np.testing.assert_array_equal(norms(rows), [np.nan, np.inf, 5.0])
