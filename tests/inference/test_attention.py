"""The attention of a translation, shown beside it, and targets from a table: a reference's numbers, the frames of a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.data.pictures import read
from asterism.inference import told_by_table
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.interpolation import film_files
from asterism.inference.told_by_table import TableError
from asterism.labels import LabelError
from asterism.storage.model_file import ModelError
from tests.helpers.translators import translator

UNITS = "faces:number:AU06,AU12"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    array = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "me.png")
    return tmp_path / "me.png"


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("recipe", ["ganimation", "aster"])
def test_the_mask_is_written_beside_the_translation(recipe: str, photo: Path, tmp_path: Path) -> None:
    model = translator(recipe)
    summary = translate_folder(model, [photo], ["Glasses", "sad"], tmp_path / "out", attention=True)
    names = {f"me__{target}{ending}.png" for target in ("Glasses", "sad") for ending in ("", "-mask")}
    assert {path.name for path in summary.written} == names
    shown = read(tmp_path / "out" / "me__Glasses-mask.png")
    assert shown.shape == (40, 30, 1) and shown.dtype == np.uint8
    expected = model.attention(photo, "Glasses")
    np.testing.assert_allclose(shown[..., 0] / 255, expected, atol=0.5 / 255 + 1e-6)
    assert expected.max() > expected.min() >= 0
    plain = translate_folder(model, [photo], ["Glasses"], tmp_path / "plain")
    assert [path.name for path in plain.written] == ["me__Glasses.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "me__Glasses.png"), read(plain.written[0]))


def test_what_the_model_did_not_see_is_not_painted(photo: Path) -> None:
    """With `crop` the translated centre is 30 x 30."""
    shown = translator("ganimation").attention(photo, "Glasses", fit="crop")
    assert shown.shape == (40, 30) and not shown[:5].any() and not shown[35:].any() and shown[5:35].min() > 0


def test_a_target_over_two_datasets_paints_where_either_pass_does() -> None:
    model = translator("ganimation")
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    first = model.attention(x, "Glasses")
    y = model.translate(x, "Glasses")
    both, second = model.attention(x, "Glasses,sad"), model.attention(y, "sad")
    torch.testing.assert_close(both, 1 - (1 - first) * (1 - second))


def test_a_recipe_without_attention_says_so(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="stargan has no attention to show"):
        translate_folder(translator("stargan"), [photo], ["Glasses"], tmp_path / "out", attention=True)
    assert not (tmp_path / "out").exists()


def test_a_reference_gives_the_numbers_that_the_table_knows(photo: Path, tmp_path: Path) -> None:
    model = translator("ganimation", UNITS)
    known = table(tmp_path / "faces.csv", "file,AU06_r,AU12_r,AU99_r", "a/smile.png,1.5,4.0,1", "b/smile.png,,0,1")
    target = told_by_table.like(model, known, tmp_path / "a" / "smile.png")
    assert [(edit.name, dict(edit.values)) for edit in target] == [
        ("like-smile", {0: pytest.approx(0.3), 1: pytest.approx(0.8)})
    ]
    (written,) = translate_folder(model, [photo], [target], tmp_path / "out").written
    assert written.name == "me__like-smile.png"
    (named,) = translate_folder(model, [photo], ["AU06=0.3,AU12=0.8"], tmp_path / "named").written
    np.testing.assert_array_equal(read(written), read(named))
    (edit,) = told_by_table.like(model, known, Path("b/smile.png"))
    assert dict(edit.values) == {1: 0}, "an empty cell leaves the number as it is"


def test_what_a_table_cannot_say_is_one_sentence(tmp_path: Path) -> None:
    model = translator("ganimation", UNITS)
    faces = table(tmp_path / "faces.csv", "file,AU12", "smile.png,0.4", "grin.png,1.4")
    with pytest.raises(
        TableError, match=r"faces.csv has no rows of .*other.png; expected one \(it has rows: 2 \(smile.png, grin.png\)\)"
    ):
        told_by_table.like(model, faces, tmp_path / "other.png")
    with pytest.raises(LabelError, match=r"faces.csv, row 2: AU12=1.4: expected a number from 0 to 1"):
        told_by_table.frames(model, faces)
    with pytest.raises(TableError, match="no rows of smile.png; expected one .it has no column of file names"):
        told_by_table.like(model, table(tmp_path / "film.csv", "AU12", "0.4"), Path("smile.png"))
    with pytest.raises(TableError, match="no column of a label of the model: expected some of AU06, AU12; it has file, mood"):
        told_by_table.frames(model, table(tmp_path / "moods.csv", "file,mood", "a.png,1"))


def test_a_film_has_a_frame_for_each_row(photo: Path, tmp_path: Path) -> None:
    """Of a video's table, which names frames and no pictures of its own; batches change nothing."""
    model = translator("ganimation", UNITS)
    path = table(tmp_path / "talk.csv", "frame, success, AU06_r, AU12_r", "1, 1, 0, 0", "2, 1, 1, 2.5", "3, 1, 2, 5")
    frames = told_by_table.frames(model, path)
    summary = film_files(model, [photo], frames, "talk", tmp_path / "out", kind="frames", batch_size=2)
    assert [p.relative_to(tmp_path / "out").as_posix() for p in summary.written] == [f"me__talk/000{i}.png" for i in (1, 2, 3)]
    for written, to in zip(summary.written, ("AU06=0,AU12=0", "AU06=0.2,AU12=0.5", "AU06=0.4,AU12=1"), strict=True):
        by_itself = np.asarray(model.translate(photo, to)).astype(int)
        assert np.abs(read(written).astype(int) - by_itself).max() <= 1  # Sums in another order.
    with pytest.raises(FolderError, match="would be replaced"):
        film_files(model, [photo], frames, "talk", tmp_path / "out", kind="frames")
