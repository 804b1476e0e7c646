"""Finding the layers of a model, in the order in which a forward pass uses their weights.

Registration order says nothing about execution, and module hooks see neither bare parameters nor weights that are
passed to a function (``F.linear(x, self.weight)``, the packed projections of attention). So the forward pass is
watched for the parameters themselves: the first call that brings a parameter, or a tensor computed from parameters
alone, together with data is where that parameter is used.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.jit._script import RecursiveScriptModule
from torch.nn.utils.parametrize import type_before_parametrizations

from ..common.errors import XaiError
from .constants import FOLDED, PACKED, constants
from .inventory import Inventory, parent
from .tracing import Uses, Watch

__all__ = ["Layer", "Layers", "Traced", "find_layers"]

_NORM = re.compile(r"Norm(\d+d)?$|BatchNorm|LayerNorm")
_RESETS = ("reset_parameters", "_reset_parameters")
_UNUSED = "not used in the forward pass"


@dataclass(frozen=True)
class Layer:
    """Parameters that are randomized together.

    Attributes:
        name: The path of the module that owns the parameters, as in ``named_modules()``, or the name of the first
            parameter when a container (or the root) holds it bare: ``"class_token"``.
        parameters: Names of the parameters, as in ``named_parameters()``, without those of ``norms``.
        norms: Paths of the normalization modules that are reset with the layer.
        norm_parameters: Names of the parameters of ``norms``.
        tied: Other names of the same parameters.
        first_use: Position of the first use in the forward pass.
        last_use: Position of the last use; differs from ``first_use`` when the layer is used more than once.
    """

    name: str
    parameters: tuple[str, ...]
    norms: tuple[str, ...] = ()
    norm_parameters: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    first_use: int = 0
    last_use: int = 0


@dataclass(frozen=True)
class Layers:
    """The layers of a model, from the input side to the output side.

    Attributes:
        layers: The layers, by first use.
        not_randomized: Name to reason, for every parameter that belongs to no layer, and for weights that are no
            parameters: buffers that meet data, modules whose weights are packed or frozen.
        order: ``"execution"``, or ``"registration"`` when the inside of a part of the model could not be watched.
    """

    layers: tuple[Layer, ...]
    not_randomized: Mapping[str, str] = field(default_factory=dict)
    order: Literal["execution", "registration"] = "execution"

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def top_down(self) -> tuple[Layer, ...]:
        """Return the layers from the output side, each at its last use."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.last_use))

    def bottom_up(self) -> tuple[Layer, ...]:
        """Return the layers from the input side, each at its first use."""
        return self.layers


def find_layers(model: nn.Module, run: Callable[[], object], *, without: Mapping[str, str] | None = None) -> Layers:
    """Return the layers of ``model`` in the order in which ``run`` uses them.

    Every floating-point parameter that the forward pass uses belongs to exactly one layer:

    * a module without parametrized children is one layer, ``MultiheadAttention`` with its output projection too;
    * each bare parameter of a container or of the root is a layer of its own, but a vector (a bias, a gain) goes
      with the bare parameter of the same module that was used just before it;
    * a normalization module goes with the weighted layer used before it, or after it when there is none before;
    * tied parameters are in the layer of their first name, and what is left of the other module goes with them when
      it is but a bias.

    Args:
        model: The model, in the mode in which it is to be explained; it is left as it was.
        run: Does one forward pass of ``model``. It is called once, in whatever gradient mode the caller has set.
        without: Name to reason, for parameters that are to be left out.

    Raises:
        XaiError: If ``model`` is no module, has uninitialized parameters, or has no layer to randomize.
    """
    return Traced(model, run).layers(without)


class Traced:
    """A model and what was seen of one forward pass of it.

    Args:
        model: The model.
        run: Does the pass.

    Attributes:
        inventory: The model's modules, parameters and buffers.

    Raises:
        XaiError: As :func:`find_layers`.
    """

    def __init__(self, model: nn.Module, run: Callable[[], object]) -> None:
        self.inventory = Inventory(model)
        self._model, self._seen = model, _watch(self.inventory, run)

    def layers(self, without: Mapping[str, str] | None = None) -> Layers:
        """Return the layers, as :func:`find_layers` does."""
        inventory, seen = self.inventory, self._seen
        units, not_randomized = _units(inventory, without or {})
        _position(units, inventory, seen)
        not_randomized |= constants(inventory, seen.uses.keys() - {name for unit in units for name in unit.buffers})
        for unit in units:
            if not unit.uses:
                not_randomized |= dict.fromkeys(unit.parameters, _UNUSED)
        used = sorted((unit for unit in units if unit.uses), key=lambda unit: unit.uses[0])
        weighted = _with_vectors([unit for unit in used if not unit.norm], inventory)
        if not weighted:
            raise _nothing_to_randomize(self._model, inventory, not_randomized)
        norms = _with_norms(weighted, [unit for unit in used if unit.norm])
        layers = tuple(_layer(unit, norms[index]) for index, unit in enumerate(weighted))
        scripted = any(inventory.script(unit.owner) is not None for unit in used)
        return Layers(layers, not_randomized, "registration" if scripted else "execution")


