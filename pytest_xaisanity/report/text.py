"""What a person reads of one verdict: a line, and the whole section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["details", "one_line"]

_WORST = 5


def one_line(record: Mapping[str, Any]) -> str:
    """Return outcome, claim and numbers in one line."""
    return f"{record['outcome']:<12} {record['claim']}: {_numbers(record)}"


def _numbers(record: Mapping[str, Any]) -> str:
    low, high = record["interval"]
    bounds = f" in [{_number(low)}, {_number(high)}]" if low is not None or high is not None else ""
    return f"{record['quantity']} {_number(record['estimate'])}{bounds}, n={record['n']}"


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def details(record: Mapping[str, Any]) -> str:
    """Return the section under a claim that did not pass."""
    return "\n".join(_lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    evidence = record["evidence"]
    yield f"claim       {record['claim']}"
    yield f"verdict     {record['outcome']}: {record['reason']}"
    confidence = f"each bound at confidence {record['confidence']:g}"
    yield f"measured    {_numbers(record)} ({confidence}; {record['decided_by']})"
    yield from _similarities(evidence)
    yield from _scores(evidence)
    yield from _controls(evidence)
    yield from _layers(evidence)
    yield from _worst(record)
    yield f"reproduce   pytest '{record['test']}' --xai-seed={evidence['seed']}"
    yield from _advice(record)


def _similarities(evidence: Mapping[str, Any]) -> Iterator[str]:
    for name, part in evidence.get("by_similarity", {}).items():
        curve = " ".join(_number(value) for value in part["after_by_position"][:12])
        more = " ..." if len(part["after_by_position"]) > 12 else ""
        kept = f", retention {_number(part['retention'])}" if "retention" in part else ""
        yield f"{name:<11} self {_number(part['self'])}, chance {_number(part['chance'])}, after {curve}{more}{kept}"


def _scores(evidence: Mapping[str, Any]) -> Iterator[str]:
    if "means" in evidence:
        yield "means       " + ", ".join(f"{name} {_number(value)}" for name, value in evidence["means"].items())


def _controls(evidence: Mapping[str, Any]) -> Iterator[str]:
    for name, control in evidence.get("controls", {}).items():
        if "score" in control:
            yield f"control     {name}: {_number(control['score'])} (first {control['n']} inputs)"
        else:
            shown = ", ".join(
                f"{similarity} {_number(value['after'])} (chance {_number(value['chance'])})"
                for similarity, value in control.items()
            )
            yield f"control     {name}: {shown}"


def _layers(evidence: Mapping[str, Any]) -> Iterator[str]:
    layers = evidence.get("layers")
    if layers:
        shown = ", ".join(layers[:8]) + (f", ... ({len(layers)} in all)" if len(layers) > 8 else "")
        yield f"randomized  {shown}; seeds {evidence['seeds']}, law {evidence['reinit']}, target {evidence['target']}"
    for name, why in list(evidence.get("not_randomized", {}).items())[:5]:
        yield f"untouched   {name}: {why}"


def _worst(record: Mapping[str, Any]) -> Iterator[str]:
    """Name the inputs that speak most against the claim."""
    evidence = record["evidence"]
    values = evidence.get("per_input")
    if values is None:
        values = next(iter(evidence.get("scores", {}).values()), [])
    known = [(value, index) for value, index in zip(values, evidence["indices"], strict=False) if value is not None]
    if not known:
        return
    high_is_bad = (
        record["verb"] == "changes_under" or "at_most" in record["claim"] or "distance" in evidence.get("scores", {})
    )
    ordered = sorted(known, reverse=high_is_bad)[:_WORST]
    yield "worst       " + ", ".join(f"input {index} ({_number(value)})" for value, index in ordered)


def _advice(record: Mapping[str, Any]) -> Iterator[str]:
    advice = {
        ("changes_under", "failed"): "the explanation hardly depends on the weights that were randomized: use a method "
        "that does (gradients, Integrated Gradients), or look for a multiplication by the input",
        ("beats", "failed"): "the ranking carries no more than the baseline: check targets, baselines and sign, and "
        "compare another imputer=",
        ("invariant_under", "failed"): "look for statistics over the batch, or state kept between calls",
    }
    text = advice.get((record["verb"], record["outcome"]))
    if text:
        yield f"try         {text}"
