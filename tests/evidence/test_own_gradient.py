"""The network's own gradient as a control: what of it new weights at the top of a network leave."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy import stats
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.evidence import own_gradient
from pytest_xaisanity.evidence.cells import Cells
from pytest_xaisanity.evidence.comparison import Comparison
from pytest_xaisanity.evidence.controls import Controls
from pytest_xaisanity.evidence.interventions.weight_randomization import CascadingRandomization
from pytest_xaisanity.evidence.own_gradient import OwnGradient, OwnGradients, UpperCells
from pytest_xaisanity.model.reinit.randomizer import Randomizer
from pytest_xaisanity.subject.explained_layers import explained_layers

X = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
CASCADE = "cascading_randomization"


def network(width, classes=3):
    """Return a network that is ``width`` numbers below its head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, width), nn.Tanh(), nn.Linear(width, classes)
        ).eval()


def gradient(model, inputs, targets):
    """Return an explainer's maps, which are not looked at here."""
    return Saliency(model).attribute(inputs, target=targets, abs=False)


def itself(model, inputs, targets):
    """Return the inputs: what never passes, so that the gradient is asked for."""
    return inputs * 1.5


def kept(model, inputs=X, name="sign_flip_spearman", *, intervention=CASCADE, source=itself, **settings):
    """Return what the control says of one similarity; None where there is no control."""
    verdict = Bench(model, inputs, device="cpu").explainer(source).changes_under(intervention, **settings)
    control = verdict.evidence.get_part(Controls).find_control(OwnGradient, OwnGradient.name)
    return None if control is None else control.kept[name]


class TestUpperCells:
    @pytest.mark.parametrize("fresh", [False, True])
    def test_they_are_the_cells_of_the_upper_third_that_explainers_are_given(self, fresh):
        block = next(Bench(network(4), X, device="cpu").subject.blocks())
        cells = Cells(1 if fresh else 8, 9, sampled=True, fresh=fresh)
        found, every = UpperCells.among(cells).of(block), cells.of(block)
        assert (found == every[:, -1:]).all()
        assert (found[..., 1] < 3).all()

    def test_where_all_are_explained_they_are_all_of_the_upper_third(self):
        block = next(Bench(network(4), X, device="cpu").subject.blocks())
        cells = Cells(2, 7, sampled=False)
        assert UpperCells.among(cells).of(block)[0].tolist() == [[seed, place] for seed in (0, 1) for place in (0, 1)]
        assert (cells.upper_third(cells.of(block)[..., 1])[0] == UpperCells.among(cells).of(block)[0, :, 1]).all()


class TestWhatIsKept:
    def test_one_number_below_the_head_keeps_all_but_the_sign(self):
        """A new head multiplies one direction by another number, whatever the number of classes."""
        for classes in (2, 3, 10):
            assert kept(network(1, classes)) == pytest.approx(1.0, abs=1e-6)

    def test_a_wide_network_keeps_little(self):
        assert kept(network(64)) < 0.3

    def test_it_is_the_ratio_of_mean_rank_correlations(self):
        """A slow twin: cell by cell and input by input, in float64, with SciPy's ranks."""
        model = network(2).double()
        bench = Bench(model, X.double(), device="cpu")
        block = next(bench.subject.blocks())
        cells = Cells(8, 3, sampled=True).of(block)[:, -1]
        layers = explained_layers(bench.subject, block).top_down()

        def maps(of):
            rows = X.double()[list(block.indices)].requires_grad_()
            targets = model(rows).argmax(1)
            return torch.autograd.grad(of(rows).gather(1, targets[:, None]).sum(), rows)[0].numpy()

        before, after = maps(model), []
        for row, (seed, position) in enumerate(cells.tolist()):
            changed = copy.deepcopy(model)
            with Randomizer(model, layers, bench_reinit()) as randomizer:
                randomizer.randomize(layers[0], seed=seed)
                changed.load_state_dict(model.state_dict())
            assert position == 0
            after.append(abs(stats.spearmanr(before[row], maps(changed)[row])[0]))
        chance = [abs(stats.spearmanr(before[row], before[row ^ 1])[0]) for row in range(16)]
        expected = (np.mean(after) - np.mean(chance)) / (1 - np.mean(chance))
        assert kept(model, X.double()) == pytest.approx(expected, abs=1e-5)

    def test_a_signed_reading_of_one_number_knows_both_signs(self):
        """Heads of eight seeds: some turn the gradient over."""
        model = network(1)
        verdict = Bench(model, X, device="cpu").explainer(gradient).changes_under(CASCADE)
        assert kept(model) == pytest.approx(1.0, abs=1e-6)
        assert verdict.evidence["by_similarity"]["spearman"]["after_by_position"][0] < 0.9


