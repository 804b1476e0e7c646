"""What a model returns, the scores in it, and the output that is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral

import torch
from torch import Tensor

from ..common.errors import XaiError, said, shown, unknown_name
from .tensors import kind_of, readable

__all__ = ["HALF", "Output", "check_output", "checked_output", "columns", "scores_of", "select"]

HALF = {torch.float16, torch.bfloat16}
Output = str | int | Callable[[object], object] | None
"""Where the scores are in what a model returns: a name, a position, a function of it; None for the default."""

_LOGITS = "logits"


def check_output(output: object) -> Output:
    """Return what the user says of outputs, when it is a name, a position, a function or None.

    Raises:
        XaiError: It is none.
    """
    if output is None or isinstance(output, str) or callable(output):
        return output
    if isinstance(output, Integral) and not isinstance(output, bool):
        return int(output)
    raise XaiError(
        "xai_output",
        found=f"{shown(output)}, of type {kind_of(output)}",
        expected="the name of a field, a position, or a function of what the model returns",
        fix="return one of these from xai_output, or leave it out",
    )


def scores_of(result: object, output: Output) -> object:
    """Return the scores in what a model returned.

    By default a tensor is itself, a tuple or list stands for its first tensor, and of anything with fields ``logits``
    is taken, or the only tensor.

    Args:
        result: A tensor, a tuple or list, a mapping, or an object with attributes.
        output: What the user says of it.

    Raises:
        XaiError: It has no such field or position.
    """
    if callable(output):
        return _answer(output, result)
    if isinstance(output, str):
        return _field(result, output)
    if isinstance(output, int):
        return _position(result, output)
    if isinstance(result, Tensor):
        return result
    fields = _fields(result)
    if _LOGITS in fields:
        return fields[_LOGITS]
    tensors = [name for name, value in fields.items() if isinstance(value, Tensor)]
    if isinstance(result, (tuple, list)) and not isinstance(result, Mapping) and not fields:
        return next((value for value in result if isinstance(value, Tensor)), result)
    if len(tensors) > 1:
        raise XaiError(
            "xai_model",
            found=f"a {kind_of(result)} with the fields {', '.join(fields)} as output, none of them {_LOGITS!r}",
            expected="scores in a tensor (N, classes), (N, 1) or (N,)",
            fix=f"name the field: a fixture xai_output that returns {tensors[0]!r}, or Bench(output={tensors[0]!r})",
        )
    return fields[tensors[0]] if tensors else result


def _answer(output: Callable[[object], object], result: object) -> object:
    try:
        return output(result)
    except XaiError:
        raise
    except Exception as error:
        raise XaiError(
            "xai_output",
            found=f"{type(error).__name__} raised by the function for a {kind_of(result)}{said(error)}",
            expected="a function that returns the scores in what the model returns",
            fix="call it by hand on what the model returns for one batch of xai_inputs",
        ) from error


def _fields(result: object) -> dict[str, object]:
    """Return the fields of a mapping, a named tuple or an object, by name."""
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    if isinstance(result, tuple):
        return {name: result[place] for place, name in enumerate(getattr(result, "_fields", ()))}
    return dict(vars(result)) if hasattr(result, "__dict__") and not isinstance(result, Tensor) else {}


def _field(result: object, name: str) -> object:
    fields = _fields(result)
    if name in fields:
        return fields[name]
    if not fields:
        raise XaiError(
            "xai_output",
            found=f"{name!r} for a model that returns a {kind_of(result)}, which has no fields",
            expected="a position in it, a function of it, or nothing for a model that returns a tensor",
            fix="leave xai_output out, or return a function from it",
        )
    raise unknown_name("xai_output", name, fields, kind="field of the output")


def _position(result: object, place: int) -> object:
    values = list(result.values()) if isinstance(result, Mapping) else result
    if isinstance(values, (tuple, list)) and -len(values) <= place < len(values):
        return values[place]
    many = f"of length {len(values)}" if isinstance(values, (tuple, list)) else "which has no positions"
    raise XaiError(
        "xai_output",
        found=f"{place} for a model that returns a {kind_of(result)}, {many}",
        expected="the position of the scores in a tuple",
        fix="name a field or return a function from xai_output, or leave it out",
    )


def select(outputs: Tensor, targets: Tensor | None) -> Tensor:
    """Return the explained output of each row: ``(b,)``."""
    if targets is None:
        return outputs[:, 0]
    columns = targets.reshape(len(targets), -1)
    return outputs[(torch.arange(len(outputs), device=outputs.device), *columns.unbind(1))]


def checked_output(result: object, count: int) -> Tensor:
    """Return the scores that the model returned for ``count`` inputs, detached, when they are what they should be."""
    if isinstance(result, Tensor):
        readable(result, "xai_model")
    if isinstance(result, Tensor) and result.is_floating_point() and result.numel() and result.shape[:1] == (count,):
        return result.detach()
    found = (
        f"a tensor {tuple(result.shape)} of {result.dtype}" if isinstance(result, Tensor) else f"a {kind_of(result)}"
    )
    dropped = count == 1 and isinstance(result, Tensor)
    raise XaiError(
        "xai_model",
        found=f"{found} as output for {count} input{'s' if count > 1 else ', whose axis the model drops' * dropped}",
        expected="one floating-point tensor (N, classes), (N, 1) or (N,)",
        fix="name the axis where the model squeezes: squeeze(1) keeps that of the inputs"
        if dropped
        else "say where the scores are in xai_output, a name, a position or a function of what the model returns",
    )


def columns(outputs: Tensor) -> Tensor:
    """Return outputs ``(b,)`` as ``(b, 1)``, and any others as they are."""
    return outputs[:, None] if outputs.ndim == 1 else outputs
