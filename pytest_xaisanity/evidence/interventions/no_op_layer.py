"""No-op layer: a network that is written in another way, and computes the same (Sundararajan et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ...common.checks import check_choice
from ...common.errors import XaiError, setting_error, unknown_name
from ...common.seeding import generator
from ...model.rewriting import rewritten
from ...model.swapping import affine, holds_columns, swapped
from ...model.tracing import Watch
from ...statistics.evidence import Part, Row
from ...subject.block import Block, Inputs
from ...subject.subject import Subject
from ..base import Intervention, Lab, Verb
from ..same_function import Rewritten, check_same_function, module_of

__all__ = ["Inserted", "NoOpLayer"]

_error = partial(setting_error, "no_op_layer")
_FIX = "name another layer with layer=: not one whose weights are used elsewhere"
_GROUP = 256  # channels that are turned among themselves


@dataclass(frozen=True)
class NoOpLayer(Intervention):
    """Write one layer as two that compute the same, which is what implementation invariance asks of an explanation.

    A gradient, Integrated Gradients and what only calls the model stay as they are. Rules that go from layer to layer,
    such as those of LRP that tell positive from negative contributions, need not.

    Args:
        form: ``"rotation"``: the weights ``W`` of a dense layer or convolution become ``Q W``, and a layer with the
            weights ``Q'`` follows, where ``Q`` is orthogonal and drawn by the seed. ``"identity"``: a layer follows
            whose weights are the identity. ``"relu"``: another ReLU follows on each module that is one.
        layer: Path of the layer that is written as two, as in ``named_modules()``; by default the last dense layer or
            convolution below the topmost, or the only one. Not with ``"relu"``.

    Raises:
        XaiError: A setting is out of range; the model is no module, or has no such layer, or one that it uses in
            another way as well, so that it would compute something else.
    """

    form: Literal["rotation", "identity", "relu"] = "rotation"
    layer: str | None = None
    name: ClassVar[str] = "no_op_layer"
    verbs: ClassVar[tuple[Verb, ...]] = ("invariant_under",)
    advice: ClassVar[str] = (
        "the maps are about how the network is written, not about what it computes: explain by gradients, Integrated "
        "Gradients or by calling the model, or merge its layers into one form before it is explained"
    )

    def __post_init__(self) -> None:
        check_choice(self.name, "form", self.form, ("rotation", "identity", "relu"))
        if self.layer is not None and not isinstance(self.layer, str):
            raise _error("layer", f"a {type(self.layer).__name__}", "the path of a module, as in named_modules()")
        if self.layer is not None and self.form == "relu":
            raise _error("layer", f"{self.layer!r} beside form='relu'", "it with 'rotation' or 'identity'")

    def start(self, lab: Lab, block: Block) -> Rewritten:
        """Find the layer, on a few inputs of the block."""
        subject, probe = lab.subject, lab.subject.probe(block)
        model = module_of(subject, self.name)
        if self.form == "relu":
            others = _doubled(model)
            paths, entered = tuple(others), partial(swapped, model, dict(others.values()))
        else:
            path, layer = self._chosen(subject, block)
            self._check_digits(path, layer)
            paths, entered = (path,), partial(_split, model, layer, self.form, lab.seed)
        before = subject.outputs(probe)
        with entered():
            after = _outputs(subject, probe, paths)
        moved = check_same_function(self.name, before, after, expected="a layer that can be written as two", fix=_FIX)
        stage = f"the model with a layer more behind {', '.join(paths[:3])}"
        return Rewritten(lab.attributions, entered, stage=stage, parts=(Inserted(self.form, paths, moved),))

    def _check_digits(self, path: str, layer: nn.Module) -> None:
        """Raise where a rotation moves maps by its rounding: that turns ReLUs over in half precision."""
        dtype = layer.get_parameter("weight").dtype
        if self.form == "rotation" and dtype.itemsize < 4:
            raise _error(
                "form",
                f"'rotation' of the layer {path!r} in {dtype}, where rounding alone changes maps",
                "'identity', which is exact, or a model in torch.float32",
            )

    def _chosen(self, subject: Subject, block: Block) -> tuple[str, nn.Module]:
        """Return the path and the layer."""
        found = _layers(subject, block)
        if self.layer is not None:
            if self.layer not in found:
                raise unknown_name(f"{self.name} layer", self.layer, found, kind="layer")
            return self.layer, found[self.layer]
        if not found:
            raise XaiError(
                self.name,
                found="a model without a dense layer or an ungrouped convolution inside it that has plain weights",
                expected="a layer that can be written as two",
                fix="wrap a single layer in a torch.nn.Sequential, or claim invariant_under('batch_order')",
            )
        path = list(found)[max(0, len(found) - 2)]
        return path, found[path]


def _outputs(subject: Subject, probe: Inputs, paths: Sequence[str]) -> Tensor:
    """Return the outputs of the model that is written in another way; raise where it does not run."""
    try:
        return subject.outputs(probe)
    except XaiError as error:
        if error.__cause__ is None:
            raise
        cause = f"{type(error.__cause__).__name__}: {error.__cause__}"
        raise XaiError(
            "no_op_layer",
            found=f"a model that raises with a layer more behind {', '.join(paths[:3])} ({cause})",
            expected="a layer that can be written as two",
            fix=_FIX,
        ) from error.__cause__


@dataclass(frozen=True)
class Inserted(Part):
    """What was inserted, and where.

    Attributes:
        form: What.
        layers: Behind which modules.
        moved: How far outputs moved, relative to the largest: rounding.
    """

    form: str
    layers: tuple[str, ...]
    moved: float

    def plain(self) -> dict[str, object]:
        """Return all of it."""
        return {"form": self.form, "layers": list(self.layers), "outputs_moved": self.moved}

    def rows(self) -> Iterator[Row]:
        """Yield it in words."""
        yield "inserted", f"a {self.form} behind {', '.join(self.layers)}"


def _layers(subject: Subject, block: Block) -> dict[str, nn.Module]:
    """Return the layers that can be written as two, in the order in which they are first called."""
    model = module_of(subject, "no_op_layer")
    paths = {module: path for path, module in model.named_modules()}
    found: dict[str, nn.Module] = {}

    def note(module: nn.Module, arguments: object) -> None:
        layer = affine(module)
        plain = isinstance(layer, nn.Linear) or (layer is not None and layer.groups == 1)
        if paths.get(module) and (plain or holds_columns(module)):
            found.setdefault(paths[module], module)

    probe = subject.probe(block)
    Watch(called=note).during(lambda: subject.outputs(probe))
    return found


class _Two(nn.Sequential):
    """A layer and what follows on it; to models that look at the layer's own attributes, it has these."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._modules.get("0"), name)


