"""Interventions: what is done to the model or the inputs that ought, or ought not, to change an explanation."""

from ...common.registry import Registry
from ..base import Intervention, Procedure
from ..comparison import Comparison

__all__ = ["INTERVENTIONS", "Comparison", "Intervention", "Procedure"]

INTERVENTIONS = Registry(
    "intervention",
    {
        "cascading_randomization": ".evidence.interventions.weight_randomization:CascadingRandomization",
        "independent_randomization": ".evidence.interventions.weight_randomization:IndependentRandomization",
        "bottom_up_randomization": ".evidence.interventions.weight_randomization:BottomUpRandomization",
        "label_randomization": ".evidence.interventions.label_randomization:LabelRandomization",
        "batch_order": ".evidence.interventions.batch_order:BatchOrder",
        "other_target": ".evidence.interventions.other_target:OtherTarget",
        "later_layers": ".evidence.interventions.later_layers:LaterLayers",
        "input_shift": ".evidence.interventions.input_shift:InputShift",
        "no_op_layer": ".evidence.interventions.no_op_layer:NoOpLayer",
        "smoothed": ".evidence.interventions.smoothed:Smoothed",
    },
)
