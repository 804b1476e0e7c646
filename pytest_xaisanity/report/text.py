"""What a person reads of one verdict: a line, and the whole section."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

__all__ = ["details", "one_line", "sentence"]

_WORST = 5
_POSITIONS = 12
_LAYERS = 8


def one_line(record: Mapping[str, Any]) -> str:
    """Return outcome, claim and numbers in one line."""
    return f"{record['outcome']}: {sentence(record)}"


def sentence(record: Mapping[str, Any]) -> str:
    """Return claim and numbers in one line."""
    return f"{record['claim']}: {_numbers(record)}"


def _numbers(record: Mapping[str, Any]) -> str:
    low, high = record["interval"]
    bounds = f" in [{_number(low)}, {_number(high)}]" if low is not None or high is not None else ""
    return f"{record['quantity']} {_number(record['estimate'])}{bounds}, n={record['n']}"


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def details(record: Mapping[str, Any]) -> str:
    """Return the section under a claim that did not pass."""
    return "\n".join(f"{label:<12} {text}" for label, text in _rows(record))


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    evidence = record["evidence"]
    yield "claim", record["claim"]
    yield "verdict", f"{record['outcome']}: {record['reason']}"
    yield "measured", _numbers(record)
    yield "decided by", f"{record['decided_by']}; each bound holds with confidence {record['confidence']:g}"
    yield from _similarities(evidence)
    if "means" in evidence:
        yield "means", ", ".join(f"{name} {_number(value)}" for name, value in evidence["means"].items())
    yield from _controls(evidence)
    yield from _convergence(evidence)
    yield from _layers(evidence)
    yield from _trained(evidence)
    yield from _worst(record)
    yield "reproduce", record["reproduce"]
    yield from _advice(record)


def _similarities(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, part in evidence.get("by_similarity", {}).items():
        curve = " ".join(_number(value) for value in part["after_by_position"][:_POSITIONS])
        more = " ..." if len(part["after_by_position"]) > _POSITIONS else ""
        kept = f"; retention {_number(part['retention'])}" if "retention" in part else ""
        again = evidence.get("ceiling", "one input twice")
        yield (
            name,
            f"{again} {_number(part['self'])}, unrelated inputs {_number(part['chance'])}, "
            f"before and after {curve}{more}{kept}",
        )


def _controls(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, control in evidence.get("controls", {}).items():
        if "score" in control:
            yield "control", f"{name}: {_number(control['score'])} (first {control['n']} inputs)"
        elif name == "edge resemblance":
            yield "control", f"{name}: {', '.join(_resemblance(*entry) for entry in control.items())}"
        else:
            shown = (
                f"{similarity} {_number(value['after'])} (unrelated inputs {_number(value['chance'])})"
                for similarity, value in control.items()
            )
            yield "control", f"{name}: {', '.join(shown)}"


def _resemblance(similarity: str, value: Mapping[str, Any]) -> str:
    known = [one for one in value["after"] if one is not None]
    ends = dict.fromkeys((_number(min(known)), _number(max(known)))) if known else ("unknown",)
    after = " to ".join(ends)
    return f"{similarity} {_number(value['before'])} before, {after} after (noise {_number(value['null'])})"


def _convergence(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for row in evidence.get("convergence", ()):
        seen = f"median |cos| {_number(row['median'])} (random vectors {_number(row['null_median'])})"
        yield "convergence", f"{row['layer']}: {seen}"


def _layers(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    layers = evidence.get("layers")
    if layers:
        shown = ", ".join(layers[:_LAYERS]) + (f", ... ({len(layers)} in all)" if len(layers) > _LAYERS else "")
        how = f"seeds {evidence['seeds']}, law {evidence['reinit']}"
        how += f", target {evidence['target']}" if "target" in evidence else ""
        yield "randomized", f"{shown}; {how}"
    for name, why in list(evidence.get("not_randomized", {}).items())[:_WORST]:
        yield "untouched", f"{name}: {why}"


def _trained(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for labels, models in evidence.get("accuracies", {}).items():
        shown = (
            f"training accuracy {_number(model['training'])}, test accuracy {_number(model['test'])} "
            f"(chance {_number(model['chance'])})"
            for model in models
        )
        yield "trained", f"on {labels}: {'; '.join(shown)}"


def _worst(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name the inputs that speak most against the claim."""
    evidence = record["evidence"]
    if record["verb"] == "changes_under" and not re.search(r"\b(retention|after)\b", record["quantity"]):
        return  # it was not told what an intervention did to any input
    scores, values, unit = evidence.get("scores", {}), evidence.get("per_input"), record["quantity"]
    if values is None and scores:
        words = re.findall(r"\w+", record["quantity"])
        name = next((name for name in scores if name in words), next(iter(scores)))
        values, unit = scores[name], _unit(record, name)
    known = [
        (value, index) for value, index in zip(values or [], evidence["indices"], strict=False) if value is not None
    ]
    if known:
        ordered = sorted(known, key=lambda pair: (_against(record, pair[0]), -pair[1]), reverse=True)[:_WORST]
        yield "worst inputs", ", ".join(f"{index} ({_number(value)})" for value, index in ordered) + f": {unit}"


def _unit(record: Mapping[str, Any], name: str) -> str:
    """Return what the scores of single inputs are."""
    if name == "distance":
        return "how far the map moved, relative to its own size"
    if record["verb"] == "changes_under" and record["bounds"]["at_most"] is None:
        return f"{name} left above what is accepted"
    return "score" if name == "explainer" else f"{name} before and after"


def _against(record: Mapping[str, Any], value: float) -> float:
    """Return how much the score of one input speaks against the claim."""
    low, high = record["bounds"]["at_least"], record["bounds"]["at_most"]
    if record["verb"] == "bounded":
        return max(low - value if low is not None else -inf, value - high if high is not None else -inf)
    scores = record["evidence"].get("scores", {})
    errors = "distance" in scores or (record["quantity"].startswith("mse ") and (low is not None or high is not None))
    more_is_alike = record["verb"] == "changes_under"
    return value if more_is_alike != errors else -value


_ADVICE = {
    "other_target": "the explanation hardly depends on the class: use a method that mixes relevance of both signs "
    "(gradients, LRP z, DeepLIFT Rescale)",
    "cosine_similarity_convergence": "relevance becomes parallel on its way down, so that it tells neither classes nor "
    "later layers apart: use a rule that mixes both signs (gradients, LRP z, DeepLIFT Rescale)",
    "label_randomization": "the explanation hardly depends on the labels that were learnt: use a method that does "
    "(gradients, GradCAM), or name another similarity=",
    "changes_under": "the explanation hardly depends on what was changed in the model: use a method that does "
    "(gradients, Integrated Gradients), or look for a multiplication by the input",
    "beats": "the ranking carries no more than the baseline: check targets, baselines and sign, and compare another "
    "imputer=",
    "invariant_under": "look for statistics over the batch, or state kept between calls",
}


def _advice(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = [text for about, text in _ADVICE.items() if about in record["claim"]]
    if record["outcome"] == "failed" and known:
        yield "try", known[0]
    if record["outcome"] == "inconclusive" and not record["tolerated"]:
        yield "policy", "neither shown nor refuted; --xai-inconclusive=skip or warn lets such claims through"
