"""`asterism report`: write report.html."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "write report.html of one run, or of several side by side"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the runs' folders")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page [report.html in the run, or beside the runs]")


def run(args: argparse.Namespace) -> int:
    """Write a report."""
    from asterism.report import write_report

    print(write_report(args.runs, args.out))
    return 0
