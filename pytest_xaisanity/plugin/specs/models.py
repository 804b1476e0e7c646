"""Networks of torchvision, timm and Hugging Face's transformers, by name. Nothing is downloaded.

Weights are those that lie on this machine: in the library's own cache, or in a file that is named. What a library knows
of its networks, how images are prepared and what the classes are called, comes with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, hub, nn

from ...common.errors import XaiError, said, shown
from ...common.seeding import isolated
from ...subject.files import read_file
from .objects import library, unknown
from .spec import Spec

__all__ = ["LIBRARIES", "Network", "network"]

Prepare = Callable[[Any], Tensor]
"""Makes a tensor ``(C, H, W)`` of an image of PIL's."""

_WITHOUT = "give weights=None for random ones, or weights='file.pth' for a state_dict of your own"


@dataclass(frozen=True)
class Network:
    """A network, and what its library knows of it.

    Attributes:
        model: The network, in evaluation mode.
        prepare: How images are prepared for it; None where that is not known.
        classes: What its outputs are called; empty where that is not known.
    """

    model: object
    prepare: Prepare | None = None
    classes: Sequence[str] = ()


def network(spec: Spec, *, where: str, folder: Path) -> Callable[[], Network]:
    """Return a function that makes the network of a library.

    Args:
        spec: The SPEC, whose home is one of :data:`LIBRARIES`.
        where: The option that held it, for errors.
        folder: What paths are relative to.

    Raises:
        XaiError: The library is not installed, knows no such network, or its weights are not on this machine.
    """
    package, find = LIBRARIES[spec.home]
    if spec.args:
        raise XaiError(
            where,
            found=f"{spec.text!r}, with a setting that has no name",
            expected="each setting of the network by its name",
            fix="write it as in num_classes=10",
        )
    return find(_installed(package, spec, where), spec, where, folder)


def _installed(package: str, spec: Spec, where: str) -> ModuleType:
    fix = f"pip install {package}, or name a network of your own: package.module:name"
    return library(package, spec, where=where, expected=f"{package}, whose network it is", fix=fix)


def _built(build: Callable[[], object], spec: Spec, where: str) -> nn.Module:
    """Return a network in evaluation mode, whose random weights are the same each time."""
    with isolated("network", spec.text):
        try:
            model = build()
        except XaiError:
            raise
        except Exception as error:  # a setting that is none, weights that do not fit
            raise XaiError(
                where,
                found=f"{spec.text!r}, which could not be built ({type(error).__name__}{said(error)})",
                expected=f"a name and settings that {spec.home} builds a network from",
                fix="correct the settings, or build it in a function of yours and name that: package.module:name",
            ) from error
    assert isinstance(model, nn.Module)
    return model.eval()


def _state_dict(file: Path, where: str) -> Mapping[str, Tensor]:
    """Return the weights in a file, which may lie one level below."""
    found = read_file(file, where=where)
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise XaiError(
            where,
            found=f"a {type(found).__name__} in {file.name!r}",
            expected="a state_dict: names of parameters with their tensors",
            fix="save it with torch.save(model.state_dict(), file)",
        )
    return found


# -------------------------------------------------------------------------------------------------------- torchvision


def _torchvision(_: ModuleType, spec: Spec, where: str, folder: Path) -> Callable[[], Network]:
    from torchvision import models

    if spec.name not in (known := models.list_models()):
        raise unknown(spec, spec.name, known, f"torchvision has no network {spec.name!r}", where=where)
    choices = models.get_model_weights(spec.name)
    usual = next(iter(choices), None) and choices.DEFAULT  # some have no weights
    settings = dict(spec.settings)
    given = settings.pop("weights", "DEFAULT")
    file = folder / given if isinstance(given, str) and Path(given).suffix else None
    chosen = None if given is None or file is not None else _weights(choices, given, spec, where)
    state = None if file is None else _state_dict(file.expanduser(), where)

    def build() -> nn.Module:
        model: nn.Module = models.get_model(spec.name, weights=chosen, **settings)
        if file is not None and state is not None:
            _load(model, state, file, where)
        return model

    about = chosen or usual
    own = "num_classes" not in settings or chosen is not None
    classes = about.meta.get("categories", ()) if about is not None and own and given is not None else ()
    prepare = None if about is None else about.transforms()
    return lambda: Network(_built(build, spec, where), prepare, classes)


