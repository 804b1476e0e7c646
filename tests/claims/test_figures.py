"""What claims have drawn: thresholds in the unit of the estimate, curves with their axis, and what is left by layer."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_xaisanity.claims.base import Means, PerInput, Thresholds
from pytest_xaisanity.claims.by_target import ByTarget, OfTarget
from pytest_xaisanity.claims.changes_under import Reading, Readings
from pytest_xaisanity.evidence.comparison import Similarities
from pytest_xaisanity.evidence.metrics.pixel_flipping import Flipped
from pytest_xaisanity.evidence.randomized import Randomized
from pytest_xaisanity.report.figures import Chart, Figures, Mark, Scale, Table
from pytest_xaisanity.statistics.evidence import Evidence
from pytest_xaisanity.statistics.question import Question

CURVES = np.array([[1.0, 0.5, 0.0], [0.8, 0.3, 0.0], [0.6, 0.1, 0.0], [0.4, 0.1, 0.0]])
MEANS = Means({}, {"explainer": {"falling": CURVES.tolist()}, "random": {"falling": [0.9, 0.5, 0.1]}})


def drawn(*parts):
    return Figures.of(Evidence(*parts).figures())


def test_curves_are_drawn_over_the_axis_of_their_metric():
    flipped = Flipped((0.0, 0.5, 1.0), "probability", 4, "classification", "as given")
    (chart,) = drawn(MEANS, flipped).charts
    assert (chart.points, chart.across, chart.up) == ((0.0, 0.5, 1.0), "removed fraction", "probability")
    own, rival = chart.lines
    assert (own.name, rival.name, rival.beside) == ("explainer, falling", "random, falling", True)
    assert own.values == pytest.approx((0.7, 0.25, 0.0))
    assert own.low == pytest.approx(np.quantile(CURVES, 0.25, axis=0))
    assert own.high == pytest.approx(np.quantile(CURVES, 0.75, axis=0))
    assert rival.values == (0.9, 0.5, 0.1)


def test_curves_without_an_axis_are_drawn_over_their_points():
    other = Flipped((0.0, 1.0), "probability", 4, "classification", "as given")  # of curves of another length
    (chart,) = drawn(MEANS, other).charts
    assert (chart.points, chart.across) == ((1.0, 2.0, 3.0), "point")


def test_curves_with_gaps_have_no_band():
    gaps = np.where(CURVES == 0.8, np.nan, CURVES)
    (chart,) = drawn(Means({}, {"explainer": {"falling": gaps.tolist()}})).charts
    assert (chart.lines[0].low, chart.note) == ((), "")
    assert chart.lines[0].values[0] == pytest.approx((1.0 + 0.6 + 0.4) / 3)


def test_a_question_is_drawn_with_its_threshold():
    assert Thresholds.of(Question(0.0, 1.0, 0.5, margin=0.1)).scale == Scale(0.0, 1.0, at_least=0.5, margin=0.1)
    below = Thresholds.of(Question(-1.0, float("inf"), 0.2, "below"), [Mark("edges", 1.0)]).scale
    assert below == Scale(-1.0, None, at_most=0.2, marks=(Mark("edges", 1.0),))


def test_the_scores_that_decide_are_drawn_from_the_lowest_to_the_highest():
    values = [0.9, 0.1, None, *np.linspace(0.2, 0.8, 9)]
    held = Thresholds(Scale(0.0, 1.0, at_least=0.5))
    (chart,) = drawn(PerInput({"explainer": values, "random": values}, values), held).charts
    assert chart.lines[0].values == pytest.approx(sorted(value for value in values if value is not None))
    assert (chart.points[0], chart.points[-1], chart.levels) == (0.0, 100.0, (Mark("threshold", 0.5),))
    assert not drawn(PerInput({"explainer": [0.5] * 20})).charts  # no spread
    assert not drawn(PerInput({"a": values, "b": values})).charts  # of more than one kind


def test_what_is_left_is_drawn_by_layer():
    readings = {
        name: Reading((after, 0.2), (), own=1.0, chance=0.2, constant=0, calibrated=True, retention=0.3)
        for name, after in (("sign_flip_spearman", 0.6), ("ssim", 1.0))
    }
    layers = Randomized(("head", "conv"), {}, "execution", "Own()", seeds=2)
    parts = (Similarities(tuple(readings), 1), layers, Thresholds(Scale(0.0, 1.0, at_most=0.5)))
    (chart,) = drawn(Readings(readings), *parts).charts
    assert chart.points == ("head", "conv")
    assert [line.values for line in chart.lines] == [pytest.approx((0.5, 0.0)), pytest.approx((1.0, 0.0))]
    assert [line.beside for line in chart.lines] == [False, True]
    assert chart.levels == (Mark("accepted", 0.5),)


def test_targets_are_in_a_table_the_lowest_first():
    found = {(3,): OfTarget(0.9, 20, 18, "passed", (0.7, 1.0)), (1,): OfTarget(0.2, 3, 3)}
    (table,) = drawn(ByTarget(found, 10)).tables
    assert table.targets
    assert table.rows == (
        ("1", "0.2", "3", "3", "", "too few inputs"),
        ("3", "0.9", "20", "18", "0.7 to 1", "passed"),
    )
    (short,) = drawn(ByTarget(found)).tables
    assert short.head == ("target", "mean of what decides", "inputs", "groups")
    assert not drawn(ByTarget({(1,): OfTarget(0.2, 3, 3)})).tables


def test_figures_are_sorted_by_kind():
    chart, table = Chart("a", "b", "c", (), ()), Table("a", (), ())
    found = Figures.of([table, Scale(at_least=0.1), chart, Scale(at_least=0.2)])
    assert (found.scale, found.charts, found.tables) == (Scale(at_least=0.2), (chart,), (table,))
