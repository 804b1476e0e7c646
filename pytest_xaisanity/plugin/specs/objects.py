"""What is found at ``module:name`` and ``path/file.py:name``, and what it makes when it is called."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from ...common.errors import XaiError, nearest, said
from .spec import Spec

__all__ = ["attribute_of", "check_fits", "found_at", "library", "made", "unknown"]

_ELSEWHERE = "check the name, and that the module's folder is on the path (pytest's pythonpath setting)"


def found_at(spec: Spec, *, where: str, folder: Path, libraries: Iterable[str] = ()) -> object:
    """Return the object at a module's or a file's name.

    Args:
        spec: The SPEC.
        where: The option that held it, for errors.
        folder: What the path of a file is relative to, and where modules may lie that are not installed.
        libraries: Homes that might have been meant, for errors.

    Raises:
        XaiError: There is no such file, module or name, or importing it raised; with the nearest names.
    """
    if spec.home.endswith(".py") or "/" in spec.home:
        module = _module_of_file((folder / spec.home).expanduser(), spec, where)
    else:
        module = _imported(spec, where, folder, libraries)
    return attribute_of(module, spec, where=where)


def library(module: str, spec: Spec, *, where: str, expected: str, fix: str) -> ModuleType:
    """Return the module of a library that a SPEC names.

    Raises:
        XaiError: It cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        found = f"{spec.text!r}, and no {module} that can be imported{said(error)}"
        raise XaiError(where, found=found, expected=expected, fix=fix) from error


def attribute_of(module: ModuleType, spec: Spec, *, where: str, known: Iterable[str] = ()) -> object:
    """Return what a SPEC names in a module; ``known`` are names that might have been meant, by default all public."""
    value: object = module
    for part in spec.name.split("."):
        try:
            value = getattr(value, part)
        except Exception as error:  # a module may load its names when they are asked for
            names = [*known] or [name for name in dir(value) if not name.startswith("_")]
            raise unknown(spec, part, names, error, where=where, fix=_ELSEWHERE) from error
    return value


def unknown(
    spec: Spec, name: str, known: Iterable[str], error: Exception | str, *, where: str, fix: str = ""
) -> XaiError:
    """Return the error for a name that stands for nothing, with the nearest known ones."""
    near = nearest(name, known)
    reason = error if isinstance(error, str) else f"{type(error).__name__}{said(error)}"
    return XaiError(
        where,
        found=f"{spec.text!r} ({reason})",
        expected=f"a name that {spec.home or 'the folder'} has" if isinstance(error, str) else _importable(spec),
        fix=f"use {' or '.join(map(repr, near))}, the nearest known" if near else fix or "check the name",
    )


def _importable(spec: Spec) -> str:
    return f"{'file.py' if spec.home.endswith('.py') else 'module'}:name of something that can be imported from here"


def _imported(spec: Spec, where: str, folder: Path, libraries: Iterable[str]) -> ModuleType:
    _add_to_path(folder)  # as for `python -m`, but behind everything that is installed
    try:
        return importlib.import_module(spec.home)
    except Exception as error:  # whatever the module raises when it is imported
        parent, _, last = spec.home.rpartition(".")
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None and spec.home.startswith(error.name)
        known = [*libraries, *_modules(folder, parent)] if missing else []
        near = nearest(last if parent else spec.home, known)
        fix = f"{_ELSEWHERE}; the nearest here is {' or '.join(map(repr, near))}" if near else _ELSEWHERE
        if not missing:  # the module is there
            fix = f"import it by itself, which should raise the same: python -c 'import {spec.home}'"
        raise XaiError(
            where,
            found=f"{spec.text!r} ({type(error).__name__}{said(error)})",
            expected=_importable(spec),
            fix=fix,
        ) from error


def _modules(folder: Path, parent: str) -> list[str]:
    """Return the modules beside the one that was meant: in a package, or in the folder."""
    package = sys.modules.get(parent)
    paths = [str(folder)] if package is None else [*package.__path__] if hasattr(package, "__path__") else []
    return [module.name for module in pkgutil.iter_modules(paths)]


def _module_of_file(file: Path, spec: Spec, where: str) -> ModuleType:
    """Return the module that a file holds, loaded once, whatever name it is loaded under."""
    if not file.is_file():
        near = nearest(file.name, [one.name for one in file.parent.glob("*.py")]) if file.parent.is_dir() else []
        raise XaiError(
            where,
            found=f"{spec.text!r}, and no file {str(file)!r}",
            expected="path/file.py:name of a file that exists",
            fix=f"name {near[0]!r}, the nearest in that folder" if near else "check the path",
        )
    resolved = str(file.resolve())
    for module in [*sys.modules.values()]:
        if resolved == getattr(module, "__file__", None):
            return module
    name = file.stem if file.stem not in sys.modules and not importlib.util.find_spec(file.stem) else resolved
    known = importlib.util.spec_from_file_location(name, resolved)
    assert known is not None
    assert known.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(known)  # so that what it holds can be pickled
    _add_to_path(file.parent)  # for what it imports from beside it
    try:
        known.loader.exec_module(module)
    except Exception as error:  # whatever the file raises
        del sys.modules[name]
        raise XaiError(
            where,
            found=f"{spec.text!r} ({type(error).__name__}{said(error)})",
            expected=_importable(spec),
            fix=f"run python {file} by itself, which should raise the same",
        ) from error
    return module


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def made(value: object, spec: Spec, *, where: str, wanted: str) -> Callable[[], object]:
    """Return a function that makes what an object stands for: itself, or what it returns when it is called.

    A function or class is called without arguments, or with those of the SPEC, which anything else is called with too.

    Args:
        value: The object.
        spec: The SPEC that named it.
        where: The option that held it, for errors.
        wanted: What the option wants, in words.

    Raises:
        XaiError: It cannot be called with these arguments.
    """
    if spec.given is None and not (inspect.isfunction(value) or inspect.isclass(value)):
        return lambda: value
    if not callable(value):
        raise XaiError(
            where,
            found=f"{spec.text!r}, where {spec.name} is a {type(value).__name__}, which cannot be called",
            expected=f"{wanted}, or a function that returns it",
            fix=f"leave the parentheses out: {spec.home}:{spec.name}",
        )
    check_fits(value, spec, where=where, wanted=wanted)
    return lambda: value(*spec.args, **spec.settings)


def check_fits(function: Callable[..., object], spec: Spec, *, where: str, wanted: str) -> None:
    """Raise where a function cannot be called with the arguments of a SPEC."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin without a signature; the call itself will tell
    try:
        signature.bind(*spec.args, **spec.settings)
    except TypeError as error:
        some = "with these arguments" if spec.given is not None else "without arguments"
        raise XaiError(
            where,
            found=f"{spec.text!r}, which cannot be called {some} ({error})",
            expected=f"{wanted}, or a function {some} that returns it",
            fix=f"write its arguments behind the name, {spec.home}:{spec.name}(...), as {spec.name}{signature}",
        ) from None
