"""What is known of explanations of a network that reads handwritten digits, found again with the default settings."""

from __future__ import annotations

import explainers as fakes
import pytest
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, Occlusion, Saliency
from digits import accuracy
from rates import rate_at_most

from pytest_xaisanity import Bench, PixelFlipping, XaiError, beats, changes_under, invariant_under
from pytest_xaisanity.adversaries.uninformative import SEEDINGS, UninformativeExplainer
from pytest_xaisanity.bench.audit import audit
from pytest_xaisanity.maps.uninformative import FAMILIES, UninformativeMap

RANDOMIZATION = "cascading_randomization"

pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")  # captum's, at every call


@pytest.fixture(scope="session")
def bench(digits, digits_cnn):
    """Return a bench of the trained network and 256 digits that it has not seen."""
    return Bench(digits_cnn, digits.test_images[:256])


@pytest.fixture(scope="session")
def small_bench(digits, digits_cnn):
    """Return a bench of the same network and as many digits as clear verdicts need."""
    return Bench(digits_cnn, digits.test_images[:64])


def test_the_network_reads_digits(digits, digits_cnn):
    assert accuracy(digits_cnn, digits.test_images, digits.test_labels) >= 0.96


class TestGradients:
    @pytest.mark.parametrize("depth", [None, 1])
    def test_change_with_the_weights(self, bench, depth):
        assert bench.explainer(Saliency, abs=False).changes_under(RANDOMIZATION, depth=depth)

    def test_beat_random_orders(self, bench):
        assert bench.explainer(Saliency, abs=False).beats("random", on="pixel_flipping")


class TestGuidedBackprop:
    def test_hardly_changes_with_the_top_layer(self, bench):
        """Adebayo et al. 2018, and more so the theory of Nie et al. 2018: it recovers the image."""
        verdict = bench.explainer(GuidedBackprop).changes_under(RANDOMIZATION, depth=1)
        assert verdict.failed, verdict.reason

    @pytest.mark.slow
    def test_is_not_shown_to_change_with_all_layers(self, bench):
        assert not bench.explainer(GuidedBackprop).changes_under(RANDOMIZATION)


class TestFakes:
    """Explainers that explain nothing."""

    @pytest.mark.slow
    def test_fresh_noise_decides_nothing(self, bench):
        verdict = bench.explainer(fakes.fresh_noise).changes_under(RANDOMIZATION)
        assert verdict.inconclusive
        assert "reproduce itself" in verdict.reason

    @pytest.mark.parametrize("fake", [fakes.noise_of_the_input, fakes.edges])
    @pytest.mark.parametrize("depth", [None, 1])
    def test_maps_of_the_input_alone_fail(self, bench, fake, depth):
        verdict = bench.explainer(fake).changes_under(RANDOMIZATION, depth=depth)
        assert verdict.failed
        assert verdict.estimate == pytest.approx(1, abs=1e-6)

    @pytest.mark.slow
    def test_noise_of_the_output_passes_but_does_not_beat_random(self, small_bench):
        """Which is why randomization alone proves nothing."""
        noise = small_bench.explainer(fakes.noise_of_the_output)
        assert noise.changes_under(RANDOMIZATION)
        assert not noise.beats("random", on="pixel_flipping")


class TestIntegratedGradients:
    @pytest.fixture
    def integrated(self, small_bench):
        return small_bench.explainer(IntegratedGradients, n_steps=8)

    def test_fail_with_absolute_ranks(self, integrated):
        assert integrated.changes_under(RANDOMIZATION, similarity="abs_spearman").failed

    def test_pass_with_signed_ranks(self, integrated):
        assert integrated.changes_under(RANDOMIZATION, similarity="spearman")

    @pytest.mark.slow
    def test_pass_where_no_similarity_is_named_and_the_reason_says_what_absolute_ranks_see(self, integrated):
        verdict = integrated.changes_under(RANDOMIZATION, early=False, cells="sample")
        assert verdict.passed
        assert "; abs_spearman would have failed: 9" in verdict.reason
        assert "is left, as of any map multiplied by this input (9" in verdict.reason

    @pytest.mark.slow
    def test_are_inconclusive_where_several_must_agree(self, integrated):
        verdict = integrated.changes_under(RANDOMIZATION, similarity=("spearman", "abs_spearman"))
        assert verdict.inconclusive
        assert verdict.reason.startswith("it depends on the similarity (spearman: ")

    def test_beat_random_orders(self, integrated):
        assert integrated.beats("random", on="pixel_flipping")


def the_input(model, inputs, targets):
    """Return how bright each pixel is."""
    return inputs.clone()


def nearly_constant(model, inputs, targets):
    """Return the same map for every image: one pixel, and nothing else."""
    maps = inputs.new_zeros(inputs.shape)
    maps[..., 0, 0] = 1
    return maps


