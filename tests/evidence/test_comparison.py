"""What a comparison asks of the interventions of other packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.base import Intervention, Procedure


class Twice(Procedure):
    """Yields two maps where its shape says one."""

    def __init__(self, lab):
        self.attributions = lab.attributions
        self.shape = (1, 1)

    def maps(self, block):
        for run in (1, 2):
            yield self.attributions(block, state=("twice", run))


@dataclass(frozen=True)
class Again(Intervention):
    name: ClassVar[str] = "again"

    def start(self, lab, block):
        return Twice(lab)


def test_a_procedure_that_yields_other_maps_than_its_shape_says_is_one_clear_error():
    bench = Bench(nn.Linear(5, 3).eval(), torch.randn(32, 5, generator=torch.Generator().manual_seed(0)), device="cpu")
    with pytest.raises(XaiError, match=r"intervention 'again': found 2 batches of maps .* shape \(1, 1\); expected 1"):
        bench.explainer(lambda model, inputs, targets: inputs + 0).changes_under(Again())
