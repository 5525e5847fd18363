"""The data of a run as its model takes them: found, opened, and refused where they are others than the model knows."""

from __future__ import annotations

import dataclasses
from itertools import zip_longest
from pathlib import Path

from asterism.config import ConfigError
from asterism.data.dataset import Datasets, open_data
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.recipes.settings import Settings
from asterism.shards import exists


def check_data_are_there(run: Path, settings: Settings) -> None:
    """Raise ConfigError if a run came without data, or they have moved; asked before anything slow is done."""
    gone = [source for source in settings.data.sources if not exists(source)]
    if gone or not settings.data.sources:
        where = f"its data have moved from {gone[0]}" if gone else "it came without data"
        raise ConfigError(f"{run} cannot be measured, since {where}: give their location with --data")


def as_taken(settings: Settings, model: Model) -> Settings:
    """Return a run's settings with the channels of its model where the run, an imported one, came without data."""
    picture, data = model.picture, settings.data
    if "data" in model.info or data.channels or data.classes or picture.taken.classes or picture.source or picture.depth > 16:
        return settings
    return dataclasses.replace(settings, data=dataclasses.replace(data, channels=picture.channels))


def open_run_data(settings: Settings, model: Model) -> Datasets:
    """Return the data of a run.

    Args:
        settings: of the run, with the present location of the data.
        model: what the run made of them.

    Raises:
        ConfigError: there are no data, or the model knows other labels, or pictures of another kind.
    """
    classes = model.picture.taken.classes or settings.data.classes  # Other data may hold fewer.
    data = dataclasses.replace(as_taken(settings, model).data, classes=classes)
    datasets = open_data(data, model.recipe.labelled, model.recipe.two_kinds)
    if model.recipe.labelled and layout(model.space) != layout(datasets.space):
        have, knows = differing(datasets.space, model.space)
        raise ConfigError(f"the data of {', '.join(settings.data.sources)} have {have}; the model knows {knows}")
    theirs, ours = ([(p.depth, p.low, p.high) for p in (held.taken, held.made)] for held in (datasets.picture, model.picture))
    if theirs != ours:
        text = "{} bits with values {:g} to {:g}"
        words = (" and ".join(dict.fromkeys(text.format(*each) for each in both)) for both in (theirs, ours))
        raise ConfigError("the data of {} have {}; the model knows {}".format(", ".join(settings.data.sources), *words))
    return datasets


def layout(space: LabelSpace) -> list[tuple[int, str, tuple[str, ...]]]:
    """Return what a model's weights depend on: the labels in order; not what the datasets are called, nor which exclude."""
    kinds = [f"number {g.low:g} to {g.high:g}" if g.kind == "number" else g.kind for g in space.groups]
    return [(space.datasets.index(g.dataset), kind, g.labels) for g, kind in zip(space.groups, kinds, strict=True)]


def differing(data: LabelSpace, model: LabelSpace) -> tuple[str, str]:
    """Say the first label groups in which data and model differ: those of the data, those of the model."""

    def said(space: LabelSpace, number: int) -> str:
        if number >= len(space.groups):
            return "no more labels"
        dataset, kind, labels = layout(space)[number]
        return f"the {kind} labels {', '.join(labels)} of {space.datasets[dataset]}"

    pairs = zip_longest(layout(data), layout(model))
    first = next(number for number, (ours, theirs) in enumerate(pairs) if ours != theirs)
    return said(data, first), said(model, first)


def edited(data: LabelSpace, model: LabelSpace) -> LabelSpace:
    """Return the data's labels as a model edits them: what excludes one another in the model does, whatever a table holds.

    A model that names no such labels in a group, as imported ones may, takes them from the data.
    """
    groups = zip(data.groups, model.groups, strict=True)
    return LabelSpace(
        dataclasses.replace(ours, exclusive=theirs.exclusive or ours.exclusive, conflicts=theirs.conflicts or ours.conflicts)
        for ours, theirs in groups
    )
