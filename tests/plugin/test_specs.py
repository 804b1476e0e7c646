"""SPECs: how they are read, what is found at them, and one clear error for each that stands for nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers.configured import Configured
from pytest_xaisanity.explainers.precomputed import Precomputed
from pytest_xaisanity.explainers.rules.lrp import LRP
from pytest_xaisanity.plugin.options import SPECS
from pytest_xaisanity.plugin.specs.sources import Sources, checked_spec, shown_explainer

FLAGS = {option: f"--xai-{option}" for option in SPECS}

MODULE = """
import torch

loaded = []

class Net(torch.nn.Module):
    def __init__(self, classes=2, *, wide=False):
        super().__init__()
        loaded.append(classes)
        self.layer = torch.nn.Linear(4, classes * (2 if wide else 1))

    def forward(self, x):
        return self.layer(x)

def make(classes, wide=False):
    return Net(classes, wide=wide)

net = Net()
inputs = torch.zeros(3, 4)

def gradient(model, inputs, targets, window=1):
    return inputs * window

def explainer(window):
    return lambda model, inputs, targets: inputs * window

class Explains:
    def __init__(self, factor=1):
        self.factor = factor

    def __call__(self, model, inputs, targets):
        return inputs * self.factor
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a file that is no installed module, which is forgotten afterwards."""
    (tmp_path / "somewhere.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def get(option: str, text: str, folder: Path, **others: str) -> object:
    return Sources({option: text, **others}, FLAGS, folder, 0).get(option)


def error(option: str, text: str, folder: Path, **others: str) -> str:
    with pytest.raises(XaiError) as caught:
        get(option, text, folder, **others)
    assert caught.value.where == FLAGS[option]
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------ grammar


@pytest.mark.parametrize(
    ("option", "text", "read"),
    [
        ("model", "pkg.module:name", ("pkg.module", "name", (), {})),
        ("model", " pkg:Class.make ", ("pkg", "Class.make", (), {})),
        ("model", "a/b.py:make(3, width=2)", ("a/b.py", "make", (3,), {"width": 2})),
        ("model", "timm:hf-hub:owner/name", ("timm", "hf-hub:owner/name", (), {})),
        ("model", "hf:./folder(auto='A:B(')", ("hf", "./folder", (), {"auto": "A:B("})),
        ("inputs", "no/such/folder(size=32)", ("", "no/such/folder", (), {"size": 32})),
        ("explainer", "rules:LRP('epsilon', bias=False)", ("rules", "LRP", ("epsilon",), {"bias": False})),
        ("explainer", "maps:a b (1).npy", None),
        ("explainer", "maps:some/maps.npy", ("maps", "some/maps.npy", (), {})),
    ],
)
def test_a_spec_is_read(option, text, read, tmp_path):
    if read is None:
        with pytest.raises(XaiError, match="parentheses"):
            checked_spec(option, text, where="here", folder=tmp_path)
        return
    spec = checked_spec(option, text, where="here", folder=tmp_path)
    assert (spec.home, spec.name, spec.args, dict(spec.settings)) == read


def test_a_path_that_exists_is_one_whatever_it_looks_like(tmp_path):
    (tmp_path / "a (1): x").mkdir()
    assert checked_spec("inputs", "a (1): x", where="here", folder=tmp_path).name == "a (1): x"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("models", "'models'"),
        ("", "''"),
        (":x", "':x'"),
        ("x:", "'x:'"),
        ("a:b-c", "'a:b-c'"),
        ("a:b(", "a:b("),
        ("a:b(1))", "a:b"),
        ("a:b()()", "a:b"),
        ("a:b(1); import os", "a:b"),
        ("a:b(__import__('os'))", "__import__"),
        ("a:b(x=1, x=2)", "x= twice"),
        ("a:b(**{'x': 1})", "**"),
        ("a:b(wide)", "wide"),
        ("a:b(" + "[" * 5000 + ")", "a:b"),
    ],
)
def test_text_that_is_no_spec_is_one_error_and_nothing_is_evaluated(text, found, tmp_path):
    with pytest.raises(XaiError) as caught:
        checked_spec("model", text, where="here", folder=tmp_path)
    assert found in caught.value.found


def test_an_explainer_is_shown_without_its_home():
    assert shown_explainer("captum:IntegratedGradients(n_steps=32)") == "IntegratedGradients(n_steps=32)"
    assert shown_explainer("maps:some/maps.npy") == "maps.npy"


# ------------------------------------------------------------------------------------------------------------ objects


def test_an_object_a_class_and_a_function_with_arguments_are_found(folder):
    from_file = Sources({"model": "somewhere.py:make(3, wide=True)"}, FLAGS, folder, 0)
    assert from_file.get("model").layer.out_features == 6
    assert from_file.get("model") is from_file.get("model")  # it is made once
    assert get("model", "somewhere:Net", folder).layer.out_features == 2
    assert get("inputs", "somewhere:inputs", folder).shape == (3, 4)
    assert get("model", "somewhere:net.layer", folder) is sys.modules["somewhere"].net.layer


def test_a_file_is_loaded_once_and_is_the_module_of_that_name(folder):
    first = get("model", "somewhere.py:net", folder)
    assert get("model", f"{folder}/somewhere.py:net", folder) is first
    assert get("model", "somewhere:net", folder) is first


def test_a_file_that_raises_is_one_error(folder):
    (folder / "raising.py").write_text("1 / 0\n")
    assert "ZeroDivisionError: division by zero" in error("model", "raising.py:net", folder)
    assert "raising" not in sys.modules


def test_nothing_is_made_when_it_is_only_looked_for(folder):
    sources = Sources({"model": "somewhere.py:Net(5)"}, FLAGS, folder, 0)
    sources.find("model")
    assert 5 not in sys.modules["somewhere"].loaded
    sources.get("model")
    assert 5 in sys.modules["somewhere"].loaded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("somewhere.py:nett", "use 'net'"),
        ("somewher.py:net", "name 'somewhere.py', the nearest"),
        ("nowhere/file.py:net", "check the path"),
        ("torchvison:resnet18", "the nearest here is 'torchvision'"),
        ("somewhere:make", "cannot be called without arguments"),
        ("somewhere:make(1, 2, 3)", "cannot be called with these arguments"),
    ],
)
def test_what_is_not_there_names_the_nearest(folder, text, said):
    assert said in error("model", text, folder)


# -------------------------------------------------------------------------------------------------------------- files


def test_inputs_and_targets_are_read_from_files(tmp_path):
    from safetensors.torch import save_file

    values = torch.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "x.npy", values.numpy())
    torch.save(values, tmp_path / "x.pt")
    save_file({"any": values}, tmp_path / "x.safetensors")
    for ending in ("npy", "pt", "safetensors"):
        sources = Sources({"inputs": f"x.{ending}", "targets": f"x.{ending}"}, FLAGS, tmp_path, 0)
        assert torch.equal(sources.get("inputs"), values)
        assert torch.equal(sources.targets(), values)


def test_a_file_that_cannot_be_read_is_one_error(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "two.pt")
    assert "cannot be read" in error("inputs", "text.npy", tmp_path)
    assert "without pickled objects" in error("inputs", "objects.npy", tmp_path)
    assert "2 entries in 'two.pt'" in error("inputs", "two.pt", tmp_path)
    assert "no file and no folder" in error("inputs", "none.npy", tmp_path)


# --------------------------------------------------------------------------------------------------------- explainers


def test_keywords_of_an_explainer_are_its_settings(folder):
    found = get("explainer", "captum:IntegratedGradients(n_steps=8, name='IG')", folder)
    assert isinstance(found, Configured)
    assert (found.source, dict(found.settings)) == (IntegratedGradients, {"n_steps": 8, "name": "IG"})
    assert get("explainer", "captum:Saliency", folder) is Saliency
    assert get("explainer", "captum.attr:Saliency", folder) is Saliency
    tunnel = get("explainer", "captum:NoiseTunnel(attribution_method='Saliency', nt_samples=2)", folder)
    assert (tunnel.source, tunnel.settings["attribution_method"]) == (NoiseTunnel, Saliency)


def test_an_explainer_with_settings_is_one_for_every_claim(folder):
    """And its name and settings are those that xai.explainer would give it."""
    torch.manual_seed(0)
    bench = Bench(nn.Linear(8, 3), torch.randn(32, 8))
    found = get("explainer", "captum:IntegratedGradients(n_steps=8)", folder)
    verdict = bench.explainer(found).beats("random", on="pixel_flipping")
    assert verdict
    assert verdict.claim.startswith("IntegratedGradients(n_steps=8) beats")
    assert bench.explainer(found, name="IG", n_steps=2).name == "IG"
    with pytest.raises(XaiError, match="n_stepz"):
        bench.explainer(Configured(IntegratedGradients, {"n_stepz": 8})).beats("random", on="pixel_flipping")


def test_rules_are_built_and_functions_take_settings_or_make_explainers(folder):
    assert get("explainer", "rules:LRP('zplus')", folder) == LRP("zplus")
    assert get("explainer", "rules:LRP(rule='zplus')", folder).source is LRP
    settled = get("explainer", "somewhere.py:gradient(window=3)", folder)
    assert (settled.source.__name__, settled.settings) == ("gradient", {"window": 3})
    one = torch.ones(1)
    assert get("explainer", "somewhere.py:explainer(3)", folder)(None, one, None) == 3
    assert get("explainer", "somewhere.py:explainer(window=3)", folder)(None, one, None) == 3
    assert get("explainer", "somewhere.py:Explains", folder)(None, one, None) == 1
    assert get("explainer", "somewhere.py:Explains(factor=2)", folder)(None, one, None) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("captum:Salency", "use 'Saliency'"),
        ("captum:NoiseTunnel(attribution_method='Salency')", "use 'Saliency'"),
        ("rules:LPR", "use 'LRP'"),
        ("zennit:EpsilonPlusFlatt", "use 'EpsilonPlusFlat'"),
        ("somewhere.py:explainer(3, 4)", "cannot be called with these arguments"),
        ("maps:none.npy", "which is no file"),
        ("maps:none.npy(2)", "with settings"),
    ],
)
def test_an_explainer_that_is_none_is_one_error(folder, text, said):
    assert said in error("explainer", text, folder)


def test_a_function_without_arguments_makes_an_explainer(folder):
    (folder / "somewhere.py").write_text(MODULE + "\ndef gradients():\n    return gradient\n")
    made = get("explainer", "somewhere:gradients", folder)
    assert made.__name__ == "gradient"
    assert "that takes other settings; expected settings that it takes" in error(
        "explainer", "somewhere:gradient(wide=3)", folder
    )


def test_maps_in_a_file_are_an_explainer(tmp_path):
    np.save(tmp_path / "maps.npy", np.ones((2, 3)))
    found = get("explainer", "maps:maps.npy", tmp_path)
    assert isinstance(found, Precomputed)
    assert found.name == "maps"


def test_a_library_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "pip install grad-cam" in error("explainer", "cam:GradCAM", tmp_path)
    assert "pip install timm" in error("model", "timm:resnet18", tmp_path)


# ------------------------------------------------------------------------------------------------------------ networks

torchvision = pytest.importorskip("torchvision")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return where torch looks for downloaded weights: nowhere that has any."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


SMALL = "squeezenet1_1"


def small(**settings):
    return torchvision.models.get_model(SMALL, weights=None, **settings)


def test_random_weights_are_the_same_each_time_and_leave_the_generators_alone(tmp_path):
    before = torch.get_rng_state()
    one, two = (get("model", f"torchvision:{SMALL}(weights=None, num_classes=3)", tmp_path) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not one.training
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_weights_come_from_a_file(tmp_path):
    saved = small(num_classes=3)
    torch.save({"state_dict": saved.state_dict()}, tmp_path / "own.pth")
    found = get("model", f"torchvision:{SMALL}(weights='own.pth', num_classes=3)", tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), saved.parameters(), strict=True))
    assert "size mismatch" in error("model", f"torchvision:{SMALL}(weights='own.pth', num_classes=4)", tmp_path)
    torch.save(torch.zeros(2), tmp_path / "tensor.pth")
    assert "a state_dict" in error("model", f"torchvision:{SMALL}(weights='tensor.pth')", tmp_path)


def test_weights_of_the_library_are_taken_from_its_cache_and_never_downloaded(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("a download"))
    said = error("model", f"torchvision:{SMALL}", tmp_path)
    assert "weights IMAGENET1K_V1 are not at" in said
    assert "nothing is downloaded" in said
    assert "weights=None" in said
    url = torchvision.models.get_model_weights(SMALL).DEFAULT.url
    saved = small()
    torch.save(saved.state_dict(), cache / url.rpartition("/")[2])
    for weights in ("", "(weights='DEFAULT')", "(weights='IMAGENET1K_V1')"):
        found = get("model", f"torchvision:{SMALL}{weights}", tmp_path)
        assert torch.equal(found.features[0].weight, saved.features[0].weight)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torchvision:squeezenet1_2", "use 'squeezenet1_1' or 'squeezenet1_0'"),
        (f"torchvision:{SMALL}(weights='IMAGENET1K_V2')", "use 'IMAGENET1K_V1'"),
        (f"torchvision:{SMALL}(weights='none.pth')", "which is no file"),
        (f"torchvision:{SMALL}(weights=None, num_clases=3)", "unexpected keyword argument 'num_clases'"),
        (f"torchvision:{SMALL}(3)", "write it as in num_classes=10"),
    ],
)
def test_a_network_that_is_none_is_one_error(tmp_path, cache, text, said):
    assert said in error("model", text, tmp_path)


class Timm(ModuleType):
    """What of timm a SPEC needs, as its documentation has it."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.made: list[dict[str, object]] = []
        self.models = SimpleNamespace(get_pretrained_cfg=lambda name: SimpleNamespace(**self.config))
        self.data = SimpleNamespace(
            resolve_model_data_config=lambda model: {"size": model.size},
            create_transform=lambda size: lambda image: torch.full((3, size, size), 0.5),
        )
        self.config = {"hf_hub_id": None, "hf_hub_filename": None, "url": "https://host/weights-1.pth"}

    def list_models(self) -> list[str]:
        return ["tiny", "tinier"]

    def create_model(self, name: str, **settings: object) -> nn.Module:
        self.made.append({"name": name, **settings})
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
        net.size = 4
        return net


