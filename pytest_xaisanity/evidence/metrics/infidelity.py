"""Infidelity: how far a map is from what the output does when the input is perturbed (Yeh et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from ...common.checks import FEW, check_choice, check_number, check_whole
from ...common.errors import setting_error
from ...statistics.evidence import Axis, Evidence, Part, Remark, Row
from ...subject.block import Block
from ...subject.layout import Layout
from ..base import Lab, MapMetric, Scored, Scores
from .perturbing import Kind, Perturbation, Perturbing

__all__ = ["Infidelity", "Perturbed", "Unmoved"]

_error = partial(setting_error, "infidelity")

Reading: TypeAlias = Literal["sensitivity", "contribution"]
_ROUNDED = 8  # times the machine's precision: what an output may be off by
_CURVE = "infidelity"
_FORMS = ("raw", "of no map", "relative", "normalized", "relative and normalized")


@dataclass(frozen=True)
class Infidelity(MapMetric[Perturbing]):
    """Mean over perturbations ``I`` of the squared error with which a map predicts what the output does.

    The output falls by ``f(x) - f(x - I)`` for the explained output ``f``; a map of sensitivities predicts
    ``sum I · map``. Of a map of contributions, ``z`` says how much of each place is gone, ``I = z (x - baseline)``, and
    the prediction is ``sum z · map``. By default it is relative: divided by the mean squared change of the output,
    which is the infidelity of a map of zeros. 0 is perfect, and 1 no better than no explanation.

    Args:
        perturbation: How ``I`` is drawn. ``"gaussian"``: normal noise in each value. ``"square"``: a square of an
            image (a span of a series, a cube) is removed. ``"binary"``: each place is removed or not, independently.
        reading: What a map is taken for: ``"sensitivity"``, as a gradient is, or ``"contribution"``, as those of
            Integrated Gradients, DeepLIFT, SHAP and occlusion are. By default sensitivities under Gaussian noise, and
            contributions where places are removed. Noise under which contributions are read is a normal ``z``.
        samples: How many perturbations of each input, 1 to 1,000.
        sigma: Of Gaussian noise, above 0 and at most 1,000: standard deviation in units of ``unit``; of ``z`` as it is.
        unit: ``"spread"``: the standard deviation of each channel over the input's places, of a feature of a table over
            the data, of tokens the root mean square of what the embedding makes of the sentence. ``"absolute"``: 1.
        side: Of the square, in places.
        share: Of the binary one: the probability with which a place is removed, above 0 and below 1.
        baseline: What removed values become; of tokens, those of the embedding.
        relative: Whether the infidelity is divided by that of a map of zeros.
        normalize: Whether predictions are scaled by the factor that suits them best first, so that the size of a map
            does not matter, nor a sign that is turned over throughout. A relative score then lies in [0, 1].

    Of tokens, the embedding is perturbed, by one number for each token that counts: all dimensions of a token by the
    same noise, or as a whole where contributions are read. Padding, special tokens and context stay.

    Raises:
        XaiError: A setting is out of range, or does not fit the perturbation or the inputs.
    """

    perturbation: Kind = "gaussian"
    reading: Reading | None = None
    samples: int = 32
    sigma: float = 0.03
    unit: Literal["spread", "absolute"] = "spread"
    side: int = 4
    share: float = 0.5
    baseline: float = 0.0
    relative: bool = True
    normalize: bool = False
    name: ClassVar[str] = "infidelity"
    low: ClassVar[float] = 0.0
    higher_is_better: ClassVar[bool] = False
    ranks: ClassVar[bool] = False
    shares_passes: ClassVar[bool] = True
    advice: ClassVar[str] = (
        "look for a factor or a lost sign; contributions, as of Integrated Gradients or SHAP, are no gradients: read "
        'them with perturbation="binary" or "square"; normalize=True leaves the size of maps aside'
    )

    def __post_init__(self) -> None:
        check_choice(self.name, "perturbation", self.perturbation, ("gaussian", "square", "binary"))
        if self.reading is not None:
            check_choice(self.name, "reading", self.reading, ("sensitivity", "contribution"))
        check_choice(self.name, "unit", self.unit, ("spread", "absolute"))
        self._set("samples", check_whole(self.name, "samples", self.samples, most=FEW))
        self._set("side", check_whole(self.name, "side", self.side))
        self._set("sigma", check_number(f"{self.name} sigma", self.sigma, 0.0, 1000.0))
        self._set("share", check_number(f"{self.name} share", self.share, 0.0, 1.0))
        self._set("baseline", check_number(f"{self.name} baseline", self.baseline, -1e9, 1e9))
        if not self.sigma:
            raise _error("sigma", "0", "a number above 0")
        if self.share in (0.0, 1.0):
            raise _error("share", f"{self.share:g}", "a number above 0 and below 1: some places go, others stay")
        for flag in ("relative", "normalize"):
            if not isinstance(getattr(self, flag), bool):
                raise _error(flag, repr(getattr(self, flag)), "True or False")
        self._check_used()

    def _set(self, setting: str, value: float) -> None:
        object.__setattr__(self, setting, value)

    def _check_used(self) -> None:
        """Raise where a setting was given that the perturbation has no use for."""
        used = {"gaussian": ("sigma", "unit"), "square": ("side",), "binary": ("share",)}
        for kind, settings in used.items():
            for setting in settings:
                if kind != self.perturbation and getattr(self, setting) != getattr(type(self), setting):
                    raise _error(
                        setting,
                        f"{getattr(self, setting)!r} beside perturbation={self.perturbation!r}",
                        f"it with perturbation={kind!r} alone",
                    )
        if self.unit != "spread" and self.reads_contributions:
            raise _error("unit", f"{self.unit!r} beside reading='contribution'", "it for sensitivities alone")

    @property
    def reads_contributions(self) -> bool:
        """Whether maps are taken for contributions."""
        return self.perturbation != "gaussian" if self.reading is None else self.reading == "contribution"

    @property
    def high(self) -> float:
        """The greatest possible score: 1 where it is relative and normalized, otherwise infinite."""
        return 1.0 if self.relative and self.normalize else inf

    @property
    def per_channel(self) -> bool:
        """Whether maps are sensitivities, which go with the change of each channel."""
        return not self.reads_contributions

    @property
    def called(self) -> str:
        """The name with its form and how inputs are perturbed: ``"relative infidelity (gaussian)"``."""
        return f"{', '.join(self._forms) or 'raw'} {self.name} ({self.perturbation})"

    @property
    def _forms(self) -> list[str]:
        return [*["relative"] * self.relative, *["normalized"] * self.normalize]

    @classmethod
    def open_settings(cls, places: tuple[int, ...] | None) -> Mapping[str, Sequence[object]]:
        """Return what the definition leaves open, the simplest first."""
        return {"sigma": (0.03, 0.01, 0.1), "samples": (32, 64)}

    def passes(self, block: Block) -> float:
        """Return the perturbations, which all maps of a block share."""
        return float(self.samples)

    def prepare(self, lab: Lab, block: Block) -> Perturbing:
        """Return the perturbations of a block: what the output does under them is found with the first map."""
        if block.mask is not None and not self.reads_contributions and self.perturbation != "gaussian":
            raise _error(
                "reading",
                f"sensitivities under perturbation={self.perturbation!r} for tokens, which have no value a dimension",
                "reading='contribution', or perturbation='gaussian'",
            )
        if self.perturbation == "square":
            self._check_square(block.layout)
        size = {"gaussian": self.sigma, "square": float(self.side), "binary": self.share}[self.perturbation]
        by_value, spread = not self.reads_contributions, self.unit == "spread"
        how = Perturbation(self.perturbation, size, self.samples, by_value, self.baseline, spread)
        return Perturbing(lab, block, self.name, how)

    def _check_square(self, layout: Layout) -> None:
        if layout.parts or layout.kind in ("table", "tokens"):
            kind = "several tensors" if layout.parts else {"table": "a table", "tokens": "tokens"}[layout.kind]
            raise _error("perturbation", f"'square' for {kind}", "'binary' or 'gaussian'")
        if self.side >= max(layout.places) or self.side > min(layout.places):
            raise _error("side", f"{self.side} for places {layout.places}", "a square that fits, and leaves some")

    def score(self, prepared: Perturbing, maps: Tensor, *, draw: str = "") -> Scores:
        """Return the scores ``(b,)`` of ``maps`` and, as a curve, all forms of the infidelity."""
        predicted, changes = prepared.measured(maps)
        forms = infidelities(predicted, changes, prepared.before)
        chosen = " and ".join(name for name in ("relative", "normalized") if name in self._forms) or "raw"
        curve = torch.stack([forms[name] for name in _FORMS], dim=1)
        return Scores(forms[chosen], {_CURVE: curve})

    def describe(self, prepared: Perturbing) -> tuple[Part, ...]:
        """Return how the inputs were perturbed, and what maps were taken for."""
        reading: Reading = "contribution" if self.reads_contributions else "sensitivity"
        sizes = {
            "gaussian": f"sigma {self.sigma:g}"
            + ("" if self.reads_contributions else f" of the {'inputs' if self.unit == 'absolute' else 'spread'}"),
            "square": f"side {self.side}",
            "binary": f"share {self.share:g}",
        }
        return (Perturbed(self.perturbation, sizes[self.perturbation], self.samples, reading, prepared.shifts_tokens),)

    def remarks(self, scored: Scored, described: Sequence[Part]) -> tuple[Remark, ...]:
        """Return that outputs do not move under the perturbations, where that is so of some inputs."""
        known = Evidence(*described).find(Perturbed)
        curve = scored.curves.get(_CURVE)
        if known is None or curve is None:
            return ()
        still = int((curve[:, _FORMS.index("of no map")] == 0).sum())
        return (Unmoved(still, len(curve), known.shifts_tokens),) if still else ()


def infidelities(predicted: Tensor, changes: Tensor, before: Tensor) -> dict[str, Tensor]:
    """Return every form of the infidelity, ``(b,)`` each, by name.

    Args:
        predicted: What a map predicts of each change, ``(b, samples)``.
        changes: The changes of the output, ``f(x) - f(x - I)``.
        before: The outputs ``f(x)``, ``(b,)``.

    A change that rounding alone can make counts as none: its square is added to both sides of a ratio, so that an
    output that never moves leaves a map of zeros at 1. Squares are of double precision, on the CPU: those of outputs
    beyond 1e19 are no numbers of single precision.
    """
    predicted, changes = predicted.cpu().double(), changes.cpu().double()
    raw = (predicted - changes).square().mean(1)
    largest, nothing = predicted.abs().amax(1, keepdim=True), changes.square().mean(1)
    unit = predicted / torch.where(largest > 0, largest, 1.0)
    size = unit.square().mean(1)
    scale = torch.where(size > 0, (unit * changes).mean(1) / torch.where(size > 0, size, 1.0), 0.0)
    normalized = (scale[:, None] * unit - changes).square().mean(1)
    rounding = (_ROUNDED * torch.finfo(before.dtype).eps * before.cpu().double().abs()).square()
    floor = rounding.clamp_min(torch.finfo(rounding.dtype).tiny)
    best = (normalized + floor) / (nothing + floor)
    return {
        "raw": raw,
        "of no map": torch.where(nothing <= floor, 0.0, nothing),
        "relative": (raw + floor) / (nothing + floor),
        "normalized": normalized,
        "relative and normalized": best.clamp_max(1.0),
    }


@dataclass(frozen=True)
class Perturbed(Axis):
    """How inputs were perturbed.

    Attributes:
        kind: How the numbers are drawn.
        size: Its size, in words.
        samples: How many perturbations of each input.
        reading: What maps were taken for.
        shifts_tokens: Whether all dimensions of an embedded token were moved by the same number.
    """

    kind: Kind
    size: str
    samples: int
    reading: Reading
    shifts_tokens: bool = False
    joined: ClassVar[bool] = False

    @property
    def across(self) -> str:
        """The definitions of the score."""
        return "form"

    @property
    def points(self) -> tuple[str, ...]:
        """The forms, by name."""
        return tuple(_FORMS)

    @property
    def up(self) -> str:
        """The score."""
        return "infidelity"

    def plain(self) -> dict[str, object]:
        """Return all of it, and what the points of the curve are."""
        return {
            "axis": "form",
            "forms": list(_FORMS),
            "perturbation": self.kind,
            "size": self.size,
            "samples": self.samples,
            "reading": self.reading,
        }

    def rows(self) -> Iterator[Row]:
        """Yield how, and what maps were taken for."""
        yield "perturbed", f"{self.samples} times each input, {self.kind} ({self.size})"
        yield "maps", "taken for contributions" if self.reading == "contribution" else "taken for sensitivities"


@dataclass(frozen=True)
class Unmoved(Remark):
    """Inputs whose output does not move under the perturbations, so that no map says more than one of zeros.

    Attributes:
        count: How many.
        inputs: Of how many.
        shifts_tokens: Whether all dimensions of an embedded token were moved by the same number.
    """

    count: int
    inputs: int
    shifts_tokens: bool = False

    def plain(self) -> dict[str, object]:
        """Return both numbers."""
        return {"unmoved": {"inputs": self.count, "of": self.inputs}}

    def rows(self) -> Iterator[Row]:
        """Yield the clause."""
        yield "unmoved", str(self)

    def __str__(self) -> str:
        advice = "try a larger sigma=, side= or share="
        if self.shifts_tokens:
            advice = (
                "a layer normalization takes out what is the same in all dimensions of a token: try "
                "perturbation='binary'"
            )
        return (
            f"the output of {self.count} of {self.inputs} inputs does not move under the perturbations, and no map of "
            f"theirs says more than zeros would: {advice}"
        )
