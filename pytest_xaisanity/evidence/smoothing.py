"""A smoothed network as it is measured: its explanations, and whether it predicts what the network does."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..explainers.attributions import Attributions
from ..model.smooth import Smooth
from ..model.smoothing import Smoothing
from ..statistics.evidence import Remark, Row, number
from ..subject.block import Block
from ..subject.outputs import select
from ..subject.subject import Subject

__all__ = ["Agreement", "SmoothedNetwork", "own_network"]

_WHERE = "smoothed"


@dataclass(frozen=True)
class Agreement(Remark):
    """Whether smoothed networks predict what the network does.

    Attributes:
        smooths: How smooth each of them is.
        shares: For each, the share of the inputs whose prediction (the class, or every label) stays; None for values.
        changes: For each, by how much the explained output changes, as a mean of absolute values over the inputs.
        n: The number of inputs.
        replaced: How often each function was replaced in a forward pass, by name.
    """

    smooths: tuple[Smooth, ...]
    shares: tuple[float | None, ...]
    changes: tuple[float, ...]
    n: int
    replaced: Mapping[str, int]
    always: ClassVar[bool] = True

    def __str__(self) -> str:
        told = []
        for smooth, share, change in zip(self.smooths, self.shares, self.changes, strict=True):
            kept = f"the output changes by {change:.3g} on average" if share is None else f"{share:.0%}"
            told.append(f"{kept} with {smooth}" if len(self.smooths) > 1 else kept)
        if None in self.shares:
            return f"smoothed: {', '.join(told)}"
        return f"the smoothed network predicts the same for {', '.join(told)} of {self.n} inputs"

    def plain(self) -> dict[str, object]:
        """Return all of it, one value a setting."""
        return {
            "smoothed": {
                "beta": [smooth.beta for smooth in self.smooths],
                "r": [smooth.r for smooth in self.smooths],
                "lse": self.smooths[0].lse,
                "agreement": list(self.shares),
                "output_change": list(self.changes),
                "replaced": dict(self.replaced),
            }
        }

    def rows(self) -> Iterator[Row]:
        """Yield what was replaced, and the agreement of each setting."""
        yield "smoothed", ", ".join(f"{name} ×{count}" for name, count in self.replaced.items())
        for smooth, share, change in zip(self.smooths, self.shares, self.changes, strict=True):
            kept = "" if share is None else f"{share:.0%} of {self.n} predictions unchanged, "
            yield "agreement", f"{smooth}: {kept}output changed by {number(change)} on average"


class SmoothedNetwork:
    """A subject's network, smoothed in one way or several, and explained.

    Args:
        subject: The subject.
        smooths: How smooth it is made.

    Raises:
        XaiError: The model cannot be seen inside.
    """

    def __init__(self, subject: Subject, smooths: Sequence[Smooth]) -> None:
        self.subject = subject
        self.smoothings = [Smoothing(subject.model, smooth) for smooth in smooths]
        self._kept = [0.0] * len(smooths)
        self._changed = [0.0] * len(smooths)
        self._count = 0
        self._values = False  # whether outputs are values, which predict no class
        self._replaced: dict[str, int] = {}

    def probe(self, block: Block) -> None:
        """Find out, on a few inputs of a block, what is replaced in the forward pass.

        Raises:
            XaiError: Nothing is.
        """
        inputs = self.subject.probe(block)
        for smoothing in self.smoothings:
            with smoothing.block():
                self.subject.outputs(inputs)
            if not smoothing.met:
                raise _nothing(smoothing, type(self.subject.model).__name__)
            passes = -(-len(inputs[0]) // self.subject.batches.size)
            self._replaced = {name: count // passes for name, count in smoothing.met.items()}

    def observe(self, block: Block) -> None:
        """Count the predictions of a block that stay; of the first one, see what is replaced."""
        if not self._replaced:
            self.probe(block)
        given = self.subject.outputs(block.arguments)
        for place, smoothing in enumerate(self.smoothings):
            with smoothing.block():
                outputs = self.subject.outputs(block.arguments)
            change = select(outputs, block.targets) - select(given, block.targets)
            self._changed[place] += float(change.double().abs().sum()) / max(1, change[0].numel())
            same = self._predictions(given) == self._predictions(outputs)
            self._kept[place] += float(same.flatten(1).all(1).sum())
        self._count += len(block)

    def _predictions(self, outputs: Tensor) -> Tensor:
        """Return what is predicted for each input, ``(b, ...)``: a class, or whether each label is present."""
        link = self.subject.link
        self._values = not link.gives_probabilities
        if link.task in ("classification", "next_token") and outputs.shape[1] > 1:
            return outputs.argmax(1, keepdim=True)
        return link(outputs) > 0.5 if link.gives_probabilities else outputs

    def maps(self, attributions: Attributions, block: Block, rows: Sequence[int], place: int) -> Tensor:
        """Return the maps of the inputs at some places of a block, of the network smoothed in one of the ways.

        Raises:
            XaiError: The explainer goes round the model's modules, so that nothing was smoothed.
        """
        smoothing = self.smoothings[place]
        smooth = smoothing.smooth
        state: tuple[Hashable, ...] = (_WHERE, smooth.beta, smooth.r, smooth.lse)
        with smoothing.block():
            maps = attributions.of_some(block, rows, stage=f"the smoothed model ({smooth})", state=state)
        smoothing.check(f"explainer {attributions.explainer.name}")
        return maps

    def agreement(self) -> Agreement:
        """Return what became of the predictions of all blocks observed."""
        count = max(1, self._count)
        return Agreement(
            tuple(smoothing.smooth for smoothing in self.smoothings),
            tuple(None if self._values else kept / count for kept in self._kept),
            tuple(changed / count for changed in self._changed),
            self._count,
            dict(self._replaced),
        )


def own_network(attributions: Attributions) -> SmoothedNetwork | None:
    """Return the network that an explainer of a smoothed one explains, or None for any other explainer."""
    smooth = attributions.explainer.smooth
    return None if smooth is None else SmoothedNetwork(attributions.subject, [smooth])


def _nothing(smoothing: Smoothing, model: str) -> XaiError:
    kinds = {"ReLUs": smoothing.smooth.beta, "max-pooling": smoothing.smooth.r}
    wanted = [kind for kind, sharp in kinds.items() if sharp < torch.inf]
    return XaiError(
        _WHERE,
        found=f"nothing to smooth in the forward pass of {model} ({smoothing.smooth})",
        expected=f"{' or '.join(wanted) or 'a finite beta= or r=, and ReLUs or max-pooling'}, as modules or functions",
        fix="leave the claim out for a model that is smooth already; where the model has one of the two alone, give "
        "that a finite setting (beta= of ReLUs, r= of max-pooling)",
    )
