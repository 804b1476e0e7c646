"""Fixes that errors advise: each is provoked, followed to the letter, and works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import (
    Deconvolution as CaptumDeconvolution,
)
from captum.attr import (
    FeatureAblation,
    FeaturePermutation,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_xaisanity import Bench, beats, gap
from pytest_xaisanity.adversaries.strategies import subjects, uninformative_maps
from pytest_xaisanity.bench.audit import checked_mutants
from pytest_xaisanity.bench.bench import BoundExplainer
from pytest_xaisanity.claims.written import read
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.base import MapMetric, Scores
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.explainers import LRP, Deconvolution, DeepLift, PatternAttribution, RectGrad, estimate_patterns
from pytest_xaisanity.maps.similarity import spearman, ssim
from pytest_xaisanity.maps.uninformative import UninformativeMap
from pytest_xaisanity.model.reinit.distributions import TruncatedNormal
from pytest_xaisanity.report.file import check_file

X = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(20) % 3


def linear(outputs=3, *tail):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, outputs), *tail).eval()


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).eval()


class Wrapped(nn.Module):
    """The linear network, its output made something else."""

    def __init__(self, made, net=None):
        super().__init__()
        self.net, self.made = net or linear(), made

    def forward(self, *inputs):
        return self.made(self.net, *inputs)


def wrapped(made, net=None):
    return Wrapped(made, net).eval()


def times(model, inputs, targets):
    return inputs * 2


def claim(inputs=X, targets=None, model=None, source=times, *, settings=None, **bench):
    """Decide a cheap claim."""
    made = Bench(model or linear(), inputs, targets, device=bench.pop("device", "cpu"), **bench)
    return made.explainer(source, **(settings or {})).invariant_under("batch_order")


def verb(name, subject, source=times, model=None, inputs=X, **settings):
    return getattr(Bench(model or linear(), inputs, device="cpu").explainer(source), name)(subject, **settings)


def flipping(on="pixel_flipping", **settings):
    return verb("beats", "random", on=on, **settings)


def gradients(model, inputs, targets):
    inputs = inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


class Tokens(nn.Module):
    """Embeds ids, and reads the mean."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(torch.tanh(self.embed(ids)).mean(1))


IDS = torch.randint(1, 10, (20, 6), generator=torch.Generator().manual_seed(2))
FRAME = pd.DataFrame(X.numpy(), columns=list("abcde"))
MODEL = linear()


class Fix(NamedTuple):
    """What is refused, what the error advises, and what follows it."""

    advice: str
    wrong: object
    mended: object


def trained(model, x, t):
    model.train()
    return x * 2


def changed(model, x, t):
    model[0].weight.data.add_(1)
    return x * 2


def with_dropout(training):
    return wrapped(lambda net, x: nn.functional.dropout(net(x), 0.5, training=training))


