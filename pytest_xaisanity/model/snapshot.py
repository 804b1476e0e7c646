"""What a model and torch's global state are, remembered to be put back.

Everything here can be put back any number of times, also after it was cut off at any line: what is as it was is left
alone, and what differs is put back, and noted where that matters.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from ..common.digest import digest_of
from .reinit.parametrizations import old_style_hooks
from .tracing import function_modes, put_function_modes

__all__ = [
    "REWRAPPED",
    "Changes",
    "Hooks",
    "Kept",
    "Modes",
    "RequiresGrad",
    "Snapshot",
    "TorchState",
    "modules_with_modes",
    "plain_attributes",
]

Changes: TypeAlias = dict[tuple[str, str], str]
"""Kind and name of what was found changed (``("buffer", "norm.running_mean")``) to how (``"replaced"``)."""

REWRAPPED = "rewrapped"  # what became of a tensor in whose place stands another one of the same memory: no change

COPIED_BYTES = 2**31  # of parameters; of more, no copy is kept
_KINDS = {"_parameters": "parameter", "_buffers": "buffer", "_modules": "module"}
_CONTAINERS = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, dict | set))
_HOOKS = tuple(name for name in _CONTAINERS if name not in _KINDS)
_all_hooks = itemgetter(*_HOOKS)
_DICTS_OR_SETS = (dict, OrderedDict, set)
_PLAIN = (bool, int, float, str, type(None))
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Snapshot:
    """A model's modules and tensors, with all that belongs to them.

    Of each module: its class, its attributes (Captum leaves some behind), parameters, buffers and submodules by name,
    hooks in their order, and its mode. Of each tensor: its memory, values bit for bit, ``requires_grad``, and its
    gradient with its values.

    Args:
        model: The model.
        values: What the values of its tensors are to be, by name; by default copies of what they are. Of parameters
            that take more than 2 GiB none are copied, nor their gradients: where one was changed in place, that is
            noted, and cannot be undone.
        copied: Whether values count at all.

    Attributes:
        changes: What was found changed: parameters, buffers, submodules, classes, ``forward`` methods, modes, hooks,
            and attributes with plain values. The rest is put back without a note.
    """

    def __init__(self, model: nn.Module, *, values: Mapping[str, Tensor] | None = None, copied: bool = True) -> None:
        self._trees = [_Tree(path, module) for path, module in model.named_modules()]
        self._modes = Modes(model)
        tensors = [*_tensors_of(model)]
        small = sum(_bytes(tensor) for kind, _, tensor in tensors if kind == "parameter") <= COPIED_BYTES
        self._tensors: dict[int, _State] = {}
        for kind, name, tensor in tensors:
            if id(tensor) in self._tensors:
                continue
            state = self._tensors[id(tensor)] = _State(kind, name, tensor, watched=copied)
            if copied and not tensor.is_meta and (small or values is not None or kind != "parameter"):
                state.keep(None if values is None else values.get(name))
        self.changes: Changes = {}

    def memory(self) -> dict[str, Tensor]:
        """Return aliases of the memory that each tensor had, by name."""
        return {state.name: state.memory for state in self._tensors.values()}

    def restore(self) -> None:
        """Put everything back, and note what was changed."""
        self._restore_modules(self.changes, computed=True)
        for state in self._tensors.values():
            state.restore(self.changes)

    def restore_structure(self) -> None:
        """Put back, without a note, all but memory and values, and the weights that hooks compute from these: cheap."""
        self._restore_modules({}, computed=False)
        for state in self._tensors.values():
            state.restore_gradient()

    def _restore_modules(self, changes: Changes, *, computed: bool) -> None:
        for tree in self._trees:
            tree.restore(changes, computed=computed)
        self._modes.restore(changes)


def _tensors_of(model: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Yield kind, name and value of parameters, buffers, and tensors that are plain attributes of modules."""
    yield from (("parameter", name, parameter) for name, parameter in model.named_parameters())
    yield from (("buffer", name, buffer) for name, buffer in model.named_buffers())
    for path, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule):
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    yield "attribute", _join(path, name), value


def modules_with_modes(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield path and module of all that are in some mode; what ``torch.jit.freeze`` returns is in none."""
    for path, module in model.named_modules():
        if not isinstance(module, torch.jit.ScriptModule) or module._c.hasattr("training"):
            yield path, module


class Modes:
    """The mode of each module of a model: training or evaluation."""

    def __init__(self, model: nn.Module) -> None:
        self._modes = [(path, module, module.training) for path, module in modules_with_modes(model)]

    def restore(self, changes: Changes | None = None) -> None:
        """Put each mode back, and note which were others."""
        for path, module, training in self._modes:
            if module.training != training:
                if changes is not None:
                    changes["mode", path] = "training" if module.training else "evaluation"
                module.training = training


def plain_attributes(model: nn.Module) -> dict[str, object]:
    """Return the attributes of a model's modules that hold numbers, strings and the like, their modes left out."""
    return {
        _join(path, name): value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, _PLAIN) and name != "training"
    }


