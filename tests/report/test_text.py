"""What a person reads of a verdict, from its record alone; and what its evidence and its claim say for it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from laboratory import record_of

from pytest_xaisanity.claims.base import Worst
from pytest_xaisanity.claims.changes_under import Reading, Readings
from pytest_xaisanity.claims.make import beats, bounded, changes_under, invariant_under
from pytest_xaisanity.evidence.randomized import Randomized
from pytest_xaisanity.report.records import Record
from pytest_xaisanity.report.text import details, told, wrapped
from pytest_xaisanity.statistics.verdict import Verdict

RECORD = record_of()


def test_a_section_has_one_line_for_each_thing_that_is_told():
    assert details(RECORD).splitlines() == [
        "claim        method bounded metric",
        "verdict      failed: too low",
        "measured     score 0.1 in [0, unknown], n=3",
        "decided by   a bound; each bound holds with confidence 0.95",
        "worst inputs 7 (0.1): score",
        "sign_flip_ssim one input twice 1",
        "reproduce    pytest",
        "try          look at the sign",
    ]


def test_a_record_comes_back_from_its_plain_values():
    assert Record.from_plain(RECORD.plain()) == RECORD
    assert "rows" not in RECORD.report()


def test_the_worst_inputs_are_those_that_speak_most_against_the_claim():
    worst = Worst.of([7, 8, 9, 4], [0.1, 3.0, 0.4, None], lambda value: 0.5 - value, "score")
    assert list(worst.rows()) == [("worst inputs", "7 (0.1), 9 (0.4), 8 (3): score")]
    other = Worst.of([7, 8, 9], [-0.9, 0.2, -0.1], lambda value: value, "score")
    assert list(other.rows()) == [("worst inputs", "8 (0.2), 9 (-0.1), 7 (-0.9): score")]
    assert not list(Worst.of([1], [None], lambda value: value, "score").rows())


def test_a_similarity_tells_what_is_left_of_it():
    reading = Reading((0.3, None), (0.3,), own=1.0, chance=0.1, constant=0, calibrated=True, retention=0.2)
    ((name, text),) = Readings({"sign_flip_ssim": reading}).rows()
    assert name == "sign_flip_ssim"
    assert text == "one input twice 1, unrelated inputs 0.1, before and after 0.3 unknown; retention 0.2"


def test_what_was_randomized_is_told_with_what_was_not():
    rows = list(Randomized(("fc", "conv"), {"scale": "is empty"}, "execution", "Own()", seeds=3).rows())
    assert rows == [
        ("randomized", "fc, conv; seeds 3, weights from Own(), target fixed"),
        ("untouched", "scale: is empty"),
    ]


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (changes_under("cascading_randomization", depth=1), "changed in the model"),
        (changes_under("other_target"), "depends on the class"),
        (changes_under("label_randomization"), "depends on the labels"),
        (bounded("cosine_similarity_convergence", at_most=0.85), "becomes parallel"),
        (beats("edges", on="pixel_flipping"), "carries no more than the baseline"),
        (invariant_under("batch_order"), "state kept between calls"),
        (bounded("pixel_flipping", at_least=0.2), None),
    ],
    ids=str,
)
def test_a_claim_says_what_to_try_when_it_fails(claim, words):
    assert (words in claim.advice) if words else not claim.advice


def test_lines_below_a_sentence_are_eight_at_most_of_72_columns():
    """Each text has one; what is to spare goes to those that need it most. A command stays on its one line."""
    lines = [("kept", "k" * 80), ("try", "word " * 60), ("reproduce", "pytest " + "x" * 100), ("by layer", "l " * 60)]
    shown = told("A sentence.", lines).splitlines()
    assert len(shown) == 9
    labels = ["A sentence.", "kept", "", "try", "", "", "", "reproduce", "by layer"]
    assert [line[:14].rstrip() for line in shown] == labels
    assert all(len(line) <= 72 for line in shown if "pytest" not in line)
    assert all(shown[place].endswith(" ...") for place in (6, 8))
    assert "pytest " + "x" * 100 in shown[7]
    assert len(told("A sentence.", [("label", "text")] * 12).splitlines()) == 9


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("abcdefghij k", 4, ["abcd", "efgh", "ij k"]),
        ("漢字漢字 x", 4, ["漢字", "漢字", "x"]),
        ("a\n\tb\x1b", 10, ["a b\\x1b"]),
        ("", 4, [""]),
    ],
)
def test_texts_are_wrapped_by_columns(text, width, lines):
    assert wrapped(text, width) == lines
    assert len(wrapped(text, width, most=1)) == 1


def test_a_notebook_shows_what_a_failure_says():
    """As text and as HTML, in which names are text, and which loads nothing."""
    lines = (("kept", "90% <b>of</b> it"),)
    verdict = Verdict(
        "<script> bounded x",
        "failed",
        0.9,
        (0.8, 1.0),
        0.95,
        16,
        "a bound",
        "score",
        "because",
        advice="look",
        lines=lines,
    )
    assert verdict.report().splitlines() == [
        "failed: <script> bounded x: because",
        "kept          90% <b>of</b> it",
        "try           look",
    ]
    page = verdict._repr_html_()
    assert "&lt;script&gt; bounded x: because" in page
    assert "90% &lt;b&gt;of&lt;/b&gt; it" in page
    assert not any(word in page for word in ("<script", "<b>", "src=", "href=", "http"))
    ElementTree.fromstring(page)
