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

SCORES_FORMAT = 2
"""Version of the layout of scores.json that is read and written."""


class RunError(ValueError):
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
        RunError: neither config.json nor model.safetensors is there.
    """
    model = read_model(folder / "model.safetensors")
    config = read_json(folder / "config.json") or ({"name": model["recipe"], "recipe": model["config"]} if model else {})
    if not config:
        raise RunError(f"{folder} is no run folder: it holds neither config.json nor model.safetensors")
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


def read_scores(file: Path) -> dict[str, Mapping[str, Any]]:
    """Return the records of a scores.json by name, oldest first; none where it is missing, damaged or of another format."""
    content = read_json(file)
    if not isinstance(content, dict) or content.get("format") != SCORES_FORMAT:
        return {}
    return dict(content.get("protocols", {}))


def why_not_comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """Say why the numbers of two records of scores must not be compared; None where they may be.

    Numbers depend on the protocol with all its parameters, on the weights of extractor and classifier, and on the pictures.
    """
    for what in ("protocol", "version", "split", "precision"):
        if first[what] != second[what]:
            return f"{what} {first[what]} and {second[what]}"
    ours, theirs = first["extractor"], second["extractor"]
    if (ours["name"], ours["digest"]) != (theirs["name"], theirs["digest"]):
        return f"extractor {ours['name']} {ours['digest']} and {theirs['name']} {theirs['digest']}"
    judges = [(record.get("classifier") or {}).get("digest") for record in (first, second)]
    if judges[0] != judges[1]:
        return f"classifier {judges[0]} and {judges[1]}"
    for name in sorted({*first["parameters"], *second["parameters"]}):
        values = [record["parameters"].get(name) for record in (first, second)]
        if values[0] != values[1]:
            return f"{name} {values[0]} and {values[1]}"
    return "other pictures" if first["data"] != second["data"] else None


def heading(metric: str, record: Mapping[str, Any]) -> str:
    """Name a metric of a record for a reader: of FID and KID, which mean Inception's features, whose they are if not these."""
    extractor = record["extractor"]["name"]
    plain, comma, mode = metric.partition(", ")
    inception = extractor == "inception" or plain not in ("fid", "kid", "kid spread")
    return metric if inception else f"{plain} ({extractor}){comma}{mode}"


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
