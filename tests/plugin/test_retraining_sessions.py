"""Claims that retrain, as a suite sees them: the option, the plan, the fixtures that are missing, the cache."""

from __future__ import annotations

import pytest

TRAINING = """
    import torch
    from subject import Linear, inputs

    DRAWN = torch.Generator().manual_seed(5)
    X = torch.randn(90, 8, generator=DRAWN)
    Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()

    def fit(x, y, seed):
        torch.manual_seed(seed)
        model = Linear()
        for rows in torch.randint(len(x), (10, 16)):  # by hand: an optimizer imports what cannot be imported twice
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            steps = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, step in zip(model.parameters(), steps):
                    parameter -= 0.5 * step
        with open("trained.txt", "a") as file:
            file.write("x")
        return model

    def data():
        return X[:60], Y[:60], X[60:], Y[60:]
"""
TEST = """
    from subject import good

    def test_it(xai):
        claims = xai.explainer(good)
        claims.bounded("roar", at_most=0.99, fractions=(0.5,), runs=2)
"""
OPTIONS = ("--xai-train=training:fit", "--xai-training-data=training:data")


@pytest.fixture
def retraining(suite):
    suite.makepyfile(training=TRAINING, test_it=TEST)
    return suite


def trained(suite):
    file = suite.path / "trained.txt"
    count = len(file.read_text()) if file.exists() else 0
    file.unlink(missing_ok=True)
    return count


@pytest.mark.parametrize("jobs", ["0", "-2"])
def test_a_number_of_jobs_that_cannot_be_is_refused_before_anything_runs(retraining, jobs):
    result = retraining.runpytest(*OPTIONS, f"--xai-jobs={jobs}")
    result.stderr.fnmatch_lines(["*--xai-jobs: found *; expected a number of processes*"])
    assert trained(retraining) == 0


def test_a_plan_counts_trainings_and_trains_nothing(retraining):
    result = retraining.runpytest(*OPTIONS, "--xai-dry-run")
    result.stdout.fnmatch_lines(["*good bounded roar(*: * for each of 30 inputs*, 4 trainings*"])
    assert trained(retraining) == 0


def test_the_cells_of_one_session_serve_the_next(retraining):
    for expected in (4, 0):
        retraining.runpytest(*OPTIONS, "--xai-inconclusive=warn")
        assert trained(retraining) == expected


def test_a_session_that_was_cut_off_goes_on(retraining):
    retraining.makepyfile(
        training=TRAINING.replace("        return model", "        stop()\n        return model") + CUT
    )
    (retraining.path / "stop.txt").touch()
    retraining.runpytest(*OPTIONS)
    assert trained(retraining) == 3
    (retraining.path / "stop.txt").unlink()
    retraining.runpytest(*OPTIONS, "--xai-inconclusive=warn")
    assert trained(retraining) == 2  # the one that was cut off, and the last


CUT = """
    from pathlib import Path

    def stop():
        if Path("stop.txt").exists() and len(Path("trained.txt").read_text()) == 3:
            raise RuntimeError("cut off")
"""


def test_a_fixture_that_is_missing_is_named_with_an_example(retraining):
    result = retraining.runpytest(OPTIONS[1])
    result.stdout.fnmatch_lines(["xai_train: found no fixture of this name*", "*def xai_train():*"])
