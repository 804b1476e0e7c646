"""Superpixels as regions that are removed together: those of scikit-image, image by image."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.maps.regions import Groups
from pytest_xaisanity.maps.superpixels import Superpixels
from pytest_xaisanity.subject.subject import Subject

segmentation = pytest.importorskip("skimage.segmentation")
torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Got image with third dimension")


def images(channels=3, count=16):
    """Return images of two halves of unlike color, with noise, in the units of a network."""
    drawn = torch.randn(count, channels, 12, 12, generator=torch.Generator().manual_seed(0)) * 0.1
    drawn[:, 0, :, 6:] += 3.0
    return drawn


def labels_of(groups, inputs, **settings):
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 3)).eval()
    subject = Subject(model, inputs, **settings)
    with subject.lent():
        block = next(subject.blocks())
        return block, Groups(groups).regions(block, len(inputs)).labels


def ranked(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("method", "settings"), [("slic", {"n_segments": 9}), ("felzenszwalb", {"scale": 20})])
def test_are_those_of_scikit_image_on_each_image_by_itself(channels, method, settings):
    inputs = images(channels)
    block, found = labels_of(Superpixels(method, **settings), inputs)
    for row, index in enumerate(block.indices):
        image = inputs[index].numpy()
        scaled = np.moveaxis((image - image.min()) / (image.max() - image.min()), 0, -1)
        axis = {"channel_axis": None} if channels == 1 else {"channel_axis": -1}
        theirs = getattr(segmentation, method)(scaled[..., 0] if channels == 1 else scaled, **axis, **settings)
        assert (found[row].reshape(12, 12).numpy() == ranked(theirs)).all()


def test_no_superpixel_lies_in_both_halves_of_an_image():
    _, found = labels_of(Superpixels("felzenszwalb", min_size=4), images())
    halves = found[0].reshape(12, 12)
    assert not set(halves[:, :6].flatten().tolist()) & set(halves[:, 6:].flatten().tolist())


def test_channels_may_come_last():
    inputs = images()
    first, last = (
        labels_of("slic", inputs)[1],
        labels_of("slic", inputs.movedim(1, -1), axes="channels_last")[1],
    )
    assert torch.equal(first, last)


def test_a_name_is_the_object_with_its_defaults():
    assert PixelFlipping(groups="slic") == PixelFlipping(groups=Superpixels("slic"))
    assert PixelFlipping(groups="slic") != PixelFlipping(groups=Superpixels("slic", n_segments=7))
    assert repr(Groups("slic")) == "Superpixels('slic', n_segments=50)"


def test_claims_remove_them():
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 3)).eval()
    explainer = Bench(model, images(count=32)).explainer(InputXGradient)
    verdict = explainer.beats("random", on="pixel_flipping", groups="slic")
    assert verdict.n >= 16
    assert "groups=slic" in verdict.claim


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(XaiError, match="slic"):
        PixelFlipping(groups="slick")


def test_a_setting_that_scikit_image_does_not_take_is_one_error():
    with pytest.raises(XaiError, match=r"raised by scikit-image.*segments"):
        labels_of(Superpixels("slic", segments=3), images())


def test_tables_have_none():
    with pytest.raises(XaiError, match=r"images \(N, C, H, W\)"):
        labels_of("slic", torch.randn(16, 8))


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(XaiError, match="pip install scikit-image"):
        PixelFlipping(groups="slic")
