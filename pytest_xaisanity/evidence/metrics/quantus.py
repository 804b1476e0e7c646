"""Metrics of Quantus (Hedström et al. 2023) that score given maps: ``bounded(quantus.Complexity(), at_most=3)``."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from ...common.seeding import isolated
from ...subject.block import Block
from ..base import Lab
from .of_others import MetricOfOthers, Rows

__all__ = ["QuantusMetric"]


@dataclass(frozen=True, eq=False)
class QuantusMetric(MetricOfOthers):
    """A metric of Quantus: an object that is called with the model, an input, its target and a map of one channel.

    It scores one input at a time, with random numbers of that input's own, so that a score depends neither on the
    batch nor on the order. Metrics that explain again, of the categories robustness and randomization, are refused:
    the claims of this package that do the same have controls. What stands beside them is ``masks=``, for those of
    localisation. Their scores have no range that is known, and are decided on which is better.
    """

    low: ClassVar[float] = -inf
    high: ClassVar[float] = inf

    @classmethod
    def accepts(cls, source: object) -> bool:
        """Whether an object is a metric of Quantus."""
        bases = type(source).__mro__
        return any(base.__module__.startswith("quantus.metrics") and base.__name__ == "Metric" for base in bases)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of its class, behind that of the library."""
        return f"quantus.{type(self.source).__name__}"

    @property
    def higher_is_better(self) -> bool:
        """What the metric says."""
        return str(self.source.score_direction.value) == "higher"

    def prepare(self, lab: Lab, block: Block) -> Rows:
        """Return the block, of a single floating-point input for a network."""
        network = isinstance(lab.subject.model, nn.Module) and len(block.inputs) == 1 and not block.context
        if not network or not block.inputs[0].is_floating_point():
            raise self.error(
                f"a model of {len(block.inputs) + len(block.context)} inputs, of {block.inputs[0].dtype}",
                "a torch.nn.Module of one floating-point input, which is what Quantus calls",
                "wrap the model in one that holds what is no input",
            )
        return super().prepare(lab, block)

    def _of_row(self, prepared: Rows, row: int, one: Tensor, draw: str) -> float:
        block, subject = prepared.block, prepared.lab.subject
        inputs = block.inputs[0][row : row + 1]
        channels = block.layout.channels is not None
        target = 0 if block.targets is None else int(block.targets[row].reshape(-1)[0])
        metric = copy.deepcopy(self.source)  # which keeps what it has scored
        with isolated(prepared.lab.seed, self.name, draw, block.indices[row]):
            found = metric(
                model=subject.model,
                x_batch=inputs.detach().cpu().numpy(),
                y_batch=np.array([target]),
                a_batch=(one[None, None] if channels else one[None]).detach().cpu().numpy(),
                s_batch=None if prepared.masks is None else _mask(prepared.masks[row], channels=channels),
                explain_func=self._again,
                device=str(inputs.device),
            )
        score = np.asarray(found, dtype=object).reshape(-1)
        if len(score) != 1 or not isinstance(score[0], (int, float, np.number, np.bool_)):
            raise self.error(
                f"{type(found).__name__} {str(found)[:60]} for one input",
                "one number",
                "ask Quantus for one, with return_auc_per_sample=True or the like",
            )
        return float(score[0])

    def _again(self, *args: object, **settings: object) -> object:
        """Refuse to explain again."""
        raise self.error(
            "a metric that explains again",
            "one that scores given maps: complexity, faithfulness, localisation",
            "claim bounded('max_sensitivity') or changes_under('cascading_randomization'), which do the like",
        )


def _mask(mask: Tensor, *, channels: bool) -> object:
    return (mask[None, None] if channels else mask[None]).cpu().numpy()
