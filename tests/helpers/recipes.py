"""Tiny recipes, batches and trainers for tests."""

from __future__ import annotations

import dataclasses

import torch

from asterism.config import TrainConfig
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.engine.trainer import Trainer, step_generator
from asterism.labels import LabelGroup, LabelSpace
from asterism.machine import Machine
from asterism.recipes import recipe_class

DISCS = LabelGroup("discs", ("red", "green", "blue"), "one_of")


FACES = LabelGroup("faces", ("dark", "fair", "glasses"), "binary", (("dark", "fair"),))


SPACES = {"folders": LabelSpace([DISCS]), "table": LabelSpace([FACES]), "joint": LabelSpace([FACES, DISCS])}


SIZE = 32


TINY = {"conv_dim": 4, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 3}


TINY |= {"capacity": 128, "max_width": 8, "mapping_width": 8, "style_dim": 4, "latent_dim": 4, "penalty_every": 1}


COUNT = 6


def tiny(name: str, space: LabelSpace, channels: int = 3, **settings):
    """Build a recipe as small as its configuration allows: every width and depth that it has is lowered."""
    recipe = recipe_class(name)
    known = {f.name for f in dataclasses.fields(recipe.config_type)}
    config = recipe.config_type(**{k: v for k, v in TINY.items() if k in known}, **settings)
    torch.manual_seed(0)
    return recipe(config, space, PictureFormat(channels, SIZE, SIZE))


def whole_batch(recipe, dataset: int = 0, seed: int = 1, count: int = COUNT) -> tuple[Batch, dict[str, torch.Tensor]]:
    """What the loader gives: labels of one dataset, all known, and random pictures, with references if the recipe asks."""
    rng = step_generator(seed, 0, dataset)
    where = torch.full((count,), dataset)
    whole = Batch(
        labels=recipe.space.sample_uniform(where, rng),
        known=recipe.space.known(where),
        dataset=where,
        position=torch.arange(count),
    )
    if recipe.references:
        whole = whole.extend(labels_ref=recipe.space.sample_uniform(where, rng), known_ref=recipe.space.known(where))
    names = ["x", "x_ref", *(f"x_ref{i}" for i in range(2, recipe.references + 1))][: 1 + recipe.references]
    shape = (count, recipe.picture.channels, SIZE, SIZE)
    return whole, {name: torch.rand(shape, generator=rng) * 2 - 1 for name in names}


def batch_of(recipe, dataset: int = 0, seed: int = 1, count: int = COUNT) -> Batch:
    """A prepared batch, in the type of the recipe's weights."""
    whole, pictures = whole_batch(recipe, dataset, seed, count)
    batch = whole.extend(**pictures, **recipe.prepare(whole, step_generator(seed, 1, dataset)))
    return batch.to("cpu", next(recipe.parameters()).dtype)


def trainer_of(recipe, **settings) -> Trainer:
    """A trainer without data, in the precision of the recipe's weights."""
    precision = str(next(recipe.parameters()).dtype).removeprefix("torch.")
    return Trainer(
        recipe,
        loader=None,
        config=TrainConfig(**settings),
        run=None,
        machine=Machine.choose("cpu", precision),
        processes=Processes(),
        identity={},
        previews=None,
        info={},
    )
