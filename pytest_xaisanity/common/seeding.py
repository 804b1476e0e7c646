"""Random numbers that depend on a seed and on what they are for, never on the global state.

Every draw is seeded by parts such as ``(seed, "ties", input_index)``, so that it is the same whatever the batch
size, the order of the tests or the number of workers. Draws are made on the CPU and moved, so that they are also
the same on every device.
"""

from __future__ import annotations

import hashlib
import random
from functools import partial

import numpy as np
import torch

from .undoing import Context, undone

__all__ = ["State", "generator", "global_state", "isolated", "restore_state", "same_state", "seed_globally", "seed_of"]


def seed_of(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on their order."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by ``parts``."""
    return torch.Generator().manual_seed(seed_of(*parts))


State = tuple[object, ...]


def global_state() -> State:
    """Return the state of every global generator: Python's, NumPy's and torch's on each device in use."""
    cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda, mps


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def restore_state(state: State) -> None:
    """Put every global generator back to a state that :func:`global_state` has returned."""
    python, numpy, cpu, cuda, mps = state
    random.setstate(python)  # type: ignore[arg-type]
    np.random.set_state(numpy)  # type: ignore[arg-type]
    torch.set_rng_state(cpu)  # type: ignore[arg-type]
    if cuda:
        torch.cuda.set_rng_state_all(cuda)  # type: ignore[arg-type]
    if mps is not None:
        torch.mps.set_rng_state(mps)  # type: ignore[arg-type]


def same_state(a: State, b: State) -> bool:
    """Whether no global generator moved between two calls of :func:`global_state`."""
    if a[0] != b[0]:
        return False
    numpy_a, numpy_b = a[1], b[1]
    assert isinstance(numpy_a, tuple)
    assert isinstance(numpy_b, tuple)
    if numpy_a[2:] != numpy_b[2:] or not np.array_equal(numpy_a[1], numpy_b[1]):
        return False
    tensors_a = [a[2], *a[3], *([] if a[4] is None else [a[4]])]  # type: ignore[misc]
    tensors_b = [b[2], *b[3], *([] if b[4] is None else [b[4]])]  # type: ignore[misc]
    return len(tensors_a) == len(tensors_b) and all(map(torch.equal, tensors_a, tensors_b))


def _seed_torch(seed: int) -> None:
    """Seed torch's generators, but for those of devices that are not in use: their seed could not be taken back."""
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def seed_globally(*parts: int | str) -> None:
    """Seed every global generator by ``parts``."""
    seed = seed_of(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    _seed_torch(seed)


def isolated(*parts: int | str) -> Context:
    """Return a context, to be entered at once, in which every global generator is seeded by ``parts``.

    At its end each is where it was.
    """
    return undone(partial(restore_state, global_state()), partial(seed_globally, *parts))
