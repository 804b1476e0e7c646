"""Command-line options and ini keys; what the command line says goes before what the ini file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ..errors import XaiError

__all__ = ["add_options", "setting"]


@dataclass(frozen=True)
class _Option:
    name: str
    metavar: str
    help: str
    default: Any = None
    kind: type = str
    choices: tuple[str, ...] | None = None


_OPTIONS = (
    _Option("model", "MODULE:NAME", "model under test: an object, or a function without arguments that returns it"),
    _Option("inputs", "MODULE:NAME", "inputs: an object, or a function without arguments that returns them"),
    _Option("explainer", "MODULE:NAME", "explainer; with --xai-model and --xai-inputs, decide the standard battery"),
    _Option("device", "DEVICE", "auto, cpu, cuda, cuda:<number> or mps", "auto"),
    _Option("seed", "N", "seed of everything that is drawn: same seed, same verdict", 0, int),
    _Option("confidence", "P", "one minus the accepted rate of wrong passes of a claim", 0.95, float),
    _Option("inconclusive", "WHAT", "what an inconclusive verdict does", "fail", str, ("fail", "skip", "warn")),
    _Option("json", "FILE", "write every verdict with its whole evidence to FILE"),
)


def add_options(parser: pytest.Parser) -> None:
    """Add ``--xai-NAME`` and the ini key ``xai_NAME`` for each option."""
    group = parser.getgroup("xaisanity", "explanations of models")
    for option in _OPTIONS:
        shown = f" (default: {option.default})" if option.default is not None else ""
        group.addoption(
            f"--xai-{option.name}",
            metavar=option.metavar if option.choices is None else None,
            default=None,
            type=option.kind,
            choices=option.choices,
            help=option.help + shown,
        )
        parser.addini(f"xai_{option.name}", option.help + shown, default=None)


def setting(config: pytest.Config, name: str) -> Any:
    """Return the value of an option: from the command line, the ini file, or the default, in this order."""
    option = next(option for option in _OPTIONS if option.name == name)
    value = config.getoption(f"--xai-{name}")
    if value is not None:
        return value
    value = config.getini(f"xai_{name}")
    if value in (None, "", []):
        return option.default
    return _converted(option, value)


def _converted(option: _Option, value: Any) -> Any:
    try:
        converted = option.kind(value)
    except (TypeError, ValueError):
        converted = None
    if converted is None or (option.choices is not None and converted not in option.choices):
        expected = (
            f"one of {', '.join(option.choices)}" if option.choices else f"a value of type {option.kind.__name__}"
        )
        raise XaiError(
            f"ini key xai_{option.name}",
            found=repr(value),
            expected=expected,
            fix="correct it in the pytest configuration",
        )
    return converted
