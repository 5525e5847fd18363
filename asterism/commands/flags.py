"""Flags that several commands share."""

from __future__ import annotations

import argparse

from asterism.config import PRECISIONS
from asterism.terminal import describe_keys


def add_keys(parser: argparse.ArgumentParser, **sections: type) -> None:
    """Let a command take the configuration's dotted keys, those of its recipe and of some `sections`, and say the latter."""
    parser.set_defaults(sections=sections)
    parser.epilog = (
        f"configuration, as --KEY VALUE; asterism list RECIPE shows recipe.* and presets:\n{describe_keys(**sections)}"
    )


def add_machine(parser: argparse.ArgumentParser, precision: str = "auto") -> None:
    """Add the two flags of everything that runs a trained model, and the precision that is taken where none is given."""
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda, or cuda:1 for the second GPU [auto]")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=precision,
        help=f"float32 is exact, auto depends on the device [{precision}]",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flags of what Ray can spread over machines."""
    parser.add_argument("--engine", choices=("here", "ray"), default="here", help="this process, or Ray Data's workers [here]")
    parser.add_argument("--address", help="with --engine ray: auto or HOST:PORT of a cluster [Ray is started on this machine]")
    parser.add_argument("--cores", type=int, metavar="N", help="with --engine ray: of each worker where there is no GPU [1]")


def check_engine(args: argparse.Namespace, *others: str) -> None:
    """End by a usage error where a flag of Ray's stands without it, or makes no sense."""
    for name in ("address", "cores", *others):
        if getattr(args, name) is not None and args.engine != "ray":
            args.parser.error(f"--{name.replace('_', '-')} is for --engine ray")
    if args.cores is not None and args.cores < 1:
        args.parser.error(f"--cores is {args.cores}; expected 1 or more")
