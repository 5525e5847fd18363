"""`asterism list`: recipes, presets and keys."""

from __future__ import annotations

import argparse
import textwrap

from asterism.terminal import describe_keys, width

ABOUT = "list recipes, or one recipe's presets and keys"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="the one to describe")


def run(args: argparse.Namespace) -> int:
    """List recipes, or describe one."""
    from asterism.recipes import RECIPES, recipe_class

    if args.recipe is None:
        for name in RECIPES:
            recipe = recipe_class(name)
            print(f"{name:14} {recipe.__doc__.strip().splitlines()[0]}\n{'':14} presets: {', '.join(recipe.presets)}")
        return 0
    recipe = recipe_class(args.recipe)
    print(f"{recipe.__doc__.strip()}\n\npresets:")
    for preset, sections in recipe.presets.items():
        values = " ".join(f"--{section}.{key} {value}" for section, v in sections.items() for key, value in v.items())
        print(
            textwrap.fill(values, width(), initial_indent=f"  {preset:14} ", subsequent_indent=" " * 17, break_on_hyphens=False)
        )
    print(f"\nkeys:\n{describe_keys(recipe=recipe.config_type)}")
    return 0
