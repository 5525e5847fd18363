"""A user's picture of any size, orientation and kind goes in through the command line and comes out translated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.cli import main
from asterism.data.pictures import PictureError, read, to_depth, write
from asterism.inference.folder import translate_folder
from asterism.recipes.model import save_model
from tests.helpers.negative import negative
from tests.helpers.recipes import SPACES, tiny

# File name -> size as a viewer shows it (height, width).
SHOWN = {
    "turned.jpg": (50, 30),
    "mirrored.jpg": (30, 50),
    "row.png": (1, 3),
    "column.png": (3, 1),
    "dot.png": (1, 1),
    "ribbon.png": (4, 400),
    "grey.png": (20, 24),
    "clear.png": (24, 20),
    "palette.gif": (16, 17),
    "deep_grey.png": (18, 22),
    "deep_colour.tif": (22, 18),
    "large.webp": (300, 500),
}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of every kind, smooth, so that where up is can be told."""
    root = tmp_path_factory.mktemp("album")

    def ramp(height: int, width: int, channels: int = 3, top: int = 255) -> np.ndarray:
        down, right = np.mgrid[0:height, 0:width] / np.array([max(1, height - 1), max(1, width - 1)])[:, None, None]
        shown = np.stack([down, right, 1 - down, down * 0 + 1][:channels], axis=2)
        return np.rint(shown * top).astype(np.uint8 if top == 255 else np.uint16)

    for name, orientation in (("turned.jpg", 6), ("mirrored.jpg", 2)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(ramp(30, 50)).save(root / name, exif=exif, quality=100, subsampling=0)
    for name in ("row.png", "column.png", "dot.png", "ribbon.png"):
        write(root / name, ramp(*SHOWN[name]))
    write(root / "grey.png", ramp(20, 24, 1))
    write(root / "clear.png", ramp(24, 20, 4))
    Image.fromarray(ramp(16, 17)).quantize(64).save(root / "palette.gif")
    write(root / "deep_grey.png", ramp(18, 22, 1, 65535))
    write(root / "deep_colour.tif", ramp(22, 18, 3, 65535))
    write(root / "large.webp", ramp(300, 500))
    return root


@pytest.mark.parametrize("name", ["stargan_v2", "fixed_point"])
@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_every_kind_of_picture_comes_out_translated(name: str, fit: str, album: Path, tmp_path: Path) -> None:
    recipe = tiny(name, SPACES["folders"])
    save_model(tmp_path / "m.safetensors", recipe, name, recipe.state_dict(), info={})
    words = ["translate", str(tmp_path / "m.safetensors"), str(album), "--to", "red", "--fit", fit, "--device", "cpu"]
    words += ["--precision", "float32", "--out", str(tmp_path / "out")]
    assert main(words if name == "fixed_point" else [*words, "--style", "3"]) == 0
    ending = "__red.png" if name == "fixed_point" else "__red-style3.png"
    model = asterism.load(tmp_path / "m.safetensors", "cpu", "float32")
    for file, size in SHOWN.items():
        made = read(tmp_path / "out" / (Path(file).stem + ending))
        assert made.shape == (*size, 3) and made.dtype == np.uint8, file
        upright = to_depth(read(album / file, 3), 8)  # As a viewer shows it, which is tested on its own.
        look = {} if name == "fixed_point" else {"style": 3}
        alone = np.asarray(model.translate(Image.fromarray(upright), "red", **look, fit=fit), dtype=int)
        assert np.abs(made - alone).max() <= 1, file
        if min(size) > 8:
            assert np.abs(made - upright.astype(int)).mean() > 2, f"{file} is as it was"


@pytest.mark.parametrize("name", ["stargan_v2", "fixed_point"])
def test_a_model_of_grey_16_bit_pictures_keeps_their_depth(name: str, album: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    recipe = tiny(name, SPACES["folders"], channels=1)
    recipe.picture = replace(recipe.picture, high=65535.0, depth=16)
    save_model(tmp_path / "m.safetensors", recipe, name, recipe.state_dict(), info={})
    words = ["translate", str(tmp_path / "m.safetensors"), str(album / "deep_grey.png"), str(album / "turned.jpg"), "--diff"]
    assert main([*words, "--to", "red", "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    made = read(tmp_path / "out" / "deep_grey__red.png")
    assert made.shape == (18, 22, 1) and made.dtype == np.uint16 and len(np.unique(made)) > 256 / 2
    assert read(tmp_path / "out" / "turned__red.png").shape == (50, 30, 1), "8 bits are brought to the full range"
    assert read(tmp_path / "out" / "turned__red-changes.png").shape[2] == 3


def test_pictures_of_another_depth_or_range_are_not_taken_in_silence(tmp_path: Path) -> None:
    """8 bits for a model of 0 to 4095: white. 12 bits for a model of 8 bits: black. Values beyond the range: clipped."""
    ct, photo = negative(channels=1, depth=16, high=4095), negative(channels=1)
    grey = np.full((16, 16, 1), 200, np.uint8)
    deep = np.full((16, 16, 1), 4000, np.uint16)
    for translator, given in ((ct, grey), (ct, Image.fromarray(grey[:, :, 0])), (ct, torch.from_numpy(grey))):
        with pytest.raises(PictureError, match="it has 8 bits, and this model takes values from 0 to 4095 in 16 bits"):
            translator.translate(given, "Male")
    with pytest.raises(PictureError, match=r"values reach 4,000 of 65,535, nearly black"):
        photo.translate(deep, "Male")
    photo.translate(deep * 16, "Male")
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "wide.tif", np.where(np.arange(256).reshape(16, 16, 1) < 64, 9000, deep).astype(np.uint16))
    write(tmp_path / "in" / "whole.tif", deep)
    summary = translate_folder(ct, [tmp_path / "in"], ["Male"], tmp_path / "out")
    assert summary.clipped == [(tmp_path / "in" / "wide.tif", 0.25)] and "wide.tif 25%" in str(summary)
