"""Explainers put on the smoothed network, whatever they are themselves."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from ...common.errors import XaiError
from ...model.smooth import Smooth
from ...model.smoothing import Smoothing
from ..explainer import Request
from ..on_smoothed import OnSmoothed
from . import adapter_of
from .base import Adapter, Attribute, Settings, name_of

__all__ = ["OnSmoothedAdapter"]


class OnSmoothedAdapter(Adapter[OnSmoothed]):
    """Any explainer on the smoothed network: calls it while the forward passes of the model are smoothed."""

    def accepts(self, source: object) -> bool:
        """Whether it is one."""
        return isinstance(source, OnSmoothed)

    def built(self, source: OnSmoothed, settings: Settings, *, where: str) -> tuple[OnSmoothed, Settings]:
        """Return it with the explainer inside built."""
        inner, left = self._inner(source).built(source.source, settings, where=where)
        return replace(source, source=inner), left

    def attribute(self, source: OnSmoothed, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the explainer inside."""
        inner = self._inner(source).attribute(source.source, model, settings, where=where)
        Smoothing(model, source.smooth)  # so that a model that cannot be seen inside is refused at once

        def attribute(request: Request) -> object:
            smoothing = Smoothing(request.model, source.smooth)
            with smoothing.block():
                found = inner(request)
            smoothing.check(where)
            return found

        return attribute

    def name(self, source: OnSmoothed, settings: Settings) -> str:
        """Return the name of the explainer inside, and how smooth the network is."""
        return f"{self._inner(source).name(source.source, settings)} on smoothed({source.smooth})"

    def key(self, source: OnSmoothed, settings: Settings) -> tuple[Hashable, ...]:
        """Return that of the explainer inside, beside how smooth the network is."""
        return ("on smoothed", source.smooth, *self._inner(source).key(source.source, settings))

    def lighter(self, source: OnSmoothed, settings: Settings) -> tuple[str, ...]:
        """Return what makes the explainer inside lighter."""
        return self._inner(source).lighter(source.source, settings)

    def smooth(self, source: OnSmoothed) -> Smooth:
        """Return how smooth the network is made."""
        return source.smooth

    def _inner(self, source: OnSmoothed) -> Adapter[object]:
        found: Adapter[object] | None = adapter_of(source.source)
        if found is None or isinstance(source.source, OnSmoothed):
            raise XaiError(
                "OnSmoothed",
                found=f"a {name_of(source.source)}",
                expected="an explainer that xai.explainer takes",
                fix="give a Captum class, a rule explainer or a function (model, inputs, targets) -> attributions",
            )
        return found
