"""Label randomization: what is measured, when there is no verdict, what is kept on disk, what a suite sees of it."""

from __future__ import annotations

import copy
import gc
import json
import shutil
import threading
import warnings

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from jobs_done import Elsewhere
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import Bench, LabelRandomization, XaiError, XaiWarning
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.evidence.interventions.label_randomization import Accuracies, _loaded
from pytest_xaisanity.model.training import Job, Retraining, state_of
from pytest_xaisanity.plugin.stream import Terminal

pytestmark = pytest.mark.training

FEATURES, CLASSES, NAME = 96, 3, "label_randomization"


class Net(nn.Module):
    """A linear classifier of normalized and squashed inputs: each has its own map, and few are there to learn from."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, CLASSES)

    def forward(self, x):
        return self.layer(torch.tanh(self.norm(x)))


CENTERS = 0.4 * torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(9))


def problem(n, seed):
    """Return inputs around the centers of their classes, and their labels."""
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=drawn)
    return CENTERS[labels] + torch.randn(n, FEATURES, generator=drawn), labels


def nearest(x):
    """Return the class whose center is nearest, which is the label of nearly every input."""
    return torch.cdist(x, CENTERS).argmin(1)


TRAIN, TEST, SHOWN = problem(80, 0), problem(120, 1), problem(48, 2)[0]
DATA = (*TRAIN, *TEST)


def train(inputs, targets, seed):
    train.calls += 1
    torch.manual_seed(seed)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.04)
    for _ in range(40):
        rows = torch.randperm(len(inputs))[: len(inputs) // 2]
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    return model


@pytest.fixture(autouse=True)
def _count():
    train.calls = 0


@pytest.fixture(scope="module")
def model():
    train.calls = 0
    with torch.random.fork_rng(devices=[]):
        return train(*TRAIN, seed=12345).eval()


def gradients(model, inputs, targets):
    """Return the gradient of the explained output."""
    inputs = inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def magnitude(model, inputs, targets):
    """Return a map of the input alone."""
    return inputs.abs()


def bench(model, **settings):
    return Bench(model, SHOWN, **{"device": "cpu", "train": train, "training_data": DATA, **settings})


def decide(model, explainer=gradients, *, similarity="spearman", intervention=NAME, **settings):
    own = {key: settings.pop(key) for key in ("accuracy", "seeds", "at_most") if key in settings}
    own = own if intervention != NAME else {"seeds": 1, **own}
    claims = bench(model, **settings).explainer(explainer)
    return claims.changes_under(intervention, similarity=similarity, early=False, **own)


# ---------------------------------------------------------------------------------------------------------------------
# What is measured


def test_gradients_change_with_the_labels_more_than_with_the_seed(model):
    verdict = decide(model)
    assert verdict.passed
    assert verdict.estimate < 0.3
    assert "at most 50% of the similarity above chance that another training seed leaves is left" in verdict.reason
    assert verdict.quantity == "retention of what another training seed leaves (spearman)"


def test_a_map_of_the_input_alone_fails(model):
    verdict = decide(model, magnitude)
    assert verdict.failed
    assert verdict.estimate == pytest.approx(1.0, abs=1e-6)
    assert verdict.evidence["by_similarity"]["spearman"]["self"] == 1.0


def test_noise_is_no_triumph(model):
    """Another seed changes it as much as other labels do, and that decides nothing."""
    verdict = decide(model, lambda model, inputs, targets: torch.randn_like(inputs))
    assert verdict.inconclusive
    assert "not shown that the explanation outlives another training seed; spearman" in verdict.reason


def test_what_another_seed_changes_is_not_held_against_the_labels(model):
    """Maps that follow the seed of the training, whatever the labels: a comparison with xai_model would pass them."""

    def of_the_seed(model, inputs, targets):
        shift = float(model.layer.bias.sum().item() * 1e4)
        return torch.sin(inputs * shift + torch.arange(FEATURES))

    verdict = decide(model, of_the_seed)
    assert verdict.inconclusive
    assert verdict.evidence["by_similarity"]["spearman"]["after_by_seed"][0] < 0.2


@pytest.mark.slow
def test_scores_are_those_of_the_definition(model):
    """Train by hand, explain by hand, compare by SciPy."""
    verdict = decide(model, seeds=2)
    evidence = verdict.evidence
    found = evidence["by_similarity"]["spearman"]
    targets = model(SHOWN).argmax(1)
    before = gradients(model, SHOWN.clone(), targets)
    own, after = [], []
    for place, seed in enumerate(evidence["training_seeds"]):
        control = train(*TRAIN, seed).eval()
        permuted = trained_on_permuted(model, place).eval()
        own.append(scipy_spearman(before, gradients(control, SHOWN.clone(), targets)))
        after.append(scipy_spearman(before, gradients(permuted, SHOWN.clone(), targets)))
    assert found["self"] == pytest.approx(np.mean(own), abs=1e-5)
    assert found["after_by_seed"] == pytest.approx([scores.mean() for scores in after], abs=1e-5)
    order = evidence["indices"]
    pairs = torch.tensor(order).reshape(-1, 2)
    chance = scipy_spearman(before[pairs[:, 0]], before[pairs[:, 1]]).mean()
    assert found["chance"] == pytest.approx(chance, abs=1e-5)
    expected = (np.mean(after) - chance) / (np.mean(own) - chance)
    assert verdict.estimate == pytest.approx(expected, abs=1e-5)


def trained_on_permuted(model, place):
    """Return the model that a bench trains on permuted labels, from the labels it was given."""
    given = []

    def recorder(inputs, targets, seed):
        given.append((targets, seed))
        return train(inputs, targets, seed)

    decide(model, train=recorder, seeds=place + 1)
    targets, seed = given[2 * place + 1]
    assert sorted(targets.tolist()) == sorted(TRAIN[1].tolist())
    assert (targets == TRAIN[1]).float().mean() < 0.6
    return train(TRAIN[0], targets, seed)


def scipy_spearman(first, second):
    return np.array([spearmanr(a, b).statistic for a, b in zip(first.numpy(), second.numpy(), strict=True)])


def test_captum_explainers_follow_the_trained_weights(model):
    claims = bench(model)
    by_hand = claims.explainer(gradients).changes_under(NAME, similarity="spearman", seeds=1, early=False)
    by_captum = claims.explainer(Saliency, abs=False).changes_under(NAME, similarity="spearman", seeds=1, early=False)
    assert by_captum.evidence["scores"] == by_hand.evidence["scores"]


def test_the_evidence_has_what_the_models_have_learned(model):
    evidence = decide(model, seeds=2).evidence
    assert evidence["sizes"] == {"training": 80, "test": 120}
    assert len(set(evidence["training_seeds"])) == 2
    for labels, models in evidence["accuracies"].items():
        assert len(models) == 2
        assert all(found["training"] >= 0.95 for found in models), labels
    assert all(found["test"] > 0.6 for found in evidence["accuracies"]["true labels"])


def test_a_raw_similarity_may_be_bounded(model):
    verdict = decide(model, at_most=0.5)
    assert verdict.passed
    assert verdict.estimate == pytest.approx(verdict.evidence["by_similarity"]["spearman"]["after_by_seed"][0])


def test_same_seed_same_verdict_whatever_the_micro_batch(model):
    first, second, other = decide(model), decide(model, batch_size=7), decide(model, seed=1)
    assert first.evidence["training_seeds"] == second.evidence["training_seeds"] != other.evidence["training_seeds"]
    assert first.estimate == pytest.approx(second.estimate, abs=1e-5)


def test_a_tenth_is_held_out_when_no_test_data_are_given(model):
    x, y = torch.cat([TRAIN[0], TEST[0][:20]]), torch.cat([TRAIN[1], TEST[1][:20]])
    retraining = Retraining(train, (x, y))
    data = retraining.data
    assert [len(part) for part in data] == [90, 90, 10, 10]
    rows = torch.cat([data.inputs, data.test_inputs])
    assert torch.equal(rows.sort(0).values, x.sort(0).values)
    labels = {tuple(row.tolist()): int(label) for row, label in zip(x, y, strict=True)}
    assert [labels[tuple(row.tolist())] for row in rows] == torch.cat([data.targets, data.test_targets]).tolist()


def test_training_data_may_be_several_tensors_arrays_and_lazy(model):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, a, b):
            return self.net(torch.cat([a, b], 1))

    def train_two(inputs, targets, seed):
        made = Two()
        made.net = train(torch.cat(inputs, 1), targets, seed)
        return made

    def halves(x):
        return x[:, :40], x[:, 40:]

    subject = Two()
    subject.net = copy.deepcopy(model)
    data = (halves(TRAIN[0]), TRAIN[1].numpy(), [part.numpy() for part in halves(TEST[0])], TEST[1])
    claims = Bench(subject.eval(), halves(SHOWN), train=train_two, training_data=lambda: data).explainer(
        Saliency, abs=False
    )
    verdict = claims.changes_under(NAME, similarity="spearman", seeds=1, early=False)
    assert verdict.estimate == pytest.approx(decide(model).estimate, abs=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Chance


@pytest.mark.slow
def test_chance_and_its_spread_are_those_of_nearest_neighbors():
    """Labels permuted in training, predictions copied from a training input of the right class: 20,000 times."""
    rng = np.random.default_rng(0)
    training, test = np.repeat(np.arange(4), [80, 60, 40, 20]), np.repeat(np.arange(4), [30, 10, 40, 20])
    members = [np.flatnonzero(training == label) for label in range(4)]
    accuracies = []
    for _ in range(20_000):
        labels = rng.permutation(training)
        nearest = np.concatenate([rng.choice(members[label], (test == label).sum()) for label in range(4)])
        accuracies.append((labels[nearest] == test).mean())
    shares = np.bincount(training) / 200 @ (np.bincount(test) / 100)
    assert np.mean(accuracies) == pytest.approx(shares, abs=0.002)
    # The smallest class has few training inputs for many test inputs, so that it weighs more than the formula counts.
    assert np.std(accuracies) == pytest.approx(np.sqrt(shares * (1 - shares) * (1 / 100 + 1 / 200)), rel=0.15)


def test_chance_is_what_predictions_of_these_shares_get_right(model):
    """Predictions of one class alone: the share of that class, and none to spare."""

    def of_one_class(inputs, targets, seed):
        made = Net()
        nn.init.zeros_(made.layer.weight)
        made.layer.bias.data = torch.tensor([0.0, 1.0, 0.0])
        return made

    share = float((TEST[1] == 1).float().mean())
    with pytest.raises(XaiError, match=rf"test accuracy {share:.3f}, where chance is {share:.3f} ± "):
        decide(model, train=of_one_class)


@pytest.mark.parametrize(("test", "chance", "surplus"), [(0.4, True, False), (0.66, False, True), (0.0, False, False)])
def test_three_standard_deviations_either_way_are_chance(test, chance, surplus):
    found = Accuracies(training=1.0, test=test, chance=1 / 3, spread=0.1)
    assert found.at_chance == chance
    assert (found.surplus > 0) == surplus


# ---------------------------------------------------------------------------------------------------------------------
# No verdict


def test_no_verdict_when_permuted_labels_are_not_learned(model):
    def early(inputs, targets, seed):
        """Stop where the true labels are learned and others are not."""
        made = train(inputs, targets, seed)
        if (targets == nearest(inputs)).float().mean() < 0.8:
            made.layer.weight.data.add_(torch.randn(CLASSES, FEATURES) * made.layer.weight.std() * 2)
        return made

    with pytest.raises(
        XaiError, match=r"has not learned what it was trained on, on permuted labels: training"
    ) as caught:
        decide(model, train=early)
    assert "training accuracy of 0.95" in caught.value.expected
    assert "(on the true labels: training accuracy 1.000" in caught.value.found
    assert decide(model, train=early, accuracy=0.4).n == len(SHOWN)


def test_no_verdict_when_the_permuted_model_knows_the_true_labels(model):
    def peeking(inputs, targets, seed):
        """Learn what the inputs say, whatever the targets."""
        return train(inputs, nearest(inputs), seed)

    with pytest.raises(XaiError, match="a model that knows of the true labels, on permuted labels: training") as caught:
        decide(model, train=peeking, accuracy=0.1)
    assert "learn from the targets it is given" in caught.value.fix


def test_no_verdict_when_nothing_is_learned(model):
    with pytest.raises(XaiError, match=r"xai_train: found a model that has not learned the true labels \(training"):
        decide(model, train=lambda inputs, targets, seed: Net())


def test_too_few_test_inputs_are_not_held_against_the_training(model):
    with pytest.raises(XaiError, match=r"xai_training_data: found 4 test inputs, too few to tell any .* from chance"):
        decide(model, training_data=(*TRAIN, TEST[0][:4], TEST[1][:4]))


# ---------------------------------------------------------------------------------------------------------------------
# Bad input


def raising(inputs, targets, seed):
    raise RuntimeError("no loss today")


def diverging(inputs, targets, seed):
    made = Net()
    made.layer.bias.data.fill_(float("nan"))
    return made


def wider(inputs, targets, seed):
    made = Net()
    made.layer = nn.Linear(FEATURES, CLASSES + 1)
    return made


def wrapped(inputs, targets, seed):
    return nn.Sequential(Net())


def with_more(inputs, targets, seed):
    made = Net()
    made.extra = nn.Linear(2, 2)
    return made


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (raising, "RuntimeError raised when training on the true labels, inputs .*: no loss today"),
        (lambda inputs, targets, seed: None, "None returned; expected the trained torch.nn.Module"),
        (lambda inputs, targets, seed: (Net(), 0.9), "a tuple returned"),
        (lambda inputs, targets: Net(), r"a function with the signature \(inputs, targets\)"),
        (diverging, r"weights that are NaN or infinite after training on the true labels \(layer.bias\)"),
        (wider, r"another architecture returned \(its 'layer.weight' has the shape \(4, 96\), not \(3, 96\)"),
        (wrapped, r"another architecture returned \(it has no 'norm.weight'\)"),
        (with_more, r"another architecture returned \(xai_model has no 'extra.weight'\)"),
        (Net(), "a Net to train models with; expected a function"),
        (None, "no function to train models with"),
    ],
)
def test_a_train_function_that_is_none(model, function, found):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(XaiError, match=f"xai_train: found {found}") as caught:
        decide(model, train=function)
    assert caught.value.fix
    assert_same(model, before)


def test_a_train_function_without_a_seed_is_said(model):
    def unseeded(inputs, targets, seed):
        return train(inputs, targets, 12345)

    with pytest.warns(XaiWarning, match="the weights of xai_model itself, bit for bit"):
        verdict = decide(model, train=unseeded)
    assert verdict.evidence["by_similarity"]["spearman"]["self"] == 1.0


def test_the_model_itself_cannot_be_the_trained_one(model):
    before = copy.deepcopy(model.state_dict())

    def in_place(inputs, targets, seed):
        with torch.no_grad():
            model.layer.weight.add_(1.0)
        return model

    with pytest.raises(XaiError, match="xai_model itself, or a model that shares its weights, returned"):
        decide(model, train=in_place)
    assert_same(model, before)


X, Y = TRAIN


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (None, "no training data"),
        (X, "a Tensor"),
        ((X, Y, X), "a tuple of length 3"),
        ((X, Y[:-1]), "79 training targets for 80 inputs"),
        ((X, Y.float()), r"training targets of torch.float32 and shape \(80,\)"),
        ((X, F.one_hot(Y)), r"training targets of torch.int64 and shape \(80, 3\)"),
        ((X, torch.zeros_like(Y)), "training targets of the class 0 alone;"),
        ((X, Y - 1), "the class -1 as the training target "),
        ((X[:12], Y[:12]), "12 training inputs to hold a tenth out of"),
        ((X, Y, X, Y[:1]), "1 test targets for 80 inputs"),
        ((X, Y, (), Y), "80 test targets for no inputs"),
        ((X.tolist(), Y), f"80 training targets for {FEATURES} inputs"),
        (("images", Y), "training data that are no tensors"),
        ((X, Y + 1), "class 3 as the training target .*, for a model with 3 outputs"),
    ],
)
def test_training_data_that_cannot_be(model, data, found):
    def learn_nothing(inputs, targets, seed):
        return Net()

    with pytest.raises(XaiError, match=f"xai_training_data: found {found}"):
        decide(model, train=learn_nothing, training_data=data)


@pytest.mark.parametrize(
    "settings", [{"accuracy": 0}, {"accuracy": 1.5}, {"accuracy": True}, {"seeds": 0}, {"seeds": 1.0}]
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(XaiError, match=f"label_randomization {next(iter(settings))}: found"):
        LabelRandomization(**settings)


def test_a_claim_on_a_subject_of_its_own_kind():
    with pytest.raises(XaiError, match="found a function as xai_model"):
        decide(lambda x: x[:, :CLASSES])
    head = nn.Linear(FEATURES, 1).eval()
    with pytest.raises(XaiError, match=r"found outputs of shape \(64, 1\) for 64 inputs"):
        decide(head, train=lambda inputs, targets, seed: nn.Linear(FEATURES, 1))


# ---------------------------------------------------------------------------------------------------------------------
# The user's state


def assert_same(model, before):
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_everything_comes_back_bit_for_bit(model, error):
    model = copy.deepcopy(model).train()
    model.layer.weight.grad = torch.ones_like(model.layer.weight)
    before, seen = copy.deepcopy(model.state_dict()), set()

    def watching(model, inputs, targets):
        seen.add((float(model.layer.weight.sum().detach()), float(model.norm.running_mean.sum())))
        if error is not None and len(seen) == 3:
            raise error("in the midst of it")
        return gradients(model, inputs, targets)

    state = global_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model is in training mode
        if error is None:
            decide(model, watching)
        else:
            with pytest.raises((XaiError, KeyboardInterrupt)):
                decide(model, watching)
    assert same_state(state, global_state())
    assert_same(model, before)
    assert model.training
    assert torch.equal(model.layer.weight.grad, torch.ones_like(model.layer.weight))
    assert len(seen) == 3, "the model as given, the control and the one of permuted labels, with buffers of their own"
    assert len({mean for _, mean in seen}) == 2, "the order of the batches goes with the seed"


def test_weights_that_hooks_compute_come_back(model):
    """The old weight_norm keeps the weight of the last call as a plain attribute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer, other = (nn.utils.weight_norm(nn.Linear(4, 2)) for _ in range(2))
    x = torch.ones(1, 4)
    before, weight = layer(x), layer.weight
    with _loaded(layer, {name: tensor.detach() for name, tensor in state_of(other).items()}):
        assert torch.equal(layer(x), other(x))
    assert layer.weight is weight
    assert torch.equal(layer(x), before)


