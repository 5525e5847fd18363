"""`asterism evaluate`: measure a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "measure a run on held-out pictures"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="which pictures [test]")
    parser.add_argument("--data", action="append", metavar="DATA", help="where the data are now, if not where they were")
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Measure a run."""
    from asterism.evaluation import evaluate

    evaluate(Path(args.run), split=args.split, data=args.data, device=args.device, precision=args.precision)
    return 0
