"""Captum's methods that have a multiplier, as one explanation of which both kinds of attributions are known."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ...maps.forms import Multiplier
from ..explainer import Request
from ..multiplied import Multiplied
from .base import Attribute, Settings
from .rows import following

__all__ = ["multiplied"]

_SWITCHED = ("IntegratedGradients", "DeepLift", "GradientShap")
Made = Callable[[Any, Settings], Attribute]


def multiplied(source: Any, settings: Settings, where: str, made: Made) -> Multiplied | None:
    """Return an explainer of which local and global attributions are known, or None for one of the others.

    The others have no multiplier, or one that is another for each sample (baselines that are drawn from, noise on
    the inputs), whose mean product is no product of means; or they are methods of layers, whose activations are not at
    hand.

    Args:
        source: A class of Captum's or an object of one.
        settings: The keywords beside it.
        where: For errors.
        made: Returns the function that calls a class or an object with settings.
    """
    if settings.get("return_convergence_delta") or settings.get("custom_attribution_func") is not None:
        return None
    found = _local(source, settings)
    if found is None:
        return None
    own, local, left = found
    baselines = {name: left[name] for name in ("baselines",) if name in left}
    if not _derivable(local, baselines.get("baselines"), left):
        return None

    def factors(request: Request) -> tuple[Tensor, ...]:
        given = following(baselines, request, where).get("baselines")
        parts = given if isinstance(given, tuple) else (given,) * len(request.inputs)
        return tuple(tensor - _placed(part, tensor) for tensor, part in zip(request.inputs, parts, strict=True))

    return Multiplied(own, made(local, left), factors)


def _local(source: Any, settings: Settings) -> tuple[Multiplier, Any, Mapping[str, object]] | None:
    """Return which kind a method's own attributions are, and the method of those without multiplier with its settings.

    Classes that users derive from these may do something else, and are left alone.
    """
    kind = source if isinstance(source, type) else type(source)
    if not kind.__module__.startswith("captum."):
        return None
    if kind.__name__ == "Saliency":
        return None if settings.get("abs", True) else ("without", source, settings)
    if kind.__name__ == "InputXGradient":
        from captum.attr import Saliency

        gradient = Saliency if isinstance(source, type) else Saliency(source.forward_func)
        return "with", gradient, {**settings, "abs": False}
    if kind.__name__ not in _SWITCHED:
        return None
    if isinstance(source, type):
        own: Multiplier = "with" if settings.get("multiply_by_inputs", True) else "without"
        return own, source, {**settings, "multiply_by_inputs": False}
    twin = copy.copy(source)
    twin._multiply_by_inputs = False
    return "with" if source.multiplies_by_inputs else "without", twin, settings


def _derivable(method: Any, baselines: object, settings: Settings) -> bool:
    """Whether all samples of an input are explained in comparison with one baseline."""
    kind = method if isinstance(method, type) else type(method)
    parts = baselines if isinstance(baselines, tuple) else (baselines,)
    if kind.__name__ != "GradientShap":
        return not any(callable(part) for part in parts)
    drawn = any(not isinstance(part, (Tensor, np.ndarray)) or len(part) != 1 for part in parts)
    return not drawn and settings.get("stdevs", 0.0) == 0.0


def _placed(baseline: object, like: Tensor) -> Any:
    if baseline is None:
        return 0.0
    return baseline.to(like.device) if isinstance(baseline, Tensor) else baseline
