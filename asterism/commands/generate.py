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
        metavar="CODE",
        help="values of named codes, where a recipe has them: digit=3,tilt=0.5; or instead of seeds a sum of saved codes: "
        "'me - neutral + 0.5*seed3'; repeatable",
    )
    parser.add_argument("--traverse", metavar="NAME", help="every value of this named code; on a sheet a row for each seed")
    parser.add_argument("--codes", type=Path, metavar="FILE", help="file of the codes' names [codes.safetensors of the run]")
    parser.add_argument(
        "--along", action="append", default=[], metavar="NAME=N", help="go along a direction of asterism directions; repeatable"
    )
    parser.add_argument("--truncation", type=float, default=1.0, metavar="PSI", help="1: the latents; 0: the mean one [1]")
    parser.add_argument("--way", type=Path, metavar="FILE", help="the way through the codes: .png, .gif, .mp4 or a folder")
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="of the way, from each code to the next [8]")
    parser.add_argument("--fps", type=float, default=12, metavar="N", help="frames per second of the way [12]")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for one file per picture: seed7.png")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="one PNG with all pictures")
    parser.add_argument("--format", metavar="SUFFIX", help=".png, .jpg, .webp, .tif or .npy [what holds the model's pictures]")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="pictures at once [16]")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Generate pictures from latents."""
    from asterism.inference.decoding import moved, read_along
    from asterism.inference.generated_codes import write_codes_as_pictures, write_way
    from asterism.inference.generated_files import generate_files
    from asterism.inference.generator import chosen_seeds, read_seeds
    from asterism.inference.translator import load

    if args.out is None and args.sheet is None and args.way is None:
        args.parser.error(
            "give an output: --out DIR for one file per picture, --sheet FILE.png for one PNG with all of them, or --way FILE"
        )
    values, sums = [c for c in args.code if "=" in c], [c for c in args.code if "=" not in c]
    if sums and (args.count is not None or args.seeds or values or args.traverse):
        args.parser.error(
            "give a sum of codes (--code 'me - neutral'), which may name seeds (seed7), or seeds and values (--code digit=3)"
        )
    if (sums or args.way) and len(args.to) > 1:
        args.parser.error("codes and ways are of one target: give --to once")
    seeds = chosen_seeds(args.count, read_seeds(args.seeds) if args.seeds else None)
    model, along, to = load(args.run, device=args.device, precision=args.precision), read_along(args.along), (*args.to, None)[0]
    shared = {"batch_size": args.batch_size, "overwrite": args.overwrite}
    files = {"sheet": args.sheet, "format": args.format}
    written = list[Path]()
    if sums or args.way:
        z = model.latents(code=sums, codes_file=args.codes) if sums else model.latents(seeds=seeds)
        z = moved(model, z, along, args.truncation)
    if args.way:
        written += write_way(model, z, args.way, to=to, steps=args.steps, fps=args.fps, **shared).written
        print("the way between latents is spherical: they are drawn from a normal distribution")
    if sums and (args.out or args.sheet):
        written += write_codes_as_pictures(model, sums, z, args.out, to=to, **files, **shared).written
    elif args.out or args.sheet:
        choices = {"codes": values, "traverse": args.traverse, "along": along, "truncation": args.truncation}
        written += generate_files(model, seeds, args.out, to=args.to, **choices, **files, **shared).written
    print(f"files written: {len(written)}")
    return 0