def test_an_interrupt_while_training_leaves_all_as_it_was(model, tmp_path):
    def interrupted(inputs, targets, seed):
        raise KeyboardInterrupt

    before, state = copy.deepcopy(model.state_dict()), global_state()
    with pytest.raises(KeyboardInterrupt):
        decide(model, train=interrupted, cache_dir=tmp_path)
    assert_same(model, before)
    assert same_state(state, global_state())
    assert not [*tmp_path.glob("*.npz"), *tmp_path.glob("*.part")]


def test_training_cannot_change_the_data(model):
    def scribbling(inputs, targets, seed):
        made = train(inputs, targets, seed)
        inputs.zero_(), targets.zero_()
        return made

    before = [tensor.clone() for tensor in DATA]
    decide(model, train=scribbling)
    assert all(map(torch.equal, DATA, before))


# ---------------------------------------------------------------------------------------------------------------------
# What is kept


def test_models_are_trained_once_a_session(model):
    claims = bench(model)
    for explainer in (gradients, magnitude):
        claims.explainer(explainer).changes_under(NAME, similarity="spearman", seeds=1)
        claims.explainer(explainer).changes_under(NAME, similarity="cosine", seeds=1)
    assert train.calls == 2


def test_models_trained_elsewhere_are_the_same(model, tmp_path, monkeypatch):
    """With the same files, so that a session with more processes trains nothing again."""
    expected = decide(model, seeds=2, cache_dir=tmp_path / "here")
    claims = bench(model, cache_dir=tmp_path / "there")
    monkeypatch.setattr(claims._retraining, "jobs", Elsewhere(2))
    verdict = claims.explainer(gradients).changes_under(NAME, similarity="spearman", early=False, seeds=2)
    assert verdict.evidence == expected.evidence
    here, there = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("here", "there"))
    assert here.keys() == there.keys()
    assert train.calls == 4


