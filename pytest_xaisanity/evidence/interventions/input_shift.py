"""Input shift: inputs that are shifted, to a network that takes the shift back (Kindermans et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...common.checks import check_number
from ...common.errors import XaiError, setting_error
from ...common.seeding import generator
from ...common.undoing import undone
from ...model.rewriting import Rewriting
from ...model.swapping import Affine, affine, swapped
from ...model.tracing import Watch
from ...statistics.evidence import Part, Row
from ...subject.block import Block, Inputs
from ...subject.subject import Subject
from ..base import Intervention, Lab, Verb
from ..same_function import Rewritten, check_same_function, module_of
from ..spread import spreads

__all__ = ["InputShift", "Shifted"]

_LOST = 5e-3  # of the largest shift: rounding that turns ReLUs over
_LARGEST = 1000.0
_TOLD = 1e-2  # of the largest input: noise that rounding does not hide
_LOUDER = 2.0  # times the rounding: so that noise turns over what rounding does
_CONSTANT = 1e-3  # of the largest shift: what a shift of the first layer's input may differ by between inputs


@dataclass(frozen=True)
class InputShift(Intervention):
    """Shift every input by the same constants, and let the bias of the first layer take the shift back.

    The network computes the same, and so must the explanation be the same. A gradient is; its product with the input,
    and whatever compares the input with a fixed baseline, is not.

    Each channel, or feature of a table, is shifted by ``shift`` times its mean standard deviation over the first
    inputs. What is shifted is the input of the first dense layer or convolution, whatever affine steps come before it,
    such as a normalization. Where a convolution pads with zeros, it is made to pad with the shift.

    Args:
        shift: In standard deviations, not 0.

    Raises:
        XaiError: A setting is out of range; the inputs are tokens or several tensors; the model is no module, or the
            shift cannot be taken back in its first layer, so that it would compute something else.
    """

    shift: float = 1.0
    name: ClassVar[str] = "input_shift"
    verbs: ClassVar[tuple[Verb, ...]] = ("invariant_under",)
    advice: ClassVar[str] = (
        "the maps are about where zero lies in the inputs: leave the factor of the input out, or give the explainer a "
        "baseline that is shifted with them"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", check_number(f"{self.name} shift", self.shift, -_LARGEST, _LARGEST))
        if not self.shift:
            raise setting_error(self.name, "shift", "0", "another number: nothing is shifted by it")

    def start(self, lab: Lab, block: Block) -> Rewritten:
        """Find the first layer and the bias that takes the shift back, on a few inputs of the block."""
        subject = lab.subject
        model = module_of(subject, self.name)
        by = self._shift(subject, block)
        probe = subject.probe(block)
        first = _first(subject, probe, by, self.shift)
        entered = partial(_compensated, model, first)
        before = subject.outputs(probe)
        shifted = (probe[0] + by, *probe[1:])
        with entered():
            after = subject.outputs(shifted)
        moved = check_same_function(
            self.name,
            before,
            after,
            expected="a model whose first dense layer or convolution sees all of the input, once",
            fix="give a model without the steps between the input and its first layer",
        )
        return Rewritten(
            lab.attributions,
            entered,
            given=partial(_shifted, by=by),
            stage="shifted inputs, and a first layer that takes the shift back",
            parts=(Shifted(self.shift, first.path, moved),),
            rounded=partial(_rounded, by=_noise(subject, first.layer, entered, (probe, shifted), by), seed=lab.seed),
        )

    def _shift(self, subject: Subject, block: Block) -> Tensor:
        """Return what is added to every input, ``(1, ...)``."""
        if block.mask is not None or len(block.inputs) != 1 or not block.inputs[0].is_floating_point():
            shown = ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in block.inputs)
            raise XaiError(
                self.name,
                found=f"inputs {shown}",
                expected="one tensor of floating-point inputs, which can be shifted",
                fix="explain one input alone with xai_explain, or claim invariant_under('no_op_layer')",
            )
        by = self.shift * spreads(subject, block)[0].mean(0, keepdim=True)
        if not by.abs().max():
            raise XaiError(
                self.name,
                found="inputs that are constant, each by itself",
                expected="inputs with a spread, in which the shift is told",
                fix="give inputs that vary",
            )
        return by


class _First(NamedTuple):
    """The first layer of a model, its path, and by what its input is shifted, ``(channels,)``."""

    layer: Affine
    path: str
    by: Tensor


@dataclass(frozen=True)
class Shifted(Part):
    """By what inputs were shifted, and where that was taken back.

    Attributes:
        shift: In standard deviations.
        layer: The path of the layer.
        moved: How far outputs moved, relative to the largest: rounding.
    """

    shift: float
    layer: str
    moved: float

    def plain(self) -> dict[str, object]:
        """Return all of it."""
        return {"shift": self.shift, "layer": self.layer, "outputs_moved": self.moved}

    def rows(self) -> Iterator[Row]:
        """Yield it in words."""
        yield "shifted", f"by {self.shift:g} standard deviations, taken back in {self.layer or 'the model'}"


class _Padding(nn.Module):
    """Pads each channel with a constant of its own."""

    def __init__(self, sides: list[int], by: Tensor) -> None:
        super().__init__()
        self.sides = sides
        self.register_buffer("by", by)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(b, C, *places)`` with ``by`` ``(C, 1, ...)`` around it."""
        by = self.get_buffer("by")
        return F.pad(x - by, self.sides) + by


