"""Tiny recipes, batches and trainers for tests."""

from __future__ import annotations

import dataclasses

import torch

from asterism.config import TrainConfig
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.engine.listener import Silent
from asterism.engine.pools import Pools
from asterism.engine.step import step_generator
from asterism.engine.trainer import Trainer
from asterism.export.samples import make_pictures
from asterism.labels import LabelGroup, LabelSpace
from asterism.machine import Machine
from asterism.networks.sizes import SizeError
from asterism.recipes import recipe_class

DISCS = LabelGroup("discs", ("red", "green", "blue"), "one_of")


FACES = LabelGroup("faces", ("dark", "fair", "glasses"), "binary", (("dark", "fair"),))


PETS = LabelGroup("pets", ("cat", "dog"), "one_of")
SPACES = {
    "folders": LabelSpace([DISCS]),
    "table": LabelSpace([FACES]),
    "joint": LabelSpace([FACES, DISCS]),
    "two": LabelSpace([PETS]),
    "numbers": LabelSpace([PETS, LabelGroup("pets", ("size", "tilt"), "number", low=-1, high=4)]),
}


SIZE = 32


TINY = {"conv_dim": 4, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 3, "critic_conv_dim": 4}


TINY |= {"discriminator_widths": (4, 4, 8), "interpolation_channels": 4}


TINY |= {"capacity": 128, "max_width": 8, "mapping_width": 8, "style_dim": 4, "latent_dim": 4, "penalty_every": 1}
TINY |= {"features": 3, "encoder_conv_dim": 4, "coarse_dim": 8, "coarse_discriminator_dim": 8}
TINY |= {"widths": (16,) * 9}


TINY |= {"num_layers": 3, "discriminator_fc_dim": 8}


COUNT = 6


def tiny(name: str, space: LabelSpace, channels: int = 3, source: PictureFormat | None = None, **settings):
    """Build a recipe as small as its configuration allows: every width and depth that it has is lowered."""
    recipe = recipe_class(name)
    if name == "pixel_classifier" and source is None:  # It is for label maps alone.
        source = PictureFormat(1, SIZE, SIZE, 0, 4, classes=5)
    known = {f.name for f in dataclasses.fields(recipe.config_type)}
    config = recipe.config_type(**{k: v for k, v in TINY.items() if k in known} | settings)
    torch.manual_seed(0)
    try:
        return recipe(config, space, PictureFormat(channels, SIZE, SIZE, source=source))
    except SizeError:  # Too small for it.
        double = source and dataclasses.replace(source, height=2 * SIZE, width=2 * SIZE)
        return recipe(config, space, PictureFormat(channels, 2 * SIZE, 2 * SIZE, source=double))


def takes(name: str, space: LabelSpace) -> bool:
    """Say whether a recipe can be built over a label space; one of a fixed number of domains takes no other."""
    wanted = recipe_class(name).num_domains
    return not wanted or (space.num_datasets == 1 and len(space.domain_names) in wanted)


def some_space(name: str, *preferred: str) -> LabelSpace:
    """Return the first of the preferred label spaces that a recipe takes, else any that it takes."""
    return next(SPACES[key] for key in (*preferred, *SPACES) if takes(name, SPACES[key]))


def whole_batch(recipe, dataset: int = 0, seed: int = 1, count: int = COUNT) -> tuple[Batch, dict[str, torch.Tensor]]:
    """What the loader gives: labels of one dataset, all known, and random pictures, those of the recipe's streams too."""
    rng, space = step_generator(seed, 0, dataset), recipe.space
    where = torch.full((count,), dataset)
    whole = Batch(
        labels=space.sample_uniform(where, rng),
        known=space.known(where),
        dataset=where,
        position=torch.arange(count),
    )
    drawn: dict[str, torch.Tensor] = {}
    for stream in recipe.streams:
        labels = drawn.get(stream.of, space.sample_uniform(where, rng))
        if stream.of in ("other_domain", "partner"):
            domains = list(space.domains(dataset))
            labels = whole.labels.clone()
            labels[:, domains] = labels[:, domains].roll(1, 1)
        drawn[stream.name] = labels
        whole = whole.extend(**{f"labels_{stream.name}": labels, f"known_{stream.name}": space.known(where)})
    names = ["x", *(f"x_{stream.name}" for stream in recipe.streams)]
    shape = (count, recipe.picture.channels, recipe.picture.height, recipe.picture.width)
    pictures = {name: torch.rand(shape, generator=rng) * 2 - 1 for name in names}
    if recipe.picture.source:  # Samples are of the first domain, and sources.
        whole = whole.extend(labels=torch.eye(space.num_labels)[:1].expand(count, -1))
        pictures["x"] = make_pictures(count, recipe.picture, seed)
    return whole, pictures


def batch_of(recipe, dataset: int = 0, seed: int = 1, count: int = COUNT) -> Batch:
    """A prepared batch, in the type of the recipe's weights; pools are empty, so that values pass as they are."""
    whole, pictures = whole_batch(recipe, dataset, seed, count)
    batch = whole.extend(**pictures, **recipe.prepare(whole, step_generator(seed, 1, dataset)))
    batch = batch.to("cpu", next(recipe.parameters()).dtype)
    if recipe.pools:
        with torch.no_grad():
            shared = recipe.share(batch)
        batch = batch.extend(**{f"pooled_{name}": shared[name].detach() for name in recipe.pools})
        batch = batch.extend(**Pools(recipe.pools, 0, Processes()).plan(0, count))
    return batch


def tables(recipe, batch: Batch, progress: torch.Tensor | None = None) -> dict[str, dict]:
    """Return every table of terms of a recipe by name, the lazy ones too."""
    progress = torch.zeros(()) if progress is None else progress
    result = {}
    for update in recipe.updates:
        result[update.name] = getattr(recipe, f"{update.terms or update.name}_terms")(batch, progress, *update.args)
        if update.lazy:
            result[f"{update.name}, lazy"] = getattr(recipe, f"{update.lazy[0]}_terms")(batch, progress)
    return result


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
        listener=Silent(),
        info={},
    )