# ---------------------------------------------------------------------------------------------------------- units


@dataclass
class _Unit:
    """What may become a layer, or a normalization that goes with one."""

    name: str
    owner: str
    parameters: list[str]
    bare: bool = False
    norm: bool = False
    buffers: list[str] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    uses: list[int] = field(default_factory=list)


def _units(inventory: Inventory, without: Mapping[str, str]) -> tuple[list[_Unit], dict[str, str]]:
    """Return the units of a model in registration order, and why parameters are not re-initialized, by name."""
    owned: dict[str, list[str]] = {}
    fixed: dict[str, str] = {}
    for name, parameter in inventory.parameters.items():
        reason = without.get(inventory.canonical[name]) or _why_fixed(parameter)
        if reason is None:
            owned.setdefault(inventory.owner(name), []).append(name)
        else:
            fixed[name] = reason
    units: list[_Unit] = []
    for path in dict.fromkeys([*inventory.modules, *owned]):
        if _is_norm(path, owned, inventory) and not _seen_before(path, inventory):
            buffers = [name for name in inventory.buffers if parent(name) == path]
            names = _first_names(owned.get(path, []), inventory)
            units.append(_Unit(path, path, names, norm=True, buffers=buffers))
        elif path in owned:
            units += _weighted_units(path, owned, inventory)
    return _with_ties(units, owned, inventory), fixed


def _why_fixed(parameter: Tensor) -> str | None:
    """Return why ``parameter`` cannot be re-initialized, or None where it can."""
    if not (parameter.is_floating_point() or parameter.is_complex()):
        kind = str(parameter.dtype).removeprefix("torch.")
        return f"holds {kind} numbers, and new weights are drawn from distributions of real ones"
    if parameter.numel() == 0:
        return "is empty"
    if parameter.layout is not torch.strided:
        return f"is not dense ({parameter.layout})"
    if any(step == 0 and size > 1 for step, size in zip(parameter.stride(), parameter.shape, strict=True)):
        return "is an expanded view, whose entries share memory"
    return None


def _is_norm(path: str, owned: Iterable[str], inventory: Inventory) -> bool:
    module = inventory.modules[path]
    kind = module.original_name if isinstance(module, RecursiveScriptModule) else type(module).__name__
    buffers = {name for name, _ in module.named_buffers(recurse=False)}
    has_state = bool(buffers) or any(True for _ in module.parameters(recurse=False))
    named_so = bool(_NORM.search(kind))
    parametrization = inventory.holder(f"{path}.") != path  # spectral norm is the norm of a matrix
    # An exported model keeps the running statistics but not the class.
    alike = has_state and (named_so or {"running_mean", "running_var"} <= buffers)
    return alike and not parametrization and not _holds_others(path, owned)


def _holds_others(path: str, owned: Iterable[str]) -> bool:
    """Whether a module below ``path`` owns parameters."""
    return any(other != path and (not path or other.startswith(f"{path}.")) for other in owned)


def _seen_before(path: str, inventory: Inventory) -> bool:
    """Whether ``path`` is a later name of a module that is registered more than once."""
    module = inventory.modules[path]
    return next(other for other, same in inventory.modules.items() if same is module) != path


def _first_names(names: Iterable[str], inventory: Inventory) -> list[str]:
    return [name for name in names if inventory.canonical[name] == name]


def _weighted_units(path: str, owned: Mapping[str, list[str]], inventory: Inventory) -> list[_Unit]:
    names = _first_names(owned[path], inventory)
    kind = type_before_parametrizations(inventory.modules[path])
    resettable = any(hasattr(kind, reset) for reset in _RESETS)
    if not _holds_others(path, owned) and (path or resettable):
        return [_Unit(path or kind.__name__, path, names)]
    return [_Unit(name, path, [name], bare=True) for name in names]


def _with_ties(units: list[_Unit], owned: Mapping[str, list[str]], inventory: Inventory) -> list[_Unit]:
    """Note the other names of tied parameters, and let a bias follow the tied weight it is used with."""
    home = {name: unit for unit in units for name in unit.parameters}
    for name, first in inventory.canonical.items():
        if name != first and first in home:
            home[first].tied.append(name)
    for unit in units:
        ties = [home.get(inventory.canonical[name]) for name in owned.get(unit.owner, ())]
        elsewhere = [tie for tie in ties if tie is not None and tie is not unit]
        vectors = all(inventory.parameters[name].ndim <= 1 for name in unit.parameters)
        if elsewhere and vectors and not unit.bare and not unit.norm and not elsewhere[0].norm:
            elsewhere[0].parameters += unit.parameters
            home |= dict.fromkeys(unit.parameters, elsewhere[0])
            unit.parameters = []
    return [unit for unit in units if unit.parameters or unit.norm]