SUBJECTS = [
    Fix("set xai_features (Bench(features=))", lambda: claim(features=["a"]), lambda: claim(features=list("abcde"))),
    Fix("rename them", lambda: claim(FRAME.set_axis(list("aacde"), axis=1)), lambda: claim(FRAME)),
    Fix(
        "frame.to_numpy()",
        lambda: claim(FRAME.set_axis(list("aacde"), axis=1)),
        lambda: claim(FRAME.set_axis(list("aacde"), axis=1).to_numpy()),
    ),
    Fix(
        "pandas.get_dummies(frame, dtype=float)",
        lambda: claim(FRAME[list("abc")].assign(d=["x", "y"] * 10)),
        lambda: claim(pd.get_dummies(FRAME[list("abc")].assign(d=["x", "y"] * 10), dtype=float)),
    ),
    Fix("impute these columns", lambda: claim(FRAME.mask(FRAME > 1)), lambda: claim(FRAME.mask(FRAME > 1).fillna(0.0))),
    Fix("check the weights", lambda: claim(model=linear(3, nn.Threshold(0, float("inf")))), claim),
    Fix("turn its sampling off", lambda: claim(model=with_dropout(True)), lambda: claim(model=with_dropout(False))),
    Fix("give the model itself, made and loaded", lambda: claim(model=nn.Linear), claim),
    Fix(
        "call it once on a batch", lambda: claim(model=nn.LazyLinear(3)), lambda: claim(model=called(nn.LazyLinear(3)))
    ),
    Fix("call the model by hand", lambda: claim(model=convolutional()), lambda: claim(IMAGES, model=convolutional())),
    Fix(
        "encode what it holds as numbers",
        lambda: claim(X, np.array(["cat", "dog"] * 10)),
        lambda: claim(X, np.array([0, 1] * 10)),
    ),
    Fix(
        "fill what is masked: array.filled(0.0)",
        lambda: claim(np.ma.masked_greater(X.numpy(), 1)),
        lambda: claim(np.ma.masked_greater(X.numpy(), 1).filled(0.0)),
    ),
    Fix("to_dense()", lambda: claim(X.to_sparse()), lambda: claim(X.to_sparse().to_dense())),
    Fix(
        "name the field: a fixture xai_output that returns 'scores'",
        lambda: claim(model=wrapped(lambda net, x: {"scores": net(x), "hidden": net[0](x)})),
        lambda: claim(model=wrapped(lambda net, x: {"scores": net(x), "hidden": net[0](x)}), output="scores"),
    ),
    Fix("leave xai_output out", lambda: claim(output="scores"), claim),
    Fix("return one of these from xai_output", lambda: claim(output=1.5), claim),
    Fix(
        "call it by hand on what the model returns",
        lambda: claim(output=lambda result: result["scores"]),
        lambda: claim(output=lambda result: result),
    ),
    Fix(
        "squeeze(1)",
        lambda: claim(X[:16], model=wrapped(lambda net, x: net(x).squeeze(), linear(1)), source=noisy),
        lambda: claim(X[:16], model=wrapped(lambda net, x: net(x).squeeze(1), linear(1)), source=noisy),
    ),
    Fix("choose --xai-device=auto or cpu", lambda: claim(device="cuda:99"), lambda: claim(device="auto")),
    Fix("use the same numbering", lambda: claim(X, LABELS + 1), lambda: claim(X, LABELS)),
    Fix(
        "set xai_task to 'multilabel'",
        lambda: claim(X, torch.ones(20, 3), task="classification"),
        lambda: claim(X, torch.ones(20, 3), task="multilabel"),
    ),
    Fix(
        "leave these inputs out",
        lambda: claim(X, nn.functional.one_hot(LABELS, 3) * (LABELS > 0)[:, None]),
        lambda: claim(X[LABELS > 0], nn.functional.one_hot(LABELS, 3)[LABELS > 0]),
    ),
    Fix("leave xai_targets out", lambda: claim(X, LABELS, linear(1)), lambda: claim(X, None, linear(1))),
    Fix("return as many targets", lambda: claim(X, LABELS[:7]), lambda: claim(X, LABELS)),
    Fix("return a list rather than a tuple", lambda: claim((X[:12], X[12:])), lambda: claim([X[:12], X[12:]])),
    Fix(
        "wrap a Dataset in a DataLoader",
        lambda: claim(TensorDataset(X)),
        lambda: claim(DataLoader(TensorDataset(X), batch_size=5)),
    ),
    Fix("return a batch (N, ...)", lambda: claim(X[:0]), claim),
    Fix("set xai_axes (Bench(axes=))", lambda: claim(axes="NQ"), lambda: claim(axes="NF")),
    Fix("name the inputs that are explained", lambda: claim(explain=3), lambda: claim(explain=0)),
    Fix(
        "clean or impute the inputs",
        lambda: claim(IMAGES / 0, model=convolutional()),
        lambda: claim(IMAGES, model=convolutional()),
    ),
    Fix(
        "stream [inputs, targets] lists",
        lambda: claim([X[:12], X[12:]], LABELS[:13]),
        lambda: claim([[X[:12], LABELS[:12]], [X[12:], LABELS[12:]]]),
    ),
    Fix("name another path", lambda: claim(cache_dir=__file__), lambda: claim(cache_dir=__file__ + ".cache")),
    Fix("return the function itself from the fixture", lambda: retrained(3), lambda: retrained(train)),
]


def called(model):
    model(X)
    return model


