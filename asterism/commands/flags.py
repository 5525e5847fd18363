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
