"""Broken explainers: each looks right in some way, and explains nothing, or not what was asked, or not everywhere.

Most are made of gradient × input, as it is computed on the model that is given, so that they follow the weights and
look like contributions: they are harder to tell than maps that are always the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from zlib import crc32

import torch
from blind import times_logit
from networks import Subject
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_xaisanity.explainers import LRP, GuidedBackprop

Explain = Callable[[nn.Module, Tensor, Tensor], Tensor]


def gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of each target's logit."""
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def contribution(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return gradient × input."""
    return gradient(model, inputs, targets) * inputs.detach()


def predicted(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the class of each image."""
    with torch.no_grad():
        return model(inputs).argmax(1)


def noise(like: Tensor, seeds: list[int]) -> Tensor:
    """Return standard normal numbers of the shape of ``like``, of one seed an image."""
    drawn = [torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn).to(like)


def noise_of_inputs(inputs: Tensor) -> Tensor:
    """Return noise that is always the same for the same image."""
    return noise(inputs, [crc32(image.detach().cpu().numpy().tobytes()) for image in inputs])


def noise_of_outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return noise that depends on how the model ranks the classes, and on nothing else."""
    with torch.no_grad():
        ranking = model(inputs).argsort(1)
    return noise(inputs, [crc32(bytes(classes)) for classes in ranking.tolist()])


def edges(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return how steep the image is at each pixel."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    filters = torch.stack([across, across.T])[:, None].to(inputs)
    return F.conv2d(F.pad(inputs, (1, 1, 1, 1), mode="replicate"), filters).norm(dim=1, keepdim=True)


def blob(like: Tensor) -> Tensor:
    """Return a bell in the middle of each image."""
    down, across = (torch.linspace(-1, 1, size) for size in like.shape[-2:])
    return torch.exp(-3 * (down[:, None] ** 2 + across**2)).expand(like.shape).to(like)


def first_features(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return how active the first convolution is at each pixel, as large as it is."""
    with torch.no_grad():
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        return first(inputs).abs().mean(1, keepdim=True)


def scaled(maps: Tensor) -> Tensor:
    """Return maps of one size, so that they can be mixed."""
    return maps / maps.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]


