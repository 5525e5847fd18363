"""The files of a run folder, read one by one: configuration, log, metadata of the model; docs/training.md lists them."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from asterism.errors import AsterismError


class RunError(AsterismError, ValueError):
    """A folder that is no run; the message says what it lacks."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return what training wrote into a run's config.json: `name`, `preset`, the sections `recipe`, `data`, `train`, `origin`.

    Raises:
        RunError: there is none, or it is damaged or of another program.
    """
    file = folder / "config.json"
    if not file.exists():
        raise RunError(f"{folder} is no run folder: it holds no config.json")
    config = read_json(file)
    sections = ("recipe", "data", "train", "origin")
    if not (
        isinstance(config, dict)
        and isinstance(config.get("name"), str)
        and "preset" in config
        and all(isinstance(config.get(section, {} if section == "origin" else None), dict) for section in sections)
    ):
        raise RunError(f"{file} is damaged, or of another program")
    return config


def read_json(file: Path) -> Any:
    """Return what a file of JSON holds; None where it is missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_model(file: Path) -> dict[str, Any]:
    """Return the metadata of a model file, with `parameters` and `bytes`; nothing where it is missing or damaged."""
    try:
        with safe_open(file, framework="numpy") as opened:
            model = {key: json.loads(text) for key, text in (opened.metadata() or {}).items()}
            counts = Counter[str]()
            for key in opened.keys():
                counts[key.partition(".")[0]] += math.prod(opened.get_slice(key).get_shape())
    except (OSError, ValueError, SafetensorError):
        return {}
    return {**model, "parameters": counts, "bytes": file.stat().st_size} if "recipe" in model else {}


def called(path_or_name: str | Path) -> str:
    """Return the name of a model, given its run's folder, its file or its name on the hub; without its place."""
    path = Path(path_or_name).expanduser().absolute()
    return path.parent.name if path.name == "model.safetensors" else path.name


def read_log(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a log.jsonl in order of their step, those of one step as one; damaged ones are left out.

    A kill may leave half a line.
    """
    lines: dict[int, dict[str, Any]] = {}
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
        try:
            line = json.loads(text)
            lines.setdefault(int(line["step"]), {}).update(line)
        except (ValueError, KeyError, TypeError):
            continue
    return [lines[step] for step in sorted(lines)]
