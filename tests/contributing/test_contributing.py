"""The examples of CONTRIBUTING.md, as they stand there: one line registers each, and claims of every form use it."""

from __future__ import annotations

import copy
import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from captum.attr import Saliency
from hypothesis import given, settings
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.adversaries.strategies import settings_of
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.interventions import INTERVENTIONS
from pytest_xaisanity.evidence.metrics import METRICS
from pytest_xaisanity.explainers.adapters import ADAPTERS
from pytest_xaisanity.maps.noise import noise_maps
from pytest_xaisanity.maps.similarity import SIMILARITIES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
LINES = {
    "metric": (METRICS, "prediction_error", "contributed.prediction_error:PredictionError"),
    "intervention": (INTERVENTIONS, "rounded_weights", "contributed.rounded_weights:RoundedWeights"),
    "adapter": (ADAPTERS, "patchwork", "contributed.patchwork_adapter:PatchworkAdapter"),
    "baseline": (BASELINES, "center_blob", "contributed.center_blob:CenterBlob"),
    "similarity": (SIMILARITIES, "overlap", "contributed.overlap:OVERLAP"),
}


def written(folder: Path) -> None:
    """Write the files of the examples into a folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def _registered(tmp_path_factory):
    """Register the examples, each by its one line."""
    folder = tmp_path_factory.mktemp("examples")
    written(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for registry, name, target in LINES.values():
            patch.setitem(registry._entries, name, target)
        yield


def of(module, name):
    """Return what an example defines."""
    return getattr(importlib.import_module(module), name)


def gradient(model, inputs, targets):
    """Return the plain gradient."""
    return Saliency(model).attribute(inputs.requires_grad_(), target=targets, abs=False)


def half_of_it(model, inputs, targets):
    """Return what ranks as the gradient does and is not one."""
    return gradient(model, inputs, targets) / 2


def images(count=48):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def network(*between):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *between, nn.Flatten(), nn.Linear(4 * 6 * 6, 3)).eval()


@pytest.fixture
def curved():
    """Return a bench of a network that is not linear."""
    return Bench(network(nn.Tanh()), images())


@pytest.fixture
def linear():
    """Return a bench of one that is."""
    return Bench(network(), images())


def test_each_example_is_one_file_and_one_line_of_its_registry():
    """The library that the adapter is for is the only other file."""
    assert sorted(FILES) == sorted(
        ["patchwork.py", *(target.partition(":")[0].replace(".", "/") + ".py" for *_, target in LINES.values())]
    )
    assert f'\n{LINES["metric"][1]} = "{LINES["metric"][2]}"\n' in TEXT
    for kind in LINES:
        assert f"`pytest_xaisanity.{kind}`" in TEXT


def test_the_commands_of_the_fast_lane_select_what_the_markers_name(pytestconfig):
    known = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    for expression in re.findall(r'`pytest -m "?([^"`]+)"?`', TEXT):
        assert set(re.findall(r"\w+", expression)) - {"not", "and"} <= known


# ---------------------------------------------------------------------------------------------------------------------
# The metric


class TestInfidelity:
    def test_scores_follow_the_definition(self, curved):
        """A slow twin in float64, one input, one noise and one value at a time."""
        metric = of("contributed.prediction_error", "PredictionError")(noises=3, scale=0.5)
        verdict = curved.explainer(gradient).bounded(metric, at_most=100.0, early=False)
        scores = dict(zip(verdict.evidence["indices"], verdict.evidence["scores"]["explainer"], strict=True))
        model = copy.deepcopy(curved.subject.model).double()
        inputs = images().double()
        for index in (0, 17):
            x = inputs[index : index + 1].clone().requires_grad_()
            target = int(model(x).argmax())
            (attribution,) = torch.autograd.grad(model(x)[0, target], x)
            errors = []
            for k in range(3):
                z = 0.5 * noise_maps(images()[index : index + 1], seed=0, indices=[index], draw=f"0 {k}").double()
                predicted = sum(
                    a * b for a, b in zip(attribution.flatten().tolist(), z.flatten().tolist(), strict=True)
                )
                errors.append((predicted - float((model(x) - model(x - z))[0, target].detach())) ** 2)
            assert scores[index] == pytest.approx(sum(errors) / 3, rel=1e-4)

    def test_the_gradient_of_a_smooth_model_is_faithful_and_half_of_it_is_not(self, curved):
        """Both rank alike, so that a metric of ranks would not tell."""
        assert curved.explainer(gradient).bounded("prediction_error", at_most=1e-5)
        verdict = curved.explainer(half_of_it).bounded("prediction_error", at_most=1e-5)
        assert verdict.failed
        assert "look for a factor" in verdict.advice

    @pytest.mark.slow
    @pytest.mark.parametrize("baseline", ["random", "edges", "center_blob", "uninformative", half_of_it])
    def test_it_serves_against_baselines_too(self, curved, baseline):
        """Their maps have the explainer's norm, and its channels."""
        assert curved.explainer(gradient).beats(baseline, on="prediction_error")

    def test_it_serves_models_of_several_inputs(self):
        """The values of all stand in a row."""

        class Sum(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two = nn.Linear(4, 3), network(nn.Tanh())

            def forward(self, row, image):
                return self.one(row) + self.two(image)

        def both(model, inputs, targets):
            leaves = [tensor.requires_grad_() for tensor in inputs]
            outputs = model(*leaves).gather(1, targets[:, None]).sum()
            return torch.autograd.grad(outputs, leaves)

        bench = Bench(Sum().eval(), (torch.randn(48, 4), images()))
        assert bench.explainer(both).bounded("prediction_error", at_most=1e-5)

    def test_what_it_leaves_open_is_drawn_from(self, curved):
        metric = of("contributed.prediction_error", "PredictionError")

        @settings(max_examples=5, deadline=None, database=None)
        @given(settings_of("prediction_error", noises=4))
        def holds(drawn):
            assert drawn in [metric(4, scale) for scale in (0.1, 0.05, 0.2)]

        holds()
        verdict = curved.explainer(gradient).beats("random", on="prediction_error", across="settings", noises=4)
        assert verdict
        assert set(verdict.evidence["settings"]) <= {repr(metric(4, scale)) for scale in (0.1, 0.05, 0.2)}

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"noises": 0}, "prediction_error noises: found 0"),
            ({"scale": -1.0}, "prediction_error scale: found -1.0"),
            ({"noise": 3}, "use 'noises', the nearest known name"),
        ],
    )
    def test_a_wrong_setting_is_found_before_anything_is_measured(self, linear, wrong, words):
        with pytest.raises(XaiError, match=re.escape(words)):
            linear.explainer(gradient).bounded("prediction_error", at_most=1.0, **wrong)

    def test_reports_show_its_part_of_the_evidence(self, linear):
        """As a type, for people, and under its names."""
        evidence = linear.explainer(gradient).bounded("prediction_error", at_most=1e-6, noises=4).evidence
        assert evidence.find(of("contributed.prediction_error", "Disturbed")).noises == 4
        assert ("disturbed", "by 4 noises of standard deviation 0.1") in list(evidence.rows())
        assert evidence["noises"] == 4


