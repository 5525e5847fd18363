"""`asterism pack`: decode, crop and resize pictures once."""

from __future__ import annotations

import argparse
from pathlib import Path

from asterism.commands.flags import add_keys
from asterism.config import ConfigError, DataConfig
from asterism.terminal import counting
from asterism.wording import byte_size

ABOUT = "decode, crop and resize pictures once, for faster training"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="folder or table; several make one pack each, to be joined")
    parser.add_argument("--out", required=True, metavar="PACK", help="the pack's folder; for several DATA a folder of packs")
    parser.add_argument(
        "--recipe", default="stargan", help="recipe, a name or file, whose preset gives the data.* keys [stargan]"
    )
    parser.add_argument("--preset", help="named settings of the recipe")
    add_keys(parser, data=DataConfig)


def run(args: argparse.Namespace) -> int:
    """Write packs."""
    from asterism.data.pack import Pack
    from asterism.packing import pack
    from asterism.recipes.settings import Settings

    for key in args.overrides:
        if not key.startswith("data."):
            raise ConfigError(f"{key} does not apply to packing; pack takes data.* keys")
    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    with counting("packing pictures") as progress:
        packs = pack(settings.data, Path(args.out), progress, print)
    for folder, size, broken in packs:
        for reason in broken:
            print(f"cannot be decoded: {reason}")
        print(f"{folder}: {byte_size(size)}")
    held, (height, width) = Pack.open(packs[0][0]), settings.data.size
    keys = f"--data.size {held.size[0] if held.sound else height}x{width}" + (f" --data.crop {held.crop}" if held.crop else "")
    print("train with " + " ".join(f"--data {folder}" for folder, _, _ in packs) + " " + keys)
    return 0
