"""What a report shows of the inputs of a verdict: a few of them with their maps, the worst first."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..claims.base import Worst
from ..claims.by_target import named
from ..common.errors import XaiError, said
from ..evidence.pictures import Pictured, pictures
from ..explainers.attributions import Attributions
from ..report.figures import Exhibit, Fact
from ..statistics.evidence import Evidence, Sample, number
from ..statistics.verdict import Verdict
from ..subject.block import Block
from ..subject.subject import Subject
from .runs import Run

__all__ = ["with_pictures"]

_SHOWN = 6  # inputs
_OWN = "explanation"


def with_pictures(verdict: Verdict, runs: Sequence[Run], rivals: Sequence[str]) -> tuple[Verdict, bool]:
    """Return a verdict with pictures among its evidence, and whether they could be made.

    Inputs are read and explained once more, which changes neither the verdict nor any later one.

    Args:
        verdict: The verdict.
        runs: What was measured for it.
        rivals: For each, the name of the explainer that was measured in the claim's own's place, or nothing.
    """
    facts, exhibits, made = _facts(runs[0].lab.subject), tuple[Exhibit, ...](), True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they have been said
            exhibits = tuple(_exhibits(verdict.evidence, runs, rivals))
    except Exception as error:
        text = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}{said(error)}"
        facts, made = (*facts, Fact("inputs and maps", f"could not be explained once more: {text}")), False
    shown = Pictured(exhibits, facts)
    return replace(verdict, evidence=Evidence(*verdict.evidence.parts, shown)), made


def _exhibits(evidence: Evidence, runs: Sequence[Run], rivals: Sequence[str]) -> Iterator[Exhibit]:
    """Yield the inputs that are shown, the worst first."""
    if runs[0].measurement.about == "model":
        return
    worst = evidence.find(Worst)
    scores = {} if worst is None else dict(worst.inputs)
    chosen = list(dict.fromkeys([*scores, *evidence.get_part(Sample).indices]))[:_SHOWN]
    maps: dict[int, list[tuple[str, Tensor]]] = {index: [] for index in chosen}
    homes: dict[int, tuple[Block, int]] = {}
    for run, rival in zip(runs, rivals, strict=True):
        for block, rows in run.again(chosen):
            for row in rows:
                homes.setdefault(block.indices[row], (block, row))
            if run is runs[0] or rival:
                own = _own_maps(run.attributions, block, rows)
                several = own.ndim > 1 + len(block.layout.places)  # forms, the explainer's own first
                for row, one in zip(rows, own[:, 0] if several else own, strict=True):
                    maps[block.indices[row]].append((rival or _OWN, one))
            for row, called, one in run.beside(block, rows):
                maps[block.indices[row]].append((called, one))
    features = runs[0].lab.subject.features
    for index in chosen:
        block, row = homes[index]
        note = f"{worst.unit}: {number(scores[index])}" if worst is not None and index in scores else ""
        yield Exhibit(index, named(block.target_keys[row]), note, pictures(block, row, maps[index], features))


def _own_maps(attributions: Attributions, block: Block, rows: Sequence[int]) -> Tensor:
    """Return the maps of some inputs, of the whole block where these are kept or a few cannot be explained alone."""
    if not attributions.cached((), block):
        try:
            return attributions.of_some(block, rows, stage="the model as given", state=())
        except XaiError:  # of constant maps, say, which are an error only where all are
            pass
    return attributions(block)[list(rows)]


def _facts(subject: Subject) -> tuple[Fact, ...]:
    """Return what was explained, and on which device."""
    model = subject.model
    size = f", {sum(one.numel() for one in model.parameters()):,} parameters" if isinstance(model, nn.Module) else ""
    device = subject.device
    card = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    count = "a stream" if subject.count is None else f"{subject.count:,} inputs"
    return (
        Fact("model", f"{type(model).__name__}{size}; fingerprint {subject.model_fingerprint or 'not known'}"),
        Fact("data", f"{count}; fingerprint {subject.data_fingerprint or 'not known, as it is streamed'}"),
        Fact("device", f"{device}{card}"),
    )
