"""The layers that reach the output are looked for once for a model, and again when anything of it is another."""

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.subject import explained_layers

torch.set_num_threads(1)


@pytest.fixture
def looked(monkeypatch):
    """How often layers were looked for."""
    times = []
    find = explained_layers.find_reaching_layers

    def counted(*args, **kwargs):
        times.append(1)
        return find(*args, **kwargs)

    monkeypatch.setattr(explained_layers, "find_reaching_layers", counted)
    return times


def test_claims_on_the_same_model_look_once_and_decide_as_alone(looked):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(16, 6)
    names = ["cascading_randomization", "later_layers"]
    saliency = Bench(model, x).explainer(Saliency, abs=False)
    together = [saliency.changes_under(name) for name in names]
    assert len(looked) == 1
    alone = [Bench(model, x).explainer(Saliency, abs=False).changes_under(name) for name in names]
    assert len(looked) == 3
    assert [repr(verdict) for verdict in together] == [repr(verdict) for verdict in alone]


def test_other_weights_values_or_modules_are_another_model(looked):
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.first = nn.Linear(6, 3), nn.Linear(6, 3), True

        def forward(self, x):
            one, two = self.one(x), self.two(x)
            return one if self.first else two

    torch.manual_seed(0)
    model, x = Choosing().eval(), torch.randn(16, 6)
    saliency = Bench(model, x).explainer(Saliency, abs=False)

    def layers():
        return saliency.changes_under("cascading_randomization").evidence["layers"]

    assert layers() == ["one"]
    assert layers() == ["one"]
    assert len(looked) == 1
    model.first = False
    assert layers() == ["two"]
    with torch.no_grad():
        model.two.weight.data.mul_(2)  # of which no version tells
    layers()
    model.one = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    layers()
    assert len(looked) == 4
