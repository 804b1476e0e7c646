"""The saliency card and the part of a model card, from the claims of a JSON report."""

from __future__ import annotations

import json
import re

import pytest
from machines import HOSTILE, seen

from pytest_xaisanity.report.card import cards, main, read_report
from pytest_xaisanity.report.json import write
from pytest_xaisanity.report.records import Record

CLAIMS = {
    "invariant_under-batch_order": "Determinism",
    "beats-random-on-pixel_flipping-reading_either": "Input Sensitivity",
    "bounded-max_sensitivity-at_most0.4": "Input Sensitivity",
    "changes_under-other_target": "Label Sensitivity",
    "changes_under-cascading_randomization-depth1": "Model Sensitivity",
    "bounded-efficient_mprt-at_least1": "Model Sensitivity",
    "bounded-complexity-at_most3": "Minimality",
    "bounded-quantus.PointingGame-at_least0.2-1a2b3c4d": "Other claims",
}


def record(claim_id: str, explainer: str = "IG", **others: object) -> Record:
    verb = claim_id.partition("-")[0]
    values: dict[str, object] = {
        "test": "test_it.py::test",
        "claim": f"{explainer} {claim_id}",
        "claim_id": claim_id,
        "explainer": explainer,
        "verb": verb,
        "randomizes": False,
        "bounds": {"at_least": None, "at_most": None},
        "outcome": "passed",
        "tolerated": False,
        "estimate": 0.25,
        "interval": (0.1, None),
        "confidence": 0.95,
        "n": 32,
        "quantity": "share",
        "decided_by": "a tool",
        "reason": "a reason",
        "reproduce": "pytest",
        "evidence": {},
    }
    return Record(**{**values, **others})  # type: ignore[arg-type]


def page(records: list[Record]) -> str:
    return cards(records, settings={"seed": 3}, versions={"torch": "2.9"})


def under(text: str, heading: str) -> str:
    """Return what stands under a heading."""
    return re.split(r"\n#+ ", text.partition(f" {heading}\n")[2])[0]


def test_a_card_has_the_ten_attributes_of_the_paper_in_its_three_sections():
    headings = re.findall(r"^#+ .*", page([record("changes_under-other_target")]), re.MULTILINE)
    assert headings == [
        "# IG saliency card",
        "## Methodology",
        "### Determinism",
        "### Hyperparameter Dependence",
        "### Model Agnosticism",
        "### Computational Efficiency",
        "### Semantic Directness",
        "## Sensitivity Testing",
        "### Input Sensitivity",
        "### Label Sensitivity",
        "### Model Sensitivity",
        "## Perceptibility",
        "### Minimality",
        "### Perceptual Correspondence",
        "# Explanations of the model",
    ]


@pytest.mark.parametrize(("claim", "attribute"), CLAIMS.items())
def test_each_claim_stands_under_its_attribute_and_under_no_other(claim, attribute):
    text = page([record(claim)])
    card = text.partition("# Explanations of the model")[0]
    shown = seen(under(card, attribute)).cells
    assert shown[3:] == [claim, "passed", "share 0.25 in [0.1, unknown], n=32"]
    assert card.count("**passed**") == 1
    assert ("**passed**" in under(text, "Explanations of the model")) is (attribute == "Model Sensitivity")


def test_what_no_claim_speaks_of_is_left_to_a_person():
    text = page([record("changes_under-other_target")])
    assert under(text, "Minimality").count("No claim speaks of it") == 1
    assert "No claim speaks of it" not in under(text, "Label Sensitivity")
    assert (
        under(page([record("changes_under-other_target")]), "Explanations of the model").count("No claim speaks") == 1
    )


def test_each_explainer_has_a_card_and_all_stand_in_the_model_card():
    claim = "changes_under-later_layers"
    failed = record(claim, "LRP", outcome="error", reason="it raised", estimate=None)
    text = page([record(claim), failed])
    assert text.index("# IG saliency card") < text.index("# LRP saliency card")
    shown = seen(under(text, "Explanations of the model")).cells[3:]
    assert shown == [
        f"IG {claim}",
        "passed",
        "share 0.25 in [0.1, unknown], n=32",
        f"LRP {claim}",
        "error",
        "it raised",
    ]
    assert "1 error." in text
    assert text.endswith("Decided with seed 3, torch 2.9.\n")


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_are_shown_as_text(kind):
    name = HOSTILE[kind]
    text = page([record("changes_under-other_target", name, claim=f"{name} changes", reason=name, outcome="error")])
    found = seen(text)
    assert not {"script", "img", "a", "del"} & {*found.tags}
    assert found.tags.count("h1") == 2


def test_the_cards_of_a_report_are_written_by_one_command(tmp_path, capsys):
    file = tmp_path / "report.json"
    records = [record(claim) for claim in CLAIMS]
    write(file, records, settings={"seed": 0})
    assert main([str(file)]) == 0
    read = read_report(file)
    assert capsys.readouterr().out == cards(read.records, settings=read.settings, versions=read.versions)
    assert [one.report() for one in read.records] == [one.report() for one in records]


@pytest.mark.parametrize("content", [None, "", "[]", "{}", json.dumps({"schema_version": 99, "claims": []})])
def test_a_file_that_is_no_report_is_one_error(tmp_path, capsys, content):
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as caught:
        main([str(file)])
    assert caught.value.code == 2
    assert "expected" in capsys.readouterr().err.splitlines()[-1]
