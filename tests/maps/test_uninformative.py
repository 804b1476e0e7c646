"""Uninformative maps against their definition, and small random subjects."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
import torch
from scipy.special import exp1

from pytest_xaisanity.adversaries.small_subject import KINDS, SmallSubject
from pytest_xaisanity.adversaries.uninformative import SEEDINGS, UninformativeExplainer
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.evidence.baselines.uninformative import GivenMap, InputTimesNoise
from pytest_xaisanity.maps.noise import NOISE, magnitude
from pytest_xaisanity.maps.similarity import SIMILARITIES, ssim
from pytest_xaisanity.maps.uninformative import FAMILIES, Box, UninformativeMap
from pytest_xaisanity.subject.block import Block
from pytest_xaisanity.subject.layout import Layout

pytestmark = pytest.mark.long

torch.set_num_threads(1)

CALLS = 1500
MAPS = [
    UninformativeMap(),
    UninformativeMap("blurred", "both", size=3, background=2),
    UninformativeMap("spikes", boxes=(Box(), Box(2, 3, 4, 5)), background=0, match="input", amplitude=0.5),
]


def drawn(value, shape, count, *, call="", seed=0, magnitudes=None):
    return value.render(shape, seed=seed, indices=range(count), call=call, magnitudes=magnitudes)


def zero_within(samples):
    """Whether the mean of samples is 0 within 3 standard errors at each place, but for the one in 30 of mere chance."""
    deviation = samples.mean(0).abs() / (samples.std(0) / len(samples) ** 0.5).clamp_min(1e-12)
    return int((deviation > 3).sum()) <= max(1, deviation.numel() // 30) and float(deviation.max()) < 4.5


class TestTwoCalls:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_have_zero_covariance_at_each_pixel(self, family):
        value = UninformativeMap(family, "both", size=2)
        one, other = (drawn(value, (6, 5), CALLS, call=call) for call in ("one", "other"))
        assert zero_within(one)
        assert zero_within(one * other)

    @pytest.mark.slow
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("sign", ["positive", "negative"])
    def test_have_zero_covariance_around_their_means_where_one_sign_is_kept(self, family, sign):
        value = UninformativeMap(family, sign, size=2)
        one, other = (drawn(value, (6, 5), CALLS, call=call) for call in ("one", "other"))
        assert bool((one >= 0).all()) == (sign == "positive")
        if one.std(0).max() > 0:
            assert zero_within((one - one.mean(0)) * (other - other.mean(0)))

    def test_have_zero_covariance_given_the_input_whose_magnitude_they_take(self):
        value, x = UninformativeMap("laplace", "both", match="input"), torch.rand(6, 5)
        one, other = (drawn(value, (6, 5), CALLS, call=c, magnitudes=x.expand(CALLS, 6, 5)) for c in "ab")
        assert zero_within(one * other)

    def test_have_a_mean_squared_error_of_two(self):
        value = UninformativeMap("gaussian", "both")
        one, other = (drawn(value, (28, 28), 400, call=call) for call in ("one", "other"))
        assert float(SIMILARITIES["mse"](one, other).mean()) == pytest.approx(2.0, abs=0.02)

    def test_have_a_mean_squared_error_of_two_once_matched_to_an_input(self):
        value, x = UninformativeMap("gaussian", "both", match="input"), torch.rand(28, 28).expand(400, 28, 28)
        one, other = (drawn(value, (28, 28), 400, call=call, magnitudes=x) for call in ("one", "other"))
        assert float(SIMILARITIES["mse"](one, other).mean()) == pytest.approx(2.0, abs=0.02)

    def test_have_the_expected_structural_similarity_of_zero_covariance(self):
        """Uniform in [-1, 1], range 2, window 5: the closed form of luminance times contrast."""
        value = UninformativeMap("uniform", "both", amplitude=3**-0.5)
        one, other = (drawn(value, (40, 40), 200, call=call) for call in ("one", "other"))
        scores = ssim(one, other, window=5, normalization=None, data_range=2.0).double()
        variance, area, c1, c2 = 1 / 3, 25, (0.01 * 2) ** 2, (0.03 * 2) ** 2
        z = c1 * area / (2 * variance)
        expected = z * torch.tensor(z).exp().item() * exp1(z) * c2 / (2 * variance + c2)
        assert abs(float(scores.mean()) - expected) < 3 * float(scores.std()) / len(scores) ** 0.5


class TestMaps:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_of_each_family_have_a_root_mean_square_of_one(self, family):
        squares = drawn(UninformativeMap(family, "both", size=2), (8, 8), CALLS).square().flatten(1).mean(1)
        assert abs(float(squares.mean()) - 1) <= 3 * float(squares.std()) / CALLS**0.5 + 1e-5

    def test_of_each_family_are_drawn_by_a_function_of_its_name(self):
        assert tuple(NOISE) == FAMILIES

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5), (1, 2)])
    def test_have_the_shape_that_is_asked_for(self, family, shape):
        value = UninformativeMap(family, size=3, boxes=(Box(0, 1, 1, 1),))
        assert drawn(value, shape, 2).shape == (2, *shape)
        assert torch.isfinite(drawn(value, shape, 2)).all()

    def test_take_the_root_mean_square_of_the_input_over_channels(self):
        x = torch.randn(3, 4, 5, 6)
        block = Block(0, (0, 1, 2), (x,), None, Layout.of((x,)))
        like = torch.empty(3, 5, 6)
        assert torch.allclose(magnitude(Layout.of((x,)), (x,), like), x.square().mean(1).sqrt())
        assert torch.allclose(
            GivenMap(UninformativeMap(match="input")).maps(block, like, seed=0)[0], x.square().mean(1).sqrt()
        )

    def test_weigh_the_places_of_boxes_above_the_background(self):
        value = UninformativeMap(background=2, boxes=(Box(1, 2, 2, 3), Box(2, 4, 9, 9)))
        expected = torch.full((4, 6), 2.0)
        for top, left, bottom, right in ((1, 2, 3, 5), (2, 4, 4, 6)):
            for row in range(top, bottom):
                for column in range(left, right):
                    expected[row, column] += 1
        assert torch.equal(drawn(value, (4, 6), 1)[0], expected)

    def test_of_spikes_keep_one_place_in_size_squared(self):
        kept = (drawn(UninformativeMap("spikes", size=4), (32, 32), 50) != 0).float().mean()
        assert float(kept) == pytest.approx(1 / 16, abs=0.01)

    def test_of_an_input_do_not_depend_on_the_others(self):
        value = UninformativeMap("blurred", "both", size=2)
        together = value.render((6, 6), seed=3, indices=[4, 7, 9])
        assert torch.equal(together[1:2], value.render((6, 6), seed=3, indices=[7]))

    def test_differ_between_seeds_calls_and_inputs(self):
        value = UninformativeMap("gaussian")
        maps = [
            value.render((4, 4), seed=seed, indices=[index], call=call)
            for seed in (0, 1)
            for index in (0, 1)
            for call in ("a", "b")
        ]
        assert len({tuple(one.flatten().tolist()) for one in maps}) == 8

    def test_leave_global_generators_and_the_default_type_alone(self):
        plain, before = drawn(UninformativeMap("gaussian"), (4, 4), 2), global_state()
        torch.set_default_dtype(torch.float64)
        try:
            assert torch.equal(drawn(UninformativeMap("gaussian"), (4, 4), 2), plain)
        finally:
            torch.set_default_dtype(torch.float32)
        assert same_state(before, global_state())

    def test_of_the_input_need_its_magnitudes(self):
        with pytest.raises(XaiError, match="no magnitudes; expected shape"):
            drawn(UninformativeMap(match="input"), (4, 4), 2)

    @pytest.mark.parametrize(
        "settings", [{"family": "gausian"}, {"sign": "plus"}, {"match": "inputs"}, {"size": 0}, {"background": -1}]
    )
    def test_with_a_setting_out_of_range_are_an_error(self, settings):
        with pytest.raises(XaiError, match=next(iter(settings))):
            UninformativeMap(**settings)


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            *MAPS,
            Box(),
            Box(1, 2),
            UninformativeExplainer(MAPS[1], "output"),
            SmallSubject(),
            SmallSubject("cnn", seed=7),
        ],
    )
    def test_are_rebuilt_by_their_repr(self, value):
        names = {kind.__name__: kind for kind in (Box, UninformativeMap, UninformativeExplainer, SmallSubject)}
        assert eval(repr(value), names) == value
        assert hash(eval(repr(value), names)) == hash(value)

    def test_cannot_be_changed(self):
        with pytest.raises(FrozenInstanceError):
            UninformativeMap().size = 2

    def test_show_what_differs_from_the_simplest(self):
        assert repr(UninformativeMap()) == "UninformativeMap()"
        assert repr(UninformativeMap(match="input", boxes=(Box(top=2),))) == (
            "UninformativeMap(boxes=(Box(top=2),), match='input')"
        )

    def test_are_imported_without_torch(self):
        code = (
            "import sys, pytest_xaisanity.adversaries.uninformative, pytest_xaisanity.adversaries.small_subject; "
            "print('torch' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "False"


def test_input_times_noise_is_normal_noise_times_the_magnitude_of_the_input():
    x = torch.rand(2000, 1, 3, 4).expand(2000, 2, 3, 4).contiguous()
    block = Block(0, tuple(range(2000)), (x,), None, Layout.of((x,)))
    maps = InputTimesNoise().maps(block, torch.empty(2000, 3, 4), seed=0)[0]
    noise = maps / x[:, 0].clamp_min(1e-6)
    assert zero_within(noise)
    assert zero_within(noise.square() - 1)


class TestUninformativeExplainers:
    @pytest.fixture
    def images(self):
        return torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))

    @staticmethod
    def model(seed):
        return SmallSubject("cnn", seed=seed, classes=10).model()

    @pytest.mark.parametrize("seeding", SEEDINGS)
    def test_return_one_channel_of_the_size_of_images(self, seeding, images):
        assert UninformativeExplainer(seeding=seeding)(self.model(0), images, None).shape == (5, 1, 6, 6)

    @pytest.mark.parametrize("seeding", SEEDINGS)
    def test_return_rows_for_rows(self, seeding):
        explainer = UninformativeExplainer(UninformativeMap("gaussian"), seeding)
        assert explainer(SmallSubject().model(), SmallSubject().inputs(), None).shape == (16, 6)

    def test_that_are_fresh_draw_from_the_global_generator(self, images):
        explainer = UninformativeExplainer(UninformativeMap("gaussian"), "fresh")
        torch.manual_seed(0)
        one, other = explainer(self.model(0), images), explainer(self.model(0), images)
        torch.manual_seed(0)
        assert not torch.equal(one, other)
        assert torch.equal(one, explainer(self.model(0), images))

    def test_seeded_by_the_input_do_not_see_the_model_or_the_batch(self, images):
        explainer = UninformativeExplainer(UninformativeMap("gaussian"), "input")
        maps = explainer(self.model(0), images)
        assert torch.equal(maps, explainer(self.model(1), images))
        assert torch.equal(maps[3:4], explainer(self.model(0), images[3:4]))
        assert not torch.equal(maps[0], maps[1])

    def test_seeded_by_the_output_change_with_the_model_and_nothing_else(self, images):
        explainer = UninformativeExplainer(UninformativeMap("gaussian"), "output")
        maps = explainer(self.model(0), images)
        assert torch.equal(maps, explainer(self.model(0), images))
        assert torch.equal(maps[3:4], explainer(self.model(0), images[3:4]))
        assert not torch.isclose(maps, explainer(self.model(1), images)).flatten(1).all(1).any()

    def test_that_take_the_input_return_it(self, images):
        explainer = UninformativeExplainer(UninformativeMap(match="input"))
        assert torch.allclose(explainer(None, images)[:, 0], images.square().mean(1).sqrt())

    def test_with_an_unknown_seeding_are_an_error(self):
        with pytest.raises(XaiError, match="use 'output', the nearest known name"):
            UninformativeExplainer(seeding="outputs")


class TestSmallSubjects:
    @pytest.mark.parametrize("kind", KINDS)
    def test_have_a_model_that_maps_inputs_to_outputs(self, kind):
        subject = SmallSubject(kind, seed=1, depth=2, classes=3, batch=5)
        assert subject.model()(subject.inputs()).shape == (5, 3)
        assert subject.targets().tolist() == subject.targets().tolist()
        assert set(subject.targets().tolist()) <= {0, 1, 2}
        assert not subject.model().training

    @pytest.mark.parametrize("kind", KINDS)
    def test_are_rebuilt_alike_without_moving_a_generator(self, kind):
        subject, before = SmallSubject(kind, seed=1), global_state()
        one, other = subject.model().state_dict(), subject.model().state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(subject.inputs(), subject.inputs())
        assert same_state(before, global_state())

    @pytest.mark.parametrize("kind", KINDS)
    def test_differ_between_seeds_and_between_inputs(self, kind):
        one, other = SmallSubject(kind, seed=1), SmallSubject(kind, seed=2)
        assert not torch.allclose(one.model()(one.inputs()), other.model()(one.inputs()))
        assert one.model()(one.inputs()).std(0).min() > 1e-3

    def test_share_weights_where_they_are_tied(self):
        model = SmallSubject("tied", depth=2).model()
        assert len({parameter.data_ptr() for parameter in model.parameters() if parameter.ndim == 2}) == 2

    def test_normalize_by_the_statistics_of_their_inputs(self):
        model = SmallSubject("batchnorm").model()
        norm = next(module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))
        assert norm.running_mean.abs().min() > 0

    def test_with_one_output_have_no_targets(self):
        assert SmallSubject(classes=1).targets() is None

    @pytest.mark.parametrize("settings", [{"kind": "mpl"}, {"width": 0}, {"depth": 0}, {"classes": 0}, {"batch": True}])
    def test_with_a_setting_out_of_range_are_an_error(self, settings):
        with pytest.raises(XaiError, match=f"SmallSubject {next(iter(settings))}"):
            SmallSubject(**settings)
