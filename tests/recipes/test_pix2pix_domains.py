"""pix2pix of more than two domains, or both ways: told the target, from pairs of any two of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism import load, train
from asterism.config import ConfigError, DataConfig
from asterism.data.batch import Batch
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.pictures import PictureFormat
from asterism.engine.step import step_generator
from asterism.evaluation.evaluate import partners_of
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols import protocol as named
from asterism.inference.published.layouts import export_published
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.pix2pix import Config, Pix2Pix
from asterism.storage.model_file import ModelError
from tests.helpers.discs import COLOURS, draw
from tests.helpers.runs import BRIEF

NAMES = ("Blue", "Green", "Red")
THREE = LabelSpace([LabelGroup("discs", NAMES, "one_of")])
TINY = {"conv_dim": 4, "discriminator_conv_dim": 4, "discriminator_layers": 1}
TOLD = 3
"""Channels of a picture; those that tell the target are behind them."""


def tiny(space: LabelSpace = THREE, **settings) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(Config(**(TINY | settings)), space, PictureFormat(3, 32, 32))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each colour; discs of equal names have their ground and size in common."""
    root = tmp_path_factory.mktemp("colours")
    for split, number in (("train", 16), ("val", 4), ("test", 4)):
        for i in range(number):
            for name in NAMES:
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(random.Random(f"{split} {i}"), COLOURS[name]).save(path)
    return root


def test_both_networks_are_told_the_domain_of_the_partner() -> None:
    """By channels behind the source's own, and the source is the sample's own picture."""
    recipe = tiny()
    whole = Batch(labels=torch.eye(3)[[0, 2]], labels_pair=torch.eye(3)[[1, 0]])
    prepared = recipe.prepare(whole, step_generator(0, 0, 0))
    assert prepared["y"].tolist() == [1, 0] and recipe.abilities.targets == ()
    x, x_pair = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    x_src, x_trg = recipe.pair(Batch(x=x, x_pair=x_pair, **prepared))
    assert torch.equal(x_src[:, :TOLD], x) and torch.equal(x_trg, x_pair)
    assert torch.equal(x_src[:, TOLD:], torch.eye(3)[[1, 0]][:, :, None, None].expand(-1, -1, 32, 32))
    assert recipe.generator(x_src).shape == x_trg.shape and recipe.discriminator(x_src, x_trg).ndim == 2


def test_two_domains_are_one_way_unless_any_is_asked_for() -> None:
    two = LabelSpace([LabelGroup("discs", NAMES[:2], "one_of")])
    assert tiny(two).abilities.targets == ("Green",)
    both = tiny(two, direction="any").eval()
    x, told = torch.rand(1, 3, 32, 32), [torch.tensor([domain]) for domain in (0, 1)]
    assert both.abilities.targets == () and not torch.equal(*(both.translate(x, y) for y in told))


def test_each_domain_has_its_channels_of_the_first_convolutions() -> None:
    for layers, key in ((1, "discriminator.model.0.weight"), (0, "discriminator.net.0.weight")):
        slots = tiny(discriminator_layers=layers).label_slots()
        at = {(slot.parameter, slot.owner): (slot.axis, slot.index) for slot in slots}
        expected = {name: (1, TOLD + i) for i, name in enumerate(NAMES)}
        assert at == {(p, n): place for p in ("generator.model.model.0.weight", key) for n, place in expected.items()}


def test_what_has_one_direction_is_refused_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="direction BtoA: of 3 domains any is translated to any; leave it out"):
        tiny(direction="BtoA")
    maps = PictureFormat(3, 32, 32, source=PictureFormat(1, 32, 32, 0, 4, classes=5))
    with pytest.raises(ConfigError, match="direction any: the pictures of the two domains are of different kinds"):
        Pix2Pix(Config(**TINY, direction="any"), LabelSpace([LabelGroup("discs", NAMES[:2], "one_of")]), maps)
    two_sets = LabelSpace([LabelGroup("discs", NAMES, "one_of"), LabelGroup("pets", ("cat", "dog"), "one_of")])
    with pytest.raises(
        ConfigError, match="Pix2Pix translates between 2 or more domains of one dataset; these data have 5 in 2"
    ):
        tiny(two_sets)


def test_folders_of_equal_names_train_one_model_for_all_directions(data: Path, tmp_path: Path) -> None:
    """It is nearer to the true partner than a copy for every target, moves to other domains, and is measured for each."""
    quick = {"recipe.conv_dim": 8, "recipe.lr": 2e-3, "train.steps": 150, "train.batch_size": 6, "train.ema_kimg": 0}
    settings = BRIEF | {f"recipe.{key}": value for key, value in TINY.items()} | quick | {"data.pairs": "names"}
    train("pix2pix", data, tmp_path / "run", overrides=settings)
    model = load(tmp_path / "run", device="cpu", precision="float32")
    assert model.labels == NAMES
    for own, target in (("Green", "Red"), ("Red", "Blue"), ("Blue", "Green")):
        errors, copied = [], []
        for i in range(4):
            files = (data / "test" / name / f"{i}.png" for name in (own, target))
            source, wanted = (np.asarray(Image.open(file).convert("RGB")) for file in files)
            errors.append(np.square(np.asarray(model.translate(source, target)).astype(float) - wanted).mean())
            copied.append(np.square(source.astype(float) - wanted).mean())
        assert np.mean(errors) < 0.5 * np.mean(copied), f"from {own} to {target}"
    columns = json.loads((tmp_path / "run" / "previews" / "targets.json").read_text())
    assert {column.split(",")[0] for column in columns} == {"source", *NAMES}
    with pytest.raises(ModelError, match="not told a target, and this model was trained for 3 domains"):
        export_published(model.model, tmp_path / "published")

    opened = open_data(DataConfig(sources=(str(data),), size=(32, 32), pairs="names"))
    sets, protocol = [Pictures(held, opened.picture, print) for held in opened.splits["test"]], named("pairs")
    tasks = protocol.plan(sets, opened.space, partners_of(sets), tiny().eval(), protocol.parameters)
    assert {opened.space.names[task.index] for task in tasks} == set(NAMES)


def test_folders_of_equal_names_are_pairs_only_when_asked_for(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training pictures that are pairs.*--data.pairs AtoB.*, names for more than two"):
        train("pix2pix", data, tmp_path / "run", overrides=BRIEF | {f"recipe.{key}": value for key, value in TINY.items()})
