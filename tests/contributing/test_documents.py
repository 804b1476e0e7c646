"""What CONTRIBUTING.md and docs/architecture.md name is there: rooms, files, types, registries, keywords."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from test_house import ROOMS

import pytest_xaisanity
from pytest_xaisanity.claims.make import VERBS
from pytest_xaisanity.common.registry import Registry
from pytest_xaisanity.evidence.base import MapMetric
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.interventions import INTERVENTIONS
from pytest_xaisanity.evidence.metrics import METRICS

PACKAGE = Path(pytest_xaisanity.__file__).parent
ROOT = Path(__file__).parents[2]
CONTRIBUTING, ARCHITECTURE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "docs/architecture.md")
)
PROSE = [re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL) for text in (CONTRIBUTING, ARCHITECTURE)]
EXAMPLES = ("contributed/", "patchwork.py")
each_document = pytest.mark.parametrize("text", PROSE, ids=["contributing", "architecture"])


def rows(text, *, heading):
    """Return the first cells of a table whose heading begins so."""
    table = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def quoted(text, pattern):
    return {name for name in re.findall(r"`([^`\n]+)`", text) if re.fullmatch(pattern, name)}


@pytest.fixture(scope="module")
def names():
    """Return all that the package's modules define, by name."""
    found = {}
    for module in pkgutil.walk_packages([str(PACKAGE)], "pytest_xaisanity."):
        found |= vars(importlib.import_module(module.name))
    return found


def test_the_rooms_are_told_in_their_order():
    assert [room.strip("`") for room, *_ in rows(CONTRIBUTING, heading="room")] == ROOMS
    order = ARCHITECTURE.partition("## The rooms")[2].partition("Nothing below")[0]
    assert re.findall(r"`(\w+)`(?: →|\n\n)", order) == ROOMS


@each_document
def test_every_file_and_folder_is_there(text):
    paths = {path for path in quoted(text, r"[\w.-]+(/[\w.-]+)*(/|\.py)") if not path.startswith(EXAMPLES)}
    assert len(paths) > 5
    assert not [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()]


def test_the_files_of_the_way_of_a_claim_are_there():
    """In the diagram, where they are not quoted."""
    files = re.findall(r"[\w/]+\.py", ARCHITECTURE.partition("```text")[2].partition("```")[0])
    assert len(files) > 5
    assert not [file for file in files if not (PACKAGE / file).exists()]


def test_every_type_is_in_the_file_that_is_named():
    table = rows(ARCHITECTURE, heading="type")
    assert len(table) > 20
    for types, file, _ in table:
        module = importlib.import_module(f"pytest_xaisanity.{file.strip('`').removesuffix('.py').replace('/', '.')}")
        for name in re.findall(r"\w+", types):
            assert inspect.isclass(vars(module)[name]), name
            assert vars(module)[name].__module__ == module.__name__, name


@each_document
def test_every_class_and_method_is_there(text, names):
    words = quoted(text, r"_?[A-Z]\w+(\.(?!md)\w+)?") - {"OMP_NUM_THREADS"}
    assert len(words) > 10
    for word in words:
        owner, _, attribute = word.partition(".")
        assert owner in names or hasattr(pytest_xaisanity, owner), word
        assert not attribute or hasattr(names[owner], attribute) or attribute in names[owner].__annotations__, word


def test_the_registries_are_those_of_the_package(names):
    told = {name.strip("`"): kind.strip("`") for name, kind, _ in rows(ARCHITECTURE, heading="registry")}
    assert told == {name: one.kind for name, one in names.items() if isinstance(one, Registry)}
    assert {group.strip("`").rpartition(".")[2] for *_, group in rows(CONTRIBUTING, heading="")} <= {*told.values()}


@pytest.mark.parametrize("document", ["README.md", "docs/audit.md", "CONTRIBUTING.md"])
def test_what_a_document_imports_or_names_in_full_is_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    kinds = {kind.strip("`") for _, kind, _ in rows(ARCHITECTURE, heading="registry")}
    dotted = {
        name.partition("(")[0].removeprefix("pytest_xaisanity.") for name in quoted(text, r"pytest_xaisanity\..*")
    }
    dotted -= kinds | {"<kind>"}
    for module, some in re.findall(
        r"^from (pytest_xaisanity[\w.]*) import (.+)$", text.replace("(\n", " "), re.MULTILINE
    ):
        dotted |= {f"{module}.{name}".removeprefix("pytest_xaisanity.") for name in re.findall(r"\w+", some)}
    assert dotted
    for name in dotted:
        assert pkgutil.resolve_name(f"pytest_xaisanity.{name}") is not None


def keywords(*verbs):
    """Return what verbs take by name beside the settings of their objects."""
    parameters = [p for verb in verbs for p in inspect.signature(VERBS[verb]).parameters.values()]
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"on"}


OF_METRICS, OF_INTERVENTIONS = keywords("bounded"), keywords("changes_under", "invariant_under")
OF_MAP_METRICS = keywords("bounded", "beats")


def test_the_names_that_settings_must_not_have_are_those_that_the_verbs_take():
    told = CONTRIBUTING.partition("those of a metric not")[2].partition("\n- ")[0]
    metrics, maps, interventions = (set(re.findall(r"`(\w+)`", part)) for part in told.split(";"))
    assert (metrics, metrics | maps, interventions) == (OF_METRICS, OF_MAP_METRICS, OF_INTERVENTIONS)


def test_no_setting_has_a_name_that_a_verb_would_take():
    for registry in (METRICS, INTERVENTIONS):
        for name in registry:
            kind = registry.get(name, where="test")
            of_metric = OF_MAP_METRICS if issubclass(kind, MapMetric) else OF_METRICS
            taken = OF_INTERVENTIONS if registry is INTERVENTIONS else of_metric
            assert not {field.name for field in dataclasses.fields(kind)} & taken, name


@pytest.mark.parametrize("registry", [METRICS, INTERVENTIONS, BASELINES], ids=lambda registry: registry.kind)
def test_everything_has_the_name_that_it_is_registered_under(registry):
    for name in registry:
        assert registry.build(name, {}, where="test").name == name


BRITISH = re.compile(
    r"colour|neighbour|behaviour|favour|honour|\bgrey|centre|centring|(?:normal|random|initial|recogn|optim|organ)is[aei]|"
    r"analys(?:e\b|ing)|learnt|signalled|per cent\b|catalogue|drawn? anew|\blaws?\b",
    re.IGNORECASE,
)
FOREIGN = ("cascading_randomisation", "reinitialisation", "normalise=")
"""A name that is mistyped, one that was there before, and a keyword of Quantus's."""


def test_there_is_one_spelling_and_one_word_for_a_thing():
    """The American one; weights are re-initialized, from distributions."""
    found = []
    for pattern in (
        "pytest_xaisanity/**/*.py",
        "tests/**/*.py",
        "examples/**/*.*",
        "benchmarks/*.*",
        "docs/*.md",
        "*.*",
    ):
        for path in sorted(ROOT.glob(pattern)):
            if path.suffix in (".py", ".md", ".toml") and path.name != Path(__file__).name:
                text = path.read_text(encoding="utf-8")
                for word in FOREIGN:
                    text = text.replace(word, "")
                found += [f"{path.relative_to(ROOT)}: {word}" for word in BRITISH.findall(text)]
    assert not found
