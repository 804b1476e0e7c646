"""How the documentation is built: ``sphinx-build -W docs build/docs``."""

from __future__ import annotations

import posixpath
import re
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx

project = "pytest-xaisanity"
release = version = installed("pytest-xaisanity")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "pytest-xaisanity"
exclude_patterns = []

myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_use_ivar = True

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/README.md"))
OUTSIDE = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "benchmarks": "benchmarks/README.md",
    **{f"examples/{name}": f"examples/{name}/README.md" for name in EXAMPLES},
}
"""Pages whose text stands elsewhere in the checkout, by page."""

PAGES = {"README.md": "index", **{file: page for page, file in OUTSIDE.items()}}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """Take the text of a page from where it stands, and let its links lead to pages."""
    file = OUTSIDE.get(page, f"docs/{page}.md")
    text = (ROOT / file).read_text(encoding="utf-8")

    def linked(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), match[1]))
        return f"](/{PAGES.get(target, target.removeprefix('docs/').removesuffix('.md'))}.md"

    source[0] = re.sub(r"\]\(([^):#]+\.md)", linked, text)


def setup(app: Sphinx) -> None:
    """Connect what reads pages."""
    app.connect("source-read", _read)
