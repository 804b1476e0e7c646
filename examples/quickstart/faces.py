"""Two hundred photographs, half of them faces, and the network that MTCNN refines its face candidates with."""

from __future__ import annotations

from importlib.metadata import distribution
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Faces(NamedTuple):
    """Images ``(200, 3, 24, 24)``, about -1 to 1, and labels ``(200,)``: 1 for a face, 0 for anything else."""

    images: torch.Tensor
    labels: torch.Tensor


class RNet(nn.Module):
    """MTCNN's second stage (Zhang et al. 2016), without the branch that refines the box.

    Images ``(N, 3, 24, 24)`` to logits ``(N, 2)``: no face, face.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of each image."""
        features = self.pool1(self.prelu1(self.conv1(images)))
        features = self.pool2(self.prelu2(self.conv2(features)))
        features = self.prelu3(self.conv3(features))
        # The weights come from a framework that lays images out column by column.
        features = features.permute(0, 3, 2, 1).flatten(1)
        return self.dense5_1(self.prelu4(self.dense4(features)))


def load_faces() -> Faces:
    """Return scikit-image's 100 faces and 100 non-faces of Labeled Faces in the Wild as :class:`RNet` wants them."""
    path = distribution("scikit-image").locate_file("skimage/data/lfw_subset.npy")
    gray = torch.from_numpy(np.load(str(path))).float()[:, None]
    images = F.interpolate(gray, size=(24, 24), mode="area").expand(-1, 3, -1, -1).contiguous()
    return Faces(images * 2 - 1, torch.arange(len(images)).lt(100).long())


def trained_rnet() -> RNet:
    """Return :class:`RNet` with the weights that the facenet-pytorch package ships, in evaluation mode."""
    path = distribution("facenet-pytorch").locate_file("facenet_pytorch/data/rnet.pt")
    weights = torch.load(str(path), map_location="cpu", weights_only=True)
    # Its first weights are drawn from the global generator, which is not ours to move.
    with torch.random.fork_rng(devices=[]):
        model = RNet()
    model.load_state_dict({name: value for name, value in weights.items() if not name.startswith("dense5_2")})
    return model.eval()


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose label is the model's prediction."""
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()
