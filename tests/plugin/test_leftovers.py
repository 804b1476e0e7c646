"""What workers leave that are interrupted, of which the controller hears nothing more."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_xaisanity.plugin.interrupts import Leftovers, leave


def test_the_controller_takes_what_workers_left_and_removes_it():
    leftovers, workers = Leftovers(), [{}, {}]
    for workerinput in workers:
        leftovers.tell(workerinput)
        leave(SimpleNamespace(workerinput=workerinput), {"test": "a", "records": [1, "\u202e"]})
    (folder,) = {one["xai_leftovers"] for one in workers}
    (Path(folder) / "cut.json").write_text('{"test": ')
    assert list(leftovers.take()) == [{"test": "a", "records": [1, "\u202e"]}] * 2
    assert not Path(folder).exists()
    assert list(leftovers.take()) == []


def test_where_there_is_no_controller_nothing_is_left(tmp_path):
    leave(SimpleNamespace(), {"test": "a"})
    leave(SimpleNamespace(workerinput={}), {"test": "a"})
    leave(SimpleNamespace(workerinput={"xai_leftovers": str(tmp_path / "another machine's")}), {"test": "a"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGINT)", "os.kill(os.getppid(), signal.SIGTERM)"])
def test_an_interrupted_worker_loses_no_claim(suite, how):
    """Whether it is interrupted itself, or the controller is, which then ends its workers."""
    pytest.importorskip("xdist")
    suite.makepyfile(
        test_it=f"""
        import os, signal, time
        from subject import bad, good

        def test_it(xai):
            assert xai.explainer(good).beats("random", on="pixel_flipping")
            assert not xai.explainer(bad).beats("random", on="pixel_flipping")
            {how}
            time.sleep(60)
        """
    )
    result = suite.runpytest_subprocess("-n1", "-p", "no:randomly", "--assert=plain", "--xai-json=claims.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    report = json.loads((suite.path / "claims.json").read_text())
    assert report["interrupted"] is True
    assert [(one["outcome"], one["test_outcome"]) for one in report["claims"]] == [
        ("passed", "interrupted"),
        ("failed", "interrupted"),
    ]
    result.stdout.fnmatch_lines(["*claims about explanations: 1 passed, 1 failed*"])
