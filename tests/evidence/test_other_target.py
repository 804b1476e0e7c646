"""Another class: the random logit test, and the similarity of maps whatever their sign."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from laboratory import lab_of
from skimage.metrics import structural_similarity
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.interventions.other_target import OtherTarget
from pytest_xaisanity.maps.similarity import abs_pearson, pearson, sign_flip_ssim
from pytest_xaisanity.subject.subject import Subject

ROWS = torch.randn(64, 20, generator=generator("rows"))
IMAGES = torch.rand(128, 1, 9, 9, generator=generator("images"))


def linear(classes, inputs=20):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)).eval()


def gradient_times_input(model, inputs, targets):
    return inputs * model[1].weight[targets].reshape(inputs.shape)


def blind(model, inputs, targets):
    """One map, of a length and sign that the class decides."""
    scale = torch.tensor([1.0, -2.0, 0.5, -0.1])[targets % 4]
    return (inputs * model[1].weight.sum(0).reshape(inputs.shape[1:])) * scale.view(-1, *[1] * (inputs.ndim - 1))


def maps_of(model, inputs, targets, seeds, explainer, seed=0, batch_size=None):
    """Return the visited indices, and what the explainer was asked to explain for each seed, ``(seeds, b)``."""
    subject = Subject(model, inputs, targets, device="cpu", seed=seed, batch_size=batch_size)
    with subject.lent():
        block = next(subject.blocks(early=False))
        procedure = OtherTarget(seeds=seeds).start(lab_of(subject, explainer, seed), block)
        assert procedure.shape == (seeds, 1)
        return block, torch.stack(list(procedure.maps(block)))


def target_map(model, inputs, targets):
    """A map that holds the class explained, and a ramp so that it is no constant."""
    columns = targets.reshape(len(targets), -1).float()
    return columns[:, :1].expand(-1, inputs.shape[1]) + 100 * torch.arange(inputs.shape[1])


class TestTheDraw:
    def test_is_never_the_class_itself_and_uniform_over_the_others(self):
        block, maps = maps_of(linear(4), ROWS, None, 300, target_map)
        steps = (maps[:, :, 0].long() - block.targets) % 4
        counts = torch.bincount(steps.flatten(), minlength=4).tolist()
        assert counts[0] == 0
        expected = 300 * 64 / 3
        assert sum((count - expected) ** 2 / expected for count in counts[1:]) < 15

    def test_depends_on_the_seed_and_the_input_alone(self):
        _, first = maps_of(linear(7), ROWS, None, 3, target_map)
        _, again = maps_of(linear(7), ROWS, None, 3, target_map, batch_size=5)
        assert torch.equal(first, again)
        _, other = maps_of(linear(7), ROWS, None, 3, target_map, seed=1)
        assert not torch.equal(first.sort(1).values, other.sort(1).values)

    def test_of_several_positions_is_along_the_first_axis_of_the_outputs(self):
        model = nn.Sequential(nn.Conv1d(1, 3, 1), nn.Identity()).eval()
        targets = torch.stack([torch.arange(10) % 3, torch.arange(10)], dim=1)
        seen = []

        def explainer(model, inputs, targets):
            seen.append(targets.clone())
            return inputs * 2

        inputs = torch.randn(10, 1, 20, generator=generator("sequences"))
        block, _ = maps_of(model, inputs, targets, 2, explainer)
        for drawn in seen[-2:]:
            assert (drawn[:, 0] != block.targets[:, 0]).all()
            assert torch.equal(drawn[:, 1], block.targets[:, 1])


class TestTheClaim:
    @pytest.mark.parametrize(("inputs", "size"), [(ROWS, 20), (IMAGES, 81)], ids=["rows", "images"])
    def test_passes_where_the_class_matters_and_fails_where_it_is_a_scalar(self, inputs, size):
        bench = Bench(linear(10, size), inputs, device="cpu")
        assert bench.explainer(gradient_times_input).changes_under("other_target")
        verdict = bench.explainer(blind).changes_under("other_target")
        assert verdict.failed
        assert verdict.estimate == pytest.approx(1, abs=0.01)
        assert verdict.evidence["similarities"] == ["sign_flip_spearman"]
        assert (verdict.evidence["classes"], verdict.evidence["drawn"]) == (10, 8)

    def test_a_named_similarity_decides_alone(self):
        verdict = Bench(linear(10), ROWS, device="cpu").explainer(blind).changes_under("other_target", similarity="mse")
        assert verdict.evidence["similarities"] == ["mse"]

    def test_between_two_classes_a_flip_is_a_change(self):
        """The explanation of one is the negative of that of the other."""
        model = linear(2)
        with torch.no_grad():
            model[1].weight[1] = -model[1].weight[0]
        flipping = Bench(model, ROWS, device="cpu").explainer(gradient_times_input)
        verdict = flipping.changes_under("other_target", early=False)
        assert verdict.passed
        assert verdict.evidence["similarities"] == ["spearman"]
        assert "; the maps turn over; abs_spearman would have failed: 100% is left" in verdict.reason
        assert flipping.changes_under("other_target", similarity="sign_flip_spearman").failed
        assert flipping.changes_under("other_target", similarity="abs_pearson").failed

    def test_a_model_with_a_single_output_has_no_other_class(self):
        explainer = Bench(linear(1), ROWS, device="cpu").explainer(lambda model, inputs, targets: inputs * 2)
        with pytest.raises(XaiError, match="a model with a single output"):
            explainer.changes_under("other_target")

    def test_it_goes_with_no_other_verb(self):
        explainer = Bench(linear(3), ROWS, device="cpu").explainer(gradient_times_input)
        with pytest.raises(XaiError, match="claim changes_under"):
            explainer.invariant_under("other_target")

    @pytest.mark.parametrize("seeds", [0, True, 1.5])
    def test_a_wrong_setting_is_one_error(self, seeds):
        with pytest.raises(XaiError, match="other_target seeds"):
            OtherTarget(seeds=seeds)


# ---------------------------------------------------------------------------------------------------- similarities


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_sign_flip(a, b, window=5):
    """The larger SSIM of scikit-image for either sign, on clipped maps of root mean square 1, in float64."""

    def prepared(image):
        ordered = np.sort(image.ravel())
        beyond = (image.size - 1) // 100
        clipped = np.clip(image, ordered[beyond], ordered[image.size - 1 - beyond])
        return clipped / math.sqrt((clipped**2).mean())

    def score(x, y):
        span = max(x.max(), y.max()) - min(x.min(), y.min())
        return structural_similarity(x, y, win_size=window, data_range=span)

    x, y = prepared(a.numpy()), prepared(b.numpy())
    return max(score(x, y), score(x, -y))


class TestSignFlipSsim:
    @pytest.mark.parametrize("size", [(8, 8), (28, 28), (37, 50)])
    @pytest.mark.parametrize("correlation", [-0.8, -0.3, 0.0, 0.6])
    def test_is_the_larger_of_scikit_images(self, size, correlation):
        a = normal(6, *size)
        b = correlation * a + math.sqrt(1 - correlation**2) * normal(6, *size, seed=1)
        expected = [slow_sign_flip(x, y) for x, y in zip(a, b, strict=True)]
        assert sign_flip_ssim(a, b).tolist() == pytest.approx(expected, abs=1e-10)
        assert sign_flip_ssim(a.float(), b.float()).tolist() == pytest.approx(expected, abs=1e-5)

    def test_is_one_for_any_scalar_but_zero(self):
        a = normal(4, 1, 16, 16)
        for scalar in (1e-8, 3.0, -1.0, -1e8):
            assert sign_flip_ssim(a, scalar * a).tolist() == pytest.approx([1] * 4, abs=1e-12)

    def test_a_few_extreme_pixels_do_not_decide(self):
        a = normal(4, 28, 28)
        b = a.clone()
        b[:, 3, 4] = 1e4
        assert sign_flip_ssim(a, b).min() > 0.9

    def test_a_map_of_a_few_pixels_is_not_clipped_away(self):
        a = torch.zeros(2, 28, 28)
        a[:, 5:7, 5:7] = normal(2, 2, 2).float()
        assert sign_flip_ssim(a, -a).tolist() == pytest.approx([1, 1], abs=1e-6)

    def test_the_window_shrinks_to_small_maps(self):
        a, b = normal(5, 4, 9), normal(5, 4, 9, seed=1)
        expected = [slow_sign_flip(x, y, window=3) for x, y in zip(a, b, strict=True)]
        assert sign_flip_ssim(a, b).tolist() == pytest.approx(expected, abs=1e-10)


def test_abs_pearson_is_the_magnitude_of_pearson():
    a, noise = normal(8, 1, 12, 13), normal(8, 1, 12, 13, seed=1)
    for b in (a + noise, noise - a, a, -a):
        assert torch.allclose(abs_pearson(a, b), pearson(a, b).abs(), atol=1e-12)
