"""`asterism demo`: train on the bundled sample."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.terminal import on_signal

ABOUT = "train on the bundled sample and write a report"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--out", default="runs/demo", metavar="RUN", help="the run's folder [runs/demo]")


def run(args: argparse.Namespace) -> int:
    """Train on the bundled sample."""
    with on_signal(f"what {args.out} holds is kept: the same command goes on from there"):
        from asterism.demo import demo

        return demo(Path(args.out))
