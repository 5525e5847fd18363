"""Find the weights to measure: the model file, the best or last checkpoint, one step, or all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from asterism.config import ConfigError
from asterism.engine import checkpoint
from asterism.engine.step import phase_at
from asterism.recipes.base import Recipe
from asterism.recipes.model import Model, load_model
from asterism.storage.model_file import find_model


def chosen(run: Path, which: str, device: torch.device) -> tuple[Model, Iterator[tuple[str, int, Recipe]]]:
    """Return a run's model, and what is to be measured: the checkpoint's name, its step, and the recipe with its weights.

    Args:
        which: `model`, what the model file holds (the best checkpoint, else the last); `best`; `last`; `all`; or a step.

    Raises:
        ConfigError: no such checkpoint; says which there are. Or a model that cannot translate to all of its labels.
    """
    model = load_model(find_model(run), device)
    if model.unreachable and not model.recipe.abilities.targets:
        raise ConfigError(
            f"{run} lacks the network that translates to {', '.join(model.unreachable)}: measures translate there and back"
        )
    folder = run / "checkpoints"
    kept = {int(path.stem[5:]): path for path in checkpoint.find(folder)}
    best = folder / checkpoint.BEST
    step = int(model.info.get("step", 0))
    # The model file holds the weights of the best checkpoint or, where nothing was measured in training, of the last.
    scored, without = bool(model.info.get("scores")), not best.exists()
    if {"model": True, "best": scored and without, "last": not kept, "all": not kept and without}.get(which):
        return model, iter([("best" if scored else "last", step, model.recipe)])
    if which == "best" and without:
        raise ConfigError(
            f"{run} has no best checkpoint: it was not evaluated while it trained (train.evaluate_every); use --checkpoint last"
        )
    if which == "all":
        files = [(f"step_{number:08d}", path) for number, path in sorted(kept.items())]
        files += [("best", best)] if best.exists() else []
    elif which == "best":
        files = [("best", best)]
    elif which == "last":
        files = [("last", kept[max(kept)])]
    elif which.isdigit() and int(which) in kept:
        files = [(f"step_{int(which):08d}", kept[int(which)])]
    else:
        there = ", ".join(["model", *(["best"] if best.exists() else []), "last", "all", *map(str, sorted(kept))])
        raise ConfigError(f"{run} has no checkpoint {which!r}; choose one of {there}")

    def load() -> Iterator[tuple[str, int, Recipe]]:
        for name, path in files:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                model.recipe.load_state_dict(state["networks"] | state["average"])
                model.recipe.enter(phase_at(model.recipe, int(state["step"]) - 1).name)  # It may differ from the model file's.
            except Exception as error:  # A damaged file surfaces as many kinds of error.
                raise ConfigError(f"{path} cannot be read ({type(error).__name__}); choose another --checkpoint") from error
            yield name, int(state["step"]), model.recipe

    return model, load()
