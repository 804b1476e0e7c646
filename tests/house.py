"""What the source of the package says of itself: rooms, imports, lengths and counts. The standard library alone.

A room is a folder of the package, or a file beside them; the package's own ``__init__`` is one too, the door. An import
is counted wherever it stands: at the top, inside a function, under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DOOR = "__init__"


@dataclass
class File:
    """A Python file of the package.

    Attributes:
        name: The dotted name below the package; a folder's name is its ``__init__``, and the package's own is ``""``.
        source: Its text.
        tree: Its syntax.
        inside: The dotted names below the package that it imports.
        outside: The dotted names of other packages' modules that it imports.
    """

    name: str
    source: str
    tree: ast.Module
    inside: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)

    @property
    def room(self) -> str:
        """Return the folder or file at the top of the package that this is part of."""
        return self.name.partition(".")[0] or DOOR


class House:
    """The files of a package, by their dotted names.

    Args:
        folder: The package's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.package = folder.name
        self.files: dict[str, File] = {}
        for path in sorted(folder.rglob("*.py")):
            *parts, last = path.relative_to(folder).with_suffix("").parts
            name = ".".join(parts if last == "__init__" else [*parts, last])
            source = path.read_text(encoding="utf-8")
            self.files[name] = File(name, source, ast.parse(source, str(path)))
        self._folders = {name for name in self.files if (folder / Path(*name.split(".")) / "__init__.py").exists()}
        for file in self.files.values():
            for name in self._imported(file):
                (file.outside if name.startswith("/") else file.inside).add(name.removeprefix("/"))

    def _imported(self, file: File) -> Iterator[str]:
        """Yield the names that a file imports: those of this package's files, and others with a slash before them."""
        for node in ast.walk(file.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield self._place(alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(file, node)
                for alias in node.names:
                    yield self._place(f"{base}.{alias.name}")

    def _base(self, file: File, node: ast.ImportFrom) -> str:
        """Return the full name of the module after ``from``."""
        if not node.level:
            return str(node.module)
        parts = [self.package, *filter(None, file.name.split("."))]
        up = node.level - (file.name in self._folders)
        return ".".join([*parts[: len(parts) - up], *filter(None, [node.module])])

    def _place(self, name: str) -> str:
        """Return the file that a full dotted name stands for or stands in, or the name with a slash before it."""
        top, _, below = name.partition(".")
        if top != self.package:
            return f"/{name}"
        while below not in self.files:
            below = below.rpartition(".")[0]
        return below

    @property
    def rooms(self) -> list[str]:
        """Return the rooms, the door among them."""
        return sorted({file.room for file in self.files.values()})

    def between_files(self) -> dict[str, set[str]]:
        """Return the files that each file imports, itself left out."""
        return {name: file.inside - {name} for name, file in self.files.items()}

    def between_rooms(self) -> dict[str, set[str]]:
        """Return the rooms that each room imports from, itself left out."""
        imported: dict[str, set[str]] = {room: set() for room in self.rooms}
        for file in self.files.values():
            imported[file.room] |= {self.files[name].room for name in file.inside} - {file.room}
        return imported


def circles(imported: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of names that import each other, directly or by way of others in the group."""
    reached = {name: _reached(name, imported) for name in imported}
    groups = {frozenset(other for other in reached[name] if name in reached.get(other, ())) for name in imported}
    return sorted(sorted(group) for group in groups if group)


def _reached(name: str, imported: Mapping[str, Iterable[str]]) -> set[str]:
    """Return all that is imported from here on: the name itself too where a way leads back to it."""
    found: set[str] = set()
    left = list(imported[name])
    while left:
        if (other := left.pop()) not in found:
            found.add(other)
            left += imported.get(other, ())
    return found


def floors(imported: Mapping[str, Iterable[str]]) -> int:
    """Return how many rooms stand on each other at most; rooms in one circle stand on one floor."""
    together = {name: frozenset(group) for group in circles(imported) for name in group}
    heights: dict[frozenset[str], int] = {}

    def height(group: frozenset[str]) -> int:
        if group not in heights:
            below = {together.get(other, frozenset({other})) for name in group for other in imported.get(name, ())}
            heights[group] = 1 + max(map(height, below - {group}), default=0)
        return heights[group]

    return max((height(together.get(name, frozenset({name}))) for name in imported), default=0)


def lines(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each function's name and its number of lines: signature and body, docstring and decorators left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                count -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, count


def uses(tree: ast.Module, name: str) -> int:
    """Return how often a name is used; where it is imported does not count."""
    return sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def looked_for(tree: ast.Module) -> Iterator[str]:
    """Yield what ``getattr`` and ``hasattr`` look for, in the source's words: ``'name'``, or an expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            yield ast.unparse(node.args[1])
