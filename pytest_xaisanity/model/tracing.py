"""Watching forward passes: what is called, what it returns, what is computed, and which weights meet the data."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from ..common.undoing import Context, undoing, undone

__all__ = ["Call", "Recomputed", "Uses", "Watch", "function_modes", "put_function_modes", "tensors_in", "uncompiled"]

Arguments: TypeAlias = tuple[Any, ...]
Function: TypeAlias = Callable[..., Any]


class Call(NamedTuple):
    """A call of a module, and how often the module was called before in the same pass."""

    path: str
    number: int = 0


class Recomputed(nn.Module):
    """A module that computes again, in a backward pass, what the model has computed: a part of the model to a watch."""


class Watch(TorchFunctionMode):
    """Watches forward passes, by functions that it calls. Nothing of it stays on the model or anywhere else.

    Args:
        called: Called with each module that begins to run and its arguments; may return others in their place.
        returned: Called with each module that has run and its output.
        left: Called with each module that has run, or has raised an ``Exception``.
        computed: Called with each function of torch, its arguments and its keywords; returns its result.
        modules: Modules by path, whose calls come to ``output``; no ScriptModules.
        output: Called with each call of ``modules``, in the order of their ends, and its output, behind all hooks of
            the module's own; may return another output in its place.
    """

    def __init__(
        self,
        *,
        called: Callable[[nn.Module, Arguments], Arguments | None] | None = None,
        returned: Callable[[nn.Module, object], None] | None = None,
        left: Callable[[nn.Module], None] | None = None,
        computed: Callable[[Function, Arguments, Mapping[str, Any]], Any] | None = None,
        modules: Mapping[str, nn.Module] | None = None,
        output: Callable[[Call, Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._called, self._returned, self._left, self._computed = called, returned, left, computed
        self._modules, self._output = modules or {}, output
        self._counts: Counter[str] = Counter()
        self._handles: list[RemovableHandle] = []
        self._quiet = ExitStack()
        self._others: Sequence[TorchFunctionMode] | None = None  # the function modes without this one, from its end on

    def during(self, run: Callable[[], object]) -> None:
        """Do ``run`` and watch it, to its end or to where :meth:`stop` is called."""

        def watched() -> None:
            self.begin()
            run()

        try:
            undoing(self.end, watched)
        except _Stopped as stopped:
            if stopped.watch is not self:
                raise

    def block(self) -> Context:
        """Return a context in which passes are watched."""
        return undone(self.end, self.begin)

    def stop(self) -> NoReturn:
        """End the pass that is watched, from one of the functions that are called."""
        raise _Stopped(self)

    def forget(self) -> None:
        """Let the calls of each module be counted from 0 again."""
        self._counts.clear()

    def begin(self) -> None:
        """Begin to watch."""
        self._quiet.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=".*global hooks on modules")
        self._quiet.enter_context(uncompiled())
        # Hooks for all modules leave the model's own alone, and are the only kind that a ScriptModule allows.
        if self._called is not None:
            # A hook may put other inputs in their place, whatever its annotation says.
            self._handles.append(register_module_forward_pre_hook(self._called))  # type: ignore[arg-type]
        if self._returned is not None:
            self._handles.append(register_module_forward_hook(self._has_returned))
        if self._left is not None:
            self._handles.append(register_module_forward_hook(self._is_left, always_call=True))
        for path, module in self._modules.items():
            self._handles.append(module.register_forward_hook(partial(self._has_output, path)))
        if self._computed is not None:
            _push_mode(self)  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """Leave nothing behind; may be repeated, also after it was cut off."""
        modes = function_modes()
        if self._others is None and any(mode is self for mode in modes):
            self._others = [mode for mode in modes if mode is not self]
        if self._others is not None:
            put_function_modes(self._others)
        for handle in self._handles:
            handle.remove()
        self._quiet.close()

    def _has_returned(self, module: nn.Module, _: object, output: object) -> None:
        assert self._returned is not None
        self._returned(module, output)

    def _is_left(self, module: nn.Module, _: object, output: object) -> None:
        assert self._left is not None
        self._left(module)

    def _has_output(self, path: str, module: nn.Module, _: object, output: object) -> Any:
        assert self._output is not None
        call = Call(path, self._counts[path])
        self._counts[path] += 1
        return self._output(call, output)

    def __torch_function__(
        self, func: Function, types: Any, args: Arguments = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Hand ``func`` on."""
        assert self._computed is not None
        return self._computed(func, args, kwargs or {})