@contextmanager
def _split(model: nn.Module, layer: nn.Module, form: str, seed: int) -> Iterator[None]:
    """Write a layer as two inside the block."""
    weight, bias = layer.get_parameter("weight"), layer._parameters.get("bias")
    columns = holds_columns(layer)
    width = weight.shape[1 if columns else 0]
    turn = _rotation(width, seed) if form == "rotation" else torch.eye(width, dtype=torch.float64)
    turn = turn.to(weight.device) if weight.device.type != "mps" else turn.float().to(weight.device)
    with torch.no_grad():
        wide = torch.promote_types(weight.dtype, turn.dtype)
        turned = turn @ (weight.T if columns else weight.flatten(1)).to(wide)
        values = [(turned.T if columns else turned.reshape(weight.shape)).to(weight)]
        values += [] if bias is None else [(turn @ bias.to(wide)).to(bias)]
        both = _Two(layer, _following(layer, turn.T.to(weight))).train(layer.training)
    tensors: list[Tensor] = [weight, *([] if bias is None else [bias])]
    with rewritten(model, tensors, values), swapped(model, {layer: both}):
        yield


def _following(layer: nn.Module, weight: Tensor) -> nn.Module:
    """Return a layer of the same kind with these weights ``(out, out)`` and no bias, of each place by itself."""
    width = len(weight)
    kernel: tuple[int, ...] = ()
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            kernel = (1,) * len(layer.kernel_size)
            other: nn.Module = type(layer)(width, width, 1, bias=False)
        else:
            other = nn.Linear(width, width, bias=False)
    other._parameters["weight"] = nn.Parameter(weight.reshape(width, width, *kernel).contiguous(), requires_grad=False)
    return other.train(layer.training)


def _rotation(width: int, seed: int) -> Tensor:
    """Return an orthogonal matrix ``(width, width)`` that turns groups of channels among themselves."""
    rng = generator(seed, "no_op_layer", width)
    sizes = [min(_GROUP, width - first) for first in range(0, width, _GROUP)]
    turned = [torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64)).Q for size in sizes]
    matrix: Tensor = torch.block_diag(*turned)  # type: ignore[no-untyped-call]
    return matrix


def _doubled(model: nn.Module) -> dict[str, tuple[nn.Module, nn.Module]]:
    """Return each ReLU by its path, and what stands in its place: it, and another one."""
    relus = {path: module for path, module in model.named_modules() if path and type(module) is nn.ReLU}
    if not relus:
        raise XaiError(
            "no_op_layer form",
            found="a model without a module that is a ReLU",
            expected="torch.nn.ReLU modules inside the model",
            fix="leave form= out, which writes a layer as two",
        )
    return {path: (relu, nn.Sequential(relu, nn.ReLU()).train(relu.training)) for path, relu in relus.items()}
