"""`asterism judge`: is it fake?"""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_machine

ABOUT = "score pictures by how real they look to a run's discriminator, and measure what that is worth"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="the run's folder, whose checkpoints hold the discriminator")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="pictures or folders; none: only measure")
    parser.add_argument("--train", action="store_true", help="also train a small detector on the run's fakes, and ask it")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        type=Path,
        metavar="RUN2",
        help="also measure on the fakes of another run; may be given again",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="what was found: .json, or .csv with a line per picture")
    parser.add_argument("--count", type=int, default=500, metavar="N", help="held-out pictures to measure on; 0: all [500]")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures at once [32]")
    parser.add_argument("--data", action="append", metavar="DATA", help="present location of the data, if it changed")
    add_machine(parser, precision="float32")


def run(args: argparse.Namespace) -> int:
    """Judge pictures."""
    from asterism.evaluation.forensics import judge, write_scores
    from asterism.evaluation.table import show_judged

    if args.out and args.out.suffix not in (".json", ".csv"):
        args.parser.error(f"--out {args.out}: expected a name that ends in .json or .csv")
    said = judge(
        args.run,
        args.pictures,
        train=args.train,
        against=args.against,
        count=args.count,
        batch=args.batch_size,
        data=args.data,
        device=args.device,
        precision=args.precision,
    )
    show_judged(said)
    if args.out:
        write_scores(args.out, said)
    return 1 if args.pictures and not said["pictures"] else 0
