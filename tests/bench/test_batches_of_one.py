"""No claim asks a model about a single input where there are more: some models drop its axis, or take other batches."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from pytest_xaisanity import Bench, beats, bounded, changes_under, invariant_under

pytestmark = pytest.mark.long

IMAGES = torch.randn(32, 1, 6, 6, generator=torch.Generator().manual_seed(0))
CLAIMS = [
    changes_under("cascading_randomization", seeds=1),
    changes_under("independent_randomization", seeds=1, samples=3),
    changes_under("bottom_up_randomization", seeds=1),
    changes_under("other_target", seeds=2),
    changes_under("later_layers", seeds=1),
    invariant_under("batch_order"),
    beats("random", on="pixel_flipping", steps=4, draws=2),
    beats("edges", on="pixel_flipping", steps=4),
    beats("mutants", on="pixel_flipping", steps=4),
    bounded("efficient_mprt", at_least=0.0, seeds=1),
    bounded("scale_preservation", at_most=0.9),
    bounded("cosine_similarity_convergence", at_most=0.99),
]


class Choosy(nn.Module):
    """A network that takes batches of some sizes alone."""

    def __init__(self, takes):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)]
        self.net, self.takes = nn.Sequential(*layers), takes

    def forward(self, x):
        if not self.takes(len(x)):
            raise ValueError(f"a batch of {len(x)}")
        return self.net(x)


def gradients(model, inputs, targets):
    inputs = inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
@pytest.mark.parametrize(
    ("takes", "batch_size"), [(lambda count: count > 1, None), (lambda count: count == 16, 16)], ids=["several", "16"]
)
def test_a_claim_is_decided_without_one(claim, takes, batch_size):
    source = Saliency if "cosine" in str(claim) else gradients  # what has a backward rule
    verdicts = [
        Bench(Choosy(some).eval(), IMAGES, device="cpu", batch_size=size).explainer(source).decide(claim)
        for some, size in ((takes, batch_size), (lambda count: True, batch_size))
    ]
    assert verdicts[0].estimate == pytest.approx(verdicts[1].estimate, nan_ok=True)
    assert verdicts[0].passed == verdicts[1].passed
