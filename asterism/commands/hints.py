"""The commands that can use a model next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asterism.recipes.model import Model


def uses(model: Model, run: object) -> list[str]:
    """Return the commands that make pictures with a model, towards one of its labels; none for one that only judges."""
    can, run = model.recipe.abilities, shlex.quote(str(run))
    target = next((name for name in reversed(model.space.names) if name not in model.unreachable), "TARGET")
    told = f" --to {shlex.quote(target)}" if can.told != "none" else ""
    beside = " --instances DIR" if model.picture.taken.classes and model.picture.taken.channels == 2 else ""
    what = "RECORDING" if model.picture.sound else "PICTURE"
    lines = [f"asterism translate {run} {what}{told}{beside} --out DIR"] * can.translates
    return lines + [f"asterism generate {run} --count 16{told} --sheet FILE.png"] * can.generates
