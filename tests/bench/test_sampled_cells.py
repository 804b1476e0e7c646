"""A campaign: a sample of cells comes to the verdicts that all cells come to, at about as many inputs."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, Saliency
from digits import DigitsCNN, load_digits, train, trained_cnn
from faces import load_faces, trained_rnet
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.explainers import LRP, DeepLift

SEEDS = range(7)
MOST = {"faces": 1.5}  # of two classes: its own gradient stands beside the maps, and a sample knows it less well
FEWER = {"seeds": 3}  # of weights than by default, of which all cells take a third of the time


def dense():
    """Return four dense layers that read digits."""
    torch.manual_seed(0)
    digits = load_digits()
    layers = [part for sizes in pairwise([784, 96, 64, 48, 10]) for part in (nn.Linear(*sizes), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), *layers[:-1])
    train(model, digits.train_images, digits.train_labels, epochs=2)
    return model.eval()


def untrained():
    torch.manual_seed(3)
    return DigitsCNN().eval()


def digit_images():
    return load_digits().test_images[:128]


def face_images():
    images = load_faces().images
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:128]]


NETWORKS = {
    "digits": (trained_cnn, digit_images),
    "faces": (trained_rnet, face_images),
    "dense": (dense, digit_images),
    "untrained": (untrained, digit_images),
}


def times_logit(model, inputs, targets):
    return (inputs * model(inputs).gather(1, targets[:, None])[:, :, None, None]).detach()


def of_the_trunk(model, inputs, targets):
    """Return the gradient of the first weights' mean output: blind to all above."""
    first = next(module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear)))
    inputs = inputs.requires_grad_()
    seen = first(inputs.flatten(1) if isinstance(first, nn.Linear) else inputs)
    return torch.autograd.grad(seen.square().sum(), inputs)[0]


EXPLAINERS = {
    "gradient": (Saliency, {"abs": False}),
    "IG": (IntegratedGradients, {"n_steps": 4}),
    "gradient × input": (InputXGradient, {}),
    "DeepLIFT": (DeepLift("rescale"), {}),
    "Guided Backprop": (GuidedBackprop, {}),
    "LRP z+": (LRP("zplus"), {}),
    "input × logit": (times_logit, {}),
    "of the trunk": (of_the_trunk, {}),
}


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", NETWORKS)
def test_a_sample_comes_to_the_verdicts_of_all_cells(network):
    """56 runs a network, 203 in all: none contradicts, and the number of inputs is the same within a quarter.

    On faces within a half. One run of each explainer has the default number of seeds of weights.
    """
    model, images = (make() for make in NETWORKS[network])
    outcomes, sizes = Counter(), []
    for name, (source, settings) in EXPLAINERS.items():
        if network == "faces" and name in ("Guided Backprop", "LRP z+", "DeepLIFT"):
            continue  # its PReLUs are none of the activations that these modify
        for seed in SEEDS:
            bench = Bench(copy.deepcopy(model), images, device="cpu", seed=seed)
            explainer = bench.explainer(source, **settings)
            sampled, every = (
                explainer.changes_under("cascading_randomization", cells=cells, **({} if seed == 0 else FEWER))
                for cells in ("sample", "all")
            )
            assert {sampled.outcome, every.outcome} != {"passed", "failed"}, (name, seed, sampled, every)
            outcomes[sampled.outcome, every.outcome] += 1
            sizes.append((sampled.n, every.n))
    assert 0.75 <= np.divide(*np.mean(sizes, axis=0)) <= MOST.get(network, 1.25), (outcomes, sizes)
    assert sum(times for (sampled, every), times in outcomes.items() if sampled == every) >= 0.9 * len(sizes), outcomes
    assert outcomes["passed", "passed"] + outcomes["failed", "failed"] >= 0.8 * len(sizes), outcomes
