"""A package of somebody else's, as it is installed: its metric and its adapter are found by their entry points."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import pytest_xaisanity

pytestmark = pytest.mark.slow  # each session is a process of its own

METRIC = '''
"""How much of a map is positive."""

from dataclasses import dataclass
from typing import ClassVar

from pytest_xaisanity.evidence.base import MapMetric, Scores


@dataclass(frozen=True)
class PositiveShare(MapMetric):
    """The share of a map's magnitude that speaks for the output."""

    name = "positive_share"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    higher_is_better: ClassVar[bool] = True
    ranks: ClassVar[bool] = False

    def prepare(self, lab, block):
        return block

    def score(self, prepared, maps, *, draw=""):
        flat = maps.flatten(1)
        return Scores(flat.clamp_min(0).sum(1) / flat.abs().sum(1))
'''

ADAPTER = '''
"""Objects that hold the maps' sign."""

from pytest_xaisanity.explainers import Adapter


class Signed:
    """A library's explainer: the input times a sign."""

    def __init__(self, sign=1):
        self.sign = sign

    def explain(self, inputs):
        return self.sign * inputs


class SignedAdapter(Adapter):
    """Objects of Signed, which explain inputs alone."""

    def accepts(self, source):
        return isinstance(source, Signed)

    def attribute(self, source, model, settings, *, where):
        return lambda request: source.explain(request.inputs[0].abs())
'''

POINTS = {
    "pytest_xaisanity.metric": "positive_share = contributed.metric:PositiveShare",
    "pytest_xaisanity.adapter": "signed = contributed.adapter:SignedAdapter",
}


def install(folder: Path, name: str, points: dict[str, str]) -> None:
    """Write what an installer writes: the package beside a folder that tells its entry points."""
    package = folder / "contributed"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "metric.py").write_text(METRIC)
    (package / "adapter.py").write_text(ADAPTER)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]\n{point}\n" for group, point in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def installed(pytester, suite, monkeypatch):
    """Return a suite in whose process the package is installed; each of its sessions is a process of its own."""
    site = suite.path / "site"
    install(site, "contributed", POINTS)
    path = [str(site), str(Path(pytest_xaisanity.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return suite


def run(suite, *args: str):
    return suite.run(sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", *args)


def test_its_metric_and_its_adapter_are_listed_and_serve_claims(installed):
    listed = run(installed, "--xai-list")
    listed.stdout.re_match_lines_random(
        [
            r"  positive_share +The share of a map's magnitude that speaks for the output.",
            r"  signed +Objects of Signed, which explain inputs alone.",
        ]
    )
    installed.makepyfile(
        test_it="""
        import pytest
        from contributed.adapter import Signed

        @pytest.mark.parametrize(("sign", "outcome"), [(1, "passed"), (-1, "failed")])
        def test_signs(xai, sign, outcome):
            verdict = xai.explainer(Signed(sign)).bounded("positive_share", at_least=0.9)
            assert verdict.outcome == outcome
        """
    )
    run(installed).assert_outcomes(passed=2)


def test_two_packages_with_one_name_are_one_error_that_names_both(installed):
    install(
        installed.path / "site", "another", {"pytest_xaisanity.metric": "positive_share = contributed.another:Share"}
    )
    installed.makepyfile(
        test_it="""
        from subject import good

        def test_it(xai):
            assert xai.explainer(good).bounded("positive_share", at_least=0.5)
        """
    )
    result = run(installed)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*which several packages register: contributed.another:Share (of *), contributed.metric:PositiveShare (of *)*"]
    )
    run(installed, "--xai-list").stdout.fnmatch_lines(["  positive_share*cannot be used*several packages register*"])
