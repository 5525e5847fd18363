"""`asterism interpolate`: translate pictures in styles between given styles, or as a table says frame by frame."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "translate pictures in styles between given styles, or to a film's numbers"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures or folders")
    parser.add_argument("--to", metavar="TARGET", help="the target, as for translate")
    parser.add_argument(
        "--table", type=Path, metavar="CSV", help="instead of --to and styles: the labels and numbers of a frame in each row"
    )
    parser.add_argument(
        "--style",
        dest="styles",
        action="append",
        type=int,
        default=[],
        metavar="SEED",
        help="a style by its seed; repeatable, in order",
    )
    parser.add_argument(
        "--like",
        dest="styles",
        action="append",
        type=Path,
        metavar="PICTURE",
        help="a style by a reference picture; repeatable, in order",
    )
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="steps from each style to the next [8]")
    parser.add_argument(
        "--format", choices=("strip", "gif", "mp4", "frames"), default="strip", help="PNG row, GIF, video or a folder [strip]"
    )
    parser.add_argument("--side", type=int, metavar="N", help="longest side drawn, in pixels [the picture's own; strip: 256]")
    parser.add_argument("--fps", type=float, default=12, metavar="N", help="frames per second of gif and mp4 [12]")
    parser.add_argument(
        "--truncation", type=float, default=1.0, metavar="PSI", help="1: the styles; 0: the domain's mean style"
    )
    parser.add_argument("--strength", type=float, default=1.0, help="1: the styles; 0: the source's own, a reconstruction")
    parser.add_argument("--from", dest="source", metavar="DOMAIN", help="with --strength: domain of the source")
    parser.add_argument("--labels", metavar="WORDS", help="labels that the sources have: Male,Young=no; others are predicted")
    parser.add_argument(
        "--fit", choices=("letterbox", "crop"), default="letterbox", help="how to fit pictures of other shapes [letterbox]"
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once [16]")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Translate pictures along a line of styles."""
    from asterism.inference import told_by_table
    from asterism.inference.interpolation import film_files, interpolate_files
    from asterism.inference.translator import load

    if bool(args.to) == bool(args.table) or (args.table and args.styles):
        args.parser.error("give --to TARGET with two or more styles, or --table CSV without")
    translator = load(args.run, device=args.device, precision=args.precision)
    drawing = {"kind": args.format, "side": args.side, "fps": args.fps, "fit": args.fit, "labels": args.labels}
    drawing |= {"batch_size": args.batch_size, "overwrite": args.overwrite}
    if args.table:
        frames = told_by_table.frames(translator, args.table)
        summary = film_files(translator, args.images, frames, args.table.stem, args.out, **drawing)
        print(summary)
        return 0 if summary.written else 1
    shared = {"truncation": args.truncation, "strength": args.strength, "source": args.source, "fit": args.fit}
    looks = [
        translator.style(**({"seed": given} if isinstance(given, int) else {"like": given}), **shared) for given in args.styles
    ]
    summary = interpolate_files(
        translator,
        args.images,
        args.to,
        [look for look in looks if look],
        args.out,
        steps=args.steps,
        **drawing,
    )
    print(summary)
    return 0 if summary.written else 1