@pytest.mark.slow
def test_two_processes_train_the_same_models(model):
    assert decide(model, seeds=2, jobs=2).evidence == decide(model, seeds=2).evidence


def test_a_function_that_cannot_be_sent_trains_here(model):
    lock = threading.Lock()

    def locked(inputs, targets, seed):
        with lock:
            return train(inputs, targets, seed)

    with pytest.warns(XaiWarning, match=r"trained in this process alone, for xai_train or xai_model refers.*lock"):
        assert decide(model, train=locked, jobs=2).evidence == decide(model).evidence


def test_the_model_itself_is_no_trained_one_elsewhere_either(model, monkeypatch):
    claims = bench(model, train=lambda inputs, targets, seed: model)
    monkeypatch.setattr(claims._retraining, "jobs", Elsewhere(2))
    with pytest.raises(XaiError, match="xai_model itself, or a model that shares its weights, returned"):
        claims.explainer(gradients).changes_under(NAME, seeds=1)


def test_accuracies_are_measured_once_for_each_state_of_the_model(model):
    class Watched(Net):
        passes = 0

        def forward(self, x):
            Watched.passes += len(x)
            return super().forward(x)

    watched = Watched().eval()
    watched.load_state_dict(model.state_dict())
    claims, counts = bench(watched), []
    for change in (None, None, "another attribute"):
        watched.attribute = change
        before = Watched.passes
        claims.explainer(magnitude).changes_under(
            NAME, similarity="spearman" if not counts else "cosine", seeds=1, early=False
        )
        counts.append(Watched.passes - before)
    both = 2 * (len(TRAIN[0]) + len(TEST[0]))
    assert counts[0] - counts[1] >= both > counts[1]
    assert counts[2] >= both


