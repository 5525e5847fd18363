"""Pictures at their own resolution: tiles that join without a trace, and what is chosen for which picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.inference import tiles
from asterism.inference.tiles import PIECES, Seams, Source, prepare, translate_rows
from asterism.inference.tiling import Plan, Tiling, places, plan
from asterism.inference.translator import Translator
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.cpu import handwritten
from asterism.networks.layers import InstanceNorm2d
from asterism.recipes.base import Abilities, Recipe
from asterism.recipes.model import Model
from tests.helpers.negative import FACES, asked, negative
from tests.helpers.translators import translator

SPACE = LabelSpace([LabelGroup("faces", ("Smiling",), "binary")])


class Plain(Recipe):
    """Translates by one module, whatever the target."""

    def __init__(self, picture: PictureFormat, network: nn.Module, abilities: Abilities) -> None:
        super().__init__(None, SPACE, picture)
        self.network, self.abilities, self.sizes = network, abilities, set[tuple[int, ...]]()
        self.seen_masks: list[Tensor] = []

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        self.sizes.add(tuple(x.shape[2:]))
        self.seen_masks += masks
        return self.network(x) + 0 * told.sum(1)[:, None, None, None]


def plain(
    network: nn.Module | None = None,
    *,
    multiple: int | None = 1,
    channels: int = 3,
    depth: int = 8,
    size: tuple[int, int] = (16, 16),
    precision: str = "float32",
    masks: tuple[str, ...] = (),
    low: float = 0.0,
    high: float = 0.0,
) -> Translator:
    picture = PictureFormat(channels, *size, low, high or float(2**depth - 1), depth)
    abilities = Abilities(translates=True, told="code", side_multiple=multiple, masks=masks)
    recipe = Plain(picture, network or nn.Identity(), abilities)
    return Translator(Model(recipe, "plain", SPACE, picture, None, {}), "cpu", precision)


def convolutions(channels: int = 3) -> nn.Sequential:
    """Three layers, one of which halves and one of which doubles; a pixel sees 9 pixels around it."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 4, stride=2, padding=1),
        nn.Tanh(),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1),
        nn.Conv2d(4, channels, 3, padding=1),
        nn.Tanh(),
    )


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (5, 8), (1, 16), (3, 16)])
@pytest.mark.parametrize("overlap", [0, 5, 8])
def test_a_network_that_changes_nothing_gives_back_the_picture(channels: int, depth: int, overlap: int) -> None:
    picture = np.random.default_rng(0).integers(0, 2**depth, (61, 83, channels)).astype(np.uint8 if depth == 8 else np.uint16)
    model = plain(channels=channels, depth=depth)
    result = model.translate(picture, "Smiling", fit="full", tile=16, overlap=overlap)
    assert result.dtype == picture.dtype
    assert model.recipe.sizes - {(32, 32)} == {(16, 16)}  # And, once, the sheet in which norms are looked for.
    np.testing.assert_array_equal(result, picture)


def test_floats_come_back_to_the_bit() -> None:
    x = torch.rand(2, 3, 40, 70) * 2 - 1
    assert torch.equal(plain().translate(x, "Smiling", fit="full", tile=16), x)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (61, 83), (20, 131), (16, 16), (33, 7)])
def test_tiles_of_a_convolutional_network_show_no_seam(height: int, width: int) -> None:
    """All that a pixel depends on lies in its tile, so that no tile can be told from the whole."""
    model = plain(convolutions(), multiple=2, precision="float64")
    x = torch.rand(3, height, width) * 2 - 1
    whole = model.translate(x, "Smiling", fit="full", tile=256)
    assert model.recipe.sizes == {tuple(max(16, side + side % 2) for side in (height, width))}
    tiled = model.translate(x, "Smiling", fit="full", tile=72, overlap=36)  # A quarter of it is 9.
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-6)
    assert max(height, width) <= 72 or len(model.recipe.sizes) > 1
    narrow = model.translate(x, "Smiling", fit="full", tile=16, overlap=0)
    assert max(height, width) <= 16 or (narrow - whole).abs().max() > 1e-3  # There is something to see.


