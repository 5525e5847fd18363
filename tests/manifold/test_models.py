"""Projection and edits of loaded models: latents, styles and labels; in Python and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.pictures import PictureError
from asterism.labels import LabelError
from asterism.manifold.code_files import read_codes
from asterism.storage.model_file import ModelError
from tests.helpers.generating import painter, save_dcgan
from tests.helpers.translators import translator

FEW = {"starts": 2, "steps": 10}


def strokes(side: int, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> Image.Image:
    """A picture of one stroke, transparent elsewhere."""
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    image.paste((*colour, 255), box)
    return image


def test_latents_of_a_model_that_is_told_labels() -> None:
    model = painter()
    (red,) = model.generate(seeds=[3], to="Red")
    found = model.project([red, red], to="Red", **FEW)
    assert found.kind == "latent" and found.codes.shape == (2, 1) and max(found.errors) < 1e-3
    assert isinstance(found.pictures[0], Image.Image)
    with pytest.raises(LabelError, match="is told labels: name a target"):
        model.project(red)


def test_styles_in_which_a_translation_is_most_like_the_picture() -> None:
    model = translator("stargan_v2", "pets:one_of:cat,dog")
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = model.translate(x, "dog", style=5)
    own = model.translate(x, "dog", like=x[0])
    found = model.project(x, to="dog", **FEW)
    assert found.kind == "style" and found.codes.shape == (1, 4)
    # The picture's own style is where the search begins, and it gets better from there.
    assert found.errors[0] <= float((own - x).square().mean()) + 1e-6
    paint = torch.cat([(wanted[0] + 1) / 2, torch.ones(1, 32, 32)]).mul(255).round().byte().permute(1, 2, 0).numpy()
    edited = model.edit(paint=paint, source=x, to="dog", candidates=4, steps=20, stay=0.0)
    before = float((own - wanted).square().mean())
    assert edited.way == "linear" and edited.costs[0] < before
    with pytest.raises(LabelError, match="has styles of domains: name one"):
        model.project(x, **FEW)
    with pytest.raises(ConfigError, match="the codes of stargan_v2 are style, which need a source picture"):
        model.edit(paint=paint, to="dog")


def test_labels_of_a_translator_as_numbers() -> None:
    model = translator("stargan")
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = model.project(x, labels="Black_Hair,Blond_Hair=no,Glasses=no", **FEW)
    assert found.kind == "labels" and found.codes.shape == (1, 3)  # Those of the pictures' own dataset.
    assert found.codes.min() >= 0 and found.codes.max() <= 1
    untouched = model.translate(x, "Black_Hair", labels="Black_Hair,Blond_Hair=no,Glasses=no")
    assert found.errors[0] <= float((untouched - x).square().mean()) + 1e-6
    with pytest.raises(LabelError, match="are its labels, which are searched: leave out the target"):
        model.project(x, to="Glasses", **FEW)
    with pytest.raises(ModelError, match="decodes no code that could be searched"):
        translator("cyclegan", "pets:one_of:cat,dog").project(x)


def test_numbers_and_pictures_that_are_refused(tmp_path: Path) -> None:
    model = asterism.load(save_dcgan(tmp_path), device="cpu", precision="float32")
    picture = np.zeros((16, 16, 3), np.uint8)
    for arguments, words in (
        ({"fit": "full"}, "expected crop or letterbox"),
        ({"starts": 0}, "the number of starts is 0"),
        ({"batch_size": 0}, "the batch size is 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            model.project(picture, **arguments)
    with pytest.raises(PictureError, match=r"uint8 pictures are \[H, W, 3\] for this model"):
        model.project(np.zeros((16, 16, 4), np.uint8))
    start = model.latents(1)[0]
    for paint, said in (
        (Image.new("RGB", (8, 8)), "this one .RGB. has no transparency"),
        (np.zeros((8, 8, 3), np.uint8), "the last channel opacity"),
        (tmp_path / "nothing.png", "it is not a readable picture of strokes"),
    ):
        with pytest.raises(PictureError, match=said):
            model.edit(start, paint=paint)
    with pytest.raises(ConfigError, match="at least one stroke"):
        model.edit(start, paint=Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    with pytest.raises(ConfigError, match="a warp moves a patch of a picture: give the code to start from"):
        model.edit(warp=[(1, 1, 2, 2)])
    edited = model.edit(paint=strokes(16, (0, 0, 9, 9), (255, 0, 0)), candidates=2, steps=1)
    with pytest.raises(ConfigError, match="this edit began anywhere, so give a start"):
        edited.slide(0)
    with pytest.raises(ConfigError, match="there is no candidate 7"):
        edited.slide(7, start=start)


def test_colour_sketch_and_warp_each_move_the_picture_their_way(tmp_path: Path) -> None:
    model = asterism.load(save_dcgan(tmp_path), device="cpu", precision="float32")
    z = model.latents(3)
    start, y = z[0], model.generate(code=z)
    target = np.asarray(y[1])
    paint = np.dstack([target, np.full((16, 16, 1), 255, np.uint8)])
    edited = model.edit(start, paint=paint, candidates=12, steps=60, stay=0.0)
    apart = [np.abs(np.asarray(picture).astype(int) - target).mean() for picture in (y[0], edited.pictures[0])]
    assert apart[1] < 0.5 * apart[0]
    ends = edited.slide(0, steps=3)
    assert len(ends) == 4 and edited.way == "spherical"
    assert np.abs(np.asarray(ends[0]).astype(int) - np.asarray(y[0])).max() <= 1
    assert np.abs(np.asarray(ends[3]).astype(int) - np.asarray(edited.pictures[0])).max() <= 1
    sketch = model.edit(start, sketch=strokes(16, (6, 0, 8, 16), (255, 255, 255)), candidates=6, steps=30, stay=0.0)
    warp = model.edit(start, warp=[(5, 5, 10, 10, 6)], candidates=6, steps=30, stay=0.0)
    for found, brush in (
        (sketch, {"sketch": strokes(16, (6, 0, 8, 16), (255, 255, 255))}),
        (warp, {"warp": [(5, 5, 10, 10, 6)]}),
    ):
        still = model.edit(start, **brush, candidates=1, steps=0)
        assert found.costs[0] < still.costs[0]
    on = model.edit(
        edited.codes[0], wishes=edited.wishes, sketch=strokes(16, (6, 0, 8, 16), (255, 255, 255)), candidates=2, steps=2
    )
    assert float(on.wishes.colour_mask.sum()) == 256 and float(on.wishes.edge_mask.sum()) > 0


def test_an_edit_is_done_to_the_photograph_itself(tmp_path: Path) -> None:
    """Outside of what the model sees of a large photograph nothing changes; inside, it goes the way of the edit."""
    model = asterism.load(save_dcgan(tmp_path), device="cpu", precision="float32")
    z = model.latents(2)
    small = [picture.resize((64, 64), Image.Resampling.BICUBIC) for picture in model.generate(code=z)]
    photo = np.full((64, 96, 3), 200, np.uint8)
    photo[:, 16:80] = np.asarray(small[0])
    paint = np.dstack([np.asarray(model.generate(code=z[1])[0]), np.full((16, 16, 1), 255, np.uint8)])
    edited = model.edit(z[0], paint=paint, candidates=8, steps=80, stay=0.0)
    made = edited.transfer(0, photo)
    assert made.shape == photo.shape and made.dtype == np.uint8
    assert np.array_equal(made[:, :16], photo[:, :16]) and np.array_equal(made[:, 80:], photo[:, 80:])
    aim = np.asarray(edited.pictures[0].resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
    apart = [np.abs(x[:, 16:80].astype(int) - aim).mean() for x in (photo, made)]
    assert apart[1] < 0.8 * apart[0]
    assert edited.transfer(0, photo, fit="letterbox").shape == photo.shape


def test_edit_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = save_dcgan(tmp_path / "run"), tmp_path / "out"
    model = asterism.load(run, device="cpu", precision="float32")
    photo = tmp_path / "me.png"
    model.generate(seeds=[4])[0].resize((40, 32)).save(photo)
    strokes(32, (8, 8, 20, 20), (250, 240, 10)).save(tmp_path / "paint.png")
    words = ["edit", str(run), "--paint", str(tmp_path / "paint.png"), "--candidates", "6", "--steps", "5", "--device", "cpu"]
    assert main([*words, "--picture", str(photo), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "mean squared error of its projection" in said and "the way to one is spherical" in said
    names = set(read_codes(out / "codes.safetensors").by_name)
    assert "candidate_01" in names and (out / "candidates.png").exists() and (out / "way.gif").exists()
    assert Image.open(out / "me__edited.png").size == (40, 32)
    more = tmp_path / "more"
    again = [*words, "--from", "candidate_01", "--codes", str(out / "codes.safetensors"), "--warp", "4,4,9,9,4"]
    assert main([*again, "--out", str(more)]) == 0
    assert main([*again, "--out", str(more)]) == 1
    assert "would be replaced" in capsys.readouterr().err
    assert main([*words, "--from", "candidate_1", "--codes", str(out / "codes.safetensors"), "--out", str(more)]) == 1
    assert "no code is saved as 'candidate_1': did you mean candidate_01" in capsys.readouterr().err