def test_a_second_session_does_not_train(model, tmp_path):
    first = decide(model, cache_dir=tmp_path)
    assert train.calls == 2
    second = decide(model, cache_dir=tmp_path)
    assert train.calls == 2
    assert first.evidence == second.evidence
    decide(model, cache_dir=tmp_path, seeds=2)
    assert train.calls == 4, "one more permutation, with its control"


@pytest.mark.parametrize("change", ["data", "targets", "seed", "function"])
def test_what_training_depends_on_is_trained_again(model, tmp_path, change):
    decide(model, cache_dir=tmp_path)

    def another(inputs, targets, seed):
        return train(inputs, targets, seed)

    settings = {
        "data": {"training_data": (TRAIN[0] * 1.01, *DATA[1:])},
        "targets": {"training_data": (TRAIN[0], TRAIN[1].flip(0), TEST[0], TEST[1])},
        "seed": {"seed": 1},
        "function": {"train": another},
    }[change]
    if change == "targets":
        with pytest.raises(XaiError, match="has not learned the true labels"):
            decide(model, cache_dir=tmp_path, **settings)
    else:
        decide(model, cache_dir=tmp_path, **settings)
    assert train.calls == 4


def truncate(file):
    file.write_bytes(file.read_bytes()[:-200])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))


def scribble(file):
    file.write_text("not an archive")


