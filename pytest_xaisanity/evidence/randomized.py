"""What a randomization of weights did to a model, as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..common.checks import FEW, check_whole
from ..model.constants import FOLDED, PACKED
from ..model.layers import Layers
from ..statistics.evidence import Part, Row

__all__ = ["SEEDS", "Randomized", "check_seeds"]

SEEDS = 8  # randomizations, by default: each costs no more than its draws
_SHOWN = 8  # layers that are named
_UNTOUCHED = 5


def check_seeds(where: str, seeds: object) -> int | Literal["fresh"]:
    """Return ``seeds`` when it is a number of randomizations, or ``"fresh"``; otherwise raise."""
    if isinstance(seeds, str) and seeds == "fresh":
        return "fresh"
    return check_whole(where, "seeds", seeds, most=FEW, also='"fresh"')


@dataclass(frozen=True)
class Randomized(Part):
    """The layers that were randomized.

    Attributes:
        layers: Their names, in the order in which they were randomized.
        not_randomized: Name to reason, for every weight that was left alone.
        order: ``"execution"``, or ``"registration"`` where the inside of the model could not be watched.
        reinit: What new weights were drawn from.
        seeds: How many randomizations, or ``"fresh"``.
        target: Which class is explained: ``"fixed"`` or ``"dynamic"``.
        cut: The module whose activations stay as they were, for what randomizes the layers above one.
        samples: How many noisy copies a map is the mean over.
        noise: Standard deviation of that noise, as a share of the input's range.
        tied: Other names of the weights of a layer, which were randomized with it, once.
    """

    layers: tuple[str, ...]
    not_randomized: Mapping[str, str]
    order: str
    reinit: str
    seeds: int | str
    target: str = "fixed"
    cut: str | None = None
    samples: int = 1
    noise: float = 0.0
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        layers: tuple[str, ...],
        found: Layers,
        *,
        reinit: object,
        seeds: int | str,
        target: str = "fixed",
        cut: str | None = None,
    ) -> Randomized:
        """Return what was done to ``layers`` of a model whose layers are ``found``."""
        tied = {layer.name: layer.tied for layer in found if layer.tied and layer.name in layers}
        left = dict(found.not_randomized)
        return cls(layers, left, found.order, str(reinit), seeds, target, cut, tied=tied)

    def plain(self) -> dict[str, object]:
        """Return all of it; ``cut``, ``samples`` and ``noise`` where there are any."""
        return {
            **({} if self.cut is None else {"cut": self.cut}),
            "layers": list(self.layers),
            "not_randomized": dict(self.not_randomized),
            "layer_order": self.order,
            "reinit": self.reinit,
            "target": self.target,
            "seeds": self.seeds,
            **({"tied": {name: list(others) for name, others in self.tied.items()}} if self.tied else {}),
            **({"samples": self.samples, "noise": self.noise} if self.samples > 1 else {}),
        }

    def rows(self) -> Iterator[Row]:
        """Yield the first layers, how they were randomized, and what was left alone."""
        more = f", ... ({len(self.layers)} in all)" if len(self.layers) > _SHOWN else ""
        how = f"seeds {self.seeds}, weights from {self.reinit}, target {self.target}"
        yield "randomized", f"{', '.join(self.layers[:_SHOWN])}{more}; {how}"
        for name, others in self.tied.items():
            yield "tied", f"{', '.join(others)} to the weights of {name}: randomized once, with these"
        if self.order != "execution":
            yield "order", "that of registration, for the inside of TorchScript cannot be watched"
        for why, names in self._by_reason().items():
            left = f", ... ({len(names)} in all)" if len(names) > _UNTOUCHED else ""
            yield "untouched", f"{', '.join(names[:_UNTOUCHED])}{left}: {why}"

    @property
    def remark(self) -> str:
        """What a reader of the verdict must know of the order and of weights that stay; nothing where all is well."""
        held = [name for name, why in self.not_randomized.items() if why in (PACKED, FOLDED)]
        shown = f"{', '.join(held[:2])}{f' and {len(held) - 2} more' if len(held) > 2 else ''}"
        frozen = any(why == FOLDED for why in self.not_randomized.values())
        return "; layers in order of registration, not of execution (TorchScript)" * (
            self.order != "execution"
        ) + f"; not randomized: {shown} ({'frozen' if frozen else 'quantized'})" * bool(held)

    def _by_reason(self) -> dict[str, list[str]]:
        grouped: dict[str, list[str]] = {}
        for name, why in self.not_randomized.items():
            grouped.setdefault(why, []).append(name)
        return grouped
