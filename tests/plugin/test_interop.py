"""Beside other plugins that suites of models use, and under the ways in which fixtures are parametrized."""

from __future__ import annotations

import json

import pytest

SUITE = """
    import pytest
    from subject import bad, good

    def test_passes(xai):
        assert xai.explainer(good).beats("random", on="pixel_flipping")

    def test_fails(xai):
        assert xai.explainer(bad).beats("random", on="pixel_flipping")

    @pytest.mark.xai_invariant_under("batch_order")
    @pytest.mark.xai_explainer(good)
    def test_marked(xai_verdict):
        assert xai_verdict
"""


def claims(suite, name: str = "claims.json") -> list[dict]:
    return json.loads((suite.path / name).read_text(encoding="utf-8"))["claims"]


def decided(suite, name: str = "claims.json") -> list[tuple]:
    """Return what was decided, without where."""
    return [(claim["claim_id"], claim["outcome"], claim["estimate"], claim["n"]) for claim in claims(suite, name)]


def test_randomly_moves_no_verdict(suite):
    """It shuffles the tests, and seeds the global generators before each."""
    pytest.importorskip("pytest_randomly")
    suite.makepyfile(test_it=SUITE)
    for seed in (1, 2):
        result = suite.runpytest("-p", "randomly", f"--randomly-seed={seed}", f"--xai-json={seed}.json")
        result.assert_outcomes(passed=2, failed=1)
    assert decided(suite, "1.json") == decided(suite, "2.json")


@pytest.mark.slow
def test_coverage_is_measured_beside_claims(suite):
    pytest.importorskip("pytest_cov")
    suite.makepyfile(test_it=SUITE)
    result = suite.runpytest_subprocess(
        "-p", "no:randomly", "--cov=subject", "--cov-report=term", "--xai-json=claims.json"
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["subject.py *%*"])
    assert sorted(outcome for _, outcome, *_ in decided(suite)) == ["failed", "passed", "passed"]


@pytest.mark.slow
def test_html_of_pytest_has_the_text_of_a_failure(suite):
    pytest.importorskip("pytest_html")
    suite.makepyfile(test_it=SUITE)
    result = suite.runpytest_subprocess("-p", "no:randomly", "--html=page.html", "--self-contained-html")
    result.assert_outcomes(passed=2, failed=1)
    assert "bad beats random" in (suite.path / "page.html").read_text(encoding="utf-8")


WITH_TORCH_DEVICE = """
    import pytest
    from subject import inputs, model

    @pytest.fixture
    def xai_model(torch_device):
        return model().to(torch_device)

    @pytest.fixture
    def xai_inputs(torch_seed):
        return inputs()
"""


@pytest.mark.slow
def test_fixtures_may_ask_for_the_device_and_the_seed_of_pytest_torch(suite):
    """Which makes a test for each device of whatever asks for one."""
    pytest.importorskip("pytest_torch")
    suite.makepyfile(test_it=SUITE)
    suite.runpytest_subprocess("-p", "no:randomly", "--xai-json=alone.json").assert_outcomes(passed=2, failed=1)
    suite.makeconftest(WITH_TORCH_DEVICE)
    result = suite.runpytest_subprocess("-p", "no:randomly", "--torch-device=cpu", "--xai-json=claims.json", "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_passes?cpu? PASSED*"])
    assert decided(suite) == decided(suite, "alone.json")


def test_a_model_may_be_parametrized_from_a_test(suite):
    suite.makeconftest(
        """
        import pytest
        import torch
        from subject import inputs, model

        @pytest.fixture
        def xai_model(request):
            made = model()
            with torch.no_grad():
                made.layer.weight.mul_(request.param)
            return made

        @pytest.fixture
        def xai_inputs():
            return inputs()
        """
    )
    suite.makepyfile(
        test_it="""
        import pytest
        from subject import good

        each = pytest.mark.parametrize("xai_model", [1.0, -1.0], indirect=True, ids=["as_trained", "negated"])

        @each
        def test_fixture(xai):
            assert xai.explainer(good).beats("random", on="pixel_flipping")

        @each
        @pytest.mark.xai_beats("random", on="pixel_flipping")
        @pytest.mark.xai_explainer(good)
        def test_marked(xai_verdict):
            assert xai_verdict
        """
    )
    result = suite.runpytest("-p", "no:randomly", "--xai-json=claims.json")
    result.assert_outcomes(passed=4)
    assert sum("negated" in claim["test"] for claim in claims(suite)) == 2


THREADS = """
    import os
    import pytest
    import torch
    from subject import good, inputs, model

    torch.set_num_threads(4)
    SEEN = set()

    def watched(model, inputs, targets):
        SEEN.add(torch.get_num_threads())
        return good(model, inputs, targets)

    @pytest.mark.parametrize("copy", range(2))
    def test_threads(xai, copy):
        assert xai.explainer(watched).beats("random", on="pixel_flipping")
        assert torch.get_num_threads() == 4
        assert SEEN == {int(os.environ["WANTED"])}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "threads"), [(0, 4), (2, 2)])
def test_workers_divide_the_threads_among_themselves(suite, monkeypatch, workers, threads):
    """For as long as a claim is decided; a single process keeps what it has."""
    pytest.importorskip("xdist")
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)  # of the session that runs this test
    monkeypatch.setenv("WANTED", str(threads))
    suite.makepyfile(test_it=THREADS)
    suite.runpytest_subprocess("-p", "no:randomly", f"-n{workers}").assert_outcomes(passed=2)