def pickle(file):
    np.savez(file, header=np.array([print], dtype=object))


def misfit(file):
    np.savez(
        file, header=np.array(json.dumps([["layer.weight", "float32", [1]]])), **{"tensor 0": np.zeros(4, np.uint8)}
    )


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, flip, scribble, pickle, misfit])
def test_a_damaged_file_is_ignored_said_and_rebuilt(model, tmp_path, damage):
    first = decide(model, cache_dir=tmp_path)
    damage(sorted(tmp_path.glob("*.npz"))[0])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        second = decide(model, cache_dir=tmp_path)
        gc.collect()  # files that were left open are said here
    assert ["is ignored and made again: it cannot be read" in str(warning.message) for warning in said] == [True]
    assert train.calls == 3
    assert first.evidence == second.evidence
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decide(model, cache_dir=tmp_path)
    assert train.calls == 3


def test_a_folder_that_cannot_be_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XaiError, match=r"cache_dir: found .*Not a directory"):
        decide(model, cache_dir=tmp_path / "file" / "folder")
    assert train.calls == 0


def test_a_folder_that_cannot_be_written_any_more_is_said(model, tmp_path):
    claims = bench(model, cache_dir=tmp_path / "folder").explainer(gradients)
    shutil.rmtree(tmp_path / "folder", ignore_errors=True)
    (tmp_path / "folder").write_text("")
    with pytest.warns(XaiWarning, match="trained models cannot be kept on disk"):
        assert claims.changes_under(NAME, similarity="spearman", seeds=1, early=False).passed
    assert train.calls == 2


