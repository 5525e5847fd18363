"""`asterism generate`: generate pictures from latents."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "generate pictures from noise, for recipes that can"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file or hub name")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--count", type=int, metavar="N", help="number of pictures, with seeds 0, 1, ... [16]")
    which.add_argument(
        "--seeds", metavar="SEEDS", help="seeds of the pictures: 7, 1,5,9 or 0..31; a seed always gives the same picture"
    )
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="TARGET",
        help="target for recipes that are told labels: Blond_Hair; repeatable",
    )
    parser.add_argument(
        "--code",
        action="append",
        default=[],
        metavar="CODES",
        help="values of codes, for recipes that have them: digit=3,tilt=0.5; repeatable",
    )
    parser.add_argument("--traverse", metavar="CODE", help="every value of this code; on a sheet a row for each seed")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for one file per picture: seed7.png")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="one PNG with all pictures")
    parser.add_argument("--format", metavar="SUFFIX", help=".png, .jpg, .webp, .tif or .npy [what holds the model's pictures]")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once [16]")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Generate pictures from latents."""
    from asterism.inference.generated_files import generate_files
    from asterism.inference.generator import chosen_seeds, read_seeds
    from asterism.inference.translator import load

    if args.out is None and args.sheet is None:
        args.parser.error(
            "give an output: --out DIR for one file per picture, or --sheet FILE.png for one PNG with all of them"
        )
    seeds = chosen_seeds(args.count, read_seeds(args.seeds) if args.seeds else None)
    summary = generate_files(
        load(args.run, device=args.device, precision=args.precision),
        seeds,
        args.out,
        to=args.to,
        codes=args.code,
        traverse=args.traverse,
        sheet=args.sheet,
        format=args.format,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
    )
    print(f"files written: {len(summary.written)}")
    return 0