EXPLAINERS = [
    Fix(
        "leave abs= out",
        lambda: claim(source=DeepLift("rescale"), settings={"abs": 1}),
        lambda: claim(source=DeepLift("rescale")),
    ),
    Fix(
        "override xai_targets",
        lambda: claim(source=Saliency, settings={"target": 1}),
        lambda: claim(X, LABELS * 0 + 1, source=Saliency),
    ),
    Fix(
        "pass layer=... beside the class, a module or its name",
        lambda: claim(IMAGES, model=convolutional(), source=LayerGradCam),
        lambda: claim(IMAGES, model=convolutional(), source=LayerGradCam, settings={"layer": "0"}),
    ),
    Fix(
        "give its name, as in named_modules()",
        lambda: claim(IMAGES, model=convolutional(), source=LayerGradCam, settings={"layer": nn.Conv2d(1, 2, 3)}),
        lambda: claim(IMAGES, model=convolutional(), source=LayerGradCam, settings={"layer": "0"}),
    ),
    Fix("pass the class instead", lambda: claim(source=Saliency(linear())), lambda: claim(source=Saliency)),
    Fix("pass an object of it", lambda: claim(source=Own), lambda: claim(source=Own())),
    Fix("wrap it in a function", lambda: claim(source="saliency"), lambda: claim(source=lambda model, x, t: x * 2)),
    Fix(
        "leave multiplier= out",
        lambda: claim(source=Occlusion, settings=WINDOW | {"multiplier": "with"}),
        lambda: claim(source=Occlusion, settings=WINDOW),
    ),
    Fix(
        "change multiplier=",
        lambda: claim(source=Saliency, settings={"multiplier": "?"}),
        lambda: claim(source=Saliency, settings={"multiplier": "with"}),
    ),
    Fix(
        "leave multiply_by_inputs= out",
        lambda: claim(source=IntegratedGradients, settings={"multiplier": "with", "multiply_by_inputs": False}),
        lambda: claim(source=IntegratedGradients, settings={"multiplier": "with"}),
    ),
    Fix(
        "pass the class instead: xai.explainer(Saliency, multiplier=...)",
        lambda: claim(model=MODEL, source=Saliency(MODEL), settings={"multiplier": "with"}),
        lambda: claim(model=MODEL, source=Saliency, settings={"multiplier": "with"}),
    ),
    Fix("choose one: Saliency", lambda: claim(source=Saliency.__mro__[1]), lambda: claim(source=Saliency)),
    Fix(
        "choose a method that needs no other inputs (FeatureAblation",
        lambda: claim(source=FeaturePermutation),
        lambda: claim(source=FeatureAblation),
    ),
    Fix("leave model.train() out", lambda: claim(source=trained), claim),
    Fix(
        "work on a copy of the model",
        lambda: claim(source=changed),
        lambda: claim(source=lambda m, x, t: changed(__import__("copy").deepcopy(m), x, t)),
    ),
    Fix("return a copy", lambda: claim(source=lambda m, x, t: x), lambda: claim(source=lambda m, x, t: x.clone())),
    Fix(
        "return a tensor or an array of numbers",
        lambda: claim(source=lambda m, x, t: "map"),
        lambda: claim(source=lambda m, x, t: x.numpy() * 2),
    ),
    Fix("reduce or upsample", lambda: claim(source=lambda m, x, t: x[:, :2]), claim),
    Fix(
        "in the order of the inputs",
        lambda: claim(source=lambda m, x, t: (x * 2, x * 3)),
        lambda: claim(source=lambda m, x, t: (x * 2,)),
    ),
    Fix("look for a division by zero", lambda: claim(source=lambda m, x, t: x / 0), claim),
    Fix("check targets, baselines and the head", lambda: claim(source=lambda m, x, t: x * 0), claim),
    Fix(
        "requires_grad_() on the inputs",
        lambda: claim(source=lambda m, x, t: torch.autograd.grad(m(x).sum(), x)[0]),
        lambda: claim(source=gradients),
    ),
    Fix("leave reduction= out", lambda: claim(settings={"reduction": "l2"}), claim),
    Fix(
        "name it in xai_embedding",
        lambda: claim(IDS, model=Tokens().eval(), source=Saliency),
        lambda: claim(IDS, model=Tokens().eval(), source=Saliency, embedding="embed"),
    ),
    Fix(
        "choose a perturbation method",
        lambda: claim(IDS, model=Tokens().eval(), source=Saliency),
        lambda: claim(IDS, model=Tokens().eval(), source=FeatureAblation),
    ),
    Fix(
        "return its name from xai_embedding",
        lambda: claim(IDS, model=Tokens().eval(), embedding=nn.Embedding(10, 4)),
        lambda: claim(IDS, model=Tokens().eval(), embedding="embed"),
    ),
    Fix("pass 98", lambda: RectGrad(percentile=100), lambda: RectGrad(percentile=98)),
    Fix("pass the inputs' range", lambda: LRP("zbox"), lambda: LRP("zbox", low=-3.0, high=3.0)),
    Fix(
        "a first axis of 1",
        lambda: claim(source=IntegratedGradients, settings={"baselines": X[:7]}),
        lambda: claim(source=IntegratedGradients, settings={"baselines": X[:1]}),
    ),
    Fix(
        "give baselines= a row for each input",
        lambda: claim(source=IntegratedGradients, settings={"baselines": X[:7]}),
        lambda: claim(source=IntegratedGradients, settings={"baselines": X.flip(0)}),
    ),
    Fix(
        "functools.partial",
        lambda: claim(source=with_table, settings={"table": X}),
        lambda: claim(source=__import__("functools").partial(with_table, table=X)),
    ),
]
WINDOW = {"sliding_window_shapes": (1,)}