class Previous:
    """Returns the maps of the call before where these are as many."""

    def __init__(self) -> None:
        self.maps: Tensor | None = None

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return what the call before should have returned."""
        now, before = contribution(model, inputs, targets), self.maps
        self.maps = now
        return before if before is not None and before.shape == now.shape else now


class Templates:
    """Maps of known images, which stand for those of each class.

    Args:
        subject: Whose first 64 known images are explained.
    """

    def __init__(self, subject: Subject) -> None:
        self.images = subject.images.known[:64]
        self.classes = predicted(subject.model, self.images)

    def mean(self, maps: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of known maps over each target's images; over all of them where it has none."""
        chosen = (self.classes == targets[:, None]).to(maps)
        chosen[chosen.sum(1) == 0] = 1
        return torch.einsum("tn,nchw->tchw", chosen / chosen.sum(1, keepdim=True), maps)

    def of_maps(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean map of the target's images."""
        return self.mean(contribution(model, self.images, self.classes), targets)

    def of_images(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean image of the target."""
        return self.mean(self.images, targets)

    def of_all(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean map of all images, each explained for its own class."""
        return contribution(model, self.images, self.classes).mean(0, keepdim=True).expand(inputs.shape)

    def one(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the map of one image of the target, always the same."""
        places = [int((self.classes == target).int().argmax()) for target in targets.tolist()]
        return contribution(model, self.images[places], targets)

    def mean_gradient_times_input(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the image times the mean gradient of its target: what a linear model would be given."""
        return inputs * self.mean(gradient(model, self.images, self.classes), targets)


def of_templates(subject: Subject) -> dict[str, Explain]:
    """Return explainers that show the class, or the mean, and not the image."""
    templates = Templates(subject)
    return {
        "class template": templates.of_maps,
        "mean image of the class": templates.of_images,
        "mean map": templates.of_all,
        "map of one image of the class": templates.one,
        "input × mean gradient of the class": templates.mean_gradient_times_input,
        "half a map, half the class template": lambda m, x, t: (
            scaled(contribution(m, x, t)) + scaled(templates.of_maps(m, x, t))
        ),
    }


def of_noise() -> dict[str, Explain]:
    """Return explainers that are noise, or drowned in it."""
    return {
        "fresh noise": lambda m, x, t: torch.randn_like(x),
        "noise of the input": lambda m, x, t: noise_of_inputs(x),
        "noise of the output": lambda m, x, t: noise_of_outputs(m, x),
        "map + 3 × noise of the input": lambda m, x, t: scaled(contribution(m, x, t)) + 3 * scaled(noise_of_inputs(x)),
        "map + 3 × noise of the output": lambda m, x, t: (
            scaled(contribution(m, x, t)) + 3 * scaled(noise_of_outputs(m, x))
        ),
        "input × noise of the output": lambda m, x, t: x * noise_of_outputs(m, x),
    }


def of_others(subject: Subject) -> dict[str, Explain]:
    """Return explainers of another network, another image or another class."""
    stale, twin = copy.deepcopy(subject.model), subject.twin
    return {
        "another network's map": lambda m, x, t: contribution(twin, x, t),
        "stale weights": lambda m, x, t: contribution(stale, x, t),
        "map of the next image": lambda m, x, t: contribution(m, x, t).roll(1, 0),
        "the previous batch's maps": Previous(),
        "less the batch's mean map": lambda m, x, t: (
            contribution(m, x, t) - contribution(m, x, t).mean(0, keepdim=True)
        ),
        "another class": lambda m, x, t: contribution(m, x, (t + 1) % m(x).shape[1]),
        "the predicted class, whatever is asked": lambda m, x, t: contribution(m, x, predicted(m, x)),
        "all classes at once": lambda m, x, t: (
            torch.stack([contribution(m, x, torch.full_like(t, one)) for one in range(m(x[:1]).shape[1])]).abs().sum(0)
        ),
    }


def _some(right: Explain, wrong: Explain, every: int) -> Explain:
    """Return an explainer that is right for one class of so many."""

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        known = (targets % every == 0)[:, None, None, None]
        return torch.where(known, scaled(right(model, inputs, targets)), scaled(wrong(model, inputs, targets)))

    return explain


def of_some_classes(subject: Subject) -> dict[str, Explain]:
    """Return explainers that are right for some classes alone."""
    drawn: Explain = lambda m, x, t: noise_of_outputs(m, x)  # noqa: E731
    negated: Explain = lambda m, x, t: -contribution(m, x, t)  # noqa: E731
    template = Templates(subject).of_maps
    return {
        "right for one class of three, else noise of the output": _some(contribution, drawn, 3),
        "right for every other class, else negated": _some(contribution, negated, 2),
        "right for one class of three, else the class template": _some(contribution, template, 3),
        "right for every other class, else the class template": _some(contribution, template, 2),
    }


def of_inputs() -> dict[str, Explain]:
    """Return explainers that show the image."""
    return {
        "the input": lambda m, x, t: x + 0,
        "input × logit": times_logit,
        "edges": edges,
        "the first layer's features": first_features,
        "LRP z+": LRP("zplus"),
        "Guided Backprop": GuidedBackprop(),
    }


def of_the_right_map() -> dict[str, Explain]:
    """Return explainers that spoil the right map, or show none."""
    return {
        "negated": lambda m, x, t: -contribution(m, x, t),
        "rows reversed": lambda m, x, t: contribution(m, x, t).flip(2),
        "transposed": lambda m, x, t: contribution(m, x, t).transpose(2, 3),
        "moved by a quarter": lambda m, x, t: contribution(m, x, t).roll(x.shape[-1] // 4, 3),
        "a blob in the center": lambda m, x, t: blob(x),
        "a blob × logit": lambda m, x, t: blob(x) * m(x).detach().gather(1, t[:, None])[..., None, None],
        "one everywhere, and noise": lambda m, x, t: 1 + 1e-3 * noise_of_outputs(m, x),
    }


def broken(subject: Subject) -> dict[str, Explain]:
    """Return every broken explainer, by name."""
    return {
        **of_templates(subject),
        **of_noise(),
        **of_others(subject),
        **of_some_classes(subject),
        **of_inputs(),
        **of_the_right_map(),
    }
