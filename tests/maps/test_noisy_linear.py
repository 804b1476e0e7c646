"""Noisy linear imputation against a sparse direct solve in float64, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import lil_array
from scipy.sparse.linalg import spsolve

from pytest_xaisanity import XaiError
from pytest_xaisanity.maps import banded, same_holes
from pytest_xaisanity.maps.harmonic import _degrees, harmonic_fill
from pytest_xaisanity.maps.imputation import IMPUTERS
from pytest_xaisanity.maps.noisy_linear import NoisyLinear
from pytest_xaisanity.maps.uniform import Uniform

torch.set_num_threads(1)
NEIGHBORS = {(a, b): (1 / 6 if 0 in (a, b) else 1 / 12) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)}


def slow_fill(image, unknown):
    """Return an image ``(C, H, W)`` whose unknown pixels ``(H, W)`` solve the system, written row by row."""
    image, height, width = image.double().numpy().copy(), *unknown.shape
    numbers = {tuple(place): number for number, place in enumerate(np.argwhere(unknown.numpy()).tolist())}
    matrix, right = lil_array((len(numbers), len(numbers))), np.zeros((len(numbers), len(image)))
    for (row, column), number in numbers.items():
        beside = {(row + a, column + b): weight for (a, b), weight in NEIGHBORS.items()}
        beside = {place: weight for place, weight in beside.items() if 0 <= place[0] < height and 0 <= place[1] < width}
        matrix[number, number] = sum(beside.values())
        for place, weight in beside.items():
            if place in numbers:
                matrix[number, numbers[place]] = -weight
            else:
                right[number] += weight * image[:, place[0], place[1]]
    solved = spsolve(matrix.tocsc(), right).reshape(len(numbers), -1)
    for place, number in numbers.items():
        image[:, place[0], place[1]] = solved[number]
    return torch.from_numpy(image)


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scattered(count, height, width, share, seed=0):
    return drawn(count, height, width, seed=seed + 1) < share


def smooth(count, height, width, share, seed=0):
    """Return holes that hang together."""
    coarse = drawn(count, 1, max(2, height // 6), max(2, width // 6), seed=seed + 2)
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[:, 0].flatten(1)
    return (fine.argsort(1).argsort(1) < round(share * height * width)).reshape(count, height, width)


def interpolated(images, unknown, noise=0.0):
    removed = unknown[:, None].expand_as(images)
    imputer = NoisyLinear(noise=noise)
    indices = range(len(images))
    return imputer.given(images, removed, imputer.drawn(images, seed=0, indices=indices))


class TestAgainstTheSparseSolve:
    @pytest.mark.parametrize("masks", [scattered, smooth])
    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
    @pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 17, 24), (2, 9, 9)])
    def test_is_exact(self, masks, share, channels, height, width):
        images, unknown = drawn(3, channels, height, width), masks(3, height, width, share)
        expected = torch.stack([slow_fill(*pair) for pair in zip(images, unknown, strict=True)])
        assert torch.allclose(interpolated(images, unknown), expected, atol=1e-9)
        assert torch.allclose(interpolated(images.float(), unknown).double(), expected, atol=3e-5)

    @pytest.mark.parametrize(("height", "width"), [(1, 7), (7, 1), (2, 2), (2, 5), (1, 2), (3, 3)])
    def test_is_exact_in_the_smallest_images(self, height, width):
        images, unknown = drawn(6, 2, height, width), scattered(6, height, width, 0.6)
        unknown[:, -1, -1], unknown[:, 0, 0] = False, True
        expected = torch.stack([slow_fill(*pair) for pair in zip(images, unknown, strict=True)])
        assert torch.allclose(interpolated(images, unknown), expected, atol=1e-9)

    def test_is_exact_where_a_single_pixel_is_known(self):
        """Everything then is that pixel."""
        images, unknown = drawn(2, 3, 12, 12), torch.ones(2, 12, 12, dtype=torch.bool)
        unknown[0, 0, 0] = unknown[1, 5, 6] = False
        found = interpolated(images, unknown)
        assert torch.allclose(found[0], images[0, :, :1, :1].expand(3, 12, 12), atol=1e-9)
        assert torch.allclose(
            interpolated(images.float(), unknown)[1].double(), images[1, :, 5:6, 6:7].expand(3, 12, 12), atol=1e-4
        )

    def test_is_that_of_each_image_alone(self):
        images, unknown = drawn(40, 3, 28, 28).float(), smooth(40, 28, 28, 0.4)
        together = interpolated(images, unknown)
        for place in (0, 17, 39):
            alone = interpolated(images[place : place + 1], unknown[place : place + 1])
            assert torch.allclose(alone[0], together[place], atol=2e-5)


class TestBothSolvers:
    """On a CPU each image is solved directly, or in steps where that is thought to be quicker: to the same values."""

    @pytest.fixture(params=[True, False], ids=["directly", "in steps"])
    def directly(self, request, monkeypatch):
        monkeypatch.setattr(banded, "quick", lambda unknown, _: unknown.flatten(1).any(1) & request.param)
        return request.param

    @pytest.mark.parametrize("masks", [scattered, smooth])
    @pytest.mark.parametrize(("height", "width"), [(7, 12), (12, 7)])
    def test_are_exact(self, directly, masks, height, width):
        for share in (0.1, 0.5, 0.9):
            images, unknown = drawn(3, 2, height, width), masks(3, height, width, share)
            unknown[:, 3, 3] = True
            expected = torch.stack([slow_fill(*pair) for pair in zip(images, unknown, strict=True)])
            assert torch.allclose(interpolated(images, unknown), expected, atol=1e-9)
            error = interpolated(images.float(), unknown).double() - expected
            assert float(error.abs().max()) < (1e-6 if directly else 1e-5)

    def test_are_exact_far_from_zero_and_whatever_stood_at_removed_pixels(self, directly):
        images, unknown = drawn(2, 2, 12, 12), smooth(2, 12, 12, 0.4)
        expected = torch.stack([slow_fill(*pair) for pair in zip(images, unknown, strict=True)])
        far = (images + 1024.0).float()
        far[unknown[:, None].expand_as(far)] = -1e30
        assert torch.allclose(
            interpolated(far, unknown).double() - 1024, expected, atol=3e-4
        )  # 2 units in the last place

    @pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e36])
    def test_are_exact_for_values_of_any_size(self, directly, size):
        images, unknown = drawn(2, 2, 12, 12), scattered(2, 12, 12, 0.5)
        expected = torch.stack([slow_fill(*pair) for pair in zip(images, unknown, strict=True)])
        assert torch.allclose(interpolated((images * size).float(), unknown).double() / size, expected, atol=1e-5)

    def test_images_without_removed_pixels_and_without_others_stand_among_them(self, directly):
        images, unknown = drawn(5, 2, 9, 9).float(), scattered(5, 9, 9, 0.4)
        unknown[1], unknown[3] = False, True
        filled = harmonic_fill(images, unknown)
        alone = [harmonic_fill(images[i : i + 1], unknown[i : i + 1]) for i in range(5)]
        assert torch.allclose(filled, torch.cat(alone), atol=1e-5)
        assert torch.equal(filled[1], images[1])
        assert torch.equal(filled[3], images[3])
        assert not torch.equal(filled[0], images[0])


class TestImagesThatLackTheSamePixels:
    """They are solved together: the same values as one by one."""

    @pytest.mark.parametrize("masks", [scattered, smooth])
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
    @pytest.mark.parametrize(("channels", "height", "width"), [(3, 17, 24), (1, 30, 9), (24, 4, 5), (2, 1, 40)])
    def test_are_exact(self, masks, share, channels, height, width):
        images, unknown = drawn(24, channels, height, width) + 7, masks(1, height, width, share)
        unknown[:, 0, :2] = torch.tensor([True, False])
        expected = torch.stack([slow_fill(image, unknown[0]) for image in images])
        removed = unknown.expand(24, height, width)
        assert torch.allclose(interpolated(images, removed), expected, atol=1e-11)
        assert torch.allclose(interpolated(images.float(), removed).double(), expected, atol=1e-5)

    def test_may_stand_among_others_whatever_stood_at_removed_pixels(self, monkeypatch):
        images, unknown = drawn(61, 3, 12, 12).float(), scattered(61, 12, 12, 0.4)
        unknown[::3], unknown[1::6] = unknown[0].clone(), unknown[1].clone()
        unknown[2] = False
        found = interpolated(images.masked_fill(unknown[:, None], -1e30), unknown)
        monkeypatch.setattr(same_holes, "_CHANNELS", 1000)
        assert torch.allclose(found, interpolated(images, unknown), atol=1e-5)
        assert torch.equal(found[2], images[2])

    def test_are_factorized_once(self, monkeypatch):
        made, images = [], drawn(32, 3, 12, 12).float()
        monkeypatch.setattr(
            same_holes, "_factorized", lambda *blocks, do=same_holes._factorized: made.append(1) or do(*blocks)
        )
        interpolated(images, smooth(1, 12, 12, 0.4).expand(32, 12, 12))
        assert made == [1]

    def test_are_left_to_others_where_blocks_take_too_much_memory(self, monkeypatch):
        images, unknown = drawn(32, 3, 12, 12).float(), smooth(1, 12, 12, 0.4).expand(32, 12, 12)
        found = interpolated(images, unknown)
        monkeypatch.setattr(same_holes, "_BLOCKS", 100)
        assert torch.allclose(found, interpolated(images, unknown), atol=1e-5)
        monkeypatch.undo()
        monkeypatch.setattr(same_holes, "_VALUES", 300)
        assert torch.allclose(found, interpolated(images, unknown), atol=1e-6)


def test_bands_that_threads_would_share_are_left_to_steps():
    """A hole of 70 pixels in a row has a wider band than OpenBLAS factorizes on one thread."""
    images, unknown = drawn(2, 1, 3, 80), torch.zeros(2, 3, 80, dtype=torch.bool)
    unknown[0, :, 2:72], unknown[1, :, :9] = True, True
    filled = images.float().contiguous()
    degrees = _degrees(filled)
    assert banded._Systems(filled.clone(), unknown, degrees).solve().tolist() == [False, True]
    expected = torch.stack([slow_fill(*pair) for pair in zip(images, unknown, strict=True)])
    assert torch.allclose(harmonic_fill(images.float(), unknown).double(), expected, atol=1e-5)


def test_wide_bands_are_left_to_steps_and_narrow_ones_are_not():
    def chosen(unknown):
        return banded.quick(unknown, 1).tolist()

    assert chosen(scattered(2, 64, 64, 0.1)) == [True, True]
    assert chosen(scattered(2, 64, 64, 0.5)) == [False, False]
    assert chosen(smooth(2, 28, 28, 0.3)) == [True, True]


class TestClosedForms:
    def test_a_constant_image_stays_constant(self):
        images, unknown = torch.full((4, 3, 16, 16), 0.7, dtype=torch.float64), scattered(4, 16, 16, 0.8)
        assert torch.allclose(interpolated(images, unknown), images, rtol=0, atol=1e-15)

    def test_a_ramp_is_reproduced_where_the_hole_does_not_touch_the_border(self):
        rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(16.0), indexing="ij")
        images = (0.3 * rows.double() - 0.1 * columns.double())[None, None]
        unknown = torch.zeros(1, 20, 16, dtype=torch.bool)
        unknown[:, 3:14, 2:12] = True
        assert torch.allclose(interpolated(images, unknown), images, atol=1e-10)
        unknown[:, :4, 2:12] = True
        assert not torch.allclose(interpolated(images, unknown), images, atol=1e-2)

    def test_no_removed_pixel_changes_nothing(self):
        images, nothing = drawn(2, 3, 8, 8).float(), torch.zeros(2, 8, 8, dtype=torch.bool)
        assert torch.equal(harmonic_fill(images, nothing), images)

    def test_all_pixels_removed_leave_the_mean(self):
        images, unknown = drawn(3, 2, 8, 8), scattered(3, 8, 8, 0.5)
        unknown[1] = True
        found = interpolated(images, unknown)
        assert torch.allclose(found[1], images[1].mean((1, 2), keepdim=True).expand(2, 8, 8))
        assert torch.allclose(found[0], slow_fill(images[0], unknown[0]), atol=1e-9)
        whole = NoisyLinear(noise=0)(images, seed=0, indices=range(3))
        assert torch.allclose(found[1], whole[1])

    def test_known_pixels_keep_every_bit(self):
        images, unknown = drawn(4, 3, 15, 10).float(), scattered(4, 15, 10, 0.5)
        filled = harmonic_fill(images, unknown)
        known = ~unknown[:, None].expand_as(images)
        assert torch.equal(filled[known], images[known])


class TestNoise:
    images, unknown = drawn(4, 3, 28, 28).float(), scattered(4, 28, 28, 0.5)

    def test_is_normal_and_small(self):
        difference = interpolated(self.images, self.unknown, 0.01) - interpolated(self.images, self.unknown)
        assert float(difference.std()) == pytest.approx(0.01, rel=0.05)
        assert float(difference.mean()) == pytest.approx(0, abs=5e-4)

    def test_is_drawn_by_seed_and_input_alone(self):
        imputer = NoisyLinear()
        noise = imputer.drawn(self.images, seed=0, indices=[5, 6, 7, 8])
        assert torch.equal(noise[2:3], imputer.drawn(self.images[2:3], seed=0, indices=[7]))
        assert not torch.equal(noise, imputer.drawn(self.images, seed=1, indices=[5, 6, 7, 8]))
        assert not torch.equal(noise[0], noise[1])

    def test_leaves_global_generators_and_inputs_alone(self):
        before, state = self.images.clone(), torch.get_rng_state()
        interpolated(self.images, self.unknown, 0.01)
        assert torch.equal(self.images, before)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_works_in_other_precisions(self, dtype):
        found = interpolated(self.images.to(dtype), self.unknown)
        assert found.dtype == dtype
        assert torch.allclose(found.float(), interpolated(self.images, self.unknown), atol=0.02)


class TestUniform:
    def test_lies_between_the_ends_of_each_channel(self):
        images = 3 * drawn(2, 3, 40, 40) - 1
        noise = Uniform()(images, seed=0, indices=[0, 1])
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        shares = (noise - low) / (high - low)
        assert shares.min() >= 0
        assert shares.max() <= 1
        assert torch.allclose(shares.mean((2, 3)), torch.tensor(0.5).double(), atol=0.03)
        assert torch.equal(noise[1:], Uniform()(images[1:], seed=0, indices=[1]))

    @pytest.mark.parametrize("shape", [(4,), (4, 7), (4, 2, 7), (4, 2, 3, 4, 5)])
    def test_takes_inputs_of_any_rank(self, shape):
        noise = Uniform()(drawn(*shape), seed=0, indices=range(4))
        assert noise.shape == shape


class TestMistakes:
    @pytest.mark.parametrize("noise", [-0.1, float("nan"), "small", True, None])
    def test_in_settings_are_named(self, noise):
        with pytest.raises(XaiError, match="imputer 'noisy_linear' noise"):
            NoisyLinear(noise=noise)

    @pytest.mark.parametrize("shape", [(4, 9), (4, 2, 9), (4, 1, 3, 3, 3), (4, 3, 1, 1)])
    def test_inputs_without_neighbors_are_refused(self, shape):
        for call in (
            lambda x: NoisyLinear()(x, seed=0, indices=range(4)),
            lambda x: NoisyLinear().given(x, x > 0, x),
        ):
            with pytest.raises(
                XaiError, match=r"imputer 'noisy_linear': found inputs of shape .* of two pixels or more"
            ):
                call(torch.zeros(shape))

    def test_equal_settings_are_equal(self):
        assert IMPUTERS.build("noisy_linear", {}, where="test") == NoisyLinear(0.01)
        assert hash(NoisyLinear()) == hash(NoisyLinear(noise=0.01))
