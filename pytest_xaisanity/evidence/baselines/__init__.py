"""Baselines: what an explanation must beat."""

from ...common.registry import Registry

__all__ = ["BASELINES"]

BASELINES = Registry(
    "baseline",
    {
        "random": ".evidence.baselines.random:Random",
        "edges": ".evidence.baselines.edges:Edges",
        "other_input": ".evidence.baselines.other_input:OtherInput",
        "other_local": ".evidence.baselines.other_local:OtherLocal",
        "misplaced": ".evidence.baselines.misplaced:Misplaced",
        "class_mean": ".evidence.baselines.class_mean:ClassMean",
        "uninformative": ".evidence.baselines.uninformative:Uninformative",
        "mutants": ".evidence.baselines.mutants:Mutants",
        "smoothed": ".evidence.baselines.smoothed:Smoothed",
        "recorded": ".evidence.baselines.recorded:Recorded",
        "input_times_noise": ".evidence.baselines.uninformative:InputTimesNoise",
    },
)
