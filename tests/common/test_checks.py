"""Settings of a kind are checked alike: what is no number, whole number or choice is one error, whatever it is."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from pytest_xaisanity.common.checks import check_choice, check_fractions, check_name, check_number, check_whole
from pytest_xaisanity.common.errors import XaiError, shown, unknown_name


class Broken:
    """Raises whatever it is asked."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __repr__(self):
        raise RuntimeError("no text")


NO_NUMBERS = [
    np.array([1, 2]),
    np.array(3),
    torch.tensor([1.0, 2.0]),
    torch.tensor(3),
    Decimal(3),
    "3",
    True,
    np.True_,
    None,
    [3],
    int,
    1j,
    Broken(),
]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 2.0, Fraction(3), 10**30, -1, 0, float("inf"), float("nan")], ids=shown)
def test_what_is_no_whole_number_in_the_range_is_named(value):
    with pytest.raises(XaiError, match=r"it seeds: found .*; expected a whole number from 1 to 1,000"):
        check_whole("it", "seeds", value, most=1000)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 10**400, 1e300, float("inf"), float("nan"), -0.1, 1.1], ids=shown)
def test_what_is_no_number_in_the_range_is_named(value):
    with pytest.raises(XaiError, match=r"it margin: found .*; expected a number between 0 and 1. .* change margin="):
        check_number("it margin", value, 0.0, 1.0)


@pytest.mark.parametrize("value", [*NO_NUMBERS, "c", "", b"a"], ids=shown)
def test_what_is_no_choice_is_named(value):
    with pytest.raises(XaiError, match=r"it order: found .*; expected 'a' or 'b'"):
        check_choice("it", "order", value, ("a", "b"))


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_become_plain(value):
    assert json.dumps(check_whole("it", "seeds", value)) == "3"


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), Fraction(1, 2)])
def test_numbers_become_plain(value):
    assert json.dumps(check_number("it margin", value, 0, 1)) == "0.5"


def test_without_an_upper_end_any_finite_number_will_do():
    assert check_number("it tolerance", 10**9, 0.0) == 1e9
    with pytest.raises(XaiError, match="a finite number of at least 0"):
        check_number("it tolerance", float("inf"), 0.0)


def test_a_value_is_shown_on_one_line_whatever_it_is():
    assert shown(Broken()) == "an object of type Broken"
    assert len(shown(np.zeros((50, 50)))) == 80
    assert "\n" not in shown(torch.zeros(3, 3))


def test_what_is_no_name_has_no_nearest_one():
    error = unknown_name("beats", np.array(["a"]), ["array(['a']"], kind="metric")
    assert error.fix == "choose a metric from these names"


@pytest.mark.parametrize("value", [np.array(["a", "b"]), 3, "", " ", ["a"], b"a"], ids=shown)
def test_what_is_no_name_is_named(value):
    assert check_name("it", None) is None
    with pytest.raises(XaiError, match=r"it name: found .*; expected a name in words"):
        check_name("it", value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_fraction_is_one_error(value):
    with pytest.raises(XaiError, match="expected fractions above 0 and at most 1"):
        check_fractions("road", "fractions", value)