class _Stopped(BaseException):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch


def uncompiled() -> AbstractContextManager[object]:
    """Return a context in which compiled modules run as they are written: what was compiled ignores later hooks."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing the compiler takes a second
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def function_modes() -> list[TorchFunctionMode]:
    """Return torch's function modes, the innermost last."""
    modes: list[TorchFunctionMode] = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return modes


def put_function_modes(modes: Sequence[TorchFunctionMode]) -> None:
    """Let torch's function modes be ``modes``; may be repeated after it was cut off."""
    while not _are(now := function_modes(), modes):
        if len(now) < len(modes) and _are(now, modes[: len(now)]):
            _push_mode(modes[len(now)])  # type: ignore[no-untyped-call]
        else:
            _pop_mode()  # type: ignore[no-untyped-call]


def _are(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------------------------------------------- uses of weights

# What turns a tensor into a plain number or an array, and so hides where it goes from there.
_ESCAPES = frozenset({"item", "tolist", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__"})
# What reads only the shape, type or device of every tensor but the first.
_LIKE = frozenset({"type_as", "to", "expand_as", "view_as", "reshape_as"})


class Uses:
    """When each named tensor is used in a forward pass, by name: parameters and buffers alike.

    Attributes:
        uses: Name to the times at which it, or a tensor computed from named tensors alone, met data.
        sightings: Name to the times at which it took part in any computation.
        calls: The id of a module to the times at which it was called.
    """

    def __init__(self, named: Mapping[int, str]) -> None:
        self.uses: dict[str, list[int]] = {}
        self.sightings: dict[str, list[int]] = {}
        self.calls: dict[int, list[int]] = {}
        self._named = named
        self._made_of: MutableMapping[Tensor, tuple[str, ...]] = WeakIdKeyDictionary()
        self._time = 0

    def called(self, module: int, width: int = 1) -> None:
        """Note that the module with this id is called now, and let ``width`` units of time pass."""
        self.calls.setdefault(module, []).append(self._time)
        self._time += width

    def computed(self, function: Function, args: Arguments, kwargs: Mapping[str, Any]) -> Any:
        """Return the result of a function of torch, and note which named tensors it used."""
        result = function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        data = False
        sources: dict[str, None] = {}
        for tensor in tensors_in(args[:1] if name in _LIKE else (args, kwargs)):
            made_of = self._origin(tensor)
            data = data or made_of is None
            sources |= dict.fromkeys(made_of or ())
        if sources:
            self._note(name, sources, list(tensors_in(result)), data=data)
        return result

    def _origin(self, tensor: Tensor) -> tuple[str, ...] | None:
        """Return the named tensors of which ``tensor`` is made, or None when it holds data."""
        name = self._named.get(id(tensor))
        return (name,) if name is not None else self._made_of.get(tensor)

    def _note(self, function: str, sources: Iterable[str], results: list[Tensor], *, data: bool) -> None:
        if not results and function not in _ESCAPES:
            return  # a question about shape, type or device
        record = self.uses if data or not results else self.sightings
        for name in sources:
            record.setdefault(name, []).append(self._time)
            self._time += 1
        for result in results:
            if data:
                self._made_of.pop(result, None)
            else:
                self._made_of[result] = tuple(sources)


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in a value, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        yield from tensors_in(tuple(value.values()))
