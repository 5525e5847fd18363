"""`asterism pack`: decode, crop and resize pictures once, or write their files into shards."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from asterism.commands.flags import add_keys
from asterism.config import ConfigError, DataConfig
from asterism.terminal import counting
from asterism.wording import byte_size

ABOUT = "decode, crop and resize pictures once, for faster training, or write their files into shards"

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="folder or table; several make one pack each, to be joined")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", metavar="PACK", help="the pack's folder; for several DATA a folder of packs")
    target.add_argument("--shards", metavar="DIR", help="write the files, as they are, into WebDataset shards instead")
    parser.add_argument("--per-shard", default="1GB", metavar="SIZE", help="bytes of a shard: 100MB, 1GB [1GB]")
    parser.add_argument(
        "--recipe", default="stargan", help="recipe, a name or file, whose preset gives the data.* keys [stargan]"
    )
    parser.add_argument("--preset", help="named settings of the recipe")
    add_keys(parser, data=DataConfig)


def run(args: argparse.Namespace) -> int:
    """Write packs or shards."""
    from asterism.data.pack import Pack
    from asterism.packing import pack
    from asterism.packing.shards import write_shards
    from asterism.recipes.settings import Settings

    for key in args.overrides:
        if not key.startswith("data."):
            raise ConfigError(f"{key} does not apply to packing; pack takes data.* keys")
    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    with counting("packing") as progress:
        if args.shards:
            packs = write_shards(settings.data, Path(args.shards), _bytes(args.per_shard), progress, print)
        else:
            packs = pack(settings.data, Path(args.out), progress, print)
    for folder, size, broken in packs:
        for reason in broken:
            print(f"cannot be {'read' if args.shards else 'decoded'}: {reason}")
        print(f"{folder}: {byte_size(size)}")
    if args.shards:
        print(f"train with --data {args.shards}")
        return 0
    held, (height, width) = Pack.open(packs[0][0]), settings.data.size
    keys = f"--data.size {held.size[0] if held.sound else height}x{width}" + (f" --data.crop {held.crop}" if held.crop else "")
    print("train with " + " ".join(f"--data {folder}" for folder, _, _ in packs) + " " + keys)
    return 0


def _bytes(words: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", words.strip().upper())
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"--per-shard {words}: expected a size such as 100MB or 1GB")
    return int(float(found[1]) * UNITS[found[2]])
