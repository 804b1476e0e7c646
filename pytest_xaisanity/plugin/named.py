"""What options of the form ``module:name`` stand for."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from ..common.errors import XaiError, XaiWarning, said
from .options import flag, given, setting

__all__ = ["fail", "named", "say_beside"]

_NAMED = pytest.StashKey[dict[str, object]]()
_USED_AS_THEY_ARE = ("explainer", "train")  # a function or class is what is wanted, and not called
_FIXTURES = {f"xai_{option}" for option in ("model", "inputs", "explainer", "train", "training_data", "task")}
_RETURNS = {
    "model": "a torch.nn.Module in evaluation mode",
    "inputs": "a tensor of inputs (N, ...)",
    "explainer": "a Captum class or a function (model, inputs, targets) -> attributions",
    "train": "a function (inputs, targets, seed) -> model",
    "training_data": "(inputs, targets) or (inputs, targets, test_inputs, test_targets)",
}


def named(config: pytest.Config, option: str) -> object:
    """Return the value of the fixture ``xai_<option>``: what the option of that name stands for, the same every time.

    A mistake ends the fixture with one line, without the frames of this plugin.
    """
    __tracebackhide__ = True
    values = config.stash.setdefault(_NAMED, {})
    if option not in values:
        spec = setting(config, option)
        try:
            value = _imported(config, spec, option)
            if option in _USED_AS_THEY_ARE or not (inspect.isfunction(value) or inspect.isclass(value)):
                return values.setdefault(option, value)
            _check_takes_nothing(value, spec, option)
        except XaiError as error:
            fail(error)
        values[option] = value()
    return values[option]


def _imported(config: pytest.Config, spec: str | None, option: str) -> object:
    if spec is None:
        raise XaiError(
            f"xai_{option}",
            found="no fixture of this name in your tests",
            expected=f"a fixture that returns {_RETURNS[option]}",
            fix=f"write a fixture xai_{option} in conftest.py, or give {flag(option)}=module:name{_example(option)}",
        )
    folder = str(config.invocation_params.dir)
    if folder not in sys.path:
        sys.path.append(folder)  # as for `python -m`, but behind everything that is installed
    module, _, attribute = spec.partition(":")
    try:
        value: object = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:  # whatever the module raises when it is imported
        raise XaiError(
            flag(option),
            found=f"{spec!r} ({type(error).__name__}{said(error)})",
            expected="module:name of something that can be imported from here",
            fix="check the name, and that the module's folder is on the path (pytest's pythonpath setting)",
        ) from error
    return value


def _example(option: str) -> str:
    """Return how a fixture is written that is not just an object; nothing for others."""
    if option != "train":
        return ""
    from ..model.training import TRAIN_EXAMPLE

    return f":\n{TRAIN_EXAMPLE}\n"


def _check_takes_nothing(function: Callable[..., object], spec: str, option: str) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise XaiError(
            flag(option),
            found=f"{spec!r}, which cannot be called without arguments ({error})",
            expected=f"{_RETURNS[option]}, or a function without arguments that returns it",
            fix="name a function that calls it with its arguments",
        ) from error


def say_beside(config: pytest.Config, fixture: pytest.FixtureDef[object]) -> None:
    """Warn when a fixture of the suite goes before what the command line names, so that this is not what is tested."""
    option = fixture.argname.removeprefix("xai_")
    if fixture.argname not in _FIXTURES or option not in given(config) or option in config.stash.get(_NAMED, {}):
        return
    code = getattr(inspect.unwrap(fixture.func), "__code__", None)
    file, line = ("?", 0) if code is None else (code.co_filename, code.co_firstlineno)
    if Path(file).is_relative_to(Path(__file__).parent):
        return
    text = (
        f"{flag(option)}={given(config)[option]} is not what the tests explain, for the fixture {fixture.argname} of "
        f"{Path(file).name} goes before it: leave one of the two out"
    )
    warnings.warn_explicit(text, XaiWarning, file, line)


def fail(error: XaiError) -> NoReturn:
    """End a fixture, or the collection of a test, with one line: there is no line of the user's to point at."""
    raise pytest.fail.Exception(str(error), pytrace=False) from None