def _shifted(block: Block, by: Tensor) -> Block:
    return replace(block, inputs=(block.inputs[0] + by,), outputs=None)


def _rounded(block: Block, draw: int, by: Tensor, seed: int) -> Block:
    """Return inputs with normal noise of standard deviations ``by``, drawn for each by its index."""
    drawn = [
        torch.randn(tensor.shape, generator=generator(seed, "rounding", draw, index))
        for index, tensor in zip(block.indices, block.inputs[0], strict=True)
    ]
    return replace(block, inputs=(block.inputs[0] + torch.stack(drawn).to(by) * by,), outputs=None)


def _noise(
    subject: Subject,
    layer: Affine,
    entered: Callable[[], AbstractContextManager[None]],
    probes: tuple[Inputs, Inputs],
    by: Tensor,
) -> Tensor:
    """Return the deviation of noise of the inputs that moves what the first layer makes of them as rounding does.

    Args:
        subject: What is explained.
        layer: The first layer.
        entered: Takes the shift back.
        probes: A few inputs, and the same shifted.
        by: The shift.
    """
    (given, *context), shifted = probes
    unit = by.abs() / by.abs().max() * _TOLD * torch.maximum(given.abs().max(), by.abs().max())
    before = _seen(subject, layer, probes[0])
    with entered():
        rounded = _seen(subject, layer, shifted) - before
    signs = torch.randn(given.shape, generator=generator(0, "rounding")).to(given)
    told = _seen(subject, layer, (given + signs * unit, *context)) - before
    factor = rounded.square().mean().sqrt() / told.square().mean().sqrt()
    return unit * _LOUDER * factor.to(unit).nan_to_num(0, 0, 0)


def _seen(subject: Subject, layer: Affine, inputs: Inputs) -> Tensor:
    """Return what the first layer makes of inputs, in double precision."""
    seen: list[Tensor] = []

    def note(module: nn.Module, output: object) -> None:
        if module is layer and isinstance(output, Tensor) and not seen:
            seen.append(output.detach().double())

    watch = Watch(returned=note)
    watch.during(lambda: subject.outputs(inputs))
    return seen[0]


