"""Metrics: what scores an explanation. One family a file, one entry here."""

from ..registry import Registry
from .base import Metric, Scores

__all__ = ["METRICS", "Metric", "Scores"]

METRICS = Registry(
    "metric",
    {
        "efficient_mprt": ".metrics.efficient_mprt:EfficientMPRT",
        "pixel_flipping": ".metrics.pixel_flipping:PixelFlipping",
        "scale_preservation": ".metrics.scale_preservation:ScalePreservation",
        "cosine_similarity_convergence": ".metrics.convergence:CosineSimilarityConvergence",
    },
)
