"""Metrics: what scores an explanation. One family a file, one entry here."""

from ...common.registry import Registry
from ..base import Metric, Scores

__all__ = ["METRICS", "Metric", "Scores"]

METRICS = Registry(
    "metric",
    {
        "efficient_mprt": ".evidence.metrics.efficient_mprt:EfficientMPRT",
        "completeness": ".evidence.metrics.completeness:Completeness",
        "complexity": ".evidence.metrics.concentration:Complexity",
        "sparseness": ".evidence.metrics.concentration:Sparseness",
        "max_sensitivity": ".evidence.metrics.max_sensitivity:MaxSensitivity",
        "infidelity": ".evidence.metrics.infidelity:Infidelity",
        "pixel_flipping": ".evidence.metrics.pixel_flipping:PixelFlipping",
        "scale_preservation": ".evidence.metrics.scale_preservation:ScalePreservation",
        "cosine_similarity_convergence": ".evidence.metrics.cosine_similarity_convergence:CosineSimilarityConvergence",
    },
)
