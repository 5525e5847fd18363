"""The textured drawings: nothing has one colour, and true pictures differ from their source where the edit is."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.helpers.tools import tool

SIDE, BACK, SKIN = 64, (219, 233, 246), (160, 90, 60)


def drawing(smiles: bool) -> Image.Image:
    """A head whose eye has the colour of the background."""
    picture = Image.new("RGB", (SIDE, SIDE), BACK)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((12, 8, 52, 56), fill=SKIN)
    draw.rectangle((22, 20, 30, 28), fill=BACK)
    if smiles:
        draw.rectangle((24, 40, 40, 46), fill=(250, 250, 250))
    return picture


@pytest.mark.parametrize("photographs", [False, True])
def test_a_drawing_gets_textures_and_its_edit_the_same(tmp_path, monkeypatch, photographs) -> None:
    source, out, textures = tmp_path / "flat", tmp_path / "out", tmp_path / "textures"
    source.mkdir(), textures.mkdir()
    rows = [(f"{i}{'ab'[j]}.png", "test", str(i), "1" if j else "-1", "dbe9f6") for i in range(2) for j in range(2)]
    for name, *_, smiles, _ in rows:
        drawing(smiles == "1").save(source / name)
    with (source / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "split", "identity", "Smiling", "back"), *rows])
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(textures / "a.png")
    given = ["--textures", str(textures)] if photographs else []
    monkeypatch.setattr(sys, "argv", ["make_textured", str(source), str(out), *given])
    tool("make_textured").main()
    with (out / "manifest.csv").open(newline="") as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == rows
    made = {name: np.asarray(Image.open(out / name), np.float32) for name, *_ in rows}
    plain, smiling, other = made["0a.png"], made["0b.png"], made["1a.png"]
    assert plain.shape == (SIDE, SIDE, 3)
    assert plain[:6].std() > 10, "the background has a texture"
    assert np.abs(plain[:6] - other[:6]).mean() > 10, "and each identity its own"
    changed = np.abs(plain - smiling).mean(2)
    assert changed[40:46, 26:38].mean() > 40 and changed[:16].mean() < 1, "the edit changes the mouth"
    eye, skin = plain[22:26, 24:28].mean((0, 1)), plain[34:38, 28:36].mean((0, 1))
    assert eye.mean() > skin.mean() + 40, "an eye of the background's colour stays an eye"