@pytest.fixture
def timm(monkeypatch):
    module = Timm()
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_networks_of_timm_come_from_the_cache_or_a_file(tmp_path, cache, timm):
    assert "whose weights are in no cache" in error("model", "timm:tiny", tmp_path)
    get("model", "timm:tiny.tag(weights=None, in_chans=1)", tmp_path)
    assert timm.made[-1] == {"name": "tiny.tag", "pretrained": False, "in_chans": 1}
    torch.save({"w": torch.zeros(1)}, cache / "weights-1.pth")
    get("model", "timm:tiny", tmp_path)
    overlay = {"file": str(cache / "weights-1.pth")}
    assert timm.made[-1] == {"name": "tiny", "pretrained": True, "pretrained_cfg_overlay": overlay}
    torch.save({"w": torch.zeros(1)}, tmp_path / "own.pth")
    for setting in ("weights", "checkpoint_path"):
        get("model", f"timm:tiny({setting}='own.pth')", tmp_path)
        assert timm.made[-1] == {"name": "tiny", "pretrained": False, "checkpoint_path": str(tmp_path / "own.pth")}
    assert "use 'tiny' or 'tinier'" in error("model", "timm:tinyy", tmp_path)
    assert "which is no file" in error("model", "timm:tiny(weights='none.pth')", tmp_path)


