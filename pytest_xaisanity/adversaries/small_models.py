"""The models, inputs and targets of :class:`~pytest_xaisanity.adversaries.small_subject.SmallSubject`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common.seeding import generator, isolated

__all__ = ["build", "inputs", "targets"]

FEATURES, CHANNELS, SIDE, EMBEDDING, TOKENS = 6, 2, 6, 4, 5
_IMAGE = (CHANNELS, SIDE, SIDE)
_SHAPES = {"cnn": _IMAGE, "batchnorm": _IMAGE, "residual": _IMAGE, "attention": (EMBEDDING, TOKENS)}


def build(kind: str, *, seed: int, width: int, depth: int, classes: int, batch: int) -> nn.Module:
    """Return the model."""
    with isolated(seed, "model", kind), torch.inference_mode(False):
        features, size = _FEATURES[kind](width, depth)
        model = nn.Sequential(features, nn.Linear(size, classes))
        if kind == "batchnorm":
            with torch.no_grad():
                model(
                    inputs(kind, seed=seed, batch=batch)
                )  # in training mode, which sets the running means and variances
    return model.eval()


def inputs(kind: str, *, seed: int, batch: int) -> Tensor:
    """Return the inputs."""
    rng = generator(seed, "inputs", kind)
    return torch.randn(batch, *_SHAPES.get(kind, (FEATURES,)), generator=rng)


def targets(kind: str, *, seed: int, classes: int, batch: int) -> Tensor | None:
    """Return the targets."""
    if classes == 1:
        return None
    return torch.randint(classes, (batch,), generator=generator(seed, "targets", kind))


def _mlp(width: int, depth: int) -> tuple[nn.Module, int]:
    layers = [nn.Linear(width if k else FEATURES, width) for k in range(depth)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU()))), width


def _tied(width: int, depth: int) -> tuple[nn.Module, int]:
    layers = [nn.Linear(FEATURES, FEATURES) for _ in range(depth + 1)]
    for layer in layers[1:]:
        layer.weight = layers[0].weight
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh()))), FEATURES


class _Functional(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width if k else FEATURES, width) for k in range(depth))

    def forward(self, rows: Tensor) -> Tensor:
        for layer in self.layers:
            rows = F.gelu(layer(rows))
        return rows


def _functional(width: int, depth: int) -> tuple[nn.Module, int]:
    return _Functional(width, depth), width


def _cnn(width: int, depth: int, *, normalized: bool = False) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    for k in range(depth):
        layers.append(nn.Conv2d(width if k else CHANNELS, width, 3, padding=1))
        layers += [nn.BatchNorm2d(width, momentum=None)] if normalized else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten()), width * (SIDE // 2) ** 2


def _batchnorm(width: int, depth: int) -> tuple[nn.Module, int]:
    return _cnn(width, depth, normalized=True)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        skipped: Tensor = images + self.branch(images)
        return skipped


def _residual(width: int, depth: int) -> tuple[nn.Module, int]:
    blocks = [_Residual(width) for _ in range(depth)]
    return nn.Sequential(nn.Conv2d(CHANNELS, width, 1), *blocks, nn.Flatten()), width * SIDE**2


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(EMBEDDING)
        self.attention = nn.MultiheadAttention(EMBEDDING, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(EMBEDDING, width), nn.GELU(), nn.Linear(width, EMBEDDING))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        mixed: Tensor = tokens + self.mlp(tokens)
        return mixed


class _Transformer(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Attention(width) for _ in range(depth)))

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.blocks(tokens.transpose(1, 2))
        return mixed.flatten(1)


def _attention(width: int, depth: int) -> tuple[nn.Module, int]:
    return _Transformer(width, depth), EMBEDDING * TOKENS


_FEATURES: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "mlp": _mlp,
    "tied": _tied,
    "functional": _functional,
    "cnn": _cnn,
    "batchnorm": _batchnorm,
    "residual": _residual,
    "attention": _attention,
}
