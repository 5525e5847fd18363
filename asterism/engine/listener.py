"""Progress of a run: the engine reports to a listener and does not use a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class Listener(Protocol):
    """Hears of a run's progress; `asterism.display.Display` shows it on a terminal."""

    def say(self, text: str) -> None:
        """Hear a sentence for a person."""

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Return a context around work that takes a while; `text` says what is done."""

    def start(self, step: int, steps: int) -> None:
        """Hear that training goes on from `step` to `steps`."""

    def advance(self, step: int) -> None:
        """Hear that `step` steps are done."""

    def show(self, line: Mapping[str, Any], remaining: float) -> None:
        """Hear a line of the log (docs/training.md lists its values), and the seconds that are left."""

    def stop(self) -> None:
        """Hear that training ended, well or not."""


class Silent:
    """A listener that tells nobody."""

    def say(self, *heard: object, **named: object) -> None:
        """Ignore it."""

    start = advance = show = stop = say

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()
