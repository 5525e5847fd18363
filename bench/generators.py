"""Every recipe that generates, on the same pictures: one table, what FID was while they trained, and one sheet of samples.

    python -m bench.generators --data avatars_adventurer --out generators

Each system trains on as many real pictures as the others, by its preset for small machines with its lengths scaled to that,
with one seed. The checkpoint with the best FID of four is measured on the test pictures by features of the data's own
classifier. What was done is kept; the same command goes on.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from asterism.evaluation.evaluate import evaluate
from asterism.inference.grid import heading
from asterism.inference.sheets import row
from asterism.inference.translator import load
from asterism.runs.folder import read_run
from asterism.storage.whole import write_json, write_whole
from asterism.training import train
from bench.budget import lengths
from bench.systems import System, kept

MEASURES = ("fid", "kid", "precision", "recall")
CHECKPOINTS = 4


SYSTEMS = (
    System("DCGAN", "dcgan"),
    System("WGAN", "wgan"),
    System("WGAN-GP", "wgan_gp"),
    System("InfoGAN", "infogan"),
    System("LAPGAN", "lapgan"),
    System("ProGAN", "progan"),
)


def main() -> None:
    """Train and measure what is missing; write the table and the sheet."""
    parser = argparse.ArgumentParser(prog="bench.generators", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of pictures with labels")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, table.md and sheet.png")
    parser.add_argument("--only", action="append", default=[], metavar="SYSTEM", help="a system's name; repeatable [all]")
    parser.add_argument("--seen", type=int, default=96_000, help="real pictures that each system sees [96000]")
    parser.add_argument("--pictures", type=int, default=1000, help="pictures measured [1000]")
    parser.add_argument("--samples", type=int, default=10, help="pictures of each system in the sheet [10]")
    parser.add_argument("--seed", type=int, default=0, help="of every run [0]")
    args = parser.parse_args()
    if unknown := set(args.only) - {system.name for system in SYSTEMS}:
        parser.error(f"no system is called {', '.join(unknown)}; there are {', '.join(s.name for s in SYSTEMS)}")
    for system in SYSTEMS:
        if not args.only or system.name in args.only:
            print(f"\n=== {system.name}", flush=True)
            one(system, args)
    done = {s.name: found for s in SYSTEMS if (found := kept(args.out / s.recipe / "generators.json"))}
    write_whole(args.out / "table.md", table(done).encode())
    sheet([s for s in SYSTEMS if s.name in done], args.out, args.samples)
    print(f"\n{table(done)}\n{args.out / 'sheet.png'}")


def one(system: System, args: argparse.Namespace) -> None:
    """Train and measure a system, as far as that is not done."""
    run = args.out / system.recipe
    if kept(run / "generators.json"):
        return
    outcome = train(system.recipe, args.data, run, preset="small", overrides=settings(system, args))
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)
    records = evaluate(run, protocols=("generation",), parameters={"pictures": args.pictures}, random=True, precision="auto")
    (record,) = records.values()
    log = read_run(run).log
    trained = [line for line in log if "images" in line]
    made: dict[str, Any] = {r["name"]: {name: r["values"].get(name) for name in MEASURES} for r in record["rows"]}
    made |= {"parameters": sum(read_run(run).model["parameters"].values())}
    made |= {"seconds per 1,000 pictures": 1000 * trained[-1]["seconds"] / trained[-1]["images"], "seen": trained[-1]["images"]}
    made |= {"curve": [line["scores"]["fid"] for line in log if "scores" in line]}
    write_json(run / "generators.json", made)


def settings(system: System, args: argparse.Namespace) -> dict[str, Any]:
    """Return what the preset is changed by: the lengths that the budget gives, and what is measured on the way."""
    made = lengths(system.recipe, args.seen, least=CHECKPOINTS)
    every = made["train.steps"] // CHECKPOINTS
    values = {"seed": args.seed, "evaluate_every": every, "preview_every": every, "checkpoint_every": every}
    return made | {f"train.{key}": value for key, value in values.items()}


def table(done: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table in Markdown; its last rows are real held-out pictures, and the first system untrained."""
    sizes = ("million parameters", "seconds per 1,000 pictures")
    heads = ("system", "FID", "KID", "precision", "recall", *sizes, "FID after each quarter")
    lines = [heads, ("---",) * len(heads)]
    for name, found in done.items():
        curve = ", ".join(f"{value:.1f}" for value in found["curve"])
        cost = (f"{found['parameters'] / 1e6:.1f}", f"{found['seconds per 1,000 pictures']:.1f}")
        lines.append((name, *in_words(found["generated"]), *cost, curve))
    for name in ("real held-out pictures", "random weights"):
        values = next(iter(done.values()), {}).get(name)
        if values:
            lines.append((name, *in_words(values), "–", "–", "–"))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def in_words(values: Mapping[str, float | None]) -> list[str]:
    """Write the measures; a dash where there is none."""
    forms = ("{:.1f}", "{:.2f}", "{:.1%}", "{:.1%}")
    return ["–" if values.get(name) is None else form.format(values[name]) for name, form in zip(MEASURES, forms, strict=True)]


def sheet(systems: list[System], out: Path, samples: int) -> None:
    """Draw pictures of the same seeds by each system, a row each."""
    bands = []
    for system in systems:
        model = load(out / system.recipe)
        with torch.inference_mode():
            pictures = [p.convert("RGB") for p in model.generate(seeds=range(samples))]
        side = 2 * pictures[0].width
        cells = [p.resize((side, side), Image.Resampling.NEAREST) for p in pictures]
        bands.append(row([heading(system.name, side), *cells], side))
    stored = io.BytesIO()
    Image.fromarray(np.concatenate(bands)).save(stored, "PNG")
    write_whole(out / "sheet.png", stored.getvalue())


if __name__ == "__main__":
    main()
