"""One page with a sheet of every recipe, and what each sheet cost.

    python -m bench.gallery --out gallery --budget 8000
    python -m bench.gallery --out gallery --only dcgan
    python -m bench.gallery --out gallery --runs stargan_vc=runs/voices

Each recipe trains on as many pictures as the others, by its preset for small machines with its lengths scaled to that, with one
seed. Its sheet is the top of the last preview: validation pictures, which training never saw, or generated ones, none chosen.
`--runs` takes sheets from runs that are there already, and then trains only what `--only` names. Sheets stay beside the page,
so that each call adds to it; the page lists the recipes that have none yet.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from asterism.commands.demo import SAMPLE
from asterism.data.sheets import GAP
from asterism.inference.grid import heading
from asterism.recipes import RECIPES
from asterism.runs.folder import Run, read_run
from asterism.storage.whole import write_json, write_whole
from asterism.training import train
from bench import generators, systems
from bench.budget import lengths
from bench.systems import System, part_of

ROOT = Path(__file__).parents[1]

HAIR = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Gray_Hair")
MORE = (
    System("StarGAN v2", "stargan_v2", labels=HAIR),
    System("DiscoGAN, black and blond", "discogan", labels=("Black_Hair", "Blond_Hair")),
    System("pix2pix, from line drawings", "pix2pix"),
    System("pix2pixHD, from line drawings", "pix2pixhd"),
    *generators.SYSTEMS,
    System("StarGAN-VC", "stargan_vc"),
)
"""What `bench.systems` does not train: recipes with styles, of two domains, of pairs, of noise, of recordings."""

FROM_PAIRS = ("pix2pix", "pix2pixhd")
FROM_ELSEWHERE = ("stargan_vc",)
"""Its data are recordings, which are not bundled: its sheet comes from a run."""

ROWS = 4
CELL = 96
"""Rows of a sheet, and the side that smaller pictures are enlarged to, in pixels."""


INTRODUCTION = """# Gallery

A sheet of every recipe, to see what kind of picture comes out. It is no contest: budgets are small, and each line says its own.
Rows are validation pictures, which training never saw, and columns their targets; pictures of recipes that generate are made of
noise. None is chosen. [Comparison](comparison.md) measures, and the pages of the recipes show longer runs.

```console
python -m bench.gallery --out gallery --budget 8000
python -m bench.gallery --out gallery --runs stargan_vc=runs/voices
```

The first command trains every recipe by its preset `small`, with lengths scaled to the budget, and goes on where it stopped
when it is called again. The second takes the sheet of a run that is there already. `--page docs/gallery.md` writes this page.
"""

SECTION = """## {name}

![{name}: the top of the last preview](images/gallery/{recipe}.jpg)

