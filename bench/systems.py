"""Every system on the same pictures: one table, and one sheet of the same faces.

    python -m bench.systems --data avatars_adventurer --out systems

Each system trains on as many pictures as the others, by its preset for small machines, with one seed; then all are measured on
the same test pictures. What was done is kept; the same command goes on. The data are a folder with manifest.csv, which has the
columns file, split, identity and labels as 1 and -1: true pictures of edits share an identity.

A system of one attribute, or of two domains, learns from the labels and pictures that concern it alone. Its row speaks of these
edits only, as its own classifier judges them; its KID, by other features than the others', is left out.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from asterism.evaluation.evaluate import evaluate
from asterism.inference.grid import heading
from asterism.inference.sheets import row
from asterism.inference.translator import Translator, load
from asterism.runs.folder import read_run
from asterism.storage.whole import write_json, write_whole
from asterism.training import train
from bench.budget import lengths

LABELS = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Gray_Hair", "Eyeglasses", "Smiling", "Mustache")
EDITS = ("Black_Hair", "Blond_Hair", "Red_Hair", "Eyeglasses", "Smiling", "Mustache")
"""What the six faces of the sheet are edited to."""

MEASURES = {
    "reached": ("reached", "{:.1%}"),
    "preserved": ("preserved", "{:.1%}"),
    "error ratio": ("error ratio", "{:.3f}"),
    "identity error": ("identity error", "{:.1%}"),
    "KID": ("kid", "{:.2f}"),
}
"""Columns: title -> the evaluation's name, and how it is written."""


@dataclass(frozen=True)
class System:
    """A row of the table.

    Args:
        name: of the row and, in lower case, of the run's folder.
        recipe: what trains.
        labels: what it learns of; of two domains, pictures without either are left out.
        share: of the training pictures whose labels it is told.
        unlabelled: whether it trains on the others too.
    """

    name: str
    recipe: str
    labels: tuple[str, ...] = LABELS
    share: float = 1.0
    unlabelled: bool = False


SYSTEMS = (
    System("StarGAN", "stargan"),
    System("Fixed-Point GAN", "fixed_point"),
    System("RelGAN", "relgan"),
    System("STGAN", "stgan"),
    System("AttGAN", "attgan"),
    System("GANimation", "ganimation"),
    System("StarGAN, 5 % of the labels", "stargan", share=0.05),
    System("SemiStarGAN, 5 % of the labels", "semistargan", share=0.05, unlabelled=True),
    System("SemiStarGAN", "semistargan"),
    System("IcGAN", "icgan"),
    System("DIAT to Blond_Hair", "diat", labels=("Blond_Hair",)),
    System("DIAT to Eyeglasses", "diat", labels=("Eyeglasses",)),
    System("CycleGAN, black and blond", "cyclegan", labels=("Black_Hair", "Blond_Hair")),
    System("Aster", "aster"),
)


def main() -> None:
    """Train and measure what is missing; write the table and the sheet."""
    parser = argparse.ArgumentParser(prog="bench.systems", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, table.md and sheet.png")
    parser.add_argument("--only", action="append", default=[], metavar="SYSTEM", help="a system's name; repeatable [all]")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures [64]")
    parser.add_argument("--seen", type=int, default=48_000, help="pictures that each system trains on, with repetition [48000]")
    parser.add_argument("--pictures", type=int, default=60, help="test pictures measured, in every target [60]")
    parser.add_argument("--seed", type=int, default=0, help="of every run [0]")
    args = parser.parse_args()
    chosen = [system for system in SYSTEMS if not args.only or system.name in args.only]
    if unknown := set(args.only) - {system.name for system in SYSTEMS}:
        parser.error(f"no system is called {', '.join(unknown)}; there are {', '.join(s.name for s in SYSTEMS)}")
    for system in chosen:
        print(f"\n=== {system.name}", flush=True)
        measured = one(system, args)
        print(f"{system.name}: {in_words(measured)}", flush=True)
    done = {s.name: found for s in SYSTEMS if (found := kept(folder_of(s, args.out) / "systems.json"))}
    write_whole(args.out / "table.md", table(done).encode())
    sheet(args.data, args.out, args.size, [s for s in SYSTEMS if s.name in done])
    print(f"\n{table(done)}\n{args.out / 'sheet.png'}")


def one(system: System, args: argparse.Namespace) -> dict[str, Any]:
    """Train and measure a system, as far as that is not done; return its row."""
    run = folder_of(system, args.out)
    if found := kept(run / "systems.json"):
        return found
    data = part_of(args.data, args.out / "data", system)
    outcome = train(system.recipe, data, run, preset="small", overrides=settings(system, args), evaluation=None)
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)
    whole = system.labels == LABELS  # Then all are judged by the classifier of all labels.
    source = part_of(args.data, args.out / "data", System("all", "")) if whole else data
    protocols, parameters = ("stargan", "truth"), {"pictures": args.pictures}
    records = evaluate(run, protocols=protocols, data=[str(source)], parameters=parameters, precision="auto")
    values: dict[str, float] = {}
    for record in records.values():
        values |= next(row["values"] for row in record["rows"] if row["name"] == "translated, all targets")
    kept_run = read_run(run)
    trained = [line for line in kept_run.log if "images" in line]
    made = {title: values.get(name) for title, (name, _) in MEASURES.items() if whole or title != "KID"}
    made |= {"million parameters": sum(kept_run.model["parameters"].values()) / 1e6}
    made |= {"seconds per 1,000 pictures": 1000 * trained[-1]["seconds"] / trained[-1]["images"], "seen": trained[-1]["images"]}
    write_json(run / "systems.json", made)
    return made


