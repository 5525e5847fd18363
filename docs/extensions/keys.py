"""A table of a configuration's keys, from the dataclass that declares them: ```{keys} asterism.config:TrainConfig train."""

from __future__ import annotations

import importlib
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from asterism.config import fields_of


class Keys(Directive):
    """Arguments: `module:Class`, and the section that stands before the keys on the command line."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Return one table: key, default, what it does with unit and range."""
        where, section = self.arguments
        module, _, name = where.partition(":")
        cls = getattr(importlib.import_module(module), name)
        kinds = get_type_hints(cls)
        rows = [
            (f"{section}.{key}", words(declared.default), explain(declared.metadata, kinds[key]))
            for key, declared in fields_of(cls).items()
        ]
        return [table(("key", "default", ""), rows)]


def words(value: Any) -> str:
    """Write a default as it is written on a command line."""
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def explain(told: Any, kind: Any) -> str:
    """Return a field's help, and behind it its choices, unit and range."""
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    low, high = told.get("low"), told.get("high")
    limits = "" if low is None else f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
    facts = [", ".join(map(str, choices)), told.get("unit", ""), limits]
    shown = "; ".join(filter(None, facts))
    return f"{told['help']} ({shown})" if shown else told["help"]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> nodes.table:
    """Build a table whose first two columns are code."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in (25, 15, 60)]
    for part, lines in ((nodes.thead(), [head]), (nodes.tbody(), rows)):
        for line in lines:
            row = nodes.row()
            for i, text in enumerate(line):
                code = i < 2 and isinstance(part, nodes.tbody)
                pieces = ["", text] if code else re.split(r"(?<!\S)(--[\w.]*\w)", text)  # A flag is code as well.
                parts = [nodes.literal(text=p) if k % 2 else nodes.Text(p) for k, p in enumerate(pieces)]
                row += nodes.entry("", nodes.paragraph("", "", *parts))
            part += row
        group += part
    return nodes.table("", group, classes=["keys"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Declare the directive."""
    app.add_directive("keys", Keys)
    return {"parallel_read_safe": True}