# ---------------------------------------------------------------------------------------------------------------------
# The intervention


class TestRoundedWeights:
    def test_fine_levels_leave_explanations_as_they_are_and_coarse_ones_do_not(self, curved):
        fine = curved.explainer(gradient).invariant_under("rounded_weights", bits=12, tolerance=0.05)
        coarse = curved.explainer(gradient).invariant_under("rounded_weights", bits=3, tolerance=0.05)
        assert fine
        assert coarse.failed
        assert "average them over noise" in coarse.advice

    def test_a_similarity_decides_where_one_is_named(self, curved):
        one = curved.explainer(gradient)
        assert one.invariant_under("rounded_weights", similarity="spearman", at_least=0.8)
        assert one.invariant_under(
            "rounded_weights", bits=2, similarity="spearman", at_least=0.95, confidence=0.8
        ).failed

    def test_weights_are_rounded_to_even_levels(self, curved):
        """By hand: seven levels of a third of the largest magnitude."""
        weight = torch.tensor([-3.0, -1.6, -0.4, 0.0, 0.6, 1.4, 2.9])
        rounded = of("contributed.rounded_weights", "_rounded")(weight, 3)
        assert rounded.tolist() == [-3.0, -2.0, 0.0, 0.0, 1.0, 1.0, 3.0]

    def test_the_model_comes_back_bit_for_bit(self, curved):
        before = copy.deepcopy(curved.subject.model.state_dict())
        curved.explainer(gradient).invariant_under("rounded_weights", bits=2)
        after = curved.subject.model.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_the_other_verb_refuses_it(self, curved):
        with pytest.raises(XaiError, match="claim invariant_under of it"):
            curved.explainer(gradient).changes_under("rounded_weights")

    def test_reports_show_what_was_rounded(self, curved):
        evidence = curved.explainer(gradient).invariant_under("rounded_weights", bits=12, tolerance=0.1).evidence
        count = sum(parameter.numel() for parameter in curved.subject.model.parameters())
        assert (
            evidence.find(of("contributed.rounded_weights", "Rounded")).weights == count == evidence["rounded_weights"]
        )


