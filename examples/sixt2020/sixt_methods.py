"""The methods that the paper compares, and the three claims that tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum.attr import InputXGradient, Saliency
from digits import Digits
from torch import nn

from pytest_xaisanity import Bench, Verdict
from pytest_xaisanity.bench.bench import BoundExplainer
from pytest_xaisanity.explainers import (
    LRP,
    Deconvolution,
    DeepLift,
    DeepTaylor,
    ExcitationBackprop,
    GuidedBackprop,
    PatternAttribution,
    RectGrad,
    estimate_patterns,
)

METHODS: dict[str, Any] = {
    "Gradient": Saliency,
    "Gradient × Input": InputXGradient,
    "LRP z": LRP("z"),
    "DeepLIFT Rescale": DeepLift("rescale"),
    "DeepLIFT RevealCancel": DeepLift("revealcancel"),
    "LRP α5β4": LRP("alpha5beta4"),
    "LRP z+": LRP("zplus"),
    "LRP α1β0": LRP("alpha1beta0"),
    "Deep Taylor": DeepTaylor(0.0, 1.0),
    "Excitation Backprop": ExcitationBackprop(),
    "LRP α2β1": LRP("alpha2beta1"),
    "LRP composite": LRP("composite"),
    "PatternAttribution": PatternAttribution,
    "DeepLIFT Ablation": DeepLift("ablation"),
    "Guided Backprop": GuidedBackprop(),
    "RectGrad": RectGrad(),
    "Deconvolution": Deconvolution(),
}

CONVERGED = 0.85
"""Above this, a rule counts as converged at the lowest layer.

The paper's networks are deeper, and its rules reach 0.99. In ten layers the slowest of them, RectGrad, reaches 0.90;
of the sound methods LRP z comes highest, with 0.77. It divides the random relevance by logits, of which some are near
zero and then outweigh the others, and multiplies by activations, of which many are zero.
"""

PAPER = {"similarity": "sign_flip_ssim", "seeds": 2}
CLAIMS: dict[str, Callable[..., Verdict]] = {
    "convergence": lambda one, **how: one.bounded("cosine_similarity_convergence", at_most=CONVERGED, **how),
    "class": lambda one, **how: one.changes_under("other_target", **{**PAPER, **how}),
    "later layers": lambda one, **how: one.changes_under("later_layers", **{**PAPER, **how}),
}
"""What a sound method keeps: its relevance stays apart, and its maps follow the class and the layers above a cut."""


def explainer(bench: Bench, name: str, digits: Digits) -> BoundExplainer:
    """Return the method of that name on the bench's model."""
    source, settings = METHODS[name], {"abs": False} if name == "Gradient" else {}
    if source is PatternAttribution:
        model: nn.Module = bench.subject.model
        source = PatternAttribution(estimate_patterns(model, digits.train_images[:1000]))
    return bench.explainer(source, name=name, **settings)


def flags(one: BoundExplainer) -> list[str]:
    """Return the claims that are shown to be false of an explainer."""
    return [name for name, claim in CLAIMS.items() if claim(one).failed]