def settings(system: System, args: argparse.Namespace) -> dict[str, Any]:
    """Return what the preset is changed by: as many pictures as are to be seen, and nothing measured on the way."""
    made = lengths(system.recipe, args.seen)
    steps = made["train.steps"]
    values = {"decay_steps": steps // 2, "seed": args.seed, "evaluate_every": 0}
    values |= {"preview_every": max(1, steps // 4), "checkpoint_every": max(1, steps // 10)}
    unlabelled = {"data.unlabelled": "keep"} if system.unlabelled else {}
    return made | {f"train.{key}": value for key, value in values.items()} | {"data.size": args.size} | unlabelled


def part_of(data: Path, folder: Path, system: System) -> Path:
    """Write the table of what a system learns from, beside a link to the pictures; return its folder.

    Training pictures that it is not told of are left out of the table, so that they are pictures without labels.
    """
    name = "_".join(system.labels).lower() if system.labels != LABELS else f"told_{100 * system.share:g}"
    made = folder / name
    if (made / "manifest.csv").exists():
        return made
    made.mkdir(parents=True, exist_ok=True)
    rows = [r for r in rows_of(data) if len(system.labels) != 2 or "1" in (r[label] for label in system.labels)]
    told = (n for n, r in enumerate(rows) if r["split"] == "train")
    left_out = {n for place, n in enumerate(told) if place * system.share % 1 >= system.share}
    text = io.StringIO()
    writer = csv.DictWriter(text, ["file", "split", "identity", *system.labels], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(r for n, r in enumerate(rows) if n not in left_out)
    for folder_name in {r["file"].split("/")[0] for r in rows}:
        (made / folder_name).symlink_to((data / folder_name).resolve())
    write_whole(made / "manifest.csv", text.getvalue().encode())
    return made


def rows_of(data: Path) -> list[dict[str, str]]:
    """Return the lines of a folder's manifest.csv."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def folder_of(system: System, out: Path) -> Path:
    """Return the folder of a system's run."""
    return out / "".join(c if c.isalnum() else "_" for c in system.name.lower())


def kept(file: Path) -> dict[str, Any] | None:
    """Return what a file of an earlier call says, if there is one."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def in_words(measured: Mapping[str, Any]) -> str:
    """Say a row."""
    return ", ".join(f"{title} {cell(title, measured)}" for title in MEASURES)


def cell(title: str, measured: Mapping[str, Any]) -> str:
    """Write a value; a dash where there is none."""
    value = measured.get(title)
    return "–" if value is None else MEASURES[title][1].format(value)


def table(done: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table in Markdown."""
    sizes = ("million parameters", "seconds per 1,000 pictures")
    lines = [("system", *MEASURES, *sizes), ("---",) * (1 + len(MEASURES) + len(sizes))]
    for name, measured in done.items():
        lines.append((name, *(cell(title, measured) for title in MEASURES), *(f"{measured[size]:.1f}" for size in sizes)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sheet(data: Path, out: Path, size: int, systems: Sequence[System]) -> None:
    """Draw six test faces: the sources, what each system makes of them, and the truth; a column is an edit."""
    found = faces(data)
    heads: list[Image.Image | None] = [heading(edit, 2 * size) for edit in EDITS]
    rows = [[None, *heads], [heading("source", 2 * size), *(shown(data / source, size) for source, _ in found)]]
    for system in systems:
        model = load(folder_of(system, out))
        cells = [edited(model, data / source, edit, size) for (source, _), edit in zip(found, EDITS, strict=True)]
        rows.append([heading(system.name, 2 * size), *cells])
    rows.append([heading("truth", 2 * size), *(shown(data / truth, size) for _, truth in found)])
    bands = [row(cells, 2 * size) for cells in rows]
    picture = Image.fromarray(np.concatenate(bands))
    stored = io.BytesIO()
    picture.save(stored, "PNG")
    write_whole(out / "sheet.png", stored.getvalue())


def faces(data: Path) -> list[tuple[str, str]]:
    """Return, for each edit, the files of another test face without that label and of its true picture with it."""
    rows = [r for r in rows_of(data) if r["split"] == "test"]
    by_labels = {(r["identity"], *(r[label] for label in LABELS)): r["file"] for r in rows}
    found, used = [], set[str]()
    hair = {label for label in LABELS if label.endswith("_Hair")}
    for edit in EDITS:
        for r in rows:
            wanted = {label: r[label] for label in LABELS} | {edit: "1"}
            if edit in hair:
                wanted |= {label: "-1" for label in hair - {edit}}
            truth = by_labels.get((r["identity"], *wanted.values()))
            if r[edit] == "-1" and truth and r["identity"] not in used:
                used.add(r["identity"])
                found.append((r["file"], truth))
                break
    return found


def shown(file: Path, size: int) -> Image.Image:
    """Return a picture as the systems see it, at twice their size."""
    return (
        Image.open(file)
        .convert("RGB")
        .resize((size, size), Image.Resampling.LANCZOS)
        .resize((2 * size,) * 2, Image.Resampling.NEAREST)
    )


def edited(model: Translator, file: Path, edit: str, size: int) -> Image.Image | None:
    """Return a system's edit at twice its size; nothing where the system does not know the label."""
    if edit not in model.labels:
        return None
    seen = Image.open(file).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    with torch.inference_mode():
        return model.translate(seen, to=edit).resize((2 * size,) * 2, Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
