"""Baselines: what an explanation must beat."""

from ..registry import Registry

__all__ = ["BASELINES"]

BASELINES = Registry(
    "baseline",
    {
        "random": ".baselines.random:Random",
        "edges": ".baselines.edges:Edges",
        "uninformative": ".adversary:Uninformative",
        "mutants": ".mutants:Mutants",
        "input_times_noise": ".baselines.uninformative:InputTimesNoise",
    },
)
