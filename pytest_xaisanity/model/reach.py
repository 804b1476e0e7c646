"""Which weights reach the output that is explained: other heads and unused poolers run, and change nothing of it.

A gradient that is not zero shows that a weight does. One that is zero shows nothing: a ReLU may be dead for an input, a
head may be zero, a part may run without gradients. Such a weight is left out where nothing that was computed from it
can have come into the output (:mod:`.flow`), or where changing it leaves the explained output as it is, bit for bit, on
the model as given and on two with other weights throughout.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.seeding import generator
from ..common.undoing import undoing
from .flow import Flow
from .inventory import Inventory, parent, plain_name
from .layers import Layers, Traced
from .reinit.randomizer import Randomizer
from .rewriting import rewritten
from .snapshot import RequiresGrad
from .tracing import Watch

__all__ = ["UNREACHED", "find_reaching_layers"]

UNREACHED = "does not reach the output that is explained"
_DRAWS = 2  # models with other weights throughout


def find_reaching_layers(
    model: nn.Module,
    run: Callable[[], object],
    outputs: Callable[[], Tensor],
    targets: Tensor | None = None,
    *,
    without: Mapping[str, str] | None = None,
) -> Layers:
    """Return the layers of ``model`` that reach the explained output, in the order in which ``run`` uses them.

    What is inside a ScriptModule is taken to reach it, and so is everything in a model whose outputs have no gradients.

    Args:
        model: The model, in the mode in which it is to be explained; it is left as it was.
        run: Does one forward pass of ``model``, as for :func:`~pytest_xaisanity.model.layers.find_layers`.
        outputs: Returns the outputs ``(b, ...)`` of a pass that follows the gradient mode it is called in.
        targets: Positions ``(N,)`` or ``(N, k)`` in the outputs that are explained; None for all.
        without: Name to reason, for parameters that are to be left out whether or not they reach it.

    Raises:
        XaiError: As :func:`~pytest_xaisanity.model.layers.find_layers`.
    """
    left = {plain_name(name): why for name, why in (without or {}).items()}
    traced = Traced(model, run)
    found = traced.layers(left)
    unreached = _Reach(model, traced.inventory, found, outputs, targets).unreached()
    if not unreached or unreached >= {name for layer in found for name in layer.parameters}:
        return found
    return traced.layers({**dict.fromkeys(sorted(unreached), UNREACHED), **left})


@dataclass(frozen=True)
class _Answers:
    """Outputs of one pass, those that are explained and the others."""

    explained: Tensor
    others: Tensor

    def unlike(self, before: _Answers) -> tuple[bool, bool]:
        """Return whether the explained outputs, and whether the others, differ from those of another pass."""
        pairs = ((self.explained, before.explained), (self.others, before.others))
        explained, others = (not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)
        return explained, others


class _Reach:
    """Finds the parameters of a model that do not reach what is explained."""

    def __init__(
        self,
        model: nn.Module,
        inventory: Inventory,
        found: Layers,
        outputs: Callable[[], Tensor],
        targets: Tensor | None,
    ) -> None:
        self.model, self.inventory, self.found, self.outputs, self.targets = model, inventory, found, outputs, targets
        self.flowing: set[str] = set(inventory.parameters)  # what may have come into the outputs in whatever way

    def unreached(self) -> set[str]:
        """Return their names."""
        flat, without_path = self._suspects()
        out = {name for group in without_path if self.flowing.isdisjoint(group) for name in group}
        without_path = [group for group in without_path if out.isdisjoint(group)]
        everything = [name for group in without_path for name in group]
        if everything and self._left_alone(everything, shown=False):
            out |= {*everything}
        else:
            out |= {name for group in without_path if self._left_alone(group, shown=False) for name in group}
        return out | {name for group in flat if self._left_alone(group, shown=True) for name in group}

    def _groups(self) -> list[tuple[str, ...]]:
        """Return the parameters of each layer and of each normalization: those that are used together."""
        groups: list[tuple[str, ...]] = []
        for layer in self.found:
            norms = {path: tuple(n for n in layer.norm_parameters if parent(n) == path) for path in layer.norms}
            groups += [layer.parameters, *filter(None, norms.values())]
        return [group for group in groups if all(self._seen(name) for name in group)]

    def _seen(self, name: str) -> bool:
        return self.inventory.script(parent(name)) is None

    def _suspects(self) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Return the groups whose gradients are zero, and those that no gradient reaches."""
        groups = self._groups()
        gradients = self._gradients([name for group in groups for name in group])
        flat: list[tuple[str, ...]] = []
        without_path: list[tuple[str, ...]] = []
        if gradients is None:
            return [], []
        for group in groups:
            own = [gradients[name] for name in group]
            if all(gradient is None for gradient in own):
                without_path.append(group)
            elif self.targets is not None and not any(g is not None and bool(g.any()) for g in own):
                flat.append(group)
        return flat, without_path

    def _gradients(self, names: list[str]) -> Mapping[str, Tensor | None] | None:
        """Return the gradient of a mixture of the explained outputs for each parameter; None where there is none."""
        parameters = [self.inventory.parameters[name] for name in names]
        asked = RequiresGrad(parameters)
        found: list[Mapping[str, Tensor | None]] = []

        def work() -> None:
            for parameter in parameters:
                if parameter.is_leaf:
                    parameter.requires_grad_(True)
            flow = Flow(self.inventory)
            explained = self._answers(flow).explained
            mixture = torch.rand(explained.shape, generator=generator("reach")).to(explained)
            asking = [parameter for parameter in parameters if parameter.requires_grad]
            if explained.requires_grad and asking:
                total = (explained * (0.5 + mixture)).sum()
                gradients = iter(torch.autograd.grad(total, asking, allow_unused=True))
                of = {id(parameter): next(gradients) for parameter in asking}
                found.append({n: of.get(id(p)) for n, p in zip(names, parameters, strict=True)})

        try:
            with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings(action="ignore"):
                undoing(asked.restore, work)
        except RuntimeError:  # a model that can be run without gradients alone
            return None
        return found[0] if found else None

    def _answers(self, flow: Flow | None = None) -> _Answers:
        seen: list[Tensor] = []
        (Watch() if flow is None else flow.watch()).during(lambda: seen.append(self.outputs()))
        if flow is not None:
            self.flowing = flow.into(seen[0])
        flat = seen[0].flatten(1)
        explained = torch.ones(flat.shape[1], dtype=torch.bool, device=flat.device)
        if self.targets is not None:
            columns = self.targets.to(flat.device).reshape(len(self.targets), -1).unbind(1)
            shape = seen[0].shape[1:]
            explained = torch.zeros(shape, dtype=torch.bool, device=flat.device)
            explained[tuple(column.long() for column in columns)] = True
            explained = explained.flatten()
        return _Answers(flat[:, explained], flat[:, ~explained])

    def _left_alone(self, names: Iterable[str], *, shown: bool) -> bool:
        """Whether changing parameters leaves the explained outputs as they are, whatever the other weights.

        Args:
            names: The parameters.
            shown: Whether they must be seen to change other outputs: what a gradient may reach is not left out for
                having changed nothing.
        """
        parameters = [self.inventory.parameters[name] for name in names]
        changed: list[tuple[bool, bool]] = []
        with torch.inference_mode(False), torch.no_grad(), Randomizer(self.model, self.found.layers) as randomizer:
            for draw in range(1 + _DRAWS):
                for layer in self.found.layers if draw else ():
                    randomizer.randomize(layer, seed=draw)
                before = self._answers()
                with rewritten(self.model, parameters, [_moved(parameter, draw) for parameter in parameters]):
                    changed.append(self._answers().unlike(before))
                if changed[-1][0]:
                    return False
        return not shown or any(others for _, others in changed)


def _moved(parameter: Tensor, draw: int) -> Tensor:
    """Return the parameter with noise on it, as large as itself and never nothing."""
    values = parameter.detach()
    noise = torch.randn(values.shape, generator=generator("reach", draw)).to(values)
    return values + noise * (0.1 + values.abs().mean())