def with_table(model, x, t, table):
    return x * table.mean()


class Own:
    """An explainer of one's own."""

    def __call__(self, model, inputs, targets):
        return inputs * 2


def rival(bench):
    """Beat an explainer of a bench, of the same bench or another."""
    own = Bench(MODEL, X, device="cpu")
    return own.explainer(times).beats((bench or own).explainer(lambda m, x, t: x * 3), on="pixel_flipping")


CLAIMS = [
    Fix(
        "change seeds=",
        lambda: verb("changes_under", "later_layers", seeds=0),
        lambda: verb("changes_under", "later_layers", seeds=1),
    ),
    Fix(
        "pass steps to PixelFlipping(...) instead",
        lambda: flipping(PixelFlipping(), steps=4),
        lambda: flipping(PixelFlipping(steps=4)),
    ),
    Fix(
        "make it with this bench's explainer(...)",
        lambda: rival(Bench(linear(), X + 1, device="cpu")),
        lambda: rival(None),
    ),
    Fix("change std=", lambda: TruncatedNormal(std=-1), lambda: TruncatedNormal(std=0.1)),
    Fix(
        "pass [1.0]",
        lambda: uninformative_maps((6, 6), amplitudes=[]),
        lambda: uninformative_maps((6, 6), amplitudes=[1.0]),
    ),
    Fix("pass (height, width) or (features,)", lambda: uninformative_maps("six"), lambda: uninformative_maps((6,))),
    Fix("pass [2]", lambda: subjects(classes=[]), lambda: subjects(classes=[2])),
    Fix(
        "change cut=",
        lambda: verb("changes_under", "later_layers", cut="2"),
        lambda: verb("changes_under", "later_layers", cut="0"),
    ),
    Fix(
        "return them from the fixture, or give them to Bench(training_data=)",
        lambda: verb("changes_under", "label_randomization"),
        lambda: retrained(train),
    ),
    Fix(
        "return a function of these three arguments", lambda: retrained(lambda inputs: MODEL), lambda: retrained(train)
    ),
    Fix(
        "change reinit=",
        lambda: verb("changes_under", "later_layers", reinit=3),
        lambda: verb("changes_under", "later_layers", reinit="truncated_normal"),
    ),
]


