"""`asterism train`: train or resume a recipe."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asterism.commands.flags import add_keys
from asterism.commands.hints import uses
from asterism.config import DataConfig, TrainConfig
from asterism.signals import on_signal

if TYPE_CHECKING:
    from asterism.recipes.settings import Settings

ABOUT = "train a recipe; the same command again resumes"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("recipe", metavar="RECIPE", help="a name from asterism list, or your own file, ./my_recipe.py")
    parser.add_argument(
        "--data", action="append", metavar="DATA", help="folder or table; repeat to join datasets [with --model: that run's]"
    )
    parser.add_argument("--out", required=True, metavar="RUN", help="the run's folder")
    parser.add_argument("--preset", help="named settings of the recipe")
    parser.add_argument("--init", metavar="MODEL", help="run or model file whose weights a new run starts from")
    parser.add_argument("--model", metavar="RUN", help="run that a projector is trained for; same as --recipe.model")
    parser.add_argument("--device", help="same as --train.device")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print settings and cost, write nothing")
    add_keys(parser, data=DataConfig, train=TrainConfig)


def run(args: argparse.Namespace) -> int:
    """Train or resume."""
    from asterism.display import Display
    from asterism.engine.run import run
    from asterism.evaluation.training import quick_evaluation
    from asterism.recipes.model import load_model
    from asterism.recipes.settings import Settings
    from asterism.storage.model_file import find_model

    if args.device:
        args.overrides["train.device"] = args.device
    if args.model:
        args.overrides["recipe.model"] = args.model
    elif not args.data:
        args.parser.error("the following arguments are required: --data")
    settings, out = Settings.resolve(args.recipe, args.data or (), args.preset, args.overrides), Path(args.out)
    if not args.data:  # What the model was trained on, as it saw them.
        settings = replace(settings, data=Settings.of_run(Path(args.model)).data)
    if args.dry_run:
        return rehearse(settings, out, args.init)
    with on_signal("the run is kept up to its last checkpoint; run the same command to resume"):
        outcome = run(settings, out, args.init, evaluation=quick_evaluation, listener=Display())
    if not outcome.first:
        return 128 + outcome.signal if outcome.signal else 0
    if outcome.signal is not None:
        print(f"saved at step {outcome.step}; the same command resumes")
        return 128 + outcome.signal
    looks = [f"asterism {command} {shlex.quote(str(out))}" for command in ("evaluate", "report")]
    print("\n  ".join([f"done: {out}", *uses(load_model(find_model(out)), out), *looks]))
    return 0


def rehearse(settings: Settings, out: Path, init: str | None) -> int:
    """Check all that training would check, and print settings and cost; nothing is written."""
    from asterism.commands.doctor import expected_cost
    from asterism.display import Display
    from asterism.engine.distributed import Processes
    from asterism.engine.listener import Silent
    from asterism.engine.run import make_trainer, prepare, refuse_changes
    from asterism.machine import Machine

    refuse_changes(settings, out, init)
    machine = Machine.choose(settings.train.device, settings.train.precision)
    with Display().waiting("reading the headers of the pictures"):
        prepared = prepare(settings, out, init, Silent(), Processes())
    make_trainer(prepared, machine, Processes(), Silent())
    lines, _ = expected_cost(settings, prepared.datasets)
    print(json.dumps(settings.to_json(), indent=2))
    print("\n".join(lines))
    return 0
