"""What tells a claim from every other one: words for what it is about, and an id that is the same in every process."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from numbers import Integral, Real
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeGuard, runtime_checkable

from torch import nn

from ..common.digest import digest_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["identify", "kind_of", "label", "told"]

_DIGITS = 8  # hexadecimal ones
_LAST = ("confidence", "early")


@runtime_checkable
class _Named(Protocol):
    """What has a name of its own: metrics, interventions, baselines, explainers of a bench."""

    @property
    def name(self) -> str: ...


def label(spec: object) -> str:
    """Return the word that stands for an object in claims and reasons."""
    if spec is None or isinstance(spec, (str, Real)):
        return str(spec)
    if isinstance(spec, type) or inspect.isroutine(spec):
        return str(spec.__name__)
    if isinstance(spec, (tuple, list)):
        return "+".join(map(label, spec))
    name = spec.name if isinstance(spec, _Named) else None  # that of a tensor is None
    return name if isinstance(name, str) else type(spec).__name__


def kind_of(claim: DataclassInstance, verb: str) -> str:
    """Return what is claimed, whatever the settings: ``"beats-random-on-pixel_flipping"``."""
    return f"{verb}-{'-on-'.join(_slug(label(getattr(claim, name))) for name in _needed(claim))}"


def told(spec: object) -> str:
    """Return an object with its settings, as it stands in ids: ``"pixel_flipping-steps8"``."""
    one = _object(spec)
    return one.text if one.whole else f"{one.text}-{digest_of(_content((spec,), set()))[:_DIGITS]}"


def identify(claim: DataclassInstance, verb: str, form: str) -> str:
    """Return an id: ``"beats-random-on-pixel_flipping-steps8"``.

    Ids are equal for equal verb, objects and settings, in every process and session, and differ otherwise; a name and
    the object that it stands for have the same. Settings are told where they are not those by default. Where the words
    do not tell everything a digest follows: of what a function, an object that is not this package's or an array is
    made of, with the structure of a model and not its weights.

    Args:
        claim: A dataclass, whose fields without a default are what it is about.
        verb: One of the four.
        form: What sets claims of the same verb and objects apart, or nothing.
    """
    settings = _settings_of(claim)
    objects = [settings.pop(name) for name in _needed(claim)]
    own = {name: settings[name] for name in sorted(settings, key=_LAST.__contains__)}
    named = [_object(one) for one in objects]
    ending = list(_settings(own))
    parts = [verb, "-on-".join(one.text for one in named), *filter(None, [form]), *(one.text for one in ending)]
    if all(one.whole for one in (*named, *ending)):
        return "-".join(parts)
    return "-".join([*parts, digest_of(_content((*objects, own), set()))[:_DIGITS]])


def _needed(claim: DataclassInstance) -> list[str]:
    return [one.name for one in fields(claim) if one.default is MISSING and one.default_factory is MISSING]


# ----------------------------------------------------------------------------------------------------- in words


class _Told(NamedTuple):
    """Words for a value, and whether they tell all of it."""

    text: str
    whole: bool


def _object(spec: object) -> _Told:
    name = label(spec)
    if isinstance(spec, str):
        return _word(name)
    if not _by_value(spec):
        return _Told(_slug(name), False)
    own = list(_settings(_settings_of(spec)))
    return _Told("-".join([_slug(name), *(one.text for one in own)]), _ours(spec) and all(one.whole for one in own))


def _settings(settings: Mapping[str, object]) -> Iterator[_Told]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _settings(value)
        else:
            told = _value(value)
            yield _Told(f"{name}{'_' if told.text[:1].isalpha() and not _number(value) else ''}{told.text}", told.whole)


def _value(value: object) -> _Told:
    number = _number(value)
    if number:
        return _Told(number, True)
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, (tuple, list)):
        parts = [_value(one) for one in value]
        return _Told("+".join(one.text for one in parts), all(one.whole for one in parts))
    return _Told(_slug(label(value)), _ours(value) and not _settings_of(value))


def _word(text: str) -> _Told:
    return _Told(_slug(text), re.fullmatch(r"[A-Za-z]\w*", text) is not None)


def _slug(text: str) -> str:
    return re.sub(r"[^\w.]+", "_", text).strip("_")


def _number(value: object) -> str:
    """Return a number, True, False or None as text, and nothing for anything else; 1 and 1.0 are the same number."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    if not isinstance(value, Real):
        return ""
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


# -------------------------------------------------------------------------------------------------- as it is made


def _by_value(spec: object) -> TypeGuard[DataclassInstance]:
    """Whether a value is an object that is equal to those with the same settings."""
    return is_dataclass(spec) and not isinstance(spec, type) and type(spec).__eq__ is not object.__eq__


def _ours(spec: object) -> TypeGuard[DataclassInstance]:
    """Whether a value is an object of one of this package's, which its name and settings tell all about."""
    return _by_value(spec) and type(spec).__module__.partition(".")[0] == __name__.partition(".")[0]


def _settings_of(spec: DataclassInstance) -> dict[str, object]:
    """Return the settings of a dataclass that are not those by default."""
    usual = _defaults(type(spec))
    values = {one.name: getattr(spec, one.name) for one in fields(spec) if one.compare}
    return {name: value for name, value in values.items() if name not in usual or not _equal(value, usual[name])}


@functools.lru_cache
def _defaults(kind: type[DataclassInstance]) -> Mapping[str, object]:
    try:
        usual = kind()
    except Exception:  # it cannot do without some
        values = {one.name: one.default_factory() for one in fields(kind) if one.default_factory is not MISSING}
        return values | {one.name: one.default for one in fields(kind) if one.default is not MISSING}
    return {one.name: getattr(usual, one.name) for one in fields(usual)}


def _equal(value: object, other: object) -> bool:
    """Whether two values are equal and say so with one word, as arrays do not."""
    return (value == other) is True


def _content(value: object, seen: set[int]) -> str:
    """Return all that a value is made of, without addresses and without the weights of models."""
    if _number(value) or isinstance(value, str):
        return _number(value) or repr(value)
    if isinstance(value, Mapping):
        return _joined(sorted(f"{_content(key, seen)}:{_content(one, seen)}" for key, one in value.items()))
    if isinstance(value, (tuple, list)):
        return _joined(_content(one, seen) for one in value)
    if isinstance(value, (set, frozenset)):
        return _joined(sorted(_content(one, seen) for one in value))
    if isinstance(value, type) or (isinstance(value, FunctionType) and "<" not in value.__qualname__):
        return f"{value.__module__}.{value.__qualname__}"
    if id(value) in seen:
        return "..."
    seen = {*seen, id(value)}
    parts = _parts(value)
    if parts is None:
        return digest_of(value)
    return f"{type(value).__module__}.{type(value).__qualname__}{_content(parts, seen)}"


def _parts(value: object) -> object | None:
    """Return what an object is made of, or None for one whose own ``repr``, or whose bytes, tell it."""
    if isinstance(value, nn.Module):
        return repr(value)
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value) if one.compare}
    return vars(value) if type(value).__repr__ is object.__repr__ and hasattr(value, "__dict__") else None


def _joined(parts: Iterable[str]) -> str:
    return f"[{','.join(parts)}]"
