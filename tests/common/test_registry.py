"""Names stand for things; unknown ones are errors that name the nearest, and other packages can add theirs."""

import pickle
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from pytest_xaisanity.common import registry
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.registry import Registry
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.baselines.random import Random
from pytest_xaisanity.evidence.metrics import METRICS
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.imputation import IMPUTERS


class Foreign:
    """What another package might register."""

    def __init__(self, depth, **others):
        self.depth, self.others = depth, others


@pytest.fixture
def extended(monkeypatch):
    """Return a metric registry in a world where another package registers three metrics."""
    points = [
        EntryPoint("foreign", f"{__name__}:Foreign", "pytest_xaisanity.metric"),
        EntryPoint("broken", "no_such_module:Metric", "pytest_xaisanity.metric"),
        EntryPoint("pixel_flipping", f"{__name__}:Foreign", "pytest_xaisanity.metric"),
        EntryPoint("elsewhere", f"{__name__}:Foreign", "pytest_xaisanity.baseline"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints(points).select(group=group))
    return Registry("metric", {"pixel_flipping": ".evidence.metrics.pixel_flipping:PixelFlipping"})


@pytest.mark.parametrize("registered", [BASELINES, IMPUTERS, METRICS], ids=lambda r: r.kind)
def test_every_name_stands_for_something(registered):
    for name in registered:
        assert name in registered
        assert callable(registered.get(name, where="test"))


def test_a_name_is_built_with_its_settings():
    assert METRICS.build("pixel_flipping", {"steps": 8}, where="beats") == PixelFlipping(steps=8)


def test_a_class_is_built_with_settings_as_its_name_would_be():
    assert BASELINES.build(Random, {"draws": 3}, where="beats") == Random(draws=3)


def test_an_object_is_itself():
    metric = PixelFlipping(steps=8)
    assert METRICS.build(metric, {}, where="beats") is metric


@pytest.mark.parametrize(
    ("spec", "settings", "words"),
    [
        ("pixel_fliping", {}, ("beats: found 'pixel_fliping'", "use 'pixel_flipping', the nearest known name")),
        ("zzz", {}, ("pixel_flipping", "choose a metric from these names")),
        ("pixel_flipping", {"step": 3}, ("beats 'pixel_flipping': found 'step'", "use 'steps', the nearest")),
        (PixelFlipping, {"step": 3}, ("beats 'PixelFlipping': found 'step'", "use 'steps', the nearest")),
        ("pixel_flipping", {"earl": 3}, ("use 'early', the nearest",)),
        (
            PixelFlipping(),
            {"steps": 3},
            ("as an object together with its settings steps", "PixelFlipping(...) instead"),
        ),
    ],
)
def test_a_mistake_is_named_with_the_nearest_name(spec, settings, words):
    with pytest.raises(XaiError) as caught:
        METRICS.build(spec, settings, where="beats", also=["early"])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_another_package_can_add_names(extended):
    assert list(extended) == ["pixel_flipping", "foreign", "broken"]
    assert "foreign" in extended
    assert "elsewhere" not in extended
    built = extended.build("foreign", {"depth": 3, "extra": 4}, where="beats")
    assert (built.depth, built.others) == (3, {"extra": 4})


def test_a_built_in_name_wins(extended):
    assert extended.get("pixel_flipping", where="beats") is PixelFlipping


def test_what_another_package_needs_is_asked_for(extended):
    with pytest.raises(XaiError, match="missing a required argument: 'depth'"):
        extended.build("foreign", {}, where="beats")


def test_a_package_that_cannot_be_loaded_is_named(extended):
    with pytest.raises(XaiError, match=r"cannot be loaded: No module named 'no_such_module'") as caught:
        extended.get("broken", where="beats")
    assert "pytest_xaisanity.metric: broken" in caught.value.fix


def test_an_error_says_where_what_was_found_what_was_expected_and_the_fix():
    error = XaiError("xai_inputs", found="nothing", expected="something", fix="return a tensor")
    assert str(error) == "xai_inputs: found nothing; expected something. To fix it: return a tensor."


def test_an_error_survives_the_way_from_a_worker():
    error = XaiError("xai_inputs", found="nothing", expected="something", fix="return a tensor")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_name_that_two_packages_register_is_an_error_that_names_both(monkeypatch):
    """And not whichever of the two happens to be found last; one package that is found twice is one."""
    group = "pytest_xaisanity.metric"
    values = {"twice": ["a:Metric", "b:Metric"], "once": [f"{__name__}:Foreign"] * 2}
    points = [EntryPoint(name, value, group) for name, some in values.items() for value in some]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints(points).select(group=group))
    metrics = Registry("metric", {})
    with pytest.raises(XaiError, match="'twice', which several packages register: a:Metric, b:Metric"):
        metrics.get("twice", where="beats on")
    assert metrics.get("once", where="beats on") is Foreign
