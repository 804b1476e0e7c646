"""Claims in one line of text: what is read, and one error for what is no claim."""

from __future__ import annotations

import pytest

from pytest_xaisanity import XaiError
from pytest_xaisanity.claims.written import read

CASCADE = "cascading_randomization"


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ('beats("random", on="pixel_flipping")', ("beats", ("random",), {"on": "pixel_flipping"})),
        (" changes_under('other_target', seeds = 4)\n", ("changes_under", ("other_target",), {"seeds": 4})),
        (
            "changes_under(cascading_randomization, depth=3)",
            ("changes_under", ("cascading_randomization",), {"depth": 3}),
        ),
        (
            "changes_under(later_layers, similarity=(spearman, 'ssim'), early=False)",
            ("changes_under", ("later_layers",), {"similarity": ("spearman", "ssim"), "early": False}),
        ),
        ("bounded('pixel_flipping', at_least=-0.5)", ("bounded", ("pixel_flipping",), {"at_least": -0.5})),
        (
            "changes_under('later_layers', similarity=('spearman', 'ssim'), early=False, cut=None)",
            ("changes_under", ("later_layers",), {"similarity": ("spearman", "ssim"), "early": False, "cut": None}),
        ),
    ],
)
def test_a_call_of_a_verb_is_read(text, claim):
    assert tuple(read(text, where="here")) == claim


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "here: found '' (invalid syntax); expected a call of one of the verbs"),
        ("beats('random'", "'(' was never closed"),
        ("beats", "expected a call of one of the verbs changes_under, invariant_under, beats, bounded"),
        ("xai.beats('random')", "expected a call of one of the verbs"),
        ("beets('random', on='pixel_flipping')", "use 'beats', the nearest known name"),
        ("beats(-random, on='pixel_flipping')", "found '-random'; expected a number, a text in quotes"),
        ("beats(random + edges, on='pixel_flipping')", "expected a number, a text in quotes"),
        ("beats(__import__('os').getcwd(), on='pixel_flipping')", 'getcwd()"; expected a number'),
        ("beats(*['random'], on='pixel_flipping')", "found \"*['random']\"; expected a number"),
        ("beats('random', **{'on': 'pixel_flipping'})", "with **; expected each setting by its name"),
        ("beats('random', on='a', on='b')", "with on= twice; expected each setting by its name, once"),
        ("beats('random'); beats('edges')", "invalid syntax"),
        ("beats('random\0')", "expected a call of one of the verbs"),
        ("beats(" + "(" * 5000 + "1" + ")" * 5000 + ")", "expected a call of one of the verbs"),
        ("beats(" + "-" * 50000 + "1)", "expected"),
    ],
)
def test_what_is_no_claim_is_one_error(text, error):
    with pytest.raises(XaiError) as raised:
        read(text, where="here")
    assert error in str(raised.value)
    assert len(str(raised.value)) < 600


def test_the_way_to_write_one_that_an_error_names_works():
    with pytest.raises(XaiError) as raised:
        read("?", where="here")
    assert read(raised.value.fix.partition("'")[2].rstrip("'"), where="here").verb == "beats"
