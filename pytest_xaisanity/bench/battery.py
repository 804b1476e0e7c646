"""Batteries: claims that are put together, and what a subject lacks where one of them says nothing about it.

The names of the batteries are offered in every session, so that at the top nothing is imported that a session without
a claim should not load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..claims.make import make
from ..common.errors import unknown_name

if TYPE_CHECKING:
    from ..claims.base import Claim
    from ..statistics.verdict import Verdict
    from ..subject.block import Block
    from ..subject.subject import Subject

__all__ = ["BATTERIES", "STANDARD", "Decided", "Entry", "battery", "lacking"]

Lacks = Callable[["Subject", "Block", int], str]
"""What a subject lacks, in words, or nothing: known from its first block, and the fewest inputs that could decide."""


@dataclass(frozen=True)
class Entry:
    """A claim of a battery, as a marker holds it.

    Attributes:
        verb: One of the four.
        args: Its arguments.
        settings: Its keywords.
        lacks: What a subject lacks where the claim says nothing about it; None for a claim about any.
    """

    verb: str
    args: tuple[object, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    lacks: Lacks | None = None

    @cached_property
    def claim(self) -> Claim:
        """The claim."""
        return make(self.verb, self.args, self.settings, where=self.verb)


def battery(name: str, *, where: str) -> tuple[Entry, ...]:
    """Return the claims of a battery.

    Args:
        name: ``"quick"``, ``"standard"`` or ``"thorough"``.
        where: The argument or option that held the name, for the error.

    Raises:
        XaiError: There is no such battery.
    """
    if not isinstance(name, str) or name not in BATTERIES:
        raise unknown_name(where, name, BATTERIES, kind="battery")
    return BATTERIES[name]


def lacking(claim: Claim, subject: Subject, block: Block, least: int) -> str:
    """Return in words what a lent subject lacks for a claim of a battery; nothing where the claim can be put to it.

    Args:
        claim: The claim; to one of no battery nothing is lacking.
        subject: The subject.
        block: Its first block.
        least: The fewest inputs that could decide the claim.
    """
    known = {entry.claim.claim_id: entry for entries in BATTERIES.values() for entry in entries}
    entry = known.get(claim.claim_id)
    return "" if entry is None or entry.lacks is None else entry.lacks(subject, block, least)


@dataclass(frozen=True)
class Decided(Mapping[str, "Verdict"]):
    """The verdicts on the claims of a battery, by the id of each claim; true where all have passed.

    Attributes:
        verdicts: Those on the claims that the subject lacks nothing for.
        skipped: By the id of each other claim, what the subject lacks for it.
    """

    verdicts: Mapping[str, Verdict]
    skipped: Mapping[str, str]

    def __getitem__(self, claim_id: str) -> Verdict:
        return self.verdicts[claim_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __bool__(self) -> bool:
        return bool(self.verdicts) and all(self.verdicts.values())

    def __repr__(self) -> str:
        lines = [*map(repr, self.verdicts.values()), *(f"<skipped: {one}: {why}>" for one, why in self.skipped.items())]
        return "\n".join(lines)


# --------------------------------------------------------------------------------------------- what a subject may lack


_MOST_SAME = 0.5  # of pairs of inputs of one target, at which the network may have the same gradient


def _another_class(subject: Subject, block: Block, least: int) -> str:
    classes = subject.outputs(subject.probe(block)).shape[1]
    return "" if block.targets is not None and classes > 1 else "another class: the model has a single output"


def _layers_above(subject: Subject, block: Block, least: int) -> str:
    from ..model.cut import has_cut
    from ..subject.explained_layers import explained_layers

    found, probe = explained_layers(subject, block), subject.probe(block)
    above = has_cut(subject.model, lambda: subject.outputs(probe), found)
    return "" if above else "layers above another: the model has no module, used once, below its topmost weights"


def _detail(subject: Subject, block: Block, least: int) -> str:
    return "" if block.layout.is_image else "images: its inputs are not of shape (N, C, H, W)"


def _inputs_of_one_target(subject: Subject, block: Block, least: int) -> str:
    counts: Counter[tuple[int, ...]] = Counter()
    for one in subject.blocks():
        counts.update(one.target_keys)
        if _with_others(counts) >= least:
            return ""
    total = sum(counts.values())
    if total < least:
        return ""  # as for any other claim, which says so
    return f"inputs of one target: {_with_others(counts)} of {total} have another of theirs, and {least} are needed"


def _multiplied_inputs(subject: Subject, block: Block, least: int) -> str:
    if block.layout.kind == "tokens" or not all(tensor.is_floating_point() for tensor in block.inputs):
        return "floating-point inputs, by which attributions may be multiplied"
    from ..evidence.baselines.other_local import UnitGradients

    if UnitGradients(subject).same(block) > _MOST_SAME:
        return "gradients that depend on the input: of a linear model they are the same for all inputs of one target"
    return _inputs_of_one_target(subject, block, least)


def _with_others(counts: Mapping[tuple[int, ...], int]) -> int:
    return sum(count for count in counts.values() if count > 1)


def _several_targets(subject: Subject, block: Block, least: int) -> str:
    counts: Counter[tuple[int, ...]] = Counter()
    for one in subject.blocks():
        counts.update(one.target_keys)
        if len(counts) > 1 and max(counts.values()) >= least:
            return ""
    if len(counts) < 2:
        return "several targets: all inputs have the same"
    if sum(counts.values()) < least:
        return ""  # as for any other claim, which says so
    return f"inputs of each target: the most of one are {max(counts.values())}, and {least} are needed"


# ------------------------------------------------------------------------------------------------------- the batteries

_FLIPPING: Mapping[str, object] = {"on": "pixel_flipping"}
_READ_EITHER_WAY: Mapping[str, object] = {**_FLIPPING, "reading": "either"}  # gradients say what follows from a change

_CASCADE = Entry("changes_under", ("cascading_randomization",))
_RANDOM = Entry("beats", ("random",), _READ_EITHER_WAY)
_ORDER = Entry("invariant_under", ("batch_order",))

_STANDARD = (
    _CASCADE,
    Entry("changes_under", ("later_layers",), lacks=_layers_above),
    Entry("changes_under", ("other_target",), lacks=_another_class),
    _RANDOM,
    Entry("beats", ("other_input",), _FLIPPING, lacks=_inputs_of_one_target),
    Entry("beats", ("other_local",), _FLIPPING, lacks=_multiplied_inputs),
    _ORDER,
)
_SHARPER = (
    Entry("beats", ("misplaced",), _READ_EITHER_WAY, lacks=_detail),
    Entry("beats", ("class_mean",), _FLIPPING, lacks=_inputs_of_one_target),
    Entry("beats", ("uninformative",), _READ_EITHER_WAY),
    Entry("beats", ("edges",), _READ_EITHER_WAY, lacks=_detail),
    Entry("beats", ("random",), {**_READ_EITHER_WAY, "within": "target"}, lacks=_several_targets),
    Entry("beats", ("mutants",), _READ_EITHER_WAY, lacks=_detail),
)

STANDARD = "standard"
BATTERIES: Mapping[str, tuple[Entry, ...]] = {
    "quick": (_CASCADE, _RANDOM, _ORDER),
    STANDARD: _STANDARD,
    "thorough": (*_STANDARD, *_SHARPER),
}
"""The batteries by name, each with its claims in the order in which they are decided."""
