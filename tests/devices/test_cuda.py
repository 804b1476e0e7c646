"""What is decided on an accelerator is what is decided on the processor, and the model comes back from it.

The other tests run on the processor, on whatever machine. With ``CUDA_VISIBLE_DEVICES`` set, these run too.
"""

from __future__ import annotations

import pytest
import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from model_state import state_of
from sentences import READERS, sentences
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity import explainers as rules
from pytest_xaisanity.adversaries.uninformative import UninformativeExplainer
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.interventions import INTERVENTIONS
from pytest_xaisanity.evidence.metrics import METRICS
from pytest_xaisanity.maps.similarity import SIMILARITIES

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator, or none is visible"),
    pytest.mark.filterwarnings("ignore"),
]


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 12), nn.ReLU(), nn.Linear(12, 4)).eval()


IMAGES = torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = network()(IMAGES).argmax(1)


def train(model, inputs, labels, seed):
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    model.train()
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model


def state(model):
    """Return all that is to come back; what is first imported meanwhile may add filters of warnings."""
    return {name: value for name, value in state_of(model).items() if name != "warnings"}


def both(claim, source=InputXGradient, inputs=IMAGES, model=None, **settings):
    """Return what ``claim`` finds on the processor and on the accelerator: verdicts, or errors of the same kind."""
    found = []
    for device in ("cpu", "cuda"):
        subject = network() if model is None else model()
        before = state(subject)
        bench = Bench(subject, inputs, device=device, train=train, training_data=(IMAGES, LABELS), **settings)
        keywords = {"abs": False} if source is Saliency else {}
        try:
            found.append(claim(bench.explainer(source, **keywords)))
        except XaiError as error:
            found.append(error)
        assert state(subject) == before
    return found


def check_alike(here, there):
    if isinstance(here, XaiError):
        assert isinstance(there, XaiError), there
        return
    assert not isinstance(there, XaiError), there
    assert there.estimate == pytest.approx(here.estimate, abs=0.06, nan_ok=True)
    near = min(abs(here.interval[0] - here.estimate), abs(here.interval[1] - here.estimate)) < 0.06
    assert near or (here.passed, here.failed) == (there.passed, there.failed)


@pytest.mark.parametrize("name", [*INTERVENTIONS])
def test_interventions(name):
    verb = {"batch_order": "invariant_under", "input_shift": "invariant_under", "no_op_layer": "invariant_under"}
    check_alike(*both(lambda it: getattr(it, verb.get(name, "changes_under"))(name), Saliency))


@pytest.mark.parametrize("name", [*METRICS])
def test_metrics(name):
    bound = {"at_most": 0.9} if name == "cosine_similarity_convergence" else {"at_least": 0.1}
    check_alike(*both(lambda it: it.bounded(name, **bound)))


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "recorded"])  # which takes a file
def test_baselines(name):
    check_alike(*both(lambda it: it.beats(name, on="pixel_flipping")))


@pytest.mark.parametrize("imputer", ["constant", "mean", "blur", "noise", "uniform", "noisy_linear"])
def test_imputers(imputer):
    check_alike(*both(lambda it: it.beats("random", on="pixel_flipping", imputer=imputer)))


@pytest.mark.parametrize("name", [*SIMILARITIES])
def test_similarities(name):
    check_alike(*both(lambda it: it.changes_under("cascading_randomization", similarity=name)))


EXPLAINERS = {
    "Saliency": Saliency,
    "IntegratedGradients": IntegratedGradients,
    "GuidedBackprop": GuidedBackprop,
    "DeepLift": DeepLift,
    "Occlusion": lambda m, x, t: Occlusion(m).attribute(x, (2, 2, 2), target=t),
    "FeatureAblation": FeatureAblation,
    "LayerGradCam": lambda m, x, t: LayerGradCam(m, m[3]).attribute(x, target=t),
    "GradientShap": lambda m, x, t: GradientShap(m).attribute(x, torch.zeros_like(x), target=t),
    "NoiseTunnel": lambda m, x, t: NoiseTunnel(Saliency(m)).attribute(x, target=t, nt_samples=4),
    "KernelShap": lambda m, x, t: KernelShap(m).attribute(x, target=t, n_samples=20),
    "Lime": lambda m, x, t: Lime(m).attribute(x, target=t, n_samples=20),
    "LRP": rules.LRP(),
    "LRP z+": rules.LRP("zplus"),
    "DeepLIFT by rules": rules.DeepLift(),
    "Guided Backprop by rules": rules.GuidedBackprop(),
    "RectGrad": rules.RectGrad(),
    "noise": UninformativeExplainer(),
}


