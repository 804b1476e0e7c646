"""The one error a user meets, and the warnings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

__all__ = ["XaiError", "XaiWarning", "nearest", "raise_here", "said", "setting_error", "shown", "unknown_name"]

_LONGEST = 240  # characters of another library's words
_VALUE = 80  # characters of a value that was given


class XaiError(Exception):
    """A mistake in what the plugin was given: what was found, what was expected, and how to fix it.

    Args:
        where: The fixture, marker, option or argument that holds the mistake, for example ``"xai_inputs"``.
        found: What was found there.
        expected: What was expected instead.
        fix: What the reader can do about it.
    """

    def __init__(self, where: str, *, found: str, expected: str, fix: str) -> None:
        super().__init__(where, found, expected, fix)
        self.where, self.found, self.expected, self.fix = where, found, expected, fix

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}. To fix it: {self.fix}."

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.where, self.found, self.expected, self.fix))


def _rebuild(where: str, found: str, expected: str, fix: str) -> XaiError:
    return XaiError(where, found=found, expected=expected, fix=fix)


class XaiWarning(UserWarning):
    """Something a reader should know about a claim, which does not decide it."""


XaiError.__module__ = XaiWarning.__module__ = "pytest_xaisanity"  # the name under which users know them


def raise_here(error: XaiError) -> NoReturn:
    """Raise an error without the frames that it came through, which say nothing to the user; its cause is kept."""
    __tracebackhide__ = True
    raise error.with_traceback(None)


def said(error: BaseException) -> str:
    """Return what helps of an error's text, after a colon: its first line, or the last of a trace, cut if long.

    >>> said(RuntimeError("no kernel image"))
    ': no kernel image'
    >>> said(AssertionError())
    ''
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return ""
    traced = any("Traceback" in line for line in lines)  # TorchScript's errors, whose last line says what happened
    text = lines[-1] if traced else lines[0]
    return f": {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}"


def shown(value: object) -> str:
    """Return a value that was given as an error shows it: on one line, cut if long, whatever its ``repr`` does.

    >>> shown([1, 2])
    '[1, 2]'
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of a broken object, whose type says enough
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."


def setting_error(owner: str, setting: str, found: str, expected: str) -> XaiError:
    """Return the error for a setting that cannot be.

    Args:
        owner: What has the setting: the name of a metric, an intervention, a baseline.
        setting: Its keyword.
        found: What was found there.
        expected: What was expected instead.
    """
    return XaiError(f"{owner} {setting}", found=found, expected=expected, fix=f"change {setting}=")


def unknown_name(where: str, name: object, known: Iterable[str], *, kind: str) -> XaiError:
    """Return the error for a name that stands for nothing, with the nearest known name.

    Args:
        where: The argument, marker or option that held the name.
        name: The unknown name.
        known: Every name that would have been accepted.
        kind: What the name should have been, for example ``"metric"``.
    """
    names, article = sorted(known), "an" if kind[:1] in "aeiou" else "a"
    near = nearest(name, names, count=1) if isinstance(name, str) else []
    fix = f"use {near[0]!r}, the nearest known name" if near else f"choose {article} {kind} from these names"
    return XaiError(where, found=shown(name), expected=f"one of {', '.join(names)}", fix=fix)


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the known names that are most like one, the nearest first; none where nothing is like it.

    >>> nearest("resnet81", ["resnet18", "resnet101", "vgg11"])
    ['resnet18', 'resnet101']
    """
    import difflib  # only a mistake needs it, and every session imports this module

    return difflib.get_close_matches(name, sorted(known), n=count, cutoff=0.5)
