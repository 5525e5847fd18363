"""`asterism.train`: train a recipe, watched on a terminal and measured at intervals."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asterism.display import Display
from asterism.engine.listener import Listener
from asterism.engine.run import MakeEvaluation, run
from asterism.engine.trainer import Outcome
from asterism.evaluation.training import quick_evaluation
from asterism.recipes.base import Masks
from asterism.recipes.settings import Settings
from asterism.terminal import encode_all


def train(
    recipe: str,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    preset: str | None = None,
    init: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    masks: Masks | None = None,
    evaluation: MakeEvaluation | None = quick_evaluation,
    listener: Listener | None = None,
) -> Outcome:
    """Train a recipe, or go on with the run in `out` where it stopped; the best checkpoint is kept.

    Args:
        recipe: name, as `asterism list` shows it, or the path of a recipe's file: `my_recipe.py`.
        data: one or more folders or tables; several are joined, each with its own labels.
        out: the run's folder.
        preset: named settings of the recipe.
        init: run or model file whose weights a new run starts from.
        overrides: dotted keys, such as {"train.steps": 5000}.
        masks: for recipes that carry detail over by masks (StarGAN v2 with `recipe.high_pass`): a function from pictures
            [N, C, H, W] in [-1, 1] to two masks [N, 1, h, w] in [0, 1]; called once a step for the sources and once for
            what is made of them, without gradients. Goes with {"recipe.masks": "given"}.
        evaluation: makes what measures the run while it trains and chooses the best checkpoint; the quick protocol by
            default. None measures nothing, and the last checkpoint is kept.
        listener: told how training goes on; none prints it.

    Returns:
        The last step, and the signal that ended the run if one did.

    Raises:
        ConfigError, DataError, LabelError, SizeError, ModelError: what is wrong and the remedy, before training starts.
        TrainingError, CheckpointError: what stopped the training and what is kept.
    """
    sources = [data] if isinstance(data, (str, Path)) else list(data)
    settings = Settings.resolve(recipe, [str(s) for s in sources], preset, overrides)
    if listener is None:
        encode_all(sys.stdout, sys.stderr)
    return run(settings, Path(out), init, masks, evaluation, listener or Display())
