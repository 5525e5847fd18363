"""How the command line looks and speaks: help, configuration keys, errors, bars."""

from __future__ import annotations

import argparse
import codecs
import errno
import io
import os
import shutil
import sys
import textwrap
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from asterism.config import fields_of
from asterism.console import make_console
from asterism.errors import AsterismError, ran_out

LINE_SECONDS = 30
"""Between lines that say how far a job is, where there is no terminal."""


class Help(argparse.RawDescriptionHelpFormatter):
    """Help with room for the names; the lines of keys stay as they were wrapped."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=width())


DRAWN = dict(zip("━─·×…–—’“”✓", ("-", "-", ".", "x", "...", "-", "-", "'", '"', '"', "+"), strict=True))
"""What stands for drawn characters on streams that do not know them."""


def encode_all(*streams: TextIO) -> None:
    """Let streams write every character: one that their encoding lacks becomes a similar one, or its number.

    Each line is written when it ends, so that in a file, too, what was said stands there when a signal ends the process.
    """

    def write(error: UnicodeError) -> tuple[str | bytes, int]:
        assert isinstance(error, UnicodeEncodeError)
        lacking = error.object[error.start : error.end]
        words = "".join(DRAWN.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking)
        return words, error.end

    codecs.register_error("asterism", write)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="asterism", line_buffering=True)


def width() -> int:
    """Return the columns that help is wrapped to."""
    return min(shutil.get_terminal_size().columns - 2, 118)


def describe_keys(**sections: type) -> str:
    """Say every key of some sections of the configuration: name, help, choices, [default unit]."""
    lines = []
    for section, cls in sections.items():
        hints = typing.get_type_hints(cls)
        for name, declared in fields_of(cls).items():
            if name == "sources":  # Given by --data, not by its key.
                continue
            told = declared.metadata  # Nothing of a field that was declared without `option`.
            words = [told.get("help", ""), _default(declared.default, told.get("unit", ""))]
            if typing.get_origin(hints[name]) is typing.Literal:
                words.insert(1, f"One of {', '.join(typing.get_args(hints[name]))}.")
            head = f"  {f'{section}.{name}':30} "
            lines.append(
                textwrap.fill(
                    " ".join(words).strip(), width(), initial_indent=head, subsequent_indent=" " * 33, break_on_hyphens=False
                )
            )
    return "\n".join(lines)


def _default(value: Any, unit: str) -> str:
    """Say a default: [128x128 pixels], [yes], [none]."""
    if value is None or value == "":
        return "[none]"
    if isinstance(value, bool):
        return "[yes]" if value else "[no]"
    text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"[{text} {unit}]" if unit else f"[{text}]"


def in_words(error: Exception) -> str | None:
    """Return the sentence for an error that the user can mend: ours, a file's, a full disk or memory; None for a bug."""
    if isinstance(error, AsterismError):
        return str(error)
    if ran_out(error):
        return f"out of memory ({error}): give a smaller --batch-size (in training --train.accumulate 2), or free memory"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError) and error.strerror is not None and (full or error.filename is not None):
        where = f"{error.filename}: " if error.filename is not None else ""
        remedy = "; free some space, then run the same command again" if full else ""
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            unread = isinstance(error.filename, (str, bytes)) and os.path.exists(error.filename)
            unread = unread and not os.access(error.filename, os.R_OK)
            remedy = "; give yourself the right to read it" if unread else "; results go to another folder by --out"
        return where + error.strerror + remedy
    return None


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; elsewhere a line every LINE_SECONDS. Yields what is to be told (done, in all)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, last = make_console(stderr=True), time.monotonic()
    if not console.is_terminal:

        def tell(done: int, total: int) -> None:
            nonlocal last
            if done < total and time.monotonic() - last >= LINE_SECONDS:
                last = time.monotonic()
                print(f"{text}: {done:,} of {total:,}", file=sys.stderr, flush=True)

        yield tell
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
