"""Our own explainers by rules, and their classes, as explainers."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager

from torch import nn

from ...common.errors import XaiError
from ..explainer import Request, Tokens
from ..rules.base import RuleExplainer
from .base import Adapter, Attribute, Settings, check_keywords

__all__ = ["RuleAdapter"]


class RuleAdapter(Adapter[RuleExplainer | type[RuleExplainer]]):
    """Rule explainers, which hold their settings, and their classes, which are built with those that are given."""

    def accepts(self, source: object) -> bool:
        """Whether it is a rule explainer or a class of them."""
        return issubclass(source, RuleExplainer) if isinstance(source, type) else isinstance(source, RuleExplainer)

    def built(
        self, source: RuleExplainer | type[RuleExplainer], settings: Settings, *, where: str
    ) -> tuple[RuleExplainer, Settings]:
        """Return the explainer of a class, with the settings that are given."""
        if not isinstance(source, type):
            return source, settings
        check_keywords(source, settings, where, own=())
        try:
            inspect.signature(source).bind(**settings)
        except TypeError as error:
            raise XaiError(
                where,
                found=f"settings that do not fit ({error})",
                expected=f"{source.__name__}{inspect.signature(source)}",
                fix="pass what is missing",
            ) from error
        return source(**settings), {}

    def attribute(
        self, source: RuleExplainer | type[RuleExplainer], model: object, settings: Settings, *, where: str
    ) -> Attribute:
        """Return the function that calls the explainer."""
        explainer, left = self.built(source, settings, where=where)
        check_keywords(explainer, left, where, own=("model", "inputs", "targets"))

        def attribute(request: Request) -> object:
            inputs = request.inputs if len(request.inputs) > 1 else request.inputs[0]
            return explainer(request.bound, inputs, request.targets)

        return attribute

    def tokens(self, source: RuleExplainer | type[RuleExplainer], settings: Settings) -> Tokens:
        """A gradient needs what the embedding makes of them."""
        return "embedded"

    def rules(self, source: RuleExplainer | type[RuleExplainer], model: nn.Module) -> AbstractContextManager[object]:
        """Return the explainer's own rules."""
        return self.built(source, {}, where="backward rules")[0].rules(model)
