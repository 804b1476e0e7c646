"""Plans: what a claim costs, known before it is decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..evidence.base import Cost, Lab, Measured, Measurement
from ..subject.block import Block

__all__ = ["Plan", "Speed", "planned", "shown_time", "together"]

T = TypeVar("T")
_LONG = 0.25  # seconds of two inputs, which are enough then


@dataclass(frozen=True)
class Speed:
    """How long an input takes, from one timed run of a few.

    Attributes:
        explanation: Seconds for one explanation.
        passed: Seconds for one pass of the model.
    """

    explanation: float
    passed: float

    @classmethod
    def of(cls, lab: Lab, block: Block) -> Speed:
        """Time an explanation and a pass of a few inputs, which are made once before: first calls are slow.

        Two inputs are timed, and more where that takes no time.
        """
        speed = cls._on(lab, block.part(0, min(len(block), 2)))
        short = 2 * (speed.explanation + speed.passed) < _LONG
        return cls._on(lab, block.part(0, min(len(block), 16))) if short else speed

    @classmethod
    def _on(cls, lab: Lab, few: Block) -> Speed:
        lab.attributions(few)
        explained = _timed(lambda: lab.attributions.measured(few, few.targets, "the model as given", (0, "")))
        passed = _timed(lambda: lab.subject.outputs(few.arguments))
        return cls(explained / len(few), passed / len(few))

    def of_cost(self, cost: Cost) -> float:
        """Return how many seconds a cost takes."""
        return cost.explanations * self.explanation + cost.passes * self.passed

    def of_once(self, cost: Cost) -> float:
        """Return how many seconds it takes that is done once, for all inputs together."""
        return cost.once * self.passed


def _timed(work: Callable[[], T]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Plan:
    """What a claim costs at most: fewer inputs where it is decided early.

    Attributes:
        claim: The claim in one phrase, with the explainer.
        n: How many inputs there are; None for a stream, whose length is not known.
        cost: What each of them costs.
        each: How many seconds each of them takes, without trainings.
        once: How many seconds it takes that is done once, for all of them.
        spread: What explanations and trainings are spread over, in words; nothing where it is this process.
        kept: How many inputs are measured for a recorded baseline, however early the claim is decided.
        again: How many inputs all is measured on once more, to record how far scores differ from run to run.
    """

    claim: str
    n: int | None
    cost: Cost
    each: float
    once: float = 0.0
    spread: str = ""
    kept: int = 0
    again: int = 0

    @property
    def seconds(self) -> float | None:
        """About how long it takes, without trainings; None for a stream."""
        return None if self.n is None else (self.n + self.again) * self.each + self.once * (1 + bool(self.again))

    def __str__(self) -> str:
        counts = (("explanation", self.cost.explanations), ("pass", self.cost.passes))
        parts = [_counted(count, what) for what, count in counts if count]
        trained = f", {self.cost.trainings} trainings" if self.cost.trainings else ""
        inputs = "each input of a stream" if self.n is None else f"each of {self.n} inputs"
        once = f" and {_counted(self.cost.once, 'pass')} once" if self.cost.once else ""
        took = "" if self.seconds is None else f", at most about {shown_time(self.seconds)}"
        over = f" in one process, spread over {self.spread}" if self.spread and self.cost.trainings else ""
        twice = ", and these twice," if self.again else ""
        recorded = f", {self.kept} inputs at least{twice} for the baseline" if self.kept else ""
        return f"{self.claim}: {' and '.join(parts) or 'nothing'} for {inputs}{once}{trained}{recorded}{took}{over}"


def together(plans: Sequence[Plan]) -> str:
    """Return in words what several claims about the same inputs cost at most, as if they shared nothing."""
    cost = sum((plan.cost for plan in plans), Cost())
    once = [plan.once if plan.seconds is None else plan.seconds - plan.each * (plan.n or 0) for plan in plans]
    whole = Plan("", plans[0].n, cost, sum(plan.each for plan in plans), sum(once))
    return str(whole).removeprefix(": ")


def _counted(count: float, what: str) -> str:
    plural = "" if count == 1 else "es" if what.endswith("s") else "s"
    return f"{count:,.0f} {what}{plural}" if count >= 1000 else f"{count:.3g} {what}{plural}"


def planned(
    measurements: Sequence[tuple[Measurement[Measured], Lab]], block: Block, speeds: dict[Hashable, Speed]
) -> tuple[Cost, float, float]:
    """Return what measurements cost together, each once, and how many seconds that takes for an input, and once.

    The passes that predict targets and check the model are among them; the two inputs or so on which an explainer is
    tried out are not.

    Args:
        measurements: What is measured, each in its laboratory.
        block: The first block.
        speeds: Those of explainers that have been timed, by their keys; others are timed and join them.
    """
    costs: dict[tuple[Hashable, Hashable], Cost] = {}
    for one, lab in measurements:
        explainer = lab.attributions.explainer.key
        if explainer not in speeds:
            speeds[explainer] = Speed.of(lab, block)
        if (explainer, one.key) not in costs:
            costs[explainer, one.key] = one.cost(lab, block)
    subject, speed = measurements[0][1].subject, speeds[measurements[0][1].attributions.explainer.key]
    total, begun = sum(costs.values(), Cost()), Cost(passes=float(subject.predicts), once=subject.checks)
    each = [speed.of_cost(begun), *(speeds[key[0]].of_cost(cost) for key, cost in costs.items())]
    return total + begun, sum(each), speed.of_once(total + begun)


def shown_time(seconds: float) -> str:
    """Return a time as people read it: ``"0.4 s"``, ``"12 s"``, ``"3 min"``, ``"2 h"``."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.0f} h"
