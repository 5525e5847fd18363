"""`asterism import`: make a run from published checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path

ABOUT = "make a run from published checkpoints"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("recipe", metavar="RECIPE", help="whose checkpoints they are; the files do not tell")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the checkpoint files, in any order")
    parser.add_argument("--labels", required=True, metavar="WORDS", help="A,B,C or celeba:binary:A,B;rafd:one_of:C,D")
    parser.add_argument("--image-size", required=True, metavar="N", help="pixels in training: 128 or 128x96")
    parser.add_argument("--licence", default="", metavar="WORDS", help="licence of the weights, kept in the model file")
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the run's folder, new or empty")


def run(args: argparse.Namespace) -> int:
    """Make a run from published checkpoints."""
    from asterism.config import DataConfig, build
    from asterism.inference.import_ import import_published
    from asterism.labels import LabelSpace

    size = build(DataConfig, {"size": args.image_size}, where="--image-").size
    space = LabelSpace.from_text(args.labels)
    path = import_published(args.recipe, args.files, space=space, size=size, out=args.out, licence=args.licence)
    print(f"{path}\n  asterism translate {args.out} PICTURE --to {space.names[0]} --out DIR")
    return 0
