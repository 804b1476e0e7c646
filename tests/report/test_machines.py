"""Reports for machines, from records alone: the schema of the JSON, GitHub's commands, Markdown."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError
from laboratory import record_of
from report.machines import HOSTILE, seen

from pytest_xaisanity.report.github import workflow_commands
from pytest_xaisanity.report.json import write
from pytest_xaisanity.report.markdown import markdown
from pytest_xaisanity.report.records import Record
from pytest_xaisanity.report.schema import SCHEMA_VERSION, schema
from pytest_xaisanity.report.summary import Collected

SETTINGS = {"seed": 0, "device": "auto", "confidence": 0.95, "inconclusive": "fail"}


def collected(*records) -> Collected:
    all_of_them = Collected()
    for record in records:
        all_of_them.add(record.test, [record])
    return all_of_them


def hostile(name: str, **changes) -> Record:
    text = HOSTILE[name]
    texts = dict.fromkeys(("test", "claim", "explainer", "reason", "quantity", "reproduce"), text)
    return record_of(**{**texts, "file": "a,b: c%.py", "line": 7, "test_outcome": "failed", **changes})


# ---------------------------------------------------------------------------------------------------------------------
# The schema


@pytest.fixture
def report(tmp_path):
    """Return a report that is as it should be."""
    records = [record_of(test_outcome="failed", file="test_it.py", line=3), record_of(test_outcome="xfailed")]
    write(tmp_path / "claims.json", records, settings=SETTINGS)
    return json.loads((tmp_path / "claims.json").read_text())


def test_the_schema_is_a_schema_and_tells_its_version(report):
    Draft202012Validator.check_schema(schema())
    assert schema()["$id"].endswith(f":{SCHEMA_VERSION}")
    assert report["schema_version"] == SCHEMA_VERSION == schema()["properties"]["schema_version"]["const"]
    assert report["versions"]["pytest-xaisanity"] == version("pytest-xaisanity")
    Draft202012Validator(schema()).validate(report)


def test_the_schema_describes_each_property_of_a_claim(report):
    """So that a new one is not forgotten there."""
    described = schema()["$defs"]["claim"]
    assert set(described["properties"]) == set(described["required"]) == set(report["claims"][0])
    assert set(described["properties"]) <= {field.name for field in fields(Record)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("interrupted",), "no"),
        (("extra",), 1),
        (("settings", "inconclusive"), "pass"),
        (("claims", 0, "outcome"), "green"),
        (("claims", 0, "outcome"), "error"),  # with an estimate
        (("claims", 0, "test_outcome"), ""),
        (("claims", 0, "interval"), [0.1]),
        (("claims", 0, "estimate"), "0.1"),
        (("claims", 0, "n"), -1),
        (("claims", 0, "extra"), 1),
        (("audit",), {"score": 2, "counts": {}, "explainers": []}),
    ],
)
def test_the_schema_refuses_what_no_report_says(report, path, value):
    broken = copy.deepcopy(report)
    *way, last = path
    part = broken
    for step in way:
        part = part[step]
    part[last] = value
    assert not Draft202012Validator(schema()).is_valid(broken)


def test_the_documents_check_a_report(report, tmp_path, monkeypatch):
    """With the code that they show; a report of another kind does not get past it."""
    page = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    (tmp_path / "claims.json").write_text(json.dumps({**report, "schema_version": 2}))
    with pytest.raises(ValidationError):
        exec(code, {})


def test_the_schema_refuses_a_report_that_lacks_something(report):
    for name in report:
        assert not Draft202012Validator(schema()).is_valid({key: report[key] for key in report if key != name})


# ---------------------------------------------------------------------------------------------------------------------
# GitHub's commands


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """Return command, properties and data of a line, as GitHub's runner reads it."""
    assert line.splitlines() == [line]
    assert line.startswith("::")
    head, data = line[2:].split("::", 1)
    command, _, rest = head.partition(" ")
    pairs = (one.split("=", 1) for one in rest.split(","))
    return command, {name: unescaped(value, "\r\n:,") for name, value in pairs}, unescaped(data, "\r\n")


