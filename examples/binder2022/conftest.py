"""The suite explains the networks of the quickstart, whose modules are imported from the folder beside this one."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "quickstart"))
