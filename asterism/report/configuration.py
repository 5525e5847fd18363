"""The configuration: what is not a default stands out, and with several runs what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asterism.config import DataConfig, TrainConfig, fields_of, to_dict
from asterism.report.facts import recipe_of
from asterism.report.markup import Html, counted, join, section, swatch, tag
from asterism.storage.run_folder import Run

MISSING = object()
"""The value of a setting that a run does not have, as one of another recipe."""


def configuration(runs: Sequence[Run]) -> Html:
    """Return every setting of the runs: first those that differ between them (of one run: that are no defaults)."""
    first, rest = [], []
    for part in ("recipe", "data", "train"):
        for name in dict.fromkeys(name for run in runs for name in run.config.get(part, ())):
            values = [run.config.get(part, {}).get(name, MISSING) for run in runs]
            about = [_about(run, part).get(name, ("", MISSING)) for run in runs]
            changed = [value is not MISSING and value != default for value, (_, default) in zip(values, about, strict=True)]
            differs = any(value != values[0] for value in values)
            help_ = next((text for text, _ in about if text), "")
            if differs or (len(runs) == 1 and any(changed)):
                first.append(_row(f"{part}.{name}", name, values, changed, help_))
            else:
                rest.append(_row(f"{part}.{name}", name, values[:1], changed[:1], help_))
    if len(runs) > 1:
        lead, others = "Where the runs differ; what is not a default stands out.", "the same in all runs"
        first = first or [tag("tr", tag("td", "The runs differ in nothing.", colspan=len(runs) + 2))]
    else:
        lead, others = "What is not a default, as resolved from defaults, preset and command line.", "at their defaults"
    heads = [swatch(i, runs) for i in range(len(runs))] if len(runs) > 1 else ["value"]
    parts = [_table(heads, first)] if first else []
    if rest:
        parts.append(tag("details", tag("summary", f"{counted(len(rest), 'setting')} {others}"), _table(["value"], rest)))
    return section("configuration", "Configuration", lead, *parts)


def _about(run: Run, part: str) -> Mapping[str, tuple[str, Any]]:
    """Return the meaning and the default of every setting of a part."""
    recipe = recipe_of(run)
    kind = {"recipe": recipe.config_type if recipe else None, "data": DataConfig, "train": TrainConfig}[part]
    if kind is None:
        return {}
    defaults = to_dict(kind())
    return {name: (field.metadata.get("help", ""), defaults[name]) for name, field in fields_of(kind).items()}


def _row(key: str, name: str, values: Sequence[Any], changed: Sequence[bool], about: str) -> Html:
    cells = [
        tag("td", "–" if value is MISSING else _setting(name, value), class_="set" if is_changed else "default")
        for value, is_changed in zip(values, changed, strict=True)
    ]
    return tag("tr", tag("th", key, scope="row"), *cells, tag("td", about), class_="set" if any(changed) else "default")


def _table(heads: Sequence[str], rows: Sequence[Html]) -> Html:
    head = tag("thead", tag("tr", tag("td"), *(tag("th", title, scope="col") for title in (*heads, "meaning"))))
    table = tag("table", head, tag("tbody", join(rows)), class_="configuration")
    return tag("div", table, class_="scroll", tabindex=0)


def _setting(name: str, value: Any) -> str:
    if name == "sources" and value:  # Without the folders above: the page is made to be passed on.
        return ", ".join(Path(source).name for source in value)
    if isinstance(value, list):
        return (" × " if name == "size" else ", ").join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, "") else f"{value:,}" if isinstance(value, int) else str(value)