def unescaped(text: str, chars: str) -> str:
    for char in (*chars, "%"):
        text = text.replace(f"%{ord(char):02X}", char)
    return text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_command_is_one_line_whatever_the_names(name):
    (line,) = workflow_commands([hostile(name)], lambda file: f"sub/{file}")
    command, properties, message = parsed(line)
    assert command == "error"
    assert properties == {"file": "sub/a,b: c%.py", "line": "7", "title": "explanation claim: failed"}
    assert message.count("\n") in (1, 2)  # claim, reason where the claim does not say it, command
    assert len(line) < 10_000


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"test_outcome": "failed"}, ["error"]),
        ({"test_outcome": "interrupted"}, ["error"]),
        ({"test_outcome": "failed", "outcome": "error"}, ["error"]),
        ({"test_outcome": "failed", "outcome": "inconclusive"}, ["error"]),
        ({"test_outcome": "passed", "outcome": "inconclusive", "tolerated": True}, ["warning"]),
        ({"test_outcome": "skipped", "outcome": "inconclusive"}, ["warning"]),
        ({"test_outcome": "passed"}, []),  # the test wants it to fail
        ({"test_outcome": "xfailed"}, []),
        ({"test_outcome": "failed", "outcome": "passed"}, []),  # another claim failed it
    ],
)
def test_only_what_is_wrong_is_annotated(changes, level):
    assert [parsed(line)[0] for line in workflow_commands([record_of(**changes)], str)] == level


def test_a_reason_that_the_sentence_tells_is_not_told_again():
    (line,) = workflow_commands([record_of(test_outcome="failed", sentence="method is bad: too low")], str)
    assert parsed(line)[2] == "method is bad: too low\npytest"
    (line,) = workflow_commands([record_of(test_outcome="failed", sentence="method is bad")], str)
    assert parsed(line)[2] == "method is bad\ntoo low\npytest"


def test_a_claim_of_a_battery_is_in_no_file():
    (line,) = workflow_commands([record_of(test_outcome="failed")], str)
    assert parsed(line)[1] == {"title": "explanation claim: failed"}


# ---------------------------------------------------------------------------------------------------------------------
# Markdown


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_nothing_but_names_in_markdown(name):
    """The page has the tags of this package alone, and its cells the text itself."""
    page = seen(markdown(collected(hostile(name), hostile(name, outcome="passed"))))
    plain = seen(markdown(collected(*(record_of(outcome=one, file="a", line=7) for one in ("failed", "passed")))))
    assert page.tags == plain.tags
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in " ".join(HOSTILE[name].split()))
    shown = text if len(text) <= 500 else f"{text[:248]}...{text[-248:]}"
    assert page.cells[5] == shown
    assert page.cells[7] == f"{shown}, line 7"
    assert page.cells[-2] == shown


def test_addresses_are_no_links_in_markdown():
    """Which services make of them without being asked."""
    tables, _, _ = markdown(collected(hostile("emphasis"))).partition("<details>")
    assert "http\\://x/y.png" in tables
    assert "www\\.example.org" in tables
    assert "http://" not in tables
    assert "www." not in tables


def test_markdown_tells_news_first_and_what_passed_by_explainer():
    failed = record_of(test="test_it.py::test_b", test_outcome="failed", file="test_it.py", line=5)
    wanted = record_of(test="test_it.py::test_c", test_outcome="xfailed")
    passed = [record_of(test=f"test_it.py::test_{letter}", outcome="passed") for letter in "de"]
    text = markdown(collected(*passed, wanted, failed), notes=["a note"], interrupted=True)
    assert text.startswith("## Claims about explanations: 2 passed, 2 failed (1 expected)\n\n")
    assert "> The session stopped before its end.\n\n> a note\n" in text
    cells = seen(text).cells
    assert cells[:8] == [
        *("verdict", "claim", "found", "test"),
        *("failed", "method bounded metric", "score 0.1 in [0, unknown], n=3too low", "test_it.py::test_b, line 5"),
    ]
    assert cells[8:] == [
        *("verdict", "explainer", "claims"),
        *("passed", "method", "bounded metric (2 times)"),
        *("as expected", "method", "bounded metric"),
    ]


def test_markdown_stays_below_what_github_takes():
    """Names and reasons of ten thousand characters, in a thousand tests."""
    records = [hostile("long", test=f"{number}{HOSTILE['long']}") for number in range(1000)]
    text = markdown(collected(*records))
    assert len(text.encode()) < 1024**2 // 2
    assert "And 950 more." in text


def test_markdown_says_that_there_are_no_claims():
    assert markdown(Collected()) == "## Claims about explanations: none\n"
