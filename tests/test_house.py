"""The order of the rooms, and other rules of the house that the source alone can show."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from house import DOOR, House, circles, floors, lines, looked_for, uses

import pytest_xaisanity

ROOMS = ["plugin", "bench", "claims", "adversaries", "evidence", "explainers", "maps", "subject", "model"]
ROOMS += ["statistics", "report", "common"]
MODELS = {"subject", "model"}
"""Rooms that know the user's network."""
BLIND = {"maps", "statistics", "report", "common"}
"""Rooms that do not."""
SHAPES = {"subject.block", "subject.layout"}
"""What of a subject is only shapes."""

FOREIGN = {
    "claims": "name",
    "report": "tolist",
    "plugin": "cache callspec decode fixturenames funcargs hypothesis ndim obj param params reprcrash "
    "reprentries reprtraceback tolist wasxfail workerinput workeroutput",
    "explainers": "_orig_mod attr_method attr_target attribute attribution_method composite dtype forward_func layer "
    "model multiplies_by_inputs operation",
    "model": "_reset_parameters n_power_iterations original_name reset_parameters",
    "adversaries": "open_settings",
    "subject": "_fields can_generate columns config get_input_embeddings is_encoder_decoder to_numpy",
}
"""What each room may look for in objects that are not ours: pytest's items, others' explainers, torch's modules.

A class of this package has an attribute or a method with a default instead. Names with two underscores at both ends are
Python's own and may be looked for anywhere, and so may names that are values: settings, fields, lines of a registry.
"""


@pytest.fixture(scope="module")
def house():
    return House(Path(pytest_xaisanity.__file__).parent)


def test_the_rooms_are_those_of_the_plan(house):
    assert house.rooms == sorted([DOOR, *ROOMS])


def test_a_room_imports_only_from_those_below_it(house):
    """The package's own ``__init__`` gives names of all rooms to users; whoever imports it in here imports them all."""
    order = [DOOR, *ROOMS]
    above = {
        f"{name} imports {other}"
        for name, imported in house.between_files().items()
        for other in imported
        if order.index(house.files[name].room) > order.index(house.files[other].room)
    }
    assert not above


def test_there_are_no_circles(house):
    assert circles(house.between_rooms()) == []
    assert circles(house.between_files()) == []


def test_maps_statistics_reports_and_what_is_common_know_no_model(house):
    """Maps know of a subject where its places and channels are, and nothing else."""
    files = {name: imported for name, imported in house.between_files().items() if name.split(".")[0] in BLIND}
    known = {name: {one for one in imported if one.split(".")[0] in MODELS} for name, imported in files.items()}
    assert {name: found - SHAPES for name, found in known.items() if found - SHAPES} == {}
    assert not any(found for name, found in known.items() if not name.startswith("maps."))


@pytest.mark.parametrize("room", ["statistics", "report"])
def test_what_is_only_numbers_and_words_imports_no_torch(house, room):
    assert not outside(house, "torch", {room})


def test_only_the_plugin_imports_pytest(house):
    assert not outside(house, "pytest", {DOOR, *ROOMS} - {"plugin"})
    assert not outside(house, "_pytest", {DOOR, *ROOMS})


def outside(house, package, rooms):
    """Return the files in these rooms that import the package, wherever in the file."""
    return [
        file.name
        for file in house.files.values()
        if file.room in rooms and package in {name.partition(".")[0] for name in file.outside}
    ]


def test_each_room_says_what_is_inside(house):
    silent = [room for room in ROOMS if room not in house.files or not ast.get_docstring(house.files[room].tree)]
    assert not silent


def test_each_room_has_its_tests():
    assert not [room for room in ROOMS if not list((Path(__file__).parent / room).glob("test_*.py"))]


def test_the_formatter_passes_nothing_by(house):
    assert not [file.name for file in house.files.values() if "# fmt: " in file.source]


def test_no_function_is_longer_than_forty_lines(house):
    """Docstrings are not counted."""
    long = {
        f"{file.name}.{name}": count for file in house.files.values() for name, count in lines(file.tree) if count > 40
    }
    assert not long


def test_few_values_are_of_any_type(house):
    """At most 12 in 1,000 lines."""
    length = sum(file.source.count("\n") for file in house.files.values())
    used = {file.name: uses(file.tree, "Any") for file in house.files.values()}
    assert sum(used.values()) / length <= 12 / 1000, sorted(used.items(), key=lambda item: -item[1])[:10]


def test_abilities_are_not_looked_for(house):
    """``getattr`` and ``hasattr`` with a name written down are for objects that this package does not define."""
    found = set()
    for file in house.files.values():
        for sought in looked_for(file.tree):
            name = sought.strip("'")
            if name != sought and not name.startswith("__") and name not in FOREIGN.get(file.room, "").split():
                found.add(f"{file.name}: {name}")
    assert not found


class TestFindings:
    """What the other tests rely on: a house with faults in it."""

    @pytest.fixture
    def faulty(self, tmp_path):
        """Return a package of three rooms and a door, with imports that are easily overlooked."""
        files = {
            "__init__.py": "",
            "low/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..high.top import Top\n",
            "low/ground.py": "from . import beside\nimport torch.nn as nn\n",
            "low/beside.py": "def late():\n    from .ground import anything\n",
            "high/__init__.py": "",
            "high/top.py": "import pkg.low.ground, os\nfrom .. import VERSION\n",
            "alone.py": "from .low import ground as basement\n",
        }
        for name, source in files.items():
            path = tmp_path / "pkg" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return House(tmp_path / "pkg")

    def test_imports_are_found_wherever_they_stand(self, faulty):
        assert faulty.between_files() == {
            "": set(),
            "low": {"high.top"},
            "low.ground": {"low.beside"},
            "low.beside": {"low.ground"},
            "high": set(),
            "high.top": {"low.ground", ""},
            "alone": {"low.ground"},
        }
        assert faulty.files["low.ground"].outside == {"torch.nn"}
        assert faulty.files["high.top"].outside == {"os"}

    def test_circles_are_found_between_rooms_and_between_files(self, faulty):
        assert faulty.rooms == [DOOR, "alone", "high", "low"]
        assert circles(faulty.between_rooms()) == [["high", "low"]]
        assert circles(faulty.between_files()) == [["low.beside", "low.ground"]]

    def test_floors_are_the_longest_way_down(self, faulty):
        assert floors(faulty.between_rooms()) == 3  # one on two that hold each other on the door
        assert floors({"a": "b", "b": "cd", "c": "d", "d": ""}) == 4

    def test_lines_are_those_of_signature_and_body(self):
        source = '@decorator\ndef f(\n    a,\n):\n    """One\n\n    two.\n    """\n    return a\n'
        assert list(lines(ast.parse(source))) == [("f", 4)]

    def test_names_are_counted_where_they_are_used(self):
        tree = ast.parse("from typing import Any\ndef f(a: Any, *b: list[Any]) -> None: ...\n")
        assert uses(tree, "Any") == 2

    def test_what_is_looked_for_is_told_by_its_words(self):
        assert list(looked_for(ast.parse("getattr(a, 'b', None)\nhasattr(a, b)\n"))) == ["'b'", "b"]
