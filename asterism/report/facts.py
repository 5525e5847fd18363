"""What was trained, on what, on how much and how long."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from asterism.config import ConfigError
from asterism.recipes import recipe_class
from asterism.report.markup import Html, counted, duration, join, shown, swatch, tag
from asterism.storage.run_folder import Run

WIDE = 32  # Characters beyond which a fact takes two columns.


def recipe_of(run: Run) -> Any:
    """Return the class of a run's recipe; None where this version knows none of the name."""
    try:
        return recipe_class(str(run.config.get("name")))
    except ConfigError:
        return None


def recipe_name(run: Run) -> str:
    """Return the recipe's name as people write it: StarGAN."""
    kind = recipe_of(run)
    return kind.__name__ if kind else str(run.config.get("name", "unknown recipe"))


def facts(runs: Sequence[Run]) -> Html:
    """Return what is known of the runs as a list of names and values, or of several as a table that shows what differs."""
    if len(runs) > 1:
        return _beside(runs)
    rows = [
        tag("div", tag("dt", name), tag("dd", value), class_="wide" if len(value) > WIDE else "narrow")
        for name, value in _facts(runs[0]).items()
    ]
    return tag("dl", join(rows), class_="facts", aria_label=runs[0].name)


def _beside(runs: Sequence[Run]) -> Html:
    read = []
    for run in runs:
        preset = run.config.get("preset")
        read.append({"Recipe": recipe_name(run) + (f", preset {preset}" if preset else ""), **_facts(run)})
    heads = [tag("th", swatch(i, runs), scope="col") for i in range(len(runs))]
    lines = []
    names = dict.fromkeys(name for found in read for name in found)
    for name in sorted(names, key=lambda name: not name.startswith(("Recipe", "Labels of", "Trained on"))):
        values = [found.get(name, "–") for found in read]
        same = len(set(values)) == 1
        row = [tag("th", name, scope="row"), *(tag("td", value) for value in values)]
        lines.append(tag("tr", *row, class_="same" if same else "differs"))
    table = tag("table", tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", join(lines)), class_="beside")
    return tag("div", table, class_="scroll", tabindex=0)


def _facts(run: Run) -> dict[str, str]:
    info, groups = run.model.get("info", {}), run.model.get("labels", [])
    found: dict[str, str] = {}
    for dataset in dict.fromkeys(group["dataset"] for group in groups):
        mine = [label for group in groups if group["dataset"] == dataset for label in group["labels"]]
        found[f"Labels of {dataset}"] = ", ".join(mine)
    for dataset in info.get("data", ()):
        found[f"Trained on {dataset['name']}"] = counted(dataset["pictures"], "picture")
    if picture := run.model.get("picture"):
        found["Size"] = f"{picture['width']} × {picture['height']} pixels, {counted(picture['channels'], 'channel')}"
    found |= _training(run)
    if info.get("criterion"):
        best = shown((info.get("scores") or {}).get(info["criterion"]), "")
        found["Kept"] = f"step {info['step']:,}, the best by {info['criterion']}: {best}"
    elif "step" in info:
        found["Kept"] = f"step {info['step']:,}"
    if run.model:
        networks = (f"{network} {count / 1e6:,.2f} M" for network, count in run.model["parameters"].items())
        found["Parameters"] = f"{', '.join(networks)}; the file has {run.model['bytes'] / 1e6:,.1f} MB"
    if info.get("licence"):
        found["Licence of the weights"] = info["licence"]
    return found


def _training(run: Run) -> dict[str, str]:
    """Return length and time. A line of the log has the numbers of training, those of an evaluation, or both."""
    trained = [line for line in run.log if "images" in line]
    if not trained:
        return {}
    last, found = trained[-1], {}
    found["Length"] = f"{counted(last['step'], 'step')}, {counted(last['images'], 'picture')}"
    speed = statistics.median(line["images_per_second"] for line in trained)
    found["Time"] = f"{duration(last['seconds'])}, {speed:,.{0 if speed >= 10 else 1}f} pictures/s"
    measured = [line["evaluation_seconds"] for line in run.log if "evaluation_seconds" in line]
    if measured:
        found["Measured while training"] = f"{counted(len(measured), 'time')}, {duration(sum(measured))} beside"
    if last.get("skipped"):
        found["Skipped"] = f"{counted(last['skipped'], 'step')} with non-finite values"
    return found
