"""Tables: names of features, data frames, missing values; and claims on them, by features and by groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.learned_imputation import ConditionalMean, Marginal
from pytest_xaisanity.subject.subject import Subject

NAMES = ["age", "income", "red", "green", "blue"]


class Frame:
    """A data frame of another library: columns, and arrays of them."""

    def __init__(self, columns):
        self.named = {name: np.asarray(column) for name, column in columns.items()}
        self.columns = list(columns)

    def __getitem__(self, name):
        return self.named[name]

    def to_numpy(self):
        return np.stack(list(self.named.values()), 1)


def rows(count=64):
    generator = torch.Generator().manual_seed(0)
    hot = nn.functional.one_hot(torch.randint(0, 3, (count,), generator=generator), 3).float()
    return torch.cat([torch.randn(count, 2, generator=generator), hot], 1)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).eval()


def frame_of(kind, values, names=NAMES):
    columns = {name: values[:, place].numpy() for place, name in enumerate(names)}
    return pytest.importorskip("pandas").DataFrame(columns) if kind == "pandas" else Frame(columns)


def flipped(bench, **settings):
    return bench.explainer(InputXGradient).beats("random", on="pixel_flipping", **settings)


@pytest.mark.parametrize("kind", ["pandas", "other"])
def test_a_data_frame_is_a_tensor_with_names(kind):
    plain = flipped(Bench(model(), rows()))
    framed = flipped(Bench(model(), frame_of(kind, rows())))
    named = flipped(Bench(model(), rows(), features=NAMES))
    assert plain.interval == framed.interval == named.interval
    assert framed.evidence["features"] == named.evidence["features"] == NAMES
    assert "features" not in dict(plain.evidence)
    leading = named.evidence["leading"]
    assert set(leading) <= set(NAMES)
    assert sum(leading.values()) == named.n


def test_names_that_are_given_go_before_those_of_columns():
    names = [name.upper() for name in NAMES]
    assert Subject(model(), frame_of("other", rows()), features=names).features == tuple(names)


@pytest.mark.parametrize("kind", ["pandas", "other"])
def test_columns_without_numbers_are_named(kind):
    values = rows(4)
    frame = frame_of(kind, values)
    columns = {"city": np.array(["a", "b", "c", "d"], object), "zip": np.array(["1", "2", "3", "4"], object)}
    frame = Frame({**frame.named, **columns}) if kind == "other" else frame.assign(**columns)
    with pytest.raises(XaiError, match=r"xai_inputs: found a data frame with columns 'city', 'zip' of no numbers"):
        Bench(model(), frame)


def test_names_of_columns_are_different():
    pandas = pytest.importorskip("pandas")
    values = rows(8)
    with pytest.raises(XaiError, match="several columns of the name 'a'"):
        Bench(model(), pandas.DataFrame(np.asarray(values), columns=["a"] * values.shape[1]))


def test_targets_may_be_a_column():
    pandas = pytest.importorskip("pandas")
    targets = pandas.Series([0, 1] * 4, index=range(50, 58))
    assert Subject(model(), rows(8), targets).given_targets.tolist() == [0, 1] * 4


def test_types_of_pandas_are_read():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [True, False, True], "c": pandas.array([1, 2, 3], dtype="Int64")})
    (tensor,) = Subject(lambda x: x, frame)._source.inputs
    assert tensor.tolist() == [[1, 1, 1], [2, 0, 2], [3, 1, 3]]
    assert tensor.dtype == torch.float32


@pytest.mark.parametrize("kind", ["pandas", "other", "tensor", "named"])
def test_missing_values_are_one_error_that_names_all_columns(kind):
    values = rows()
    values[3, 0] = values[60, 4] = values[61, 4] = float("nan")
    inputs = frame_of(kind, values) if kind in ("pandas", "other") else values
    bench = Bench(model(), inputs, features=NAMES if kind == "named" else None)
    columns = r"columns 0 \(1\), 4 \(2\)" if kind == "tensor" else r"columns 'age' \(1\), 'blue' \(2\)"
    with pytest.raises(XaiError, match=f"xai_inputs: found 3 values that are NaN or infinite, in {columns}"):
        flipped(bench)


def test_missing_values_of_nullable_types_are_refused_too():
    pandas = pytest.importorskip("pandas")
    frame = frame_of("pandas", rows())
    frame["age"] = pandas.array([None, *range(63)], dtype="Int64")
    with pytest.raises(XaiError, match=r"column 'age' \(1\)"):
        flipped(Bench(model(), frame))


@pytest.mark.parametrize(
    ("features", "found"),
    [("age", "'age'"), (["a", "a", "b", "c", "d"], "'a', 'a'"), ([], r"\[\]"), ([1, 2], r"\[1, 2\]"), (3, "3")],
)
def test_names_that_are_none_are_one_error(features, found):
    with pytest.raises(XaiError, match=f"xai_features: found .*{found}"):
        Bench(model(), rows(), features=features)


def test_too_few_names_are_one_error():
    with pytest.raises(XaiError, match="xai_features: found 2 names for inputs with 5 features"):
        flipped(Bench(model(), rows(), features=["a", "b"]))


def test_groups_have_names_and_may_name_features():
    bench = Bench(model(), rows(), features=NAMES)
    by_name, by_place = (
        flipped(bench, groups=groups) for groups in ({"color": ["red", "green", "blue"]}, {"color": [2, 3, 4]})
    )
    assert by_name.evidence["features"] == ["age", "income", "color"]
    assert by_name.evidence["regions"] == 3
    assert by_name.estimate == by_place.estimate
    with pytest.raises(XaiError, match="green"):
        flipped(bench, groups={"color": ["red", "gren"]})
    assert flipped(Bench(model(), rows()), groups={"color": [2, 3, 4]}).evidence["features"] == ["0", "1", "color"]


# ---------------------------------------------------------------------------------------------------------------------
# Imputers that learn


def slow_gain(net, data, place, relevance, groups, target, steps, fill):
    """Return the gain of one row from the definition, in float64; ``fill`` is called with (row, removed)."""
    row, areas = data[place].numpy(), []
    ranked = sorted(groups, key=lambda group: -np.mean([relevance[one] for one in group]))
    for order in (ranked[::-1], ranked):
        curve, fractions, steps = [], [], min(steps, len(groups))
        for step in range(steps + 1):
            count = round(step * len(groups) / steps)
            gone = np.zeros(len(row), bool)
            gone[[one for group in order[:count] for one in group]] = True
            changed = np.where(gone, fill(place, row, gone), row)
            curve.append(float(net(torch.from_numpy(changed)[None]).detach().softmax(1)[0, target]))
            fractions.append(count / len(groups))
        areas.append(
            sum((b - a) * (v + w) / 2 for a, b, v, w in zip(fractions, fractions[1:], curve, curve[1:], strict=False))
        )
    return areas[0] - areas[1]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("imputer", ["conditional_mean", "marginal"])
def test_flipping_follows_the_definition(imputer, streamed):
    from laboratory import lab_of

    data, net = rows(40).double(), model().double()
    groups = [[0], [1], [2, 3, 4]]
    maps, targets = torch.randn(40, 5, generator=torch.Generator().manual_seed(1)).double(), torch.arange(40) % 2
    inputs = [[data[:25], targets[:25]], [data[25:], targets[25:]]] if streamed else data
    subject = Subject(net, inputs, None if streamed else targets)
    other = Marginal().fitted(data, range(40))

    def drawn(place, row, gone):
        learned = subject.learned(("imputer", Marginal()), None)[0]
        return learned(data[place : place + 1], seed=0, indices=[place])[0].numpy()

    def regressed(place, row, gone):
        mean = data.numpy().mean(0)
        centered = data.numpy() - mean
        scale = centered.std(0)
        weights = np.linalg.lstsq((centered / scale)[:, ~gone], centered, rcond=1e-8)[0]
        return mean + ((row - mean) / scale)[~gone] @ weights

    metric = PixelFlipping(imputer=imputer, groups={"color": [2, 3, 4]}, steps=2)
    with subject.lent():
        for block in subject.blocks():
            found = metric.score(metric.prepare(lab_of(subject), block), maps[list(block.indices)]).values
            for place, value in zip(block.indices, found.tolist(), strict=True):
                fill = regressed if imputer == "conditional_mean" else drawn
                expected = slow_gain(net, data, place, maps[place], groups, int(targets[place]), 2, fill)
                assert value == pytest.approx(expected, abs=1e-6)
    assert other(data[:1], seed=0, indices=[0]).shape == (1, 5)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_what_is_learned_does_not_depend_on_the_batch(batch_size):
    for imputer in (ConditionalMean(), "marginal"):
        one, other = (
            flipped(Bench(model(), rows(), batch_size=size), imputer=imputer, steps=3) for size in (None, batch_size)
        )
        assert one.estimate == pytest.approx(other.estimate, abs=1e-6)


def test_the_model_and_the_rows_come_back_as_they_were():
    data, net = rows(), model()
    before = data.clone()
    assert flipped(Bench(net, data), imputer="conditional_mean").n >= 16
    assert torch.equal(data, before)


def test_images_have_marginal_values_too():
    images = torch.randn(24, 1, 4, 4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    assert flipped(Bench(net, images), imputer="marginal").n >= 16
    assert flipped(Bench(net, images), imputer="conditional_mean", steps=3).n >= 16
