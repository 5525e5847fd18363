"""Does speed cost quality? The same seeds and steps by the fast path and by plain float32, measured on held-out pictures.

    python -m bench.quality --data avatars --out quality

Trains the small StarGAN for three seeds as the machine chooses and with `--train.precision float32 --train.compile off`, and
compares the means: of attribute accuracy (the share of translations in which the classifier finds the wanted label) and of the
truth error ratio (squared error to the true picture of the edit, relative to that of the input). One classifier judges
all six runs. What was done is kept; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asterism.evaluation.evaluate import evaluate
from asterism.storage.whole import write_json
from asterism.training import train

PLAIN = {"train.precision": "float32", "train.compile": "off"}
PATHS: dict[str, dict[str, str]] = {"fast": {}, "plain": PLAIN}
MAX_ACCURACY = 0.02
MAX_RATIO = 0.05
"""What the means over seeds may differ by."""


def main() -> int:
    """Train, measure, compare; exit status 1 where the means differ by more than they may."""
    parser = argparse.ArgumentParser(prog="bench.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder or table with true pictures of edits, such as drawn avatars")
    parser.add_argument("--out", type=Path, required=True, help="folder for the six runs; the same command goes on there")
    parser.add_argument("--size", type=int, default=32, help="side of the pictures [32]")
    parser.add_argument("--steps", type=int, default=800, help="training steps of each run [800]")
    parser.add_argument("--pictures", type=int, default=200, help="test pictures measured, in every target [200]")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... [3]")
    args = parser.parse_args()
    began = time.perf_counter()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PATHS}
    for seed in range(args.seeds):
        for name, overrides in PATHS.items():
            run = args.out / f"{name}_{seed}"
            values = one(run, args.data, settings(args.size, args.steps, seed) | overrides, args.pictures)
            found[name].append(values)
            print(f"{name}, seed {seed}: {in_words(values)} ({(time.perf_counter() - began) / 60:.1f} minutes)", flush=True)
    result = compare(found)
    for name, values in result["means"].items():
        print(f"{name}, mean of {args.seeds} seeds: {in_words(values)}")
    accuracy, ratio = result["differences"]["accuracy"], result["differences"]["ratio"]
    print(
        f"differences of the means: accuracy {100 * accuracy:.2f} points (at most {100 * MAX_ACCURACY:.0f}), "
        f"error ratio {ratio:.3f} (at most {MAX_RATIO}): {'passed' if result['passed'] else 'FAILED'}"
    )
    write_json(args.out / "quality.json", result | {"runs": found, "size": args.size, "steps": args.steps})
    return 0 if result["passed"] else 1


def settings(size: int, steps: int, seed: int) -> dict[str, Any]:
    """Return the small preset's settings for so few steps."""
    values = {"steps": steps, "decay_steps": steps // 2, "ema_kimg": 1, "seed": seed, "log_every": 50}
    values |= {"preview_every": steps, "checkpoint_every": max(1, steps // 4), "evaluate_every": 0}
    return {f"train.{key}": value for key, value in values.items()} | {"data.size": size}


def one(run: Path, data: str, overrides: Mapping[str, Any], pictures: int) -> dict[str, float]:
    """Train and measure one run on some test pictures; return its values."""
    kept = run / "quality.json"
    if not kept.exists():
        outcome = train("stargan", data, run, preset="small", overrides=overrides)
        if outcome.signal is not None:
            raise KeyboardInterrupt
        precision = str(overrides.get("train.precision", "auto"))
        records = evaluate(run, protocols=("stargan", "truth"), parameters={"pictures": pictures}, precision=precision)
        values: dict[str, float] = {}
        for record in records.values():
            values |= next(row["values"] for row in record["rows"] if row["name"] == "translated, all targets")
        write_json(kept, {"accuracy": values["reached"], "ratio": values["error ratio"], "preserved": values["preserved"]})
    return json.loads(kept.read_text(encoding="utf-8"))


def compare(found: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return each path's means, how far they are apart, and whether that is within what is allowed."""
    means = {name: {key: statistics.mean(v[key] for v in runs) for key in runs[0]} for name, runs in found.items()}
    differences = {key: abs(means["fast"][key] - means["plain"][key]) for key in means["fast"]}
    passed = differences["accuracy"] < MAX_ACCURACY and differences["ratio"] < MAX_RATIO
    return {"means": means, "differences": differences, "passed": passed}


def in_words(values: Mapping[str, float]) -> str:
    """Say the scores of a run."""
    return (
        f"attribute accuracy {values['accuracy']:.1%}, error ratio {values['ratio']:.3f}, others kept {values['preserved']:.1%}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
