"""Print figures of the source: ``python .ci/figures.py [checkout ...]``, this checkout where none is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from house import House, circles, floors, lines, looked_for, uses  # noqa: E402 - found beside the tests


def figures(checkout: Path) -> Iterator[tuple[str, object]]:
    """Yield what is counted and its count."""
    house = House(checkout / "pytest_xaisanity")
    rooms, files = house.between_rooms(), list(house.files.values())
    length = sum(file.source.count("\n") for file in files)
    functions = [(count, f"{file.name}.{name}") for file in files for name, count in lines(file.tree)]
    yield "rooms", len(rooms)
    yield "floors", floors(rooms)
    yield "imports between rooms", sum(map(len, rooms.values()))
    yield "circles between rooms", len(circles(rooms))
    yield "circles between files", len(circles(house.between_files()))
    yield "Any per 1,000 lines", f"{1000 * sum(uses(file.tree, 'Any') for file in files) / length:.1f}"
    yield "getattr and hasattr", sum(len(list(looked_for(file.tree))) for file in files)
    yield "# fmt: skip", sum(file.source.count("# fmt: skip") for file in files)
    yield "longest function", "{} lines, {}".format(*max(functions))
    yield "functions of more than 40 lines", sum(count > 40 for count, _ in functions)
    yield "files of the package", len(files)
    yield "lines of the package", length
    for folder in ("tests", "examples"):
        yield f"lines of {folder}", sum(path.read_text().count("\n") for path in (checkout / folder).rglob("*.py"))


def main() -> None:
    """Print a column for each checkout."""
    checkouts = [Path(name).resolve() for name in sys.argv[1:]] or [ROOT]
    columns = [dict(figures(checkout)) for checkout in checkouts]
    for label in columns[0]:
        print(f"{label:32}" + "".join(f"{column[label]!s:>44}" for column in columns).rstrip())


if __name__ == "__main__":
    main()