class Hooks:
    """The hooks of a model's modules, in their order."""

    def __init__(self, model: nn.Module) -> None:
        self._all = [hooks for module in model.modules() for hooks in _held(module) if type(hooks) in _DICTS_OR_SETS]
        self._some = {id(hooks): _Contents(hooks) for hooks in self._all if hooks}  # most are empty: no copies of those

    def restore(self) -> None:
        """Put them back."""
        for hooks in self._all:
            if id(hooks) in self._some:
                self._some[id(hooks)].restore()
            elif hooks:
                hooks.clear()


def _held(module: nn.Module) -> tuple[Any, ...]:
    """Return what a module holds of the attributes that are hooks; all at once, for each call of an explainer asks."""
    attributes = vars(module)
    try:
        held: tuple[Any, ...] = _all_hooks(attributes)
        return held
    except KeyError:
        return tuple(attributes[name] for name in _HOOKS if name in attributes)


class RequiresGrad:
    """Whether each parameter of a model asks for gradients."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = [(parameter, parameter.requires_grad) for parameter in parameters if parameter.is_leaf]

    def restore(self) -> None:
        """Let each ask, or not, as before."""
        for parameter, requires_grad in self._parameters:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)


class TorchState:
    """Gradient mode, function modes and hooks for all modules, as they are everywhere in this thread.

    With them which list of filters for warnings is in use: an interrupted ``catch_warnings`` leaves its own.
    """

    def __init__(self) -> None:
        self._filters = warnings.filters
        self._grad = torch.is_grad_enabled()
        self._modes = function_modes()
        everywhere = {name: value for name, value in vars(torch_modules).items() if name.startswith("_global_")}
        self._flag: bool | None = everywhere["_global_is_full_backward_hook"]
        self._hooks = [_Contents(value) for value in everywhere.values() if isinstance(value, dict)]

    def restore(self) -> None:
        """Put all of it back."""
        for hooks in self._hooks:
            hooks.restore()
        if torch_modules._global_is_full_backward_hook is not self._flag:
            torch_modules._global_is_full_backward_hook = self._flag
        put_function_modes(self._modes)
        if warnings.filters is not self._filters:
            warnings.filters = self._filters
            with warnings.catch_warnings():  # which tells the warnings of modules so far that they count anew
                pass
        if torch.is_grad_enabled() != self._grad:
            torch.set_grad_enabled(self._grad)


# ------------------------------------------------------------------------------------------------------- modules


class _Contents:
    """What is in a dictionary, in its order, or in a set."""

    def __init__(self, container: dict[object, object] | set[object]) -> None:
        self.container, self._copy = container, container.copy()

    def restore(self) -> None:
        now, before = self.container, self._copy
        if not self.differs:
            return
        now.clear()
        now.update(before)  # type: ignore[arg-type]  # both are dictionaries, or both are sets

    @property
    def differs(self) -> bool:
        """Whether anything else is in it now, or in another order."""
        now, before = self.container, self._copy
        if isinstance(now, dict) and isinstance(before, dict):
            return [*now] != [*before] or not _are(now.values(), before.values())
        return now != before

    def changes(self) -> Iterator[tuple[str, str]]:
        """Yield each name whose entry is another one, and what became of it."""
        now, before = self.container, self._copy
        if isinstance(now, dict) and isinstance(before, dict):
            for name in dict.fromkeys([*before, *now]):
                if name not in now or name not in before:
                    yield str(name), "deleted" if name in before else "added"
                elif now[name] is not before[name]:
                    yield str(name), REWRAPPED if _same_memory(now[name], before[name]) else "replaced"


def _same_memory(one: object, other: object) -> bool:
    """Whether two parameters are of the same memory, read alike."""
    if type(one) is not nn.Parameter or type(other) is not nn.Parameter or one.requires_grad != other.requires_grad:
        return False
    plain = all(each.layout == torch.strided and not each.is_quantized for each in (one, other))
    return plain and one.is_set_to(other)


class _Tree:
    """One module: its class, its attributes, and what is in its parameters, buffers, submodules and hooks."""

    def __init__(self, path: str, module: nn.Module) -> None:
        self.path, self.module, self.kind = path, module, type(module)
        # A loaded or frozen script keeps its forward() as an attribute once it is called.
        self.passed_by = {"training", "forward"} if isinstance(module, torch.jit.ScriptModule) else {"training"}
        self.attributes = {name: value for name, value in vars(module).items() if name not in self.passed_by}
        held = {name: self.attributes.get(name) for name in _CONTAINERS}
        self.contents = {n: _Contents(v) for n, v in held.items() if type(v) in (dict, OrderedDict, set)}  # type: ignore[arg-type]
        self.computed = {hook.name for hook in old_style_hooks(module)}

    def restore(self, changes: Changes, *, computed: bool) -> None:
        """Put everything back; of weights that hooks compute, which are attributes, only where ``computed`` is set."""
        self._note(changes)
        module, attributes = self.module, vars(self.module)
        if type(module) is not self.kind:
            module.__class__ = self.kind
        left = set() if computed else self.computed
        for name in [name for name in attributes if name not in self.attributes and name not in self.passed_by]:
            del attributes[name]
        for name, value in self.attributes.items():
            if name not in left and (name not in attributes or attributes[name] is not value):
                attributes[name] = value
        for contents in self.contents.values():
            contents.restore()

    def _note(self, changes: Changes) -> None:
        now = vars(self.module)
        if type(self.module) is not self.kind:
            changes["class", self.path] = f"replaced by {type(self.module).__name__}"
        if "forward" not in self.passed_by and now.get("forward") is not self.attributes.get("forward"):
            changes["forward", self.path] = "replaced"
        for container, kind in _KINDS.items():
            if container not in self.contents:
                continue
            if now.get(container) is not self.contents[container].container:
                changes[kind, self.path] = "replaced"
            for name, what in self.contents[container].changes():
                changes[kind, _join(self.path, name)] = what
        if any(contents.differs for name, contents in self.contents.items() if name not in _KINDS):
            changes["hooks", self.path] = "changed"
        for name, value in self.attributes.items():
            if isinstance(value, _PLAIN) and now.get(name, value) != value:
                changes["attribute", _join(self.path, name)] = "changed"


# ------------------------------------------------------------------------------------------------------- tensors


class Kept:
    """The values of one tensor.

    Args:
        tensor: The tensor.
        values: What its values are to be; by default a copy of what they are.
    """

    def __init__(self, tensor: Tensor, values: Tensor | None = None) -> None:
        self.tensor = tensor
        self.values = tensor.detach().clone() if values is None else values
        self._digest = None if _is_plain(tensor) else digest_of(tensor)

    @property
    def changed(self) -> bool:
        """Whether the tensor has other values, type or shape now."""
        now, before = self.tensor.detach(), self.values
        if now.dtype != before.dtype or now.layout != before.layout or now.is_nested != before.is_nested:
            return True
        if self._digest is not None:  # that of a nested tensor, which has no shape, too
            return digest_of(now) != self._digest
        if now.shape != before.shape:
            return True
        return not torch.equal(_bits(now), _bits(before).to(now.device))

    def put_back(self) -> None:
        """Give the tensor its values again, in its memory."""
        self.tensor.data.copy_(self.values)


class _State:
    """A tensor of a model: its memory, its values, and its gradient."""

    def __init__(self, kind: str, name: str, tensor: Tensor, *, watched: bool) -> None:
        self.kind, self.name, self.tensor = kind, name, tensor
        self.memory = tensor.data
        self.kept: Kept | None = None
        self.version = _version(tensor) if watched else None
        self.requires_grad = RequiresGrad([tensor])
        self.gradient = tensor.grad if tensor.is_leaf else None
        self.inner = None if self.gradient is None else _State("gradient", name, self.gradient, watched=False)

    def keep(self, values: Tensor | None) -> None:
        """Remember the values of the tensor, which it also has elsewhere in memory if they are given."""
        self.kept = Kept(self.tensor, None if values is None or _same_place(values, self.tensor) else values)
        if self.inner is not None:
            self.inner.keep(None)

    def restore(self, changes: Changes) -> None:
        """Put back memory and values, and note that they were others."""
        changed = self.kept is not None and self.kept.changed
        large = self.kept is None and self.version is not None and _version(self.tensor) != self.version
        if self.kind in ("parameter", "buffer") and (changed or large):
            changes.setdefault(
                (self.kind, self.name), "changed" if changed else "changed, and too large to be put back"
            )
        if not _same_place(self.tensor, self.memory):
            self.tensor.data = self.memory
            changed = self.kept is not None and self.kept.changed
        if changed and self.kept is not None:
            self.kept.put_back()
        self.restore_gradient()

    def restore_gradient(self) -> None:
        """Put back the gradient, and whether one is asked for."""
        self.requires_grad.restore()
        if self.tensor.is_leaf and self.tensor.grad is not self.gradient:
            self.tensor.grad = self.gradient
        if self.inner is not None:
            self.inner.restore({})


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _is_plain(tensor: Tensor) -> bool:
    known = type(tensor) in (Tensor, nn.Parameter, nn.Buffer) and not tensor.is_nested
    return known and tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta


def _bits(tensor: Tensor) -> Tensor:
    """Return a plain tensor as whole numbers, so that NaN equals itself and -0 is not 0."""
    plain = tensor.resolve_conj().resolve_neg()
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    return plain.view(_BITS[plain.element_size()])


def _same_place(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors read the same memory in the same way."""
    if (one.dtype, one.device, one.layout) != (other.dtype, other.device, other.layout):
        return False
    if one.is_nested or other.is_nested:  # they have no shape to compare
        return one.is_nested == other.is_nested
    if one.shape != other.shape:
        return False
    if not _is_plain(one):
        return True
    return one.data_ptr() == other.data_ptr() and one.stride() == other.stride()


def _bytes(tensor: Tensor) -> int:
    plain = tensor.layout is torch.strided and not tensor.is_nested
    return tensor.numel() * tensor.element_size() if plain else 0


def _are(one: Iterable[object], other: Iterable[object]) -> bool:
    """Whether two sequences hold the very same objects."""
    one, other = [*one], [*other]
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
