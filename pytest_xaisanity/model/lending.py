"""Lending the user's model to a measurement, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import torch
from torch import nn

from ..common.errors import XaiError
from ..common.seeding import State, global_state, restore_state, seed_globally
from ..common.undoing import undoing, undone
from .inventory import plain_name
from .snapshot import REWRAPPED, Changes, Snapshot, TorchState, modules_with_modes, plain_attributes

__all__ = ["Lending", "evaluating", "own_changes"]

T = TypeVar("T")
_SILENT = ("hooks", "attribute")  # put back without an error


class Lending:
    """A model that runs in evaluation mode on a device, to be given back as it was.

    Modules with all that belongs to them, weights, buffers, ``requires_grad``, gradients and device come back however
    the work ends, and so do the global random number generators, torch's function modes and gradient mode, and the
    hooks for all modules. During the work gradients can be taken, whatever the caller's own mode.

    Args:
        model: The model, or another callable, of which nothing is known.
        device: Where it is to run.
        seed: Seeds the global generators.
        own: Names of buffers and plain attributes that the model itself changes; they are put back without a word.
    """

    def __init__(self, model: object, device: torch.device, seed: int, own: Collection[str] = ()) -> None:
        self._model = model if isinstance(model, nn.Module) else None
        self._device, self._seed, self._own = device, seed, own
        self._torch = TorchState()
        self._modes = ExitStack()
        self._given: Snapshot | None = None
        self._moved_from: torch.device | None = None
        self._generators: State | None = None
        self._lent: Snapshot | None = None
        self._changes: Changes = {}

    def during(self, work: Callable[[], T]) -> T:
        """Return ``work()``, done while the model is lent.

        Raises:
            XaiError: Something other than an intervention has changed the model: the result is worth nothing.
        """

        def begun() -> T:
            self._begin()
            return work()

        result = undoing(self._end, begun)
        self._complain()
        return result

    @contextmanager
    def block(self) -> Iterator[None]:
        """Lend the model to the block, likewise; :meth:`during` is safer against interrupts at the block's end."""
        with undone(self._end, self._begin):
            yield
        self._complain()

    @property
    def touched(self) -> bool:
        """Whether hooks or plain attributes were found changed that the model does not itself change: no error."""
        return any(kind in _SILENT and name not in self._own for kind, name in self._changes)

    def restore(self) -> None:
        """Put back, while the model is lent, what an explainer that was cut off has left: all but weights and buffers.

        That is modules, hooks, modes, ``requires_grad`` and gradients. It is cheap.
        """
        if self._lent is not None:
            self._lent.restore_structure()

    def _begin(self) -> None:
        self._modes.enter_context(torch.inference_mode(False))
        if self._model is None:
            self._seed_generators()
            return
        homes = {tensor.device for tensor in (*self._model.parameters(), *self._model.buffers())}
        moves = len(homes) == 1 and self._device not in homes
        self._given = Snapshot(self._model, copied=False)
        if moves:
            self._moved_from = homes.pop()
            _move(self._model, self._device)
        self._seed_generators()  # now that the device is in use
        if self._device.type == "cuda" and any(isinstance(module, nn.RNNBase) for module in self._model.modules()):
            self._modes.enter_context(_without_cudnn())
        evaluating(self._model)
        # Where the model was moved, the memory that it came from holds its values.
        self._lent = Snapshot(self._model, values=self._given.memory() if moves else None)

    def _seed_generators(self) -> None:
        self._generators = global_state()
        seed_globally(self._seed, "guarded")

    def _end(self) -> None:
        with ExitStack() as steps:  # the last first, and each whatever becomes of the others
            steps.callback(self._modes.close)
            steps.callback(self._torch.restore)
            steps.callback(self._restore_generators)
            steps.callback(self._give_back)
            if self._lent is not None:
                steps.callback(self._lent.restore)
        if self._lent is not None:
            self._changes = self._lent.changes
        self._lent = self._given = None  # with the copies that they hold

    def _restore_generators(self) -> None:
        if self._generators is not None:
            restore_state(self._generators)

    def _give_back(self) -> None:
        if self._given is None or self._model is None:
            return
        self._given.restore()
        if self._moved_from is not None:  # what a model holds beside its registered tensors
            _move(self._model, self._moved_from)
            self._given.restore()

    def _complain(self) -> None:
        """Raise where the model was changed."""
        changes = {
            (kind, name): what
            for (kind, name), what in self._changes.items()
            if kind not in _SILENT and what != REWRAPPED and (kind != "buffer" or name not in self._own)
        }
        if not changes:
            return
        weights = {*changes.values()} == {"changed"} and {kind for kind, _ in changes} == {"parameter"}
        told = [plain_name(name) for _, name in changes] if weights else _told(changes)
        raise XaiError(
            "xai_model",
            found=f"{'weights' if weights else 'parts'} that the explainer or the model itself changed "
            f"({', '.join(told[:3])}{f' and {len(told) - 3} more' if len(told) > 3 else ''})",
            expected=f"an explainer that leaves the {'weights' if weights else 'model'} alone; "
            f"{'they have' if weights else 'it has'} been restored",
            fix="let the explainer work on a copy of the model (copy.deepcopy); where the model itself builds a part "
            "when it is first called, call it once in the fixture",
        )


def _told(changes: Changes) -> list[str]:
    """Return what was changed, in words; of modes the outermost module alone."""
    told: dict[str, str] = {}
    for (kind, name), what in changes.items():
        name = plain_name(name)
        if kind == "mode":
            told.setdefault(kind, f"{name or 'the model'} put into {what} mode")
        elif kind in ("class", "forward"):
            told[kind + name] = f"the {kind} of {name or 'the model'} {what}"
        else:
            told[kind + name] = f"{kind} {name} {what}"
    return [*told.values()]


def evaluating(model: object) -> list[str]:
    """Put every submodule into evaluation mode, without calling what a model makes of ``eval()``.

    Returns:
        The paths of those that were in training mode.
    """
    found = []
    for path, module in modules_with_modes(model) if isinstance(model, nn.Module) else ():
        if module.training:
            found.append(path)
            module.training = False
    return found


def own_changes(model: object, run: Callable[[], T]) -> tuple[T, set[str]]:
    """Return ``run()``, which calls the model alone, and names of buffers and plain attributes changed meanwhile."""
    if not isinstance(model, nn.Module):
        return run(), set()
    before = {name: (buffer, buffer._version) for name, buffer in model.named_buffers() if not buffer.is_inference()}
    plain = plain_attributes(model)
    result = run()
    now = dict(model.named_buffers())
    changed = {
        name for name, (buffer, version) in before.items() if now.get(name) is not buffer or buffer._version != version
    }
    counted = {name for name, value in plain_attributes(model).items() if plain.get(name, value) != value}
    return result, changed | (now.keys() - before.keys()) | counted


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Let recurrent layers run without cuDNN, whose backward pass works in training mode alone."""
    before = torch.backends.cudnn.enabled
    try:
        torch.backends.cudnn.enabled = False
        yield
    finally:
        torch.backends.cudnn.enabled = before


def _move(model: nn.Module, device: torch.device) -> None:
    try:
        model.to(device)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise XaiError(
            "--xai-device",
            found=f"a model that cannot be moved to {device} ({error})",
            expected="a device the model can reach",
            fix="choose --xai-device=cpu",
        ) from error
