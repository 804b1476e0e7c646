"""The formulas behind Binder et al. 2022, by simulation and through this package's own measures."""

from __future__ import annotations

from math import atan, pi, sqrt

import pytest
import torch
from laboratory import evidence_of, lab_of
from torch import nn

from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.metrics.scale_preservation import ScalePreservation, order_probability
from pytest_xaisanity.maps.similarity import mse, pearson, rms_ssim
from pytest_xaisanity.model.reinit.distributions import Distribution
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)

DRAWS = 40_000


def normal(*shape, of):
    return torch.randn(*shape, generator=generator("binder", of), dtype=torch.float64)


def share(events):
    """Return a share of independent events and its standard error."""
    p = events.double().mean().item()
    return p, sqrt(p * (1 - p) / events.numel())


@pytest.mark.parametrize("r", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("s", [0.5, 1.0, 2.0])
def test_noise_of_variance_s2_dilutes_a_correlation_r_to_r_over_1_plus_s2(r, s):
    a, b, noise_a, noise_b = normal(4, 200, 28, 28, of=f"dilution {r} {s}")
    b = r * a + sqrt(1 - r**2) * b
    seen = pearson(a + s * noise_a, b + s * noise_b)
    assert abs(seen.mean() - r / (1 + s**2)) <= 3 * seen.std() / sqrt(len(seen))


def test_the_squared_error_of_noise_scaled_to_one_rms_is_2():
    a, b = normal(2, 200, 28, 28, of="mse")
    assert mse(a, b).mean().item() == pytest.approx(2.0, abs=0.02)


def test_the_squared_error_is_largest_at_zero_covariance_among_maps_that_are_not_opposed():
    a, b = normal(2, 100, 28, 28, of="covariance")
    errors = [mse(a, c * a + sqrt(1 - c**2) * b).mean().item() for c in (0.0, 0.25, 0.5, 0.75)]
    assert errors == sorted(errors, reverse=True)
    assert errors == pytest.approx([2 - 2 * c for c in (0.0, 0.25, 0.5, 0.75)], abs=0.02)


def test_structural_similarity_is_least_at_zero_covariance_among_maps_that_are_not_opposed():
    a, b = normal(2, 100, 32, 32, of="ssim")
    seen = [rms_ssim(a, c * a + sqrt(1 - c**2) * b).mean().item() for c in (0.0, 0.25, 0.5, 0.75)]
    assert seen == sorted(seen)
    assert abs(seen[0]) < 0.02


@pytest.mark.parametrize("k", [0.5, 1.0, 5.0])
def test_one_channel_against_the_rest_of_a_unit(k):
    """It outweighs them with probability (2/pi) arctan K and sets the sign with 1/2 + arctan(K)/pi; K = x/|rest|."""
    x = torch.rand(24, generator=generator("binder", "rest"), dtype=torch.float64)
    x = torch.cat([k * x.norm()[None], x])
    contributions = normal(DRAWS, 25, of=f"unit {k}") * x
    first, rest = contributions[:, 0], contributions[:, 1:].sum(1)
    outweighs, error = share(first.abs() > rest.abs())
    assert abs(outweighs - 2 / pi * atan(k)) <= 3 * error
    agrees, error = share(first.sign() == (first + rest).sign())
    assert abs(agrees - (0.5 + atan(k) / pi)) <= 3 * error


@pytest.mark.parametrize("units", [1, 16, 64])
@pytest.mark.parametrize("ratio", [1.1, 1.5])
def test_the_larger_of_two_activations_contributes_more_to_m_units_as_f_predicts(ratio, units):
    norms = normal(2, DRAWS // 4, units, of=f"distribution {ratio} {units}").norm(dim=2)
    kept, error = share(ratio * norms[0] > norms[1])
    assert abs(kept - order_probability(ratio, units)) <= 3 * error


class Known(nn.Module):
    """Two channels of known activations at M places, under one dense layer."""

    def __init__(self, ratio, places):
        super().__init__()
        self.register_buffer("activations", torch.tensor([[ratio], [1.0]]).expand(2, places).clone())
        self.channels, self.top = nn.Identity(), nn.Linear(2 * places, 2, bias=False)

    def forward(self, x):
        return self.top(self.channels(x[:, :, None] * self.activations).flatten(1))


class Normal(Distribution):
    def new_values(self, values, rng):
        return torch.randn(values.shape, dtype=values.dtype, generator=rng)


def reports(ratio, places, reduction, seeds):
    """Return the order report of the metric on one input."""
    subject = Subject(Known(ratio, places).eval(), torch.ones(1, 2), torch.zeros(1, dtype=torch.long), device="cpu")
    metric = ScalePreservation(layer="channels", axis=1, seeds=seeds, reduction=reduction, reinit=Normal())
    with subject.lent():
        block = next(subject.blocks())
        measuring = metric.measurement().start(lab_of(subject), block)
        measuring.measure(block)
    return evidence_of(measuring)["order"]


@pytest.mark.parametrize("units", [16, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ratio", [1.1, 1.5])
def test_the_metric_predicts_and_observes_the_f_distribution(ratio, units):
    """The norm over M places of equal activation, each with a weight of its own, is the case of M units."""
    order = reports(ratio, units, "norm", seeds=400)
    expected = float(order_probability(ratio, units))
    assert order["predicted"] == pytest.approx(expected, abs=1e-5)
    assert abs(order["observed"] - expected) <= 3 * sqrt(expected * (1 - expected) / 400)


def test_the_net_contribution_of_a_channel_is_a_single_unit():
    """Summed with its sign, a channel's contribution is one normal variable, however many places it has."""
    order = reports(2.0, 16, "sum", seeds=400)
    expected = 2 / pi * atan(2.0)
    assert order["predicted"] == pytest.approx(expected, abs=1e-5)
    assert abs(order["observed"] - expected) <= 3 * sqrt(expected * (1 - expected) / 400)