def _load(model: nn.Module, state: Mapping[str, Tensor], file: Path, where: str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = [line.strip() for line in str(error).splitlines()][1:2] or [str(error)]
        raise XaiError(
            where,
            found=f"weights in {file.name!r} that do not fit the network ({shown(first[0])})",
            expected="a state_dict of this very network",
            fix="set what differs, such as num_classes=, or name the network that the weights are of",
        ) from error


def _weights(choices: Any, name: object, spec: Spec, where: str) -> Any:
    """Return weights of torchvision's that lie in its cache."""
    names = [one.name for one in choices]
    if name != "DEFAULT" and name not in names:
        found = f"no weights {name!r} of {spec.name}"
        raise unknown(spec, str(name), [*names, "DEFAULT"], found, where=where, fix=_WITHOUT)
    if not names:
        raise XaiError(where, found=f"{spec.text!r}, which has no weights", expected="weights=None", fix=_WITHOUT)
    chosen = choices[name] if name in names else choices.DEFAULT
    cached = Path(hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    if not cached.is_file():
        raise _not_here(
            f"{spec.text!r}, whose weights {chosen.name} are not at {cached}",
            f'python -c "from torchvision.models import get_model; get_model({spec.name!r}, weights={chosen.name!r})"',
            where,
        )
    return chosen


def _not_here(found: str, command: str, where: str, otherwise: str = _WITHOUT) -> XaiError:
    return XaiError(
        where,
        found=found,
        expected="weights on this machine: nothing is downloaded while tests run",
        fix=f"fetch them once, where there is a network, with {command}; or {otherwise}",
    )


# --------------------------------------------------------------------------------------------------------------- timm


def _timm(timm: Any, spec: Spec, where: str, folder: Path) -> Callable[[], Network]:
    settings = dict(spec.settings)
    local = spec.name.startswith(("local-dir:", "local_dir:"))
    if not local and spec.name.partition(".")[0] not in (known := timm.list_models()):
        name = spec.name.partition(".")[0]
        raise unknown(spec, name, known, f"timm has no network {spec.name!r}", where=where)
    given = settings.pop("weights", "DEFAULT")
    if isinstance(given, str) and given != "DEFAULT":
        settings["checkpoint_path"] = given
    if "checkpoint_path" in settings:
        file = (folder / str(settings["checkpoint_path"])).expanduser()
        _state_dict(file, where)  # so that a missing file is one clear error
        settings["checkpoint_path"] = str(file)
    wanted = settings.pop("pretrained", given is not None and "checkpoint_path" not in settings)
    if wanted and not local:
        settings["pretrained_cfg_overlay"] = {"file": str(_cached_by_timm(timm, spec, where))}

    def build() -> object:
        return timm.create_model(spec.name, pretrained=bool(wanted), **settings)

    def make() -> Network:
        model = _built(build, spec, where)
        return Network(model, timm.data.create_transform(**timm.data.resolve_model_data_config(model)))

    return make


def _cached_by_timm(timm: Any, spec: Spec, where: str) -> Path:
    """Return the file of a network's weights in the cache of Hugging Face's hub, or of torch's."""
    known = timm.models.get_pretrained_cfg(spec.name)
    if known is None:
        raise XaiError(where, found=f"{spec.text!r}, which has no weights", expected="weights=None", fix=_WITHOUT)
    if known.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        repository = known.hf_hub_id if "/" in known.hf_hub_id else f"timm/{known.hf_hub_id}"
        for name in filter(None, (known.hf_hub_filename, "model.safetensors", "pytorch_model.bin")):
            if isinstance(found := try_to_load_from_cache(repository, name), str):
                return Path(found)
    cached = Path(hub.get_dir()) / "checkpoints" / (known.url or "none").rpartition("/")[2]
    if cached.is_file():
        return cached
    command = f'python -c "import timm; timm.create_model({spec.name!r}, pretrained=True)"'
    raise _not_here(f"{spec.text!r}, whose weights are in no cache on this machine", command, where)


# ------------------------------------------------------------------------------------------------------- transformers


def _transformers(transformers: Any, spec: Spec, where: str, folder: Path) -> Callable[[], Network]:
    settings = dict(spec.settings)
    local = (folder / spec.name).expanduser()
    name = str(local) if local.is_dir() else spec.name
    kind = settings.pop("auto", None)
    try:
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=True)
    except Exception as error:  # of a folder without a configuration, or a name that is not in the cache
        raise _not_here(
            f"{spec.text!r}, which is no folder with a config.json here, and not in the cache of transformers "
            f"({type(error).__name__}{said(error)})",
            f"hf download {spec.name}",
            where,
            "name a folder that model.save_pretrained(folder) has written",
        ) from error
    cls = _class(transformers, kind, config, spec, where)

    def make() -> Network:
        def build() -> object:
            return cls.from_pretrained(name, local_files_only=True, **settings)

        classes = [label for _, label in sorted(config.id2label.items())] if config.id2label else []
        return Network(_built(build, spec, where), _image_processor(transformers, name), classes)

    return make


def _class(transformers: Any, kind: object, config: Any, spec: Spec, where: str) -> Any:
    """Return the class that ``auto=`` names, or that which the network was saved from."""
    known = [name for name in dir(transformers) if name.startswith("AutoModelFor")]
    if kind is not None:
        if kind not in known:
            raise unknown(spec, str(kind), known, f"transformers has no class {kind!r}", where=where)
        return getattr(transformers, str(kind))
    for name in config.architectures or ():
        if "For" in name or name.endswith("LMHeadModel"):
            return getattr(transformers, name)
    raise XaiError(
        where,
        found=f"{spec.text!r}, of architecture {', '.join(config.architectures or ['none'])}, which has no head",
        expected="a network whose outputs are explained",
        fix="name its class: hf:folder(auto='AutoModelForSequenceClassification')",
    )


def _image_processor(transformers: Any, name: str) -> Prepare | None:
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name, local_files_only=True)
    except Exception:  # of a network for text, which has none
        return None

    def prepare(image: Any) -> Tensor:
        values: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return values

    return prepare


_Find = Callable[[Any, Spec, str, Path], Callable[[], Network]]

LIBRARIES: Mapping[str, tuple[str, _Find]] = {
    "torchvision": ("torchvision", _torchvision),
    "timm": ("timm", _timm),
    "hf": ("transformers", _transformers),
}
"""The libraries by the home of a SPEC: the package, and what finds a network of it."""
