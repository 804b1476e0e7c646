"""What a person reads of a verdict, from its record alone; and what its evidence and its claim say for it."""

from __future__ import annotations

import pytest
from laboratory import record_of

from pytest_xaisanity.claims.base import Worst
from pytest_xaisanity.claims.changes_under import Reading, Readings
from pytest_xaisanity.claims.make import beats, bounded, changes_under, invariant_under
from pytest_xaisanity.evidence.randomized import Randomized
from pytest_xaisanity.report.records import Record
from pytest_xaisanity.report.text import details

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
