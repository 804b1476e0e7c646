"""What the SPECs of a session stand for: each is found once, and made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ...common.endings import TENSORS
from ...common.errors import XaiError, said
from .objects import found_at, made
from .spec import Spec, read_spec

__all__ = ["USUAL_EXPLAINERS", "Sources", "checked_spec", "shown_explainer"]

USUAL_EXPLAINERS: Mapping[str, str] = {
    "captum:Saliency(abs=False)": "the gradient",
    "captum:InputXGradient": "the input times its gradient",
    "captum:IntegratedGradients(n_steps=16)": "the same, averaged on the way from zero",
}
"""The explainers that claims are put to where none is named, and a word about each."""

_NETWORKS = ("torchvision", "timm", "hf")
_METHODS = ("captum", "rules", "zennit", "cam", "shap", "maps")
_MODULE = "module:name"
_EXPECTED = {
    "model": "module:name, file.py:name, torchvision:NAME, timm:NAME or hf:NAME",
    "inputs": f"module:name, file.py:name, a folder of images, or a file that ends in {', '.join(TENSORS)}",
    "targets": f"module:name, file.py:name, or a file that ends in {', '.join(TENSORS)}",
    "explainer": f"module:name, file.py:name, {', '.join(f'{one}:NAME' for one in _METHODS[:-1])} or maps:FILE",
}
_LIBRARIES: Mapping[str, Sequence[str]] = {"model": _NETWORKS, "explainer": _METHODS}
_EXAMPLES = {
    "model": "mypackage.models:load",
    "inputs": "mypackage.data:images",
    "explainer": "captum:Saliency",
    "torchvision": "torchvision:resnet18",
    "timm": "timm:resnet18",
    "hf": "hf:./folder",
    "captum": "captum:Saliency",
    "rules": "rules:LRP('epsilon')",
    "zennit": "zennit:EpsilonPlus",
    "cam": "cam:GradCAM",
    "shap": "shap:GradientExplainer",
    "maps": "maps:maps.npy",
}
_WANTED = {
    "model": "a torch.nn.Module in evaluation mode",
    "inputs": "a tensor of inputs (N, ...)",
    "targets": "class indices (N,)",
    "explainer": "a Captum class or a function (model, inputs, targets) -> attributions",
    "train": "a function (inputs, targets, seed) -> model",
    "training_data": "(inputs, targets) or (inputs, targets, test_inputs, test_targets)",
}


def checked_spec(option: str, text: str, *, where: str, folder: Path) -> Spec:
    """Return the SPEC of an option; raise where it is none."""
    libraries = _LIBRARIES.get(option, ())
    hint = _hint(option, text, libraries)
    return read_spec(
        text,
        where=where,
        folder=folder,
        libraries=libraries,
        paths=option in ("inputs", "targets"),
        expected=_EXPECTED.get(option, _MODULE),
        hint=hint,
    )


def _hint(option: str, text: str, libraries: Sequence[str]) -> str:
    """Return what to do about a text that is no SPEC."""
    head, colon, _ = text.strip().partition(":")
    if colon and head in libraries:
        return f"write a name behind the colon, as in {_EXAMPLES[head]}"
    if option == "explainer" and text.strip() and not colon:
        from .explainers import hint as nearest_method

        return nearest_method(text)
    return f"put a colon between the module and the name in it, as in {_EXAMPLES.get(option, 'mypackage.module:name')}"


def shown_explainer(text: str) -> str:
    """Return what tells an explainer from others in the name of a test: its SPEC without where it is found."""
    head, paren, rest = text.partition("(")
    return f"{head.rpartition(':')[2].rpartition('/')[2]}{paren}{rest}"


class Sources:
    """The objects behind the options of a session.

    Args:
        texts: The SPEC of each option that has one; explainers are found by their own texts.
        flags: What each option is called, for errors.
        folder: What paths are relative to, and where modules may lie that are not installed.
        seed: Seeds the choice among the images of a folder.

    Attributes:
        words: What a reader should know of what was made.
    """

    def __init__(self, texts: Mapping[str, str], flags: Mapping[str, str], folder: Path, seed: int) -> None:
        self._texts, self._flags, self._folder, self._seed = texts, flags, folder, seed
        self._found: dict[tuple[str, str], Callable[[], object]] = {}
        self._made: dict[tuple[str, str], object] = {}
        self._failed: dict[tuple[str, str], XaiError] = {}
        self.words: list[str] = []

    def has(self, option: str) -> bool:
        """Whether there is a SPEC for it."""
        return option in self._texts

    def is_made(self, option: str) -> bool:
        """Whether anything was made of it."""
        return any(name == option for name, _ in self._made)

    def find(self, option: str, text: str | None = None) -> None:
        """Find what an option stands for, without making it.

        Raises:
            XaiError: It stands for nothing.
        """
        key = (option, text or self._texts[option])
        if key not in self._found:
            where = self._flags[option]
            spec = checked_spec(option, key[1], where=where, folder=self._folder)
            self._found[key] = self._maker(option, spec, where)

    def get(self, option: str, text: str | None = None) -> object:
        """Return what an option stands for, the same each time.

        Args:
            option: The option.
            text: Its SPEC, of several; by default that which was given for it.

        Raises:
            XaiError: It stands for nothing, or cannot be made.
        """
        from .images import Images
        from .models import Network

        made = self._make(option, text)
        if isinstance(made, Network):
            return made.model
        return made.inputs if isinstance(made, Images) else made

    def _make(self, option: str, text: str | None = None) -> object:
        key = (option, text or self._texts[option])
        if key in self._failed:  # it may take long to fail
            raise self._failed[key]
        if key not in self._made:
            self.find(option, text)
            try:
                self._made[key] = self._checked(*key)
            except XaiError as error:
                self._failed[key] = error
                raise
        return self._made[key]

    def _checked(self, option: str, text: str) -> object:
        """Return what a SPEC makes, which must be something.

        Raises:
            XaiError: It raised, or there is nothing.
        """
        where, wanted = self._flags[option], _WANTED[option]
        try:
            made = self._found[option, text]()
        except XaiError:
            raise
        except (Exception, SystemExit) as error:
            raise XaiError(
                where,
                found=f"{text!r}, which raised {type(error).__name__}{said(error)}",
                expected=wanted,
                fix="call it by itself, which should raise the same",
            ) from error
        if made is None:
            raise XaiError(
                where,
                found=f"{text!r}, which gives None",
                expected=wanted,
                fix="return it there, where a return may be missing",
            )
        return made

    def shown(self, option: str) -> str:
        """Return an option with its SPEC, as it stands on the command line."""
        return f"{self._flags[option]}={self._texts[option]}"

    def is_folder(self) -> bool:
        """Whether the inputs are a folder of images."""
        spec = self._spec("inputs") if self.has("inputs") else None
        return spec is not None and not spec.home and Path(spec.name).suffix not in TENSORS

    def targets(self) -> object:
        """Return the targets that have a SPEC, or the classes of a folder of images; otherwise None."""
        if self.has("targets"):
            return self.get("targets")
        from .images import Images

        made = self._make("inputs") if self.is_folder() else None
        return made.targets if isinstance(made, Images) else None

    def _spec(self, option: str) -> Spec:
        return checked_spec(option, self._texts[option], where=self._flags[option], folder=self._folder)

    def _maker(self, option: str, spec: Spec, where: str) -> Callable[[], object]:
        if option == "model" and spec.home in _NETWORKS:
            from .models import network

            return network(spec, where=where, folder=self._folder)
        if option == "explainer":
            from .explainers import explainer

            return explainer(spec, where=where, folder=self._folder)
        if not spec.home:
            return partial(self._of_path, option, spec, where)
        found = found_at(spec, where=where, folder=self._folder, libraries=_LIBRARIES.get(option, ()))
        if option == "train" and spec.given is None:
            return lambda: found  # a function is what is wanted, and not called
        return made(found, spec, where=where, wanted=_WANTED[option])

    def _of_path(self, option: str, spec: Spec, where: str) -> object:
        file = (self._folder / spec.name).expanduser()
        if file.suffix in TENSORS or option == "targets":
            if spec.given is not None:
                found = f"{spec.text!r}, with settings"
                raise XaiError(where, found=found, expected="a file, which has none", fix=f"write {spec.name}")
            from ...subject.files import tensor_of_file

            return tensor_of_file(file, where=where)
        from .images import images_in
        from .models import Network

        model = self._make("model") if self._names_network() else None
        network = model if isinstance(model, Network) else None
        images = images_in(spec, network, where=where, folder=self._folder, seed=self._seed)
        self.words += [images.words] if images.words else []
        return images

    def _names_network(self) -> bool:
        """Whether the model is one of a library's, which knows how images are prepared for it."""
        return self.has("model") and self._spec("model").home in _NETWORKS