@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainers(name):
    if name != "NoiseTunnel":  # whose numbers are drawn on the device: other ones, where few of them are averaged
        check_alike(*both(lambda it: it.changes_under("cascading_randomization"), EXPLAINERS[name], IMAGES[:32]))
    check_alike(*both(lambda it: it.invariant_under("batch_order"), EXPLAINERS[name], IMAGES[:16]))


def test_smoothed_maps():
    check_alike(*both(lambda it: it.changes_under("cascading_randomization", samples=4), Saliency))


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("imputer", ["padding", "zero_embedding", "deletion"])
def test_tokens(kind, imputer):
    """Of recurrent networks too, through which cuDNN sends no gradients in evaluation mode."""
    inputs = sentences(32)
    check_alike(
        *both(
            lambda it: it.beats("random", on="pixel_flipping", imputer=imputer),
            inputs=inputs,
            model=lambda: READERS[kind]().eval(),
        )
    )
    check_alike(
        *both(
            lambda it: it.changes_under("cascading_randomization"), inputs=inputs, model=lambda: READERS[kind]().eval()
        )
    )


@pytest.mark.parametrize("imputer", ["marginal", "conditional_mean"])
def test_tables(imputer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 3)]
    rows = torch.randn(64, 9, generator=torch.Generator().manual_seed(2))
    check_alike(
        *both(
            lambda it: it.beats("random", on="pixel_flipping", imputer=imputer),
            inputs=rows,
            model=lambda: nn.Sequential(*layers).eval(),
        )
    )


@pytest.mark.parametrize("groups", [torch.arange(64).reshape(8, 8) // 4, (torch.arange(64).reshape(8, 8) // 8).numpy()])
def test_segmentations_may_lie_where_they_like(groups):
    check_alike(*both(lambda it: it.beats("random", on="pixel_flipping", groups=groups)))


def test_streams():
    for device in ("cpu", "cuda"):
        bench = Bench(network(), [IMAGES[:20], IMAGES[20:50], IMAGES[50:]], device=device)
        assert bench.explainer(InputXGradient).invariant_under("batch_order")
    check_alike(*both(lambda it: it.changes_under("cascading_randomization"), inputs=[IMAGES[:30], IMAGES[30:]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model, inputs = network().to(dtype), IMAGES.to(dtype)
    for claim in (
        lambda it: it.changes_under("cascading_randomization"),
        lambda it: it.beats("random", on="pixel_flipping"),
    ):
        verdict = claim(Bench(model, inputs, device="cuda").explainer(InputXGradient))
        assert verdict.n > 0


def test_what_has_no_room_is_halved_until_it_has():
    """A pass that takes more than the device has is run in smaller parts, with the same scores."""
    big = nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 3)).eval()
    torch.cuda.empty_cache()
    inputs = IMAGES.repeat(4, 1, 1, 1)
    whole = Bench(big, inputs, device="cuda").explainer(InputXGradient).beats("random", on="pixel_flipping")
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(max(40e6, torch.cuda.memory_allocated() + 12e6) / total)
    try:
        parts = Bench(big, inputs, device="cuda").explainer(InputXGradient).beats("random", on="pixel_flipping")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert parts.estimate == pytest.approx(whole.estimate, abs=0.02)
    assert parts.passed == whole.passed


def test_quantized_weights_stay_on_the_processor():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval())
    inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(3))
    assert Bench(model, inputs).explainer(FeatureAblation).invariant_under("batch_order").n == 16


def test_an_explainer_that_is_bound_to_the_model_is_moved_with_it():
    model = network()
    assert Bench(model, IMAGES).explainer(InputXGradient(model)).invariant_under("batch_order")
    assert next(model.parameters()).device.type == "cpu"


def drawing(model, inputs, targets):
    return torch.randn_like(inputs)


def test_generators_come_back():
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    Bench(network(), IMAGES, device="cuda").explainer(drawing).beats("random", on="pixel_flipping")
    assert torch.equal(before[0], torch.cuda.get_rng_state())
    assert torch.equal(before[1], torch.get_rng_state())


def test_the_same_seed_gives_the_same_verdict_twice():
    def once():
        bench = Bench(network(), IMAGES, device="cuda")
        return bench.explainer(InputXGradient).changes_under("cascading_randomization").estimate

    assert once() == once()
