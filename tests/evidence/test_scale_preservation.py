"""Scale preservation: what new weights leave of the order of the channels below them."""

from __future__ import annotations

import copy

import pytest
import torch
from laboratory import evidence_of, lab_of
from scipy import stats
from torch import nn

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.metrics.scale_preservation import ScalePreservation, order_probability
from pytest_xaisanity.model.reinit.distributions import Distribution
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)

IMAGES = torch.rand(20, 1, 10, 10, generator=generator("images"))
ROWS = torch.rand(20, 12, generator=generator("rows"))


class ConvNet(nn.Module):
    """Two convolutions, the second with a normalization, in-place activations, and a dense head."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True)
        self.conv2, self.norm2, self.relu2 = nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.fc1, self.fc2 = nn.Linear(8 * 36, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.relu2(self.norm2(self.conv2(self.relu1(self.conv1(x)))))
        return self.fc2(self.fc1(x.flatten(1)).relu())


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.head = nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.norm(self.embed(x)).mean(1))


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def measured(model, inputs, metric, *, seed=0, batch_size=None):
    """Return the measurement's scores by name and its description."""
    subject = Subject(model, inputs, device="cpu", seed=seed, batch_size=batch_size)
    parts, measuring = [], None
    with subject.lent():
        subject.renew()
        for block in subject.blocks():
            measuring = measuring or metric.measurement().start(lab_of(subject, seed=seed), block)
            parts.append(measuring.reports(block))
            measuring.measure(block)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, evidence_of(measuring)


def test_one_score_in_range_for_each_input():
    scores, _ = measured(seeded(ConvNet), IMAGES, ScalePreservation())
    assert scores["scores"].shape == (20, 1)
    assert scores["scores"].abs().max() <= 1


def test_the_default_is_the_last_module_with_places_and_all_layers_above_it():
    _, description = measured(seeded(ConvNet), IMAGES, ScalePreservation())
    assert description["layer"] == "relu2"
    assert description["layers"] == ["fc2", "fc1"]
    assert description["channels"] == 8


def test_a_model_of_dense_layers_is_looked_at_just_below_its_topmost_weights():
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3)))
    _, description = measured(model, ROWS, ScalePreservation())
    assert (description["layer"], description["layers"]) == ("1", ["2"])


def test_a_dense_prediction_is_looked_at_below_its_last_convolution():
    model = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    _, description = measured(model, IMAGES, ScalePreservation())
    assert (description["layer"], description["layers"]) == ("1", ["2"])


def test_normalization_goes_with_its_layer_and_is_not_randomized_below():
    _, description = measured(seeded(ConvNet), IMAGES, ScalePreservation(layer="relu1"))
    assert description["layers"] == ["fc2", "fc1", "conv2"]


def test_weights_used_below_and_above_are_not_randomized():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.relu, self.top = nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2)

        def forward(self, x):
            return self.top(self.relu(self.inner(x)) @ self.inner.weight)

    _, description = measured(seeded(Tied), ROWS, ScalePreservation(layer="relu"))
    assert description["layers"] == ["top"]


def test_the_score_is_the_correlation_of_activation_times_gradient():
    """Under a dense head the gradient of a logit is a row of weights, before and after."""
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3)))

    class Fixed(Distribution):
        def new_values(self, values, rng):
            return values.flip(0)

    targets = torch.zeros(20, dtype=torch.long)
    subject = Subject(model, ROWS, targets, device="cpu")
    with subject.lent():
        block = next(subject.blocks())
        measuring = ScalePreservation(reinit=Fixed(), seeds=1).measurement().start(lab_of(subject), block)
        scores = measuring.reports(block)
    with torch.no_grad():
        activations = model[1](model[0](block.inputs[0]))
        before, after = activations * model[2].weight[0], activations * model[2].weight.flatten().flip(0)[:9]
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(before.abs(), after.abs(), strict=True)]
    assert scores["scores"][:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_nothing_is_preserved_where_all_channels_are_alike():
    """With one weight per channel and equal activations, the new order has nothing to do with the old."""
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 2)))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(1.0)
    scores, description = measured(model, ROWS, ScalePreservation(seeds=40))
    assert abs(scores["scores"].mean()) <= 3 / (64 * 40) ** 0.5
    assert description["order"]["predicted"] == pytest.approx(0.5, abs=1e-6)


def test_scale_alone_preserves_the_order():
    """Activations that differ by orders of magnitude keep theirs whatever the weights."""
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 8), nn.Identity(), nn.Linear(8, 2)))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(10.0 ** torch.arange(8).mul(4))
    scores, description = measured(model, ROWS, ScalePreservation())
    assert scores["scores"].min() > 0.95
    assert description["top"]["10 %"]["kept"] == 1
    assert description["order"]["observed"] > 0.99


def test_the_top_share_is_shown_beside_chance():
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 2)))
    _, description = measured(model, ROWS, ScalePreservation())
    assert {share: (top["channels"], top["chance"]) for share, top in description["top"].items()} == {
        "5 %": (2, 0.05),
        "10 %": (4, 0.1),
    }


def test_ties_at_the_border_of_the_top_share_its_seats():
    """All channels silent: the share that is kept is the share that chance would keep."""
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 2)))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    scores, description = measured(model, ROWS, ScalePreservation())
    assert description["top"]["10 %"]["kept"] == pytest.approx(0.1)
    assert scores["scores"].isnan().all()
    assert description["undefined"] == 20 * 5
    assert description["spearman"] is None
    assert description["order"] == {"predicted": None, "observed": None}


