"""A saliency card for each explainer, and the part of a model card about explanations, in Markdown.

Made of the claims of a JSON report: ``python -m pytest_xaisanity.report.card report.json > card.md``. A saliency card
(Boggust et al., "Saliency cards: a framework to characterize and compare saliency methods", FAccT 2023) has ten
attributes in three sections; what claims say nothing of is left for a person to write, and marked so. A model card is
that of Mitchell et al. ("Model cards for model reporting", FAT* 2019).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..common.errors import XaiError, said
from .markdown import as_code, as_text
from .records import Record
from .schema import SCHEMA_VERSION
from .text import numbers

__all__ = ["Read", "cards", "main", "read_report"]


class _Attribute(NamedTuple):
    """An attribute of a saliency card.

    Attributes:
        name: Its name in the paper.
        asks: What it asks, in one line.
        tests: What claims that speak of it are about: interventions, and metrics.
    """

    name: str
    asks: str
    tests: frozenset[str] = frozenset()


def _attribute(name: str, asks: str, tests: str = "") -> _Attribute:
    return _Attribute(name, asks, frozenset(tests.split()))


_MODEL = _attribute(
    "Model Sensitivity",
    "Does the explanation change with the model, and stay where only its writing changes?",
    "cascading_randomization independent_randomization bottom_up_randomization later_layers smoothed no_op_layer "
    "efficient_mprt cosine_similarity_convergence scale_preservation",
)
_METHODOLOGY = (
    _attribute("Determinism", "Does an input get the same explanation, whatever the company?", "batch_order"),
    _attribute("Hyperparameter Dependence", "Which settings has the method, and how were they chosen?"),
    _attribute("Model Agnosticism", "Which models can it explain?"),
    _attribute("Computational Efficiency", "What does an explanation cost?"),
    _attribute("Semantic Directness", "What does a value mean, and what must a reader know?"),
)
_SENSITIVITY = (
    _attribute(
        "Input Sensitivity",
        "Does what is ranked first matter to the output, and does the explanation follow the input?",
        "pixel_flipping region_perturbation deletion insertion road roar kar comprehensiveness sufficiency infidelity "
        "completeness max_sensitivity input_shift",
    ),
    _attribute(
        "Label Sensitivity",
        "Does the explanation change with the class that is explained, and with what was learned?",
        "other_target label_randomization",
    ),
    _MODEL,
)
_PERCEPTIBILITY = (
    _attribute("Minimality", "On how few places does the explanation stand?", "complexity sparseness"),
    _attribute("Perceptual Correspondence", "Does the explanation show what a person would point at?"),
)
_SECTIONS: Mapping[str, Sequence[_Attribute]] = {
    "Methodology": _METHODOLOGY,
    "Sensitivity Testing": _SENSITIVITY,
    "Perceptibility": _PERCEPTIBILITY,
}
_UNSAID = "*No claim speaks of it: for a person to write.*"


def cards(records: Sequence[Record], *, settings: Mapping[str, object], versions: Mapping[str, object]) -> str:
    """Return a saliency card for each explainer, and then the section of a model card.

    Args:
        records: The verdicts.
        settings: Those of the session: seed, device, confidence.
        versions: Of Python and of the packages that decided.
    """
    explainers = sorted({record.explainer for record in records})
    own = {name: [record for record in records if record.explainer == name] for name in explainers}
    blocks = [block for name in explainers for block in _card(name, own[name])]
    blocks += _model_card(records)
    listed = ", ".join(f"{name} {value}" for name, value in {**settings, **versions}.items())
    return "\n\n".join([*blocks, f"Decided with {as_text(listed)}."]) + "\n"


def _card(explainer: str, records: Sequence[Record]) -> Iterator[str]:
    yield f"# {as_text(explainer)} saliency card"
    counts = {outcome: sum(record.outcome == outcome for record in records) for outcome in _WORDS}
    yield f"{len(records)} claims: {', '.join(f'{count} {word}' for word, count in counts.items() if count)}."
    known = {test for section in _SECTIONS.values() for attribute in section for test in attribute.tests}
    for title, attributes in _SECTIONS.items():
        yield f"## {title}"
        for attribute in attributes:
            yield f"### {attribute.name}"
            yield f"*{attribute.asks}*"
            spoken = [record for record in records if attribute.tests & {*_about(record)}]
            yield _table(spoken) if spoken else _UNSAID
    others = [record for record in records if not known & {*_about(record)}]
    if others:
        yield "### Other claims"
        yield _table(others)


def _model_card(records: Sequence[Record]) -> Iterator[str]:
    """Yield the section of a model card: whether explanations of the model follow its weights."""
    yield "# Explanations of the model"
    yield (
        "*For the quantitative analyses of a model card: whether the explanations that are shown of this model depend "
        "on what it has learned. Retention is the share of an explanation's similarity to itself that is left when the "
        "weights are re-initialized: 0 where nothing survives, 1 where everything does.*"
    )
    spoken = [record for record in records if _MODEL.tests & {*_about(record)}]
    yield _table(spoken, explainer=True) if spoken else _UNSAID
    yield (
        "A pass shows that an explanation follows the model, and not that it is faithful: noise that is drawn from the "
        "model's output follows it too. It speaks of this model and these inputs, and of no other training."
    )


_WORDS = ("passed", "failed", "inconclusive", "error")


def _about(record: Record) -> Iterator[str]:
    """Yield what a claim is about: its intervention or metric, as its id tells them."""
    first, *rest = record.claim_id.removeprefix(f"{record.verb}-").split("-")
    if record.verb == "beats":
        yield from rest[1:2]  # behind the baseline and "on"
    else:
        yield first


def _table(records: Sequence[Record], *, explainer: bool = False) -> str:
    rows = [
        f"| {as_code(record.claim if explainer else record.claim.removeprefix(f'{record.explainer} '))} | "
        f"**{record.outcome}** | {as_text(record.reason if record.outcome == 'error' else numbers(record))} |"
        for record in records
    ]
    return "\n".join(["| claim | verdict | measured |", "| --- | --- | --- |", *rows])


class Read(NamedTuple):
    """What a JSON report holds.

    Attributes:
        records: Its claims.
        settings: Those of its session.
        versions: Of what decided.
    """

    records: Sequence[Record]
    settings: Mapping[str, object]
    versions: Mapping[str, object]


def read_report(file: Path) -> Read:
    """Return what a JSON report holds.

    Raises:
        XaiError: It is no such report, or one of another version.
    """
    fix = "write one with pytest --xai-json=report.json"
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        version = report["schema_version"]
        if version == SCHEMA_VERSION:
            return Read([*map(Record.of_report, report["claims"])], report["settings"], report["versions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{str(file)!r}, which cannot be read ({type(error).__name__}{said(error)})"
        raise XaiError("card", found=found, expected="a JSON report", fix=fix) from error
    found = f"a report of schema {version}"
    raise XaiError("card", found=found, expected=f"one of schema {SCHEMA_VERSION}", fix=fix)


def main(args: Sequence[str] | None = None) -> int:
    """Write the cards of a report to standard output.

    Args:
        args: Those of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pytest_xaisanity.report.card", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("report", type=Path, metavar="REPORT.json", help="what pytest --xai-json=FILE has written")
    given = parser.parse_args(args)
    try:
        read = read_report(given.report)
    except XaiError as error:
        parser.error(str(error))
    sys.stdout.write(cards(read.records, settings=read.settings, versions=read.versions))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
