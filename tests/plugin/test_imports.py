"""A session without a claim pays nothing: what is imported, and what is said."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pytest_xaisanity

HEAVY = {"torch", "numpy", "scipy", "captum", "hypothesis", "matplotlib", "jinja2", "pandas", "PIL"}

LIST_MODULES = """
    import json, sys
    def pytest_unconfigure():
        with open("modules.json", "w") as file:
            json.dump(sorted(sys.modules), file)
"""


def modules_after(pytester, *args: str) -> set[str]:
    """Return what a session of its own has imported; other plugins stay out, for they have their own tastes."""
    pytester.makeconftest(LIST_MODULES)
    pytester.makepyfile(test_it="def test_it():\n    pass\n")
    environment = pytester._getpytestargs()  # the interpreter and -mpytest
    command = [*map(str, environment), "-q", *args]
    run = subprocess.run(command, cwd=pytester.path, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True)
    assert run.returncode == 0, run.stdout
    return set(json.loads((pytester.path / "modules.json").read_text()))


def test_a_session_without_claims_imports_nothing_heavy(pytester):
    plain = modules_after(pytester)
    ours = modules_after(pytester, "-p", "pytest_xaisanity.plugin")
    added = {name.partition(".")[0] for name in ours - plain}
    assert "pytest_xaisanity" in added
    assert not added & HEAVY


def test_a_session_with_settings_and_a_report_imports_nothing_heavy(pytester):
    (pytester.path / "pytest.ini").write_text("[pytest]\nxai_model = nowhere:model\nxai_seed = 3\n")
    modules = modules_after(pytester, "-p", "pytest_xaisanity.plugin", "--xai-json=claims.json", "--xai-device=cpu")
    assert not modules & HEAVY
    assert json.loads((pytester.path / "claims.json").read_text())["claims"] == []


def test_a_session_without_claims_says_nothing(pytester):
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest("-v")
    outside = [line for line in result.outlines if not line.startswith("plugins: ")]
    assert not any("xai" in line.replace(str(pytester.path), "").replace("xaisanity/.", "") for line in outside[4:])


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, pytest_xaisanity; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    assert not set(python(code).split()) & HEAVY


def test_only_the_report_itself_imports_what_it_is_written_with():
    """Not what verdicts and records are made of: a session without a report pays for neither."""
    rooms = "report.records, report.json, report.summary, report.mutation, report.figures, statistics.evidence"
    code = "import sys, " + ", ".join(f"pytest_xaisanity.{room}" for room in (*rooms.split(", "), "plugin.figures"))
    assert python(f"{code}; print({{'jinja2', 'matplotlib'}} & {{*sys.modules}} or 'none')") == "none"


def test_the_package_lists_its_names_without_importing_them():
    code = "import sys, pytest_xaisanity as p; dir(p); print('Bench' in dir(p), 'torch' in sys.modules)"
    assert python(code) == "True False"


@pytest.mark.parametrize("name", pytest_xaisanity.__all__)
def test_every_public_name_is_there_and_described(name):
    assert getattr(pytest_xaisanity, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'pytest_xaisanity' has no attribute 'nothing'"):
        pytest_xaisanity.nothing  # noqa: B018
