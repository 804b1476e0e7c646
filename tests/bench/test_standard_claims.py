"""The standard claims, put to broken and to sound explainers: the main rows of ``benchmarks/battery.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # where the networks and explainers of campaigns are

from battery import decided

pytestmark = [pytest.mark.slow, pytest.mark.training, pytest.mark.filterwarnings("ignore")]

REJECTED_BY = {
    "less the batch's mean map": "order",
    "the previous batch's maps": "order",
    "map of the next image": "order",
    "fresh noise": "random",
    "noise of the input": "random",
    "noise of the output": "random",
    "negated": "random",
    "class template": "other input",
    "map of one image of the class": "other input",
    "a blob in the center": "other input",
    "right for one class of three, else the class template": "other input",
    "one everywhere, and noise": "random",
    "mean image of the class": "other input",
    "the predicted class, whatever is asked": "target",
    "edges": "random",
    "the input": "other local",
    "another network's map": "later",
    "stale weights": "later",
    "LRP z+": "other local",
    "rows reversed": "misplaced",
    "transposed": "misplaced",
    "moved by a quarter": "misplaced",
    "input × mean gradient of the class": "other local",
}
NOT_REJECTED = {
    "half a map, half the class template": "it carries the image's own evidence",
}
SOUND = ("gradient", "gradient × input", "Integrated Gradients", "LRP ε")


def test_each_claim_rejects_what_it_is_there_for():
    """The cheapest claims are put first, and an explainer is let go at the first that it fails."""
    found = {
        row.name: row.failed for row in decided("broken", "digits8", tuple(REJECTED_BY), first=True, thorough=True)
    }
    assert found == {name: [claim] for name, claim in REJECTED_BY.items()}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xfail(reason=why, strict=True)) for name, why in NOT_REJECTED.items()],
)
def test_what_is_not_rejected_yet(name):
    """On digits of 8×8 pixels; a claim that comes to reject one makes this fail, so that the table is kept true."""
    (row,) = decided("broken", "digits8", (name,), first=True)
    assert row.failed, [str(one) for one in row.verdicts.values()]


def test_no_claim_fails_or_leaves_open_what_follows_the_network():
    rows = list(decided("sound", "digits8", SOUND))
    assert len(rows) == len(SOUND)
    for row in rows:
        assert not row.failed + row.opened, {claim: str(row.verdicts[claim]) for claim in row.failed + row.opened}
