"""Signals that ask this process to stop: SIGINT, SIGTERM, and SIGHUP where there is one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGHUP = getattr(signal, "SIGHUP", None)
"""The terminal is gone; Windows has no such signal."""


class Stopped(KeyboardInterrupt):
    """A signal ended the work; the message says what is kept and how to go on.

    Args:
        number: the signal.
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(kept)
        self.number = number


@contextmanager
def stop_signals(answer: Callable[[int], None]) -> Iterator[None]:
    """Call `answer(number)` at the first signal that asks to stop; a second one does what it did before.

    SIGINT counts even where a shell that started the process in the background had it ignored; SIGHUP stays ignored under
    `nohup`. Outside the main thread signals remain the caller's business.
    """

    def take(number: int, frame: object) -> None:
        restore()
        if number == SIGHUP:
            _leave_lost_terminal()
        answer(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, SIGHUP):
            if number is not None and (number != SIGHUP or signal.getsignal(number) != signal.SIG_IGN):
                before[number] = signal.signal(number, take)
    except ValueError:  # Not in the main thread.
        pass
    try:
        yield
    finally:
        restore()


@contextmanager
def on_signal(kept: str) -> Iterator[None]:
    """End the block by `Stopped` at a signal that asks to stop; `kept` says what is kept and how to go on.

    Of blocks within one another, the innermost sentence counts.
    """

    def stop(number: int) -> None:
        raise Stopped(number)

    with stop_signals(stop):
        try:
            yield
        except KeyboardInterrupt as stopped:
            raise Stopped(getattr(stopped, "number", signal.SIGINT), str(stopped) or kept) from stopped


def _leave_lost_terminal() -> None:
    """Send the output that a closed terminal would refuse nowhere, so that saving is not interrupted by an error."""
    for stream in (1, 2):
        try:
            os.get_terminal_size(stream)
        except OSError as error:
            if error.errno == errno.EIO:  # It was a terminal; a file or a pipe gives ENOTTY.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
