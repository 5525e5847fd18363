"""Pictures larger than the model's: what recipes that keep their source change is added to the picture's own pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism.data.pictures import read
from asterism.inference.folder import translate_folder
from asterism.inference.translator import Translator
from tests.helpers.negative import inverted, negative
from tests.inference.test_regions import photograph


def keeping(keeps: bool = True) -> Translator:
    """Return a model of 16 x 16 pixels whose recipe says that it keeps its source."""
    model = negative()
    model.recipe.abilities = replace(model.recipe.abilities, keeps=keeps)
    return model


def roughness(picture: np.ndarray) -> float:
    """Return how much single pixels stand out, of stored values, in the middle that every fit translates."""
    return float(np.abs(np.diff(picture[30:60, 45:75].astype(float), 2, axis=1)).mean())


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_a_large_picture_keeps_its_detail_where_the_recipe_keeps_its_source(fit: str) -> None:
    """The noise of single pixels, which the model never sees, is there to the value; the waves that it sees are inverted."""
    pixels = photograph()
    kept, enlarged = (keeping(keeps).translate(pixels, "Male", fit=fit) for keeps in (True, False))
    assert kept.shape == pixels.shape and kept.dtype == pixels.dtype
    assert roughness(kept - pixels.astype(float)) < 0.2 * roughness(pixels), "what is added is smooth"
    assert roughness(enlarged) < 0.2 * roughness(pixels), "an enlarged result has no detail"
    middle = kept[40:50, 55:65].astype(int)
    assert np.abs(middle - inverted(pixels)[40:50, 55:65]).mean() < 25 < np.abs(middle - pixels[40:50, 55:65]).mean()
    small = pixels[:12, :16]
    for size in (small, pixels[:16, :16]):  # Nothing is lost on the way to the model.
        np.testing.assert_array_equal(*(keeping(keeps).translate(size, "Male", fit=fit) for keeps in (True, False)))


def test_files_keep_their_detail_and_enlarged_results_are_told(tmp_path: Path) -> None:
    pixels = photograph()
    Image.fromarray(pixels).save(tmp_path / "large.png")
    Image.fromarray(pixels[:16, :16]).save(tmp_path / "small.png")
    kept = translate_folder(keeping(), [tmp_path / "large.png"], ["Male"], tmp_path / "kept", changes=0.25)
    assert "enlarged" not in str(kept)
    result = read(kept.written[0])
    np.testing.assert_array_equal(result, keeping().translate(pixels, "Male"))
    files = [tmp_path / "large.png", tmp_path / "small.png"]
    told = str(translate_folder(keeping(False), files, ["Male"], tmp_path / "enlarged"))
    assert f"results enlarged from the model's 16 x 16 pixels: 1 ({files[0]}); --fit full" in told
    assert "enlarged" not in str(translate_folder(keeping(False), files, ["Male"], tmp_path / "full", fit="full"))
