"""Strategies: checked at the call, simple when shrunk, at home in users' own tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from pytest_xaisanity.adversaries import strategies
from pytest_xaisanity.adversaries.hypothesis_types import register
from pytest_xaisanity.adversaries.small_subject import KINDS, SmallSubject
from pytest_xaisanity.adversaries.strategies import settings_of, subjects, uninformative_explainers, uninformative_maps
from pytest_xaisanity.adversaries.uninformative import UninformativeExplainer
from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.imputation import Blur, Constant, Mean
from pytest_xaisanity.maps.uninformative import FAMILIES, Box, UninformativeMap

pytestmark = pytest.mark.long

torch.set_num_threads(1)

few = settings(max_examples=30, deadline=None, database=None)
ONE = settings(  # the first that is found, and no explanation of it
    max_examples=500,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)


def simplest(strategy, condition=lambda value: True):
    return find(strategy, condition, settings=ONE)


class TestUninformativeMaps:
    @few
    @given(st.data())
    @pytest.mark.parametrize("shape", [(2,), (9,), (1, 2), (5, 7), (2, 3, 4)])
    def test_fit_the_shape(self, shape, data):
        value = data.draw(uninformative_maps(shape))
        maps = value.render(shape, seed=0, indices=[0, 1], magnitudes=torch.ones(2, *shape))
        assert maps.shape == (2, *shape)
        assert torch.isfinite(maps).all()

    @few
    @given(uninformative_maps((8, 8)))
    def test_are_rebuilt_by_their_repr(self, value):
        assert eval(repr(value), {"UninformativeMap": UninformativeMap, "Box": Box}) == value

    @few
    @given(uninformative_maps((8, 8)))
    def test_weigh_some_place_inside_the_map(self, value):
        assert value.background or value.boxes
        for box in value.boxes:
            assert 0 <= box.top < box.top + box.height <= 8
            assert 0 <= box.left < box.left + box.width <= 8

    @few
    @given(
        uninformative_maps(
            (8, 8), families=["gaussian"], signs=["both"], match=["nothing"], amplitudes=[2.0], max_boxes=0
        )
    )
    def test_keep_to_what_is_asked_for(self, value):
        assert value == UninformativeMap("gaussian", "both", amplitude=2.0)

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (lambda value: True, "UninformativeMap()"),
            (lambda value: value.match == "input", "UninformativeMap(match='input')"),
            (lambda value: value.sign == "both", "UninformativeMap(sign='both')"),
            (lambda value: value.family == "blurred" and value.size > 2, "UninformativeMap(family='blurred', size=3)"),
            (lambda value: value.background == 0, "UninformativeMap(background=0, boxes=(Box(),))"),
            (
                lambda value: any(box.top == 9 and box.left > 4 for box in value.boxes),
                "UninformativeMap(boxes=(Box(top=9, left=5),))",
            ),
        ],
    )
    def test_shrink_to_one_short_line(self, condition, expected):
        assert repr(simplest(uninformative_maps((28, 28)), condition)) == expected

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ({"shape": ()}, "shape: found"),
            ({"shape": (1, 1)}, "shape: found"),
            ({"shape": (0, 4)}, "shape: found"),
            ({"shape": 28}, "shape: found 28"),
            ({"shape": (4.0, 4)}, "shape: found"),
            ({"families": ["gausian"]}, "families: found 'gausian'.*use 'gaussian'"),
            ({"families": "gaussian"}, "families: found 'gaussian'; expected one or more names in a list"),
            ({"families": []}, "families"),
            ({"signs": ["plus"]}, "signs"),
            ({"match": ["inputs"]}, "use 'input'"),
            ({"amplitudes": [float("nan")]}, "amplitudes"),
            ({"max_boxes": -1}, "max_boxes"),
        ],
    )
    def test_say_at_the_call_what_is_wrong(self, options, found):
        with pytest.raises(XaiError, match=found):
            uninformative_maps(**{"shape": (4, 4), **options})

    @pytest.mark.slow
    def test_draw_every_family_sign_and_match(self):
        drawn = []

        @settings(max_examples=300, database=None, phases=[Phase.generate])
        @given(uninformative_maps((28, 28)))
        def collect(value):
            drawn.append(value)

        collect()
        assert {value.family for value in drawn} == set(FAMILIES)
        assert {(value.sign, value.match) for value in drawn if value.family == "sign"} >= {
            (sign, match) for sign in ("positive", "negative", "both") for match in ("nothing", "input")
        }


class TestUninformativeExplainers:
    @few
    @given(uninformative_explainers((6, 6)))
    def test_explain_small_models(self, explainer):
        subject = SmallSubject("cnn", batch=3)
        assert explainer(subject.model(), subject.inputs(), subject.targets()).shape == (3, 1, 6, 6)

    def test_shrink_to_one_short_line(self):
        found = simplest(uninformative_explainers((8, 8)), lambda value: value.seeding == "output")
        assert repr(found) == "UninformativeExplainer(seeding='output')"

    def test_say_at_the_call_what_is_wrong(self):
        with pytest.raises(XaiError, match="seedings: found 'outputs'"):
            uninformative_explainers((8, 8), seedings=["outputs"])
        with pytest.raises(XaiError, match="max_boxes"):
            uninformative_explainers((8, 8), max_boxes=1.5)


class TestSubjects:
    @few
    @given(subjects(batch=3))
    def test_have_models_that_take_their_inputs(self, subject):
        assert subject.model()(subject.inputs()).shape == (3, subject.classes)

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_every_kind_shrink_to_one_short_line(self, kind):
        found = simplest(subjects(), lambda value: value.kind == kind)
        assert repr(found) == ("SmallSubject()" if kind == "mlp" else f"SmallSubject(kind={kind!r})")

    @pytest.mark.parametrize(
        "options",
        [{"kinds": ["rnn"]}, {"batch": 0}, {"classes": []}, {"classes": [0]}, {"max_width": 3}, {"max_depth": 0}],
    )
    def test_say_at_the_call_what_is_wrong(self, options):
        with pytest.raises(XaiError, match=next(iter(options))):
            subjects(**options)

    @pytest.mark.slow
    @settings(max_examples=12, deadline=None, database=None)
    @given(subjects(batch=16))
    def test_keep_their_model_and_their_verdicts(self, subject):
        """The model comes back bit for bit, and the same seed gives the same verdict."""
        model, pristine = subject.model(), subject.model().state_dict()
        verdicts = []
        for _ in range(2):
            explainer = Bench(model, subject.inputs(), subject.targets(), seed=3).explainer(gradient)
            changes = explainer.changes_under("cascading_randomization", similarity="spearman", seeds=1)
            verdicts.append([str(changes), str(explainer.beats("random", on=PixelFlipping(steps=4)))])
        assert verdicts[0] == verdicts[1]
        assert all(torch.equal(value, pristine[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
        assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


def gradient(model, inputs, targets):
    inputs.requires_grad_()
    outputs = model(inputs)
    chosen = outputs[:, 0] if targets is None else outputs.gather(1, targets[:, None])
    return torch.autograd.grad(chosen.sum(), inputs)[0] + 1e-6 * inputs.detach()  # never constant


OPEN = {"imputer": (Mean(), Constant(), Blur()), "steps": (8, 32), "patch": (1, 2), "order": ("srg", "morf", "lerf")}


class TestSettings:
    @pytest.fixture(autouse=True)
    def open_settings(self, monkeypatch):
        monkeypatch.setattr(PixelFlipping, "open_settings", classmethod(lambda cls, shape: OPEN), raising=False)

    def test_of_a_metric_shrink_to_the_simplest(self):
        assert simplest(settings_of("pixel_flipping")) == PixelFlipping()
        found = simplest(settings_of("pixel_flipping", shape=(8, 8)), lambda metric: metric.patch == 2)
        assert found == PixelFlipping(patch=2)

    def test_that_are_fixed_are_not_drawn(self):
        found = simplest(settings_of("pixel_flipping", steps=5), lambda metric: metric.order == "lerf")
        assert found == PixelFlipping(steps=5, order="lerf")

    def test_of_an_unknown_metric_are_an_error(self):
        with pytest.raises(XaiError, match="use 'pixel_flipping', the nearest known name"):
            settings_of("pixel_fliping")

    def test_that_do_not_exist_are_an_error(self):
        with pytest.raises(XaiError, match=r"'stepps'.*use 'steps'"):
            settings_of("pixel_flipping", stepps=5)

    def test_of_a_metric_that_leaves_none_open_are_an_error(self, monkeypatch):
        monkeypatch.setattr(PixelFlipping, "open_settings", classmethod(lambda cls, shape: {}))
        with pytest.raises(XaiError, match="leaves no setting open"):
            settings_of("pixel_flipping")


class TestTorchGenerator:
    @pytest.mark.slow
    def test_is_not_moved_by_importing_the_strategies(self):
        code = "import torch; torch.manual_seed(7); a = torch.rand(3); torch.manual_seed(7); "
        code += "import pytest_xaisanity.adversaries.strategies; print(torch.equal(a, torch.rand(3)))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "True"

    def test_is_put_back_after_a_test(self):
        torch.manual_seed(3)
        state = torch.get_rng_state()
        self.draws()
        assert torch.equal(state, torch.get_rng_state())

    @staticmethod
    @few
    @given(st.integers())
    def draws(number):
        torch.rand(3)

    def test_is_seeded_alike_in_every_example(self):
        drawn = []

        @few
        @given(st.integers())
        def collect(number):
            drawn.append(torch.rand(()).item())

        collect()
        assert len(set(drawn)) == 1

    def test_keeps_a_sampling_explainer_from_being_flaky(self):
        """A failing assertion on sampled attributions fails as itself; Hypothesis replays it."""

        def smooth(model, inputs, targets):
            noisy = [gradient(model, inputs + torch.randn_like(inputs), targets) for _ in range(3)]
            return torch.stack(noisy).mean(0)

        @few
        @given(subjects(kinds=["mlp"], batch=2))
        def always_positive(subject):
            assert smooth(subject.model(), subject.inputs(), subject.targets()).sum() > 0.01

        with pytest.raises(AssertionError):
            always_positive()


class TestTypes:
    @settings(max_examples=5, deadline=None, database=None)
    @given(st.data())
    @pytest.mark.parametrize("kind", [UninformativeMap, UninformativeExplainer, SmallSubject])
    def test_are_drawn_by_hypothesis_once_registered(self, kind, data):
        register()
        assert isinstance(data.draw(st.from_type(kind)), kind)

    def test_are_registered_without_torch(self):
        code = (
            "import sys, hypothesis; from pytest_xaisanity.adversaries.hypothesis_types import register; register(); "
        )
        code += "print('torch' in sys.modules, 'numpy' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "False False"

    def test_are_all_offered_by_the_strategies(self):
        assert all(hasattr(strategies, name) for name in strategies.__all__)


PLAIN = "--assert=plain"  # rewriting the plugins' assertions takes each worker longer than its tests
USERS_TEST = """
    import pytest, torch
    from hypothesis import given, settings
    from pytest_xaisanity.adversaries.strategies import subjects, uninformative_explainers, uninformative_maps

    torch.set_num_threads(1)

    @pytest.mark.parametrize("case", range(3))
    @settings(max_examples=10, deadline=None)
    @given(value=uninformative_maps((4, 4)), explainer=uninformative_explainers((6,)), subject=subjects(kinds=["mlp"]))
    def test_holds(case, value, explainer, subject):
        assert explainer(subject.model(), subject.inputs()).shape == (16, 6)

    @settings(max_examples=100, deadline=None)
    @given(value=uninformative_maps((4, 4)))
    def test_fails(value):
        assert value.sign != "both"
"""


@pytest.mark.slow
def test_strategies_work_in_the_tests_of_users_in_random_order_on_two_workers(pytester):
    pytester.makepyfile(USERS_TEST)
    result = pytester.runpytest("-p", "randomly", "-n2", "-p", "no:cacheprovider", PLAIN)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*value=UninformativeMap(sign='both'),*"])


def test_the_plugin_does_not_import_hypothesis():
    code = "import sys, pytest_xaisanity.plugin; print('hypothesis' in sys.modules, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False False"