*{where}, preset `{preset}`, {high} x {wide}; {seen:,} {kind} seen in {steps:,} steps; data: {data}.*
"""

CREDIT = '*Drawings: "Adventurer" by Lisa Wischofsky, CC BY 4.0, and "Open Peeps" by Pablo Stanley, CC0; by DiceBear (MIT).*\n'


def main() -> None:
    """Train what is missing, take sheets from runs, write the page."""
    parser = argparse.ArgumentParser(prog="bench.gallery", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs; the same command goes on there")
    parser.add_argument("--budget", type=int, default=8000, metavar="N", help="pictures each trains on, with repetition [8000]")
    parser.add_argument("--only", action="append", default=[], metavar="RECIPE", help="a recipe's name; repeatable [all]")
    parser.add_argument("--runs", action="append", default=[], metavar="NAME=RUN", help="a recipe's sheet from this run")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="the page; sheets go to images/gallery beside it [OUT/gallery.md]"
    )
    parser.add_argument(
        "--data", type=Path, default=SAMPLE, help="folder with manifest.csv, as of bench.systems [bundled sample]"
    )
    parser.add_argument("--size", type=int, default=64, help="side of the pictures [64]")
    parser.add_argument("--seed", type=int, default=0, help="of every run [0]")
    args = parser.parse_args()
    page = args.page or args.out / "gallery.md"
    known = rows()
    taken = dict(pair.partition("=")[::2] for pair in args.runs)
    if unknown := {*args.only, *taken} - known.keys():
        parser.error(f"no recipe is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for recipe, run in taken.items():
        found = read_run(Path(run))
        keep(known[recipe], found, [Path(source).name for source in found.config["data"]["sources"]], page)
    for recipe in args.only or (() if taken else known):
        if recipe in FROM_ELSEWHERE:
            print(f"{recipe}: learns from recordings; give its run: --runs {recipe}=RUN", flush=True)
            continue
        print(f"\n=== {recipe}", flush=True)
        keep(known[recipe], read_run(trained(known[recipe], args)), [args.data.resolve().name], page)
    print(page)


def rows() -> dict[str, System]:
    """Return what is shown of each recipe, in the order of the registry; a recipe without a line here has its name alone."""
    found = {recipe: System(recipe, recipe) for recipe in RECIPES}
    for system in reversed((*systems.SYSTEMS, *MORE)):
        if system.share == 1:  # Of rows that differ in their labels the first.
            found[system.recipe] = system
    return found


def trained(system: System, args: argparse.Namespace) -> Path:
    """Train a recipe as far as that is not done; return its run."""
    run = args.out / "runs" / system.recipe
    wanted = settings(system, args)
    if (run / "config.json").exists():
        found = read_run(run)
        if found.log and found.log[-1]["step"] >= wanted["train.steps"]:
            return run
    data = pairs_of(args) if system.recipe in FROM_PAIRS else part_of(args.data, args.out / "data", system)
    outcome = train(system.recipe, data, run, preset="small", overrides=wanted, evaluation=None)
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)
    return run


def settings(system: System, args: argparse.Namespace) -> dict[str, Any]:
    """Return what the preset is changed by: the lengths that the budget gives, and nothing measured on the way."""
    made = lengths(system.recipe, args.budget)
    steps = made["train.steps"]
    values = {"seed": args.seed, "evaluate_every": 0, "preview_every": steps}
    values |= {"checkpoint_every": max(1, steps // 10), "log_every": max(1, steps // 20)}
    return made | {f"train.{key}": value for key, value in values.items()} | {"data.size": args.size}


def pairs_of(args: argparse.Namespace) -> Path:
    """Make pairs of line drawings and pictures, once; return their folder."""
    folder = args.out / "data" / "line_drawings"
    if not (folder / "pairs.csv").exists():
        words = [str(args.data), str(folder), "--size", str(args.size)]
        subprocess.run([sys.executable, str(ROOT / "examples" / "line_drawings.py"), *words], check=True)
    return folder


def keep(system: System, run: Run, data: Sequence[str], page: Path) -> None:
    """Put a run's sheet and what it cost beside the page, and write the page anew."""
    if run.config["name"] != system.recipe:
        raise SystemExit(f"the run {run.name} was trained by {run.config['name']}, not by {system.recipe}")
    if not run.previews:
        raise SystemExit(f"the run {run.name} has no preview yet; train it on, by the command that began it")
    folder = page.parent / "images" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    stored = io.BytesIO()
    sheet(run).save(stored, "JPEG", quality=88)
    write_whole(folder / f"{system.recipe}.jpg", stored.getvalue())
    sheets = kept(page) | {system.recipe: {"name": system.name, "data": list(data), **cost(run)}}
    write_json(folder / "sheets.json", {recipe: sheets[recipe] for recipe in rows() if recipe in sheets})
    write_whole(page, text(kept(page), page).encode())


def kept(page: Path) -> dict[str, Any]:
    """Return what is known of the sheets beside a page."""
    file = page.parent / "images" / "gallery" / "sheets.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def cost(run: Run) -> dict[str, Any]:
    """Return the budget of a run at its last preview."""
    step = int(run.previews[-1].file.stem.removeprefix("step_"))
    line = next(line for line in run.log if "images" in line and line["step"] >= step)
    picture = run.model["picture"]
    return {
        "preset": run.config["preset"] or "none",
        "size": [picture["height"], picture["width"]],
        "steps": step,
        "seen": round(line["images"] * step / line["step"]),
        "kind": "clips of speech" if picture["sound"] else "pictures",
    }


def sheet(run: Run) -> Image.Image:
    """Return the top of the last preview, its columns with their titles."""
    preview = run.previews[-1]
    picture = Image.open(preview.file).convert("RGB")
    height, width = (run.model["picture"][side] for side in ("height", "width"))
    used = min(picture.height, ROWS * (height + GAP) - GAP)
    factor = max(1.0, CELL / max(height, width))
    picture = picture.crop((0, 0, picture.width, used))
    picture = picture.resize((round(factor * picture.width), round(factor * used)), Image.Resampling.LANCZOS)
    if not preview.columns:
        return picture
    step = factor * (width + GAP)
    heads = [heading(words, round(step)) for words in preview.columns]
    drawn = Image.new("RGB", (picture.width, picture.height + max(head.height for head in heads)), "white")
    for k, head in enumerate(heads):
        drawn.paste(head, (round(k * step), 0))
    drawn.paste(picture, (0, drawn.height - picture.height))
    return drawn


def text(sheets: Mapping[str, Mapping[str, Any]], page: Path) -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION]
    for recipe, found in sheets.items():
        own = {"wgan_gp": "wgan.md"}.get(recipe, f"{recipe}.md")
        where = f"[`{recipe}`]({own})" if (page.parent / own).exists() else f"`{recipe}`"
        values = found | {"recipe": recipe, "where": where, "data": ", ".join(f"`{name}`" for name in found["data"])}
        parts.append(SECTION.format_map(values | {"high": found["size"][0], "wide": found["size"][1]}))
    if missing := [f"`{recipe}`" for recipe in rows() if recipe not in sheets]:
        parts.append(f"## Still missing\n\n{', '.join(missing)}.\n")
    return "\n".join([*parts, CREDIT])


if __name__ == "__main__":
    main()
