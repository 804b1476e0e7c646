"""Comparisons refuse what would make every claim of invariance hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.base import Intervention, Procedure
from pytest_xaisanity.model.rewriting import rewritten


@dataclass(frozen=True)
class Doubled(Intervention):
    """Doubles all weights; with or without a key of that."""

    keyed: bool
    name: ClassVar[str] = "doubled"
    verbs: ClassVar[tuple[str, ...]] = ("invariant_under",)

    def start(self, lab, block):
        return Doubling(self.keyed, lab)


class Doubling(Procedure):
    def __init__(self, keyed, lab):
        self.attributions, self.model = lab.attributions, lab.subject.model
        self.state = ("doubled",) if keyed else ()

    def maps(self, block):
        weights = list(self.model.parameters())
        with rewritten(self.model, weights, [2 * weight.detach() for weight in weights]):
            yield self.attributions(block, stage="doubled weights", state=self.state)


@pytest.fixture
def saliency():
    return Bench(nn.Linear(6, 3).eval(), torch.randn(16, 6)).explainer(Saliency, abs=False)


def test_maps_after_an_intervention_are_those_of_the_changed_model(saliency):
    """Twice as large: moved by the whole of their size."""
    verdict = saliency.invariant_under(Doubled(keyed=True))
    assert verdict.failed
    assert "(the worst by 1)" in verdict.reason


def test_an_intervention_that_yields_the_kept_maps_of_the_model_as_given_is_an_error(saliency):
    """It has forgotten the key, and nothing would ever have changed."""
    before = [weight.clone() for weight in saliency.bench.subject.model.parameters()]
    with pytest.raises(XaiError, match=r"state=\(name, \*settings\)"):
        saliency.invariant_under(Doubled(keyed=False))
    assert all(map(torch.equal, before, saliency.bench.subject.model.parameters()))
