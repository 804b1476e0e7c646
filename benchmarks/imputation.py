"""Noisy linear imputation set against Quantus's, which solves a sparse system for one image and one mask at a time.

64 images are imputed under 50 masks each: the pixels that maps rank highest, at the fractions 0.1 to 0.5. Maps are of
two kinds: fresh noise, whose masks are scattered, and smooth ones, whose masks are a few large holes. Each image has
masks of its own, or all share the same 50, as under a map that is the same for all. Quantus imputes a sample of the
pairs, in CPU time, before each of the rounds; a ratio is the median over rounds. The noise is left out on both sides,
so that values can be compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F

from pytest_xaisanity.maps.noisy_linear import NoisyLinear

IMAGES, MASKS, FRACTIONS = 64, 50, (0.1, 0.2, 0.3, 0.4, 0.5)


def masks(size: int, fraction: float, *, smooth: bool, shared: bool, rng: torch.Generator) -> torch.Tensor:
    """Return which pixels of each image are removed, ``(IMAGES * MASKS / 5, size, size)``."""
    each = MASKS // len(FRACTIONS)
    coarse = max(2, size // 7) if smooth else size
    maps = torch.rand(each * (1 if shared else IMAGES), 1, coarse, coarse, generator=rng)
    ranks = F.interpolate(maps, size=(size, size), mode="bilinear").flatten(1).argsort(1).argsort(1)
    removed = (ranks < round(fraction * size**2)).reshape(-1, 1, size, size)
    return removed.expand(-1, IMAGES, -1, -1).flatten(0, 1) if shared else removed[:, 0]


def own(images: torch.Tensor, removed: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, float]:
    """Return the imputed images, and the seconds of CPU time it took; on an accelerator those that passed."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    images, removed = images.to(device), removed[:, None].to(device).expand(images.shape)
    parts = (
        list(zip(images.split(IMAGES), removed.split(IMAGES), strict=True))
        if device.type == "cpu"
        else [(images, removed)]
    )
    nothing = torch.zeros((), device=device)
    NoisyLinear().given(*parts[0], nothing)
    _wait(device)
    began = clock()
    found = [NoisyLinear().given(*part, nothing) for part in parts]
    _wait(device)
    return torch.cat(found).cpu(), clock() - began


def quantus(images: torch.Tensor, removed: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the images as Quantus imputes them, and the seconds of CPU time it took."""
    from quantus.functions.perturb_func import noisy_linear_imputation

    arrays = images.double().numpy()
    places = [np.flatnonzero(one.numpy()) for one in removed]
    began = time.process_time()
    found = [noisy_linear_imputation(*pair, noise=0.0) for pair in zip(arrays, places, strict=True)]
    return torch.from_numpy(np.stack(found)), time.process_time() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print a line for each kind of masks and each fraction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sample", type=int, default=16, help="pairs that Quantus imputes; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quantus", type=Path, help="a folder with Quantus, where it is not installed")
    options = parser.parse_args()
    if options.quantus:
        sys.path.insert(0, str(options.quantus))
    torch.set_num_threads(1)
    device, rng = torch.device(options.device), torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, options.channels, options.size, options.size, generator=rng)
    images = F.avg_pool2d(images, 3, 1, 1).repeat(MASKS // len(FRACTIONS), 1, 1, 1)
    for kind, shared in product(("scattered", "smooth"), (False, True)):
        for fraction in FRACTIONS:
            removed = masks(options.size, fraction, smooth=kind == "smooth", shared=shared, rng=rng)
            line = f"{kind}, {'shared masks' if shared else 'own masks'}, {fraction:g}: "
            print(line + measured(images, removed, device, options), flush=True)


def measured(images: torch.Tensor, removed: torch.Tensor, device: torch.device, options: argparse.Namespace) -> str:
    """Return what the imputation of the images takes, and how many times that Quantus takes."""
    few, times, ratios, apart = slice(0, options.sample), [], [], 0.0
    for _ in range(options.rounds):
        if options.sample:
            theirs, taken = quantus(images[few], removed[few])
        found, seconds = own(images, removed, device)
        times.append(1e3 * seconds / len(images))
        if options.sample:
            ratios.append(1e3 * taken / options.sample / times[-1])
            apart = max(apart, float((found[few].double() - theirs).abs().max()))
    line = f"{median(times):.4f} ms an image and mask"
    if not options.sample:
        return line
    times_as_long = f"{median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"
    return f"{line}, Quantus {times_as_long}; values differ by {apart:.1e}"


if __name__ == "__main__":
    main()