# ---------------------------------------------------------------------------------------------------------------------
# The adapter


class TestPatchwork:
    def test_the_class_and_an_object_explain_alike(self, curved):
        kind = of("patchwork", "Patchwork")
        built = curved.explainer(kind, side=1)
        bound = curved.explainer(kind(curved.subject.model, side=1))
        assert (built.name, bound.name) == ("Patchwork(side=1)", "Patchwork")
        verdicts = [
            one.beats("random", on="pixel_flipping", steps=8, imputer="constant", early=False) for one in (built, bound)
        ]
        assert all(verdicts)
        assert verdicts[0].evidence["scores"] == verdicts[1].evidence["scores"]

    def test_settings_go_where_they_belong(self, curved):
        kind = of("patchwork", "Patchwork")
        one = curved.explainer(kind(curved.subject.model), fill=0.5)
        assert one.name == "Patchwork(fill=0.5)"
        assert one.invariant_under("batch_order")

    @pytest.mark.parametrize(
        ("source", "wrong", "words"),
        [
            (lambda kind, model: kind, {"sid": 1}, "use 'side', the nearest known name"),
            (lambda kind, model: kind, {"network": 1}, "found network= among its settings"),
            (lambda kind, model: kind(model), {"label": 1}, "found label= among its settings"),
            (lambda kind, model: kind(network()), {}, "bound to another model than xai_model"),
        ],
    )
    def test_mistakes_are_found_when_the_explainer_is_made(self, curved, source, wrong, words):
        with pytest.raises(XaiError, match=words):
            curved.explainer(source(of("patchwork", "Patchwork"), curved.subject.model), **wrong)


# ---------------------------------------------------------------------------------------------------------------------
# The baseline and the similarity


def test_the_blob_is_brightest_in_the_center_and_takes_the_shape_of_any_map():
    """On a row of five places of width 1, the density at -1, -1/2, 0, 1/2, 1."""
    bench = Bench(nn.Linear(5, 2).eval(), torch.randn(4, 5))
    block = next(bench.subject.blocks())
    blob = of("contributed.center_blob", "CenterBlob")
    (maps,) = blob(width=1.0).maps(block, block.empty_maps(), seed=0)
    half, edge = torch.tensor([-0.125, -0.5]).exp().tolist()
    assert maps.shape == (4, 5)
    assert maps[2].tolist() == pytest.approx([edge, half, 1.0, half, edge])


def test_no_blob_beats_itself(curved):
    """By name and as an object."""
    blob = of("contributed.center_blob", "CenterBlob")

    def centered(model, inputs, targets):
        block = next(Bench(network(), inputs.detach()).subject.blocks())
        return blob().maps(block, block.empty_maps(), seed=0)[0].clone()

    one = curved.explainer(centered)
    for baseline in ("center_blob", blob(width=0.5)):
        assert not one.beats(baseline, on="pixel_flipping", steps=8)


def test_overlap_counts_the_strongest_places_that_maps_share():
    """By hand: of the two strongest of twenty places one is shared; constant maps have none."""
    overlap = of("contributed.overlap", "OVERLAP")
    a, b = torch.zeros(2, 4, 5), torch.zeros(2, 4, 5)
    a[0, 0, 0], a[0, 1, 1], b[0, 1, 1], b[0, 3, 3] = 2.0, 1.0, 5.0, 7.0
    shared, undefined = overlap(a, b).tolist()
    assert shared == 0.5
    assert undefined != undefined


