"""What was trained, on what, on how much and how long."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.recipes import recipe_class
from asterism.runs.folder import Run
from asterism.wording import NONE, amount, byte_size, counted, duration, number

FIRST = ("Recipe", "Labels of", "Trained on")
"""How the names begin of the facts that stand first."""


def recipe_of(run: Run) -> Any:
    """Return the class of a run's recipe; None where this version has no recipe of the name."""
    try:
        return recipe_class(str(run.config.get("name")))
    except ConfigError:
        return None


def facts(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return what is known of the runs: name of a fact -> its value for each run, a dash where a run does not have it."""
    known = [_facts(run) for run in runs]
    names = sorted(dict.fromkeys(name for found in known for name in found), key=lambda name: not name.startswith(FIRST))
    return {name: [found.get(name, NONE) for found in known] for name in names}


def _facts(run: Run) -> dict[str, str]:
    recipe, preset = recipe_of(run), run.config.get("preset")
    name = recipe.__name__ if recipe else str(run.config.get("name", "unknown recipe"))
    found = {"Recipe": name + (f", preset {preset}" if preset else "")}
    info = run.model.get("info", {})
    labels: dict[str, list[str]] = {}
    for group in run.model.get("labels", ()):
        labels.setdefault(group["dataset"], []).extend(group["labels"])
    found |= {f"Labels of {dataset}": ", ".join(names) for dataset, names in labels.items() if names}
    found |= {f"Trained on {dataset['name']}": counted(dataset["pictures"], "picture") for dataset in info.get("data", ())}
    if picture := run.model.get("picture"):
        found["Size"] = f"{picture['width']} × {picture['height']} pixels, {counted(picture['channels'], 'channel')}"
        if picture.get("source"):
            found["Translated from"] = PictureFormat.from_json(picture).taken.words
    found |= _training(run)
    if "step" in info:
        found["Kept"] = f"step {info['step']:,}"
        if criterion := info.get("criterion"):
            found["Kept"] += f", the best by {criterion}: {number((info.get('scores') or {}).get(criterion))}"
    if run.model:
        networks = (f"{network} {amount(count)}" for network, count in run.model["parameters"].items())
        found["Parameters"] = f"{', '.join(networks)}; the file has {byte_size(run.model['bytes'])}"
    if info.get("licence"):
        found["Licence of the weights"] = info["licence"]
    return found


def _training(run: Run) -> dict[str, str]:
    """Return length and time. A line of the log has the numbers of training, those of an evaluation, or both."""
    trained = [line for line in run.log if "images" in line]
    if not trained:
        return {}
    last = trained[-1]
    speed = statistics.median(line["images_per_second"] for line in trained)
    found = {
        "Length": f"{counted(last['step'], 'step')}, {counted(last['images'], 'picture')}",
        "Time": f"{duration(last['seconds'])}, {speed:,.{0 if speed >= 10 else 1}f} pictures/s",
    }
    measured = [line["evaluation_seconds"] for line in run.log if "evaluation_seconds" in line]
    if measured:
        found["Measured while training"] = f"{counted(len(measured), 'time')}, {duration(sum(measured))} beside"
    if last.get("skipped"):
        found["Skipped"] = f"{counted(last['skipped'], 'step')} with non-finite values"
    return found
