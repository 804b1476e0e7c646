"""Superpixels: regions of like color, found in each image by scikit-image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.errors import XaiError, setting_error, unknown_name
from ..subject.block import Block

__all__ = ["METHODS", "Superpixels"]

METHODS: Mapping[str, Mapping[str, object]] = {"slic": {"n_segments": 50}, "felzenszwalb": {"scale": 50}}
"""Functions of ``skimage.segmentation``, and what we set in place of their defaults: maps are rarely of megapixels."""


class Superpixels:
    """Finds the superpixels of each image of a block: ``groups=Superpixels("slic", n_segments=100)``.

    Images are scaled to [0, 1] one by one, as they may be in the units of a network, and their colors are taken as red,
    green and blue where there are three.

    Args:
        method: ``"slic"`` (Achanta et al. 2012) or ``"felzenszwalb"`` (Felzenszwalb and Huttenlocher 2004), of
            scikit-image, which has to be installed.
        settings: Those of scikit-image's function, such as ``n_segments=`` and ``compactness=``, or ``scale=``.

    Raises:
        XaiError: There is no such method, or scikit-image is not installed.
    """

    def __init__(self, method: str = "slic", **settings: object) -> None:
        if method not in METHODS:
            raise unknown_name("superpixels", method, METHODS, kind="method")
        self.method, self.settings = method, {**METHODS[method], **settings}
        self._find()

    def __repr__(self) -> str:
        return f"Superpixels({', '.join([repr(self.method), *(f'{k}={v!r}' for k, v in self.settings.items())])})"

    def of(self, block: Block) -> Tensor:
        """Return the superpixel of each place of each image, ``(b, H, W)``, on the CPU.

        Raises:
            XaiError: The inputs are no images, or the function raises.
        """
        if not block.layout.is_image or not block.inputs[0].is_floating_point():
            raise setting_error(
                "pixel_flipping",
                "groups",
                f"{self!r} for inputs with places {block.layout.places}",
                "images (N, C, H, W), or labels of your own",
            )
        images = block.layout.channels_first(block.inputs[0]).detach().float().cpu().numpy()
        return torch.from_numpy(np.stack([self._labels(image) for image in images]))

    def _labels(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        low, high = image.min(), image.max()
        scaled = np.moveaxis((image - low) / max(high - low, 1e-12), 0, -1)
        find, plain = self._find(), scaled.shape[-1] == 1
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
                found = find(scaled[..., 0] if plain else scaled, channel_axis=None if plain else -1, **self.settings)
        except Exception as error:
            raise XaiError(
                f"superpixels {self.method!r}",
                found=f"{type(error).__name__} raised by scikit-image: {error}",
                expected=f"settings that skimage.segmentation.{self.method} takes",
                fix="change the settings of Superpixels(...)",
            ) from error
        return np.asarray(found).astype(np.int64)

    def _find(self) -> Callable[..., Any]:
        try:
            from skimage import segmentation
        except ImportError as error:
            raise XaiError(
                f"superpixels {self.method!r}",
                found="no scikit-image",
                expected="the package, which finds superpixels",
                fix="pip install scikit-image, or give labels or a function inputs -> labels",
            ) from error
        find: Callable[..., Any] = getattr(segmentation, self.method)
        return find