@pytest.mark.parametrize("layer", [None, "conv1", "relu1", "norm2"])
def test_the_model_comes_back_bit_for_bit(layer):
    model = seeded(ConvNet)
    before = copy.deepcopy(model.state_dict())
    measured(model, IMAGES, ScalePreservation(layer=layer))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hooks_and_weights_are_back_after_a_failure():
    class Failing(Distribution):
        def new_values(self, values, rng):
            raise RuntimeError("no numbers today")

    model = seeded(ConvNet)
    before = copy.deepcopy(model.state_dict())
    subject = Subject(model, IMAGES, device="cpu")
    with subject.lent():
        block = next(subject.blocks())
        measuring = ScalePreservation(reinit=Failing()).measurement().start(lab_of(subject), block)
        with pytest.raises(RuntimeError, match="no numbers today"):
            measuring.measure(block)
        assert not any(module._forward_hooks for module in model.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_activations_that_change_with_the_layers_above_are_an_error():
    """A normalization before all weights goes with the weights after it, and is reset with them."""
    model = seeded(lambda: nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2)))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    with pytest.raises(XaiError, match="changed when the layers above it were randomized"):
        measured(model, ROWS, ScalePreservation(layer="0"))


def test_scores_do_not_depend_on_the_micro_batch():
    whole, _ = measured(seeded(ConvNet), IMAGES, ScalePreservation())
    parts, _ = measured(seeded(ConvNet), IMAGES, ScalePreservation(), batch_size=3)
    torch.testing.assert_close(whole["scores"], parts["scores"], atol=0.05, rtol=0)


def test_the_same_seed_gives_the_same_scores_and_another_gives_others():
    first, again, other = (measured(seeded(ConvNet), IMAGES, ScalePreservation(), seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first["scores"], again["scores"])
    assert first["scores"].mean() != other["scores"].mean()


def test_channels_of_tokens_are_on_the_axis_that_is_named():
    tokens = torch.rand(20, 5, 3, generator=generator("tokens"))
    with pytest.raises(XaiError, match="axis=1 or axis=-1"):
        measured(seeded(Tokens), tokens, ScalePreservation())
    _, description = measured(seeded(Tokens), tokens, ScalePreservation(axis=-1))
    assert (description["layer"], description["channels"]) == ("norm", 8)


def test_a_model_with_one_output_and_double_precision():
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 1))).double()
    scores, _ = measured(model, ROWS, ScalePreservation())
    assert scores["scores"].isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds: found 0"),
        ({"seeds": True}, "seeds: found True"),
        ({"axis": 0}, "axis: found 0"),
        ({"reduction": "mean"}, "reduction: found 'mean'"),
        ({"layer": 3}, "layer: found a int"),
        ({"reinit": 3}, "reinit: found a int"),
        ({"reinit": "permutatoin"}, "permutation"),
    ],
)
def test_a_wrong_setting_is_one_error_at_once(settings, message):
    with pytest.raises(XaiError, match=message):
        ScalePreservation(**settings)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("relu3", "use 'relu2', the nearest"),
        ("fc2", "no weights above it"),
        ("twice", "called 2 times"),
        ("aside", "called 0 times"),
        ("pair", "returns no tensor"),
        ("single", "a single channel"),
        ("dead", "does not depend differentiably"),
    ],
)
def test_a_module_that_cannot_serve_is_one_error(layer, message):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Odd(ConvNet):
        def __init__(self):
            super().__init__()
            self.twice, self.aside, self.pair, self.single = nn.Identity(), nn.Identity(), Pair(), nn.Conv2d(1, 1, 1)
            self.dead = nn.Identity()

        def forward(self, x):
            self.dead(x.expand(-1, 2, -1, -1))
            return super().forward(self.twice(self.pair(self.twice(self.single(x)))[0]))

    with pytest.raises(XaiError, match=message):
        measured(seeded(Odd), IMAGES, ScalePreservation(layer=layer))


def test_equal_settings_have_equal_keys_and_need_no_explainer():
    first, second = (ScalePreservation(seeds=3).measurement() for _ in range(2))
    assert first.key == second.key != ScalePreservation().measurement().key
    assert first.about == "model"


def test_the_probability_is_the_survival_function_of_f():
    for ratio, units, expected in [
        (1.5, 1, 0.626),
        (1.5, 16, 0.943),
        (1.5, 64, 0.999),
        (1.1, 64, 0.776),
        (1.1, 256, 0.936),
    ]:
        assert order_probability(ratio, units) == pytest.approx(expected, abs=6e-4)
        assert order_probability(ratio, units) == pytest.approx(stats.f.sf(ratio**-2, units, units), abs=1e-12)
    assert order_probability(float("inf"), 4) == 1


def test_a_claim_that_fails_is_reported(suite):
    suite.makepyfile("""
        import pytest
        import torch

        @pytest.fixture(scope="session")
        def xai_model():
            torch.manual_seed(0)
            return torch.nn.Sequential(torch.nn.Linear(8, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3)).eval()

        @pytest.mark.xai_bounded("scale_preservation", at_most=-0.5)
        @pytest.mark.xai_explainer(lambda model, inputs, targets: inputs * 2)
        def test_scale(xai_verdict):
            assert xai_verdict
    """)
    result = suite.runpytest_inprocess("-v")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r".*randomized +2; seeds 5, weights from Own\(\), target fixed"])
