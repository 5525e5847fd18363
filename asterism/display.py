"""What a person sees while a run trains: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from asterism.console import make_console
from asterism.wording import duration


class Display:
    """Shows one run's progress: the engine's listener (`asterism.engine.listener`)."""

    def __init__(self) -> None:
        self.console = make_console(soft_wrap=True)
        self.live = self.console.is_terminal
        self.steps = 0
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.progress.add_task("train", speed="")
        self.lines = 0

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Show on a terminal, by a moving sign, that work goes on."""
        return make_console(stderr=True).status(text)

    def start(self, step: int, steps: int) -> None:
        """Begin at a step of a run of `steps`."""
        self.steps = steps
        self.progress.update(self.task, completed=step, total=steps)
        if self.live:
            self.progress.start()

    def stop(self) -> None:
        """Take the live line away."""
        if self.live:
            self.progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the live one."""
        self.console.print(text, highlight=False, markup=False)

    def advance(self, step: int) -> None:
        """Move the live line."""
        if self.live:
            self.progress.update(self.task, completed=step)

    def show(self, line: Mapping[str, Any], remaining: float) -> None:
        """Show a line of the log: speed, time left in seconds, every term.

        On a terminal, the terms every tenth time, since the live line shows the rest.
        """
        speed = f"{line['images_per_second']:.1f} images/s, data {line['waiting']:.0%}"
        self.progress.update(self.task, completed=line["step"], speed=speed)
        terms = "  ".join(f"{name} {value:.4g}" for name, value in line["terms"].items())
        if not self.live:
            self.say(f"step {line['step']}/{self.steps}  {speed}  {duration(remaining)} left  {terms}")
        elif self.lines % 10 == 0:
            self.say(f"step {line['step']}")
            self.console.print(_table(line["terms"]), highlight=False)
        self.lines += 1


def _table(terms: dict[str, float]) -> Table:
    """Lay the terms out, a row for each update, which their names start with."""
    rows: dict[str, list[str]] = {}
    for name, value in terms.items():
        update, _, term = name.partition("/")
        rows.setdefault(update, [update]).append(f"[dim]{term}[/dim] {value:.4g}")
    table = Table.grid(padding=(0, 2), pad_edge=True)
    for cells in rows.values():
        table.add_row(*cells)
    return table
