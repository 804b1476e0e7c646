"""Explainers of libraries, by name: ``captum:IntegratedGradients(n_steps=32)``, ``rules:LRP('epsilon')``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from ...common.errors import XaiError, nearest
from ...explainers.adapters import adapter_of
from ...explainers.configured import Configured
from ...explainers.precomputed import Precomputed
from ...explainers.rules.base import RuleExplainer
from .objects import attribute_of, found_at, library, made
from .spec import Spec

__all__ = ["LIBRARIES", "MAPS", "explainer", "hint"]

MAPS = "maps"

LIBRARIES: Mapping[str, tuple[str, str]] = {
    "captum": ("captum.attr", "captum"),
    "rules": ("pytest_xaisanity.explainers", "pytest-xaisanity"),
    "zennit": ("zennit.composites", "zennit"),
    "cam": ("pytorch_grad_cam", "grad-cam"),
    "shap": ("shap", "shap"),
}
"""The modules of explainers by the home of a SPEC, and what to install."""

_WANTED = "an explainer: a class of a library's or a function (model, inputs, targets) -> attributions"


def explainer(spec: Spec, *, where: str, folder: Path) -> Callable[[], object]:
    """Return a function that makes what ``xai.explainer`` takes: a class, an object or a function, with its settings.

    Keywords behind a class or function that is an explainer are its settings. Anything else is called: what it returns
    is the explainer.

    Args:
        spec: The SPEC.
        where: The option that held it, for errors.
        folder: What paths are relative to.

    Raises:
        XaiError: There is no such explainer, its library is not installed, or arguments do not fit.
    """
    if spec.home == MAPS:
        return partial(_maps, spec, where, folder)
    if spec.home in LIBRARIES:
        module = _library(spec, where)
        found = attribute_of(module, spec, where=where, known=_names(spec.home, module))
    else:
        found = found_at(spec, where=where, folder=folder, libraries=[*LIBRARIES, MAPS])
    if spec.given is None and not _is_to_be_made(found):
        return lambda: found
    settings = dict(spec.settings)
    if isinstance(inner := settings.get("attribution_method"), str) and spec.home == "captum":
        settings["attribution_method"] = attribute_of(_library(spec, where), spec._replace(name=inner), where=where)
    if not spec.args and _takes(found, settings):
        return lambda: Configured(found, settings)
    if not spec.args and inspect.isfunction(found) and _takes(found, {}):
        raise XaiError(
            where,
            found=f"{spec.text!r}, a function {spec.name}{inspect.signature(found)} that takes other settings",
            expected="settings that it takes, by name",
            fix=f"write those, or none: {spec.home}:{spec.name}",
        )
    return made(found, spec, where=where, wanted=_WANTED)


def hint(text: str) -> str:
    """Return what to do about a text without a colon: the nearest method of Captum's, or of our own."""
    name = text.partition("(")[0]
    for home in ("captum", "rules"):
        module = importlib.import_module(LIBRARIES[home][0])
        if near := nearest(name, _names(home, module), count=1):
            return f"write {home}:{near[0]}{text[len(name) :]}, the nearest known"
    return "put a colon between the module and the name in it, as in captum:Saliency"


def _library(spec: Spec, where: str) -> ModuleType:
    module, package = LIBRARIES[spec.home]
    expected, fix = f"{package}, whose explainer it is", f"pip install {package}"
    return library(module, spec, where=where, expected=expected, fix=fix)


def _names(home: str, module: ModuleType) -> list[str]:
    """Return the names of a library's explainers."""
    names = [name for name in [*getattr(module, "__all__", dir(module))] if name[:1].isupper()]
    if home != "rules":
        return names
    return [name for name in names if _is_class_of(getattr(module, name), RuleExplainer)]


def _is_class_of(value: object, base: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base) and value is not base


def _is_to_be_made(found: object) -> bool:
    """Whether it makes an explainer: a class that no adapter takes as it is, or a function that takes no arguments."""
    if inspect.isfunction(found):
        return not inspect.signature(found).parameters
    return inspect.isclass(found) and adapter_of(found) is None


def _takes(found: object, settings: Mapping[str, object]) -> bool:
    """Whether keywords are settings of an explainer, and not the arguments of what makes one."""
    if inspect.isclass(found):
        return adapter_of(found) is not None
    if not callable(found):
        return adapter_of(found) is not None
    try:
        inspect.signature(found).bind(None, None, None, **_own(settings))
    except TypeError:
        return False
    return True


def _own(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings without those that any explainer takes."""
    common = ("name", "reduction", "embedded")
    return {name: value for name, value in settings.items() if name not in common}


def _maps(spec: Spec, where: str, folder: Path) -> object:
    """Return the explainer that a file of maps is."""
    if spec.given is not None:
        raise XaiError(
            where,
            found=f"{spec.text!r}, with settings",
            expected="a file of maps, which has none",
            fix=f"write {spec.home}:{spec.name}",
        )
    return Precomputed.of_file((folder / spec.name).expanduser(), where=where)
