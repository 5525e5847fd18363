"""`asterism evaluate`: measure a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from asterism.commands.flags import add_engine, add_machine, check_engine
from asterism.signals import on_signal

ABOUT = "measure a run on held-out pictures"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="NAME",
        help="stargan, stargan_v2, truth, pairs, repeated, voice, generation or quick; may be given again [by recipe and data]",
    )
    parser.add_argument("--split", choices=("val", "test"), default="test", help="which pictures [test]")
    parser.add_argument(
        "--checkpoint",
        default="model",
        metavar="WHICH",
        help="model, best, last, all or a step [model: the best, else the last]",
    )
    parser.add_argument(
        "--extractor",
        default="classifier",
        metavar="NAME",
        help="network whose features are compared: classifier, inception, FILE.pt2 or module:Class [classifier]",
    )
    parser.add_argument("--pictures", type=int, metavar="N", help="source pictures, drawn once; 0 takes all [the protocol's]")
    parser.add_argument("--outputs", type=int, metavar="K", help="styled translations of each picture [the protocol's]")
    parser.add_argument(
        "--passes",
        type=_counts,
        metavar="N,N,...",
        help="protocol repeated: after how many passes there and back it measures, 1 to 100 [1,2,5,10,20,50,100]",
    )
    parser.add_argument("--random", action="store_true", help="also measure the untrained generator")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="outputs at once [32]")
    parser.add_argument("--data", action="append", metavar="DATA", help="present location of the data, if it changed")
    add_machine(parser, precision="float32")  # So that numbers compare over machines.
    add_engine(parser)


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers such as 1,10,100") from None


def run(args: argparse.Namespace) -> int:
    """Measure a run."""
    check_engine(args)
    given = {"pictures": args.pictures, "outputs": args.outputs, "passes": args.passes}
    options: dict[str, Any] = {
        "protocols": args.protocol,
        "split": args.split,
        "checkpoint": args.checkpoint,
        "features": args.extractor,
        "parameters": {name: value for name, value in given.items() if value is not None},
        "random": args.random,
        "batch": args.batch_size,
        "data": args.data,
        "device": args.device,
        "precision": args.precision,
    }
    with on_signal("interrupted before the first measurement; scores are unchanged: run the same command again"):
        if args.engine == "ray":
            from asterism.batch.evaluate import evaluate_on_ray

            evaluate_on_ray(Path(args.run), address=args.address, cores=args.cores or 1, **options)
        else:
            from asterism.evaluation.evaluate import evaluate

            evaluate(Path(args.run), **options)
    return 0
