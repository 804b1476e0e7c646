"""The summary in the terminal: what is news first, then what passed, in a line for each explainer."""

from __future__ import annotations

import pytest
from laboratory import record_of

from pytest_xaisanity.report.summary import Collected
from pytest_xaisanity.report.text import columns


def summary(*records, width: int = 80, verbosity: int = 0) -> list[str]:
    collected = Collected()
    for record in records:
        collected.add(record.test, [record])
    return [line for line, _ in collected.lines(width=width, verbosity=verbosity)]


def passed(explainer: str, test: str, subject: str, claim: str = "bounded x"):
    return record_of(
        explainer=explainer, test=test, subject=subject, claim=f"{explainer} {claim}", outcome="passed", reason="so"
    )


def test_news_come_first_and_passes_are_folded_by_explainer():
    """What failed says what was found, what raised what it raised, what is open why, in six words; and the test."""
    shown = summary(
        passed("a", "t.py::test_1", "s"),
        record_of(test="t.py::test_2", outcome="inconclusive", why="two runs on one input do not agree at all"),
        record_of(test="t.py::test_3", outcome="error", reason="explainer method: found what cannot be"),
        record_of(test="t.py::test_4", lines=(("kept", "90% of it (80% to 95%), n=16"), ("try", "this"))),
        passed("a", "t.py::test_5", "s", "beats random"),
    )
    assert shown == [
        "failed        method bounded metric",
        "              kept 90% of it (80% to 95%), n=16",
        "              t.py::test_4",
        "error         method bounded metric",
        "              explainer method: found what cannot be",
        "              t.py::test_3",
        "inconclusive  method bounded metric",
        "              two runs on one input do ...",
        "              t.py::test_2",
        "passed        a: bounded x, beats random",
    ]


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        (("t.py::test[resnet-x]", "t.py::test[vgg-x]"), ("resnet", "vgg")),
        (("a.py::test", "b.py::test"), ("a.py", "b.py")),
        (("t.py::test_a", "t.py::test_b"), ("test_a", "test_b")),
        (("t.py::TestA::test", "t.py::TestB::test"), ("TestA", "TestB")),
        (("t.py::test", "t.py::test[1]"), ("t.py::test", "1")),
    ],
)
def test_explainers_of_one_name_are_told_apart_by_what_only_their_tests_have(tests, names):
    shown = summary(*(passed("Saliency", test, subject) for test, subject in zip(tests, "st", strict=True)))
    assert sorted(shown) == sorted(f"passed        Saliency ({name}): bounded x" for name in names)


def test_a_claim_that_is_told_is_told_whole_where_one_has_room():
    name = "IntegratedGradients"
    claims = ("bounded a_metric_of_a_very_long_name_that_fits_no_line(at_most=3.5)", "invariant_under batch_order")
    lines = summary(*(passed(name, "a::t", "s", claim) for claim in claims))
    assert [line for line in lines if name in line] == [
        f"passed        {name}: invariant_under batch_order, and 1 more"
    ]


def test_one_explainer_in_several_tests_is_one():
    shown = summary(passed("a", "t.py::test_1", "s"), passed("a", "t.py::test_2", "s"))
    assert shown == ["passed        a: bounded x (2 times)"]


def test_a_warning_is_about_the_explainer_of_one_subject():
    """That another of its name was claimed more of is no comfort."""
    randomized = {"verb": "changes_under", "randomizes": True, "outcome": "passed", "explainer": "a"}
    records = [
        record_of(test="t.py::test[x]", subject="s", **randomized),
        record_of(test="t.py::test[y]", subject="t", **randomized),
        record_of(test="t.py::test[y]", subject="t", verb="beats", outcome="passed", explainer="a"),
    ]
    assert [line for line in summary(*records, width=300) if line.startswith("warning")] == [
        "warning: only randomization speaks for a (x); noise drawn from the model's output would pass that too: "
        'claim beats("random", on="pixel_flipping") as well'
    ]


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", ["x" * 10_000, "漢" * 300, "\u202ea\nb\x1b[31m", "e" + "\u0301" * 400, "a b " * 90])
def test_no_line_is_wider_than_the_terminal_whatever_the_names(name, width, verbosity):
    records = [passed(name, f"t.py::test[{name}]", "s"), record_of(claim=name, explainer=name, lines=(("kept", name),))]
    shown = summary(*records, width=width, verbosity=verbosity)
    assert max(map(columns, shown)) <= width
    assert all(line.isprintable() for line in shown)
