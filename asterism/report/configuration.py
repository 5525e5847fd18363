"""The configuration: of one run what is not a default stands first, of several runs what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asterism.config import DataConfig, TrainConfig, fields_of, to_dict
from asterism.report.run_facts import recipe_of
from asterism.runs.folder import Run
from asterism.wording import NONE

MISSING = object()
"""The value of a setting that a run does not have, as one of another recipe."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        key: recipe.conv_dim.
        values: for each run its value in words, and whether that is not the default; one value if it is the same in all.
        meaning: its help.
    """

    key: str
    values: Sequence[tuple[str, bool]]
    meaning: str


def configuration(runs: Sequence[Run]) -> dict[str, list[Setting]]:
    """Return the settings that stand out as `first`, all others as `rest`; nothing where no run has any."""
    first: list[Setting] = []
    rest: list[Setting] = []
    for part in ("recipe", "data", "train"):
        about = [_about(run, part) for run in runs]
        for name in dict.fromkeys(name for run in runs for name in run.config.get(part, ())):
            values = [run.config.get(part, {}).get(name, MISSING) for run in runs]
            meanings, defaults = zip(*(known.get(name, ("", MISSING)) for known in about), strict=True)
            told = [(_words(name, v), v is not MISSING and v != default) for v, default in zip(values, defaults, strict=True)]
            same = all(value == values[0] for value in values)
            stands_out = told[0][1] if len(runs) == 1 else not same
            setting = Setting(f"{part}.{name}", told[:1] if same else told, next(filter(None, meanings), ""))
            (first if stands_out else rest).append(setting)
    return {"first": first, "rest": rest} if first or rest else {}


def _about(run: Run, part: str) -> Mapping[str, tuple[str, Any]]:
    """Return the meaning and the default of every setting of a part."""
    recipe = recipe_of(run)
    kind = {"recipe": recipe.config_type if recipe else None, "data": DataConfig, "train": TrainConfig}[part]
    if kind is None:
        return {}
    defaults = to_dict(kind())
    return {name: (field.metadata.get("help", ""), defaults[name]) for name, field in fields_of(kind).items()}


def _words(name: str, value: Any) -> str:
    if name == "sources" and value:  # Without the folders above: the page is made to be passed on.
        return ", ".join(Path(source).name for source in value)
    if isinstance(value, list):
        return (" × " if name == "size" else ", ").join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value in (None, "", MISSING) else f"{value:,}" if isinstance(value, int) else str(value)
