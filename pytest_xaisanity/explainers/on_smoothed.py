"""An explainer put on the smoothed network."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.errors import setting_error
from ..model.smooth import LSE, Smooth, sharpness, smooths_of

__all__ = ["OnSmoothed"]


@dataclass(frozen=True)
class OnSmoothed:
    """An explainer that explains the network with softplus for ReLUs and log-sum-exp for max-pooling.

    The model stays as it is, and so do metrics, which ask the model as given: that a smoothed explanation is the better
    one is claimed by ``xai.explainer(OnSmoothed(Saliency, beta=5)).beats(Saliency, on="pixel_flipping")``.

    Args:
        source: What ``xai.explainer`` takes; its settings go there, beside this object.
        beta: Of softplus, above 0: the larger, the closer to ReLU. ``inf`` leaves ReLUs as they are.
        r: Of log-sum-exp, above 0: the larger, the closer to the maximum. ``inf`` leaves max-pooling as it is.
        lse: ``"sum"``, which is never below the maximum; or ``"mean"``, which is never above it.

    Raises:
        XaiError: A setting is out of range.
    """

    source: object
    beta: float = 10.0
    r: float = 10.0
    lse: LSE = "sum"

    def __post_init__(self) -> None:
        for setting, value in (("beta", self.beta), ("r", self.r)):
            if isinstance(sharpness(setting, value), tuple):
                raise setting_error("OnSmoothed", setting, repr(value), "a single number above 0")
        smooths_of(self.beta, self.r, self.lse)

    @property
    def smooth(self) -> Smooth:
        """How smooth the network is made."""
        return smooths_of(self.beta, self.r, self.lse)[0]
