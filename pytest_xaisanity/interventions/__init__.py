"""Interventions: what is done to the model or the inputs that ought, or ought not, to change an explanation."""

from ..registry import Registry
from .base import Comparison, Intervention, Session

__all__ = ["INTERVENTIONS", "Comparison", "Intervention", "Session"]

INTERVENTIONS = Registry(
    "intervention",
    {
        "cascading_randomization": ".interventions.weights:CascadingRandomization",
        "independent_randomization": ".interventions.weights:IndependentRandomization",
        "bottom_up_randomization": ".interventions.weights:BottomUpRandomization",
        "label_randomization": ".interventions.labels:LabelRandomization",
        "batch_order": ".interventions.batch_order:BatchOrder",
        "other_target": ".interventions.other_target:OtherTarget",
        "later_layers": ".interventions.later_layers:LaterLayers",
    },
)