class TestUninformativeMaps:
    """The best map that a search finds: here the brightness of the input, which knows nothing of the model."""

    SEARCH = {"on": "pixel_flipping", "steps": 8, "max_examples": 12}  # noqa: RUF012 - never written to

    @pytest.mark.slow
    def test_integrated_gradients_beat_them(self, small_bench):
        assert small_bench.explainer(IntegratedGradients, n_steps=8).beats("uninformative", **self.SEARCH)

    @pytest.mark.slow
    def test_noise_does_not_and_the_simplest_map_is_named(self, small_bench):
        verdict = small_bench.explainer(fakes.fresh_noise).beats("uninformative", **self.SEARCH)
        assert verdict.failed
        assert "UninformativeMap(match='input')" in verdict.reason
        assert len(verdict.evidence["adversary"]["call"]) < 200

    @pytest.mark.slow
    @pytest.mark.parametrize("sound", [(Saliency, {"abs": False}), (IntegratedGradients, {"n_steps": 32})])
    def test_sound_explainers_beat_them(self, bench, sound):
        kind, settings = sound
        assert bench.explainer(kind, **settings).beats("uninformative", on="pixel_flipping")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "fake",
        [fakes.fresh_noise, fakes.noise_of_the_input, fakes.noise_of_the_output, the_input, nearly_constant],
        ids=lambda fake: fake.__name__,
    )
    def test_uninformed_explainers_do_not(self, bench, fake):
        assert not bench.explainer(fake).beats("uninformative", on="pixel_flipping")

    @pytest.mark.slow
    def test_what_knows_nothing_of_the_model_passes_in_one_of_twenty_sessions_at_most(self, digits, digits_cnn):
        """Of 90, each with other digits, noise of another family and another seeding: if none passes, that is shown."""

        def passes(seed):
            chosen = torch.randperm(len(digits.test_images), generator=torch.Generator().manual_seed(seed))[:72]
            match = "input" if seed % 5 == 4 else "nothing"
            family = FAMILIES[seed % len(FAMILIES)]
            sign = "both" if seed % 2 == 0 or family == "checkerboard" else "positive"  # which would be constant
            noise = UninformativeMap(family, sign, size=1 + seed % 3, match=match)
            fake = UninformativeExplainer(noise, SEEDINGS[seed % 3])
            session = Bench(digits_cnn, digits.test_images[chosen], seed=seed)
            search = {"on": "pixel_flipping", "steps": 8, "max_examples": 10}
            return session.explainer(fake).beats("uninformative", **search).passed

        assert rate_at_most(passes, 1 / 20, most=90) <= 1 / 20


class TestAudit:
    """The standard battery catches broken copies of sound explainers, and lets these pass."""

    SOUND = {  # noqa: RUF012 - never written to
        "gradients": (Saliency, {"abs": False}, {"absolute_value"}),
        "integrated gradients": (IntegratedGradients, {"n_steps": 32}, set()),
        "occlusion": (Occlusion, {"sliding_window_shapes": (1, 5, 5), "strides": (1, 2, 2)}, set()),
    }

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SOUND)
    def test_of_the_battery(self, bench, name):
        kind, settings, survivors = self.SOUND[name]
        battery = [
            changes_under(RANDOMIZATION, similarity="spearman"),
            beats("random", on="pixel_flipping"),
            beats("mutants", on="pixel_flipping"),
            invariant_under("batch_order"),
        ]
        found = audit(bench, bench.explainer(kind, **settings).explainer, battery, suggest=False)
        assert len(found.claims) == len(battery)
        statuses = {name: mutation.status for name, mutation in found.mutations.items()}
        assert {name for name, status in statuses.items() if status == "survived"} == survivors
        assert [name for name, status in statuses.items() if status not in ("killed", "survived")] == ["one_channel"]


class TestAcrossSettings:
    """A verdict that flips with the fill value is no verdict."""

    @pytest.mark.slow
    def test_integrated_gradients_beat_random_orders_in_every_setting(self, small_bench):
        integrated = small_bench.explainer(IntegratedGradients, n_steps=8)
        verdict = integrated.beats("random", on="pixel_flipping", across="settings", steps=8)
        assert verdict.passed
        assert len(verdict.evidence["settings"]) > 6
        assert str(verdict.claim).endswith(" beats random(across=settings) on pixel_flipping(steps=8)")

    @pytest.mark.slow
    def test_noise_fails_with_the_simplest_setting(self, small_bench):
        verdict = small_bench.explainer(fakes.noise_of_the_output).beats(
            "random", on="pixel_flipping", across="settings"
        )
        assert not verdict.passed
        assert "with PixelFlipping(steps=8, imputer=Mean(), patch=" in verdict.reason

    @pytest.mark.slow
    def test_a_setting_that_is_given_is_kept(self, small_bench):
        gradients = small_bench.explainer(Saliency, abs=False)
        verdict = gradients.beats("random", on="pixel_flipping", across="settings", order="lerf", steps=4)
        assert all("order='lerf'" in setting for setting in verdict.evidence["settings"])

    def test_only_named_metrics_can_vary(self, small_bench):
        with pytest.raises(XaiError, match="the metric by name"):
            small_bench.explainer(Saliency).beats("random", on=PixelFlipping(), across="settings")
        with pytest.raises(XaiError, match="found across='seeds'"):
            small_bench.explainer(Saliency).beats("random", on="pixel_flipping", across="seeds")