def _watch(inventory: Inventory, run: Callable[[], object]) -> Uses:
    """Do one forward pass and return what was seen of it."""
    named = {id(p): inventory.canonical[name] for name, p in inventory.parameters.items()}
    named |= {id(buffer): name for name, buffer in reversed(inventory.buffers.items())}
    uses = Uses(named)
    ours = {id(module) for module in inventory.modules.values()}

    def called(module: nn.Module, _: object) -> None:
        if id(module) in ours:
            # The layers inside a ScriptModule take the units of time that pass while it runs.
            uses.called(id(module), 1 + len(named) * isinstance(module, torch.jit.ScriptModule))

    Watch(called=called, computed=uses.computed).during(run)
    return uses


def _position(units: Iterable[_Unit], inventory: Inventory, seen: Uses) -> None:
    """Set the uses of each unit: of its parameters, else of its buffers, else the calls of its module."""
    for index, unit in enumerate(units):
        script = inventory.script(unit.owner)
        if script is not None:
            calls = seen.calls.get(id(inventory.modules[script]), [] if script else [0])  # or its forward() was
            unit.uses = [call + 1 + index for call in calls]
            continue
        names = [*unit.parameters, *unit.buffers]
        for record in (seen.uses, seen.sightings):
            unit.uses = unit.uses or sorted(time for name in names for time in record.get(name, ()))
        if not unit.uses and not unit.bare:
            holders = dict.fromkeys(inventory.holder(name) for name in [*unit.parameters, *unit.tied])
            paths = [unit.owner, *holders]
            unit.uses = sorted(time for path in paths for time in seen.calls.get(id(inventory.modules[path]), ()))


# ------------------------------------------------------------------------------------------------------- grouping


def _with_vectors(units: Iterable[_Unit], inventory: Inventory) -> list[_Unit]:
    """Join each bare vector with the bare parameter of the same module that was used just before it.

    Alone, the bias of the last layer would be the top of the network, and no gradient would feel it.
    """
    joined: list[_Unit] = []
    for unit in units:
        vector = unit.bare and all(inventory.parameters[name].ndim <= 1 for name in unit.parameters)
        if vector and joined and joined[-1].bare and joined[-1].owner == unit.owner:
            joined[-1].parameters += unit.parameters
            joined[-1].tied += unit.tied
            joined[-1].uses = sorted(joined[-1].uses + unit.uses)
        else:
            joined.append(unit)
    return joined


def _with_norms(weighted: list[_Unit], norms: Iterable[_Unit]) -> dict[int, list[_Unit]]:
    """Return, for the index of each weighted unit, the normalizations that go with it."""
    timeline = sorted((time, index) for index, unit in enumerate(weighted) for time in unit.uses)
    followers: dict[int, list[_Unit]] = {index: [] for index in range(len(weighted))}
    for norm in norms:
        before = bisect_left(timeline, (norm.uses[0], 0)) - 1
        followers[timeline[max(before, 0)][1]].append(norm)
    return followers


def _layer(unit: _Unit, norms: Iterable[_Unit]) -> Layer:
    return Layer(
        name=unit.name,
        parameters=tuple(unit.parameters),
        norms=tuple(norm.owner for norm in norms),
        norm_parameters=tuple(name for norm in norms for name in norm.parameters),
        tied=(*unit.tied, *(name for norm in norms for name in norm.tied)),
        first_use=unit.uses[0],
        last_use=unit.uses[-1],
    )


def _nothing_to_randomize(model: nn.Module, inventory: Inventory, reasons: Mapping[str, str]) -> XaiError:
    kind = type(model).__name__
    held = {reason for reason in (PACKED, FOLDED) if reason in reasons.values()}
    if not inventory.parameters or held:
        frozen, packed = FOLDED in held, PACKED in held
        how = " or ".join(["torch.jit.freeze leaves none"] * frozen + ["quantization packs them"] * packed)
        found = f"{kind} without parameters to randomize{f' ({how})' if how else ''}"
        fix = "register the weights as nn.Parameter"
        if held:
            before = " and ".join(["torch.jit.freeze"] * frozen + ["quantization"] * packed)
            fix = f"give the model as it was before {before}"
    else:
        why = sorted(set(reasons.values())) or ["belong to normalization modules alone"]
        found = f"{kind} with {len(inventory.parameters)} parameters, all of them left out: {'; '.join(why)}"
        fix = "give the module whose forward pass uses the weights"
    return XaiError("xai_model", found=found, expected="a model with at least one layer to randomize", fix=fix)
