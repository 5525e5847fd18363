"""What a person sees while a run trains: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from asterism.wording import duration


class Display:
    """Progress of one run.

    Args:
        steps: the step at which the run ends.
        quiet: show nothing (processes other than the first).
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet, soft_wrap=True)
        self.live = self.console.is_terminal and not quiet
        self.steps = steps
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.progress.add_task("train", total=steps, speed="")
        self.lines = 0

    def start(self, step: int) -> None:
        """Begin at a step."""
        self.progress.update(self.task, completed=step)
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

    def show(self, line: dict[str, Any], remaining: float) -> None:
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
