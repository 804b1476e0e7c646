"""Matched nulls: how alike maps are that do not come from the model, made as the explainer's own are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..explainers.attributions import Attributions
from ..maps.counted import counted_map, place_map
from ..maps.edges import edge_maps
from ..maps.forms import Form
from ..maps.noise import noise_maps
from ..maps.reduction import reduced
from ..maps.similarity import Similarity
from ..subject.block import Block
from .compared_maps import made_of
from .controls import CONTROLLED, Alike
from .edge_resemblance import mean

__all__ = ["controls_of", "has_edges"]

Pairs = Mapping[str, tuple[Tensor, Tensor]]


def controls_of(
    attributions: Attributions, block: Block, maps: Tensor, similarities: Sequence[Similarity], deciding: int
) -> tuple[Alike, ...]:
    """Return what cannot be told from the explainer by a randomization, under the same similarities.

    Noise, the input times noise, and edges; and for each other form of the explainer's maps its own null, by the
    similarities that decide.

    Args:
        attributions: The explainer, whose forms are known.
        block: A few inputs or more, of which the first are taken.
        maps: Its maps ``(b, *places)``.
        similarities: Those that are measured, those that decide first.
        deciding: How many decide.
    """
    block, maps = block.part(0, CONTROLLED), maps[:CONTROLLED]
    forms = attributions.known.forms or (Form(),)
    return (
        *_alike(dict(_own(attributions, block, maps, forms[0])), similarities, block.mask),
        *_alike(dict(_of_forms(attributions, block, maps, forms)), similarities[:deciding], block.mask),
    )


def has_edges(block: Block) -> bool:
    """Whether the inputs are images, which have edges."""
    return block.layout.is_image and block.inputs[0].is_floating_point()


def _own(
    attributions: Attributions, block: Block, maps: Tensor, form: Form
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Yield two draws of each control of the explainer's own form."""
    seed, indices, mask = attributions.seed, block.indices, block.mask
    noise = [noise_maps(maps, seed=seed, indices=indices, draw=f"control {i}", mask=mask) for i in range(2)]
    yield "fresh noise", (noise[0], noise[1])
    if form.reduction is not None and block.layout.kind == "tokens":
        times = attributions.multipliers(block)
        if times is not None:
            yield "input × noise", _null(times[0], block, form.reduction, maps, seed)
            if form.multiplier == "without":
                yield form.null(form), _null(torch.ones_like(times[0]), block, form.reduction, maps, seed)
    elif len(block.inputs) == 1 and block.inputs[0].is_floating_point():
        summed = block.layout.total(block.inputs[0].to(maps.dtype))
        yield "input × noise", (summed * noise[0], summed * noise[1])
    if len(block.inputs) == 1 and has_edges(block):
        edges = edge_maps(block.layout.channels_first(block.inputs[0])).to(maps.dtype)
        yield "edges", (edges, edges)


def _of_forms(
    attributions: Attributions, block: Block, maps: Tensor, forms: tuple[Form, ...]
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Yield two draws of the null of each form but the first: noise for each dimension, multiplied as they are."""
    times = attributions.multipliers(block) if len(forms) > 1 else None
    if times is None or len(times) != 1:
        return
    for form in forms[1:]:
        factor = torch.ones_like(times[0]) if form.multiplier == "without" else times[0]
        yield form.null(forms[0]), _null(factor, block, form.reduction, maps, attributions.seed)


def _null(factor: Tensor, block: Block, reduction: str | None, maps: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return two draws of noise for each dimension, times a factor of the inputs, reduced to maps ``(b, *places)``."""
    layout, wide = block.layout, factor.to(maps.dtype)

    def draw(number: int) -> Tensor:
        noise = noise_maps(
            wide, seed=seed, indices=block.indices, draw=f"control {number} of dimensions", mask=block.mask
        )
        if reduction is None:
            return layout.total(wide * noise)
        axis = layout.axis if layout.channels is not None else -1
        return reduced((wide * noise).movedim(axis, -1), reduction)

    return draw(0), draw(1)


def _alike(pairs: Pairs, similarities: Sequence[Similarity], mask: Tensor | None) -> tuple[Alike, ...]:
    """Return the similarity of two batches of maps by name of control: on the same inputs and on neighboring ones."""
    if not pairs:
        return ()
    masks = None if mask is None else torch.cat([mask] * len(pairs))
    one, other = (made_of(similarities, torch.cat(side), masks) for side in zip(*pairs.values(), strict=True))
    sizes = [len(first) for first, _ in pairs.values()]
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    parts = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    neighbors = [place for part in parts for place in (part[-1], *part[:-1])]
    after = {s.name: s.compare(one[s.name], other[s.name]) for s in similarities}
    if mask is None:
        moved = {s.name: tuple(half[neighbors] for half in other[s.name]) for s in similarities}
    else:
        moved = made_of(similarities, torch.cat([_neighbors(second, mask) for _, second in pairs.values()]), masks)
    chance = {s.name: s.compare(one[s.name], moved[s.name]) for s in similarities}

    def of(scores: Mapping[str, Tensor], part: range) -> dict[str, float | None]:
        return {similarity: mean(values[part.start : part.stop]) for similarity, values in scores.items()}

    return tuple(Alike(name, of(after, part), of(chance, part)) for name, part in zip(pairs, parts, strict=True))


def _neighbors(maps: Tensor, mask: Tensor) -> Tensor:
    """Return for each sentence the map of the one before, at its own length."""
    others = torch.zeros_like(maps)
    for row in range(len(maps)):
        place_map(counted_map(maps, mask, row - 1), mask, row, others)
    return others
