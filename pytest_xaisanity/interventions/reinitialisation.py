"""Drawing new weights, in place and reversibly.

New weights are drawn on stand-ins: copies of the modules on the CPU, on which a module's own ``reset_parameters`` may
run without touching the model, its version counters or the objects it holds, and with the same result on every
device. Only the finished numbers are written into the model's own tensors, which are backed up first.
"""

from __future__ import annotations

import cmath
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ..errors import XaiError
from ..registry import Registry
from ..seeding import generator, isolated
from .layers import Inventory, Layer

__all__ = [
    "REINITS",
    "Kept",
    "Law",
    "Own",
    "Permutation",
    "Randomizer",
    "TruncatedNormal",
    "as_law",
    "rewritten",
]

REINITS = Registry(
    "reinit",
    {
        "own": ".interventions.reinitialisation:Own",
        "truncated_normal": ".interventions.reinitialisation:TruncatedNormal",
        "permutation": ".interventions.reinitialisation:Permutation",
    },
)


# ----------------------------------------------------------------------------------------------------------- laws


@dataclass(frozen=True)
class Law:
    """What new weights are drawn from. Subclasses define :meth:`redraw`.

    Attributes:
        own_reset: Whether a module's own reset method comes first, and ``redraw`` only for what it leaves unset.
        resets_norms: Whether scale and shift of normalization modules become 1 and 0; else they are redrawn too.
            Running statistics are reset under every law.
    """

    own_reset: ClassVar[bool] = False
    resets_norms: ClassVar[bool] = True

    def redraw(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Return new values, shape (n,), for the entries ``values``, shape (n,), of one parameter.

        ``values`` is on the CPU, in single or double precision, real or complex.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Own(Law):
    """Each module's own ``reset_parameters`` (or ``_reset_parameters``), as when the model was built.

    What no such method sets (class tokens, position embeddings, custom modules) is drawn from a normal law with the
    mean and standard deviation of the parameter's own entries; where these are all equal, with the standard deviation
    max(|mean|, 0.02).
    """

    own_reset: ClassVar[bool] = True

    def redraw(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Draw from a normal law with the mean and standard deviation of the finite ``values``."""
        if values.is_complex():
            return torch.complex(self.redraw(values.real, rng), self.redraw(values.imag, rng))
        finite = values[values.isfinite()]
        mean = finite.mean().item() if len(finite) else 0.0
        std = finite.std(correction=0).item() if len(finite) and finite.min() < finite.max() else 0.0
        std = std or max(abs(mean), 0.02)
        return torch.empty(values.shape, dtype=values.dtype, device="cpu").normal_(mean, std, generator=rng)


@dataclass(frozen=True)
class TruncatedNormal(Law):
    """A normal law with mean 0, cut off at two standard deviations (Adebayo et al. 2018).

    Args:
        std: The standard deviation before the cut.

    Raises:
        XaiError: If ``std`` is not a positive number.
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        if not isinstance(self.std, int | float) or not 0 < self.std < math.inf:
            raise XaiError(
                "truncated_normal std", found=repr(self.std), expected="a positive number", fix="change std="
            )

    def redraw(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Draw real and imaginary parts independently of ``values``."""
        if values.is_complex():
            return torch.complex(self.redraw(values.real, rng), self.redraw(values.imag, rng))
        drawn = torch.empty(values.shape, dtype=values.dtype, device="cpu").normal_(generator=rng)
        far = (drawn.abs() > 2).nonzero()[:, 0]
        while len(far):  # the definition, and several times faster than the inverse of the error function
            drawn[far] = torch.empty(len(far), dtype=values.dtype, device="cpu").normal_(generator=rng)
            far = far[drawn[far].abs() > 2]
        return drawn.mul_(self.std)


@dataclass(frozen=True)
class Permutation(Law):
    """The entries of each parameter in another order: the marginal law stays exactly as it was.

    A layer in which no order makes a difference (all entries of each parameter equal) is drawn as by :class:`Own`.
    """

    resets_norms: ClassVar[bool] = False

    def redraw(self, values: Tensor, rng: torch.Generator) -> Tensor:
        """Permute ``values``; not by the identity, unless they are all equal."""
        if len(values) < 2 or bool((values == values[0]).all()):
            return values.clone()
        while True:
            permuted = values.index_select(0, torch.randperm(len(values), generator=rng, device="cpu"))
            if not torch.equal(permuted, values):
                return permuted


def as_law(value: Any, *, where: str) -> Law:
    """Return the law that ``value`` is or names; ``where`` is the setting that holds it, for error texts."""
    law = REINITS.get(value, where=where)() if isinstance(value, str) else value
    if not isinstance(law, Law):
        raise XaiError(
            where,
            found=f"a {type(value).__name__}",
            expected="the name of a law, or a law object",
            fix="change reinit=",
        )
    return law


# -------------------------------------------------------------------------------------------------- the randomizer

_Write: TypeAlias = tuple[str, Tensor, Tensor]  # name, tensor of the model, new values
Kept: TypeAlias = dict[tuple[int, str], dict[str, Tensor]]  # by seed and layer, the new values by name


class Randomizer:
    """Randomizes layers of a model in place; the model is as before, bit for bit, when the block ends.

    Storage, ``Parameter`` objects, version counters, gradients, ``requires_grad``, modes, hooks and the global random
    generators are never touched, so that closures and explainers bound to the model follow. Only what is altered is
    backed up, once, on its own device.

    The new weights of a layer depend on the seed, the layer's name and the original weights alone, not on what was
    randomized before, nor on the device.

    Args:
        model: The model to randomize.
        layers: Its layers, all or some, from :func:`~pytest_xaisanity.interventions.layers.find_layers`.
        law: A law or its name.
        seed: What :meth:`randomize` uses by default.
        kept: Where drawn weights are kept for the next randomizer of the same weights with the same law; None keeps
            none.

    Raises:
        XaiError: If ``law`` is unknown, or a layer is not one of the model's.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[Layer],
        law: Law | str = "own",
        seed: int = 0,
        *,
        kept: Kept | None = None,
    ) -> None:
        self.law: Law = REINITS.build(law, {}, where="reinit")
        self.seed = seed
        self._kept = kept
        self._inventory = Inventory(model)
        self._backup: dict[int, tuple[Tensor, Tensor]] = {}
        self._attributes: dict[tuple[int, str], tuple[nn.Module, str, object]] = {}
        self._altered: set[int] = set()
        for layer in layers:
            self._require_known(layer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _despite_interrupts(self._restore_everything)

    def randomize(self, layer: Layer, seed: int | None = None) -> None:
        """Give ``layer`` new weights, and reset the normalization that goes with it.

        Args:
            layer: The layer; the others stay as they are.
            seed: The seed of this randomization; the randomizer's own by default.

        Raises:
            XaiError: If the layer is not one of the model's, or its new weights would not be finite.
        """
        self._require_known(layer)
        writes = self._writes(layer, self.seed if seed is None else seed)
        for _, tensor, _ in writes:
            self._back_up(tensor)
        for _, tensor, value in writes:
            self._altered.add(id(tensor))
            tensor.data.copy_(value)
        self._refresh(layer)
        torch.clear_autocast_cache()

    def _writes(self, layer: Layer, seed: int) -> list[_Write]:
        kept = None if self._kept is None else self._kept.get((seed, layer.name))
        if kept is not None:
            tensors = self._inventory.parameters | self._inventory.buffers
            return [(name, tensors[name], value) for name, value in kept.items()]
        writes = _Draw(self._inventory, layer, self.law, seed, self._original).writes()
        for name, _, value in writes:
            if value.is_floating_point() and not _all_finite(value):
                raise _not_finite(name, self.law)
        if self._kept is not None:
            self._kept[seed, layer.name] = {name: value for name, _, value in writes}
        return writes

    def restore(self) -> None:
        """Put every original weight back; more layers may be randomized afterwards.

        A ``KeyboardInterrupt`` that arrives meanwhile is raised when everything is back.
        """
        _despite_interrupts(self._restore_altered)

    def _restore_altered(self) -> None:
        self._put_back(key for key in self._backup if key in self._altered)
        self._altered.clear()

    def _restore_everything(self) -> None:
        self._put_back(self._backup)
        self._backup.clear()
        self._attributes.clear()
        self._altered.clear()

    def _put_back(self, keys: Iterable[int]) -> None:
        # Last saved, first restored: correct even for parameters that overlap in memory.
        for key in reversed(list(keys)):
            tensor, saved = self._backup[key]
            tensor.data.copy_(saved)
        for module, name, value in self._attributes.values():
            vars(module)[name] = value
        torch.clear_autocast_cache()

    def _original(self, tensor: Tensor) -> Tensor:
        """Return the values that ``tensor`` had before it was randomized."""
        return self._backup[id(tensor)][1] if id(tensor) in self._backup else tensor.detach()

    def _back_up(self, tensor: Tensor) -> None:
        if id(tensor) not in self._backup:
            self._backup[id(tensor)] = (tensor, tensor.detach().clone())

    def _refresh(self, layer: Layer) -> None:
        """Recompute the weights that old-style reparametrizations keep as plain attributes."""
        for path in dict.fromkeys(self._inventory.holder(name) for name in (*layer.parameters, *layer.tied)):
            module = self._inventory.modules[path]
            for hook in _old_style_hooks(module):
                key = (id(module), hook.name)
                self._attributes.setdefault(key, (module, hook.name, vars(module)[hook.name]))
                with torch.no_grad():
                    vars(module)[hook.name] = _Computed(module, hook.name, hook).value()

    def _require_known(self, layer: Layer) -> None:
        known = self._inventory.parameters.keys() >= {*layer.parameters, *layer.norm_parameters}
        if not known or not self._inventory.modules.keys() >= set(layer.norms):
            raise XaiError(
                "layers",
                found=f"layer {layer.name!r}, whose parameters the model does not have",
                expected="a layer that find_layers(...) returned for this model",
                fix="call find_layers(...) again on the model that is to be randomized",
            )


def _despite_interrupts(action: Callable[[], None]) -> None:
    """Do ``action``, which may be repeated, from the start until it ends; then raise the interrupt that came."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            action()
            break
        except KeyboardInterrupt as caught:
            interrupt = caught
    if interrupt is not None:
        raise interrupt


@contextmanager
def rewritten(model: nn.Module, tensors: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Write ``values`` into tensors of the model inside the block; it is as before, bit for bit, when the block ends.

    Args:
        model: The model.
        tensors: Parameters and buffers of it.
        values: What they hold inside the block, of the same shapes.
    """
    saved = [tensor.detach().clone() for tensor in tensors]
    # Weights that hooks compute before each call stand in plain attributes.
    computed = [(vars(m), hook.name, vars(m)[hook.name]) for m in model.modules() for hook in _old_style_hooks(m)]

    def write(contents: Sequence[Tensor]) -> None:
        for tensor, content in zip(tensors, contents, strict=True):
            tensor.data.copy_(content)
        torch.clear_autocast_cache()

    def restore() -> None:
        write(saved)
        for attributes, name, value in computed:
            attributes[name] = value

    try:
        write(values)
        yield
    finally:
        _despite_interrupts(restore)


def _not_finite(name: str, law: Law) -> XaiError:
    return XaiError(
        "xai_model",
        found=f"{name!r} with values that are not finite once redrawn by {law}",
        expected="finite weights",
        fix="look for NaN or infinite weights in the model, and at the module's reset_parameters()",
    )


# -------------------------------------------------------------------------------------------------------- drawing

_FALLBACK = Own()
_AFFINE = {"weight": 1.0, "scale": 1.0, "gamma": 1.0, "g": 1.0, "bias": 0.0, "shift": 0.0, "beta": 0.0, "b": 0.0}
_STATISTICS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0}


@dataclass(frozen=True)
class _Draw:
    """The new numbers of one layer for one seed.

    Attributes:
        original: Maps a tensor of the model to the values it had when nothing was randomized.
    """

    inventory: Inventory
    layer: Layer
    law: Law
    seed: int
    original: Callable[[Tensor], Tensor]

    def writes(self) -> list[_Write]:
        """Return all that the layer alters."""
        with isolated(self.seed, "reinit", self.layer.name), torch.no_grad(), torch.device("cpu"):
            new = self._weights(self.law, own_reset=self.law.own_reset)
            if not self._changes(new):
                new = self._weights(_FALLBACK, own_reset=False)
            for path in self.layer.norms:
                new |= self._norm(path)
        tensors = self.inventory.parameters | self.inventory.buffers
        return [(name, tensors[name], value) for name, value in new.items()]

    def _changes(self, new: Mapping[str, Tensor]) -> bool:
        return any(not torch.equal(self._seen(self.inventory.parameters[n]), new[n]) for n in self.layer.parameters)

    def _weights(self, law: Law, *, own_reset: bool) -> dict[str, Tensor]:
        """Return the new parameters, and the buffers that go with them, by name."""
        new: dict[str, Tensor] = {}
        paths = dict.fromkeys(self.inventory.holder(name) for name in self.layer.parameters)
        for path in sorted(paths, key=lambda path: -len(path.split(".")) if path else 0):  # the innermost first
            new |= self._held(path, law, own_reset=own_reset)
        for path in dict.fromkeys(self.inventory.holder(name) for name in self.layer.tied):
            if path not in paths and _computed(self.inventory.modules[path]):
                new |= self._followed(path, new)
        return new

    def _followed(self, path: str, new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers of a module that computes a weight from a parameter tied to one of ``new``."""
        values = {id(self.inventory.parameters[n]): new[c] for n, c in self.inventory.canonical.items() if c in new}
        module = self.inventory.modules[path]
        twin = _stand_in(module, lambda t: values[id(t)].clone() if id(t) in values else self._copied(t))
        for weight in _computed(twin):
            weight.settle()
        buffers = {_join(path, local): buffer for local, buffer in twin.named_buffers(remove_duplicate=False)}
        return {name: buffer for name, buffer in buffers.items() if name in self.inventory.buffers}

    def _held(self, path: str, law: Law, *, own_reset: bool) -> dict[str, Tensor]:
        """Return the new values of the parameters that the module at ``path`` uses as its own."""
        module = self.inventory.modules[path]
        computed = _computed(_stand_in(module, self._copied)) if _computed(module) else []
        reset = self._own_reset(module, {weight.name: weight.value() for weight in computed}) if own_reset else {}
        sources = {_join(path, local) for weight in computed for local in weight.sources()}
        new: dict[str, Tensor] = {}
        for name in self.layer.parameters:
            known = reset.get(name.removeprefix(f"{path}.")) if _is_below(path, name) else None
            if self.inventory.holder(name) == path and name not in sources:
                new[name] = self._fill(name, self._seen(self.inventory.parameters[name]), known, law)
            elif known is not None and name not in sources and not bool(known.isnan().any()):
                new[name] = known  # attention resets the bias of its output projection too
        for weight in computed:
            if any(_join(path, local) in self.layer.parameters for local in weight.sources()):
                new |= self._recomputed(path, weight, reset.get(weight.name), law)
        return new

    def _recomputed(self, path: str, weight: _Computed, reset: Tensor | None, law: Law) -> dict[str, Tensor]:
        """Return the parameters and buffers from which the module computes a new ``weight``."""
        before = weight.value()
        olds = {local: source.detach().clone() for local, source in weight.sources().items()}
        inner = {local for local in olds if local.startswith("parametrizations.") and ".original" not in local}
        self._redraw(path, weight, {local: olds[local] for local in inner}, law)
        try:
            weight.assign(self._fill(_join(path, weight.name), before, reset, law))
            after = weight.value()
            assigned = not torch.equal(after, before) and bool(after.isfinite().all())
        except Exception as error:  # a parametrization may refuse a value for reasons of its own
            _raise_out_of_memory(error)
            assigned = False
        if not assigned:
            self._redraw(path, weight, {local: old for local, old in olds.items() if local not in inner}, law)
        weight.settle()
        mine = self.inventory.buffers.keys() | set(self.layer.parameters)
        state = {_join(path, local): tensor.detach() for local, tensor in weight.state().items()}
        return {name: tensor for name, tensor in state.items() if name in mine}

    def _redraw(self, path: str, weight: _Computed, olds: Mapping[str, Tensor], law: Law) -> None:
        """Redraw sources of ``weight`` from their old values, by ``law`` alone."""
        sources = weight.sources()
        for local, old in olds.items():
            if old.is_floating_point() or old.is_complex():
                sources[local].data = self._fill(_join(path, local), old, None, law)

    def _fill(self, name: str, old: Tensor, reset: Tensor | None, law: Law) -> Tensor:
        """Return ``reset``, in the dtype of ``old``, with the entries that it leaves NaN redrawn by ``law``."""
        if reset is not None and reset.shape == old.shape and _all_finite(reset):
            return reset.to(old.dtype)
        if reset is None or reset.shape != old.shape:
            unset, new = torch.ones(old.shape, dtype=torch.bool), old.clone()
        else:
            unset = reset.isnan()
            new = torch.where(unset, old, reset.to(old.dtype))
        padding = self._padding(name)
        if padding is not None:
            unset[padding] = False
        if bool(unset.any()):
            rng = generator(self.seed, "reinit", self.layer.name, name)
            whole = bool(unset.all())
            drawn = law.redraw((old.clone().flatten() if whole else old[unset]).to(_precision(old.dtype)), rng)
            if old.is_floating_point():
                limits = torch.finfo(old.dtype)
                drawn = drawn.clamp(limits.min, limits.max)
            if whole:
                return drawn.to(old.dtype).reshape(old.shape)
            new[unset] = drawn.to(old.dtype)
        return new

    def _padding(self, name: str) -> int | None:
        """Return the row of an embedding that stands for padding, which no law changes."""
        path, _, local = name.rpartition(".")
        module = self.inventory.modules.get(path)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and local == "weight":
            return module.padding_idx
        return None

    def _own_reset(self, module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the module's own reset method sets, by local name; NaN is what it does not set.

        Every parameter of the stand-in is NaN when the method is called. If it raises, what it set before counts.
        ``weights`` are those that the module computes from other parameters.
        """
        # Looked up on the class: a method stored on the instance would be bound to the model itself.
        kind = type_before_parametrizations(module)
        reset = getattr(kind, "reset_parameters", None) or getattr(kind, "_reset_parameters", None)
        if reset is None or isinstance(module, torch.jit.ScriptModule):
            return {}
        twin = _stand_in(module, self._poisoned)
        _make_plain(twin, kind, weights)
        try:
            reset(twin)
        except Exception as error:  # a user's method, on a stand-in: what it left unset is redrawn
            _raise_out_of_memory(error)
        return {name: p.detach().cpu() for name, p in twin.named_parameters(remove_duplicate=False)}

    def _norm(self, path: str) -> dict[str, Tensor]:
        """Return the new parameters and buffers of a normalization module."""
        module = self.inventory.modules[path]
        reset = self._own_reset(module, {}) if self.law.resets_norms else {}
        new: dict[str, Tensor] = {}
        for local, parameter in module.named_parameters():
            name = _join(path, local)
            if name in self.layer.norm_parameters:
                new[name] = self._affine(name, parameter, reset.get(local))
        for local, buffer in module.named_buffers(recurse=False):
            if local in _STATISTICS:
                new[_join(path, local)] = torch.full(buffer.shape, _STATISTICS[local], dtype=buffer.dtype)
            elif local in _AFFINE and buffer.is_floating_point():  # frozen batch normalization
                new[_join(path, local)] = self._affine(_join(path, local), buffer, None)
        return new

    def _affine(self, name: str, tensor: Tensor, reset: Tensor | None) -> Tensor:
        """Return the new scale or shift of a normalization module."""
        constant = _AFFINE.get(name.rpartition(".")[2])
        if self.law.resets_norms and (reset is None or bool(reset.isnan().any())) and constant is not None:
            reset = torch.full(tensor.shape, constant)
        return self._fill(name, self._seen(tensor), reset, self.law)

    def _seen(self, tensor: Tensor) -> Tensor:
        """Return, on the CPU and to be read only, what ``tensor`` was when nothing was randomized."""
        return self.original(tensor).detach().cpu()

    def _copied(self, tensor: Tensor) -> Tensor:
        """Return a copy, on the CPU, of what ``tensor`` was when nothing was randomized."""
        return self.original(tensor).detach().to("cpu", copy=True)

    def _poisoned(self, tensor: Tensor) -> Tensor:
        """Return NaN in place of a parameter, and a copy of any other tensor."""
        if isinstance(tensor, nn.Parameter) and (tensor.is_floating_point() or tensor.is_complex()):
            return torch.full(tensor.shape, math.nan, dtype=tensor.dtype)
        return self._copied(tensor)


def _all_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite. A sum tells many times as fast, unless it overflows."""
    return cmath.isfinite(values.sum().item()) or bool(values.isfinite().all())


def _precision(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which numbers for a parameter of ``dtype`` are drawn."""
    if dtype.is_complex:
        return torch.complex128 if dtype is torch.complex128 else torch.complex64
    return torch.float64 if dtype is torch.float64 else torch.float32


def _join(path: str, local: str) -> str:
    return f"{path}.{local}" if path else local


def _is_below(path: str, name: str) -> bool:
    return not path or name.startswith(f"{path}.")


def _raise_out_of_memory(error: Exception) -> None:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        raise error


# ------------------------------------------------------------------------------------------------------ stand-ins


def _stand_in(module: nn.Module, tensor_of: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a copy of ``module`` and what it holds, with ``tensor_of(tensor)`` in place of each tensor.

    Unlike ``copy.deepcopy``, it shares what is neither module, tensor nor plain container, so that modules which hold
    locks, files or other things that cannot be copied are no trouble.
    """
    memo: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if id(value) in memo:
            return memo[id(value)]
        if isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
            twin = memo[id(value)] = object.__new__(type(value))
            twin.__dict__.update({name: copied(item) for name, item in vars(value).items()})
            twin.__dict__["training"] = False  # spectral norm would move on at each look in training mode
            return twin
        if isinstance(value, Tensor):
            new = tensor_of(value)
            made = nn.Parameter(new, requires_grad=False) if isinstance(value, nn.Parameter) else new
        elif type(value) in (dict, OrderedDict):
            made = type(value)((key, copied(item)) for key, item in value.items())
        elif type(value) in (list, tuple):
            made = type(value)(copied(item) for item in value)
        else:
            return value
        memo[id(value)] = made
        return made

    twin: nn.Module = copied(module)
    return twin


def _make_plain(twin: nn.Module, kind: type, weights: Mapping[str, Tensor]) -> None:
    """Turn ``weights``, which a stand-in computes, into parameters of NaN, so that a reset method can set them."""
    if not weights:
        return
    twin.__class__ = kind
    twin._modules.pop("parametrizations", None)
    for name, value in weights.items():
        vars(twin).pop(name, None)
        twin.register_parameter(name, nn.Parameter(torch.full_like(value, math.nan), requires_grad=False))


# --------------------------------------------------------------------------------------------- reparametrizations

# From any start, enough power iterations for a spectral norm that is right to a few per cent.
_POWER_ITERATIONS = 30


@dataclass(frozen=True)
class _Computed:
    """A weight that a module computes from other parameters.

    Attributes:
        module: The module.
        name: The name of the weight, an attribute of the module.
        hook: The hook that computes it (``torch.nn.utils.weight_norm``, ``spectral_norm``), or None
            (``torch.nn.utils.parametrize``).
    """

    module: nn.Module
    name: str
    hook: WeightNorm | SpectralNorm | None = None

    def sources(self) -> dict[str, nn.Parameter]:
        """Return the parameters from which the weight is computed."""
        return {name: p for name, p in self.module.named_parameters(remove_duplicate=False) if self._is_part(name)}

    def state(self) -> dict[str, Tensor]:
        """Return the parameters and buffers from which the weight is computed."""
        buffers = {name: b for name, b in self.module.named_buffers(remove_duplicate=False) if self._is_part(name)}
        return {**self.sources(), **buffers}

    def _is_part(self, name: str) -> bool:
        if self.hook is None:
            return name.startswith(f"parametrizations.{self.name}.")
        return name in {f"{self.name}_{part}" for part in ("g", "v", "orig", "u")}

    def value(self) -> Tensor:
        """Return the weight."""
        if isinstance(self.hook, SpectralNorm):
            return self.hook.compute_weight(self.module, do_power_iteration=False).detach()
        weight: Tensor = self.hook.compute_weight(self.module) if self.hook else getattr(self.module, self.name)
        return weight.detach().clone()

    def assign(self, value: Tensor) -> None:
        """Set the sources so that the weight becomes ``value``, or what its constraint makes of it.

        Only for stand-ins: storage and buffers may be replaced.
        """
        sources = self.sources()
        if isinstance(self.hook, WeightNorm):
            sources[f"{self.name}_g"].data = torch.norm_except_dim(value, 2, self.hook.dim)
            sources[f"{self.name}_v"].data = value.clone()
        elif self.hook is not None:
            sources[f"{self.name}_orig"].data = value.clone()
        else:
            setattr(self.module, self.name, value)
        self.settle()

    def settle(self) -> None:
        """Let spectral norm find the singular vectors of new sources; with stale ones the weight would explode."""
        if isinstance(self.hook, SpectralNorm):
            for _ in range(_POWER_ITERATIONS):
                self.hook.compute_weight(self.module, do_power_iteration=True)
        elif self.hook is None:
            parts: Any = self.module.get_submodule(f"parametrizations.{self.name}")
            iterated = [part for part in parts if hasattr(part, "n_power_iterations")]
            for part in iterated:
                part.training = True
            for _ in range(_POWER_ITERATIONS * bool(iterated)):
                getattr(self.module, self.name)
            for part in iterated:
                part.training = False


def _old_style_hooks(module: nn.Module) -> list[WeightNorm | SpectralNorm]:
    """Return the hooks by which a module computes weights before each call."""
    if isinstance(module, torch.jit.ScriptModule):
        return []
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, WeightNorm | SpectralNorm)]


def _computed(module: nn.Module) -> list[_Computed]:
    """Return the weights that a module computes from other parameters."""
    new_style: Any = module.parametrizations if is_parametrized(module) else ()
    return [_Computed(module, name) for name in new_style] + [
        _Computed(module, h.name, h) for h in _old_style_hooks(module)
    ]
