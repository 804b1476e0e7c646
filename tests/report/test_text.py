"""What a person reads of a verdict, from its record alone."""

from __future__ import annotations

import pytest

from pytest_xaisanity.report.text import details

RECORD = {
    "claim": "method bounded metric",
    "verb": "bounded",
    "outcome": "failed",
    "reason": "too low",
    "quantity": "score",
    "estimate": 0.1,
    "interval": (0.0, 0.2),
    "n": 3,
    "decided_by": "a bound",
    "confidence": 0.95,
    "reproduce": "",
    "tolerated": False,
    "bounds": {"at_least": 0.5, "at_most": None},
}


def section(evidence, **changes):
    return details({**RECORD, **changes, "evidence": {"indices": [7, 8, 9], **evidence}})


def test_the_worst_inputs_are_those_beyond_the_only_bound():
    scores = {"scores": {"explainer": [0.1, 3.0, 0.4]}}
    assert "worst inputs 7 (0.1), 9 (0.4), 8 (3): score" in section(scores)
    below = section({"scores": {"explainer": [-0.9, 0.2, -0.1]}}, bounds={"at_least": None, "at_most": 0.0})
    assert "worst inputs 8 (0.2), 9 (-0.1), 7 (-0.9): score" in below


def test_a_long_name_is_apart_from_what_is_said_of_it():
    part = {"after_by_position": [0.3], "self": 1.0, "chance": 0.1, "retention": 0.2}
    assert "sign_flip_ssim one input twice 1" in section({"by_similarity": {"sign_flip_ssim": part}})


@pytest.mark.parametrize(
    ("claim", "verb", "words"),
    [
        ("x changes_under cascading_randomization(depth=1)", "changes_under", "changed in the model"),
        ("x changes_under other_target", "changes_under", "depends on the class"),
        ("x changes_under label_randomization", "changes_under", "depends on the labels"),
        ("x bounded cosine_similarity_convergence(at_most=0.85)", "bounded", "becomes parallel"),
        ("x beats edges on pixel_flipping", "beats", "carries no more than the baseline"),
        ("x invariant_under batch_order", "invariant_under", "state kept between calls"),
        ("x bounded pixel_flipping(at_least=0.2)", "bounded", None),
    ],
)
def test_a_failure_says_what_to_try(claim, verb, words):
    record = {
        **RECORD,
        "claim": claim,
        "verb": verb,
        "evidence": {"indices": [0], "per_input": [0.1], "scores": {"explainer": [0.1], "distance": [0.1]}},
    }
    tried = [line for line in details(record).splitlines() if line.startswith("try ")]
    assert (words in tried[0]) if words else not tried
