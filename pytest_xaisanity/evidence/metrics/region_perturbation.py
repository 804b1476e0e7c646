"""Region perturbation: how the output falls as the regions an explanation ranks are disturbed, one after another.

Samek et al. 2017, with the area over the perturbation curve (AOPC) and the area between two such curves (ABPC).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...common.checks import check_choice, check_whole
from ...statistics.evidence import Evidence, Part, Row, number
from ...subject.block import Block
from ...subject.layout import Layout
from ..base import Array, Lab, Scored
from .pixel_flipping import CURVES, Flipped, PixelFlipping, _Flipping
from .token_flipping import TokenFlipping, refuse_tokens

__all__ = ["RegionPerturbation", "Summaries"]

_SIDE = 9  # of regions in the paper
_QUARTER = 4  # of the shorter side of smaller images


@dataclass(frozen=True)
class RegionPerturbation(PixelFlipping):
    """How far the explained output falls while regions are replaced one after the other, on average over the steps.

    With ``f(x_k)`` the output after ``k`` of ``L`` steps, ``AOPC = mean over k = 0..L of f(x_0) - f(x_k)``, and
    ``ABPC`` is that with the most relevant regions first, minus that with the least relevant first: the area between
    both curves.

    Args:
        steps: ``L``, the most regions that are removed, each in a step of its own; all of them where there are fewer.
        imputer: What removed regions become, as in :class:`~pytest_xaisanity.PixelFlipping`: ``"mean"`` by default;
            ``"uniform"`` noise is the paper's, which small images do not survive.
        patch: Side of the regions of a grid, in places; by default 9 as in the paper, or a quarter of the shorter side
            where that is less, and single features of tables. A region ranks by its mean attribution.
        groups: Other regions, such as superpixels: see :class:`~pytest_xaisanity.PixelFlipping`.
        order: ``"morf"`` (most relevant first) or ``"lerf"`` (least relevant first), of a summary that takes one.
        summary: What the score is: ``"aopc"``; ``"abpc"`` (higher is better, 0 for random orders in expectation);
            ``"srg"``, the area under the curve over the removed fraction by the trapezoid rule with the least relevant
            first, minus that with the most relevant first (symmetric relevance gain); ``"area"``, one of these. Where
            not all regions are removed, areas are divided by the fraction that is. All four stand in the evidence, as
            far as the order allows.
        output: ``"probability"`` or ``"logit"``: see :class:`~pytest_xaisanity.PixelFlipping`.
        reading: What a map is taken for: see :class:`~pytest_xaisanity.PixelFlipping`.

    Scores of probabilities: ``"aopc"``, ``"abpc"`` and ``"srg"`` lie in [-1, 1], ``"area"`` in [0, 1]. Higher is better
    for ``"abpc"``, ``"srg"``, ``"aopc"`` with the most relevant first and ``"area"`` with the least relevant first.

    Raises:
        XaiError: A setting is out of range, or does not fit the inputs.
    """

    steps: int = 100
    patch: int | None = None  # type: ignore[assignment]
    order: Literal["srg", "morf", "lerf"] = "morf"
    summary: Literal["aopc", "abpc", "srg", "area"] = "aopc"
    name: ClassVar[str] = "region_perturbation"

    def __post_init__(self) -> None:
        check_choice(self.name, "summary", self.summary, ("aopc", "abpc", "srg", "area"))
        check_choice(self.name, "order", self.order, ("morf", "lerf"))
        if self.order == "lerf" and self._both:
            raise self.error(
                "order", f"order='lerf' beside summary={self.summary!r}", "no order: this summary takes both"
            )
        super().__post_init__()

    def _check_patch(self) -> None:
        if self.patch is not None:
            object.__setattr__(self, "patch", check_whole(self.name, "patch", self.patch, also="None"))

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> dict[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first, for maps of these places where they are known."""
        shared = PixelFlipping.open_settings(places)
        return {
            "imputer": (*shared["imputer"], "uniform"),
            "patch": (None, *shared["patch"]),
            "summary": ("aopc", "abpc", "srg"),
        }

    @property
    def _both(self) -> bool:
        return self.summary in ("abpc", "srg")

    @property
    def orders(self) -> tuple[Literal["morf", "lerf"], ...]:
        """The orders in which regions are removed."""
        return ("morf", "lerf") if self._both else ("lerf" if self.order == "lerf" else "morf",)

    @property
    def low(self) -> float:
        """The least possible score."""
        return -inf if self.output == "logit" else (0.0 if self.summary == "area" else -1.0)

    @property
    def higher_is_better(self) -> bool:
        """Whether a fall is wanted, or none."""
        return self._both or (self.summary == "aopc") == (self.order == "morf")

    def side(self, layout: Layout) -> int:
        """Return the side of the regions of a grid."""
        if self.patch is not None:
            return self.patch
        if any(part.kind == "table" for part in layout.each):
            return 1
        return max(1, min(_SIDE, min(min(part.places) for part in layout.each) // _QUARTER))

    def removals(self, counts: Tensor, *, own: bool) -> Tensor:
        """Return how many regions are removed at each point: one more each time, of as many as an input has."""
        last = counts.clamp_max(self.steps)
        points = int(last.max())
        return (torch.arange(points + 1, dtype=counts.dtype)[:, None] * last / points).round()

    def prepare(self, lab: Lab, block: Block) -> _Flipping | TokenFlipping:
        """Return the outputs and references that every order of this block shares; tokens are refused."""
        refuse_tokens(self.name, block)
        self._check_size(block)
        return super().prepare(lab, block)

    def _check_size(self, block: Block) -> None:
        """Raise where a region of the grid is larger than the inputs."""
        for layout in block.layout.each:
            if self.groups is None and self.patch is not None and self.patch > max(layout.places):
                found = f"patch={self.patch} for inputs with places {layout.places}"
                raise self.error("patch", found, f"a side of at most {max(layout.places) // 2}: two regions or more")

    def value(self, curves: Sequence[Tensor], fractions: Tensor) -> Tensor:
        """Return the scores ``(b,)`` of the curves ``(b, points)``."""
        fall = [(curve[:, :1] - curve).mean(1) for curve in curves]
        area = [torch.trapezoid(curve, fractions, dim=1) / fractions[..., -1] for curve in curves]
        by_name = {"aopc": fall[0], "abpc": fall[0] - fall[-1], "srg": area[-1] - area[0], "area": area[0]}
        return by_name[self.summary]

    def remarks(self, scored: Scored, described: Sequence[Part]) -> tuple[Part, ...]:
        """Return what every metric of flipping remarks, and all scores of the curves."""
        flipped = Evidence(*described).find(Flipped)
        found = super().remarks(scored, described)
        return found if flipped is None else (Summaries.of(scored.curves, flipped.fractions), *found)


@dataclass(frozen=True)
class Summaries(Part):
    """What the curves come to on average over inputs, whichever of these scores decides.

    Attributes:
        aopc: Mean fall along the curve, by the name of the curve.
        areas: Area under the curve over the removed fraction, divided by the fraction that is removed, likewise.
    """

    aopc: Mapping[str, float]
    areas: Mapping[str, float]

    @classmethod
    def of(cls, curves: Mapping[str, Array], fractions: Sequence[float]) -> Summaries:
        """Return the means over inputs of curves ``(n, points)``."""
        widths = np.diff(fractions) / fractions[-1]
        aopc, areas = {}, {}
        for name, curve in curves.items():
            aopc[name] = float((curve[:, :1] - curve).mean())
            areas[name] = float(((curve[:, 1:] + curve[:, :-1]) / 2 * widths).sum(1).mean())
        return cls(aopc, areas)

    def plain(self) -> dict[str, object]:
        """Return all of them, with ABPC and SRG where there are both orders."""
        first, last = CURVES["morf"], CURVES["lerf"]
        both: dict[str, object] = {}
        if first in self.aopc and last in self.aopc:
            both = {"abpc": self.aopc[first] - self.aopc[last], "srg": self.areas[last] - self.areas[first]}
        return {"aopc": dict(self.aopc), "areas": dict(self.areas), **both}

    def rows(self) -> Iterator[Row]:
        """Yield them."""
        plain = self.plain()
        for name, value in self.aopc.items():
            yield name, f"AOPC {number(value)}, area {number(self.areas[name])}"
        if "abpc" in plain:
            abpc, srg = plain["abpc"], plain["srg"]
            assert isinstance(abpc, float)
            assert isinstance(srg, float)
            yield "both orders", f"ABPC {number(abpc)}, SRG {number(srg)}"