def saved_bert(folder: Path) -> object:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=8, num_labels=3, **sizes)
    model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder)
    return model


@pytest.mark.long
def test_networks_of_transformers_come_from_a_folder(tmp_path):
    saved = saved_bert(tmp_path / "bert")
    found = get("model", "hf:./bert", tmp_path)
    assert type(found) is type(saved)
    assert torch.equal(found.classifier.weight, saved.classifier.weight)
    as_named = get("model", "hf:bert(auto='AutoModelForSequenceClassification')", tmp_path)
    assert torch.equal(as_named.classifier.weight, saved.classifier.weight)
    assert "nearest known" in error("model", "hf:bert(auto='AutoModelForSequenceClasification')", tmp_path)
    saved.bert.save_pretrained(tmp_path / "headless")
    assert "which has no head" in error("model", "hf:./headless", tmp_path)
    assert "hf download" in error("model", "hf:no_such_folder", tmp_path)


# -------------------------------------------------------------------------------------------------------------- images


def draw(file: Path, color: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (40, 30)) -> None:
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(file)


@pytest.fixture
def images(tmp_path):
    for number in range(3):
        draw(tmp_path / "flat" / f"{number}.png", (100 * number, 0, 0))
    for place, name in enumerate(("tench", "goldfish", "great_white_shark")):
        draw(tmp_path / "named" / name / "deeper" / "a.jpg", (0, 100 * place, 0))
        draw(tmp_path / "numbers" / str(7 - place) / "a.png")
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    return tmp_path


