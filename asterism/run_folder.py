"""What the files of a run folder say; docs/training.md lists them.

A run in progress, an imported model and a run that was killed have some of the files only: what is missing or damaged is
left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


class RunError(ValueError):
    """A folder that is no run; the message says what it lacks."""


@dataclass(frozen=True)
class Sheet:
    """A picture made of columns: the file, the columns' titles, what to write below."""

    file: Path
    columns: tuple[str, ...]
    caption: str


@dataclass(frozen=True)
class Run:
    """What the files of a run folder say.

    Args:
        config: `name`, `preset`, and the sections `recipe`, `data`, `train`.
        log: its lines in order of their step, damaged ones left out.
        model: the model file's metadata, with `parameters` (network -> count) and `bytes` added; empty without the file.
        scores: scores.json, or empty.
        previews: all of them, in order.
    """

    name: str
    config: Mapping[str, Any]
    log: tuple[Mapping[str, Any], ...]
    model: Mapping[str, Any]
    scores: Mapping[str, Any]
    previews: tuple[Sheet, ...]
    held_out: Sheet | None


def read_run(folder: Path) -> Run:
    """Read what a run folder holds; what is missing or damaged is left out.

    Raises:
        RunError: neither config.json nor model.safetensors is there.
    """
    model = _read_model(folder / "model.safetensors")
    config = _read_json(folder / "config.json") or ({"name": model["recipe"], "recipe": model["config"]} if model else {})
    if not config:
        raise RunError(f"{folder} is no run folder: it holds neither config.json nor model.safetensors")
    columns = tuple(_read_json(folder / "previews" / "targets.json") or ())
    previews = [
        Sheet(file, columns, f"step {int(file.stem.removeprefix('step_')):,}")
        for file in sorted((folder / "previews").glob("step_*.png"))
        if file.stem.removeprefix("step_").isdigit()
    ]
    about = _read_json(folder / "samples" / "held_out.json")
    sheet = folder / "samples" / "held_out.png"
    held_out = Sheet(sheet, tuple(about["columns"]), about.get("caption", "")) if about and sheet.exists() else None
    return Run(
        name=folder.resolve().name,
        config=config,
        log=_read_log(folder / "log.jsonl"),
        model=model,
        scores=_read_json(folder / "scores.json") or {},
        previews=tuple(previews),
        held_out=held_out,
    )


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_log(file: Path) -> tuple[Mapping[str, Any], ...]:
    lines: dict[int, Mapping[str, Any]] = {}
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
        try:
            line = json.loads(text)
            lines[int(line["step"])] = line
        except (ValueError, KeyError, TypeError):
            continue  # A kill may leave half a line.
    return tuple(lines[step] for step in sorted(lines))


def _read_model(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, framework="numpy") as opened:
            model = {key: json.loads(text) for key, text in (opened.metadata() or {}).items()}
            counts: dict[str, int] = {}
            for key in opened.keys():
                network = key.partition(".")[0]
                counts[network] = counts.get(network, 0) + math.prod(opened.get_slice(key).get_shape())
    except (OSError, ValueError, SafetensorError):
        return {}
    return {**model, "parameters": counts, "bytes": file.stat().st_size} if "recipe" in model else {}
