"""What the files of a run folder say; docs/training.md lists them.

A run in progress, an imported model and a run that was killed have some of the files only: what is missing or damaged is
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asterism.runs.scores import read_scores
from asterism.storage.run_files import RunError, read_config, read_json, read_log, read_model


@dataclass(frozen=True)
class Sheet:
    """A picture made of columns: the file, the columns' titles, what to write below, what kind of sheet it is, recordings."""

    file: Path
    columns: tuple[str, ...]
    caption: str
    title: str = ""
    sounds: tuple[tuple[str, Path], ...] = ()


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


def _sheets(folder: Path, record: Mapping[str, Any]) -> Iterator[Sheet]:
    """Yield the sheets of a record that are there; a run may be anybody's, and its files are those of its folder alone."""

    def held(name: str) -> bool:
        return (folder / name).exists() and (folder / name).resolve().is_relative_to(folder.resolve())

    for case in record.get("cases", ()):
        if held(case["file"]):
            there = tuple((sound["name"], folder / sound["file"]) for sound in case.get("sounds", ()) if held(sound["file"]))
            yield Sheet(folder / case["file"], tuple(case["columns"]), case["caption"], case.get("title", "cases"), there)