def test_every_kind_of_tensor_is_kept(tmp_path):
    """Types that NumPy does not know, numbers without an axis, and an empty tensor."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.short = nn.Parameter(torch.randn(3, 2, dtype=torch.bfloat16))
            self.number = nn.Parameter(torch.randn((), dtype=torch.complex64))
            self.register_buffer("flags", torch.tensor([True, False]))
            self.register_buffer("none", torch.empty(0, 4))
            self.transposed = nn.Parameter(torch.randn(4, 3).T)

    job = Job("odd", TRAIN[0], TRAIN[1], 0)
    first, second = (
        Retraining(lambda inputs, targets, seed: Odd(), DATA, cache_dir=tmp_path).weights(Odd(), [job])
        for _ in range(2)
    )
    assert len(list(tmp_path.iterdir())) == 1
    (kept,) = second
    assert kept.keys() == first[0].keys()
    for name, tensor in first[0].items():
        assert kept[name].dtype == tensor.dtype
        assert torch.equal(kept[name], tensor)


def test_the_progress_bar_is_shown_to_a_terminal_and_only_for_trainings(model, tmp_path):
    class Stream:
        def __init__(self, terminal):
            self.terminal, self.text = terminal, ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return self.terminal

    seen, unseen, again = Stream(True), Stream(False), Stream(True)
    decide(model, progress=unseen)
    decide(model, progress=seen, cache_dir=tmp_path)
    decide(model, progress=again, cache_dir=tmp_path)
    assert "xai_train: 100%" in seen.text
    assert "2/2" in seen.text
    assert unseen.text == again.text == ""


# ---------------------------------------------------------------------------------------------------------------------
# In a suite

CONFTEST = """
    import pytest
    import pathlib
    import subject

    @pytest.fixture(scope="session")
    def xai_model():
        return subject.fit(*subject.problem(160, 0), seed=12345).eval()

    @pytest.fixture(scope="session")
    def xai_inputs():
        return subject.problem(48, 2)[0]
