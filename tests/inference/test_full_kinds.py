"""Every pixel of pictures of another kind than the model makes: label maps, other channels, depths and value ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from asterism.batch import worker
from asterism.data.label_maps import colours
from asterism.data.pictures import PictureFormat, read
from asterism.inference import tiling
from asterism.inference.folder import translate_folder
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.networks.label_maps import edges
from asterism.recipes.base import Abilities, Recipe
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError
from tests.helpers.recipes import tiny
from tests.inference.test_full_files import GEO

SPACE = LabelSpace.from_text("two:one_of:A,B")
MADE = {"height": 16, "width": 16}
MAPS, INSTANCES = PictureFormat(1, **MADE, high=4, classes=5), PictureFormat(2, **MADE, high=4, depth=16, classes=5)
KINDS = {
    "label maps": PictureFormat(3, **MADE, source=MAPS),
    "label maps with instances": PictureFormat(3, **MADE, source=INSTANCES),
    "grey to colour": PictureFormat(3, **MADE, source=PictureFormat(1, **MADE)),
    "16 bits to 8": PictureFormat(3, **MADE, source=PictureFormat(1, **MADE, high=4095, depth=16)),
}


class Painted(Recipe):
    """Each class its colour, black where instances end; a grey value the colour (v, -v, v)."""

    def __init__(self, picture: PictureFormat) -> None:
        super().__init__(None, SPACE, picture)
        self.abilities = Abilities(translates=True, told="domain", targets=("B",), side_multiple=1)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def translate(self, x: Tensor, told: Tensor, *, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        if not self.picture.taken.classes:
            return torch.cat([x, -x, x], 1)
        y = colours(5).to(x)[x[:, 0].long()].permute(0, 3, 1, 2)
        return torch.where(edges(x[:, 1:]) > 0, -1.0, y) if x.shape[1] == 2 else y


def painting(kind: str) -> Translator:
    return Translator(Model(Painted(KINDS[kind]), "painted", SPACE, KINDS[kind], None, {}), "cpu", "float32")


def drawn(kind: str, height: int = 70, width: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """A source, stored values [H, W, C], and what the model makes of it, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    if kind.startswith("label maps"):
        ids, things = (y // 5 + x // 7) % 5, 40_000 + x // 9
        shown = ((colours(5).numpy()[ids] + 1) * 127.5).round().astype(np.uint8)
        if kind == "label maps":
            return ids[:, :, None].astype(np.uint8), shown
        ends = edges(torch.tensor(things, dtype=torch.float32)[None, None])[0, 0].numpy() > 0
        return np.stack([ids, things], 2).astype(np.uint16), np.where(ends[:, :, None], 0, shown)
    if kind == "grey to colour":
        grey = ((3 * x + 5 * y) % 256).astype(np.uint8)
        return grey[:, :, None], np.stack([grey, 255 - grey, grey], 2)
    wide = (16 * ((3 * x + 5 * y) % 256)).astype(np.uint16)  # A step of 8 bits is 16.06 of these.
    share = wide / 4095
    return wide[:, :, None], (np.stack([share, 1 - share, share], 2) * 255).round().astype(np.uint8)


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_is_read_as_what_it_is(kind: str, tile: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "SIDE", 16)  # So that a picture in one piece is one because of what memory there is.
    source, wanted = drawn(kind)
    made = painting(kind).translate(source, "B", fit="full", tile=tile)
    np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("kind", KINDS)
def test_files_are_read_so_and_tiffs_keep_their_place_on_earth(kind: str, suffix: str, tmp_path: Path) -> None:
    source, wanted = drawn(kind)
    path, options = tmp_path / "in" / f"x{suffix}", dict[str, Any]()
    path.parent.mkdir()
    if suffix == ".png":
        Image.fromarray(source[:, :, 0]).save(path)
    else:
        tifffile.imwrite(path, source[:, :, 0], extratags=GEO, rowsperstrip=8, compression="zlib")
    if source.shape[2] == 2:
        (tmp_path / "inst").mkdir()
        Image.fromarray(source[:, :, 1]).save(tmp_path / "inst" / "x.png")
        options["instances"] = tmp_path / "inst"
    summary = translate_folder(painting(kind), [path.parent], ["B"], tmp_path / "out", fit="full", tile=32, **options)
    assert [(p.name, summary.skipped, summary.clipped) for p in summary.written] == [(f"x__B{suffix}", [], [])]
    np.testing.assert_array_equal(read(summary.written[0]), wanted)
    if suffix == ".tif":
        with tifffile.TiffFile(summary.written[0]) as file:
            page: Any = file.pages.first
            assert {tag[0]: page.tags.valueof(tag[0]) for tag in GEO} == {tag[0]: tag[3] for tag in GEO}


def test_tiffs_that_are_no_label_maps_are_left_out_by_name(tmp_path: Path) -> None:
    ids = drawn("label maps", 64, 64)[0][:, :, 0]
    tifffile.imwrite(tmp_path / "beyond.tif", np.where(np.arange(64)[:, None] == 60, 9, ids).astype(np.uint8), rowsperstrip=8)
    tifffile.imwrite(tmp_path / "colour.tif", np.stack([ids] * 3, 2), photometric="rgb", rowsperstrip=8)
    Image.fromarray(ids).save(tmp_path / "lossy.tif", compression="jpeg")
    given = [tmp_path / f"{name}.tif" for name in ("beyond", "colour", "lossy")]
    for fit in ("full", "letterbox"):
        summary = translate_folder(painting("label maps"), given, ["B"], tmp_path / fit, fit=fit)
        said = {path.stem: why for path, why in summary.skipped}
        assert summary.written == [] and sorted(said) == ["beyond", "colour", "lossy"]
        assert "holds the id 9" in said["beyond"] and "3 channels" in said["colour"] and "JPEG" in said["lossy"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pix2pix", "pix2pixhd"])
def test_recipes_that_take_them_do_so_at_any_size(name: str, kind: str) -> None:
    recipe = tiny(name, SPACE, source=KINDS[kind].source).eval().requires_grad_(False)
    model = Translator(Model(recipe, name, SPACE, recipe.picture, recipe.config, {}), "cpu", "float64")
    multiple = recipe.abilities.side_multiple
    side = 3 * (multiple or recipe.picture.height)
    source, _ = drawn(kind, side, side)
    given = torch.tensor(source.astype(np.float32).transpose(2, 0, 1))
    x = given if recipe.picture.taken.classes else given / given.max() * 2 - 1
    made = model.translate(x, "B", fit="full")
    assert made.shape == (3, side, side)
    if multiple:  # Whole, then: what the network itself makes of it.
        told = torch.ones(1, dtype=torch.long)
        style = {"s": recipe.mean_style(told)} if recipe.abilities.style else {}
        torch.testing.assert_close(made, recipe.translate(x[None].double(), told, **style)[0].to(made.dtype))
        tiles = model.translate(x, "B", fit="full", tile=2 * recipe.picture.height)
        assert tiles.shape == made.shape and torch.isfinite(tiles).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_worker_takes_at_once_is_counted_for_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = painting(kind)
    monkeypatch.setattr(worker, "available", lambda machine: 2**40)
    assert worker.batch_that_fits(model, "B", 16, 1) == 16
    monkeypatch.setattr(worker, "available", lambda machine: 2**10)
    assert worker.batch_that_fits(model, "B", 16, 1) == 1


def test_a_source_of_another_kind_has_no_style_to_keep() -> None:
    recipe = tiny("pix2pixhd", SPACE, source=KINDS["grey to colour"].source, features=3).eval().requires_grad_(False)
    model = Translator(Model(recipe, "pix2pixhd", SPACE, recipe.picture, recipe.config, {}), "cpu", "float32")
    grey = torch.zeros(1, recipe.picture.height, recipe.picture.width)
    assert model.translate(grey, "B", like=torch.rand(3, *grey.shape[1:])).shape == (3, *grey.shape[1:])
    for options in ({"strength": 0.5}, {"source": "A"}):
        with pytest.raises(ModelError, match="another kind"):
            model.translate(grey, "B", **options)
