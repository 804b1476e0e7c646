"""Command-line options and ini keys; what the command line says goes before what the ini file says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from ..bench.battery import BATTERIES, STANDARD, battery
from ..claims.make import make
from ..claims.written import read
from ..common.errors import XaiError
from ..report.file import check_file
from .specs.sources import USUAL_EXPLAINERS, checked_spec

__all__ = [
    "LIST",
    "REPORTS",
    "SPECS",
    "add_ini_keys",
    "add_options",
    "check_settings",
    "explainers",
    "flag",
    "given",
    "named_in",
    "setting",
    "use_usual_explainers",
    "usual_explainers",
]


REPORTS = ("json", "report", "markdown")  # options that name the file of a report
SPECS = ("model", "inputs", "targets", "explainer", "train", "training_data")  # options that name objects
LIST = "--xai-list"  # says something instead of running: no setting, and no ini key

_USUAL = pytest.StashKey[list[str]]()

_INI_TYPES: dict[type, Literal["string", "int", "float", "bool", "linelist"]] = {
    str: "string",
    int: "int",
    float: "float",
    bool: "bool",
    list: "linelist",
}


class _Option(NamedTuple):
    name: str
    metavar: str
    help: str
    default: Any = None
    kind: type = str
    choices: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """The ini key."""
        return f"xai_{self.name}"

    @property
    def described(self) -> str:
        """The help, with the default."""
        shown = self.default is not None and self.kind is not bool
        return f"{self.help} (default: {self.default})" if shown else self.help

    @property
    def expected(self) -> str:
        """What a value should be, for error texts."""
        return f"one of {', '.join(self.choices)}" if self.choices else f"a value of type {self.kind.__name__}"


_OPTIONS = (
    _Option(
        "model",
        "SPEC",
        "the model, when no fixture xai_model is written: module:name or file.py:name of an object, or of a function "
        "that returns it, with arguments in parentheses or not; torchvision:resnet18, timm:NAME or hf:FOLDER",
    ),
    _Option(
        "inputs",
        "SPEC",
        "the inputs, when no fixture xai_inputs is written: module:name or file.py:name likewise, a folder of images, "
        "which are prepared as the model asks, or a file with a tensor",
    ),
    _Option(
        "targets",
        "SPEC",
        "the targets, when no fixture xai_targets is written: module:name or file.py:name likewise, or a file with a "
        "tensor; of a folder of images by default the classes that the folders in it are, otherwise predictions",
    ),
    _Option(
        "explainer",
        "SPEC",
        "the explainer of tests whose markers name none: module:name, file.py:name, captum:IntegratedGradients("
        "n_steps=32), rules:LRP('epsilon'), zennit:NAME, cam:NAME, shap:NAME or maps:FILE; may be repeated. On the "
        "command line it is put to the standard battery of claims, without a test file; without one, three are",
        None,
        list,
    ),
    _Option(
        "battery",
        "NAME",
        f"the claims that the explainer is put to without a test file: {', '.join(BATTERIES)}",
        STANDARD,
    ),
    _Option(
        "claim",
        "CLAIM",
        "a claim that it is put to instead, written as in a test with names and literals alone; may be repeated",
        None,
        list,
    ),
    _Option(
        "train",
        "SPEC",
        "a function (inputs, targets, seed) -> model, when no fixture xai_train is written; some claims train models",
    ),
    _Option(
        "training_data",
        "SPEC",
        "what that function trains on, when no fixture xai_training_data is written: (inputs, targets) or (inputs, "
        "targets, test_inputs, test_targets), or a function without arguments that returns them",
    ),
    _Option(
        "task",
        "TASK",
        "what the outputs of the model are, when no fixture xai_task is written: classes, labels that do not exclude "
        "one another, values, or logits of the next token; auto judges by the outputs",
        "auto",
        str,
        ("auto", "classification", "multilabel", "regression", "next_token"),
    ),
    _Option(
        "axes",
        "AXES",
        "which axes of the inputs are places and which channels, when no fixture xai_axes is written: channels_last, "
        "or letters such as NTF, NHWC or NHW",
    ),
    _Option("device", "DEVICE", "auto, cpu, cuda, cuda:<number> or mps", "auto"),
    _Option("seed", "N", "seed of everything that is drawn: same seed, same verdict", 0, int),
    _Option(
        "jobs",
        "N",
        "how many processes train models for claims that retrain, and explain what roar and kar train them on: -1 for "
        "one a core; by default one, or as joblib.parallel_config says; the result is the same",
        None,
        int,
    ),
    _Option("confidence", "P", "one minus the accepted rate of wrong passes of a claim", 0.95, float),
    _Option("inconclusive", "WHAT", "what an inconclusive verdict does", "fail", str, ("fail", "skip", "warn")),
    _Option("dry_run", "", "print what each claim costs, in passes and in time, and decide none", False, bool),
    _Option("json", "FILE", "write every verdict with its whole evidence to FILE"),
    _Option("report", "FILE.html", "write a report for people to FILE: verdicts, curves, inputs with their maps"),
    _Option(
        "baseline",
        "FILE",
        "what was recorded of claims, which they are held against; may be repeated, for each file is accepted",
        None,
        list,
    ),
    _Option("update_baseline", "", "record what is measured of each claim in the first such file", False, bool),
    _Option(
        "fail_on_regression",
        "",
        "fail a test of whose claims one is shown to be worse than recorded, or cannot be compared",
        False,
        bool,
    ),
    _Option(
        "audit",
        "",
        "replace each explainer by broken copies of it, its mutants, and decide the claims that passed "
        "again: a mutant that still passes them all has survived",
        False,
        bool,
    ),
    _Option("audit_all", "", "also put mutants that a claim has killed to the other claims", False, bool),
    _Option("audit_fail_under", "SHARE", "fail when a smaller share of the mutants is killed, in [0, 1]", None, float),
    _Option("markdown", "FILE", "write the summary of the claims to FILE in Markdown, for a CI service to show"),
)


def flag(name: str) -> str:
    """Return an option as the command line has it."""
    return f"--xai-{name.replace('_', '-')}"


def add_options(parser: pytest.Parser) -> None:
    """Add ``--xai-NAME`` for each option."""
    group = parser.getgroup("xaisanity", "explanations of models")
    for option in _OPTIONS:
        taking: dict[str, Any] = {"action": "store_const", "const": True}
        if option.kind is list:
            taking = {"action": "append", "metavar": option.metavar}
        elif option.kind is not bool:
            taking = {
                "metavar": option.metavar if option.choices is None else None,
                "type": option.kind,
                "choices": option.choices,
                "action": "store",
            }
        group.addoption(flag(option.name), default=None, help=option.described, **taking)
    group.addoption(
        LIST,
        action="store_true",
        help="list the interventions, metrics, baselines, similarities, mutants, adapters and batteries, and exit",
    )


def add_ini_keys(parser: pytest.Parser) -> None:
    """Add the ini key ``xai_NAME`` for each option."""
    for option in _OPTIONS:
        parser.addini(
            option.key, f"{flag(option.name)}: {option.described}", type=_INI_TYPES[option.kind], default=None
        )


def given(config: pytest.Config) -> dict[str, Any]:
    """Return the options that the command line names, by name."""
    values = {option.name: config.getoption(flag(option.name)) for option in _OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def setting(config: pytest.Config, name: str) -> Any:
    """Return the value of an option: from the command line, the ini file, or the default, in this order."""
    option = next(option for option in _OPTIONS if option.name == name)
    value = config.getoption(flag(option.name))
    if value is None:
        value = _from_ini(config, option)
    return option.default if value is None else value


def explainers(config: pytest.Config) -> list[str]:
    """Return the SPECs of the explainers, each once; of a battery where none is named, those that are usual."""
    named = list(dict.fromkeys(setting(config, "explainer") or ()))
    return named or [*config.stash.get(_USUAL, ())]


def use_usual_explainers(config: pytest.Config) -> None:
    """Put the claims of a battery to a few explainers, where none is named."""
    config.stash[_USUAL] = [*USUAL_EXPLAINERS]


def usual_explainers(config: pytest.Config) -> str:
    """Return a word about these, where claims are put to them; nothing where explainers are named."""
    if _USUAL not in config.stash or setting(config, "explainer"):
        return ""
    each = ", ".join(f"{text} ({about})" for text, about in USUAL_EXPLAINERS.items())
    return f"no {flag('explainer')} is given, so that claims are about {each}"


def _from_ini(config: pytest.Config, option: _Option) -> Any:
    key = option.key
    cause: Exception | None = None
    value: Any = None
    try:
        value = config.getini(key)
    except (pytest.UsageError, TypeError, ValueError) as error:
        cause = error
    if cause is None and (value in (None, "") or option.choices is None or value in option.choices):
        return None if value == "" else value
    raise XaiError(
        f"ini key {key}",
        found=repr(value) if cause is None else str(cause),
        expected=option.expected,
        fix=f"correct it in {config.inipath.name if config.inipath else 'the pytest configuration'}",
    ) from cause


def named_in(config: pytest.Config, name: str) -> list[Path]:
    """Return the files that an option names, once each: those of the ini file stand in its folder."""
    option = next(option for option in _OPTIONS if option.name == name)
    given_there = config.getoption(flag(name)) is None and config.inipath is not None
    folder = config.inipath.parent if given_there and config.inipath is not None else Path()
    return list(dict.fromkeys(folder / file for file in setting(config, option.name) or ()))


def check_settings(config: pytest.Config) -> None:
    """Raise the error of the first setting that cannot be, before anything runs."""
    values = {option.name: setting(config, option.name) for option in _OPTIONS}
    if not 0.5 < values["confidence"] < 1:
        raise XaiError(
            "--xai-confidence",
            found=f"{values['confidence']:g}",
            expected="a number between 0.5 and 1",
            fix="use 0.95",
        )
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", values["device"]):
        raise XaiError(
            "--xai-device",
            found=repr(values["device"]),
            expected="auto, cpu, cuda, cuda:<number> or mps",
            fix="choose one of these",
        )
    _check_jobs(values["jobs"])
    _check_specs(config, values)
    least = values["audit_fail_under"]
    if least is not None and not (values["audit"] and 0 <= least <= 1):
        found = f"{least:g}" if values["audit"] else f"{least:g} without --xai-audit"
        raise XaiError(
            "--xai-audit-fail-under",
            found=found,
            expected="a share between 0 and 1, beside --xai-audit",
            fix="use 0.95",
        )
    for report in REPORTS:
        if values[report] is not None and not hasattr(config, "workerinput"):  # workers write no report
            check_file(flag(report), Path(values[report]))
    _check_claims(values)


def _check_specs(config: pytest.Config, values: dict[str, Any]) -> None:
    """Raise at a SPEC that is none, before anything is imported for it."""
    folder = Path(config.invocation_params.dir)
    for name in SPECS:
        several = values[name] if isinstance(values[name], list) else [values[name]]
        for text in filter(None, several):
            checked_spec(name, text, where=flag(name), folder=folder)


def _check_jobs(jobs: int | None) -> None:
    if jobs is not None and jobs != -1 and jobs < 1:
        raise XaiError(
            "--xai-jobs",
            found=str(jobs),
            expected="a number of processes, 1 or more, or -1 for one a core",
            fix="use -1",
        )


def _check_claims(values: dict[str, Any]) -> None:
    """Raise where there is no such battery, or a claim cannot be."""
    battery(values["battery"], where="--xai-battery")
    for text in values["claim"] or ():
        verb, args, settings = read(text, where="--xai-claim")
        try:
            make(verb, args, settings, where=verb)
        except XaiError as error:
            where = f"--xai-claim {error.where}"
            raise XaiError(where, found=error.found, expected=error.expected, fix=error.fix) from None
