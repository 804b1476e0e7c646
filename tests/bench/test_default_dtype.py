"""torch's default dtype, which a user's conftest may set, has no say in verdicts and evidence."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient

from pytest_xaisanity import Bench, beats, bounded, changes_under, invariant_under
from pytest_xaisanity.adversaries.mutants import MUTANTS
from pytest_xaisanity.bench.audit import audit
from pytest_xaisanity.maps.similarity import SIMILARITIES
from pytest_xaisanity.report.records import plain_value

pytestmark = pytest.mark.long


def in_double(function):
    """Call a function with double precision as torch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return function()
    finally:
        torch.set_default_dtype(before)


def images():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(256, 3)]
    return torch.nn.Sequential(*layers).eval(), torch.randn(48, 2, 8, 8)


def features():
    torch.manual_seed(3)
    layers = [
        torch.nn.Linear(12, 24),
        torch.nn.Tanh(),
        torch.nn.Linear(24, 24),
        torch.nn.ReLU(),
        torch.nn.Linear(24, 4),
    ]
    return torch.nn.Sequential(*layers).eval(), torch.randn(64, 12)


CLAIMS = {
    **{
        baseline: (images, lambda b=baseline: beats(b, on="pixel_flipping", steps=4))
        for baseline in ("random", "edges", "mutants", "input_times_noise")
    },
    **{
        imputer: (images, lambda i=imputer: beats("random", on="pixel_flipping", steps=4, imputer=i))
        for imputer in ("noise", "blur", "constant")
    },
    "uninformative": (images, lambda: beats("uninformative", on="pixel_flipping", max_examples=12)),
    **{
        f"similarity {name}": (images, lambda s=name: changes_under("cascading_randomization", similarity=s, seeds=2))
        for name in SIMILARITIES
    },
    **{
        f"reinit {reinit}": (features, lambda r=reinit: changes_under("cascading_randomization", reinit=r, seeds=2))
        for reinit in ("own", "truncated_normal", "permutation")
    },
    "samples": (features, lambda: changes_under("cascading_randomization", samples=3, seeds=2)),
    "other_target": (features, lambda: changes_under("other_target")),
    "later_layers": (features, lambda: changes_under("later_layers")),
    "batch_order": (features, lambda: invariant_under("batch_order")),
    **{
        metric: (features, lambda m=metric: bounded(m, at_most=0.9, at_least=0.01))
        for metric in ("cosine_similarity_convergence", "scale_preservation", "efficient_mprt", "pixel_flipping")
    },
}


def on(bench, claim):
    """Return all that a verdict says and rests on, as plain values."""
    verdict = bench.explainer(InputXGradient).decide(claim())
    return plain_value([verdict.outcome, verdict.estimate, verdict.interval, verdict.reason, verdict.evidence.plain()])


@pytest.mark.parametrize("which", CLAIMS)
def test_the_evidence_is_the_same_to_the_last_bit(which):
    subject, claim = CLAIMS[which]
    given = subject()
    assert in_double(lambda: on(Bench(*given), claim)) == on(Bench(*given), claim)


@pytest.mark.slow
def test_an_audit_finds_the_same():
    given = features()

    def audited():
        bench = Bench(*given)
        few = {name: MUTANTS.get(name, where="test") for name in ("untrained", "rounded", "output_noise", "input")}
        asked = [beats("random", on="pixel_flipping"), changes_under("cascading_randomization")]
        return audit(bench, bench.explainer(InputXGradient).explainer, asked, mutants=few, suggest=False).plain()

    assert in_double(audited) == audited()