def test_a_claim_names_the_similarity_as_any_other(curved):
    one = curved.explainer(gradient)
    verdict = one.changes_under("cascading_randomization", similarity="overlap", seeds=2)
    assert verdict
    assert verdict.quantity.endswith("(overlap)")
    assert one.invariant_under("rounded_weights", bits=12, similarity="overlap", at_least=0.7)
    with pytest.raises(XaiError, match="use 'overlap', the nearest known name"):
        one.changes_under("cascading_randomization", similarity="overlaps")


# ---------------------------------------------------------------------------------------------------------------------
# As another package: entry points, markers, no test file, reports

SUITE = """
    import pytest
    from captum.attr import Saliency
    from subject import half

    @pytest.mark.xai_bounded("prediction_error", at_most=1e-6)
    @pytest.mark.xai_beats("center_blob", on="prediction_error", noises=4)
    @pytest.mark.xai_invariant_under("rounded_weights", bits=12, similarity="overlap", at_least=0.7)
    @pytest.mark.xai_explainer(Saliency, abs=False)
    def test_gradient(xai_verdict):
        assert xai_verdict

    @pytest.mark.xai_bounded("prediction_error", at_most=1e-6)
    @pytest.mark.xai_explainer(half)
    def test_half(xai_verdict):
        assert xai_verdict
"""
SUBJECT = """
    import torch
    from torch import nn

    torch.set_num_threads(1)

    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 6 * 6, 12)).eval()

    def inputs():
        return torch.randn(64, 3, 6, 6, generator=torch.Generator().manual_seed(1))

    def half(model, inputs, targets):
        outputs = model(inputs.requires_grad_()).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(outputs, inputs)[0] / 2
"""


@pytest.fixture
def package(pytester):
    """Return a folder in which another package with the examples is installed, beside a suite that uses them."""
    written(pytester.path)
    metadata = pytester.path / "contributed-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: contributed\nVersion: 1.0\n")
    points = [f"[pytest_xaisanity.{kind}]\n{name} = {target}\n" for kind, (_, name, target) in LINES.items()]
    (metadata / "entry_points.txt").write_text("\n".join(points))
    pytester.makepyfile(subject=SUBJECT, test_claims=SUITE)
    pytester.syspathinsert()
    return pytester


@pytest.mark.slow
def test_another_package_has_them_in_markers_in_the_battery_and_in_reports(package):
    result = package.runpytest_subprocess(
        "-v",
        "-p",
        "no:randomly",
        "--xai-json=report.json",
        "--xai-model=subject:model",
        "--xai-inputs=subject:inputs",
        "--xai-explainer=patchwork:Patchwork",
    )
    result.stdout.fnmatch_lines_random(
        [
            "test_claims.py::test_gradient*bounded-prediction_error-at_most1e-06* PASSED*",
            "test_claims.py::test_gradient*beats-center_blob-on-prediction_error*noises4* PASSED*",
            "test_claims.py::test_gradient*invariant_under-rounded_weights*bits12* PASSED*",
            "test_claims.py::test_half*bounded-prediction_error* FAILED*",
            "xai::test_battery*beats-random-on-pixel_flipping* PASSED*",
            "disturbed    by 16 noises of standard deviation 0.1",
            "try          the map is no gradient in the units of the output*",
        ]
    )
    report = json.loads((package.path / "report.json").read_text())
    claims = {(claim["explainer"], claim["claim_id"].partition("-at")[0]): claim for claim in report["claims"]}
    (failed,) = (claim for claim in report["claims"] if claim["explainer"] == "half")
    assert failed["outcome"] == "failed"
    assert (failed["evidence"]["noises"], failed["evidence"]["scale"]) == (16, 0.1)
    assert any(explainer == "Patchwork" for explainer, _ in claims)
    rounded = [claim["evidence"].get("rounded_weights") for claim in report["claims"]]
    assert [count for count in rounded if count] == [4 * 27 + 4 + 12 * 144 + 12]
