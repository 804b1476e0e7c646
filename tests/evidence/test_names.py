"""Names of similarities become objects, and objects are themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.names import as_similarity
from pytest_xaisanity.maps.similarity import SIMILARITIES, SPEARMAN

MISNAMED = replace(SPEARMAN, name="another")


def test_a_name_and_the_object_that_it_stands_for_are_interchangeable():
    assert as_similarity("spearman", where="test") is as_similarity(SPEARMAN, where="test") is SPEARMAN


def test_a_similarity_that_is_not_registered_is_refused():
    """Claims and reports know similarities by their names alone."""
    with pytest.raises(XaiError, match="found 'another'; expected one of abs_pearson"):
        as_similarity(MISNAMED, where="test")
    with pytest.raises(XaiError, match="Similarity under the name 'spearman'"):
        as_similarity(replace(SPEARMAN, low=0.0), where="test")


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(XaiError, match="use 'spearman', the nearest"):
        as_similarity("sperman", where="test")


@pytest.mark.parametrize("stands_for", ["MISNAMED", "pytest"])
def test_a_registered_name_must_stand_for_the_similarity_of_that_name(monkeypatch, stands_for):
    monkeypatch.setitem(SIMILARITIES._entries, "theirs", f"{__name__}:{stands_for}")
    with pytest.raises(XaiError, match="under the name 'theirs'"):
        as_similarity("theirs", where="test")
