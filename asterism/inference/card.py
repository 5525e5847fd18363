"""The model card: description, training data, scores, intended use and limits.

Written from the files of a run; what they do not say is not claimed.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.labels import LabelGroup
from asterism.recipes import recipe_class
from asterism.recipes.base import Abilities
from asterism.runs.folder import Run
from asterism.runs.scores import metric_title
from asterism.wording import quantity

HUB_LICENCES = (
    "apache-2.0 bsd-3-clause cc-by-4.0 cc-by-nc-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 cc-by-sa-4.0 cc0-1.0 gpl-3.0 mit openrail"
).split()
"""Licences by the identifiers that the hub knows; any other is `other`, with its name."""


def write_card(run: Run, name: str, picture: str | None, abilities: Abilities) -> str:
    """Return the text of README.md.

    Args:
        run: from `read_run`, with a model file.
        name: how `asterism.load` finds the model: owner/name, or a folder.
        picture: path of the sample picture beside the card, if there is one.
        abilities: of the model's recipe.
    """
    title, info = name.rpartition("/")[2], run.model["info"]
    parts = [_front_matter(run, abilities), f"# {title}", _about(run, abilities)]
    if picture:
        shown = "Pictures and their translations" if abilities.translates else "Generated pictures"
        parts.append(f"![{shown}]({picture})\n\n*{_caption(run)}*")
    parts += [
        "## Use",
        _use(run, name, abilities),
        "## Training",
        _table(("", ""), list(_training(run).items())),
        "## Scores",
        _scores(run),
    ]
    parts += [
        "## Intended use and limits",
        _limits(run, abilities),
        "## Licence",
        _licence_words(str(info.get("licence") or "")),
    ]
    return "\n\n".join(parts) + "\n"


def hub_licence(words: str) -> dict[str, str]:
    """Return a licence as the front matter of a card says it: `CC BY-NC 4.0` -> {"license": "cc-by-nc-4.0"}."""
    if not words or "not stated" in words or "none was stated" in words:
        return {"license": "unknown"}
    slug = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")
    found = next(
        (known for known in sorted(HUB_LICENCES, key=len, reverse=True) if re.match(rf"{re.escape(known)}(?![\w.])", slug)),
        None,
    )
    return {"license": found} if found else {"license": "other", "license_name": slug[:64]}


def _front_matter(run: Run, can: Abilities) -> str:
    task = "image-to-image" if can.translates else "unconditional-image-generation"
    task = "audio-to-audio" if run.model["picture"].get("sound") else task
    tags = [task, "gan", *["multi-domain"] * can.translates, str(run.model["recipe"]).replace("_", "-")]
    facts: dict[str, Any] = {"library_name": "asterism", "pipeline_tag": task, "tags": tags}
    facts |= hub_licence(str(run.model["info"].get("licence") or ""))
    lines = [f"{key}: {json.dumps(value) if isinstance(value, list) else value}" for key, value in facts.items()]
    return "\n".join(["---", *lines, "---"])


def _about(run: Run, can: Abilities) -> str:
    picture, paper = run.model["picture"], _paper(run.model["recipe"])
    kind = {1: "grey", 3: "colour"}.get(picture["channels"], f"{picture['channels']}-channel")
    what = f"{kind} pictures of {picture['width']} x {picture['height']} pixels"
    if picture.get("depth") == 32:
        what = f"features [{picture['channels']}, {picture['height']}, {picture['width']}], arrays of floats,"
    if not can.translates:
        return f"Makes {what} from noise. Recipe: {paper}."
    between = f"Translates {what} between domains. One model knows all of them."
    if picture.get("sound"):
        between = "Translates recordings of speech to the voices of other speakers. One model knows all of them."
    if picture.get("source"):
        between = f"Translates {PictureFormat.from_json(picture).taken.words} to {what}."
    said = [
        f"{between} Recipe: {paper}.",
        *(f"{group.dataset}: {described(group)}" for group in map(LabelGroup.from_json, run.model["labels"])),
    ]
    return "\n".join([said[0], "", *(f"- {line}" for line in said[1:])])


def _paper(name: str) -> str:
    """Name a recipe as the head of its file does."""
    try:
        text = inspect.getdoc(sys.modules[recipe_class(name).__module__]) or name
    except ConfigError:  # Written by a version that had another recipe.
        return name
    head = text.partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[.)])(?:\.|$)\s*", head)[0].rstrip(".")


def _use(run: Run, name: str, can: Abilities) -> str:
    head = ["import asterism", ""]
    if where := run.model["info"].get("recipe_from"):
        file = f"asterism.recipes.add({json.dumps(where)})  # The recipe's file; it is not part of asterism."
        head.append(file if ".py:" in where else f"# Needs the recipe's package, {where.partition(':')[0]}, installed.")
    head.append(f"model = asterism.load({json.dumps(name, ensure_ascii=False)})")
    lines, said = [], "Pictures may have any size, and results keep it."
    target = next((label for group in run.model["labels"] for label in group["labels"]), None)
    if not can.translates:
        lines = ["first, second = model.generate(seeds=(1, 2))", 'first.save("generated.png")']
        said = "The same seed always gives the same picture."
    elif run.model["picture"].get("sound"):
        head[0:1] = ["import soundfile", "", "import asterism", "from asterism.inference.voices import Voices"]
        lines = [
            'samples, rate = soundfile.read("clip.wav", dtype="float32")',
            f"made = Voices(model).translate(samples, rate, to={json.dumps(target, ensure_ascii=False)})",
            'soundfile.write("translated.wav", made, rate)',
        ]
        said = "Recordings may have any length, and any rate from 12,000 samples a second; results keep both."
    elif target is not None:
        taken = PictureFormat.from_json(run.model["picture"]).taken
        given = '"map.png"' if taken.classes else '"picture.jpg"'
        given += ', instances="instances.png"' if taken.classes and taken.channels == 2 else ""
        lines = [f'model.translate({given}, to={json.dumps(target, ensure_ascii=False)}).save("translated.png")']
    return "\n".join(["```python", *head, *lines, "```", "", said])


def _training(run: Run) -> dict[str, str]:
    info, config = run.model["info"], run.config
    facts = {"recipe": f"{run.model['recipe']}" + (f", preset {config['preset']}" if config.get("preset") else "")}
    held = [f"{d['name']}, {d['pictures']:,} pictures" for d in info.get("data") or ()]
    facts["data"] = "; ".join(held) or "not known: the weights were imported"
    if info.get("created_from"):
        facts["made from"] = ", ".join(map(str, info["created_from"]))
    if info.get("step"):
        facts["steps"] = f"{info['step']:,}"
    if run.log:
        facts["pictures seen"] = f"{run.log[-1]['images']:,}"
    train = config.get("train") or {}
    if held and "batch_size" in train:
        facts["batch size"] = str(train["batch_size"])
    facts["parameters"] = ", ".join(f"{network} {count:,}" for network, count in run.model["parameters"].items())
    facts["written by"] = f"asterism {info.get('version', '')}".strip()
    return facts


def _scores(run: Run) -> str:
    if not run.scores:
        return "This model was not evaluated. `asterism evaluate RUN --data DATA` measures it."
    parts = []
    for name, record in run.scores.items():
        metrics = list(dict.fromkeys(metric for row in record["rows"] for metric in row["values"]))
        units = {metric: about.get("unit", "") for metric, about in record.get("metrics", {}).items()}
        rows = [(row["name"], *(_number(row["values"].get(m), units.get(m, "")) for m in metrics)) for row in record["rows"]]
        parts.append(
            f"`{name}`, {record['split']} pictures, step {record['step']:,}:\n\n"
            + _table(("", *(metric_title(m, record) for m in metrics)), rows)
        )
        meanings = [
            f"- {metric_title(metric, record)}: {about['meaning']}"
            for metric, about in record.get("metrics", {}).items()
            if about.get("meaning")
        ]
        parts += ["\n".join(meanings)] if meanings else []
        if record.get("classifier", {}).get("void"):
            parts.append("The judging classifier was not accurate enough on real pictures: its scores do not count.")
    return "\n\n".join(parts)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else quantity(value, unit)


def _limits(run: Run, can: Abilities) -> str:
    info = run.model["info"]
    about = " and ".join(d["name"] for d in info.get("data") or ()) or "its training data"
    made = [
        f"It makes pictures like {about}, including biases of the data, and may come close to single training pictures.",
        "A generated picture shows nothing real and is not evidence.",
        "Do not deceive: state that a published picture is generated.",
    ]
    translated = [
        f"Made for pictures like those of {about}; results on other pictures are unknown and often worse.",
        "A translation shows what the model learned that a domain looks like, biases of the data included. It is no evidence "
        "of how a person, a place or an organ looks or would look.",
        "Attributes that occur together in the data may change together, also those that a target does not name.",
        "Do not deceive: state that a published picture is a translation. Pictures of people: only with their consent.",
    ]
    spoken = [
        f"Made for voices like those of {about}; results on other voices are unknown and often worse.",
        "A translation is no evidence of what a person said or would say.",
        "Do not deceive: state that a published recording is a translation. Voices of people: only with their consent.",
    ]
    if run.model["picture"].get("sound"):
        translated = spoken
    lines = [*(translated if can.translates else made), "Not for medical or legal decisions."]
    if not run.scores:
        lines.append("Its quality was not measured.")
    return "\n".join(f"- {line}" for line in lines)


def _licence_words(words: str) -> str:
    if hub_licence(words) == {"license": "unknown"}:
        return "No licence of the weights was stated. The library's own licence does not cover them; ask who trained the model."
    more = " Commercial use is not allowed." if "-nc" in hub_licence(words)["license"] else ""
    return f"The weights are under {words}.{more} The library has a licence of its own."


def _caption(run: Run) -> str:
    sheet = run.held_out or run.previews[-1]
    return f"{', '.join(sheet.columns)}: {sheet.caption}" if sheet.columns else sheet.caption


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def described(group: LabelGroup) -> str:
    """Say what the labels are: `one of angry, happy`, `one of dark, fair; any of glasses`, `numbers from 0 to 1: AU12`."""
    names = ", ".join(group.labels)
    if group.kind == "number":
        return f"numbers from {group.low:g} to {group.high:g}: {names}"
    if group.kind == "one_of":
        return f"one of {names}"
    sets = [f"one of {', '.join(chosen)}" for chosen in group.exclusive]
    single = [label for label in group.labels if not any(label in chosen for chosen in group.exclusive)]
    sets += [f"any of {', '.join(single)}"] if single else []
    return "; ".join(sets + [f"not {' with '.join(names)}" for names in group.conflicts]) or "no labels"
