"""The documentation's pages and their code blocks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ADDING = ROOT / "docs" / "adding.md"


def write_own_recipe(path: Path) -> None:
    """Write the recipe of docs/adding.md, with the term that it takes, as a file of a user's own."""
    term, recipe, *_ = (code.partition("from __future__ import annotations\n")[2] for code in blocks(ADDING, "python"))
    own = recipe.replace("from asterism.objectives.least_squares import least_squares\n", "")
    path.write_text(f"from __future__ import annotations\n{term}\n{own}", encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
