"""Processors that the workers of pytest-xdist share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["divided_threads"]


@contextmanager
def divided_threads() -> Iterator[None]:
    """Leave a worker its share of torch's threads, for as long as a claim is decided.

    Each worker would otherwise take as many as there are processors.
    """
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    if not workers.isdigit() or int(workers) < 2:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // int(workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
