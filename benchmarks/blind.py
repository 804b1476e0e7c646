"""Explainers that hardly see what is above the first layers, and a network whose attention can be rolled out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


def times_logit(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return each image, multiplied by its logit."""
    with torch.no_grad():
        return inputs * model(inputs).gather(1, targets[:, None])[:, :, None, None]


def frozen_top(model: nn.Sequential, layers: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Return an explainer that sees the top ``layers`` layers as they are in ``model``, whatever becomes of them."""
    weighted = [place for place, part in enumerate(model) if isinstance(part, (nn.Conv2d, nn.Linear))]
    cut = weighted[-layers]
    top = copy.deepcopy(model[cut:])

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        inputs = inputs.detach().requires_grad_()
        logits = top(model[:cut](inputs)).gather(1, targets[:, None])
        return torch.autograd.grad(logits.sum(), inputs)[0]

    return explain


class Attention(nn.Module):
    """Self-attention with four heads and a residual connection, and a dense layer with another.

    ``weights`` ``(N, heads, T, T)`` are those of the last call.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.relu, self.narrow = nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        self.weights = torch.empty(0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens ``(N, T, width)`` that have seen each other."""
        n, length, width = tokens.shape
        parts = self.mixed(self.before(tokens)).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts
        self.weights = (queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5).softmax(-1)
        seen = (self.weights @ values).transpose(1, 2).reshape(n, length, width)
        tokens = tokens + self.joined(seen)
        return tokens + self.narrow(self.relu(self.wide(self.after(tokens))))


class VisionTransformer(nn.Module):
    """Patches as tokens, a class token, four blocks of attention and a dense head (Dosovitskiy et al. 2021, small)."""

    def __init__(self, size: int, patch: int, classes: int, width: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.side = size // patch
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.first = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, self.side**2 + 1, width))
        self.blocks = nn.Sequential(*(Attention(width) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images ``(N, 1, size, size)``."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], 1) + self.places
        return self.head(self.norm(self.blocks(tokens)[:, 0]))


def rollout(model: VisionTransformer, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return attention rollout (Abnar and Zuidema 2020): what the class token takes of each patch, ``(N, 1, h, w)``.

    The product over the blocks of the heads' mean attention, half of it the residual connection. It sees no head.
    """
    with torch.no_grad():
        model(inputs)
    rolled = torch.eye(model.side**2 + 1).to(inputs)
    for block in model.blocks:
        weights = block.weights.mean(1)
        rolled = (weights + torch.eye(weights.shape[-1]).to(weights)) / 2 @ rolled
    return rolled[:, 0, 1:].reshape(-1, 1, model.side, model.side)
