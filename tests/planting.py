"""Raising something at chosen lines, as a Ctrl-C or a fault may be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import Any

import pytest_xaisanity

PACKAGE = str(Path(pytest_xaisanity.__file__).parent)


def planted(
    run: Callable[[], object],
    places: Collection[int],
    error: Callable[[], BaseException],
    files: tuple[str, ...] = (PACKAGE,),
) -> tuple[int, list[str], object]:
    """Do ``run`` and raise ``error()`` when the lines with these numbers, counted as they run, are about to.

    Args:
        run: What is done.
        places: Numbers of lines, from 1 on.
        error: Makes what is raised.
        files: How the names of the files begin whose lines count: not those of what other packages call meanwhile.

    Returns:
        How many lines ran, where something was raised, and what ``run`` returned or raised.
    """
    count = 0
    where: list[str] = []
    last = max(places, default=0)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(files):
            return None
        if event == "line":
            count += 1
            if count in places:
                where.append(f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}")
                raise error()
        return trace

    def again(frame: FrameType, event: str, _: Any) -> None:  # a tracer that raises is taken off
        if count < last and sys.gettrace() is None:
            sys.settrace(trace)

    before = sys.gettrace(), sys.getprofile()
    result: object
    sys.settrace(trace)
    if len(places) > 1:
        sys.setprofile(again)
    try:
        result = run()
    except BaseException as raised:
        result = raised
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    return count, where, result
