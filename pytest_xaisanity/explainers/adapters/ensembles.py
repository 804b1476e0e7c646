"""Ensembles of any explainer, whatever it is itself."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import torch
from torch import Tensor

from ...common.errors import XaiError
from ...subject.tensors import from_numpy
from ..ensembles import Ensemble
from ..explainer import Request, Tokens
from . import adapter_of
from .base import Adapter, Attribute, Settings, name_of

__all__ = ["EnsembleAdapter"]


class EnsembleAdapter(Adapter[Ensemble]):
    """Ensembles of any explainer: calls the one inside for each draw, and puts what it returns together."""

    def accepts(self, source: object) -> bool:
        """Whether it is one."""
        return isinstance(source, Ensemble)

    def built(self, source: Ensemble, settings: Settings, *, where: str) -> tuple[Ensemble, Settings]:
        """Return it with the explainer inside built."""
        inner, left = self._inner(source).built(source.source, settings, where=where)
        return replace(source, source=inner), left

    def attribute(self, source: Ensemble, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that calls the explainer inside."""
        inner = self._inner(source).attribute(source.source, model, settings, where=where)

        def attribute(request: Request) -> object:
            sums = _Sums()
            for _ in range(max(1, source.draws)):
                given = tuple(tensor.detach().clone() for tensor in request.inputs)
                if source.draws:
                    _check_floating(given, where)
                    given = tuple(tensor + source.noise(tensor) for tensor in given)
                sums.add(inner(replace(request, inputs=given)), where)
            return sums.combined(source)

        return attribute

    def with_multiplier(
        self, source: Ensemble, settings: Settings, multiplier: str, *, where: str
    ) -> tuple[Ensemble, Settings]:
        """Return it with the explainer inside switched."""
        inner, left = self._inner(source).with_multiplier(source.source, settings, multiplier, where=where)
        return replace(source, source=inner), left

    def name(self, source: Ensemble, settings: Settings) -> str:
        """Return the name of the explainer inside, and what is made of it."""
        return f"{source.label} of {self._inner(source).name(source.source, settings)}"

    def key(self, source: Ensemble, settings: Settings) -> tuple[Hashable, ...]:
        """Return that of the explainer inside, beside what is made of it."""
        return (type(source).__name__, source.label, *self._inner(source).key(source.source, settings))

    def lighter(self, source: Ensemble, settings: Settings) -> tuple[str, ...]:
        """Return what makes the explainer inside lighter: samples are explained one after the other."""
        return self._inner(source).lighter(source.source, settings)

    def tokens(self, source: Ensemble, settings: Settings) -> Tokens:
        """Return what the explainer inside explains of tokens; noise is added to what the embedding makes of them."""
        return "embedded" if source.draws else self._inner(source).tokens(source.source, settings)

    def _inner(self, source: Ensemble) -> Adapter[object]:
        found: Adapter[object] | None = adapter_of(source.source)
        if found is None or isinstance(source.source, Ensemble):
            raise XaiError(
                type(source).__name__,
                found=f"a {name_of(source.source)}",
                expected="an explainer that xai.explainer takes, and no other ensemble",
                fix="give a Captum class, a rule explainer or a function (model, inputs, targets) -> attributions",
            )
        return found


class _Sums:
    """The means of attributions and of their squares, and their variance, one call after the other (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.means: list[Tensor] = []
        self.squares: list[Tensor] = []
        self.spreads: list[Tensor] = []

    def add(self, result: object, where: str) -> None:
        """Take the attributions of one call into account."""
        results = result if isinstance(result, (tuple, list)) else [result]
        values = [_values(one, where) for one in results]
        if not self.count:
            self.means, self.squares, self.spreads = ([torch.zeros_like(one) for one in values] for _ in range(3))
        self.count += 1
        for value, mean, square, spread in zip(values, self.means, self.squares, self.spreads, strict=True):
            before = value - mean
            mean += before / self.count
            spread += before * (value - mean)
            square += (value.square() - square) / self.count

    def combined(self, ensemble: Ensemble) -> list[Tensor]:
        """Return what the ensemble makes of them."""
        each = zip(self.means, self.squares, self.spreads, strict=True)
        return [ensemble.combined(mean, square, spread / self.count) for mean, square, spread in each]


def _values(result: object, where: str) -> Tensor:
    found = from_numpy(result, where)
    if not isinstance(found, Tensor) or found.is_complex():
        raise XaiError(
            where,
            found=f"a {type(result).__name__} returned by the explainer inside",
            expected="a real tensor of attributions",
            fix="return a tensor or an array of numbers",
        )
    values = found.detach()
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _check_floating(inputs: tuple[Tensor, ...], where: str) -> None:
    whole = [str(tensor.dtype) for tensor in inputs if not tensor.is_floating_point()]
    if whole:
        raise XaiError(
            where,
            found=f"inputs of {', '.join(whole)}, to which no noise can be added",
            expected="floating-point inputs",
            fix="explain what an embedding makes of them, or leave the ensemble out",
        )
