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

    from ..common.threads import threads

    with threads(max(1, torch.get_num_threads() // int(workers))):
        yield
