"""Other weights for a while: written into the model, and taken back whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .reinit.parametrizations import old_style_hooks

__all__ = ["rewritten"]


def despite_interrupts(action: Callable[[], None]) -> None:
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
    computed = [(vars(m), hook.name, vars(m)[hook.name]) for m in model.modules() for hook in old_style_hooks(m)]

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
        despite_interrupts(restore)