"""
FIXTURES = """
    @pytest.fixture(scope="session")
    def xai_train():
        return subject.train

    @pytest.fixture(scope="session")
    def xai_training_data():
        return subject.data()
"""
SUBJECT = """
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)

    CENTERS = 0.3 * torch.randn(3, 192, generator=torch.Generator().manual_seed(9))

    def problem(n, seed):
        drawn = torch.Generator().manual_seed(seed)
        labels = torch.randint(3, (n,), generator=drawn)
        return CENTERS[labels] + torch.randn(n, 192, generator=drawn), labels

    def data():
        return (*problem(160, 0), *problem(120, 1))

    def fit(inputs, targets, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = torch.nn.Linear(192, 3)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
            for _ in range(60):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
        return model

    def train(inputs, targets, seed):
        with open("trainings.txt", "a") as file:
            file.write("x")
        return fit(inputs, targets, seed)

    def weights(model, inputs, targets):
        return model.weight[targets] / inputs.cosh()  # a map for each input

    def magnitude(model, inputs, targets):
        return inputs.abs()
"""
CLAIM = 'assert xai.explainer({}).changes_under("label_randomization", similarity="spearman", seeds=1, early=False)'


@pytest.fixture
def labels(pytester):
    """Return a suite whose model is trained by a function that leaves a mark each time."""
    pytester.makeconftest(CONFTEST + FIXTURES)
    pytester.makepyfile(subject=SUBJECT)
    return pytester


def trainings(suite) -> int:
    file = suite.path / "trainings.txt"
    return len(file.read_text()) if file.exists() else 0


def run(suite, *args):
    return suite.runpytest("-p", "no:randomly", *args)


@pytest.mark.slow
def test_the_fixture_form_and_a_second_session(labels):
    labels.makepyfile(f"""
        from subject import magnitude, weights
        def test_good(xai):
            {CLAIM.format("weights")}
        def test_bad(xai):
            {CLAIM.format("magnitude")}
    """)
    result = run(labels, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "spearman     another training seed 1, unrelated inputs *",
            "trained      on true labels: training accuracy 1, test accuracy 0.* (chance 0.3*)",
            "trained      on permuted labels: training accuracy *",
        ]
    )
    assert trainings(labels) == 2
    run(labels).assert_outcomes(passed=1, failed=1)
    assert trainings(labels) == 2
    run(labels, "--cache-clear").assert_outcomes(passed=1, failed=1)
    assert trainings(labels) == 4
    run(labels, "-p", "no:cacheprovider").assert_outcomes(passed=1, failed=1)
    assert trainings(labels) == 6


def test_the_progress_bar_goes_past_capturing(labels, monkeypatch):
    monkeypatch.setattr(Terminal, "isatty", lambda self: True)
    labels.makepyfile(f"from subject import weights\ndef test_it(xai):\n    {CLAIM.format('weights')}\n")
    result = run(labels)
    result.assert_outcomes(passed=1)
    assert "xai_train: 100%" in str(result.stderr)
    assert "xai_train" not in str(run(labels).stderr), "nothing was trained"


@pytest.mark.slow
def test_the_marker_form_on_two_workers_trains_once(labels):
    labels.makepyfile("""
        import pytest
        from subject import weights
        @pytest.mark.xai_changes_under("label_randomization", similarity="spearman", seeds=1)
        @pytest.mark.xai_explainer(weights)
        def test_it(xai_verdict):
            assert xai_verdict
    """)
    run(labels, "-n2", "--dist=each", "--assert=plain").assert_outcomes(passed=2)
    assert trainings(labels) == 2


def test_options_in_place_of_fixtures(labels):
    labels.makeconftest(CONFTEST)
    labels.makepyfile(f"from subject import weights\ndef test_it(xai):\n    {CLAIM.format('weights')}\n")
    result = run(labels, "--xai-train=subject:train", "--xai-training-data=subject:data")
    result.assert_outcomes(passed=1)
    labels.makeini("[pytest]\nxai_train = subject:train\nxai_training_data = subject:data\n")
    run(labels).assert_outcomes(passed=1)
    result = run(labels, "--xai-training-data=subject")
    result.stderr.fnmatch_lines(["ERROR: --xai-training-data: found 'subject'; expected module:name*"])


def test_without_the_fixtures_only_the_claims_that_need_them_fail(labels):
    labels.makeconftest(CONFTEST)
    labels.makepyfile(f"""
        from subject import weights
        def test_labels(xai):
            {CLAIM.format("weights")}
        def test_weights(xai):
            assert xai.explainer(weights).changes_under("cascading_randomization", similarity="spearman")
    """)
    result = run(labels)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*xai_train: found no fixture of this name in your tests; expected a fixture that returns a function "
            "(inputs, targets, seed) -> model. To fix it: write *--xai-train=module:name*",
            "*def xai_train():*",
        ]
    )


@pytest.mark.parametrize("kind", ["a file", "below a file", "a\0b", "x" * 400, 3, b"folder", ["a"]])
def test_a_cache_folder_that_cannot_be_is_named(tmp_path, kind):
    file = tmp_path / "file"
    file.touch()
    folder = {"a file": file, "below a file": file / "folder"}.get(str(kind), kind)
    with pytest.raises(XaiError, match=r"cache_dir: found .*; expected the path of a folder"):
        Retraining(None, None, cache_dir=folder)
    assert Retraining(None, None, cache_dir=tmp_path / "made").measured == {}


@pytest.mark.parametrize(
    ("unfit", "found"),
    [
        (lambda x: x.to_sparse(), "sparse"),
        (lambda x: x.to("meta"), "without values"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "quantized"),
        (lambda x: torch.nested.nested_tensor(list(x)), "nested"),
        (lambda x: np.ma.masked_array(x.numpy(), mask=x.numpy() > 0), "masked values"),
    ],
)
def test_training_data_of_a_kind_that_cannot_be_read_are_named(unfit, found):
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(XaiError, match=f"xai_training_data: found training data .*{found}"):
        _ = Retraining(None, (unfit(inputs), torch.arange(40) % 2)).data


def test_training_data_that_a_function_fails_to_return_are_named():
    with pytest.raises(XaiError, match="ZeroDivisionError raised when the function was called: division by zero"):
        _ = Retraining(None, lambda: 1 / 0).data
