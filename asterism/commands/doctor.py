"""`asterism doctor`: examine data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asterism.commands.flags import add_keys
from asterism.config import DataConfig, TrainConfig
from asterism.console import make_console
from asterism.terminal import counting
from asterism.wording import amount, byte_size, counted, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from asterism.data.dataset import Datasets
    from asterism.doctor.examine import DatasetReport, Diagnosis
    from asterism.recipes.settings import Settings

FILES_SHOWN = 20
"""Reasons for unreadable files that are printed, each with some files; JSON lists all."""

ABOUT = "examine data before training; exit status 0 if training would start"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("data", nargs="+", metavar="DATA", help="folder or table; several are joined")
    parser.add_argument("--recipe", default="stargan", help="estimate the cost of this recipe, a name or file [stargan]")
    parser.add_argument("--preset", help="named settings of the recipe")
    parser.add_argument("--json", action="store_true", help="print JSON that names every file")
    add_keys(parser, data=DataConfig, train=TrainConfig)


def run(args: argparse.Namespace) -> int:
    """Examine data."""
    from asterism.data.listing import list_recordings
    from asterism.doctor.examine import examine
    from asterism.doctor.recordings import examine_recordings
    from asterism.recipes import recipe_class
    from asterism.recipes.settings import Settings

    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    recipe = recipe_class(settings.name)
    listings = [list_recordings(Path(source).expanduser()) for source in settings.data.sources]
    with counting(f"examining {'recordings' if any(listings) else 'pictures'}") as progress:
        if any(listings):
            diagnosis = examine_recordings(settings.data, listings, progress)
        else:
            diagnosis = examine(settings.data, progress, recipe.labelled, recipe.two_kinds)
    lines: list[str] = []
    cost = None
    if diagnosis.opened is not None:
        try:
            lines, cost = expected_cost(settings, diagnosis.opened)
        except ValueError as error:  # The networks cannot take these pictures: as fatal as broken data.
            diagnosis.problems.append(str(error))
    if args.json:
        print(json.dumps(diagnosis.to_json() | {"estimate": cost}, indent=2))
    else:
        describe(diagnosis, estimate=lines)
    return 0 if diagnosis.ok else 1


def expected_cost(settings: Settings, datasets: Datasets) -> tuple[list[str], dict[str, object]]:
    """Estimate a run's cost, in words and as JSON values."""
    from asterism.display import Display
    from asterism.doctor.estimate import estimate

    with Display().waiting("timing a few steps"):
        cost = estimate(settings, datasets)
    parameters = ", ".join(f"{name} {amount(count)}" for name, count in cost.parameters.items())
    lines = [
        f"{settings.name} on {cost.machine}",
        f"parameters: {parameters}",
        f"time: about {duration(cost.seconds)} per 1,000 steps, {duration(cost.seconds * cost.steps / 1000)} for all "
        f"{cost.steps:,}, without data loading",
        f"memory: about {byte_size(cost.memory)}"
        + (f" of {byte_size(cost.available)} free: {cost.fits}" if cost.available else ""),
    ]
    return lines, vars(cost)


def describe(diagnosis: Diagnosis, console: Console | None = None, estimate: Sequence[str] = ()) -> None:
    """Print the diagnosis for a person, on the terminal or a given `console`.

    Args:
        estimate: further lines, such as the memory and time that a recipe takes.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from asterism.data.listing import some
    from asterism.doctor.examine import equal

    console = console or make_console()
    whole = not console.is_terminal  # Sentences stay on one line where a program may read them.
    for report in diagnosis.datasets:
        console.print(_heading(report))
        if report.labels:
            console.print(Padding(_label_table(report), (0, 0, 0, 2)))
        facts = Table.grid(padding=(0, 2))
        for what, text in _facts(report):
            facts.add_row(Text(what, "dim"), Text(text))
        console.print(Padding(facts, (0, 0, 1, 2)))
    if estimate:
        console.print(Text("estimate", "bold"))
        console.print("\n".join(f"  {line}" for line in estimate), highlight=False, markup=False, soft_wrap=whole)
        console.print()
    if diagnosis.duplicates:
        same = some([equal(names) for names in diagnosis.duplicates], "Files with the same bytes", 2)
        console.print(Text(same, "dim"), soft_wrap=whole)
    for text in diagnosis.warnings:
        console.print(Text.assemble(("! ", "bold yellow"), text), soft_wrap=whole)
    for text in diagnosis.problems:
        console.print(Text.assemble(("x ", "bold red"), text), soft_wrap=whole)
    if diagnosis.ok:
        console.print(Text("Training would start.", "bold green"))
    else:
        count = len(diagnosis.problems)
        console.print(Text(f"Training would not start: {count} problem{'s' * (count > 1)} to solve first.", "bold red"))


def _heading(report: DatasetReport) -> RenderableType:
    from rich.text import Text

    from asterism.data.listing import SPLITS

    counts = ", ".join(f"{report.pictures[split]:,} {split}" for split in SPLITS)
    total = sum(report.pictures.values())
    found = counted(total, report.what.removesuffix("s"))
    return Text.assemble((report.name, "bold"), (f"  {report.root}\n", "dim"), f"  {found}: {counts}")


def _label_table(report: DatasetReport) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from asterism.data.listing import SPLITS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("label", no_wrap=True)
    table.add_column("kind", style="dim")
    for name in (*SPLITS, "unknown"):
        table.add_column(name, justify="right")
    table.add_column("of train", no_wrap=True)
    total = max(1, report.pictures["train"])
    for label in report.labels:
        share = label.train / total
        bar = Text.assemble(("━" * round(12 * share), "cyan"), ("·" * (12 - round(12 * share)), "dim"), f" {share:5.1%}")
        counts = [f"{n:,}" if n else "-" for n in (label.train, label.val, label.test, label.unknown)]
        if label.values:
            bar = Text("{:g} to {:g}, mean {:.3g}".format(*(label.values[i] for i in (0, 2, 1))))
        table.add_row(Text(label.name), label.kind.replace("_", " "), *counts, bar)
    return table


def _facts(report: DatasetReport) -> list[tuple[str, str]]:
    """List what is there besides labels, and what is left out, as (what, text)."""
    from asterism.data.listing import some

    sounds = report.what == "recordings"
    facts = [
        ("lengths" if sounds else "sizes", ", ".join(f"{size} ({count:,})" for size, count in report.sizes.items())),
        ("samples" if sounds else "pixels", ", ".join(f"{kind} ({count:,})" for kind, count in report.formats.items())),
        ("values", " to ".join(f"{value:,.6g}" for value in report.values)),
        *(("note", note) for note in report.notes),
        ("unlabelled", f"{report.what} without a known label: {report.unknown:,}" if report.labels and report.unknown else ""),
    ]
    reasons: dict[str, list[str]] = {}
    for file, reason in report.unreadable:
        reasons.setdefault(reason, []).append(file)
    for reason, files in list(reasons.items())[:FILES_SHOWN]:
        facts.append(("unreadable", f"{files[0]}: {reason}" if len(files) == 1 else some(files, reason)))
    if len(reasons) > FILES_SHOWN:
        facts.append(("", f"and {len(reasons) - FILES_SHOWN:,} more reasons; --json lists them"))
    if report.stray:
        facts.append(("ignored", some(report.stray, "other files")))
    return [(what, text) for what, text in facts if text]
