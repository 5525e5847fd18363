"""How the command line looks and speaks: help, configuration keys, errors, signs of life, and its end by a signal."""

from __future__ import annotations

import argparse
import errno
import shutil
import signal
import sys
import textwrap
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from asterism.config import fields_of

LINE_SECONDS = 30
"""Between lines that say how far a job is, where there is no terminal."""


class Help(argparse.RawDescriptionHelpFormatter):
    """Help with room for the names; the lines of keys stay as they were wrapped."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=width())


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
            words = [declared.metadata["help"], _default(declared.default, declared.metadata["unit"])]
            if typing.get_origin(hints[name]) is typing.Literal:
                words.insert(1, f"One of {', '.join(typing.get_args(hints[name]))}.")
            head = f"  {f'{section}.{name}':30} "
            lines.append(
                textwrap.fill(" ".join(words), width(), initial_indent=head, subsequent_indent=" " * 33, break_on_hyphens=False)
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


def in_words(error: Exception) -> str:
    """Say an error: ours as it is, the system's by file and reason, and for a full disk the remedy."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    where = f"{error.filename}: " if error.filename else ""
    return where + error.strerror + ("; free some space, then run the same command again" if full else "")


def waiting(text: str, *, quiet: bool = False) -> AbstractContextManager[Any]:
    """Show on a terminal, by a moving sign, that work goes on; elsewhere, or `quiet`, nothing."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet).status(text)


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; elsewhere a line every LINE_SECONDS. Yields what is to be told (done, in all)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console, last = Console(stderr=True), time.monotonic()
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


class Stopped(KeyboardInterrupt):
    """A signal ended the work; the message says what is kept and how to go on.

    Args:
        number: the signal.
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(kept)
        self.number = number


@contextmanager
def on_signal(kept: str) -> Iterator[None]:
    """Let SIGINT and SIGTERM end what is within by `Stopped`, with a sentence that says what is kept and how to go on.

    Where these stand within one another, the innermost sentence counts. A second signal does what it did before. SIGINT counts
    even where a shell that started the process in the background had it ignored.
    """

    def stop(number: int, frame: object) -> None:
        restore()
        raise Stopped(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
    except ValueError:  # Not in the main thread: signals stay the caller's business.
        pass
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Stopped(getattr(stopped, "number", signal.SIGINT), str(stopped) or kept) from stopped
    finally:
        restore()
