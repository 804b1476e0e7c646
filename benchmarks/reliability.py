"""How reliable the metrics of explanations are (Tomsett et al. 2020): the tables of ``docs/reliability.md``.

Run it as ``python benchmarks/reliability.py [--network mnist] [--inputs 64]``. The networks are those of
``networks.py``, and ``reviews``, the small network of sentences of ``examples/text2021``. Each metric scores the maps
that each explainer gives the same inputs. Printed are, for each metric, how much inputs agree on which explainer
is better (Krippendorff's alpha of their rankings: 1 is full agreement, 0 none; Tomsett et al. found far less than the
0.65 that is asked of raters) and how alike two explainers score over inputs (mean Spearman correlation); and for each
two metrics how alike they score the same maps over inputs (mean Spearman correlation over explainers, each metric
turned so that more is better). An explainer that a metric refuses is left out there, and said.

Left out are the metrics that score something else than the explanation of an input: ``roar`` and ``kar`` (models that
are trained again), ``scale_preservation`` (the model alone) and ``cosine_similarity_convergence`` (a rule).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import DeepLift as CaptumDeepLift
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from networks import SUBJECTS, Subject, subject
from sound import smoothgrad

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.names import as_metric
from pytest_xaisanity.explainers import DeepLift
from pytest_xaisanity.statistics.reliability import inter_method, inter_rater, internal_consistency

Table = np.ndarray[Any, np.dtype[np.float64]]
Metrics = dict[str, tuple[str, dict[str, object]]]
Sources = dict[str, tuple[Any, dict[str, Any]]]

EVERYWHERE: Metrics = {
    "flipping, morf": ("pixel_flipping", {"order": "morf"}),
    "flipping, lerf": ("pixel_flipping", {"order": "lerf"}),
    "insertion": ("insertion", {}),
    "deletion": ("deletion", {}),
    "infidelity, noise": ("infidelity", {"normalize": True}),
    "max-sensitivity": ("max_sensitivity", {"samples": 5}),
    "completeness": ("completeness", {}),
    "complexity": ("complexity", {}),
    "sparseness": ("sparseness", {}),
    "efficient MPRT": ("efficient_mprt", {}),
}
OF_IMAGES: Metrics = {
    "flipping, mean": ("pixel_flipping", {}),
    "flipping, noise": ("pixel_flipping", {"imputer": "noise"}),
    "region perturbation": ("region_perturbation", {}),
    "road": ("road", {}),
    "infidelity, binary": ("infidelity", {"normalize": True, "perturbation": "binary"}),
    "infidelity, square": ("infidelity", {"normalize": True, "perturbation": "square", "side": 3}),
    **EVERYWHERE,
}
OF_TOKENS: Metrics = {
    "flipping": ("pixel_flipping", {}),
    "comprehensiveness": ("comprehensiveness", {}),
    "sufficiency": ("sufficiency", {}),
    **EVERYWHERE,
}


class Scoring(NamedTuple):
    """What is scored: a bench, its explainers, and the metrics."""

    bench: Bench
    sources: Sources
    metrics: Metrics


def main() -> None:
    """Score, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=(*SUBJECTS, "reviews"), action="append")
    parser.add_argument("--inputs", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.network or ("mnist",):
        scoring = of_reviews(options.inputs) if name == "reviews" else of_images(subject(name), options.inputs)
        tables = dict(scored(scoring))
        print(f"{name}: {options.inputs} inputs, {len(scoring.sources)} explainers\n")
        print(by_metric(tables), by_pair(tables), sep="\n", flush=True)


def of_images(of: Subject, count: int) -> Scoring:
    """Return what is scored of a network of images."""
    return Scoring(Bench(of.model, of.images.explained[:count], device="cpu"), explainers(of), OF_IMAGES)


def of_reviews(count: int) -> Scoring:
    """Return what is scored of the network of sentences."""
    sys.path.append(str(Path(__file__).parents[1] / "examples" / "text2021"))
    from text2021_networks import trained_reader, words
    from text2021_sentences import load_sentences

    sources: Sources = {
        "gradient": (Saliency, {"abs": False}),
        "gradient × input": (InputXGradient, {}),
        "Integrated Gradients": (IntegratedGradients, {"n_steps": 16}),
        "SmoothGrad": (smoothed, {}),
        "DeepLIFT": (CaptumDeepLift, {}),
        "leaving words out": (FeatureAblation, {}),
        "Shapley sampling": (ShapleyValueSampling, {"n_samples": 5}),
    }
    inputs = words()(load_sentences().test_texts[:count])
    return Scoring(Bench(trained_reader(), inputs, embedding="embedding", device="cpu"), sources, OF_TOKENS)


def smoothed(model: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean gradient of 16 noisy copies of what the embedding makes of each sentence."""
    tunnel = NoiseTunnel(Saliency(model))
    return tunnel.attribute(inputs, target=targets, nt_samples=16, stdevs=0.1, abs=False)


def explainers(of: Subject) -> Sources:
    """Return each explainer's source and settings, by name."""
    window, stride = (5, 4) if of.images.explained.shape[-1] > 8 else (2, 1)
    return {
        "gradient": (Saliency, {"abs": False}),
        "gradient × input": (InputXGradient, {}),
        "Integrated Gradients": (IntegratedGradients, {"n_steps": 16}),
        "SmoothGrad": (smoothgrad, {}),
        "DeepLIFT": (DeepLift("rescale"), {}),
        "occlusion": (Occlusion, {"sliding_window_shapes": (1, window, window), "strides": (1, stride, stride)}),
        "GradCAM": (LayerGradCam, {"layer": of.last}),
    }


def scored(scoring: Scoring) -> Iterator[tuple[str, Table]]:
    """Yield the name of each metric and its scores ``(n, explainers)``, of which more is better."""
    for title, (name, settings) in scoring.metrics.items():
        better = as_metric(name, settings, where="benchmark").higher_is_better
        bound = {"at_least": 0.5} if better else {"at_most": 0.5}
        columns = []
        for called, (source, chosen) in scoring.sources.items():
            column = np.full(len(scoring.bench.subject), np.nan)
            try:
                explainer = scoring.bench.explainer(source, name=called, **chosen)
                evidence = explainer.bounded(name, early=False, **bound, **settings).evidence
                column[evidence["indices"]] = np.array(evidence["scores"]["explainer"], float)
            except XaiError as error:
                print(f"{title} of {called}: {error.found}", file=sys.stderr)
            columns.append(column if better else -column)
        yield title, np.stack(columns, axis=1)


def by_metric(tables: dict[str, Table]) -> str:
    """Return the table of the agreement of inputs and of explainers, in Markdown."""
    lines = ["| metric | inputs agree (alpha) | explainers alike (mean Spearman) |", "|---|---|---|"]
    for title, scores in tables.items():
        between = inter_method(scores)
        upper = between[np.triu_indices(len(between), 1)]
        lines.append(f"| {title} | {inter_rater(scores):.2f} | {np.nanmean(upper):.2f} |")
    return "\n".join(lines) + "\n"


def by_pair(tables: dict[str, Table]) -> str:
    """Return the table of the agreement of metrics, in Markdown."""
    titles = list(tables)
    lines = ["| metrics alike | " + " | ".join(titles[1:]) + " |", "|---" * len(titles) + "|"]
    for row, title in enumerate(titles[:-1]):
        cells = [f"{np.nanmean(internal_consistency(tables[title], tables[other])):.2f}" for other in titles[row + 1 :]]
        lines.append(f"| {title} | " + " | ".join([""] * row + cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
