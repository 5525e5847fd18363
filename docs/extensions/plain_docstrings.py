"""Docstrings here are plain text in which `backticks` mark code; this makes the markup of it that Sphinx reads.

A norm |x|, a product a * b or a name such as Black_ means itself and no markup. Sections (Args:, Returns:, Raises:) are read
by napoleon afterwards; any other indented lines are a table of shapes or an example, and keep their form.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before napoleon, which listens with priority 500."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", to_markup, priority=400)
    return {"parallel_read_safe": True}


def to_markup(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replace the lines of a docstring in place, as autodoc asks."""
    result: list[str] = []
    section = verbatim = False
    before = ""
    for line in lines:
        line = re.sub(r"(?<![`\w-])(--[a-z][\w.-]*\w)(?!`)", r"`\1`", line)  # A flag is code, and keeps its two dashes.
        blank, indented = not line.strip(), line.startswith("    ")
        if not blank and not indented:
            section, verbatim = line.strip() in SECTIONS, False
        if indented and not section and not verbatim and not before.startswith(("- ", "  ")):
            result += ["", "::", ""]
            verbatim = True
        result.append(line if verbatim or blank else escape(line, section))
        before = before if blank else line
    lines[:] = result


def escape(line: str, section: bool = False) -> str:
    """Escape what reStructuredText would read as markup, outside of backticks, which become literals."""
    pieces = re.split(r"(`[^`]+`)", line)
    for i, piece in enumerate(pieces):
        if i % 2:
            grown = pieces[i + 1][:1].isalnum()  # The plural of a name: an escaped space, which is not shown, ends the literal.
            pieces[i] = f"`{piece}`" + "\\ " * grown
        else:
            pieces[i] = re.sub(r"([\\*|`])|(?<=\w)_(?!\w)", lambda found: "\\" + found[0], piece)
    return "".join(pieces)
