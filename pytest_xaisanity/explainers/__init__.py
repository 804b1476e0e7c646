"""Explainers: adapters to what users have, running them on a subject, and explainers by rules of their own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapters import as_explainer
    from .adapters.base import Adapter
    from .attributions import Attributions
    from .backward import backward_rules
    from .ensembles import SmoothGrad, SmoothGradSquared, Squared, VarGrad
    from .explainer import Explainer, Request
    from .on_smoothed import OnSmoothed
    from .rules.base import BackwardRules
    from .rules.deeplift import DeepLift
    from .rules.gates import Deconvolution, GuidedBackprop, GuidedGradCAM, RectGrad
    from .rules.lrp import LRP, DeepTaylor, ExcitationBackprop
    from .rules.patterns import PatternAttribution, estimate_patterns

__all__ = [
    "LRP",
    "Adapter",
    "Attributions",
    "BackwardRules",
    "Deconvolution",
    "DeepLift",
    "DeepTaylor",
    "ExcitationBackprop",
    "Explainer",
    "GuidedBackprop",
    "GuidedGradCAM",
    "OnSmoothed",
    "PatternAttribution",
    "RectGrad",
    "Request",
    "SmoothGrad",
    "SmoothGradSquared",
    "Squared",
    "VarGrad",
    "as_explainer",
    "backward_rules",
    "estimate_patterns",
]

_HOMES = {
    "Adapter": "adapters.base",
    "Attributions": "attributions",
    "Explainer": "explainer",
    "Request": "explainer",
    "SmoothGrad": "ensembles",
    "SmoothGradSquared": "ensembles",
    "Squared": "ensembles",
    "VarGrad": "ensembles",
    "as_explainer": "adapters",
    "OnSmoothed": "on_smoothed",
    "LRP": "rules.lrp",
    "BackwardRules": "rules.base",
    "Deconvolution": "rules.gates",
    "DeepLift": "rules.deeplift",
    "DeepTaylor": "rules.lrp",
    "ExcitationBackprop": "rules.lrp",
    "GuidedBackprop": "rules.gates",
    "GuidedGradCAM": "rules.gates",
    "PatternAttribution": "rules.patterns",
    "RectGrad": "rules.gates",
    "backward_rules": "backward",
    "estimate_patterns": "rules.patterns",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
