"""Presets that are named after published code take the pictures as that code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from asterism.data.dataset import open_data
from asterism.data.loader import Loader
from asterism.engine.run import in_steps
from asterism.recipes.pix2pixhd import Pix2PixHD
from asterism.recipes.settings import Settings
from tests.helpers import label_maps

MIRRORED = {
    ("stargan", "published"): True,
    ("fixed_point", "published"): True,
    ("icgan", "published"): True,
    ("icgan", "celeba"): True,
    ("dcgan", "published"): False,
    ("wgan", "published"): False,
    ("lapgan", "published"): False,
    ("semistargan", "published"): False,
    ("semistargan", "celeba"): False,
    ("semistargan", "hair"): False,
    ("stgan", "published"): False,
    ("discogan", "published"): False,
}
"""Whether the code of a paper mirrors half of its training pictures."""


@pytest.mark.parametrize("which", MIRRORED, ids="-".join)
def test_pictures_are_mirrored_where_the_published_code_mirrors_them(which: tuple[str, str]) -> None:
    name, preset = which
    assert Settings.resolve(name, ["data"], preset).data.flip == MIRRORED[which]


def test_pix2pixhd_sees_every_label_map_200_times(tmp_path: Path) -> None:
    settings = Settings.resolve("pix2pixhd", [str(label_maps.write(tmp_path))], "published", {"data.workers": 0})
    datasets, streams = open_data(settings.data, two_kinds=True), Pix2PixHD.streams
    sets, batch = datasets.splits["train"], settings.train.batch_size
    loader = Loader(sets, datasets.picture, settings.data, batch_size=batch, seed=0, streams=streams, on_broken=print)
    config, pairs = in_steps(settings.train, loader.steps_per_epoch), label_maps.SPLITS.count("train")
    assert (config.steps, config.decay_steps) == (200 * pairs, 100 * pairs)
