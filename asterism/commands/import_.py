"""`asterism import`: make a run from published checkpoints."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from asterism.commands.hints import uses

ABOUT = "make a run from published checkpoints"

RETIRED = {"--fan": "it is --keep fan now"}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("recipe", metavar="RECIPE", help="recipe of the checkpoints, which the files do not name")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the checkpoint files, in any order")
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--labels", metavar="WORDS", help="A,B,C or celeba:binary:A,B;rafd:one_of:C,D")
    names.add_argument("--domains", metavar="WORDS", help="A,B,C: a picture belongs to one of them [named by the recipe]")
    parser.add_argument("--image-size", metavar="N", help="picture size in training: 128 or 128x96 [read from the files]")
    parser.add_argument(
        "--keep", action="append", default=[], metavar="NETWORK", help="also import an extra network of the files; repeatable"
    )
    parser.add_argument("--licence", default="", metavar="WORDS", help="licence of the weights, kept in the model file")
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the run's folder, new or empty")


def run(args: argparse.Namespace) -> int:
    """Make a run from published checkpoints."""
    from asterism.config import DataConfig, build
    from asterism.inference.published.importing import import_published
    from asterism.inference.published.layouts import remarks
    from asterism.labels import LabelSpace
    from asterism.recipes.model import load_model

    size = build(DataConfig, {"size": args.image_size}, where="--image-").size if args.image_size else None
    words = f"pictures:one_of:{args.domains}" if args.domains else args.labels
    space = LabelSpace.from_text(words) if words else None
    path = import_published(args.recipe, args.files, space=space, size=size, out=args.out, licence=args.licence, keep=args.keep)
    model = load_model(path)
    spare = [name for name in model.missing if name not in model.recipe.averaged]
    if spare:
        use = "targets must name every label" if model.recipe.abilities.judges else "translation does not need it"
        print(f"not among the files: {', '.join(spare)}; {use}, and training initialises it")
    targets = [name for name in model.space.names if name not in model.unreachable]
    if model.unreachable and not model.recipe.abilities.targets:
        print(
            f"no file holds the network that translates to {', '.join(model.unreachable)}; --to takes only {', '.join(targets)}"
        )
    for remark in remarks(model):
        print(remark)
    print(f"licence of the weights: {model.info['licence']}")
    measure = f"asterism evaluate {shlex.quote(str(args.out))} --data DATA"
    print("\n  ".join([str(path), *uses(model, args.out), measure]))
    return 0
