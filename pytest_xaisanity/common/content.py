"""Digests of objects by all that they hold, whoever wrote their classes; of what cannot be told there is none."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from enum import Enum
from itertools import count
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np
import torch

from .digest import code_of, digested, held_by, is_installed, parts_of_class, source_of

__all__ = ["content_of"]

_MOST = 500_000  # objects that are looked at
_TOLD = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented)),
    *(Enum, PurePath, re.Pattern, np.dtype, np.ufunc, MethodDescriptorType, WrapperDescriptorType),
    *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format),
)
_PLAIN = (bool, int, float, str, tuple, list, dict, torch.Tensor, type(None))  # of a class's attributes, what counts


class _UntoldError(Exception):
    """Something of whose content nothing can be read."""


def content_of(*values: object) -> str | None:
    """Return a digest of 32 hexadecimal digits, equal for equal content in every process; None where it cannot be told.

    Unlike :func:`~.digest.digest_of` it looks into objects of installed classes, and into what installed functions
    hold: two objects that differ in anything have other digests. Objects count with what they would be pickled by;
    locks, generators, open files and the like, which cannot be, are not told. Installed classes count by name and
    version, and installed functions by their own code, whatever globals they name. Equal content may have other digests
    where it counts what happened before, as hooks do.
    """
    looked_at = count()

    def inner(value: object) -> Iterator[object] | None:
        if next(looked_at) > _MOST:
            raise _UntoldError
        return _inner(value)

    try:
        return digested(values, inner)
    except _UntoldError:
        return None


def _inner(value: Any) -> Iterator[object] | None:
    """Return what a value is made of, or None for one that its ``repr`` tells all about."""
    if isinstance(value, _TOLD):
        return None
    if type(value) in (list, tuple):
        return iter((len(value), *value))
    if type(value) is dict:
        return iter((len(value), *value.items()))
    if type(value) in (set, frozenset):
        return iter(sorted(_told(part) for part in value))
    if isinstance(value, functools.partial):
        return iter((value.func, value.args, value.keywords))
    if isinstance(value, MethodType):
        return iter((value.__func__, value.__self__))
    if isinstance(value, BuiltinFunctionType):
        bound = value.__self__
        return iter((value.__qualname__, bound.__name__ if isinstance(bound, ModuleType) else bound))
    if isinstance(value, CodeType):
        return iter((value.co_code, value.co_consts, value.co_names))
    if isinstance(value, (ModuleType, FunctionType, type)):
        return _defined(value)
    return _pickled(value)


def _told(value: object) -> str:
    """Return the digest of a value by itself."""
    found = content_of(value)
    if found is None:
        raise _UntoldError
    return found


def _defined(value: ModuleType | FunctionType | type) -> Iterator[object]:
    """Yield what a module, a function or a class is: of installed ones the name and the version."""
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__
    yield value.__name__ if isinstance(value, ModuleType) else f"{module}.{value.__qualname__}"
    if _is_known(module):
        yield getattr(sys.modules.get(module.partition(".")[0]), "__version__", None)
        # Two functions within one may have the same name.
        yield from (value.__code__, *held_by(value)) if isinstance(value, FunctionType) else ()
    elif isinstance(value, FunctionType):
        yield from code_of(value)
    elif isinstance(value, type):
        yield from parts_of_class(value)
        yield [(name, one) for name, one in vars(value).items() if isinstance(one, _PLAIN) and name[:2] != "__"]
    else:
        yield source_of(value)


def _is_known(module: str | None) -> bool:
    return is_installed(module) or (module or "").partition(".")[0] == __name__.partition(".")[0]


def _pickled(value: Any) -> Iterator[object]:
    """Return what an object would be pickled by."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as error:  # whatever those raise that cannot be pickled
        raise _UntoldError from error
    if isinstance(reduced, str):  # a name of something that is there once
        return iter((type(value), reduced))
    made, given, *more = reduced
    return iter((made, given, *(list(part) if isinstance(part, Iterator) else part for part in more)))
