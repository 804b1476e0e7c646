"""The explainer's own map of the smoothed network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...model.smooth import LSE, Smooth, sharpness, smooths_of
from ...statistics.evidence import Part
from ...subject.block import Block
from ..base import Baseline, Cost, Lab, Rival
from ..smoothing import SmoothedNetwork

__all__ = ["Smoothed"]


@dataclass(frozen=True)
class Smoothed(Baseline):
    """The explainer's own map of the network with softplus for ReLUs and log-sum-exp for max-pooling.

    It is scored on the network as given. An explanation that beats it loses by being smoothed; that smoothing gains
    instead is claimed of :class:`~pytest_xaisanity.explainers.OnSmoothed`, against the explainer. Several settings are
    as many baselines, each of which must be beaten.

    Args:
        beta: See :class:`~pytest_xaisanity.evidence.interventions.smoothed.Smoothed`, likewise the others.
        r: Of log-sum-exp.
        lse: ``"sum"`` or ``"mean"``.
    """

    beta: float | Sequence[float] = 10.0
    r: float | Sequence[float] = 10.0
    lse: LSE = "sum"
    from_explainer: ClassVar[bool] = True
    margin: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", sharpness("beta", self.beta))
        object.__setattr__(self, "r", sharpness("r", self.r))
        smooths_of(self.beta, self.r, self.lse)

    @property
    def name(self) -> str:
        """Its name in the registry, with its settings where they are not those by default; of several, "smoothings"."""
        smooths = smooths_of(self.beta, self.r, self.lse)
        if len(smooths) > 1:
            return "smoothings"
        return "smoothed" if smooths == (Smooth(),) else f"smoothed({smooths[0]})"

    @property
    def several(self) -> bool:  # type: ignore[override]
        """Whether there are several settings."""
        return len(smooths_of(self.beta, self.r, self.lse)) > 1

    def parts(self, places: tuple[int, ...]) -> Sequence[Baseline]:
        """Return a baseline for each setting."""
        return [Smoothed(one.beta, one.r, one.lse) for one in smooths_of(self.beta, self.r, self.lse)]

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Raise: maps of a smoothed network take the network."""
        raise TypeError("call what begin(lab) returns instead")

    def begin(self, lab: Lab) -> Rival:
        """Return what explains the smoothed network."""
        return _Smoothed(self, lab)

    def cost(self) -> Cost:
        """Return an explanation, and a pass of each network that predicts."""
        return Cost(explanations=1, passes=2)


class _Smoothed(Rival):
    def __init__(self, settings: Smoothed, lab: Lab) -> None:
        self.attributions = lab.attributions
        self.network = SmoothedNetwork(lab.subject, smooths_of(settings.beta, settings.r, settings.lse))

    def __call__(self, block: Block, like: Tensor) -> list[Tensor]:
        """Return one batch of maps for each setting."""
        self.network.observe(block)
        channels = like.shape != block.empty_maps().shape
        attributions = self.attributions.per_channel() if channels else self.attributions
        every = range(len(block))
        return [self.network.maps(attributions, block, every, place) for place in range(len(self.network.smoothings))]

    def describe(self) -> tuple[Part, ...]:
        """Return whether the smoothed network predicts the same."""
        return (self.network.agreement(),)
