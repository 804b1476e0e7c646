"""Completeness: whether attributions sum to what the input adds to the output (Sundararajan et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ...common.checks import check_number
from ...common.errors import XaiError, setting_error
from ...statistics.evidence import Axis, Part, Row
from ...subject.block import Block, Inputs
from ...subject.outputs import select
from ...subject.subject import Subject
from ..base import Lab, MapMetric, Scores
from ..spread import check_floating

__all__ = ["Added", "Completeness"]

_ROUNDED = 8  # times the machine's precision: what an output may be off by


@dataclass(frozen=True)
class Completeness(MapMetric["_Differences"]):
    """How far the sum of the attributions is from ``f(x) - f(baseline)``, for the explained output ``f``.

    By default it is relative: the gap divided by ``|f(x) - f(baseline)|``. 0 is complete, 1 what a map of zeros has. A
    difference that rounding alone can make counts as none.

    Args:
        baseline: What every value of the baseline is; of tokens, every value of their embedding.
        relative: Whether the gap is divided by the difference.

    Raises:
        XaiError: A setting is out of range, or does not fit the inputs.
    """

    baseline: float = 0.0
    relative: bool = True
    name: ClassVar[str] = "completeness"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = inf
    higher_is_better: ClassVar[bool] = False
    ranks: ClassVar[bool] = False
    shares_passes: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "give baseline= that of the explainer, raise n_steps of Integrated Gradients, and ask for signed attributions; "
        "gradients, CAMs and rankings are not complete, and need not be"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", check_number(f"{self.name} baseline", self.baseline, -1e9, 1e9))
        if not isinstance(self.relative, bool):
            raise setting_error(self.name, "relative", repr(self.relative), "True or False")

    @property
    def called(self) -> str:
        """The name with its form: ``"relative completeness gap"``."""
        return f"{'relative' if self.relative else 'absolute'} {self.name} gap"

    def passes(self, block: Block) -> float:
        """Return the pass of the baseline."""
        return 1.0

    def prepare(self, lab: Lab, block: Block) -> _Differences:
        """Return what each input adds to the output."""
        check_floating(self.name, block)
        return _Differences(lab.subject, block, self.baseline)

    def score(self, prepared: _Differences, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores ``(b,)`` of ``maps`` and, as a curve, the sum of each map and what it should be."""
        total = maps.flatten(1).to(prepared.added.dtype).sum(1)
        gap = (total - prepared.added).abs()
        if self.relative:
            gap = (gap + prepared.floor) / (prepared.added.abs() + prepared.floor)
        return Scores(gap, {"sum": torch.stack([total, prepared.added], dim=1)})

    def describe(self, prepared: _Differences) -> tuple[Part, ...]:
        """Return the baseline."""
        return (Added(self.baseline),)


@dataclass(frozen=True)
class Added(Axis):
    """From what the output is said to rise or fall.

    Attributes:
        baseline: Every value of the baseline.
    """

    baseline: float
    joined: ClassVar[bool] = False

    @property
    def across(self) -> str:
        """What is compared."""
        return "sum"

    @property
    def points(self) -> tuple[str, ...]:
        """Both sums."""
        return ("of the map", "f(x) - f(baseline)")

    @property
    def up(self) -> str:
        """The unit of both."""
        return "output"

    def plain(self) -> dict[str, object]:
        """Return it, and what the points of the curve are."""
        return {"axis": "sum", "sums": list(self.points), "baseline": self.baseline}

    def rows(self) -> Iterator[Row]:
        """Yield the baseline."""
        yield "baseline", f"{self.baseline:g} everywhere"


class _Differences:
    """What each input of a block adds to the output: ``added`` ``(b,)``, and ``floor``: how much rounding may add."""

    def __init__(self, subject: Subject, block: Block, baseline: float) -> None:
        outputs = subject.outputs(block.arguments) if block.outputs is None else block.outputs
        whole, empty = (
            select(one if one.dtype == torch.float64 else one.float(), block.targets)
            for one in (outputs, _of_baseline(subject, block, baseline))
        )
        if not torch.isfinite(empty).all():
            raise XaiError(
                "completeness baseline",
                found=f"outputs of xai_model that are NaN or infinite for {baseline:g} everywhere",
                expected="finite outputs",
                fix="give baseline= that of the explainer",
            )
        self.added = whole - empty
        least = torch.finfo(whole.dtype)
        self.floor = (_ROUNDED * least.eps * (whole.abs() + empty.abs())).clamp_min(least.tiny)


def _of_baseline(subject: Subject, block: Block, baseline: float) -> Tensor:
    """Return the outputs where every value of the inputs, or of the tokens' embedding, is the baseline's."""
    if block.mask is None:
        emptied: Inputs = tuple(torch.full_like(tensor, baseline) for tensor in block.inputs)
        return subject.outputs((*emptied, *block.context))
    if subject.presentation.embedding is None:
        raise XaiError(
            "completeness",
            found="token ids and no embedding, which has a baseline",
            expected="the module whose output is replaced by the baseline",
            fix="name it in xai_embedding, or Bench(embedding=...)",
        )
    mask = block.mask

    def work(part: slice) -> Tensor:
        arguments = tuple(tensor[part] for tensor in block.arguments)
        embedded = subject.presentation.embedded(arguments).masked_fill(mask[part, :, None], baseline)
        return subject.answer(arguments, embedded)

    with torch.inference_mode(False), torch.no_grad():
        return subject.batches.run(len(block), work)
