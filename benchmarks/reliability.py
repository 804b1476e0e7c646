"""How reliable the metrics of explanations are (Tomsett et al. 2020), on the networks of ``networks.py``.

Run it as ``python benchmarks/reliability.py [--network mnist] [--inputs 64]``. Each metric scores the maps that each
explainer gives the same inputs. Printed are, for each metric, how much inputs agree on which explainer is better
(Krippendorff's alpha of their rankings: 1 is full agreement, 0 none; Tomsett et al. found far less than the 0.65 that
is asked of raters) and how alike two explainers score over inputs (mean Spearman correlation); and for each two metrics
how alike they score the same maps over inputs (mean Spearman correlation over explainers, each metric turned so that
more is better). A metric that is not installed yet is left out.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from networks import SUBJECTS, Subject, subject
from sound import smoothgrad

from pytest_xaisanity import Bench
from pytest_xaisanity.evidence.metrics import METRICS
from pytest_xaisanity.evidence.names import as_metric
from pytest_xaisanity.explainers import DeepLift
from pytest_xaisanity.statistics.reliability import inter_method, inter_rater, internal_consistency

Table = np.ndarray[Any, np.dtype[np.float64]]

MEASURED: dict[str, tuple[str, dict[str, object]]] = {
    "flipping, mean": ("pixel_flipping", {}),
    "flipping, noise": ("pixel_flipping", {"imputer": "noise"}),
    "flipping, morf": ("pixel_flipping", {"order": "morf"}),
    "flipping, lerf": ("pixel_flipping", {"order": "lerf"}),
    "region perturbation": ("region_perturbation", {}),
    "road": ("road", {}),
    "insertion": ("insertion", {}),
    "deletion": ("deletion", {}),
    "infidelity, noise": ("infidelity", {"normalize": True}),
    "infidelity, binary": ("infidelity", {"normalize": True, "perturbation": "binary"}),
    "infidelity, square": ("infidelity", {"normalize": True, "perturbation": "square", "side": 3}),
    "max-sensitivity": ("max_sensitivity", {"samples": 5}),
    "completeness": ("completeness", {}),
    "complexity": ("complexity", {}),
    "sparseness": ("sparseness", {}),
}


def main() -> None:
    """Score, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=SUBJECTS, action="append")
    parser.add_argument("--inputs", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.network or ("mnist",):
        tables = scored(subject(name), options.inputs)
        print(f"{name}: {options.inputs} inputs, {len(explainers(subject(name)))} explainers\n")
        print(by_metric(tables), by_pair(tables), sep="\n", flush=True)


def explainers(of: Subject) -> dict[str, tuple[Any, dict[str, Any]]]:
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


def scored(of: Subject, count: int) -> dict[str, Table]:
    """Return the scores ``(n, explainers)`` on each metric, of which more is better."""
    bench = Bench(of.model, of.images.explained[:count], device="cpu")
    sources = explainers(of)
    tables = {}
    for title, (name, settings) in MEASURED.items():
        if name not in METRICS:
            continue
        better = as_metric(name, settings, where="benchmark").higher_is_better
        bound = {"at_least": 0.5} if better else {"at_most": 0.5}
        columns = []
        for called, (source, chosen) in sources.items():
            explainer = bench.explainer(source, name=called, **chosen)
            evidence = explainer.bounded(name, early=False, **bound, **settings).evidence
            column = np.full(count, np.nan)
            column[evidence["indices"]] = np.array(evidence["scores"]["explainer"], float)
            columns.append(column if better else -column)
        tables[title] = np.stack(columns, axis=1)
    return tables


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
