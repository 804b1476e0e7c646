"""Measurements under way: gathered block by block, and kept for later claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..common.seeding import isolated
from ..evidence.base import Beside, Lab, Measured, Measurement, Measuring
from ..evidence.foreign import asked, checked_measured, checked_parts
from ..explainers.attributions import Attributions
from ..statistics.evidence import Part
from ..subject.block import Block

__all__ = ["Run"]


@dataclass
class Run:
    """What one measurement found, gathered block by block and kept for later claims.

    Attributes:
        lab: What the measurement may use.
        measurement: The measurement.
        early: Whether the first blocks are small, to look early.
    """

    lab: Lab
    measurement: Measurement[Measured]
    early: bool
    _blocks: Iterator[Block] | None = None
    _measuring: Measuring[Measured] | None = None
    _found: list[Measured] = field(default_factory=list)
    _parts: list[tuple[Part, ...]] = field(default_factory=list)
    _indices: list[tuple[int, ...]] = field(default_factory=list)
    _targets: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)
    _last: bool = False

    def advance(self, count: int) -> bool:
        """Measure until ``count`` blocks are; return whether these are all."""
        while len(self._found) < count and not self._last:
            self._measure_next()
        return self._last and count >= len(self._found)

    def _measure_next(self) -> None:
        done = len(self._found)
        if self._blocks is None:
            self._blocks = self.lab.subject.blocks(early=self.early, skip=done)
        with isolated(self.lab.seed, "stream", done):
            block = next(self._blocks)
        where = f"measurement {type(self.measurement).__name__}"
        with asked(where):
            if self._measuring is None:
                self._measuring = self.measurement.start(self.lab, block)
            found, parts = self._measuring.measure(block), self._measuring.describe()
        self._found.append(checked_measured(where, found, block))
        self._parts.append(checked_parts(where, parts))
        self._indices.append(block.indices)
        self._targets.append(block.target_keys)
        self._last = block.last

    def found(self, count: int) -> Measured:
        """Return what was found on the first ``count`` blocks."""
        some = self._found[:count]
        return some[0].concat(some)

    def parts(self, count: int) -> tuple[Part, ...]:
        """Return what the measurement said of itself after as many blocks."""
        return self._parts[min(count, len(self._parts)) - 1]

    def indices(self, count: int) -> tuple[int, ...]:
        """Return the inputs of the first ``count`` blocks."""
        return tuple(index for part in self._indices[:count] for index in part)

    def targets(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Return the targets of these inputs."""
        return tuple(target for part in self._targets[:count] for target in part)

    @property
    def attributions(self) -> Attributions:
        """What makes the maps that were measured."""
        return self.lab.attributions if self._measuring is None else self._measuring.explained(self.lab)

    def again(self, wanted: Sequence[int]) -> Iterator[tuple[Block, list[int]]]:
        """Yield the blocks that hold some of the inputs measured, read once more, with the places of these in them."""
        numbers = [number for number, indices in enumerate(self._indices) if not set(indices).isdisjoint(wanted)]
        first = min(numbers, default=0)
        blocks = self.lab.subject.blocks(early=self.early, skip=first)
        for number in range(first, max(numbers, default=-1) + 1):
            with isolated(self.lab.seed, "stream", number):
                block = next(blocks)
            if number in numbers:
                yield block, [row for row, index in enumerate(block.indices) if index in wanted]

    def beside(self, block: Block, rows: Sequence[int]) -> Iterator[Beside]:
        """Yield maps that a report shows beside the explanations of some inputs of a block."""
        if self._measuring is not None:
            yield from self._measuring.beside(block, rows)

    def rest(self) -> None:
        """Let go of all but what was found: of inputs, drawn weights and the like. The run may go on later."""
        self._blocks = None
        self.lab.subject.release()
        if self._measuring is not None:
            self._measuring.rest()