def _first(subject: Subject, probe: Inputs, by: Tensor, shift: float) -> _First:
    """Return the first layer that is dense or a convolution."""
    model = module_of(subject, "input_shift")
    paths = {module: path for path, module in model.named_modules()}
    seen: list[tuple[Affine, Tensor]] = []

    def note(module: nn.Module, arguments: tuple[object, ...]) -> None:
        layer = affine(module)
        if layer is not None and layer in paths and arguments and isinstance(arguments[0], Tensor):
            seen.append((layer, arguments[0].detach().clone()))
            watch.stop()

    watch = Watch(called=note)
    for inputs in (probe, (probe[0] + by, *probe[1:])):
        watch.during(lambda inputs=inputs: subject.outputs(inputs))  # type: ignore[misc]
    if len(seen) != 2 or seen[0][0] is not seen[1][0]:
        raise _refused("no dense layer or convolution with plain weights", "a first layer with a bias of its own")
    (layer, given), (_, after) = seen
    path = paths[layer]
    difference = after - given
    channel = difference.movedim(1 if not isinstance(layer, nn.Linear) else -1, -1).reshape(-1, _width(layer))
    constants = channel.mean(0)
    rounding = 2 * torch.finfo(after.dtype).eps * float(after.abs().max() + given.abs().max())
    if float((channel - constants).abs().max()) > _CONSTANT * float(difference.abs().max()) + rounding:
        raise _refused(
            f"a first layer {path!r} whose input is not shifted by the same constants for each input",
            "affine steps alone, of each channel by itself, before the first layer",
        )
    least = rounding / _LOST
    if least > float(difference.abs().max()):
        half = after.dtype.itemsize < 4
        finer = torch.float32 if half else torch.float64
        larger = "" if half else _larger(shift, least, float(constants.abs().max()))
        raise XaiError(
            "input_shift",
            found=f"inputs of the first layer {path!r} in {after.dtype}, whose rounding hides the shift",
            expected="a shift that its digits hold",
            fix=f"give {larger}the model and its inputs in {finer}",
        )
    return _First(layer, path, constants)


def _larger(shift: float, least: float, moved: float) -> str:
    """Return which shift its digits would hold, where the input of the layer must move by ``least`` and has moved."""
    wanted = 2 * abs(shift) * least / moved if moved > 0 else 0.0
    if wanted > _LARGEST:
        return ""
    return f"shift={float(f'{wanted:.1g}'):g} or more, or " if wanted else "a larger shift=, or "


def _width(layer: Affine) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _refused(found: str, expected: str) -> XaiError:
    return XaiError(
        "input_shift",
        found=found,
        expected=expected,
        fix="give a model without the steps between the input and its first layer, or claim "
        "invariant_under('no_op_layer')",
    )


@contextmanager
def _compensated(model: nn.Module, first: _First) -> Iterator[None]:
    """Let the first layer take the shift back inside the block."""
    layer, by = first.layer, first.by
    with torch.no_grad():
        gain = _gain(layer, by)
        bias = -gain if layer.bias is None else layer.bias.detach() - gain
    biases: dict[nn.Module, nn.Parameter] = {layer: nn.Parameter(bias, requires_grad=False)}
    others: dict[nn.Module, nn.Module] = {}
    rewriting = Rewriting()
    with undone(rewriting.restore):
        if not isinstance(layer, nn.Linear) and layer.padding_mode == "zeros" and any(_sides(layer)):
            if layer is model:
                raise _refused("a single convolution that pads with zeros", "a module that holds it, or no padding")
            around = _Padding(_sides(layer), by.reshape(-1, *[1] * len(layer.kernel_size)))
            others[layer] = nn.Sequential(around, layer).train(layer.training)
            rewriting.assign(layer, "padding", (0,) * len(layer.kernel_size))
        with swapped(model, others, biases):
            yield


def _sides(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    """Return by how much a convolution pads, as ``torch.nn.functional.pad`` takes it: the last axis first."""
    if isinstance(layer.padding, str):
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pairs = [(whole // 2, whole - whole // 2) if layer.padding == "same" else (0, 0) for whole in total]
    else:
        pairs = [(one, one) for one in layer.padding]
    return [side for pair in reversed(pairs) for side in pair]


def _gain(layer: Affine, by: Tensor) -> Tensor:
    """Return what a shift of its input adds to the output of a layer, ``(out,)``."""
    weight = layer.weight
    by = by.to(weight)
    if isinstance(layer, nn.Linear):
        return weight @ by
    kernel = weight.flatten(2).sum(2).reshape(layer.groups, -1, weight.shape[1])
    return (kernel @ by.reshape(layer.groups, -1, 1)).flatten()
