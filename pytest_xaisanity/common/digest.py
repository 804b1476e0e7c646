"""Digests of content: of tensors, and of functions with everything they refer to.

They name what is kept from one session to the next, so that nothing in them may depend on the process: no addresses,
no salted hashes.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "code_of",
    "digest_of",
    "digested",
    "held_by",
    "is_installed",
    "parts_of_class",
    "passing_digest_of",
    "plain_attributes",
    "source_of",
]

Inner = Callable[[Any], Iterator[Any] | None]

_DENSE = 2**24  # entries of a sparse tensor, above which its zeros are left out
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def digest_of(*values: Any) -> str:
    """Return a digest of 32 hexadecimal digits, equal for equal content in every process.

    A function counts with its bytecode, defaults, closure and the globals it names; functions and classes among these
    count likewise, but those of installed packages by name alone, and installed modules by name and version. An object
    counts with its attributes when its class is the user's own, and otherwise with its ``repr``.
    """
    return digested(values, _inner)


def digested(values: Any, inner: Inner) -> str:
    """Return a digest of values of which ``inner`` tells what each is made of: None where its ``repr`` tells all."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest.update, values, inner)
    return digest.hexdigest()


def passing_digest_of(*values: Any) -> str:
    """Return a digest of the same that takes less than half the time, and may be another in another version."""
    digest = hashlib.sha1(usedforsecurity=False)
    _feed(digest.update, values, _inner)
    return digest.hexdigest()


def _feed(update: Callable[[bytes | memoryview], None], values: Any, inner: Inner) -> None:
    for part in _parts(values, {}, inner):
        update(len(part).to_bytes(8, "big"))
        update(part)


def _parts(value: Any, seen: dict[int, Any], inner_of: Inner) -> Iterator[bytes | memoryview]:
    """Yield what ``value`` is made of; what has been yielded already only as a mark, so that circles end.

    What has been seen is held, so that nothing else takes its place in memory meanwhile.
    """
    if isinstance(value, Tensor):
        yield from _tensor(value)
        return
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        return
    inner = inner_of(value)
    if inner is None:
        told = repr(value)
        yield (told if isinstance(value, (str, bytes)) else re.sub(r"\b0x[0-9a-fA-F]+", "", told)).encode()
        return
    yield type(value).__qualname__.encode()
    if id(value) in seen:
        return
    seen[id(value)] = value
    for part in inner:
        yield from _parts(part, seen, inner_of)


def _tensor(tensor: Tensor) -> Iterator[bytes | memoryview]:
    try:
        shape = "nested" if tensor.is_nested else tuple(tensor.shape)
        parts = [f"{tensor.dtype} {shape}".encode(), *map(_bytes, _dense(tensor.detach()))]
    except (RuntimeError, NotImplementedError, TypeError):  # nothing can be read of it: a fake, one without a shape yet
        parts = [f"{type(tensor).__qualname__} {tensor.dtype}".encode()]
    yield from parts


def _dense(tensor: Tensor) -> Iterator[Tensor]:
    """Yield plain tensors that say all of what is in one of any kind; none for one without numbers."""
    if tensor.is_meta:
        return
    if tensor.is_nested:
        for part in tensor.unbind():
            yield torch.tensor(part.shape)
            yield from _dense(part)
    elif tensor.is_quantized:
        yield tensor.dequantize()
    elif tensor.layout is not torch.strided and tensor.numel() > _DENSE:
        sparse = tensor.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call, unused-ignore]
        yield from (sparse.indices(), sparse.values())
    else:
        yield tensor if tensor.layout is torch.strided else tensor.to_dense()


def _bytes(tensor: Tensor) -> bytes | memoryview:
    plain = tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if not plain.numel():
        return b""
    return plain.view(torch.uint8).numpy().data  # type: ignore[no-untyped-call, unused-ignore]


def _inner(value: Any) -> Iterator[Any] | None:
    """Return what a value is made of, or None for one that its ``repr`` tells all about."""
    if isinstance(value, (list, tuple)):
        return iter((len(value), *value))
    if isinstance(value, dict):
        return iter((len(value), *value.items()))
    if isinstance(value, (set, frozenset)):
        return iter(sorted(digest_of(part) for part in value))
    if isinstance(value, functools.partial):
        return iter((value.func, value.args, value.keywords))
    if isinstance(value, MethodType):
        return iter((value.__func__, value.__self__))
    if isinstance(value, CodeType):
        return iter((value.co_code, value.co_consts, value.co_names))
    if isinstance(value, ModuleType):
        version = getattr(sys.modules.get(value.__name__.partition(".")[0]), "__version__", None)
        return iter((value.__name__, version if is_installed(value.__name__) else source_of(value)))
    if isinstance(value, (FunctionType, type)):
        name = f"{value.__module__}.{value.__qualname__}"
        if is_installed(value.__module__):
            return iter((name,))
        return iter((name, *(code_of(value) if isinstance(value, FunctionType) else parts_of_class(value))))
    if isinstance(value, nn.Module):
        plain = [(name, type(module), plain_attributes(module)) for name, module in value.named_modules()]
        return iter((type(value), plain, dict(value.state_dict())))
    if not is_installed(type(value).__module__) and hasattr(value, "__dict__"):
        return iter((type(value), vars(value)))
    return None


def code_of(function: FunctionType) -> Iterator[Any]:
    """Yield what a function does: its code, what it holds, and the globals that it names."""
    yield function.__code__
    yield from held_by(function)
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name
            yield function.__globals__[name]


def held_by(function: FunctionType) -> Iterator[Any]:
    """Yield the defaults of a function, and what it holds of the function around it."""
    yield function.__defaults__
    yield function.__kwdefaults__
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            yield None


def parts_of_class(kind: type) -> Iterator[Any]:
    """Yield what a class is made of: its source, its bases, and its functions."""
    yield source_of(kind)
    yield kind.__bases__
    for member in vars(kind).values():
        function = getattr(member, "__func__", member)
        if isinstance(function, FunctionType):
            yield function


def _names(code: CodeType) -> set[str]:
    """Return the names that a function and the functions within it may look up among the globals."""
    nested = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*nested)


def plain_attributes(thing: object) -> list[tuple[str, Any]]:
    """Return the attributes of an object that are plain values, by name and in its order, but for ``training``."""
    plain = (bool, int, float, str, tuple, type(None))
    return sorted(
        (name, value) for name, value in vars(thing).items() if isinstance(value, plain) and name != "training"
    )


def source_of(thing: Any) -> str | None:
    """Return the source of a module or a class, or None where it cannot be read."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return None


def is_installed(module: str | None) -> bool:
    """Whether a module is part of Python or of an installed package, rather than the user's own."""
    if module == "__main__":
        return False
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return file is None or any(Path(file).is_relative_to(folder) for folder in _INSTALLED)
