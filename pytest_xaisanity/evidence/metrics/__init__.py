"""Metrics: what scores an explanation. One family a file, one entry here."""

from ...common.registry import Registry
from ..base import Metric, Scores

__all__ = ["METRICS", "METRICS_OF_OTHERS", "Metric", "Scores"]

METRICS = Registry(
    "metric",
    {
        "comprehensiveness": ".evidence.metrics.comprehensiveness:Comprehensiveness",
        "deletion": ".evidence.metrics.deletion:Deletion",
        "efficient_mprt": ".evidence.metrics.efficient_mprt:EfficientMPRT",
        "completeness": ".evidence.metrics.completeness:Completeness",
        "complexity": ".evidence.metrics.concentration:Complexity",
        "sparseness": ".evidence.metrics.concentration:Sparseness",
        "kar": ".evidence.metrics.roar:KAR",
        "max_sensitivity": ".evidence.metrics.max_sensitivity:MaxSensitivity",
        "infidelity": ".evidence.metrics.infidelity:Infidelity",
        "insertion": ".evidence.metrics.deletion:Insertion",
        "pixel_flipping": ".evidence.metrics.pixel_flipping:PixelFlipping",
        "region_perturbation": ".evidence.metrics.region_perturbation:RegionPerturbation",
        "road": ".evidence.metrics.road:Road",
        "roar": ".evidence.metrics.roar:ROAR",
        "scale_preservation": ".evidence.metrics.scale_preservation:ScalePreservation",
        "sufficiency": ".evidence.metrics.comprehensiveness:Sufficiency",
        "cosine_similarity_convergence": ".evidence.metrics.cosine_similarity_convergence:CosineSimilarityConvergence",
    },
)

METRICS_OF_OTHERS = Registry(
    "metric_of_others",
    {
        "quantus": ".evidence.metrics.quantus:QuantusMetric",
        "torchmetrics": ".evidence.metrics.torchmetrics:TorchMetric",
    },
)
"""What makes metrics of other libraries' objects."""
