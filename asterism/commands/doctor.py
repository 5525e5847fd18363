"""`asterism doctor`: examine data."""

from __future__ import annotations

import argparse
import json

from asterism.commands.flags import add_keys
from asterism.config import DataConfig, TrainConfig
from asterism.terminal import counting

ABOUT = "examine data before training; exit status 0 if training would start"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="folder or table; several are joined")
    parser.add_argument("--recipe", default="stargan", help="recipe for the estimate of time and memory [stargan]")
    parser.add_argument("--preset", help="named settings of the recipe")
    parser.add_argument("--json", action="store_true", help="print JSON, in which every file is named")
    add_keys(parser, data=DataConfig, train=TrainConfig)


def run(args: argparse.Namespace) -> int:
    """Examine data."""
    from asterism.data.dataset import open_data
    from asterism.data.doctor import describe, examine
    from asterism.engine.estimate import expected_cost
    from asterism.recipes.settings import Settings

    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    with counting("examining pictures") as progress:
        diagnosis = examine(settings.data, progress)
    lines: list[str] = []
    cost = None
    if diagnosis.ok:
        try:
            lines, cost = expected_cost(settings, open_data(settings.data))
        except ValueError as error:  # The networks cannot take these pictures: as fatal as broken data.
            diagnosis.problems.append(str(error))
    if args.json:
        print(json.dumps(diagnosis.to_json() | {"estimate": cost}, indent=2))
    else:
        describe(diagnosis, estimate=lines)
    return 0 if diagnosis.ok else 1
