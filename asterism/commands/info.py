"""`asterism info`: describe a model."""

from __future__ import annotations

import argparse

from asterism.commands.hints import uses

ABOUT = "describe a run or model file: labels, pictures, data, scores, licence"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("run", metavar="RUN", help="run, model file, hub name, or demo: the bundled model")


def run(args: argparse.Namespace) -> int:
    """Describe a model."""
    from asterism.inference.card import described
    from asterism.inference.codes import values_of
    from asterism.recipes.model import load_model
    from asterism.runs.scores import metric_title, read_scores
    from asterism.storage.model_file import find_model
    from asterism.wording import number, quantity

    path = find_model(args.run)
    model = load_model(path)
    picture, lines = model.picture, [("model", str(path)), ("recipe", model.name)]
    values = f"{picture.depth} bits, values {picture.low:g} to {picture.high:g}"
    lines.append(("pictures", f"{picture.height}x{picture.width}, channels {picture.channels}, {values}"))
    if picture.source:
        lines.append(("sources", picture.source.words))
    lines += [("use", line) for line in uses(model, args.run)]
    can = model.recipe.abilities
    for group in model.space.groups if can.told != "none" or can.translates or can.judges else ():  # Else it knows none.
        lines.append(("labels", f"{group.dataset}: {described(group)}"))
    lines += [("code", f"{code.name}: {values_of(code)}") for code in can.codes]
    for key, value in model.info.items():
        if key == "data":
            value = [f"{held['name']} ({held['pictures']:,} pictures)" for held in value]
        if key == "scores":  # Of the quick protocol, at the step that was kept.
            value = [f"{name} {number(measured)}" for name, measured in value.items() if measured is not None]
        if value not in (None, "", []):
            lines.append((key.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    if model.missing:
        lines.append(("missing", ", ".join(model.missing)))
    for name, record in read_scores(path.with_name("scores.json")).items():
        units = {metric: about["unit"] for metric, about in record["metrics"].items()}
        for row in record["rows"]:
            values = ", ".join(
                f"{metric_title(m, record)} {quantity(v, units[m])}" for m, v in row["values"].items() if v is not None
            )
            lines.append(("scores", f"{name}, step {record['step']}, {row['name']}: {values}"))
    for key, text in lines:
        print(f"{key:12} {text}")
    return 0
