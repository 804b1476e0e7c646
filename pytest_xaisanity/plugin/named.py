"""What the options that name objects stand for, in a session of pytest."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import NoReturn

import pytest

from ..common.errors import XaiError, XaiWarning
from .failures import own_frames
from .options import SPECS, explainers, flag, given, setting
from .specs.sources import Sources

__all__ = ["fail", "find_given", "named", "of_option", "refuse", "say_beside", "sources", "targets_named"]

_SOURCES = pytest.StashKey[Sources]()
_FIXTURES = {f"xai_{option}" for option in (*SPECS, "task")}
_RETURNS = {
    "model": "a torch.nn.Module in evaluation mode",
    "inputs": "a tensor of inputs (N, ...)",
    "explainer": "a Captum class or a function (model, inputs, targets) -> attributions",
    "train": "a function (inputs, targets, seed) -> model",
    "training_data": "(inputs, targets) or (inputs, targets, test_inputs, test_targets)",
}


def sources(config: pytest.Config) -> Sources:
    """Return what the options of the session stand for."""
    if _SOURCES not in config.stash:
        texts = {name: setting(config, name) for name in SPECS if name != "explainer"}
        texts |= {"explainer": next(iter(explainers(config)), None)}
        known = {name: text for name, text in texts.items() if text is not None}
        folder, seed = Path(config.invocation_params.dir), int(setting(config, "seed"))
        config.stash[_SOURCES] = Sources(known, {name: flag(name) for name in SPECS}, folder, seed)
    return config.stash[_SOURCES]


def find_given(config: pytest.Config) -> None:
    """Raise where what the command line names cannot be found; nothing is made."""
    known = sources(config)
    for option in SPECS:
        if option in given(config):
            for text in explainers(config) if option == "explainer" else [None]:
                known.find(option, text)


def named(config: pytest.Config, option: str, text: str | None = None) -> object:
    """Return the value of the fixture ``xai_<option>``: what the option of that name stands for, the same every time.

    A mistake ends the fixture with one line, without the frames of this plugin.

    Args:
        config: The session's.
        option: The option.
        text: Its SPEC, of several explainers.
    """
    __tracebackhide__ = True
    known = sources(config)
    try:
        if not known.has(option):
            raise XaiError(
                f"xai_{option}",
                found="no fixture of this name in your tests",
                expected=f"a fixture that returns {_RETURNS[option]}",
                fix=f"write a fixture xai_{option} in conftest.py, or give {flag(option)}=module:name"
                + _example(option),
            )
        value = known.get(option, text)
    except XaiError as error:
        fail(error)
    while known.words:
        warnings.warn(f"{flag(option)}: {known.words.pop()}", XaiWarning, stacklevel=2)
    return value


def targets_named(request: pytest.FixtureRequest) -> object:
    """Return the targets of ``--xai-targets``, or the classes of a folder of images that is explained; or None."""
    __tracebackhide__ = True
    known = sources(request.config)
    if not known.has("targets") and not known.is_folder():
        return None
    if not known.has("targets") and request.getfixturevalue("xai_inputs") is not named(request.config, "inputs"):
        return None  # the suite's own inputs go before the folder
    try:
        return known.targets()
    except XaiError as error:
        fail(error)


def _example(option: str) -> str:
    """Return how a fixture is written that is not just an object; nothing for others."""
    if option != "train":
        return ""
    from ..model.training import TRAIN_EXAMPLE

    return f":\n{TRAIN_EXAMPLE}\n"


def say_beside(config: pytest.Config, fixture: pytest.FixtureDef[object]) -> None:
    """Warn when a fixture of the suite goes before what the command line names, so that this is not what is tested."""
    option = fixture.argname.removeprefix("xai_")
    if fixture.argname not in _FIXTURES or option not in given(config) or sources(config).is_made(option):
        return
    code = getattr(inspect.unwrap(fixture.func), "__code__", None)
    file, line = ("?", 0) if code is None else (code.co_filename, code.co_firstlineno)
    if Path(file).is_relative_to(Path(__file__).parent):
        return
    value = given(config)[option]
    several = value if isinstance(value, list) else [value]
    if len(several) > 1:
        fail(
            XaiError(
                flag(option),
                found=f"{len(several)} of them, and a fixture {fixture.argname} in {Path(file).name} before them",
                expected="one of the two",
                fix="leave one out",
            )
        )
    text = (
        f"{flag(option)}={several[0]} is not what the tests explain, for the fixture {fixture.argname} of "
        f"{Path(file).name} goes before it: leave one of the two out"
    )
    warnings.warn_explicit(text, XaiWarning, file, line)


def of_option(config: pytest.Config, error: XaiError) -> XaiError:
    """Return an error about a fixture of this plugin as one about the option whose SPEC it stands for."""
    option, _, rest = error.where.removeprefix("xai_").partition(" ")
    if not error.where.startswith("xai_") or option not in SPECS or not sources(config).is_made(option):
        return error
    where = " ".join([sources(config).shown(option), *[rest] * bool(rest)])
    named = XaiError(where, found=error.found, expected=error.expected, fix=error.fix)
    named.__cause__, named.__suppress_context__ = error.__cause__, True
    return named


def fail(error: XaiError) -> NoReturn:
    """End a fixture, or the collection of a test, with what is wrong and where it was raised in the user's code."""
    raise pytest.fail.Exception(_told(error), pytrace=False) from None


def refuse(error: XaiError) -> NoReturn:
    """End the session before its tests, with the same."""
    raise pytest.UsageError(_told(error)) from None


def _told(error: XaiError) -> str:
    return "\n".join([str(error), *own_frames(error)])
