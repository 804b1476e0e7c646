"""A folder of images as inputs, prepared as the network asks; folders in it are classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...common.errors import XaiError, nearest, said
from ...common.seeding import generator
from .models import Network, Prepare
from .spec import Spec

__all__ = ["Images", "images_in"]

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_MOST = 256
_IMAGENET: Mapping[str, Any] = {
    "size": 224,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "limit": _MOST,
}
_SETTINGS = ", ".join(_IMAGENET)


class Images(NamedTuple):
    """What a folder holds.

    Attributes:
        inputs: The images ``(N, C, H, W)``.
        targets: The class of each ``(N,)``, or None where the folder has no folders.
        words: What a reader should know, such as how they were prepared where the network does not say; or nothing.
    """

    inputs: Tensor
    targets: Tensor | None
    words: str


@dataclass(frozen=True)
class _Found:
    files: Sequence[Path]
    folders: Sequence[str]  # the name of each file's folder, or none where images lie in the folder itself


def images_in(spec: Spec, network: Network | None, *, where: str, folder: Path, seed: int) -> Images:
    """Return the images of a folder.

    Args:
        spec: The SPEC: the folder, and ``size=``, ``mean=``, ``std=`` and ``limit=`` or not.
        network: The network, which may know how images are prepared and what its classes are called; None where it is
            none of a library's.
        where: The option that held the SPEC, for errors.
        folder: What paths are relative to.
        seed: Seeds the choice of ``limit=`` images, 256 by default, where there are more.

    Raises:
        XaiError: There is no image, one cannot be read, a setting cannot be, or folders are no classes of the network.
    """
    settings = _checked(spec, where)
    path = (folder / spec.name).expanduser()
    found, words = _chosen(_files(path, where), int(settings["limit"]), seed)
    prepare = None if network is None or spec.settings.keys() - {"limit"} else network.prepare
    if prepare is None:
        prepare = _plain(settings, where)
        if not spec.settings.keys() & {"size", "mean", "std"}:
            words.append(
                "images are prepared as for ImageNet (224 pixels a side, its mean and standard deviation), since the "
                f"model does not say how: {spec.name}(size=..., mean=..., std=...) says it"
            )
    tensors = [_prepared(file, prepare, where) for file in found.files]
    if len({tensor.shape for tensor in tensors}) > 1:
        sizes = sorted({tuple(tensor.shape) for tensor in tensors})[:3]
        fix = f"give one size: {spec.name}(size=224)"
        raise XaiError(where, found=f"images prepared to {sizes}", expected="one size", fix=fix)
    inputs = torch.stack(tensors)
    targets = _targets(found.folders, network, inputs, where) if found.folders else None
    return Images(inputs, targets, "; ".join(words))


def _checked(spec: Spec, where: str) -> Mapping[str, Any]:
    settings = {**_IMAGENET, **spec.settings}
    for name in spec.settings:
        if name not in _IMAGENET:
            near = nearest(name, _IMAGENET, count=1)
            fix = f"use {near[0]!r}, the nearest" if near else "leave it out"
            raise XaiError(where, found=f"{spec.text!r}, with {name}=", expected=f"one of {_SETTINGS}", fix=fix)
    whole = all(isinstance(settings[name], int) and settings[name] > 0 for name in ("size", "limit"))
    if spec.args or not whole or not all(isinstance(settings[name], (tuple, list)) for name in ("mean", "std")):
        raise XaiError(
            where,
            found=repr(spec.text),
            expected="size= and limit= as whole numbers above 0, mean= and std= with a number for each channel",
            fix=f"write it as in {spec.name}(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))",
        )
    return settings


def _files(path: Path, where: str) -> _Found:
    """Return the images in a folder, or in the folders in it, in the order of their names."""
    if not path.is_dir():
        siblings = [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings, count=1)
        raise XaiError(
            where,
            found=f"{str(path)!r}, which is no folder",
            expected="a folder of images, or a file with a tensor",
            fix=f"name {near[0]!r}, the nearest beside it" if near else "check the path",
        )
    files = [one for one in sorted(path.iterdir()) if _is_image(one)]
    if files:
        return _Found(files, ())
    each = [(one, sub.name) for sub in sorted(path.iterdir()) if sub.is_dir() for one in sorted(sub.rglob("*"))]
    each = [(file, name) for file, name in each if _is_image(file)]
    if not each:
        raise XaiError(
            where,
            found=f"no image in {str(path)!r}",
            expected=f"files that end in {', '.join(sorted(_ENDINGS))}, in it or in folders of classes in it",
            fix="name another folder",
        )
    return _Found([file for file, _ in each], [name for _, name in each])


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in _ENDINGS and file.is_file()


def _chosen(found: _Found, limit: int, seed: int) -> tuple[_Found, list[str]]:
    """Return as many images as are wanted, drawn at random where there are more, and what to say of it."""
    count = len(found.files)
    if count <= limit:
        return found, []
    rows = sorted(torch.randperm(count, generator=generator(seed, "images")).tolist()[:limit])
    words = f"{limit} of {count} images are taken, drawn at random: limit={count} takes all"
    folders = [found.folders[row] for row in rows] if found.folders else ()
    return _Found([found.files[row] for row in rows], folders), [words]


def _plain(settings: Mapping[str, Any], where: str) -> Prepare:
    """Return what scales the shorter side, cuts out the center, and normalizes; one mean stands for gray images."""
    try:
        from torchvision.transforms import v2
    except ImportError as error:
        raise XaiError(
            where,
            found=f"a folder of images, and no torchvision that can be imported{said(error)}",
            expected="torchvision, which prepares them",
            fix='pip install "pytest-xaisanity[vision]"',
        ) from error
    size, gray = settings["size"], len(settings["mean"]) == 1
    prepare: Prepare = v2.Compose(
        [
            v2.ToImage(),
            *([v2.Grayscale()] if gray else []),
            v2.Resize(round(size * 8 / 7) if size >= 64 else size, antialias=True),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(settings["mean"]), list(settings["std"])),
        ]
    )
    return prepare


def _prepared(file: Path, prepare: Prepare, where: str) -> Tensor:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return torch.as_tensor(prepare(image.convert("RGB"))).as_subclass(Tensor)
    except Exception as error:  # of a file that is no image, or a preparation that does not take it
        raise XaiError(
            where,
            found=f"{str(file)!r}, of which no input could be made ({type(error).__name__}{said(error)})",
            expected="an image that Pillow opens and the network's preparation takes",
            fix="take it out of the folder, or prepare the images in a function of yours and name that: module:name",
        ) from error


def _targets(folders: Sequence[str], network: Network | None, inputs: Tensor, where: str) -> Tensor:
    """Return the class that each image's folder stands for: by its name, by its number, or by the order of all."""
    names = sorted(set(folders))
    classes = {name.casefold(): place for place, name in reversed([*enumerate(network.classes if network else ())])}
    if all(_key(name) in classes for name in names):
        place = {name: classes[_key(name)] for name in names}
    elif all(name.isdecimal() for name in names):
        place = {name: int(name) for name in names}
    else:
        outputs = _outputs(network, inputs)
        if outputs is not None and outputs != len(names):
            raise _no_classes(names, classes, outputs, where)
        place = {name: number for number, name in enumerate(names)}
    return torch.tensor([place[name] for name in folders])


def _key(name: str) -> str:
    return name.replace("_", " ").casefold()


def _outputs(network: Network | None, inputs: Tensor) -> int | None:
    """Return how many outputs a network has; None where it is not known."""
    if network is None or not callable(network.model):
        return None
    with torch.no_grad():
        found = network.model(inputs[:1])
    scores = found if isinstance(found, Tensor) else found.get("logits")
    return None if scores is None or scores.ndim != 2 else scores.shape[1]


def _no_classes(names: Sequence[str], classes: Mapping[str, int], outputs: int, where: str) -> XaiError:
    missing = [name for name in names if _key(name) not in classes]
    near = nearest(_key(missing[0]), classes, count=1)
    return XaiError(
        where,
        found=f"the folder {missing[0]!r} among {len(names)} folders of images",
        expected=f"names of classes that the model knows, their numbers, or one folder for each of {outputs} outputs",
        fix=(f"call it {near[0]!r}, the nearest class; " if near else "")
        + "name the folders by number, or put the images into one folder, so that predictions are explained",
    )
