"""Controls are found by their type and name."""

from __future__ import annotations

import pytest

from pytest_xaisanity.evidence.controls import Alike, Controls, Resemblance, Score

NOISE = Alike("fresh noise", {"ssim": 0.1}, {"ssim": 0.0})
INPUTS = Alike("input × noise", {"ssim": 0.4}, {"ssim": 0.3})
CONTROLS = Controls((NOISE, INPUTS, Score("edges", 0.5, 16)))


def test_a_control_is_found_by_its_type_and_its_name():
    assert CONTROLS.get_control(Alike) is NOISE
    assert CONTROLS.get_control(Alike, "input × noise") is INPUTS
    assert CONTROLS.get_control(Score).score == 0.5


@pytest.mark.parametrize(("kind", "name"), [(Resemblance, None), (Alike, "edges")])
def test_a_control_that_is_not_there_is_an_error_that_names_those_that_are(kind, name):
    with pytest.raises(KeyError, match=f"no {name or kind.__name__} among fresh noise, input × noise, edges"):
        CONTROLS.get_control(kind, name)
