"""Features in, features out: in their own range, of any number of columns that the model can take, never resized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asterism import load, train
from asterism.cli import main
from asterism.data.pictures import PictureError, PictureFormat, write
from asterism.export.parity import trial
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError
from tests.helpers.negative import FACES, Negative
from tests.helpers.negative import negative as of_pictures
from tests.helpers.runs import small

ROWS, COLUMNS = 16, 24
LOW, HIGH = -10.0, 2.0


def negative(channels: int = 1) -> Translator:
    """Of a value v it makes 1.5 (middle - v) + middle: what it makes lies partly beyond the range, and is not clipped."""
    space, picture = LabelSpace([FACES]), PictureFormat(channels, ROWS, COLUMNS, LOW, HIGH, 32)
    return Translator(Model(Negative(space, picture), "negative", space, picture, None, {}), "cpu", "float32")


def inverted(array: np.ndarray) -> np.ndarray:
    middle = (LOW + HIGH) / 2
    return 1.5 * (middle - array) + middle


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(LOW - 1, HIGH + 1, shape).astype(np.float32)


@pytest.mark.parametrize("columns", [5, COLUMNS - 1, COLUMNS])
@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.float32])
def test_arrays_and_tensors_come_back_as_they_came(columns: int, kind: type) -> None:
    one, three = negative(), negative(3)
    shapes = [(ROWS, columns), (1, ROWS, columns), (3, ROWS, columns), (2, 3, ROWS, columns)]
    for model, shape in zip((one, one, three, three), shapes, strict=True):
        held = noise(*shape)
        given = torch.from_numpy(held) if kind is torch.float32 else held.astype(kind)
        result = model.translate(given, "Male")
        assert type(result) is type(given) and result.dtype == given.dtype and tuple(result.shape) == shape
        np.testing.assert_allclose(np.asarray(result), inverted(held), rtol=0, atol=1e-4)


def test_files_give_arrays(tmp_path: Path) -> None:
    for channels in (1, 3):
        held = noise(channels, ROWS, 20)
        np.save(tmp_path / "a.npy", held)
        result = negative(channels).translate(tmp_path / "a.npy", "Male")
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, inverted(held[0] if channels == 1 else held), atol=1e-4)


def test_of_more_columns_the_centre_is_translated_if_asked() -> None:
    held = noise(ROWS, COLUMNS + 7)
    with pytest.raises(
        PictureError, match="it has 31 columns, and this model takes 24: translate all of them with fit full, or"
    ):
        negative().translate(held, "Male")
    result = negative().translate(held, "Male", fit="crop")
    changed = np.abs(result - held).max(0) > 1e-3
    assert changed.sum() == COLUMNS and changed[4 : 4 + COLUMNS].all()
    np.testing.assert_allclose(result[:, changed], inverted(held[:, changed]), atol=1e-4)
    np.testing.assert_allclose(result[:, ~changed], held[:, ~changed], atol=1e-4)
    np.testing.assert_allclose(negative().translate(held[:, :9], "Male", fit="crop"), inverted(held[:, :9]), atol=1e-4)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (noise(ROWS + 1, COLUMNS), r"it holds features \[1, 17, 24\]; this model takes \[1, 16, T\], and never resizes"),
        (noise(3, ROWS, COLUMNS), r"it holds features \[3, 16, 24\]"),
        (np.full((ROWS, COLUMNS), np.nan), "infinite or not numbers"),
        (np.zeros((ROWS, COLUMNS), np.uint8), r"this model takes features, floats .*; this is uint8 \[16, 24\]"),
        (noise(COLUMNS), r"this is float32 \[24\]"),
    ],
)
def test_what_the_model_does_not_take_is_explained(given: np.ndarray, reason: str) -> None:
    with pytest.raises(PictureError, match=reason):
        negative().translate(given, "Male")


def test_pictures_and_features_do_not_stand_in_for_one_another(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.zeros((ROWS, COLUMNS, 1), np.uint8))
    np.save(tmp_path / "a.npy", noise(16, 16))
    with pytest.raises(PictureError, match="a.png: it holds uint8; this model takes features, floats .1, 16, T."):
        negative().translate(tmp_path / "a.png", "Male")
    with pytest.raises(PictureError, match="a.npy: it holds float32; this model takes pictures of 8 bits"):
        of_pictures(channels=1).translate(tmp_path / "a.npy", "Male")


def test_folders_of_features(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    held = {"a": noise(ROWS, 10), "sub/b": noise(ROWS, COLUMNS, seed=1)}
    for name, array in held.items():
        np.save(tmp_path / "in" / f"{name}.npy", array)
    np.save(tmp_path / "in" / "long.npy", noise(ROWS, 99))
    summary = translate_folder(negative(), [tmp_path / "in"], ["Male"], tmp_path / "out")
    assert len(summary.written) == 2 and not summary.clipped
    assert [(path.name, "99 columns" in reason) for path, reason in summary.skipped] == [("long.npy", True)]
    for name, array in held.items():
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}__Male.npy"), inverted(array), atol=1e-4)
    with pytest.raises(FolderError, match="use one of .npy"):
        translate_folder(negative(), [tmp_path / "in"], ["Male"], tmp_path / "pictures", format=".png")
    drawn = translate_folder(negative(), [tmp_path / "in" / "a.npy"], ["Male"], tmp_path / "drawn", changes=0.5)
    assert any(path.name.endswith("-changes.png") for path in drawn.written)


def test_a_model_of_features_is_trained_used_and_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from asterism.serving.hosted import load_models

    for number, speaker in enumerate(("anna", "bob")):
        for i in range(24):
            (tmp_path / "voices" / speaker).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "voices" / speaker / f"{i}.npy", noise(32, 40 + i, seed=number * 99 + i) - 5)
    train(
        "stargan",
        tmp_path / "voices",
        tmp_path / "run",
        overrides=small(data__size=32, train__steps=2, train__evaluate_every=0),
    )
    model = load(tmp_path / "run", device="cpu")
    assert (model.model.picture.depth, model.model.picture.height) == (32, 32) and model.model.picture.low < -15
    words = ["translate", str(tmp_path / "run"), str(tmp_path / "voices" / "anna"), "--to", "bob", "--fit", "crop"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    made = np.load(tmp_path / "out" / "3__bob.npy")
    assert made.shape == (32, 43) and made.dtype == np.float32
    assert main(["info", str(tmp_path / "run")]) == 0
    assert "32 bits, values -" in capsys.readouterr().out
    with pytest.raises(ModelError, match=r"takes features \(arrays of floats\), which the service does not accept"):
        load_models([str(tmp_path / "run")])
    tried = trial(model, [], torch.randn(2, 1, 32, 32))
    assert tried.wanted["translator"].abs().max() <= 1.001, "in the range of tensors, as an exported file gives it"
