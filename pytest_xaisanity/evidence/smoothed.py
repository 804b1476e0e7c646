"""Smoothed explanations: the mean of the maps of noisy copies of each input (sMPRT, Hedström et al. 2024).

The copies are a sample as well, of which two suffice: the map of one copy before an intervention is compared with that
of another copy after it, and with that of the other copy before it. For similarities that are inner products, such as
rank correlations, these are on average the inner products of what is smoothed over all noise, so that their ratio is
free of the noise that single copies have.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..common.checks import is_number
from ..common.errors import XaiError, shown
from ..explainers.attributions import Attributions
from ..explainers.sampling import Draw
from ..maps.noise import noise_maps
from ..subject.block import Block, Inputs

__all__ = ["NOISE", "Smoothed", "check_noise", "smoothed"]

NOISE = 0.1  # of the input's range, as in the paper
_MOST_NOISE = 1000  # of which nothing of the input shows
_KEPT_BYTES = 32 * 2**20  # of a block's noise; more than that is drawn again for each model


def check_noise(samples: int, noise: object, *, where: str) -> float:
    """Return ``noise`` when it is a positive number, with samples to go with if it is given; otherwise raise."""
    found = shown(noise)
    if is_number(noise) and 0 < noise < _MOST_NOISE:
        if samples > 1 or noise == NOISE:
            return float(noise)
        found = f"{noise:g} beside samples=1, which explains the input itself"
    raise XaiError(
        f"{where} noise",
        found=found,
        expected="a positive share of the input's range, and samples=2 or more",
        fix="change noise=, or average over samples=50",
    )


def smoothed(explained: Attributions, block: Block, samples: int, noise: float, *, where: str) -> Smoothed | None:
    """Return an explainer whose maps are means over ``samples`` noisy copies, or None for one, the input itself.

    Raises:
        XaiError: No input tensor takes noise.
    """
    if samples == 1:
        return None
    if not any(tensor.is_floating_point() for tensor in block.inputs):
        raise XaiError(
            f"{where} samples",
            found=f"inputs of {', '.join(str(tensor.dtype) for tensor in block.inputs)}",
            expected="a floating-point input tensor, to which noise can be added",
            fix="leave samples= out, or explain a model that takes embedded tokens, as (N, channels, tokens)",
        )
    return Smoothed(explained, samples, noise)


class Smoothed(Attributions):
    """An explainer's maps, averaged over noisy copies of each input.

    Every floating-point input tensor x gets noise from ``N(0, (noise (max x - min x))²)``, its range being that of the
    single input; other tensors (token indices, masks) stay as they are. Copy i of an input has the same noise, drawn by
    (seed, input, i), whatever the model, the run and the batch: two models that are alike have maps that are alike.

    Args:
        explained: The explainer on a subject.
        copies: How many noisy copies, 1 or more.
        noise: Standard deviation, as a share of the input's range.
        first: The number of the first copy.
    """

    def __init__(self, explained: Attributions, copies: int, noise: float, first: int = 0) -> None:
        super().__init__(explained.subject, explained.explainer, explained.seed, explained.cache)
        self.share(explained)
        self.copies, self.noise, self.first = copies, noise, first

    def copy(self, number: int) -> Smoothed:
        """Return the explainer of one of the copies alone."""
        return Smoothed(self, 1, self.noise, self.first + number)

    def key(self, block: Block, state: tuple[Hashable, ...], run: int) -> Hashable:
        """Return the key under which the maps of a block are kept."""
        return ("smoothed", self.first, self.copies, self.noise, super().key(block, state, run))

    def measured(self, block: Block, targets: Tensor | None, stage: str, draw: Draw) -> Tensor:
        """Return the mean maps of a block, of as many copies at once as a pass holds."""
        scales = [self.noise * _range(x) if x.is_floating_point() else None for x in block.inputs]
        asked = self.request(block, targets)
        width = max(1, self.subject.batches.size // len(block))
        total: Tensor | float = 0.0
        end = self.first + self.copies
        for done in range(self.first, end, width):
            some = range(done, min(end, done + width))
            noisy = [self._noisy(block, scales, copy) for copy in some]
            wide = replace(
                asked,
                inputs=tuple(torch.cat(parts) for parts in zip(*noisy, strict=True)),
                context=tuple(torch.cat([tensor] * len(some)) for tensor in asked.context),
                targets=None if targets is None else torch.cat([targets] * len(some)),
                indices=block.indices * len(some),
            )
            maps = self.answered_in_forms(wide, stage, partial(_drawn_for, draw, done, len(block)))
            for copy in torch.split(maps, len(block)):  # one after the other, however many came from one pass
                total = total + copy
        return torch.as_tensor(total / self.copies)

    def _noisy(self, block: Block, scales: list[Tensor | None], copy: int) -> Inputs:
        drawn = self._noise(block, copy)
        return tuple(
            x if scale is None or noise is None else torch.addcmul(x, scale, noise)
            for x, scale, noise in zip(block.inputs, scales, drawn, strict=True)
        )

    def _noise(self, block: Block, copy: int) -> list[Tensor | None]:
        size = sum(x.numel() * x.element_size() for x in block.inputs if x.is_floating_point())
        if self.copies * size > _KEPT_BYTES:
            return self._drawn(block, copy)
        key = ("smoothing", self.seed, self.first, self.copies, block.indices)
        kept: list[list[Tensor | None]] = self.subject.shared(
            key, lambda: [self._drawn(block, self.first + each) for each in range(self.copies)]
        )
        return kept[copy - self.first]

    def _drawn(self, block: Block, copy: int) -> list[Tensor | None]:
        """Return standard normal noise for each floating-point tensor, and None for the others."""
        return [
            noise_maps(x, seed=self.seed, indices=block.indices, draw=f"smoothing {copy} of tensor {number}")
            if x.is_floating_point()
            else None
            for number, x in enumerate(block.inputs)
        ]


def _drawn_for(draw: Draw, done: int, count: int, place: int) -> Draw:
    """Return what tells apart the draws for a row, where copies of ``count`` inputs follow on ``done`` others."""
    return (*draw, done + place // count)


def _range(tensor: Tensor) -> Tensor:
    """Return the greatest minus the least value of each input, ``(b, 1, ...)``."""
    low, high = torch.aminmax(tensor.reshape(len(tensor), -1), dim=1)
    return (high - low).reshape(-1, *[1] * (tensor.ndim - 1))
