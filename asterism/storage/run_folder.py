"""What the files of a run folder say; docs/training.md lists them.

A run in progress, an imported model and a run that was killed have some of the files only: what is missing or damaged is
left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from asterism.errors import AsterismError
from asterism.storage.scores import read_scores


class RunError(AsterismError, ValueError):
    """A folder that is no run; the message says what it lacks."""


@dataclass(frozen=True)
class Sheet:
    """A picture made of columns: the file, the columns' titles, what to write below, and what kind of sheet it is."""

    file: Path
    columns: tuple[str, ...]
    caption: str
    title: str = ""


@dataclass(frozen=True)
class Run:
    """What the files of a run folder say.

    Args:
        config: `name`, `preset`, and the sections `recipe`, `data`, `train`.
        log: its lines in order of their step, damaged ones left out.
        model: the model file's metadata, with `parameters` (network -> count) and `bytes` added; empty without the file.
        scores: the records of scores.json by name (protocol/extractor/split/checkpoint); docs/evaluation.md describes them.
        previews: all of them, in order.
        cases: the sheets that belong to each record of scores, under its name.
    """

    name: str
    config: Mapping[str, Any]
    log: tuple[Mapping[str, Any], ...]
    model: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, Any]]
    previews: tuple[Sheet, ...]
    cases: Mapping[str, tuple[Sheet, ...]]

    @property
    def held_out(self) -> Sheet | None:
        """The sheet of held-out pictures, or of generated ones, of the record that was written last, if there is one."""
        stems = ("held_out", "generated")
        held = [sheet for sheets in self.cases.values() for sheet in sheets if sheet.file.stem in stems]
        return held[-1] if held else None


def read_run(folder: Path) -> Run:
    """Read what a run folder holds; what is missing or damaged is left out.

    Raises:
        RunError: neither a config.json nor a model.safetensors that can be read is there.
    """
    model = read_model(folder / "model.safetensors")
    if not model and not (folder / "config.json").exists():
        raise RunError(f"{folder} is no run folder: it holds neither config.json nor model.safetensors")
    try:
        config = read_config(folder)
    except RunError:
        if not model:
            raise
        config = {"name": model["recipe"], "recipe": model["config"]}
    columns = tuple(read_json(folder / "previews" / "targets.json") or ())
    previews = [
        Sheet(file, columns, f"step {int(file.stem.removeprefix('step_')):,}")
        for file in sorted((folder / "previews").glob("step_*.png"))
        if file.stem.removeprefix("step_").isdigit()
    ]
    scores = read_scores(folder / "scores.json")
    return Run(
        name=folder.resolve().name,
        config=config,
        log=tuple(read_log(folder / "log.jsonl")),
        model=model,
        scores=scores,
        previews=tuple(previews),
        cases={name: tuple(_sheets(folder, record)) for name, record in scores.items()},
    )


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
            counts: dict[str, int] = {}
            for key in opened.keys():
                network = key.partition(".")[0]
                counts[network] = counts.get(network, 0) + math.prod(opened.get_slice(key).get_shape())
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


def _sheets(folder: Path, record: Mapping[str, Any]) -> Iterator[Sheet]:
    for case in record.get("cases", ()):
        if (folder / case["file"]).exists():
            yield Sheet(folder / case["file"], tuple(case["columns"]), case["caption"], case.get("title", "cases"))
