"""Imputers and the edge map against other implementations and their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, sobel

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.baselines.edges import Edges
from pytest_xaisanity.evidence.baselines.random import Random
from pytest_xaisanity.maps.edges import edge_maps
from pytest_xaisanity.maps.imputation import Blur, Constant, Mean, Noise
from pytest_xaisanity.maps.noise import noise_maps
from pytest_xaisanity.subject.block import Block
from pytest_xaisanity.subject.layout import Layout

torch.set_num_threads(1)

SHAPES = [(4, 7), (4, 2, 7), (4, 3, 8, 6), (4, 2, 3, 4, 5)]
EVERY = [(imputer, shape) for imputer in (Constant(0.3), Mean(), Noise()) for shape in [(4,), *SHAPES]]
every_imputer = pytest.mark.parametrize(("imputer", "shape"), [*EVERY, (Blur(), (4, 3, 8, 6))], ids=str)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def impute(imputer, inputs, seed=0, indices=None):
    return imputer(inputs, seed=seed, indices=range(len(inputs)) if indices is None else indices)


class TestEvery:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    @every_imputer
    def test_imputer_keeps_shape_and_type_and_leaves_its_inputs_alone(self, imputer, shape, dtype):
        inputs = normal(*shape, dtype=dtype)
        before = inputs.clone()
        reference = impute(imputer, inputs)
        assert (reference.shape, reference.dtype) == (inputs.shape, dtype)
        assert torch.isfinite(reference).all()
        assert torch.equal(inputs, before)

    @every_imputer
    def test_imputer_gives_an_input_the_same_in_any_batch(self, imputer, shape):
        inputs = normal(*shape)
        together = impute(imputer, inputs, indices=[5, 6, 7, 8])
        for place in range(4):
            alone = impute(imputer, inputs[place : place + 1], indices=[5 + place])
            assert torch.allclose(alone[0], together[place], atol=1e-6)

    @pytest.mark.parametrize("imputer", [Constant(), Mean(), Noise(), Blur(), Blur(2.0)], ids=repr)
    def test_imputer_equals_another_with_the_same_settings(self, imputer):
        assert imputer == type(imputer)(**vars(imputer))
        assert hash(imputer) == hash(type(imputer)(**vars(imputer)))


class TestMean:
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_is_that_of_each_channel_of_the_original(self, shape):
        inputs = normal(*shape, dtype=torch.float64)
        for one, image in zip(impute(Mean(), inputs), inputs, strict=True):
            for channel, original in zip(one, image, strict=True) if len(shape) > 2 else [(one, image)]:
                assert np.allclose(channel, np.mean(original.numpy()), atol=1e-12)

    def test_of_a_single_number_is_the_number(self):
        """Not the mean of the batch, which would make a score depend on the neighbors."""
        assert torch.equal(impute(Mean(), torch.arange(4.0)), torch.arange(4.0))


class TestNoise:
    def test_has_the_mean_and_deviation_of_each_channel(self):
        inputs = 5 + 2 * normal(2, 3, 60, 60)
        noise = impute(Noise(), inputs)
        assert torch.allclose(noise.mean((2, 3)), inputs.mean((2, 3)), atol=0.15)
        assert torch.allclose(noise.std((2, 3)), inputs.std((2, 3)), atol=0.15)

    def test_depends_on_the_seed_and_the_input(self):
        inputs = normal(1, 3, 8, 6).expand(2, 3, 8, 6)
        noise = impute(Noise(), inputs)
        assert not torch.equal(noise[0], noise[1])
        assert not torch.equal(noise, impute(Noise(), inputs, seed=1))

    def test_and_random_maps_do_not_depend_on_the_default_type(self):
        inputs = normal(2, 3, 8, 6)

        def drawn():
            return impute(Noise(), inputs), noise_maps(inputs, seed=0, indices=[0, 1], draw="a")

        expected = drawn()
        torch.set_default_dtype(torch.float64)
        try:
            assert all(torch.equal(a, b) for a, b in zip(drawn(), expected, strict=True))
        finally:
            torch.set_default_dtype(torch.float32)


class TestBlur:
    @pytest.mark.parametrize("size", [(8, 6), (28, 28), (5, 17), (2, 3), (1, 4)])
    @pytest.mark.parametrize("sigma", [None, 0.4, 1.0, 3.7])
    def test_is_that_of_scipy(self, size, sigma):
        images = normal(2, 3, *size, dtype=torch.float64)
        used = min(size) / 8 if sigma is None else sigma
        expected = gaussian_filter(images.numpy(), (0, 0, used, used), mode="mirror", truncate=4.0)
        assert np.allclose(impute(Blur(sigma), images), expected, atol=1e-12)
        assert np.allclose(impute(Blur(sigma), images.float()), expected, atol=1e-5)

    @pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf")])
    def test_refuses_what_is_no_width(self, sigma):
        with pytest.raises(XaiError, match="imputer 'blur' sigma"):
            Blur(sigma)

    def test_refuses_what_are_no_images(self):
        with pytest.raises(XaiError, match=r"inputs of shape \(4, 7\).*use the imputer 'mean'"):
            impute(Blur(), normal(4, 7))


class TestEdges:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_are_those_of_scipy_summed_over_channels(self, dtype):
        images = normal(3, 2, 9, 7, dtype=dtype)
        expected = [sum(np.hypot(sobel(c, 0), sobel(c, 1)) for c in image) for image in images.double().numpy()]
        assert np.allclose(edge_maps(images), expected, rtol=1e-5 if dtype == torch.float32 else 1e-12)

    def test_need_images(self):
        rows = (normal(2, 7),)
        block = Block(0, (0, 1), rows, None, Layout.of(rows))
        with pytest.raises(XaiError, match="one tensor of images"):
            Edges().maps(block, normal(2, 7), seed=0)


class TestRandom:
    def test_maps_are_drawn_by_seed_draw_and_input(self):
        images = (normal(2, 1, 4, 4),)
        block = Block(0, (3, 1), images, None, Layout.of(images))
        like = torch.empty(2, 4, 4)
        first, second = Random(draws=2).maps(block, like, seed=0)
        assert not torch.equal(first, second)
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first, Random(draws=2).maps(block, like, seed=1)[0])
        swapped = Random(draws=1).maps(replace(block, indices=(1, 3)), like, seed=0)[0]
        assert torch.equal(swapped, first.flip(0))

    @pytest.mark.parametrize("draws", [0, -1, 1.5, True, "5"])
    def test_needs_at_least_one_draw(self, draws):
        with pytest.raises(XaiError, match="a whole number from 1 to 1,000"):
            Random(draws=draws)