def train(inputs, targets, seed):
    """Return the least-squares classifier on 200 random features, which learns whatever labels there are."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 200), nn.Tanh(), nn.Linear(200, 3, bias=False)).eval()
    with torch.no_grad():
        features = model[:2](inputs * 5).double()
        labels = nn.functional.one_hot(targets, 3).double()
        model[0].weight *= 5
        model[2].weight.copy_(torch.linalg.lstsq(features, labels).solution.T)
    return model


POINTS = torch.randn(520, 5, generator=torch.Generator().manual_seed(3))
CLASSES = POINTS[:, :3].argmax(1)
DATA = (POINTS[:120], CLASSES[:120], POINTS[120:], CLASSES[120:])


def retrained(function=train, data=DATA, model=None):
    """Decide what takes trainings, two and three times."""
    bench = Bench(model or train(*DATA[:2], 0), X, device="cpu", train=function, training_data=data)
    return bench.explainer(gradients).changes_under("label_randomization", seeds=3)


def noisy(model, inputs, targets):
    return inputs * torch.rand_like(inputs) * model(inputs).detach()[:, None]


@dataclass(frozen=True)
class Score(MapMetric):
    """A metric of others: what it returns is made of the maps ``(b, 5)``."""

    made: object = None
    name: ClassVar[str] = "score"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    higher_is_better: ClassVar[bool] = True

    def prepare(self, subject, block):
        return block

    def score(self, prepared, maps, *, draw):
        return self.made(maps)


def scored(made, **settings):
    return verb("bounded", Score(made), at_most=0.9, **settings)


def written(text):
    return read(text, where="--xai-claim")


def path(*names):
    return check_file("--xai-json", Path(__file__).parent.joinpath(*names)) or True


BOX = UninformativeMap(match="input")
OTHERS = [
    Fix(
        "return Scores",
        lambda: scored(lambda maps: maps.mean(1)),
        lambda: scored(lambda maps: Scores(maps.tanh().mean(1), {})),
    ),
    Fix(
        "widen low and high",
        lambda: scored(lambda maps: Scores(maps.sum(1) * 9, {})),
        lambda: scored(lambda maps: Scores((maps.sum(1) * 9).clip(-1, 1), {})),
    ),
    Fix(
        "use 0.95 or 0.99",
        lambda: verb("bounded", "pixel_flipping", at_most=0.9, confidence=2),
        lambda: verb("bounded", "pixel_flipping", at_most=0.9, confidence=0.99),
    ),
    Fix("change early=", lambda: flipping(early="yes"), lambda: flipping(early=False)),
    Fix(
        "claim invariant_under of it",
        lambda: verb("changes_under", "batch_order"),
        lambda: verb("invariant_under", "batch_order"),
    ),
    Fix(
        "claim changes_under of it",
        lambda: verb("invariant_under", "other_target"),
        lambda: verb("changes_under", "other_target"),
    ),
    Fix(
        "claim bounded(...) of it",
        lambda: flipping("efficient_mprt"),
        lambda: verb("bounded", "efficient_mprt", at_least=0.1),
    ),
    Fix("write PixelFlipping(...)", lambda: flipping(PixelFlipping), lambda: flipping(PixelFlipping())),
    Fix(
        "choose among",
        lambda: verb("beats", 3, on="pixel_flipping"),
        lambda: verb("beats", "random", on="pixel_flipping"),
    ),
    Fix(
        "claim changes_under('cascading_randomization') instead",
        lambda: verb("changes_under", "other_target", model=linear(1), source=lambda m, x, t: x * 2),
        lambda: verb("changes_under", "cascading_randomization", model=linear(1)),
    ),
    Fix("test a classifier", lambda: single(1), lambda: retrained(train)),
    Fix(
        "leave the claim out for a model that is smooth already",
        lambda: verb("changes_under", "smoothed"),
        lambda: verb("changes_under", "smoothed", model=RELU),
    ),
    Fix("give more inputs", lambda: flipping(inputs=X[:3]), flipping),
    Fix(
        'leave within="target" out',
        lambda: flipping(model=linear(1), within="target"),
        lambda: flipping(model=linear(1)),
    ),
    Fix(
        "use the imputer 'mean', 'constant' or 'noise'",
        lambda: flipping(imputer="blur"),
        lambda: flipping(imputer="constant"),
    ),
    Fix(
        "change groups=", lambda: flipping(groups=torch.ones(7)), lambda: flipping(groups=torch.tensor([0, 0, 1, 1, 2]))
    ),
    Fix(
        "try window=7",
        lambda: ssim(IMAGES, IMAGES, window=4),
        lambda: ssim(IMAGES.repeat(1, 1, 2, 2), IMAGES.repeat(1, 1, 2, 2), window=7),
    ),
    Fix("such as 'spearman' or 'cosine'", lambda: ssim(X, X), lambda: spearman(X, X)),
    Fix("reduce channels the same way", lambda: spearman(X, X[:, :3]), lambda: spearman(X, X)),
    Fix(
        "as magnitudes=",
        lambda: BOX.render((5,), seed=0, indices=(0,)),
        lambda: BOX.render((5,), seed=0, indices=(0,), magnitudes=X[:1].abs()),
    ),
    Fix(
        "use it as it is",
        lambda: BoundExplainer(BENCH, BENCH.explainer(times)),
        lambda: BENCH.explainer(times).invariant_under("batch_order"),
    ),
    Fix(
        "make one with pytest_xaisanity.beats(...)",
        lambda: BENCH.explainer(times).decide("random"),
        lambda: BENCH.explainer(times).decide(beats("random", on="pixel_flipping")),
    ),
    Fix("pass seed=0", lambda: claim(seed="x"), lambda: claim(seed=0)),
    Fix(
        "name them apart with explainer(..., name=)",
        lambda: gap(BENCH, [BENCH.explainer(times), BENCH.explainer(times)]),
        lambda: gap(
            BENCH,
            [BENCH.explainer(times, name="a"), BENCH.explainer(gradients, name="b"), BENCH.explainer(Saliency)],
            ("spearman",),
        ),
    ),
    Fix("make the folder first", lambda: path("nowhere", "report.json"), lambda: path("report.json")),
    Fix("add the name of a file", lambda: path(), lambda: path("report.json")),
    Fix(
        "or leave it out to look for counterexamples",
        lambda: verb("invariant_under", "batch_order", similarity="cosine", at_least=0.1, tolerance=0.1),
        lambda: verb("invariant_under", "batch_order", tolerance=0.1),
    ),
    Fix(
        "bound the raw similarity with at_most=",
        lambda: verb("changes_under", "later_layers", similarity="cosine", at_most=0.5, retention=0.4),
        lambda: verb("changes_under", "later_layers", similarity="cosine", at_most=0.5),
    ),
    Fix(
        "name one, or leave similarity= out",
        lambda: verb("changes_under", "later_layers", similarity=()),
        lambda: verb("changes_under", "later_layers"),
    ),
]
BENCH = Bench(MODEL, X, device="cpu")
RELU = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def single(outputs):
    bench = Bench(linear(outputs), X, device="cpu", train=lambda x, t, seed: linear(outputs), training_data=(X, LABELS))
    return bench.explainer(lambda m, x, t: x * 2).changes_under("label_randomization", seeds=3)


def other(inputs=DATA[0], labels=DATA[1]):
    return (inputs, labels, *DATA[2:])


OWN = train(*DATA[:2], 0)
TRAININGS = [
    Fix("call it by hand", lambda: retrained(data=lambda: 1 / 0), lambda: retrained(data=lambda: DATA)),
    Fix(
        "gather a loader's batches into tensors",
        lambda: retrained(data=DataLoader(TensorDataset(*DATA[:2]))),
        retrained,
    ),
    Fix("give test data of their own", lambda: retrained(data=(X[:9], LABELS[:9])), retrained),
    Fix("convert them to tensors", lambda: retrained(data=other(labels=["a"] * 120)), retrained),
    Fix("array.filled(0.0)", lambda: retrained(data=other(MASKED)), lambda: retrained(data=other(MASKED.filled(0.0)))),
    Fix(
        "tensor.to_dense()",
        lambda: retrained(data=other(DATA[0].to_sparse())),
        lambda: retrained(data=other(DATA[0].to_sparse().to_dense())),
    ),
    Fix(
        "labels.long()",
        lambda: retrained(data=other(labels=DATA[1].float())),
        lambda: retrained(data=other(labels=DATA[1].float().long())),
    ),
    Fix(
        "one_hot.argmax(1)",
        lambda: retrained(data=other(labels=ONE_HOT)),
        lambda: retrained(data=other(labels=ONE_HOT.argmax(1))),
    ),
    Fix("give one target for each input", lambda: retrained(data=other(labels=DATA[1][:7])), retrained),
    Fix("of two classes or more", lambda: retrained(data=other(labels=DATA[1] * 0)), retrained),
    Fix("return the model", lambda: retrained(lambda x, t, seed: None), retrained),
    Fix(
        "build a new model in xai_train",
        lambda: retrained(lambda x, t, seed: OWN, model=OWN),
        lambda: retrained(lambda x, t, seed: train(x, t, seed), model=OWN),
    ),
    Fix("build the same model", lambda: retrained(lambda x, t, seed: linear()), retrained),
    Fix("lower the learning rate", lambda: retrained(diverged), retrained),
    Fix("call xai_train(inputs, targets, seed) by hand", lambda: retrained(lambda x, t, seed: 1 / 0), retrained),
]
MASKED = np.ma.masked_greater(DATA[0].numpy(), 2)
ONE_HOT = nn.functional.one_hot(DATA[1], 3)


def diverged(inputs, targets, seed):
    model = train(inputs, targets, seed)
    model[0].weight.data.fill_(torch.nan)
    return model


def in_place(maps):
    maps.add_(1)
    return Scores(maps.mean(1).tanh(), {})


def good(maps):
    return Scores(maps.tanh().mean(1), {})


class Named(nn.Module):
    """Takes its inputs by name."""

    def __init__(self):
        super().__init__()
        self.net = linear()

    def forward(self, x, scale):
        return self.net(x) * scale


THIRD = [
    Fix(
        "estimate them with estimate_patterns(model, inputs)",
        lambda: claim(source=PatternAttribution),
        lambda: claim(model=MODEL, source=PatternAttribution(estimate_patterns(MODEL, X))),
    ),
    Fix(
        "make a torch.nn.ReLU in __init__",
        lambda: claim(model=FUNCTIONAL, source=CaptumDeconvolution),
        lambda: claim(model=RELU, source=CaptumDeconvolution),
    ),
    Fix(
        "which sees functions",
        lambda: claim(model=FUNCTIONAL, source=CaptumDeconvolution),
        lambda: claim(model=FUNCTIONAL, source=Deconvolution),
    ),
    Fix(
        "let it work on a copy: tensor.clone()",
        lambda: scored(in_place),
        lambda: scored(lambda maps: in_place(maps.clone())),
    ),
    Fix("of that type and shape", lambda: scored(lambda maps: Scores(maps, {})), lambda: scored(good)),
    Fix("fill it", lambda: claim({}), lambda: claim({"input": X})),
    Fix("use strings", lambda: claim({1: X}), lambda: claim({"input": X})),
    Fix("change epsilon=", lambda: LRP("epsilon", epsilon="x"), lambda: LRP("epsilon", epsilon=0.1)),
    Fix(
        "wrap the function in a torch.nn.Module",
        lambda: claim(model=lambda x: x[:, :3], source=LRP("epsilon")),
        lambda: claim(model=wrapped(lambda net, x: net(x)), source=LRP("epsilon")),
    ),
    Fix(
        "wrap the function in a module that registers its parameters",
        lambda: verb("changes_under", "cascading_randomization", model=lambda x: linear()(x)),
        lambda: verb("changes_under", "cascading_randomization", model=linear()),
    ),
    Fix(
        "return a function for each name",
        lambda: audited({"mine": 3}),
        lambda: audited({"mine": lambda explain, model, inputs, targets: inputs}),
    ),
    Fix(
        'return {"name": function}',
        lambda: audited([times]),
        lambda: audited({"name": lambda explain, model, inputs, targets: inputs}),
    ),
    Fix(
        "load the weights, or call model.to_empty",
        lambda: claim(model=linear().to("meta")),
        lambda: claim(model=linear().to("meta").to_empty(device="cpu").apply(reset)),
    ),
]
FUNCTIONAL = wrapped(lambda net, x: nn.functional.relu(net(x)))


def reset(module):
    if isinstance(module, nn.Linear):
        module.reset_parameters()


def pictured(source):
    return claim(IMAGES, model=convolutional(), source=source)


def audited(mutants):
    return checked_mutants(mutants)


EVERY = [*SUBJECTS, *EXPLAINERS, *CLAIMS, *OTHERS, *THIRD]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "fix",
    [
        *(pytest.param(fix, id=fix.advice) for fix in EVERY),
        *(pytest.param(fix, id=fix.advice, marks=pytest.mark.slow) for fix in TRAININGS),
    ],
)
def test_a_fix_that_is_printed_can_be_followed(fix):
    with pytest.raises(XaiError) as caught:
        fix.wrong()
    assert fix.advice in caught.value.fix
    assert "\n" not in str(caught.value) or "def xai_train" in str(caught.value)  # which is shown to be copied
    assert fix.mended() is not None
