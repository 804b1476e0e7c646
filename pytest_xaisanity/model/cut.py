"""A cut through a model: a module whose output stays as it is, and the layers above it that may be randomized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..common.errors import XaiError, unknown_name
from .inventory import Inventory
from .layers import Layer, Layers, find_layers
from .tracing import Call, Watch

__all__ = ["Cut", "calls", "find_cut", "has_cut", "hookable"]


_USED_BELOW = "used below the cut as well"


@dataclass(frozen=True)
class Cut:
    """A module and what is above it.

    Attributes:
        path: Path of the module, as in ``named_modules()``.
        module: The module, which is called once in a forward pass.
        shape: Shape of its output in the pass that was watched; ``()`` where that is no floating-point tensor.
        layers: The layers above it, from the output side; none of them is used below as well.
        found: All layers of the model.
    """

    path: str
    module: nn.Module
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    found: Layers


def find_cut(
    model: nn.Module, run: Callable[[], object], path: str | None = None, *, where: str, found: Layers | None = None
) -> Cut:
    """Return the cut at the module ``path``.

    Args:
        model: The model.
        run: Does one forward pass of ``model``.
        path: A path as in ``named_modules()``. By default the last module below the topmost weights whose output has
            places (an image's rows and columns), or else the last one below them.
        where: What the path is a setting of, for error texts: ``"later_layers cut"``.
        found: The layers of the model, where they are known: those that reach the explained output.

    Raises:
        XaiError: The model has no such module, it is not called exactly once, or no weights are above it.
    """
    inventory = Inventory(model)
    found = find_layers(model, run) if found is None else found
    path = _last_with_channels(inventory, found, run) if path is None else path
    if path is None:
        name, _, setting = where.rpartition(" ")
        top = found.top_down()[0]
        if top.tied and top.first_use < top.last_use:
            raise XaiError(
                name,
                found=f"topmost weights, {top.tied[0]}, that are tied to those of {top.name} at the bottom",
                expected="weights above a module that are not used below it as well",
                fix=f"give the head weights of its own (tie_word_embeddings=False), or name with {setting}= a module "
                "below other weights: what is not tied above it is randomized",
            )
        raise XaiError(
            name,
            found="no module, used once, with channels in its output below the topmost weights",
            expected="a model of two or more layers that are modules",
            fix=f"name the module to look at with {setting}=",
        )
    if path not in inventory.modules:
        raise unknown_name(where, path, filter(None, inventory.modules), kind="module")
    module = inventory.modules[path]
    shapes = [shape for _, shape in calls({path: module}, run)]
    if len(shapes) != 1:
        raise _error(where, f"{path!r}, called {len(shapes)} times in a forward pass", "a module that is called once")
    below = _used_below(model, module, run)
    above = tuple(layer for layer in found.top_down() if not below & {*layer.parameters})
    if not above:
        raise _error(where, f"{path!r} with no weights above it", "a module below the weights to be randomized")
    start = min(layer.first_use for layer in above)
    tied = [layer for layer in found if layer not in above and layer.last_use > start]
    shared = dict.fromkeys((name for layer in tied for name in layer.parameters), _USED_BELOW)
    return Cut(path, module, shapes[0], above, replace(found, not_randomized={**found.not_randomized, **shared}))


def has_cut(model: nn.Module, run: Callable[[], object], found: Layers) -> bool:
    """Whether the model has a module to cut at that need not be named: see :func:`find_cut`."""
    return _last_with_channels(Inventory(model), found, run) is not None


def hookable(inventory: Inventory) -> dict[str, nn.Module]:
    """Return the modules below the root that take hooks, each under its first path; no parametrizations."""
    modules: dict[int, tuple[str, nn.Module]] = {}
    for path, module in inventory.modules.items():
        own = inventory.holder(f"{path}.") == path or isinstance(module, nn.ParameterList | nn.ParameterDict)
        if path and own and not isinstance(module, torch.jit.ScriptModule):
            modules.setdefault(id(module), (path, module))
    return dict(modules.values())


def calls(modules: Mapping[str, nn.Module], run: Callable[[], object]) -> list[tuple[str, tuple[int, ...]]]:
    """Return path and output shape (``()`` for no dense tensor) of each call of modules, in the order of their ends."""
    seen: list[tuple[str, tuple[int, ...]]] = []

    def note(call: Call, output: object) -> None:
        dense = isinstance(output, Tensor) and output.is_floating_point() and not output.is_nested  # which has no shape
        seen.append((call.path, tuple(output.shape) if isinstance(output, Tensor) and dense else ()))

    Watch(modules=modules, output=note).during(run)
    return seen


def _last_with_channels(inventory: Inventory, found: Layers, run: Callable[[], object]) -> str | None:
    """Return the last module below the topmost weights that has places in its output, or else the last one, if any."""
    seen = calls(hookable(inventory), run)
    paths = [path for path, _ in seen]
    top = found.top_down()[0].name
    end = len(paths) - 1 - paths[::-1].index(top) if top in paths else len(paths)
    fit = [(path, shape) for path, shape in seen[:end] if len(shape) > 1 and paths.count(path) == 1]
    chosen = [path for path, shape in fit if len(shape) > 2] or [path for path, _ in fit]
    return chosen[-1] if chosen else None


def _used_below(model: nn.Module, module: nn.Module, run: Callable[[], object]) -> set[str]:
    """Return the names of the parameters that are used up to the module's output."""

    def until_there() -> None:
        watch = Watch(modules={"": module}, output=lambda call, output: watch.stop())
        watch.during(run)

    try:
        return {name for layer in find_layers(model, until_there) for name in layer.parameters}
    except XaiError:  # no layer is used before it
        return set()


def _error(where: str, found: str, expected: str) -> XaiError:
    return XaiError(where, found=found, expected=expected, fix=f"change {where.rpartition(' ')[2]}=")
