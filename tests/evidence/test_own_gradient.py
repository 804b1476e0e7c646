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
from pytest_xaisanity.evidence.cells import Cells
from pytest_xaisanity.evidence.controls import Controls
from pytest_xaisanity.evidence.own_gradient import OwnGradient, TopCells
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


def kept(model, inputs=X, name="sign_flip_spearman", *, intervention=CASCADE, source=gradient, **settings):
    """Return what the control says of one similarity; None where there is no control."""
    verdict = Bench(model, inputs, device="cpu").explainer(source).changes_under(intervention, **settings)
    control = verdict.evidence.get_part(Controls).find_control(OwnGradient, OwnGradient.name)
    return None if control is None else control.kept[name]


class TestTopCells:
    @pytest.mark.parametrize(("seeds", "positions"), [(8, 2), (8, 4), (3, 10), (1, 30)])
    def test_pairs_go_through_seeds_and_then_positions_of_the_upper_third(self, seeds, positions):
        block = next(Bench(network(4), X, device="cpu").subject.blocks())
        cells = TopCells.beside(Cells(seeds, positions, sampled=True))
        found = cells.of(block)
        assert found.shape == (16, 4, 2)
        assert (found[::2] == found[1::2]).all()
        turns = [(turn % seeds, turn // seeds % cells.upper) for turn in range(32)]
        assert [tuple(cell) for cell in found[::2].reshape(-1, 2).tolist()] == turns

    def test_randomizations_at_large_have_eight_seeds(self):
        assert TopCells.beside(Cells(1, 4, sampled=True, fresh=True)).seeds == 8


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
        layers = explained_layers(bench.subject, block).top_down()

        def maps(of):
            rows = X.double()[list(block.indices)].requires_grad_()
            targets = model(rows).argmax(1)
            return torch.autograd.grad(of(rows).gather(1, targets[:, None]).sum(), rows)[0].numpy()

        before, after = maps(model), []
        for pair in range(8):
            for draw in range(4):
                changed = copy.deepcopy(model)
                with Randomizer(model, layers, bench_reinit()) as randomizer:
                    randomizer.randomize(layers[0], seed=(4 * pair + draw) % 8)
                    changed.load_state_dict(model.state_dict())
                found = maps(changed)
                after += [abs(stats.spearmanr(before[row], found[row])[0]) for row in (2 * pair, 2 * pair + 1)]
        chance = [abs(stats.spearmanr(before[a], before[b])[0]) for a in range(16) for b in range(a)]
        expected = (np.mean(after) - np.mean(chance)) / (1 - np.mean(chance))
        assert kept(model, X.double()) == pytest.approx(expected, abs=1e-5)

    def test_a_signed_reading_of_one_number_knows_both_signs(self):
        """Heads of eight seeds: some turn the gradient over."""
        model = network(1)
        verdict = Bench(model, X, device="cpu").explainer(gradient).changes_under(CASCADE)
        assert kept(model) == pytest.approx(1.0, abs=1e-6)
        assert verdict.evidence["by_similarity"]["spearman"]["after_by_position"][0] < 0.9


class TestWhereItIsAsked:
    def test_a_named_similarity_decides_without_it(self):
        assert kept(network(1), similarity="sign_flip_spearman") is None

    def test_what_has_no_upper_third_does_without_it(self):
        assert kept(network(1), intervention="later_layers") is None
        assert kept(network(1), depth=1) is None

    def test_a_model_without_gradients_is_measured_as_ever(self):
        class Detached(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = network(4)

            def forward(self, inputs):
                return self.inner(inputs.detach())

        def times_logit(model, inputs, targets):
            return inputs * model(inputs).gather(1, targets[:, None])

        assert kept(Detached(), source=times_logit) is None

    def test_the_model_and_the_explainers_own_passes_stay_as_they_were(self):
        model, rows = network(1), []

        def counted(model, inputs, targets):
            rows.append(len(inputs))
            return gradient(model, inputs, targets)

        before = copy.deepcopy(model.state_dict())
        kept(model, source=counted)
        assert sum(rows) <= 4 * len(X) + 8
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


def bench_reinit():
    """Return the distribution of new weights that is the default."""
    from pytest_xaisanity.evidence.interventions.weight_randomization import CascadingRandomization

    return CascadingRandomization().reinit


def test_it_stands_among_the_controls_of_the_evidence():
    verdict = Bench(network(1), X, device="cpu").explainer(gradient).changes_under(CASCADE)
    assert verdict.evidence["controls"]["own gradient"] == {"kept": {"sign_flip_spearman": pytest.approx(1.0)}, "n": 16}
    assert ("control", "own gradient: left in the upper third sign_flip_spearman 1 (first 16 inputs)") in list(
        verdict.evidence.rows()
    )