class TestWhereItIsAsked:
    def test_what_passes_without_it_is_not_asked(self):
        bench = Bench(network(64), torch.randn(64, 12, generator=torch.Generator().manual_seed(0)), device="cpu")
        verdict = bench.explainer(gradient).changes_under(CASCADE)
        assert verdict.passed
        assert not any(isinstance(one, OwnGradient) for one in verdict.evidence.get_part(Controls).controls)
        assert not any(run.measurement.about == "model" and run._found for run in bench._runs.values())

    def test_all_explainers_share_it(self, monkeypatch):
        def other(model, inputs, targets):
            return inputs * 2.5

        bench = Bench(network(2), X, device="cpu")
        first = bench.explainer(itself).changes_under(CASCADE)
        monkeypatch.setattr(own_gradient, "GRADIENT", None)
        second = bench.explainer(other).changes_under(CASCADE)
        assert first.evidence["controls"]["own gradient"] == second.evidence["controls"]["own gradient"]

    def test_a_named_similarity_decides_without_it(self):
        assert kept(network(1), similarity="sign_flip_spearman") is None

    def test_what_has_no_upper_third_does_without_it(self):
        assert kept(network(1), intervention="later_layers") is None
        assert kept(network(1), depth=1) is None

    @pytest.mark.parametrize("cells", ["sample", "all"])
    def test_a_block_is_measured_as_it_would_be_for_an_explainer_that_is_the_gradient(self, cells):
        model, comparison = network(4), Comparison(CascadingRandomization(seeds=3), (), cells)
        bench = Bench(model, X, device="cpu")
        explainer = bench.explainer(gradient).explainer
        theirs, own = bench.measure([comparison, OwnGradients(comparison)], explainer)
        upper = UpperCells(3, 3, sampled=cells == "sample")
        name = "sign_flip_spearman"
        expected = Cells(3, 3, sampled=cells == "sample").upper_third(theirs.after[name])
        assert own.after[name] == pytest.approx(expected, abs=1e-5)
        assert own.chance[name] == pytest.approx(theirs.chance[name], abs=1e-5)
        assert own.after[name].shape == (16, upper.draws)

    def test_a_model_without_gradients_is_measured_as_ever(self):
        class Detached(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = network(4)

            def forward(self, inputs):
                return self.inner(inputs.detach())

        def times_logit(model, inputs, targets):
            return inputs * model(inputs).gather(1, targets[:, None])

        verdict = Bench(Detached(), X, device="cpu").explainer(times_logit).changes_under(CASCADE)
        assert verdict.inconclusive
        assert "gradient" not in verdict.reason
        assert verdict.evidence["controls"]["own gradient"]["kept"] == {"sign_flip_spearman": None, "spearman": None}

    def test_an_input_that_the_output_does_not_depend_on_has_a_gradient_of_zeros(self):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = network(1)

            def forward(self, one, other):
                return self.inner(one)

        def themselves(model, inputs, targets):
            return tuple(one * 1.5 for one in inputs)

        verdict = Bench(Two(), (X, X.flip(0)), device="cpu").explainer(themselves).changes_under(CASCADE)
        assert verdict.evidence["controls"]["own gradient"]["kept"]["sign_flip_spearman"] == pytest.approx(1.0)

    def test_an_input_without_a_finite_gradient_is_not_known_and_leaves_the_others_as_they_are(self):
        class Rooted(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = network(4)

            def forward(self, inputs):
                return self.inner(inputs.abs().sqrt())

        comparison, inputs = Comparison(CascadingRandomization(seeds=3), (), "sample"), X.clone()
        inputs[5, 2] = 0.0  # where the slope of the root is infinite
        explainer = Bench(Rooted(), X, device="cpu").explainer(gradient).explainer
        own, every = (
            Bench(Rooted(), some, device="cpu").measure([OwnGradients(comparison)], explainer)[0]
            for some in (inputs, X)
        )
        known = np.isfinite(own.own["sign_flip_spearman"])
        assert known.sum() == len(X) - 1
        after, before = (one.after["sign_flip_spearman"][known] for one in (own, every))
        assert after == pytest.approx(before)

    def test_the_model_and_the_explainers_own_passes_stay_as_they_were(self):
        model, rows = network(1), []

        def counted(model, inputs, targets):
            rows.append(len(inputs))
            return itself(model, inputs, targets)

        before = copy.deepcopy(model.state_dict())
        kept(model, source=counted)
        assert sum(rows) <= 4 * len(X) + 8
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


def bench_reinit():
    """Return the distribution of new weights that is the default."""
    return CascadingRandomization().reinit


def test_it_stands_among_the_controls_of_the_evidence():
    verdict = Bench(network(1), X, device="cpu").explainer(itself).changes_under(CASCADE)
    found = verdict.evidence["controls"]["own gradient"]
    assert found == {
        "kept": {"sign_flip_spearman": pytest.approx(1.0), "spearman": pytest.approx(-0.265, abs=1e-3)},
        "n": 16,
    }
    assert (
        "control",
        "own gradient: left in the upper third sign_flip_spearman 1, spearman -0.265 (16 inputs)",
    ) in list(verdict.evidence.rows())
