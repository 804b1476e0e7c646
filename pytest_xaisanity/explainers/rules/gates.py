"""Modified gradients of ReLUs: Deconvolution, Guided Backprop, RectGrad, Guided GradCAM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...common.errors import XaiError, unknown_name
from .base import RuleExplainer, Tensors
from .interception import Method, Operation, modified

__all__ = ["Deconvolution", "GuidedBackprop", "GuidedGradCAM", "RectGrad"]


@dataclass(frozen=True, repr=False)
class _Gated(RuleExplainer):
    """The gradient of the explained logit, with a gate of its own at each ReLU."""

    def _gate(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient below a ReLU, given its inputs and the gradient above it."""
        raise NotImplementedError

    def _method(self) -> Method:
        return _Gates(self)


class _Gates(Method):
    needs = "relu"

    def __init__(self, explainer: _Gated) -> None:
        self.explainer = explainer
        self.label = repr(explainer)

    def relu(self, operation: Operation, inputs: Tensor) -> Tensor:
        return modified(operation, inputs, lambda _, values, gradient: self.explainer._gate(values, gradient))


@dataclass(frozen=True, repr=False)
class Deconvolution(_Gated):
    """Deconvolution (Zeiler and Fergus 2014): at each ReLU the positive part of the gradient, whatever went forward."""

    def _gate(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        return gradient.clamp(min=0)


@dataclass(frozen=True, repr=False)
class GuidedBackprop(_Gated):
    """Guided Backprop (Springenberg et al. 2015): the positive gradient, where the ReLU was active."""

    def _gate(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        return gradient.clamp(min=0) * (inputs > 0)


@dataclass(frozen=True, repr=False)
class RectGrad(_Gated):
    """RectGrad (Kim et al. 2019): the gradient where its product with the activation is among the layer's largest.

    Args:
        percentile: Share in [0, 100) of each input's products, layer by layer, that is cut off.
    """

    percentile: float = 98.0

    def __post_init__(self) -> None:
        if type(self.percentile) not in (int, float) or not 0 <= self.percentile < 100:
            raise XaiError(
                "RectGrad percentile", found=repr(self.percentile), expected="0 <= percentile < 100", fix="pass 98"
            )

    def _gate(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        products = inputs.clamp(min=0) * gradient
        flat = products.flatten(1)
        # The order statistic below the percentile cuts off the same products as the percentile between two of them.
        place = 1 + int(self.percentile / 100 * (flat.shape[1] - 1))
        threshold = flat.kthvalue(place, dim=1).values.reshape(-1, *[1] * (products.ndim - 1))
        return gradient * (products > threshold)


@dataclass(frozen=True, repr=False)
class GuidedGradCAM(GuidedBackprop):
    """Guided GradCAM (Selvaraju et al. 2017): Guided Backprop times the upsampled GradCAM of a layer.

    As a backward rule it is Guided Backprop.

    Args:
        layer: Name of the module whose output GradCAM weighs, as in ``named_modules()``.
        interpolation: How the map is brought to the inputs' size: a mode of ``torch.nn.functional.interpolate``.
    """

    layer: str
    interpolation: str = "nearest"

    def __call__(self, model: nn.Module, inputs: Tensors, targets: Tensor | None) -> Tensors:
        """Return the attributions of ``inputs``, in their shape."""
        from captum.attr import LayerGradCam

        modules = dict(model.named_modules())
        if not self.layer or self.layer not in modules:
            raise unknown_name("GuidedGradCAM layer", self.layer, [name for name in modules if name], kind="layer")
        guided = super().__call__(model, inputs, targets)
        with torch.enable_grad():
            target = targets if targets is None or targets.ndim == 1 else [tuple(row) for row in targets.tolist()]
            cam = LayerGradCam(model, modules[self.layer]).attribute(inputs, target, relu_attributions=True)
        if not isinstance(cam, Tensor) or cam.ndim < 3:
            raise XaiError(
                "GuidedGradCAM layer",
                found=f"{self.layer!r}, whose output has no places",
                expected="a convolution or pooling",
                fix="name the last layer that still has height and width",
            )
        if isinstance(guided, tuple):
            return tuple(one * self._upsampled(cam, one) for one in guided)
        return guided * self._upsampled(cam, guided)

    def _upsampled(self, cam: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(cam.detach(), size=like.shape[2:], mode=self.interpolation)
