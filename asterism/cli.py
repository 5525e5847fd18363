"""The command line: finds the command, reads the dotted keys, and turns errors into sentences and exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from asterism import __version__
from asterism.commands import COMMANDS, COMPUTING
from asterism.config import ConfigError, closest, fields_of
from asterism.recipes import VARIABLE, add, files_outside, known_as, recipe_class
from asterism.terminal import Help, encode_all, in_words
from asterism.threads import settle

BUG = (
    f"this is a bug in asterism {__version__}, not a mistake of yours: please report the lines above, and the command, to the "
    "project's issue tracker"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0 done, 1 refused or failed, 2 misspelt, 128 + n stopped by signal n."""
    encode_all(sys.stdout, sys.stderr)
    args = parse(sys.argv[1:] if argv is None else argv)
    if args.command is None:
        args.parser.print_help()
        return 2
    try:
        if args.name in COMPUTING and (said := settle()):
            print(said, file=sys.stderr)
        for path in args.recipe_files:
            add(path)
        return int(args.command(args) or 0)
    except BrokenPipeError:  # Whoever read the output has enough of it, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        said = in_words(error)
        if said is None:
            traceback.print_exc()
        elif args.traceback:
            raise
        print(f"asterism: {said or _whose(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(f"asterism: stopped{f'. {stopped}' if str(stopped) else ''}", file=sys.stderr)
        return 128 + getattr(stopped, "number", signal.SIGINT)


def _whose(bug: Exception) -> str:
    """Say whose bug it is: that of a recipe from outside asterism if it came up in one."""
    files = files_outside()
    frames = reversed(traceback.extract_tb(bug.__traceback__))
    where = next((f"{frame.filename}, line {frame.lineno}" for frame in frames if frame.filename in files), None)
    return f"this came up in a recipe that is not asterism's own: {where}" if where else BUG


def build_parser() -> argparse.ArgumentParser:
    """Declare the commands and their flags; everything else is a dotted key of the configuration."""
    parser = argparse.ArgumentParser(
        prog="asterism", description="Train one model to translate images between many domains.", formatter_class=Help
    )
    parser.add_argument("--version", action="version", version=f"asterism {__version__}")
    parser.set_defaults(command=None, parser=parser, sections={})
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, module in COMMANDS.items():
        about = module.ABOUT[0].upper() + module.ABOUT[1:] + "."
        command = commands.add_parser(name, help=module.ABOUT, description=about, allow_abbrev=False, formatter_class=Help)
        command.add_argument("--traceback", action="store_true", help="show where an error was raised")
        facts: dict[str, Any] = {"name": name, "sections": {}, "recipe_files": [], "retired": getattr(module, "RETIRED", {})}
        command.set_defaults(command=module.run, parser=command, **facts)
        module.add(command)
        if {"run", "runs"} & {action.dest for action in command._actions}:
            words = f"file of a recipe from outside asterism, which is run; ${VARIABLE} holds several"
            command.add_argument("--recipe", dest="recipe_files", action="append", default=[], metavar="PATH", help=words)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command's words: its flags and, as `overrides`, the dotted keys; anything else ends with a usage error.

    Keys, `--a.b value` or `--a.b=value`, may stand anywhere. They are taken out first, since argparse, which does not know
    them, would take a value for one of the command's own words.
    """
    words, keys, ahead = list[str](), list[tuple[str, str | None]](), list(argv)
    while ahead:
        word = ahead.pop(0)
        key, given, value = word.partition("=")
        if word == "--":  # What follows it are no flags.
            words += [word, *ahead]
            break
        if not word.startswith("--") or "." not in key:
            words.append(word)
        elif given:
            keys.append((key, value))
        else:
            keys.append((key, ahead.pop(0) if ahead and not ahead[0].startswith("--") else None))
    args, unknown = build_parser().parse_known_args(words)
    for word in [*unknown, *(key for key, _ in keys if not args.sections)]:
        key = word.partition("=")[0]
        args.parser.error(f"unrecognized argument {word}" + (f": {_meant(key, args)}" if word.startswith("-") else ""))
    for key, text in keys:
        if text is None:
            args.parser.error(f"{key} needs a value")
    args.overrides = {key[2:]: text for key, text in keys}
    return args


def _meant(word: str, args: argparse.Namespace) -> str:
    """Say which flag or key is meant by `--word`: what took the place of a former one, one of that name, or one like it."""
    if word in args.retired:
        return str(args.retired[word])
    flags = [f for a in args.parser._actions if a.dest not in ("help", "traceback") for f in a.option_strings]
    sections = dict(args.sections)
    if sections:
        with contextlib.suppress(ConfigError):
            sections["recipe"] = recipe_class(known_as(args.recipe)).config_type
    keys = [f"--{section}.{name}" for section, config in sections.items() for name in fields_of(config) if name != "sources"]
    name = word.lstrip("-").replace("-", "_")
    same = [key for key in keys if key.endswith(f".{name}")] or [key for key in keys if key.endswith(f"_{name}")]
    return f"did you mean {' or '.join(same)}?" if same else closest(word, flags + keys)


if __name__ == "__main__":
    raise SystemExit(main())
