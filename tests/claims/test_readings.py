"""What a reading says beside its similarities."""

from __future__ import annotations

import pytest

from pytest_xaisanity.claims.changes_under import Reading, Readings


def reading(*, own=0.9, chance=0.1, after=(0.5, 0.1, None)):
    return Reading(after_by_position=after, after_by_seed=(0.3,), own=own, chance=chance, constant=0)


def test_retention_by_position_is_the_share_left_above_chance():
    """By hand: (0.5 - 0.1) / (0.9 - 0.1), and so on; what is not known stays so."""
    half, none, unknown = reading().retention_by_position
    assert (half, none) == (pytest.approx(0.5), 0.0)
    assert unknown is None


def test_what_did_not_change_is_retained_exactly():
    """Whatever the rounding of own and chance."""
    assert reading(own=0.97, chance=0.31, after=(0.97, 0.97)).retention_by_position == (1.0, 1.0)


@pytest.mark.parametrize(("own", "chance"), [(None, 0.1), (0.9, None), (0.4, 0.4)])
def test_without_a_scale_no_retention_is_known(own, chance):
    """Maps are constant, or those of one input no more alike than others."""
    assert reading(own=own, chance=chance).retention_by_position == (None, None, None)


def test_readings_are_found_by_the_name_of_the_similarity():
    found = Readings({"ssim": reading(), "cosine": reading(own=0.5)})
    assert found["cosine"].own == 0.5
    with pytest.raises(KeyError):
        found["hog"]
