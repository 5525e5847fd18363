"""`asterism export`: write a model in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "write a model in another format"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name")
    parser.add_argument("--format", choices=("published",), required=True, help="checkpoints that the published code reads")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the files")


def run(args: argparse.Namespace) -> int:
    """Write published checkpoints."""
    from asterism.inference.published import export_published
    from asterism.model_file import find_model, load_model

    for path in export_published(load_model(find_model(args.run)), args.out):
        print(path)
    return 0