def test_the_picture_is_read_by_rows_of_tiles_and_given_by_rows() -> None:
    model, x = plain(convolutions(), multiple=2), torch.rand(3, 200, 48) * 2 - 1
    asked_for: list[tuple[int, int]] = []

    def read(top: int, bottom: int) -> Tensor:
        asked_for.append((top, bottom))
        return x[:, top:bottom]

    source, said = Source(200, 48, read), list[int]()
    (passes,) = prepare(model, source, [target_of(model)])
    assert asked_for == []
    chosen = plan(model, 200, 48, Tiling(32), *passes[0])
    rows = list(translate_rows(model, source, chosen, passes, tell=said.append))
    assert max(bottom - top for top, bottom in asked_for) == 32 and len(rows) == len(chosen.tops)
    assert [top for top, _ in asked_for[PIECES:]] == list(chosen.tops)  # After the pieces whose statistics are shared.
    assert said == list(range(1, len(rows) + 1)) and sum(part.shape[1] for part in rows) == 200
    torch.testing.assert_close(torch.cat(rows, 1), model.translate(x, "Smiling", fit="full", tile=32))


def target_of(model: Translator) -> Any:
    from asterism.inference.styles import Target

    return Target(model.parse(model.labels[0]))


@pytest.mark.parametrize("length", [17, 32, 33, 100, 1000])
@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_cover_a_side_evenly_and_share_enough(length: int, multiple: int) -> None:
    length = -(-length // multiple) * multiple
    starts = places(length, 16, 8, multiple)
    shared = [a + 16 - b for a, b in zip(starts[:-1], starts[1:], strict=True)]
    assert starts[0] == 0 and starts[-1] == length - 16 and min(shared) >= 8
    assert not any(start % multiple for start in starts)


def chosen(model: Translator, height: int, width: int, **wanted: Any) -> Plan:
    (passes,) = prepare(
        model, Source(height, width, lambda top, bottom: torch.zeros(3, bottom - top, width)), [target_of(model)]
    )
    return plan(model, height, width, Tiling(**wanted), *passes[0])


def test_whole_where_memory_allows_it_else_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    model = plain(convolutions(), multiple=2)
    assert str(chosen(model, 300, 500)) == "500 x 300 pixels, whole: no larger than a tile"
    monkeypatch.setattr("asterism.inference.tiling.available", lambda machine: 2**30)
    assert chosen(model, 1000, 700).whole
    tiles = chosen(model, 8000, 3001)
    assert tiles.tile == (512, 512) and tiles.overlap == 128 and len(tiles.tops) * len(tiles.lefts) == 21 * 8
    assert "3,001 x 8,000 pixels, in 168 tiles of 512 x 512 that overlap by 128: whole it would take about" in str(tiles)
    assert "1.0 GiB are free" in str(tiles)
    monkeypatch.setattr("asterism.inference.tiling.available", lambda machine: 2**20)
    assert chosen(model, 1000, 700).tile == (16, 16)  # Nothing larger fits.


def test_the_estimate_is_of_what_the_network_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest of its maps, four channels and four more in float32, is what these layers hold at their peak, and x."""
    from asterism.inference.memory import bytes_per_pixel

    model = plain(convolutions(), multiple=2)
    (passes,) = prepare(model, Source(16, 16, lambda top, bottom: torch.zeros(3, bottom - top, 16)), [target_of(model)])
    assert 4 * (4 + 4) <= bytes_per_pixel(model, *passes[0]) <= 4 * (4 + 4 + 3 + 3)


def test_a_model_of_one_size_takes_tiles_of_it() -> None:
    model = negative(FACES)
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    result = model.translate(picture, {"Male": True, "Blond_Hair": True, "Young": False}, fit="full")
    assert {tuple(x.shape[2:]) for x, _ in model.recipe.asked} == {(16, 16)} and model.recipe.classified == 0
    np.testing.assert_array_equal(result, np.rint((np.clip(-1.5 * (picture / 127.5 - 1), -1, 1) + 1) * 127.5).astype(np.uint8))
    assert "the only size that this model takes" in str(chosen(model, 40, 50))
    with pytest.raises(ConfigError, match="takes pictures of 16 x 16 only"):
        model.translate(picture, "Male", fit="full", tile=32)


def test_labels_are_read_once_from_the_whole_picture() -> None:
    """A tile of sky has no hair: what a target does not name is read from all of the picture, and is the same in each tile."""
    model = negative(FACES)
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:4, 4:8] = 255  # At the model's size the second pixel of the first row: Blond_Hair.
    model.translate(picture, "Male", fit="letterbox")
    letterboxed = asked(model)
    model.recipe.asked.clear()
    model.translate(picture, "Male", fit="full")
    assert model.recipe.classified == 2
    assert [row for call in range(len(model.recipe.asked)) for row in asked(model, call)] == letterboxed * 49


def test_bad_tiles_are_refused() -> None:
    model, picture = plain(), np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(ConfigError, match="the side of tiles is 0"):
        model.translate(picture, "Smiling", fit="full", tile=0)
    with pytest.raises(ConfigError, match="16 x 16 overlap by 9; expected 0 to 8 pixels"):
        model.translate(picture, "Smiling", fit="full", tile=16, overlap=9)


def test_features_of_any_length_are_translated() -> None:
    model = plain(channels=1, depth=32, size=(8, 16), low=-3.0, high=5.0)
    features = np.random.default_rng(0).normal(size=(8, 100)).astype(np.float32)
    np.testing.assert_allclose(model.translate(features, "Smiling", fit="full", tile=16), features, atol=1e-6)
    assert model.recipe.sizes == {(8, 16)}


def test_styles_are_the_same_in_every_tile() -> None:
    model = translator("stargan_v2")
    picture = np.random.default_rng(0).integers(0, 256, (32, 80, 3), dtype=np.uint8)
    seen: list[Tensor] = []
    usual = model.recipe.translate

    def watched(x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        assert s is not None
        seen.extend(s)
        return usual(x, told, s=s, masks=masks)

    model.recipe.translate = watched
    model.translate(picture, model.labels[0], style=3, strength=0.5, fit="full", tile=32)
    tiles = list(seen)
    model.translate(picture, model.labels[0], style=3, strength=0.5)
    assert len(tiles) > 2 and all(torch.equal(s, tiles[0]) for s in tiles)
    torch.testing.assert_close(tiles[0], seen[-1])  # As for the picture at the model's size.


@pytest.mark.parametrize("recipe", ["stargan", "cyclegan", "pix2pix", "aster", "fixed_point", "discogan"])
def test_every_recipe_takes_pictures_of_any_size(recipe: str) -> None:
    groups = "faces:one_of:sketch,photo" if recipe in ("cyclegan", "pix2pix", "discogan") else "faces:binary:Young,Male"
    model = translator(recipe, groups)
    picture = np.random.default_rng(0).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    target = (model.recipe.abilities.targets or model.labels)[0]
    result = model.translate(picture, target, fit="full", tile=None if model.recipe.abilities.side_multiple is None else 32)
    assert result.shape == picture.shape and len(np.unique(result)) > 1


def test_tiles_that_differ_are_counted() -> None:
    seams = Seams()
    seams.add(torch.tensor([1.0, -1.0]), torch.tensor([1.0, 0.0]))
    assert seams.mean == 0.25
    x = torch.linspace(-1, 1, 64).repeat(3, 32, 1)
    assert joined(plain(nn.InstanceNorm2d(3), multiple=None), x, 16)[1] > 0.1  # Each tile by its own mean.


def joined(model: Translator, x: Tensor, side: int) -> tuple[Tensor, float]:
    """Translate x in tiles, and say how far these were apart."""
    source, seams = Source(*x.shape[1:], lambda top, bottom: x[:, top:bottom]), Seams()
    (passes,) = prepare(model, source, [target_of(model)])
    rows = translate_rows(model, source, plan(model, *x.shape[1:], Tiling(side), *passes[0]), passes, seams=seams)
    return torch.cat(list(rows), 1), seams.mean


@pytest.mark.parametrize("channels_last", [True, False])
def test_tiles_share_the_statistics_of_their_norms(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Light that changes over the picture stays: a tile is not brought to the mean of the others."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), InstanceNorm2d(8, 0.0), nn.Conv2d(8, 3, 1), InstanceNorm2d(3), nn.Tanh()]
    model = plain(nn.Sequential(*layers), multiple=1, precision="float64")
    if not channels_last:
        monkeypatch.setattr(handwritten, "applies", lambda x: False)
    x = torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(0)) + torch.linspace(-1, 0, 160)
    whole = joined(model, x, 256)[0]
    tiled, apart = joined(model, x, 32)
    assert apart < 1e-12
    shared = (tiled - whole).abs().mean()
    monkeypatch.setattr(tiles, "_norms", lambda *arguments: None)
    alone, apart = joined(model, x, 32)
    assert apart > 0.01 and shared < (alone - whole).abs().mean() / 4


@pytest.mark.parametrize("recipe", ["stargan", "cyclegan", "aster"])
def test_recipes_of_any_size_share_statistics(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator(recipe, "faces:one_of:sketch,photo")
    x = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0)) * torch.linspace(-1, 1, 128)
    with_them = joined(model, x, 64)[1]
    monkeypatch.setattr(tiles, "_norms", lambda *arguments: None)
    assert with_them < 0.6 * joined(model, x, 64)[1]
