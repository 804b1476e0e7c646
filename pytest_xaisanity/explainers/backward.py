"""The backward pass of what backpropagates by rules of its own, taken apart."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import nn

from .adapters import adapter_of
from .adapters.base import no_rules
from .explainer import Explainer

__all__ = ["backward_rules"]


def backward_rules(source: object, model: nn.Module) -> AbstractContextManager[object]:
    """Return the context in which gradients through ``model`` are what the rule of ``source`` propagates instead.

    See :class:`~pytest_xaisanity.explainers.rules.base.BackwardRules` for what can be done in it.

    Args:
        source: One of our rule explainers, a zennit ``Composite`` or an attributor that holds one, Captum's
            ``GuidedBackprop`` or ``Deconvolution`` (class or instance), or a plain gradient (Captum's ``Saliency``,
            ``InputXGradient``, ``IntegratedGradients``, or a ``NoiseTunnel`` of one; zennit's gradients without a
            composite), which changes nothing; or whatever else its adapter has rules for.
        model: The model that is explained.

    Raises:
        XaiError: ``source`` is none of these; or, in the forward pass, an activation escapes the hooks of zennit or
            Captum, which see modules alone, or a module with weights is called twice, of which zennit's hooks
            remember but the last call.
    """
    if isinstance(source, Explainer):
        source = source.source
    adapter = adapter_of(source)
    if adapter is None:
        raise no_rules(source)
    return adapter.rules(source, model)