NETWORK = f"torchvision:{SMALL}(weights=None)"


def test_images_are_prepared_as_the_network_asks(images, cache):
    sources = Sources({"inputs": "flat", "model": NETWORK}, FLAGS, images, 0)
    inputs = sources.get("inputs")
    prepare = torchvision.models.get_model_weights(SMALL).DEFAULT.transforms()
    from PIL import Image

    expected = torch.stack([prepare(Image.open(images / "flat" / f"{n}.png")) for n in range(3)])
    assert torch.equal(inputs, expected)
    assert sources.targets() is None
    assert sources.words == []


def test_images_of_a_network_that_says_nothing_are_prepared_as_for_imagenet_with_a_word(images):
    sources = Sources({"inputs": "flat"}, FLAGS, images, 0)
    assert sources.get("inputs").shape == (3, 3, 224, 224)
    red = (100 / 255 - 0.485) / 0.229
    assert sources.get("inputs")[1, 0].mean() == pytest.approx(red, abs=0.02)
    (word,) = sources.words
    assert "as for ImageNet" in word
    own = Sources({"inputs": "flat(size=8, mean=(0,), std=(1,))"}, FLAGS, images, 0)
    assert own.get("inputs").shape == (3, 1, 8, 8)
    assert own.words == []


def test_folders_are_classes_by_name_by_number_or_in_order(images, cache):
    url = torchvision.models.get_model_weights(SMALL).DEFAULT.url
    torch.save(small().state_dict(), cache / url.rpartition("/")[2])
    named = Sources({"inputs": "named(size=64)", "model": f"torchvision:{SMALL}"}, FLAGS, images, 0)
    assert named.targets().tolist() == [1, 2, 0]  # goldfish, great white shark, tench
    numbers = Sources({"inputs": "numbers(size=64)"}, FLAGS, images, 0)
    assert numbers.targets().tolist() == [5, 6, 7]
    three = f"torchvision:{SMALL}(weights=None, num_classes=3)"
    order = Sources({"inputs": "named(size=64)", "model": three}, FLAGS, images, 0)
    assert order.targets().tolist() == [0, 1, 2]
    draw(images / "named" / "goldfsh" / "a.png")
    with pytest.raises(XaiError, match="call it 'goldfish', the nearest class"):
        Sources({"inputs": "named(size=64)", "model": f"torchvision:{SMALL}"}, FLAGS, images, 0).targets()


def test_of_many_images_some_are_drawn_the_same_each_time(images):
    for number in range(20):
        draw(images / "many" / f"{number:02}.png", (10 * number, 0, 0))
    taken = [Sources({"inputs": "many(size=8, limit=5)"}, FLAGS, images, seed) for seed in (0, 0, 1)]
    first, again, other = (one.get("inputs") for one in taken)
    assert len(first) == 5
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert "5 of 20 images are taken" in taken[0].words[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("falt", "use 'flat', the nearest"),
        ("./falt", "name 'flat', the nearest"),
        ("empty", "no image in"),
        ("flat(sise=3)", "use 'size'"),
        ("flat(size=0)", "above 0"),
        ("flat(3)", "size="),
        ("broken", "of which no input could be made"),
    ],
)
def test_a_folder_that_is_none_is_one_error(images, text, said):
    (images / "empty").mkdir()
    (images / "broken").mkdir()
    (images / "broken" / "a.png").write_text("no image")
    assert said in error("inputs", text, images)
