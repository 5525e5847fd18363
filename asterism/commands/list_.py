"""`asterism list`: recipes, presets and keys."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

from asterism.config import ConfigError
from asterism.terminal import describe_keys, width

ABOUT = "list recipes, or one recipe's presets and keys"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="recipe to describe: a name, or the path of its file")


def run(args: argparse.Namespace) -> int:
    """List recipes, or describe one."""
    from asterism.recipes import known_as, names, recipe_class

    if args.recipe is None:
        for name in names():
            print(f"{name:14} " + f"\n{'':15}".join(_told(name)))
        return 0
    recipe = recipe_class(known_as(args.recipe))
    print(f"{_about(recipe)}\n\npresets:")
    for preset, sections in recipe.presets.items():
        values = " ".join(f"--{section}.{key} {_word(value)}" for section, v in sections.items() for key, value in v.items())
        print(
            textwrap.fill(values, width(), initial_indent=f"  {preset:14} ", subsequent_indent=" " * 17, break_on_hyphens=False)
        )
    print(f"\nkeys:\n{describe_keys(recipe=recipe.config_type)}")
    return 0


def _word(value: object) -> str:
    """Return a value as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _told(name: str) -> Iterator[str]:
    """Yield a line each: what a recipe is, its presets, and of one from outside asterism where it comes from."""
    from asterism.recipes import origin, recipe_class

    try:
        recipe = recipe_class(name)
    except ConfigError as error:  # A package or a file that is broken keeps nobody from the others.
        yield str(error)
        return
    yield _about(recipe).partition("\n")[0]
    yield f"presets: {', '.join(recipe.presets) or 'none'}"
    if where := origin(name):
        yield f"from {where}"


def _about(recipe: Any) -> str:
    """Return what a recipe's class says of itself."""
    return (recipe.__doc__ or recipe.__name__).strip()
