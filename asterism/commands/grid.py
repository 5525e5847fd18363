"""`asterism grid`: every source in every target or style, as one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "draw sources x targets, or sources x styles, as one PNG"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file, hub name, or demo: the bundled model")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="sources, one row each: pictures or folders")
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="TARGET",
        help="targets as for translate, one column each [every single label]",
    )
    parser.add_argument(
        "--like",
        action="append",
        type=Path,
        default=[],
        metavar="PICTURE",
        help="style reference or folder of references, one column each",
    )
    parser.add_argument(
        "--style", action="append", type=int, default=[], metavar="SEED", help="seed of a style, one column each"
    )
    parser.add_argument("--truncation", type=float, default=1.0, metavar="PSI", help="1: the style; 0: the domain's mean style")
    parser.add_argument(
        "--strength",
        action="append",
        type=float,
        default=[],
        metavar="S",
        help="how much of the change, one column each: 0 is none, 1 all of it; Aster, RelGAN",
    )
    parser.add_argument("--side", type=int, default=128, metavar="N", help="side of a cell in pixels [128]")
    parser.add_argument("--labels", metavar="WORDS", help="labels that the sources have: Male,Young=no; others are predicted")
    parser.add_argument(
        "--fit", choices=("letterbox", "crop"), default="letterbox", help="how to fit pictures of other shapes [letterbox]"
    )
    parser.add_argument("--instances", type=Path, metavar="DIR", help="models of label maps with instances: folder of these")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once [16]")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the PNG")
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Draw the grid."""
    from asterism.inference.grid import draw_grid
    from asterism.inference.translator import load

    summary = draw_grid(
        load(args.run, device=args.device, precision=args.precision),
        args.images,
        args.out,
        to=args.to,
        styles=args.style,
        like=args.like,
        truncation=args.truncation,
        strengths=args.strength,
        side=args.side,
        fit=args.fit,
        labels=args.labels,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
        instances=args.instances,
    )
    print(summary)
    return 0
