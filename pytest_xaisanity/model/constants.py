"""Weights that are no parameters, and so keep their values whatever is randomized.

Quantization packs them, ``torch.jit.freeze`` folds them into the code, prototypes and codebooks are kept as buffers.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch.jit._script import RecursiveScriptModule

from .inventory import Inventory, parent, plain_name

__all__ = ["BUFFER", "FOLDED", "PACKED", "constants"]

PACKED = "holds packed (quantized) weights, which stay as they are"
FOLDED = "was frozen by torch.jit: its weights are constants, which stay as they are"
BUFFER = "is a buffer, which stays as it is"


def constants(inventory: Inventory, used: Collection[str]) -> dict[str, str]:
    """Return the reason why a weight keeps its value, by its name or by that of the module that holds it.

    Args:
        inventory: The model.
        used: Names of the buffers that meet data in a forward pass, without those of normalizations.
    """
    found = {_named(name): PACKED for name in _packed(inventory)}
    for path, module in inventory.modules.items():
        if inventory.script(path) == path and _is_folded(module):
            found[_named(path)] = FOLDED
    for name, buffer in inventory.buffers.items():
        if name in used and buffer.is_floating_point() and not _of_a_parametrization(name, inventory):
            found[name] = BUFFER
    return found


def _named(path: str) -> str:
    return path or "(the model)"


def _packed(inventory: Inventory) -> list[str]:
    """Return the paths of the modules that keep tensors in the ``state_dict`` that are no parameters or buffers."""
    known = inventory.parameters.keys() | inventory.buffers.keys()
    paths: dict[str, None] = {}
    for name, value in inventory.modules[""].state_dict().items():
        name = plain_name(name)
        if name not in known and _holds_tensors(value):
            path = parent(name)
            while path.rpartition(".")[2].startswith("_"):  # what packs them, inside the module
                path = parent(path)
            paths.setdefault(path)
    return list(paths)


def _holds_tensors(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_tensors, value))
    return isinstance(value, (Tensor, torch.ScriptObject))


def _is_folded(module: object) -> bool:
    """Whether a ScriptModule has constants where others have parameters."""
    if not isinstance(module, RecursiveScriptModule) or any(True for _ in module.parameters()):
        return False
    try:
        graph = module.inlined_graph  # whose nodes live as long as it does
    except RuntimeError:  # it has no forward
        return False
    nodes = graph.findAllNodes("prim::Constant")  # type: ignore[attr-defined]
    held = (node.t("value") for node in nodes if node.hasAttribute("value") and node.kindOf("value") == "t")
    return any(tensor.is_floating_point() and tensor.numel() > 1 for tensor in held)


def _of_a_parametrization(name: str, inventory: Inventory) -> bool:
    """Whether a buffer helps to compute a weight from parameters, as the vectors of spectral norm do."""
    stem = name.removesuffix("_u").removesuffix("_v")
    return inventory.holder(name) != parent(name) or f"{stem}_orig" in inventory.parameters
