"""How far inputs spread: the unit in which perturbations of them are told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..subject.block import Block, Inputs
from ..subject.subject import Subject

__all__ = ["check_floating", "embedded_spread", "spreads"]


def check_floating(owner: str, block: Block) -> None:
    """Raise where inputs that are no tokens are no floating-point numbers, which alone can be moved a little."""
    if block.mask is not None or all(tensor.is_floating_point() for tensor in block.inputs):
        return
    raise XaiError(
        owner,
        found=f"inputs of {', '.join(str(tensor.dtype) for tensor in block.inputs)}",
        expected="floating-point inputs, which can be perturbed, or token ids and their embedding",
        fix="name in xai_explain the inputs that are numbers; or explain a model that takes what is made of the others",
    )


def spreads(subject: Subject, block: Block) -> list[Tensor]:
    """Return the standard deviation of each feature of a table over the data; else of each channel over its places.

    Args:
        subject: What is explained.
        block: A few inputs.

    Returns:
        For each tensor, what broadcasts against it: one row for a table, else one for each input.
    """
    layouts = block.layout.each
    tables = [place for place, layout in enumerate(layouts) if layout.kind == "table"]
    learned = subject.learned(("spread", *tables), lambda inputs, _: _of_features(inputs, tables)) if tables else ()
    found = []
    for place, (tensor, layout) in enumerate(zip(block.inputs, layouts, strict=True)):
        if place in tables:
            found.append(learned[tables.index(place)])
        else:
            places, axes = layout.over_places(tensor)
            found.append(places.std(axes, correction=0, keepdim=True))
    return found


def embedded_spread(embedded: Tensor, mask: Tensor) -> Tensor:
    """Return the root mean square of what an embedding makes of the tokens that count, ``(b, 1, 1)``.

    Args:
        embedded: ``(b, T, D)``.
        mask: Which tokens count, ``(b, T)``.
    """
    squares = embedded.square().mean(2).masked_fill(~mask, 0)
    return (squares.sum(1) / mask.sum(1).clamp_min(1)).sqrt()[:, None, None]


def _of_features(inputs: Inputs, tables: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(torch.std(inputs[place], 0, correction=0, keepdim=True) for place in tables)
